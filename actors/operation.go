package actors

import (
	"context"
	"slices"
	"sync"
	"time"

	"curfew.example/resources"
)

// operation is the context a resource runs under. It takes its values from the caller's
// context but ends only when the runtime says so: there is no second timer, and through
// AfterFunc no goroutine for a context derived from it. Its Err is DeadlineExceeded at an
// expiry while context.Cause is ours. It lives inside its request: no allocation of its own.
type operation struct {
	values   context.Context
	held     *resources.Held
	deadline time.Time // zero: unlimited

	mu    sync.Mutex
	done  chan struct{} // made when first asked for
	err   error
	why   error           // our cause; nil where there is none
	cause context.Context // ended with why, for context.Cause to find; made when first asked for
	after []waiter
	last  int // number of the latest waiter
}

// waiter is a function to call at the end.
type waiter struct {
	number int
	f      func()
}

// Deadline implements context.Context.
func (o *operation) Deadline() (time.Time, bool) { return o.deadline, !o.deadline.IsZero() }

// Done implements context.Context.
func (o *operation) Done() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.done == nil {
		o.done = make(chan struct{})
		if o.err != nil {
			close(o.done)
		}
	}
	return o.done
}

// Err implements context.Context.
func (o *operation) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// Value implements context.Context.
func (o *operation) Value(key any) any {
	if _, ok := key.(resources.HeldKey); ok {
		return o.held
	}
	if cause := o.ended(); cause != nil {
		// context.Cause asks for package context's private key. A context made from
		// Background knows that key and no other, so this answers nothing else.
		if v := cause.Value(key); v != nil {
			return v
		}
	}
	return o.values.Value(key)
}

// ended returns a context that has ended with our cause, nil where there is none.
func (o *operation) ended() context.Context {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.cause == nil && o.why != nil {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(o.why)
		o.cause = ctx
	}
	return o.cause
}

// AfterFunc is what package context looks for in a parent that is none of its own: f is
// called once when the operation ends, unless the function it returns is called before.
func (o *operation) AfterFunc(f func()) (stop func() bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		// The goroutine ends with f, which is a cancel function of package context.
		go f()
		return func() bool { return false }
	}
	o.last++
	number := o.last
	o.after = append(o.after, waiter{number, f})
	return func() bool { return o.forget(number) }
}

// forget takes a waiter off the list; false when it is not there any more.
func (o *operation) forget(number int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.IndexFunc(o.after, func(w waiter) bool { return w.number == number })
	if i >= 0 {
		o.after = slices.Delete(o.after, i, i+1)
	}
	return i >= 0
}

// end ends the context, once; cause may be nil.
func (o *operation) end(err, cause error) {
	o.mu.Lock()
	if o.err != nil {
		o.mu.Unlock()
		return
	}
	o.err, o.why = err, cause
	if o.done != nil {
		close(o.done)
	}
	after := o.after
	o.after = nil
	o.mu.Unlock()
	for _, w := range after {
		w.f()
	}
}
