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
	done := make(chan *Report, 1)
	l := k.newLadder(grace, force, func(r *Report) { done <- r })
	go l.climb() // ends when the last Close that it calls does
	return <-done
}

// ReleaseThen is Release for a goroutine that is lent to it: it comes back when each Close
// that it calls has, which may be never. then is called once, on whatever goroutine ends the
// release, within grace plus force.
func (k *Keeper) ReleaseThen(grace, force time.Duration, then func(*Report)) {
	k.newLadder(grace, force, then).climb()
}

func (k *Keeper) newLadder(grace, force time.Duration, then func(*Report)) *ladder {
	h := &k.held
	l := &ladder{held: h, start: time.Now(), patience: max(force, 0), then: then}
	l.mu.Lock() // until the timer is there
	defer l.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	l.rungs = make([]rung, len(h.hooks)+len(h.pieces))
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
	l.timer = time.AfterFunc(max(grace, 0), func() { l.note(l.timeOver) })
	return l
}
