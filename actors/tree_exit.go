package actors

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Reason is why a child ended.
type Reason uint8

// The reasons. The zero value is that it has not ended yet.
const (
	NoReason       Reason = iota
	ReasonNormal          // Serve returned nil, an actor stopped itself, a tree ended by its AutoShutdown
	ReasonShutdown        // it was stopped
	ReasonError           // Serve returned an error
	ReasonPanic           // Serve, a handler or a producer panicked, or ended its goroutine
	ReasonGaveUp          // a tree's restarts exceeded its intensity

	// ReasonExpired: its limit is over, or Serve returned a timeout (an error that is
	// context.DeadlineExceeded) while nobody had stopped it. It is restarted without
	// counting against the intensity, after the back-off, which then is never nothing.
	ReasonExpired
)

// String returns a word for logs.
func (r Reason) String() string {
	return nameOf(r, "", "normal", "shutdown", "error", "panic", "gave up", "expired")
}

// Exit is how a child ended.
type Exit struct {
	Reason Reason
	Err    error // what it ended with; nil where there is no more to say

	left []*straggler // what of it would not go
}

// String says it in a line.
func (e Exit) String() string {
	if e.Err == nil {
		return e.Reason.String()
	}
	return fmt.Sprintf("%s: %v", e.Reason, e.Err)
}

var (
	// ErrDoNotRestart returned by a service, or wrapped, is an end with the reason "normal"
	// after which it is not restarted, whatever its restart type: suture's meaning.
	ErrDoNotRestart = errors.New("the service is not to be restarted")

	// ErrTerminateTree returned by a service, or wrapped, ends all supervisors above it:
	// suture's ErrTerminateSupervisorTree.
	ErrTerminateTree = errors.New("the whole tree is to be terminated")

	// ErrStopping is the cause of the context of a child that is stopped.
	ErrStopping = errors.New("stopped by its supervisor")

	// ErrNoChild is returned for a path at which there is no child.
	ErrNoChild = errors.New("there is no such child")

	// ErrNameTaken is returned when a sibling of that name is there, if only as one that has
	// ended or would not go.
	ErrNameTaken = errors.New("there is a child of that name")

	// ErrTreeStopped is returned for changes to a tree that has stopped or is stopping.
	ErrTreeStopped = errors.New("the tree has stopped")
)

// LimitError says that a child's or a tree's limit is over. It is
// context.DeadlineExceeded, and the cause of the contexts that ended with it.
type LimitError struct {
	Path  string
	Limit time.Duration // what that run was given: its own limit, or what was left of one above it
}

// Error names the child.
func (e *LimitError) Error() string {
	return fmt.Sprintf("%s: timeout exceeded: its limit of %s is over", e.Path, round(e.Limit))
}

// Timeout reports true, as net.Error's does.
func (e *LimitError) Timeout() bool { return true }

// Unwrap returns context.DeadlineExceeded.
func (e *LimitError) Unwrap() error { return context.DeadlineExceeded }

// GaveUpError says that a supervisor gave up: its restarts exceeded its intensity.
type GaveUpError struct {
	Path      string // of the supervisor
	Intensity int
	Period    time.Duration
	Child     string // the one whose failure was one too many
	Exit      Exit   // and how it ended
}

// Error names the supervisor and the last failure.
func (e *GaveUpError) Error() string {
	return fmt.Sprintf("%s gave up: more than %d restarts in %s; the last was %s: %s", e.Path, e.Intensity, e.Period, e.Child, e.Exit)
}

// Unwrap returns what the child ended with.
func (e *GaveUpError) Unwrap() error { return e.Exit.Err }

// ending is what is known when a child has ended.
type ending struct {
	err      error
	panicked bool
	stopped  bool // it had been asked to
	expired  bool // its limit was over
}

// exit judges it. What was stopped did as it was told, however it went.
func (e ending) exit() Exit {
	switch {
	case e.panicked && !e.stopped:
		return Exit{Reason: ReasonPanic, Err: e.err}
	case e.stopped:
		return Exit{Reason: ReasonShutdown, Err: quiet(e.err)}
	case e.err == nil && !e.expired:
		return Exit{Reason: ReasonNormal}
	case errors.Is(e.err, ErrDoNotRestart), errors.Is(e.err, ErrTerminateTree):
		return Exit{Reason: ReasonNormal, Err: e.err}
	case e.expired, errors.Is(e.err, context.DeadlineExceeded):
		return Exit{Reason: ReasonExpired, Err: e.err}
	}
	return Exit{Reason: ReasonError, Err: e.err}
}

// quiet drops an error that only says that the child was stopped.
func quiet(err error) error {
	if errors.Is(err, ErrStopping) || errors.Is(err, ErrClosed) {
		return nil
	}
	return notNoise(err)
}

// restarts reports whether a child that ended so by itself is started again.
func (r Restart) restarts(exit Exit) bool {
	switch {
	case r == Temporary, errors.Is(exit.Err, ErrDoNotRestart):
		return false
	case r == Transient:
		return exit.Reason != ReasonNormal && exit.Reason != ReasonShutdown
	}
	return true
}
