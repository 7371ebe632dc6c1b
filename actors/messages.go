package actors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/resources"
)

// Request asks a supervisor, by message to its PID, to run Use. The sender gets exactly
// one *Response, or the actor system's *actor.DeadLetterResponse once the supervisor is
// gone; a request without a sender is refused. Requests of one sender to one endpoint begin
// in the order they were sent, unless the policy in force has to be waited for. When the
// sender is an actor and stops, its requests are stopped too.
type Request struct {
	// ID tells the sender's requests apart while they are under way, and comes back in
	// the Response.
	ID uint64

	// Use is what to run: resources.Of(resources.Fetch{…}).
	Use resources.Use

	// Within is an explicit limit; 0 leaves it to the policy. Negative is refused.
	Within time.Duration

	// Remaining is what is left of the budget the sender itself works under; 0 says that
	// there is none. It travels as a length of time, never as a clock time. Negative is
	// refused as too late. A budget of the envelope (Within, Ask) counts beside it: the
	// smaller holds.
	Remaining time.Duration

	// Class is the class of caller, for the policy.
	Class string

	// Priority decides who begins first of those who wait; the higher.
	Priority int

	// CleanupMethod names the method that is the clean-up hook, of the object given to
	// Func with On. Empty is none.
	CleanupMethod string
}

// Inherit sets Remaining from ctx's deadline and returns q: a request made in the course
// of another may take no longer than that one has left.
func (q *Request) Inherit(ctx context.Context) *Request {
	if due, ok := ctx.Deadline(); ok {
		// A rest of exactly nothing must not read as "no budget".
		if q.Remaining = time.Until(due); q.Remaining == 0 {
			q.Remaining = -1
		}
	}
	return q
}

// Left is for whoever takes requests in a supervisor's place: what is left of the sender's
// budget, as Remaining has it, by what q says of it and by its envelope, which has counted
// the time in the mailbox. c is the context of q's own message.
func (q *Request) Left(c actor.Context) time.Duration {
	left, ok := Remaining(c)
	switch {
	case !ok || q.Remaining != 0 && q.Remaining < left:
		return q.Remaining
	case left == 0: // which would read as "no budget"
		return -1
	}
	return left
}

// Response is the one answer to a Request. Value and Err are what Do would have returned.
type Response struct {
	ID      uint64
	Value   any
	Err     error
	Receipt *Receipt
}

// IgnoreDeadLetterLogging marks responses to requesters that have gone: no news.
func (*Response) IgnoreDeadLetterLogging() {}

// Cancel stops the sender's request of that ID; its Response says so. A request that is
// over, or was never there, is no error: the Response is on its way or has come. It needs
// a sender, as the Request did: ctx.Request, not ctx.Send.
type Cancel struct{ ID uint64 }

// ErrDuplicateID is returned for a Request whose sender has one of the same ID under way.
var ErrDuplicateID = errors.New("a request of this ID is under way")

// errCancelMessage is the cause of a request stopped by Cancel.
var errCancelMessage = errors.New("cancelled by its requester")

// As returns the response's value as a T, beside its error. A value of another type is an
// error; no value at all (after most failures) is the zero T.
func As[T any](resp *Response) (T, error) {
	v, ok := resp.Value.(T)
	if !ok && resp.Value != nil {
		return v, errors.Join(fmt.Errorf("response %d holds a %T, not a %T", resp.ID, resp.Value, v), resp.Err)
	}
	return v, resp.Err
}
