package resources

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Session is a resource that lives longer than one request: it is opened once and
// serves many calls. H is its handle, which the runtime keeps; S is the face, the
// method set that users call.
type Session[H, S any] interface {
	// Spec checks the session's own fields and describes it, as a Resource's does.
	Spec() (Spec, error)

	// Open opens what the calls share and registers it with held, which stays
	// with the session until it is closed. It runs like a Resource's Run.
	Open(ctx context.Context, held *Held) (H, error)

	// Face makes the method set over c. It is pure. Closing the face closes c.
	Face(c Caller[H]) S
}

// Caller runs one call against the handle under the supervisor: its own deadline, its
// own Held, released when it returns. Many goroutines may call Do at once.
type Caller[H any] interface {
	Do(ctx context.Context, call func(ctx context.Context, h H, held *Held) (any, error)) (any, error)
	Close() error
}

// SessionTraits says how a session's resource may be used. The zero value is for a stream
// that is spoken to in turns: calls one at a time, in order, and a call that fails or is
// cut short takes the resource with it, because its stream can no longer be trusted; the
// next call opens it anew.
type SessionTraits struct {
	AtOnce   int  // calls at once; 0 is 1, in order; negative is the supervisor's cap
	Separate bool // each call has a stream of its own: one that fails or is cut short spoils nothing

	IdleClose  time.Duration // closed after so long without a call; 0 is never
	MaxAge     time.Duration // opened anew before a call when older; 0 is never
	CheckAfter time.Duration // checked before a call after so long without one (see CheckedSession); 0 is never
}

// TraitedSession is a Session whose traits are not the zero SessionTraits. Traits is pure.
type TraitedSession interface{ Traits() SessionTraits }

// CheckedSession is a Session that can tell whether its resource still works. Check runs
// on the goroutine and within the time of the call that needs it; an error has the
// resource closed and opened anew.
type CheckedSession[H any] interface {
	Check(ctx context.Context, h H) error
}

// StillGood marks an error of a call after which the session's stream is in order: the
// other side said no, and the next call can follow. Without it an error spoils the stream.
// A nil error stays nil.
func StillGood(err error) error {
	if err == nil {
		return nil
	}
	return &stillGood{err}
}

type stillGood struct{ error }

func (e *stillGood) Unwrap() error { return e.error }

// IsStillGood reports whether err, which may be nil, leaves the stream in order.
func IsStillGood(err error) bool {
	_, ok := errors.AsType[*stillGood](err)
	return err == nil || ok
}

// Bundle is all that one opening holds. It may be held by several at once: by the session,
// and by each call that must be able to end it.
type Bundle struct {
	keeper Keeper
	ending atomic.Bool
	done   chan struct{} // closed when all has been closed
	closed error         // what that came to; valid once done is closed
	hooks  sync.Once

	piece, hook Piece // as grips hold them, all the same ones: a call makes none of its own
}

// Begin makes the bundle ready and returns where the opening registers its pieces. what
// names it in receipts.
func (b *Bundle) Begin(shelf *Shelf, what string) *Held {
	b.done = make(chan struct{})
	b.piece, b.hook = *b.Piece(what), Piece{What: what, Close: b.runHooks}
	return b.keeper.Begin(shelf)
}

// Piece returns a new Piece that ends the bundle: its pieces are closed once, last in
// first out, whoever asks first. Many goroutines may use it.
func (b *Bundle) Piece(what string) *Piece {
	return &Piece{What: what, Close: b.closeAll, Force: b.forceAll}
}

// Ending reports whether somebody has asked the bundle to end: it is of no use any more.
func (b *Bundle) Ending() bool { return b.ending.Load() }

// Grip is one call's hold on a bundle.
type Grip struct {
	held   *Held
	bundle *Bundle
}

// HoldBy has the end of held end the bundle, with its clean-up hooks where that end is an
// abort, until LetGo. A held may hold a bundle once.
func (b *Bundle) HoldBy(held *Held) (*Grip, error) {
	if err := held.Keep(&b.piece); err != nil {
		return nil, err
	}
	return &Grip{held, b}, held.OnAbort(&b.hook)
}

// LetGo takes the bundle out of held. It reports whether the bundle goes on; if not, it is
// being ended with held.
func (g *Grip) LetGo() bool { return g.held.dropBoth(&g.bundle.piece, &g.bundle.hook) }

// Close ends the bundle now. If that fails it is left in held, to be forced.
func (g *Grip) Close() {
	if g.bundle.closeAll() == nil {
		g.LetGo()
	}
}

// closeAll may be called by several; those who come later wait for the first: on a channel,
// for time in a synctest bubble stands still for who waits for a lock.
func (b *Bundle) closeAll() error {
	if !b.ending.CompareAndSwap(false, true) {
		<-b.done // as long as a Close takes: those who call this bound it
		return b.closed
	}
	defer close(b.done)
	b.keeper.Seal(false)
	var errs []error
	for _, p := range slices.Backward(b.list(&b.keeper.held.pieces)) {
		errs = append(errs, closePiece(p))
	}
	b.closed = errors.Join(errs...)
	return b.closed
}

// forceAll may be called while closeAll still blocks, and again.
func (b *Bundle) forceAll() error {
	var errs []error
	for _, p := range slices.Backward(b.list(&b.keeper.held.pieces)) {
		f := p.Force
		if f == nil {
			f = p.close
		}
		errs = append(errs, closed(call(f)))
	}
	return errors.Join(errs...)
}

// runHooks runs the bundle's hooks, once.
func (b *Bundle) runHooks() error {
	var errs []error
	b.hooks.Do(func() {
		for _, p := range slices.Backward(b.list(&b.keeper.held.hooks)) {
			errs = append(errs, closePiece(p))
		}
	})
	return errors.Join(errs...)
}

// list copies a list of the bundle's.
func (b *Bundle) list(l *[]*Piece) []*Piece {
	b.keeper.held.mu.Lock()
	defer b.keeper.held.mu.Unlock()
	return slices.Clone(*l)
}
