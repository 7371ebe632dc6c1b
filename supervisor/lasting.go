package supervisor

import (
	"cmp"
	"context"
	"sync"

	"curfew.example/resources"
)

// lasting is a request whose resource is handed out while the request goes on: its budget
// holds until the resource is closed. It stands behind the adapters.
type lasting[T any] struct {
	open   func(context.Context, *resources.Held) (T, error)
	spec   resources.Spec
	handed chan T        // one slot
	ended  chan struct{} // closed by end
	once   sync.Once
	done   chan struct{} // closed when the request has been answered
	err    error         // its answer; valid once done is closed
	held   *resources.Held
	ctx    context.Context // the operation's
}

// last submits a request that opens something and lasts until end is called. It returns
// when that is open, or with the request's error. options are those of Do.
func last[T any](ctx context.Context, s *Supervisor, spec resources.Spec, open func(context.Context, *resources.Held) (T, error), options ...Option) (T, *lasting[T], error) {
	l := &lasting[T]{
		open: open, spec: spec,
		handed: make(chan T, 1),
		ended:  make(chan struct{}),
		done:   make(chan struct{}),
	}
	go func() { // ends with the request, which its budget bounds
		defer close(l.done)
		_, l.err = Do(ctx, s, l, options...)
	}()
	select {
	case v := <-l.handed:
		return v, l, nil
	case <-l.done:
	}
	select {
	case v := <-l.handed: // opened, and over at once
		return v, l, nil
	default:
		var zero T
		return zero, nil, l.err
	}
}

// Spec implements resources.Resource.
func (l *lasting[T]) Spec() (resources.Spec, error) { return l.spec, nil }

// Run implements resources.Resource.
func (l *lasting[T]) Run(ctx context.Context, held *resources.Held) (struct{}, error) {
	v, err := l.open(ctx, held)
	if err != nil {
		return struct{}{}, err
	}
	l.held, l.ctx = held, ctx
	held.Opened()
	l.handed <- v
	select {
	case <-l.ended:
		return struct{}{}, nil
	case <-ctx.Done():
		return struct{}{}, ctx.Err()
	}
}

// end says that the resource is no longer used, and waits for the request's answer. It may
// be called more than once, by many.
func (l *lasting[T]) end() error {
	l.once.Do(func() { close(l.ended) })
	<-l.done
	return l.err
}

// why replaces an error met in the use of the resource by the request's, when that ended
// it: a read from a connection that expired fails with "use of closed connection". The wait
// is for a clean-up that is under way.
func (l *lasting[T]) why(err error) error {
	if err == nil || l.ctx.Err() == nil {
		return err
	}
	<-l.done
	return cmp.Or(l.err, err)
}
