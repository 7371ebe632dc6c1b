package resources

import (
	"time"

	"curfew.example/timeoutpolicy"
)

// Keeper is the runtime's side of one use: it owns what the use's Held registers
// and releases it. A kind never sees one. The zero value is not ready: see Begin.
type Keeper struct {
	held   Held
	out    bool    // the use's goroutine is out; guarded by held.mu
	ladder *ladder // the release under way; guarded by held.mu
}

// Begin makes the keeper ready for one use that starts now and shares shelf, which
// may be nil.
func (k *Keeper) Begin(shelf *Shelf) *Held { return k.BeginAt(time.Now(), shelf) }

// BeginAt is Begin for a use that starts at now, which its caller has at hand.
func (k *Keeper) BeginAt(now time.Time, shelf *Shelf) *Held {
	k.held.shelf, k.held.start = shelf, now
	k.held.grace, k.held.force = timeoutpolicy.DefaultGrace, timeoutpolicy.DefaultForce
	return &k.held
}

// Held is what Begin returned.
func (k *Keeper) Held() *Held { return &k.held }

// Opened returns when the resource was open: zero while it is not.
func (k *Keeper) Opened() time.Time {
	ns := k.held.opened.Load()
	if ns == 0 {
		return time.Time{}
	}
	return k.held.start.Add(time.Duration(ns))
}

// Moved returns when the use last made progress: its begin if it never did.
func (k *Keeper) Moved() time.Time {
	return k.held.start.Add(time.Duration(k.held.progress.Load()))
}

// Out says that the use runs on a goroutine which has to come back: it belongs to what is
// released, and says so with Back.
func (k *Keeper) Out() {
	k.held.mu.Lock()
	defer k.held.mu.Unlock()
	k.out = true
}

// Back says that the use's goroutine has come back, and reports whether anything is kept
// that a release would have to close. It may end a release that waits for nothing else, and
// then runs what was to follow, on the caller's goroutine.
func (k *Keeper) Back() (holds bool) {
	k.held.mu.Lock()
	k.out = false
	l := k.ladder
	holds = len(k.held.pieces) > 0
	k.held.mu.Unlock()
	if l != nil {
		l.note(l.runnerBack)
	}
	return holds
}

// Seal ends the registering: what comes later is closed at once. aborted says that
// hooks are to run. It reports whether there is anything to release, and is called
// once, before Release.
func (k *Keeper) Seal(aborted bool) bool {
	h := &k.held
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sealed, h.aborted = true, aborted
	if !aborted {
		h.hooks = nil
	}
	return len(h.hooks)+len(h.pieces) > 0
}

// Release runs the ladder over what is held: hooks, then pieces, each last in first
// out; ask, wait grace, force, wait force, report. The use's goroutine belongs to it, if it
// is out. Release returns as soon as everything has gone, and never later than grace plus
// force. Seal comes first.
func (k *Keeper) Release(grace, force time.Duration) *Report {
	w := &waiter{keeper: k, report: make(chan *Report, 1)}
	l := k.newLadder(grace, force, w)
	go l.climb() // ends when the last Close that it calls does
	return <-w.report
}

// ReleaseFor is Release for a goroutine that is lent to it: it comes back when each Close
// that it calls has, which may be never. The owner hears of the end.
func (k *Keeper) ReleaseFor(owner Owner, grace, force time.Duration) {
	k.newLadder(grace, force, owner).climb()
}

// Owner is for whom a release is run. Its methods do not block; they are called on whatever
// goroutine takes the release a step further.
type Owner interface {
	// SetAlarm has Keeper.TimeOver called when d is over, from now, and not before that.
	// It reports whether it was set already: if not, a call from before may be on its way.
	SetAlarm(d time.Duration) (active bool)

	// StopAlarm says that nobody waits for it any more. The call may come all the same.
	StopAlarm()

	// Released is called once, within grace plus force, when everything has gone that was
	// to go, or is known to be left.
	Released(*Report)
}

// waiter is the Owner of a release that is waited for.
type waiter struct {
	keeper *Keeper
	timer  *time.Timer
	report chan *Report
}

func (w *waiter) SetAlarm(d time.Duration) bool {
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.keeper.TimeOver)
		return false
	}
	return w.timer.Reset(d)
}

func (w *waiter) StopAlarm()           { w.timer.Stop() }
func (w *waiter) Released(rep *Report) { w.report <- rep }

// TimeOver is the alarm's call: the grace of the release is over, or its force.
func (k *Keeper) TimeOver() {
	k.held.mu.Lock()
	l := k.ladder
	k.held.mu.Unlock()
	l.note(l.timeOver)
}

// Discard says that the report of the release is not read any more, and that no call of
// TimeOver is on its way: what the release took is there for another then. It is for the one
// goroutine that has the keeper to itself after Owner.Released. Without a release, or where
// something of it is still out, it does nothing.
func (k *Keeper) Discard() {
	k.held.mu.Lock()
	l := k.ladder
	k.held.mu.Unlock()
	if l == nil || !l.abandon() {
		return
	}
	k.held.mu.Lock()
	k.ladder = nil
	k.held.mu.Unlock()
	ladders.Put(l)
}

func (k *Keeper) newLadder(grace, force time.Duration, owner Owner) *ladder {
	l := ladders.Get().(*ladder)
	l.mu.Lock() // until the alarm is set
	defer l.mu.Unlock()
	l.held, l.start, l.patience, l.owner, l.climber = &k.held, time.Now(), max(force, 0), owner, true
	k.start(l)
	owner.SetAlarm(max(grace, 0))
	return l
}

// start hands what is held to the ladder, which TimeOver and Back find from now on.
func (k *Keeper) start(l *ladder) {
	h := &k.held
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.hooks) + len(h.pieces); n <= len(l.few) {
		l.rungs = l.few[:n]
	} else {
		l.rungs = make([]rung, n)
	}
	for i, p := range h.hooks {
		r := &l.rungs[len(h.hooks)-1-i]
		r.Piece, r.hook = p, true
	}
	for i, p := range h.pieces {
		l.rungs[len(l.rungs)-1-i].Piece = p
	}
	h.hooks, h.pieces = nil, nil
	l.runner.back = !k.out
	k.ladder = l
}
