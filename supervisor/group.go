package supervisor

import (
	"context"
	"sync"

	"curfew.example/resources"
)

// Group runs functions side by side, each as a request of its own, under one context: the
// first that fails ends the others, and Wait returns when what all of them held is gone. It
// has the shape of golang.org/x/sync/errgroup. Supervisor.Group makes one; many goroutines
// may use it.
type Group struct {
	sup    *Supervisor
	ctx    context.Context
	cancel context.CancelCauseFunc
	all    sync.WaitGroup
	slots  chan struct{} // nil: no limit

	once sync.Once
	err  error // the first; valid once all are done
}

// Group returns a group whose functions run within ctx: its deadline is one that they
// share, beside the budget that the policy grants each. The caller calls Wait.
func (s *Supervisor) Group(ctx context.Context) *Group {
	ctx, cancel := context.WithCancelCause(ctx)
	return &Group{sup: s, ctx: ctx, cancel: cancel}
}

// SetLimit has no more than n functions run at once, and Go wait for one to end; n of 0 or
// less is no limit, as at the start. It may only be called before the first Go.
func (g *Group) SetLimit(n int) {
	g.slots = nil
	if n > 0 {
		g.slots = make(chan struct{}, n)
	}
}

// Go runs work as a request, with the options of Do. Its deadline is fixed when it starts,
// which with SetLimit may be later than the call. Once the group has ended nothing is
// started any more.
//
// What work is to heed, and what becomes of work that does not, is said at resources.Func.
// A panic is an error of the group (*Panicked). What work makes by Do, with the context
// that it gets, shares its deadline and ends with the group.
func (g *Group) Go(work func(context.Context) error, options ...Option) {
	if !g.enter() {
		return
	}
	g.all.Go(func() { // ends with its request, which is bounded; Wait waits for it
		defer g.leave()
		_, err := Do(g.ctx, g.sup, function(work), options...)
		g.settle(err)
	})
}

// function is work as a resource; nil stays none, which is refused.
func function(work func(context.Context) error) resources.Function[struct{}] {
	if work == nil {
		return resources.Func[struct{}](nil)
	}
	return resources.Func(func(ctx context.Context) (struct{}, error) { return struct{}{}, work(ctx) })
}

// enter takes a slot; false says that the group has ended first.
func (g *Group) enter() bool {
	if g.slots == nil {
		return true
	}
	select {
	case g.slots <- struct{}{}:
		return true
	case <-g.ctx.Done():
		g.settle(context.Cause(g.ctx))
		return false
	}
}

func (g *Group) leave() {
	if g.slots != nil {
		<-g.slots
	}
}

// settle ends the group with the first error.
func (g *Group) settle(err error) {
	if err != nil {
		g.once.Do(func() {
			g.err = err
			g.cancel(err)
		})
	}
}

// Wait returns when every function has been answered for, and with the first error: that
// of a function, by which the others were cancelled, or why the context ended. Nothing runs
// in the group after it.
func (g *Group) Wait() error {
	g.all.Wait()
	g.once.Do(func() { g.cancel(context.Canceled) })
	return g.err
}
