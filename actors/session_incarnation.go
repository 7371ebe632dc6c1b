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
	timer  *time.Timer // closes it when idle; nil for none
}

const (
	reopenFirst = 100 * time.Millisecond // back-off after the first opening that fails
	reopenMost  = 30 * time.Second       // longest back-off
)

// take gets one call an incarnation that is fit for use, and the call's grip on it, which
// is nil where calls have separate streams.
func (s *session) take(ctx context.Context, held *resources.Held) (*incarnation, *resources.Grip, error) {
	for {
		in, opening, err := s.join()
		switch {
		case err != nil:
			return nil, nil, err
		case opening != nil:
			select { // another call opens it
			case <-opening:
			case <-ctx.Done():
				return nil, nil, ctx.Err()
			}
			continue
		case in == nil:
			return s.open(ctx, held)
		}
		old, unproven := s.doubts(in)
		if s.kind.Traits.Separate && !old && !unproven {
			return in, nil, nil // the end of a grip would be the end of the others' streams
		}
		// The grip comes first: a check that hangs has to be ended, too.
		grip, err := in.bundle.HoldBy(held)
		if err != nil {
			s.giveBack(in, nil, true)
			return nil, nil, err
		}
		if !old && (!unproven || s.kind.Check(ctx, in.handle) == nil) {
			return s.loosen(in, grip)
		}
		s.retire(in)
		grip.Close()
	}
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

// join adds a call to the incarnation in force. Where there is none, it returns what to
// wait for; nothing at all says that it is the caller's turn to open one.
func (s *session) join() (*incarnation, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil && s.now.bundle.Ending() {
		// A call that was cut short has ended it, and may not be back to say so.
		s.keeper.Held().Drop(s.now.kept)
		s.now = nil
	}
	switch {
	case s.closed:
		return nil, nil, ErrClosed
	case s.now != nil:
		s.now.calls++
		if s.now.timer != nil {
			s.now.timer.Stop()
		}
		return s.now, nil, nil
	case s.opening != nil:
		return nil, s.opening, nil
	}
	s.opening = make(chan struct{})
	return nil, nil, nil
}

// what names the session's resource in receipts.
func (s *session) what() string { return "session with " + s.spec.Target }

// open makes a new incarnation and joins it. It is called by one at a time.
func (s *session) open(ctx context.Context, held *resources.Held) (*incarnation, *resources.Grip, error) {
	var in *incarnation
	defer func() { s.openingOver(ctx, in) }() // after a panic, too
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
func (s *session) openingOver(ctx context.Context, in *incarnation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.opening)
	s.opening = nil
	now := time.Now()
	switch {
	case in != nil:
		in.opened, in.used, in.calls = now, now, 1
		s.now, s.failures, s.again = in, 0, time.Time{}
	case !errors.Is(ctx.Err(), context.Canceled) && !now.Before(s.again):
		delay := min(reopenMost, reopenFirst<<min(s.failures, 16))
		s.failures++
		s.again = now.Add(delay + rand.N(delay/10)) // jitter, so that many do not come at once
	}
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
	if due, ok := ctx.Deadline(); ok && due.Before(again) {
		return fmt.Errorf("%s: %w: it is opened again in %s", s.what(), timeoutpolicy.ErrTooLate, round(wait))
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

// doubts reports whether a joined incarnation is too old, or has to be checked. One that
// other calls use, too, is neither.
func (s *session) doubts(in *incarnation) (old, unproven bool) {
	t := s.kind.Traits
	s.mu.Lock()
	defer s.mu.Unlock()
	if in.calls > 1 {
		return false, false
	}
	old = t.MaxAge > 0 && time.Since(in.opened) > t.MaxAge
	unproven = t.CheckAfter > 0 && time.Since(in.used) > t.CheckAfter && s.kind.Check != nil
	return old, unproven
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
	if idle := s.kind.Traits.IdleClose; idle > 0 && in.calls == 0 && s.now == in {
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
		// Where it is refused, the session itself still keeps it, until it is closed.
		_, _ = s.rt.Do(context.Background(), &retiring{s, in}, Options{Within: time.Minute, replaced: true})
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
	if err := held.Keep(e.in.bundle.Piece(e.s.what())); err != nil {
		return nil, err
	}
	e.s.keeper.Held().Drop(e.in.kept)
	return nil, nil
}
