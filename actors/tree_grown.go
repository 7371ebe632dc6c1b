package actors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// Grown is a tree that runs. Many goroutines may use it. Whoever grew it stops it, with
// Stop or by the context it was grown with; closing the supervisor does, too.
//
// Children are addressed by their path below the top: "fetchers/example.org". A change is
// no business of the children's own: one that waits for its own stop waits in vain.
type Grown struct {
	tree  *tree
	once  sync.Once
	stuck error // set under once
}

// grownKey is the key under which a service's context carries the tree it belongs to.
type grownKey struct{}

// GrownFrom returns the tree that a service's context belongs to, nil when there is none.
func GrownFrom(ctx context.Context) *Grown {
	g, _ := ctx.Value(grownKey{}).(*Grown)
	return g
}

// spawnTree asks the root to spawn a tree's actor.
type spawnTree struct {
	tree  *tree
	reply chan error // one slot
}

// spawnTree makes a tree of its own of t, under the root. What is spawned while the root
// stops would never be stopped.
func (a *root) spawnTree(c actor.Context, t *tree) error {
	if a.rt.closing.Load() || !a.rt.forest.plant(t) {
		return ErrClosed
	}
	c.SpawnPrefix(t.props(), actorName(t.spec.Name))
	return nil
}

// Grow starts a tree. Its children are started in order, the nested ones with theirs,
// before Grow returns. The services' contexts have ctx's values; when ctx ends, the tree
// is stopped, in order, and its deadline is the tree's. An error says what is wrong with t
// (*resources.Invalid), or that the runtime is closed (ErrClosed); nothing runs then.
func (rt *Runtime) Grow(ctx context.Context, spec Tree) (*Grown, error) {
	spec = spec.named("")
	if err := spec.check(0); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("grow %s: %w", spec.Name, context.Cause(ctx))
	}
	g := &Grown{}
	deadline, _ := ctx.Deadline()
	g.tree = newTree(rt, spec, spec.Name, context.WithValue(context.WithoutCancel(ctx), grownKey{}, g), deadline)
	// Its goroutine, when there is one, ends with a post to a mailbox.
	g.tree.release = context.AfterFunc(ctx, func() { g.contextEnded(ctx) })
	if err := rt.plant(g.tree); err != nil {
		g.tree.release()
		return nil, err
	}
	return g, nil
}

// plant has the root spawn a tree.
func (rt *Runtime) plant(t *tree) error {
	msg := &spawnTree{tree: t, reply: make(chan error, 1)}
	rt.system.Root.Send(rt.root, msg)
	select { // the root answers or is closed; it never waits for anything
	case err := <-msg.reply:
		return err
	case <-rt.closed:
		return ErrClosed
	}
}

// contextEnded stops the tree because the context it was grown with has ended. At a
// deadline the tree's own timer says so.
func (g *Grown) contextEnded(ctx context.Context) {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		g.end(Exit{Reason: ReasonShutdown, Err: context.Cause(ctx)}, shutdownOf(g.tree.spec.Shutdown))
	}
}

func (g *Grown) end(exit Exit, budget time.Duration) {
	g.tree.post(&treeEnd{exit, time.Now().Add(budget)})
}

// Stop stops the tree within budget, or, for 0, within its Shutdown, and waits for that.
// The last started is stopped first; what a child does not need of its part of the budget
// goes to those that come after it. Children that did not stop in time are in the error, a
// *StopError, with their stacks, and among the supervisor's Leftovers until they go; nil
// says that all have gone. It may be called more than once, by many.
func (g *Grown) Stop(budget time.Duration) error {
	if budget == 0 {
		budget = g.tree.spec.Shutdown
	}
	g.end(Exit{Reason: ReasonShutdown}, shutdownOf(budget))
	<-g.tree.done // bounded by the budget
	return g.unstopped()
}

// Done is closed when the tree has stopped.
func (g *Grown) Done() <-chan struct{} { return g.tree.done }

// Wait waits until the tree has stopped and says why: nil after Stop or an auto-shutdown,
// the cause of the context it was grown with, ErrClosed when the supervisor was closed, a
// *GaveUpError, a *LimitError, or what ErrTerminateTree was wrapped in. A *StopError is
// joined to it where children would not go.
func (g *Grown) Wait() error {
	<-g.tree.done // as long as the tree runs: the caller asked for it
	if err := g.tree.exit().Err; err != nil {
		return errors.Join(err, g.unstopped())
	}
	return g.unstopped() // as it is: joined to nothing it would not print its stacks
}

// unstopped reports what had not gone when the tree had stopped. The stacks are taken by
// the first who asks.
func (g *Grown) unstopped() error {
	g.once.Do(func() {
		t := g.tree
		t.mu.Lock()
		left, took := t.left, t.ended.Sub(t.ending)
		t.mu.Unlock()
		g.stuck = stopError(t.path, took, left)
	})
	return g.stuck
}

// Start adds a child and starts it: the last of the supervisor that its path names.
// "fetchers/example.org" as its Name is "example.org" under "fetchers". It lives there
// until it is removed, or its supervisor ends or is itself restarted. The errors are
// *resources.Invalid, ErrNameTaken, ErrNoChild, ErrTreeStopped.
func (g *Grown) Start(child Child) error {
	child = child.withPath()
	t, name, err := g.find(child.Name)
	if err != nil {
		return err
	}
	child.Name = name
	child = child.named()
	if err := child.check(t.spec.AutoShutdown, strings.Count(t.path, "/")); err != nil {
		return err
	}
	return t.answer(name, func(reply chan error) any { return &treeAdd{child, reply} })
}

// withPath names a child that has no name of its own, so that it can be addressed.
func (c Child) withPath() Child {
	if c.Name == "" {
		c.Name = c.named().Name
	}
	return c
}

// StopChild stops a child, within its Shutdown, and waits for that. It stays where it is,
// and is started again by Restart, or when its strategy restarts others along with it; a
// temporary one is forgotten. A child that would not go is a *StopError.
func (g *Grown) StopChild(path string) error { return g.ask(path, nextStay) }

// Restart starts a child that has stopped; one that runs is stopped first. It counts for
// nothing. A child that would not go is a *StopError; it is started once it has gone.
func (g *Grown) Restart(path string) error { return g.ask(path, nextAgain) }

// Remove stops a child and forgets it. One that would not go is a *StopError; its name is
// free once it has gone.
func (g *Grown) Remove(path string) error { return g.ask(path, nextRemove) }

func (g *Grown) ask(path string, n next) error {
	t, name, err := g.find(path)
	if err != nil {
		return err
	}
	began := time.Now()
	err = t.answer(name, func(reply chan error) any { return &treeAsk{name, n, reply} })
	var stuck *stuckError
	if errors.As(err, &stuck) {
		return stopError(t.path+"/"+name, time.Since(began), stuck.left)
	}
	return err
}

// answer sends a message and waits for the answer: the supervisor answers when the child
// has settled, which its Shutdown bounds, or stops.
func (t *tree) answer(name string, message func(reply chan error) any) error {
	reply := make(chan error, 1)
	t.post(message(reply))
	var err error
	select {
	case err = <-reply:
	case <-t.done:
		select {
		case err = <-reply:
		default:
			err = ErrTreeStopped
		}
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s/%s: %w", t.path, name, err)
}

// find returns the supervisor that a path leads to, and the last name.
func (g *Grown) find(path string) (*tree, string, error) {
	t, names := g.tree, strings.Split(path, "/")
	last := len(names) - 1
	for _, name := range names[:last] {
		below, err := t.below(name)
		if err != nil {
			return nil, "", err
		}
		t = below
	}
	return t, names[last], nil
}

// below returns the supervisor that runs under a name.
func (t *tree) below(name string) (*tree, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.branches[name]
	if b == nil {
		return nil, fmt.Errorf("%s/%s: %w", t.path, name, ErrNoChild)
	}
	below, ok := b.limb.(*tree)
	if !ok || b.pid == nil {
		return nil, fmt.Errorf("%s/%s: %w: no supervisor runs there", t.path, name, ErrNoChild)
	}
	return below, nil
}

// PID returns the address of the plain actor at a path, for the run it is in: a restart
// changes it. While its producer is at work it waits for that, or for ctx.
func (g *Grown) PID(ctx context.Context, path string) (*actor.PID, error) {
	t, name, err := g.find(path)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	var p *plain
	if b := t.branches[name]; b != nil {
		p, _ = b.limb.(*plain)
	}
	t.mu.Unlock()
	if p == nil {
		return nil, fmt.Errorf("%s/%s: %w: no plain actor runs there", t.path, name, ErrNoChild)
	}
	select {
	case <-p.ready:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid == nil {
		return nil, fmt.Errorf("%s: %w", p.path, p.end.err)
	}
	return p.pid, nil
}

// forest is the trees of a runtime.
type forest struct {
	mu     sync.Mutex
	closed bool
	trees  map[*tree]struct{}
}

// plant books a tree; false when no more are taken.
func (f *forest) plant(t *tree) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	if f.trees == nil {
		f.trees = make(map[*tree]struct{})
	}
	f.trees[t] = struct{}{}
	return true
}

// fell takes a tree that has stopped off the books.
func (f *forest) fell(t *tree) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.trees, t)
}

// stop stops all trees at once, each within its Shutdown, and waits for them. Their
// requests are taken meanwhile: a service may need some for its end.
func (f *forest) stop() {
	f.mu.Lock()
	f.closed = true
	var all []*tree
	for t := range f.trees {
		all = append(all, t)
	}
	f.mu.Unlock()
	for _, t := range all {
		t.post(&treeEnd{Exit{Reason: ReasonShutdown, Err: ErrClosed}, time.Now().Add(shutdownOf(t.spec.Shutdown))})
	}
	for _, t := range all {
		<-t.done // bounded by its Shutdown
	}
}
