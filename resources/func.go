package resources

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
)

// Function is a plain Go function as a resource: see Func. It is a value: each of
// its methods returns a changed copy, and many goroutines may use it at once when
// its work allows that. The zero value is invalid, which Spec says.
type Function[T any] struct {
	work func(context.Context) (T, error)
	more *funcMore // nil when there is the work alone, so that a Function is two words
}

// funcMore is what few functions have. It is never changed once it is in a Function.
type funcMore struct {
	label    string
	cleanups []cleanup
	receiver any
	invalid  *Invalid // the first thing that was wrong with the rest
}

// cleanup is a clean-up hook in one of its two shapes.
type cleanup struct {
	plain   func() error
	context func(context.Context) error // nil: plain
}

// Func makes a resource of work. There is no default cap on how many run at once.
//
// work is to return soon once its context has ended, or once its clean-up hook has
// closed under it what it blocks on; what it returns then, though late, is handed to
// the caller as the partial result. A Go function cannot be stopped from outside: one
// that does not return is answered for on time, and is a leftover until it does.
func Func[T any](work func(context.Context) (T, error)) Function[T] {
	return Function[T]{work: work}
}

// Named gives the function a label, by which errors, receipts and metrics know it and
// requests share an endpoint. Without one it is "func".
func (f Function[T]) Named(label string) Function[T] {
	return f.with(func(m *funcMore) { m.label = label })
}

// Cleanup adds a clean-up hook, typically the Close of what work blocks on. It runs
// once, when the request expires, is cancelled or panics; never after a success or a
// plain error, and never for work that was not started. It may run while work still
// does: that is its purpose. Hooks run last in first out, and the wait for them is
// bounded by the budget's Grace and Force.
func (f Function[T]) Cleanup(hook func() error) Function[T] {
	return f.withCleanup(cleanup{plain: hook})
}

// CleanupContext is Cleanup for a hook that takes a context: it carries the values of
// the operation's own, and ends when the release gives up waiting for the hook. See
// CleanupMethod for a hook that is the named method of an object.
func (f Function[T]) CleanupContext(hook func(context.Context) error) Function[T] {
	return f.withCleanup(cleanup{context: hook})
}

func (f Function[T]) withCleanup(c cleanup) Function[T] {
	return f.with(func(m *funcMore) {
		if c.plain == nil && c.context == nil {
			m.invalid = &Invalid{Kind: kindFunc, Field: "Cleanup", Why: "is nil: a clean-up must be a function"}
			return
		}
		m.cleanups = append(slices.Clip(m.cleanups), c)
	})
}

// On remembers receiver as the object whose methods CleanupByName may name.
func (f Function[T]) On(receiver any) Function[T] {
	return f.with(func(m *funcMore) { m.receiver = receiver })
}

// CleanupByName adds the method of that name of the object given with On as a
// clean-up hook. The error is *Invalid: see CleanupMethod.
func (f Function[T]) CleanupByName(name string) (Use, error) {
	hook, err := CleanupMethod(f.extras().receiver, name)
	if err != nil {
		return nil, err
	}
	return Of[T](f.CleanupContext(hook)), nil
}

// Spec describes the function. It fails when the work or a clean-up is nil.
func (f Function[T]) Spec() (Spec, error) {
	if f.work == nil {
		return Spec{}, &Invalid{Kind: kindFunc, Field: "Func", Why: "there is no function to call"}
	}
	spec := Spec{Kind: kindFunc, Target: kindFunc, Endpoint: kindFunc, Unbounded: true}
	if f.more == nil {
		return spec, nil
	}
	if f.more.invalid != nil {
		return Spec{}, f.more.invalid
	}
	if f.more.label != "" {
		spec.Target, spec.Endpoint = f.more.label, f.more.label
	}
	return spec, nil
}

// Run calls the work on the caller's goroutine. A function that has ended before it
// began is not called.
func (f Function[T]) Run(ctx context.Context, held *Held) (T, error) {
	if err := f.open(ctx, held); err != nil {
		var zero T
		return zero, err
	}
	return f.work(ctx)
}

// open makes all ready for the work to begin, unless the use has ended.
func (f Function[T]) open(ctx context.Context, held *Held) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if f.more != nil && !armHooks(ctx, held, f.more.cleanups) {
		return ErrSealed
	}
	held.Opened()
	return nil
}

// erasedFunction is a Function as a Use, so that its Run is called without a detour: what is on
// the stack of a goroutine that waits is read in every cycle of the collector.
type erasedFunction[T any] struct{ Function[T] }

func (f erasedFunction[T]) plain() any { return f.Function }

func (f erasedFunction[T]) Run(ctx context.Context, held *Held) (any, error) {
	if err := f.open(ctx, held); err != nil {
		var zero T
		return zero, err
	}
	v, err := f.work(ctx)
	return v, err
}

const kindFunc = "func"

// extras returns what f has beyond its work, for reading.
func (f Function[T]) extras() funcMore {
	if f.more == nil {
		return funcMore{}
	}
	return *f.more
}

// with returns f with a changed copy of its extras.
func (f Function[T]) with(change func(*funcMore)) Function[T] {
	more := f.extras()
	change(&more)
	f.more = &more
	return f
}

// States of a use's hooks.
const (
	hooksUnarmed int32 = iota // the work has not been started
	hooksArmed                // the work is started, or about to be
	hooksVoid                 // the use ended before the work was started
)

// armHooks registers the hooks of work that is about to start. It reports whether the
// work may start. Held runs a hook that is registered after an abort; here that would
// be the clean-up of work that was never started, so a hook that is called while the
// state is unarmed does nothing, and the work is then not started.
func armHooks(ctx context.Context, held *Held, cleanups []cleanup) bool {
	if len(cleanups) == 0 {
		return true
	}
	state := new(atomic.Int32)
	for _, cleanup := range cleanups {
		h := &hook{parent: ctx, state: state, cleanup: cleanup}
		h.piece = Piece{What: "clean-up hook", Close: h.run}
		if cleanup.context != nil {
			h.piece.Force = h.cancel
		}
		if err := held.OnAbort(&h.piece); err != nil {
			return false
		}
	}
	return state.CompareAndSwap(hooksUnarmed, hooksArmed)
}

// hook is one clean-up hook of one use.
type hook struct {
	parent  context.Context // the operation's, for its values
	state   *atomic.Int32   // shared by the use's hooks
	cleanup cleanup
	piece   Piece

	mu        sync.Mutex
	cancelled bool
	stop      context.CancelFunc // nil while the hook does not run
}

// run calls the clean-up, if it wants one with a context of its own: the operation's has ended.
func (h *hook) run() error {
	if h.state.CompareAndSwap(hooksUnarmed, hooksVoid) || h.state.Load() == hooksVoid {
		return nil
	}
	if h.cleanup.context == nil {
		return h.cleanup.plain()
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(h.parent))
	defer stop()
	h.mu.Lock()
	h.stop = stop
	if h.cancelled {
		stop()
	}
	h.mu.Unlock()
	return h.cleanup.context(ctx)
}

// cancel tells a clean-up that is under way that nobody waits for it any longer.
func (h *hook) cancel() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cancelled = true
	if h.stop != nil {
		h.stop()
	}
	return nil
}
