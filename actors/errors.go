package actors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// ErrClosed is returned for requests to a runtime that is closed or closing, and is the
// cause of those that the closing stopped.
var ErrClosed = errors.New("the supervisor is closed")

// ErrOverloaded is returned when an endpoint's queue is full, or when so much of it is
// left over from earlier requests that it takes no more. Nothing has been started.
var ErrOverloaded = errors.New("overloaded")

// ErrRequesterGone is the cause of a request whose requesting actor has stopped.
var ErrRequesterGone = errors.New("the requesting actor has stopped")

// ExpiredError says that a limit ended a request. It unwraps to
// context.DeadlineExceeded, to the cause of the caller's own deadline if that was the
// limit, and to the errors of the clean-up.
type ExpiredError struct {
	Receipt *Receipt
	Cause   error // why the caller's context ended, when that says more than its Err; else nil
	Cleanup error // a hook's error, and what is left over, joined; nil when all is gone
	Work    error // what the operation returned, unless it only says that it was ended ("use of closed connection")
}

// Error says which limit ended what, who granted it and where the time went.
func (e *ExpiredError) Error() string {
	r := e.Receipt
	var b strings.Builder
	fmt.Fprintf(&b, "%s: timeout exceeded while %s: %s, used %s%s", title(r.Kind, r.Target), r.Phase, limitText(r), round(r.Used), spent(r.Phases))
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	cleanupText(&b, r, e.Cleanup)
	return b.String()
}

// limitText says which limit it was and who set it.
func limitText(r *Receipt) string {
	if r.Phase == Stalled {
		return fmt.Sprintf("no progress for %s", round(r.Budget.Stall))
	}
	return fmt.Sprintf("limit %s granted by %s", round(r.Budget.Limit), r.Budget.GrantedBy)
}

// Is reports whether target is context.DeadlineExceeded: errors.Is, which is asked that of every
// expiry, asks it before Unwrap, which makes a list.
func (e *ExpiredError) Is(target error) bool { return target == context.DeadlineExceeded }

// Unwrap returns context.DeadlineExceeded and whatever else there is.
func (e *ExpiredError) Unwrap() []error {
	return present(context.DeadlineExceeded, e.Cause, e.Cleanup, e.Work)
}

// Timeout reports true, as net.Error's does for timeouts.
func (e *ExpiredError) Timeout() bool { return true }

// Temporary reports true: with Timeout it makes the error a net.Error.
func (e *ExpiredError) Temporary() bool { return true }

// CancelledError says that a request was stopped before its limit: its caller's context
// was cancelled, its requester died, or the supervisor closed. It unwraps to
// context.Canceled, to the cause, and to the errors of the clean-up.
type CancelledError struct {
	Receipt *Receipt
	Cause   error // why: context.Cause of the caller's context, ErrClosed, ErrRequesterGone
	Cleanup error // a hook's error, and what is left over, joined; nil when all is gone
	Work    error // what the operation returned, unless it only says that it was ended
}

// Error says what was cancelled, where it was and why.
func (e *CancelledError) Error() string {
	r := e.Receipt
	var b strings.Builder
	fmt.Fprintf(&b, "%s: cancelled", title(r.Kind, r.Target))
	if r.Phase != NoPhase {
		fmt.Fprintf(&b, " while %s", r.Phase)
	}
	fmt.Fprintf(&b, ": %v", e.Cause)
	cleanupText(&b, r, e.Cleanup)
	return b.String()
}

// Is reports whether target is context.Canceled, as ExpiredError's does for its own.
func (e *CancelledError) Is(target error) bool { return target == context.Canceled }

// Unwrap returns context.Canceled and whatever else there is.
func (e *CancelledError) Unwrap() []error {
	return present(context.Canceled, e.Cause, e.Cleanup, e.Work)
}

// UnreleasedError says that the operation succeeded but something of it would not go.
type UnreleasedError struct {
	Receipt *Receipt
	Cleanup error // what went wrong in the clean-up, joined
}

// Error names what is left.
func (e *UnreleasedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: completed, but the release failed", title(e.Receipt.Kind, e.Receipt.Target))
	cleanupText(&b, e.Receipt, e.Cleanup)
	return b.String()
}

// Unwrap returns the errors of the clean-up.
func (e *UnreleasedError) Unwrap() error { return e.Cleanup }

// title names a request: "fetch http://127.0.0.1:80", or the kind alone.
func title(kind, target string) string {
	if target == "" || target == kind {
		return kind
	}
	return kind + " " + target
}

// cleanupText adds what the clean-up has to say.
func cleanupText(b *strings.Builder, r *Receipt, err error) {
	for i, l := range r.Leftover {
		if i == 0 {
			b.WriteString("; clean-up unconfirmed: ")
		} else {
			b.WriteString(", ")
		}
		fmt.Fprintf(b, "%s (%s)", l.What, l.Why)
	}
	var left *resources.LeftoverError
	if err != nil && !errors.As(err, &left) {
		fmt.Fprintf(b, "; %v", err)
	}
}

// spent lists where the time went, phases that took none left out.
func spent(p Phases) string {
	var parts []string
	for _, x := range []struct {
		name string
		took time.Duration
	}{{"queued", p.Queued}, {"opening", p.Opening}, {"running", p.Running}, {"clean-up", p.Cleanup}} {
		if x.took > 0 {
			parts = append(parts, x.name+" "+round(x.took).String())
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// round keeps what a reader needs of a length of time.
func round(d time.Duration) time.Duration {
	switch {
	case d == timeoutpolicy.Unlimited:
		return d
	case d > time.Second:
		return d.Round(time.Millisecond)
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}

// present drops the nils.
func present(errs ...error) []error {
	var all []error
	for _, err := range errs {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}
