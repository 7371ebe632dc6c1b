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
	caller   context.Context // has the values
	held     *resources.Held // nil until the runner is started
	deadline time.Time       // zero: unlimited

	mu      sync.Mutex
	err     error
	why     error    // our cause; nil where there is none
	watched *watched // nil until somebody watches for the end
}

// watched is what an operation has for those who watch for its end. Most have nobody.
type watched struct {
	done  chan struct{}
	cause context.Context // ended with why, for context.Cause to find; made when first asked for
	after []waiter
	room  [1]waiter // of after
	last  int       // number of the latest waiter
}

// waiter is a function to call at the end.
type waiter struct {
	number int
	f      func()
}

// watch returns what there is for those who watch. Called with mu held.
func (o *operation) watch() *watched {
	if o.watched == nil {
		w := &watched{done: make(chan struct{})}
		w.after = w.room[:0]
		if o.err != nil {
			close(w.done)
		}
		o.watched = w
	}
	return o.watched
}

// Deadline implements context.Context.
func (o *operation) Deadline() (time.Time, bool) { return o.deadline, !o.deadline.IsZero() }

// Done implements context.Context.
func (o *operation) Done() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.watch().done
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
	return o.caller.Value(key)
}

// ended returns a context that has ended with our cause, nil where there is none.
func (o *operation) ended() context.Context {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.why == nil {
		return nil
	}
	w := o.watch()
	if w.cause == nil {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(o.why)
		w.cause = ctx
	}
	return w.cause
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
	w := o.watch()
	w.last++
	number := w.last
	w.after = append(w.after, waiter{number, f})
	return func() bool { return o.forget(number) }
}

// forget takes a waiter off the list; false when it is not there any more.
func (o *operation) forget(number int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.watched
	i := slices.IndexFunc(w.after, func(w waiter) bool { return w.number == number })
	if i >= 0 {
		w.after = slices.Delete(w.after, i, i+1)
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
	var after []waiter
	if w := o.watched; w != nil {
		close(w.done)
		after, w.after = w.after, nil
	}
	o.mu.Unlock()
	for _, w := range after {
		w.f()
	}
}
