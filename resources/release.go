package resources

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"curfew.example/timeoutpolicy"
)

// Release says how one piece went.
type Release struct {
	What string        // as in Piece
	How  string        // Piece.By when asking was enough, "force" or "guard by force" when not, or "hook"
	Took time.Duration // from the start of the release until it had gone
	Err  error         // what its Close or hook returned, if anything
}

// Leftover is something that would not go.
type Leftover struct {
	What  string // as in Piece, or "goroutine"
	Why   string // why it is believed to be there still
	PID   int    // of a process, else 0
	Start string // its start time, so that a reused number is not mistaken for it
	State string // its state as the operating system calls it
}

// LeftoverError may be returned by a Piece's Close or Force: it names each thing
// that is left, where the piece is more than one.
type LeftoverError struct{ Left []Leftover }

func (e *LeftoverError) Error() string {
	if len(e.Left) == 0 {
		return "something is left"
	}
	l := e.Left[0]
	s := fmt.Sprintf("left: %s: %s", l.What, l.Why)
	if n := len(e.Left) - 1; n > 0 {
		s += fmt.Sprintf(" (and %d more)", n)
	}
	return s
}

// Remains is one or more leftovers with one fate: what a release could not
// confirm gone. Whoever has it in hand watches Gone, or calls Retry, until it goes.
type Remains struct {
	Left  []Leftover
	Gone  <-chan struct{} // closed when they have gone by themselves; nil when only Retry can tell
	Retry func() error    // tries once more and returns nil when they have gone; may block; nil when there is nothing to try

	// Then lists what Gone left behind in its turn: what an operation that came back
	// too late had opened and could not close, or what a late clean-up says has not
	// gone. nil is nothing; called after Gone.
	Then func() []Remains
}

// Report is what a release did.
type Report struct {
	Released []Release
	Remains  []Remains
	Took     time.Duration
	Err      error // errors of hooks, and what is left, joined; nil when all went well and is gone
}

// Left lists what is left over, flat.
func (r *Report) Left() []Leftover {
	var all []Leftover
	for _, m := range r.Remains {
		all = append(all, m.Left...)
	}
	return all
}

// Panicked is the error in place of a function's own when it panicked or called
// runtime.Goexit.
type Panicked struct {
	Value any    // what was passed to panic; nil for Goexit
	Stack []byte // of the goroutine, as by debug.Stack
}

func (p *Panicked) Error() string {
	if p.Value == nil {
		return "goroutine exited (runtime.Goexit)"
	}
	return fmt.Sprintf("panic: %v", p.Value)
}

// Unwrap returns the value of the panic when it was an error.
func (p *Panicked) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// Guard calls f and hands its error to done, once, whatever f does: a panic, a Goexit and
// an error whose own methods panic become *Panicked. It contains foreign code; done runs on
// the same goroutine, and after a Goexit during its unwinding.
func Guard(f func() error, done func(error)) {
	var err error
	returned := false
	defer func() {
		if !returned {
			err = &Panicked{Value: recover(), Stack: debug.Stack()}
		}
		done(sound(err))
	}()
	err = f()
	returned = true
}

// sound stands in for an error whose own methods panic, such as a nil pointer in an
// interface: asked later, on a goroutine of the runtime, it would end the process.
func sound(err error) (safe error) {
	if err == nil {
		return nil
	}
	defer func() {
		if v := recover(); v != nil {
			safe = &Panicked{Value: fmt.Sprintf("%v, in the methods of an error (%T)", v, err), Stack: debug.Stack()}
		}
	}()
	// Between them they ask every Unwrap, Is and As there is.
	_, _ = errors.Is(err, ErrSealed), errors.As(err, new(*Panicked))
	return err
}

// closePiece closes p on the caller's goroutine, by force if asking fails.
func closePiece(p *Piece) error {
	err := closed(call(p.close))
	if err != nil && p.Force != nil {
		return closed(call(p.Force))
	}
	return err
}

// closed drops errors that say that the thing has gone already.
func closed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrClosed) || errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// heard is what a call says, read to its end on the call's own goroutine: the text of a foreign
// error may have to wait for what hangs, and asked for later it would hold up the answer.
func heard(err error) error {
	if err = closed(sound(err)); err == nil {
		return nil
	}
	return &told{err, fmt.Sprint(err)}
}

// told is an error and what it said.
type told struct {
	error
	text string
}

func (t *told) Error() string { return t.text }
func (t *told) Unwrap() error { return t.error }

// close calls Close, or what stands in for it.
func (p *Piece) close() error {
	switch {
	case p.Close != nil:
		return p.Close()
	case p.Force != nil:
		return p.Force()
	}
	return nil
}

// call contains a panic of f.
func call(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = sound(&Panicked{Value: v, Stack: debug.Stack()})
		}
	}()
	return sound(f())
}

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

// Back says that the use's goroutine has come back. It may end a release that waits for
// nothing else, and then runs what was to follow, on the caller's goroutine.
func (k *Keeper) Back() {
	k.held.mu.Lock()
	k.out = false
	l := k.ladder
	k.held.mu.Unlock()
	if l != nil {
		l.note(l.runnerBack)
	}
}

// Holds reports whether anything is kept that a release would have to close.
func (k *Keeper) Holds() bool {
	k.held.mu.Lock()
	defer k.held.mu.Unlock()
	return len(k.held.pieces) > 0
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

// ladder is one release under way. It has no goroutine of its own that waits: one that is
// lent to it closes piece after piece, and everything that happens then, a call that comes
// back, the runner, the timer, takes it a step further on its own goroutine.
type ladder struct {
	held     *Held
	start    time.Time
	patience time.Duration // after force
	then     func(*Report)

	mu      sync.Mutex // guards what follows
	timer   *time.Timer
	rungs   []rung
	asked   int     // rungs whose Close has been called
	calls   int     // under way
	runner  attempt // the use's own goroutine
	forcing bool
	stale   int  // firings of the timer that were on their way when it was set anew
	late    bool // the wait after force is over
	over    bool
}

// rung is one piece on the ladder.
type rung struct {
	*Piece
	hook   bool
	asked  attempt // Close
	forced attempt // Force
}

// attempt is one call of foreign code.
type attempt struct {
	called, back bool
	err          error
	took         time.Duration // since the start of the release
	gone         chan struct{} // closed when it comes back; made for those who wait after the report
}

// ok reports whether a came back without an error.
func (a *attempt) ok() bool { return a.back && a.err == nil }

// comeBack notes that a has.
func (a *attempt) comeBack(err error, took time.Duration) {
	a.back, a.err, a.took = true, err, took
	if a.gone != nil {
		close(a.gone)
	}
}

// await returns a channel that is closed when a comes back.
func (a *attempt) await() <-chan struct{} {
	if a.gone == nil {
		a.gone = make(chan struct{})
	}
	return a.gone
}

// note notes what has happened and takes the ladder a step further; it runs what follows
// the release when this was the last.
func (l *ladder) note(what func()) {
	l.mu.Lock()
	what()
	report := l.advance()
	l.mu.Unlock()
	if report != nil {
		l.then(report)
	}
}

func (l *ladder) runnerBack() { l.runner.comeBack(nil, 0) }

// timeOver is the timer's: the grace is over, or the wait after force.
func (l *ladder) timeOver() {
	switch {
	case l.over:
	case l.stale > 0:
		l.stale--
	case !l.forcing:
		l.timer.Reset(l.patience)
		l.force()
	default:
		l.late = true
	}
}

// advance forces what failed, and reports when there is nothing left to wait for. Called
// with mu held.
func (l *ladder) advance() *Report {
	if l.over {
		return nil
	}
	if !l.forcing && l.asked == len(l.rungs) && l.calls == 0 && l.failed() {
		if !l.timer.Reset(l.patience) {
			l.stale++
		}
		l.force()
	}
	if !l.late && (l.asked < len(l.rungs) || l.calls > 0 || !l.runner.back) {
		return nil
	}
	l.over = true
	l.timer.Stop()
	return l.report()
}

// failed reports whether a piece said that it has not gone. Called with mu held.
func (l *ladder) failed() bool {
	for i := range l.rungs {
		if r := &l.rungs[i]; r.asked.err != nil && !r.hook {
			return true
		}
	}
	return false
}

// climb closes the pieces one after the other, on this goroutine, until the grace is over:
// then the timer's goroutine has taken over, and this one comes back with the call it is in.
func (l *ladder) climb() {
	through := false
	defer func() {
		if !through {
			go l.climb() // a Close has ended this goroutine; the next ends as this one does
		}
	}()
	for r := l.next(); r != nil; r = l.next() {
		l.try(r.close, &r.asked)
	}
	through = true
	l.note(func() {})
}

// next returns the rung to ask now; nil when there is none, or it is not asked one by one
// any more.
func (l *ladder) next() *rung {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.forcing || l.asked == len(l.rungs) {
		return nil
	}
	r := &l.rungs[l.asked]
	l.asked++
	l.begin(&r.asked)
	return r
}

// begin books a call that is about to be made. Called with mu held.
func (l *ladder) begin(a *attempt) {
	a.called = true
	l.calls++
}

// try makes a call that was booked.
func (l *ladder) try(f func() error, a *attempt) {
	Guard(func() error { return heard(f()) }, func(err error) {
		l.note(func() {
			l.calls--
			a.comeBack(err, time.Since(l.start))
		})
	})
}

// force is called on all that has not gone, at once. Each call has a goroutine of its own,
// which ends when the call does. Called with mu held.
func (l *ladder) force() {
	l.forcing = true
	for i := range l.rungs {
		r := &l.rungs[i]
		if !r.asked.called {
			// The ladder was held up before it came to this rung.
			l.asked++
			l.begin(&r.asked)
			go l.try(r.close, &r.asked)
		}
		if r.Force != nil && !r.asked.ok() {
			l.begin(&r.forced)
			go l.try(r.Force, &r.forced)
		}
	}
}

// report sums up. Called with mu held.
func (l *ladder) report() *Report {
	rep := &Report{Released: make([]Release, 0, len(l.rungs))}
	for i := range l.rungs {
		l.settle(&l.rungs[i], rep)
	}
	if l.runner.back {
		rep.Remains = append(rep.Remains, l.held.takeLate()...)
	} else {
		rep.remains("goroutine", "the operation has not returned", l.runner.await(), l.held.takeLate)
	}
	rep.Took = time.Since(l.start)
	if len(rep.Remains) > 0 || rep.failed() {
		rep.Err = rep.errors() // in a frame of its own: most have none, and a stack that need not grow
	}
	return rep
}

// failed reports whether a hook says that it has failed. A piece that went by force has gone.
func (r *Report) failed() bool {
	for i := range r.Released {
		if rel := &r.Released[i]; rel.Err != nil && rel.How == byHook {
			return true
		}
	}
	return false
}

// errors joins what hooks say, and what is left.
func (r *Report) errors() error {
	var errs []error
	for _, rel := range r.Released {
		if rel.Err != nil && rel.How == byHook {
			errs = append(errs, fmt.Errorf("release %s: %w", rel.What, rel.Err))
		}
	}
	for _, left := range r.Left() {
		errs = append(errs, &LeftoverError{Left: []Leftover{left}})
	}
	return errors.Join(errs...)
}

// released adds a rung that went by the attempt a.
func (r *Report) released(g *rung, how string, a *attempt) {
	r.Released = append(r.Released, Release{g.What, how, a.took, g.asked.err})
}

// remains adds what will have gone when gone is closed.
func (r *Report) remains(what, why string, gone <-chan struct{}, then func() []Remains) {
	r.Remains = append(r.Remains, Remains{Left: []Leftover{{What: what, Why: why}}, Gone: gone, Then: then})
}

// How pieces go, beside Piece.By.
const (
	byClose = "close"
	byForce = "force"
	byHook  = "hook"
)

// settle adds to rep what has become of a rung so far: gone, or left, or gone while one of
// its calls is still out. A hook that failed has run: an error, not a leftover. Called with
// mu held.
func (l *ladder) settle(r *rung, rep *Report) {
	switch {
	case r.asked.back && r.hook:
		rep.released(r, byHook, &r.asked)
	case r.asked.ok():
		rep.released(r, cmp.Or(r.By, byClose), &r.asked)
	default:
		l.unsettled(r, rep)
	}
}

// unsettled is settle for a rung on which asking was not enough.
func (l *ladder) unsettled(r *rung, rep *Report) {
	asked, forced := &r.asked, &r.forced
	if forced.ok() {
		rep.released(r, r.forcedBy(), forced)
	}
	switch {
	case !asked.back && forced.ok():
		l.stillOut(r, rep, "gone, but its clean-up has not returned", asked)
	case !asked.back:
		l.stillOut(r, rep, "its clean-up has not returned", asked)
	case forced.ok():
	case forced.called && !forced.back:
		l.stillOut(r, rep, "its forced end has not returned", forced)
	default:
		rep.Remains = append(rep.Remains, Remains{Left: leftovers(r.What, cmp.Or(forced.err, asked.err)), Retry: r.retry})
	}
}

// forcedBy says how a piece went that had to be forced: by its own means, where it names them.
func (r *rung) forcedBy() string {
	if r.By == "" {
		return byForce
	}
	return r.By + " by " + byForce
}

// stillOut is a rung on which a call is out. What the call says when it comes back, it says
// late, and it counts all the same.
func (l *ladder) stillOut(r *rung, rep *Report, why string, a *attempt) {
	rep.remains(r.What, why, a.await(), func() []Remains {
		l.mu.Lock()
		defer l.mu.Unlock()
		var late Report
		l.settle(r, &late)
		return late.Remains
	})
}

// retry tries once more what failed.
func (r *rung) retry() error { return closePiece(r.Piece) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// leftovers spells out what err says is left of what.
func leftovers(what string, err error) []Leftover {
	var le *LeftoverError
	if errors.As(err, &le) && len(le.Left) > 0 {
		return le.Left
	}
	return []Leftover{{What: what, Why: fmt.Sprint(err)}}
}
