package resources

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"curfew.example/timeoutpolicy"
)

// Release says how one piece went.
type Release struct {
	What string        // as in Piece
	How  string        // Piece.By when asking was enough, "force", or "hook"
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
type Keeper struct{ held Held }

// Begin makes the keeper ready for one use that starts now and shares shelf, which
// may be nil.
func (k *Keeper) Begin(shelf *Shelf) *Held {
	k.held.shelf, k.held.start = shelf, time.Now()
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
// out; ask, wait grace, force, wait force, report. runner is closed when the use's
// goroutine has come back, and belongs to what has to go; nil when it is back already. Release returns as soon as
// everything has gone, and never later than grace plus force. Seal comes first.
func (k *Keeper) Release(grace, force time.Duration, runner <-chan struct{}) *Report {
	if runner == nil {
		back := make(chan struct{})
		close(back)
		runner = back
	}
	l := &ladder{start: time.Now(), runner: runner}
	for _, p := range slices.Backward(k.held.hooks) {
		l.rungs = append(l.rungs, &rung{Piece: p, hook: true})
	}
	for _, p := range slices.Backward(k.held.pieces) {
		l.rungs = append(l.rungs, &rung{Piece: p})
	}
	k.held.hooks, k.held.pieces = nil, nil
	if !l.ask(max(grace, 0)) {
		l.force(max(force, 0))
	}
	return l.report(&k.held)
}

// ladder is one release under way. Its own goroutine is the caller of Release; each
// Close and Force runs on a goroutine of its own, owned by its attempt.
type ladder struct {
	start  time.Time
	runner <-chan struct{}
	rungs  []*rung
}

// rung is one piece on the ladder.
type rung struct {
	*Piece
	hook   bool
	asked  *attempt // nil until Close was called
	forced *attempt // nil until Force was called
}

// attempt is one call of foreign code. What it found is valid once done is closed.
type attempt struct {
	done chan struct{}
	err  error
	took time.Duration // since the start of the release
}

// try runs f on a goroutine of its own, which ends when f does.
func (l *ladder) try(f func() error) *attempt {
	a := &attempt{done: make(chan struct{})}
	go Guard(f, func(err error) {
		a.err, a.took = closed(err), time.Since(l.start)
		close(a.done)
	})
	return a
}

// back reports whether a has been made and has come back.
func (a *attempt) back() bool { return a != nil && isClosed(a.done) }

// ok reports whether a came back without an error.
func (a *attempt) ok() bool { return a.back() && a.err == nil }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// ask closes the pieces one after the other and waits for the runner, no longer than
// grace in all. It reports whether everything has gone.
func (l *ladder) ask(grace time.Duration) bool {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	failed := false
	for _, r := range l.rungs {
		r.asked = l.try(r.close)
		select {
		case <-r.asked.done:
		case <-timer.C:
			return false
		}
		failed = failed || (r.asked.err != nil && !r.hook)
	}
	if failed {
		return false
	}
	select {
	case <-l.runner:
		return true
	case <-timer.C:
		return false
	}
}

// force is called on all that has not gone, at once, and waited for no longer than wait.
func (l *ladder) force(wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for _, r := range l.rungs {
		if r.asked == nil {
			// The ladder was held up before it came to this rung.
			r.asked = l.try(r.close)
		}
		if r.Force != nil && !r.asked.ok() {
			r.forced = l.try(r.Force)
		}
	}
	for _, c := range l.pending() {
		select {
		case <-c:
		case <-timer.C:
			return
		}
	}
}

// pending lists what has been called and may not have come back, the runner last.
func (l *ladder) pending() []<-chan struct{} {
	var all []<-chan struct{}
	for _, r := range l.rungs {
		if r.forced != nil {
			all = append(all, r.forced.done)
		}
		all = append(all, r.asked.done)
	}
	return append(all, l.runner)
}

func (l *ladder) report(held *Held) *Report {
	rep := &Report{}
	var errs []error
	for _, r := range l.rungs {
		rel, left := r.settle()
		if rel != nil {
			rep.Released = append(rep.Released, *rel)
			if rel.Err != nil && r.hook { // a piece that went by force has gone
				errs = append(errs, fmt.Errorf("release %s: %w", r.What, rel.Err))
			}
		}
		if left != nil {
			rep.Remains = append(rep.Remains, *left)
		}
	}
	if !isClosed(l.runner) {
		rep.Remains = append(rep.Remains, Remains{
			Left: []Leftover{{What: "goroutine", Why: "the operation has not returned"}},
			Gone: l.runner,
			Then: held.takeLate,
		})
	} else {
		rep.Remains = append(rep.Remains, held.takeLate()...)
	}
	for _, left := range rep.Left() {
		errs = append(errs, &LeftoverError{Left: []Leftover{left}})
	}
	rep.Err = errors.Join(errs...)
	rep.Took = time.Since(l.start)
	return rep
}

// settle says what has become of a rung so far: gone, or left, or gone while one of its
// calls is still out. A hook that failed has run: an error, not a leftover.
func (r *rung) settle() (*Release, *Remains) {
	asked, forced := r.asked.back(), r.forced.back()
	switch {
	case asked && r.hook:
		return &Release{What: r.What, How: "hook", Took: r.asked.took, Err: r.asked.err}, nil
	case asked && r.asked.err == nil:
		return &Release{What: r.What, How: cmp.Or(r.By, "close"), Took: r.asked.took}, nil
	case asked && forced && r.forced.err == nil:
		return &Release{What: r.What, How: "force", Took: r.forced.took, Err: r.asked.err}, nil
	case asked && forced:
		return nil, &Remains{Left: leftovers(r.What, r.forced.err), Retry: r.retry}
	case asked && r.forced != nil:
		return nil, r.stillOut("its forced end has not returned", r.forced)
	case asked:
		return nil, &Remains{Left: leftovers(r.What, r.asked.err), Retry: r.retry}
	case forced && r.forced.err == nil:
		return &Release{What: r.What, How: "force", Took: r.forced.took},
			r.stillOut("gone, but its clean-up has not returned", r.asked)
	}
	return nil, r.stillOut("its clean-up has not returned", r.asked)
}

// stillOut is a rung on which a call is out. What the call says when it comes back, it says
// late, and it counts all the same.
func (r *rung) stillOut(why string, a *attempt) *Remains {
	return &Remains{Left: []Leftover{{What: r.What, Why: why}}, Gone: a.done, Then: func() []Remains {
		if _, left := r.settle(); left != nil {
			return []Remains{*left}
		}
		return nil
	}}
}

// retry tries once more what failed.
func (r *rung) retry() error { return closePiece(r.Piece) }

// leftovers spells out what err says is left of what.
func leftovers(what string, err error) []Leftover {
	var le *LeftoverError
	if errors.As(err, &le) && len(le.Left) > 0 {
		return le.Left
	}
	return []Leftover{{What: what, Why: fmt.Sprint(err)}}
}
