package resources

import (
	"context"
	"fmt"
)

// Spec says what a resource is before it is used: enough to find its endpoint,
// to ask for a budget and to name it in errors and receipts.
type Spec struct {
	// Kind names the kind of resource: "fetch", "command", "func" …
	Kind string

	// Target is what errors, logs and receipts show: scheme://host:port, a
	// program's name. Never arguments, userinfo, path or query.
	Target string

	// Endpoint is the key of what is used: requests with the same kind and
	// endpoint share one concurrency cap, one queue, one list of leftovers.
	Endpoint string

	// Unbounded lifts the default concurrency cap of the endpoint.
	Unbounded bool

	// AtOnce is the endpoint's concurrency cap in place of the supervisor's, as the
	// first request to the endpoint says; 0 is the supervisor's.
	AtOnce int
}

// Resource is one use of something outside the process, with a result of type T.
type Resource[T any] interface {
	// Spec checks the resource's own fields and describes it. It is pure: it
	// opens nothing, so that bad input is found before any side effect. Errors
	// about bad input are *Invalid.
	Spec() (Spec, error)

	// Run opens the resource, uses it and returns the result. It registers with
	// held what it opens, before it can block on it. It runs on a goroutine of
	// its own and may block; when ctx ends, or when what it keeps is closed
	// under it, it returns soon, with what there is of the result.
	Run(ctx context.Context, held *Held) (T, error)
}

// Use is a Resource whose result type has been erased.
type Use interface {
	Spec() (Spec, error)
	Run(ctx context.Context, held *Held) (any, error)
}

// Of erases the result type of r, for messages and tables of mixed kinds.
func Of[T any](r Resource[T]) Use {
	if u, ok := any(r).(Use); ok {
		return u
	}
	if f, ok := any(r).(Function[T]); ok { // itself: what embeds one may have methods of its own
		return erasedFunction[T]{f}
	}
	return erased[T]{r}
}

type erased[T any] struct{ Resource[T] }

func (e erased[T]) Run(ctx context.Context, held *Held) (any, error) {
	v, err := e.Resource.Run(ctx, held)
	return v, err
}

// Prepare returns the Spec of u and what to run in u's place: a kind whose fields cost
// something to parse has that done once. It is for those who run a Use; u is not changed,
// and what is returned is good for one run.
func Prepare(u Use) (Spec, Use, error) {
	if e, ok := u.(erased[*Response]); ok {
		if f, ok := e.Resource.(Fetch); ok { // itself: see Of
			return f.prepare()
		}
	}
	spec, err := u.Spec()
	return spec, u, err
}

// Invalid reports input that no request can be made of. It is found before
// anything is opened.
type Invalid struct {
	Kind  string // kind of resource, as in Spec
	Field string // the field that is wrong, as the caller knows it: "URL", "Path" …
	Why   string // what is wrong with it; holds no secret
}

func (e *Invalid) Error() string {
	return fmt.Sprintf("%s: %s: %s", e.Kind, e.Field, e.Why)
}
