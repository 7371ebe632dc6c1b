package supervisor

import (
	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// The errors of Do, by their public names. Each type is documented where it is made.
type (
	// Expired says that a limit ended the request: see actors.ExpiredError.
	Expired = actors.ExpiredError

	// Cancelled says that the caller or a closing ended it: see actors.CancelledError.
	Cancelled = actors.CancelledError

	// Panicked carries the panic of an operation: see resources.Panicked.
	Panicked = resources.Panicked

	// Unreleased says that the operation succeeded and something would not go: see
	// actors.UnreleasedError.
	Unreleased = actors.UnreleasedError

	// Invalid says what was wrong with the input: see resources.Invalid.
	Invalid = resources.Invalid

	// Receipt says what was held and how it went: see actors.Receipt.
	Receipt = actors.Receipt

	// Event is one step in the life of a request: see actors.Event.
	Event = actors.Event

	// Limits bounds what an endpoint takes: see actors.Limits.
	Limits = actors.Limits

	// Breaker configures an endpoint's circuit breaker: see actors.Breaker.
	Breaker = actors.Breaker
)

// Refusals: nothing was started.
var (
	// ErrNoLimit: nobody grants a limit: no policy, no Within, no deadline in the context.
	ErrNoLimit = timeoutpolicy.ErrNoLimit

	// ErrTooLate: the time that is left is zero, negative or too small to be of use.
	ErrTooLate = timeoutpolicy.ErrTooLate

	// ErrOverloaded: the endpoint's queue is full, or its leftovers are too many.
	ErrOverloaded = actors.ErrOverloaded

	// ErrBreakerOpen: the endpoint has failed so often of late that it is left alone.
	ErrBreakerOpen = actors.ErrBreakerOpen

	// ErrClosed: the supervisor is closed or closing.
	ErrClosed = actors.ErrClosed
)
