package supervisor

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"curfew.example/actors"
	"curfew.example/resources"
)

// Supervision trees, by their public names. Each type is documented where it is made.
type (
	// Tree describes a supervisor and its children: see actors.Tree.
	Tree = actors.Tree

	// Child describes one child: see actors.Child.
	Child = actors.Child

	// Service is work that goes on until it is stopped: see actors.Service.
	Service = actors.Service

	// ServiceFunc makes a Service of a function: see actors.ServiceFunc.
	ServiceFunc = actors.ServiceFunc

	// Backoff is the wait before a restart: see actors.Backoff.
	Backoff = actors.Backoff

	// Grown is a tree that runs: see actors.Grown.
	Grown = actors.Grown

	// Node is what a tree prints: see actors.Node.
	Node = actors.Node

	// StopError says which children did not stop in time: see actors.StopError.
	StopError = actors.StopError

	// GaveUpError says that a supervisor's restarts exceeded its intensity: see actors.GaveUpError.
	GaveUpError = actors.GaveUpError

	// LimitError says that the limit of a child or a tree is over: see actors.LimitError.
	LimitError = actors.LimitError
)

// OTP's words.
const (
	// A Tree's Strategy: who is started anew when a child has ended.
	OneForOne  = actors.OneForOne  // that child
	OneForAll  = actors.OneForAll  // all of them
	RestForOne = actors.RestForOne // that child and those started after it

	// A Child's Restart: when it is, after it ended by itself.
	Permanent = actors.Permanent // always
	Transient = actors.Transient // unless it ended with the reason "normal" or "shutdown"
	Temporary = actors.Temporary // never

	// A Tree's AutoShutdown: when it ends because significant children have.
	Never          = actors.Never
	AnySignificant = actors.AnySignificant // with the first
	AllSignificant = actors.AllSignificant // with the last

	// NoRestarts as a Tree's Intensity: the first failure is one too many.
	NoRestarts = actors.NoRestarts
)

// What services return, bare or wrapped.
var (
	// ErrDoNotRestart: it has ended well, and whatever its Restart it is not started anew.
	ErrDoNotRestart = actors.ErrDoNotRestart

	// ErrTerminateTree: all supervisors above it are to end.
	ErrTerminateTree = actors.ErrTerminateTree
)

// ErrStopping is the cause of the context of a child that its supervisor stops.
var ErrStopping = actors.ErrStopping

// What Grown's methods return.
var (
	// ErrNoChild: there is none at that path.
	ErrNoChild = actors.ErrNoChild

	// ErrNameTaken: there is a sibling of that name, if only one that has ended or would
	// not go.
	ErrNameTaken = actors.ErrNameTaken

	// ErrTreeStopped: the tree has stopped, or is stopping.
	ErrTreeStopped = actors.ErrTreeStopped
)

// Grow starts a supervision tree:
//
//	tree, err := sup.Grow(ctx, supervisor.Tree{
//		Name: "crawler", Strategy: supervisor.RestForOne,
//		Children: []supervisor.Child{
//			{Name: "dns", Service: resolver},
//			{Tree: &supervisor.Tree{Name: "fetchers", Intensity: 10}},
//			{Name: "store", Service: store, Shutdown: 30 * time.Second},
//		},
//	})
//	defer tree.Stop(0)
//
// Its children are started in order before Grow returns. When ctx ends, the tree is
// stopped; ctx's deadline is the tree's. Close stops it too, before it drains the requests.
// An error says what is wrong with t (*Invalid), or is ErrClosed; nothing runs then.
func (s *Supervisor) Grow(ctx context.Context, t Tree) (*Grown, error) { return s.runtime.Grow(ctx, t) }

// GrownFrom returns the tree that a service's context belongs to, nil when there is none.
func GrownFrom(ctx context.Context) *Grown { return actors.GrownFrom(ctx) }

// Hold makes a service of a session, as the child of a tree: it opens the session, holds it
// until it is stopped, and closes it. An opening that fails or expires is the end of the
// service, for its supervisor to restart; the options are those of the opening.
func Hold[H, S any](s *Supervisor, r resources.Session[H, S], options ...Option) *Holding[S] {
	h := &Holding[S]{open: func(ctx context.Context) (S, error) { return Open(ctx, s, r, options...) }, changed: make(chan struct{})}
	if spec, err := r.Spec(); err == nil {
		h.name = spec.Kind
	}
	return h
}

// Holding is a session as a service. Many goroutines may use it.
type Holding[S any] struct {
	open func(context.Context) (S, error)
	name string

	mu      sync.Mutex
	face    S
	is      bool          // face is open
	changed chan struct{} // closed, and another made, when that changes
}

// String names the service: the session's kind.
func (h *Holding[S]) String() string { return h.name }

// Face returns the session's face. While it is not open Face waits, for as long as ctx
// lets it.
func (h *Holding[S]) Face(ctx context.Context) (S, error) {
	for {
		h.mu.Lock()
		face, is, changed := h.face, h.is, h.changed
		h.mu.Unlock()
		if is {
			return face, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			var none S
			return none, fmt.Errorf("%s is not open: %w", h.name, context.Cause(ctx))
		}
	}
}

// Serve implements Service.
func (h *Holding[S]) Serve(ctx context.Context) error {
	face, err := h.open(ctx)
	if err != nil {
		return err
	}
	h.set(face, true)
	<-ctx.Done()
	var none S
	h.set(none, false)
	if c, ok := any(face).(io.Closer); ok {
		return c.Close()
	}
	return nil
}

func (h *Holding[S]) set(face S, is bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.face, h.is = face, is
	close(h.changed)
	h.changed = make(chan struct{})
}

// DefaultShutdown is how long a child, or a whole tree, is given to stop unless its
// Shutdown says otherwise.
const DefaultShutdown time.Duration = actors.DefaultShutdown
