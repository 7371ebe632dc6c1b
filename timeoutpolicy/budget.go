package timeoutpolicy

import (
	"context"
	"errors"
	"math"
	"time"
)

// Unlimited is a length of time that never ends. It is never assumed: a limit
// is unlimited only where somebody said this word, and the receipt shows it.
const Unlimited = time.Duration(math.MaxInt64)

// None, as a Grace or a Force, means no wait at all. As the zero value of those
// fields means their default, "no wait" has to be said.
const None = time.Duration(-1)

// Defaults for the zero values of Budget.Grace and Budget.Force.
const (
	DefaultGrace = 2 * time.Second
	DefaultForce = 1 * time.Second
)

// ErrNoLimit is returned when nobody grants a request a limit: no policy, no
// explicit limit, no deadline in the context. Nothing has been started.
var ErrNoLimit = errors.New("no limit: neither a policy nor the caller grants one")

// ErrTooLate is returned when the time that is left is zero, negative or too
// small to be of use. Nothing has been started.
var ErrTooLate = errors.New("too late: no time is left")

// Ask is what a policy is asked: who wants to use what, and how much time the
// caller has left. It is plain data and may be read by many goroutines.
type Ask struct {
	Kind     string // kind of resource: "fetch", "command", "func" …
	Endpoint string // host:port, program …, as in resources.Spec
	Class    string // class of caller, as given with the request; may be empty

	// Remaining is what the caller has left, by its context's deadline.
	// Unlimited when it has none; zero or negative when it has passed.
	Remaining time.Duration

	// Within is the limit the caller set for this one request. Zero when it set
	// none. It replaces what a policy grants, but not what a Cap allows.
	Within time.Duration

	// Now is the time of asking. Policies use it in place of time.Now.
	Now time.Time
}

// Budget is what a policy grants one request. The zero value grants nothing.
type Budget struct {
	Limit time.Duration // until the request is stopped; 0 is not granted, Unlimited has to be said
	Stall time.Duration // longest time without progress; 0 is no such limit
	Warn  time.Duration // after this the request is reported, not stopped; 0 is never
	Grace time.Duration // for the clean-up before force; 0 is DefaultGrace, None no wait; never Unlimited
	Force time.Duration // bounded wait after force; 0 is DefaultForce, None no wait; never Unlimited

	// Cap is the most that any limit of this request may be, an explicit one
	// (Ask.Within) included. 0 is no cap.
	Cap time.Duration

	// GrantedBy names the rule that decided Limit, for errors and receipts.
	GrantedBy string
}

// Policy grants budgets. Rules are policies too: each is given what the rules
// to its left granted and returns what it makes of that. A policy that cannot
// grant anything returns sofar unchanged or an error. Many goroutines may call
// Grant at once; it must be pure (no I/O, no waiting) unless it says otherwise
// with Blocker.
type Policy interface {
	Grant(ask Ask, sofar Budget) (Budget, error)
}

// Blocker is implemented by policies that may wait or run foreign code. They are
// asked on a goroutine of their own, with a bound on the wait, never inline.
type Blocker interface {
	Blocks() bool
}

// Blocks reports whether p has to be asked on a goroutine of its own: it says so
// with Blocker, or it is not one of this package's rules.
func Blocks(p Policy) bool {
	if b, ok := p.(Blocker); ok {
		return b.Blocks()
	}
	return true
}

// overrideKey is the context's key for Override.
type overrideKey struct{}

// Override returns a context whose requests are granted by p in place of their
// supervisor's policy. It is seen by nobody else, and gone with the context. A
// nil p takes an outer override away again.
func Override(ctx context.Context, p Policy) context.Context {
	return context.WithValue(ctx, overrideKey{}, overridden{p})
}

type overridden struct{ policy Policy }

// Overridden returns the policy that Override put into ctx, nil when there is none.
func Overridden(ctx context.Context) Policy {
	o, _ := ctx.Value(overrideKey{}).(overridden)
	return o.policy
}
