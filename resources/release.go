package resources

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"time"
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
		done(Sound(err))
	}()
	err = f()
	returned = true
}

// Sound stands in for an error whose own methods panic, such as a nil pointer in an
// interface: asked later, on a goroutine of the runtime, it would end the process.
func Sound(err error) (safe error) {
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
	if err = closed(Sound(err)); err == nil {
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
			err = Sound(&Panicked{Value: v, Stack: debug.Stack()})
		}
	}()
	return Sound(f())
}

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
