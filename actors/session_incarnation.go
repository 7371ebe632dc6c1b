package actors

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// incarnation is one opening of a session's resource.
type incarnation struct {
	bundle resources.Bundle
	kept   *resources.Piece // the session's hold on the bundle
	handle any
	opened time.Time
	used   time.Time   // end of the last call
	calls  int         // under way
	old    bool        // beyond its age and out of force: the last call on it ends it
	timer  *time.Timer // closes it when idle; nil for none
}

const (
	reopenFirst = 100 * time.Millisecond // back-off after the first opening that fails
	reopenMost  = 30 * time.Second       // longest back-off
)

// opening is what others wait for: one call opens an incarnation, or checks the one there
// is. They wait no longer than that call has: it may hang whatever is closed under it.
type opening struct {
	ctx    context.Context // of the call
	checks *incarnation    // nil: it opens one
	done   chan struct{}   // closed when it is done, or given up
}

// take gets one call an incarnation that is fit for use, and the call's grip on it, which
// is nil where calls have separate streams.
func (s *session) take(ctx context.Context, held *resources.Held) (*incarnation, *resources.Grip, error) {
	for ctx.Err() == nil {
		in, duty, o, err := s.join(ctx)
		switch {
		case err != nil:
			return nil, nil, err
		case duty == dutyWait:
			o.wait(ctx)
			continue
		case duty == dutyOpen:
			return s.open(ctx, held, o)
		}
		if s.kind.Traits.Separate && duty == dutyNone {
			return in, nil, nil // the end of a grip would be the end of the others' streams
		}
		// The grip comes first: a check that hangs has to be ended, too.
		grip, err := in.bundle.HoldBy(held)
		if err != nil {
			s.checked(o)
			s.giveBack(in, nil, true)
			return nil, nil, err
		}
		if s.fit(ctx, in, duty, o) {
			return s.loosen(in, grip)
		}
		s.retire(in)
		grip.Close()
	}
	return nil, nil, ctx.Err()
}

// wait waits until there is something new to find out by joining.
func (o *opening) wait(ctx context.Context) {
	select {
	case <-o.done:
	case <-o.ctx.Done():
	case <-ctx.Done():
	}
}

// fit does the duty of a call that has joined in, and reports whether in may be used.
func (s *session) fit(ctx context.Context, in *incarnation, duty duty, o *opening) bool {
	switch duty {
	case dutyEnd:
		return false
	case dutyCheck:
		sound := false
		defer func() { // after a panic, too
			if !sound {
				s.retire(in) // before others may join
			}
			s.checked(o)
		}()
		sound = s.kind.Check(ctx, in.handle) == nil
		return sound
	}
	return true
}

// checked lets those go on who wait for the end of a check.
func (s *session) checked(o *opening) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o != nil && s.opening == o {
		s.pass()
	}
}

// begin has others wait for a call that opens an incarnation, or checks one. Called with mu
// held.
func (s *session) begin(ctx context.Context, checks *incarnation) *opening {
	s.opening = &opening{ctx, checks, make(chan struct{})}
	return s.opening
}

// pass lets those go on who wait. Called with mu held.
func (s *session) pass() {
	close(s.opening.done)
	s.opening = nil
}

// loosen gives up the grip where calls have separate streams.
func (s *session) loosen(in *incarnation, grip *resources.Grip) (*incarnation, *resources.Grip, error) {
	if !s.kind.Traits.Separate {
		return in, grip, nil
	}
	if !grip.LetGo() {
		s.retire(in)
		return nil, nil, resources.ErrSealed
	}
	return in, nil, nil
}

// duty is what a call has to do before its own work, while others wait.
type duty int

const (
	dutyNone  duty = iota
	dutyWait       // another call opens one, or checks the one there is
	dutyOpen       // there is no incarnation
	dutyCheck      // it has rested, and has to show that it works
	dutyEnd        // it is too old: it is ended, and another opened
)

// join adds a call to the incarnation in force, and says what duty comes with that. Where
// another call opens one, or checks the one there is, it returns what to wait for; a call
// without the time for that is refused.
func (s *session) join(ctx context.Context) (*incarnation, duty, *opening, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropEnded()
	switch {
	case s.closed:
		return nil, dutyNone, nil, ErrClosed
	case s.opening != nil:
		return nil, dutyWait, s.opening, s.worthWaiting(ctx, s.again)
	case s.now == nil:
		return nil, dutyOpen, s.begin(ctx, nil), nil
	}
	in, t := s.now, s.kind.Traits
	first := in.calls == 0
	if t.MaxAge > 0 && time.Since(in.opened) > t.MaxAge {
		in.old, s.now = true, nil // nobody else joins it
		if !first {
			return nil, dutyOpen, s.begin(ctx, nil), nil
		}
	}
	in.calls++
	if in.timer != nil {
		in.timer.Stop()
	}
	switch {
	case in.old:
		return in, dutyEnd, nil, nil
	case first && t.CheckAfter > 0 && time.Since(in.used) > t.CheckAfter && s.kind.Check != nil:
		return in, dutyCheck, s.begin(ctx, in), nil
	}
	return in, dutyNone, nil, nil
}

// dropEnded takes out of force what calls have ended that were cut short, and that may not
// be back to say so. Called with mu held.
func (s *session) dropEnded() {
	ended := s.now != nil && s.now.bundle.Ending()
	if o := s.opening; o != nil && o.ctx.Err() != nil {
		if o.checks == nil {
			s.openingFailed()
		} else {
			ended = ended || s.now == o.checks // its release ends it
			s.pass()
		}
	}
	if ended {
		s.keeper.Held().Drop(s.now.kept)
		s.now = nil
	}
}

// what names the session's resource in receipts.
func (s *session) what() string { return "session with " + s.spec.Target }

// open makes a new incarnation and joins it. It is called by one at a time, but for those
// that were cut short and have not come back.
func (s *session) open(ctx context.Context, held *resources.Held, o *opening) (*incarnation, *resources.Grip, error) {
	var in *incarnation
	defer func() { s.openingOver(o, in) }() // after a panic, too
	if err := s.backOff(ctx); err != nil {
		return nil, nil, err
	}
	fresh := &incarnation{}
	inner := fresh.bundle.Begin(&s.rt.shelf, s.what())
	grip, err := fresh.bundle.HoldBy(held)
	if err != nil {
		return nil, nil, err
	}
	if fresh.handle, err = s.kind.Open(ctx, inner); err != nil {
		return nil, nil, err // what it opened goes with this call
	}
	fresh.kept = fresh.bundle.Piece(s.what())
	if err := s.keeper.Held().Keep(fresh.kept); err != nil {
		return nil, nil, errors.Join(ErrClosed, err)
	}
	in = fresh
	return s.loosen(in, grip)
}

// openingOver puts a new incarnation in force, or notes that there is none.
func (s *session) openingOver(o *opening, in *incarnation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in != nil {
		now := time.Now()
		in.opened, in.used, in.calls = now, now, 1
	}
	switch {
	case s.opening != o: // given up: what has come of it goes with its call
		if in != nil {
			s.keeper.Held().Drop(in.kept)
		}
	case in != nil:
		s.pass()
		s.now, s.failures, s.again = in, 0, time.Time{}
	default:
		s.openingFailed()
	}
}

// openingFailed lets those go on who wait, but for a while. Called with mu held.
func (s *session) openingFailed() {
	ctx, now := s.opening.ctx, time.Now()
	s.pass()
	if errors.Is(ctx.Err(), context.Canceled) || now.Before(s.again) {
		return
	}
	from := now
	if due, ok := ctx.Deadline(); ok && due.Before(now) {
		from = due // it may have been a while until somebody asked
	}
	delay := min(reopenMost, reopenFirst<<min(s.failures, 16))
	s.failures++
	s.again = from.Add(delay + rand.N(delay/10)) // jitter, so that many do not come at once
}

// backOff waits until an opening may be tried again. A call without the time for that is
// refused.
func (s *session) backOff(ctx context.Context) error {
	s.mu.Lock()
	again := s.again
	s.mu.Unlock()
	wait := time.Until(again)
	if wait <= 0 {
		return nil
	}
	if err := s.worthWaiting(ctx, again); err != nil {
		return err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// worthWaiting is an error for a call whose time is over before the next opening.
func (s *session) worthWaiting(ctx context.Context, again time.Time) error {
	if due, ok := ctx.Deadline(); ok && due.Before(again) {
		return fmt.Errorf("%s: %w: it is opened again in %s", s.what(), timeoutpolicy.ErrTooLate, round(time.Until(again)))
	}
	return nil
}

// retire takes an incarnation out of force: the call that holds it ends it.
func (s *session) retire(in *incarnation) {
	s.mu.Lock()
	if s.now == in {
		s.now = nil
	}
	s.mu.Unlock()
	s.keeper.Held().Drop(in.kept)
}

// giveBack ends a call's use of an incarnation. One that the call may have spoiled is
// left in its grip, to be closed with what else the call held.
func (s *session) giveBack(in *incarnation, grip *resources.Grip, good bool) {
	if grip != nil && !(good && grip.LetGo()) {
		s.retire(in)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	in.calls--
	in.used = time.Now()
	switch idle := s.kind.Traits.IdleClose; {
	case in.calls > 0:
	case in.old:
		go s.end(in) // a request of its own, and bounded like one
	case idle > 0 && s.now == in:
		in.timer = time.AfterFunc(idle, func() { s.closeIdle(in) })
	}
}

// closeIdle is the idle timer's call: it ends an incarnation that nobody uses, as a
// request of its own.
func (s *session) closeIdle(in *incarnation) {
	s.mu.Lock()
	idle := s.now == in && in.calls == 0
	if idle {
		s.now = nil
	}
	s.mu.Unlock()
	if idle {
		s.end(in)
	}
}

// end ends an incarnation that is out of force and that no call holds. The session itself
// keeps it until that is done, so that its own end waits for it, and where it is refused
// until it is closed.
func (s *session) end(in *incarnation) {
	_, _ = s.rt.Do(context.Background(), &retiring{s, in}, Options{Within: time.Minute, replaced: true})
	if in.bundle.Ending() {
		s.keeper.Held().Drop(in.kept)
	}
}

// retiring is the request that ends an incarnation which no call holds: its release does.
type retiring struct {
	s  *session
	in *incarnation
}

// Spec implements resources.Use.
func (e *retiring) Spec() (resources.Spec, error) { return e.s.describe() }

// Run implements resources.Use.
func (e *retiring) Run(_ context.Context, held *resources.Held) (any, error) {
	return nil, held.Keep(e.in.bundle.Piece(e.s.what()))
}
