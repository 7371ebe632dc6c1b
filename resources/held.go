package resources

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrSealed is returned by Held's methods when the use has ended: what was to be
// registered has been closed, and whoever opened it must not go on with it.
var ErrSealed = errors.New("the use has ended: nothing more can be held")

// Piece is one thing that is held and must be released.
type Piece struct {
	// What names the piece in receipts: "connection to 127.0.0.1:80". No secrets.
	What string

	// By names the means by which it is ended, for the receipt: "close", "group" …
	// Empty is "close".
	By string

	// Close asks the piece to go and returns when it has gone. It may block: the
	// wait for it is bounded by the budget's Grace. An error says that the piece
	// has not gone; net.ErrClosed and os.ErrClosed count as gone. Where it is nil, Force
	// is called in its place; with neither there is nothing to do.
	Close func() error

	// Force makes the piece go by force; it is called when Close failed or took
	// longer than Grace, possibly while Close still blocks. nil means that there
	// is no force. An error may be, or wrap, a LeftoverError with details.
	Force func() error
}

// Held is what a use has opened. A Resource's Run registers each piece with it
// before it can block, and the runtime releases all that is registered, whatever
// the outcome. Many goroutines may use it.
type Held struct {
	mu      sync.Mutex
	sealed  bool
	aborted bool
	pieces  []*Piece
	hooks   []*Piece
	late    []Remains // kept after the end, and would not close

	shelf    *Shelf
	opened   atomic.Int64 // time of Opened, ns since start; 0 is not yet
	progress atomic.Int64 // time of the last Progress, ns since start
	start    time.Time

	grace, force time.Duration // see Waits
}

// HeldKey is the key under which a use's context carries its Held.
type HeldKey struct{}

// HeldFrom returns the Held of the use that ctx belongs to, nil when there is none: so a
// plain function under Func can register what it opens and report its progress.
func HeldFrom(ctx context.Context) *Held {
	h, _ := ctx.Value(HeldKey{}).(*Held)
	return h
}

// errNoPiece is returned by Keep and OnAbort for nil.
var errNoPiece = errors.New("there is no piece to hold")

// Keep registers p: it is released when the use ends, last in first out. After
// the end p is closed at once, on the caller's goroutine, and ErrSealed returned,
// so that what is opened too late cannot escape: if it will not close, it is a leftover.
func (h *Held) Keep(p *Piece) error {
	if p == nil {
		return errNoPiece
	}
	h.mu.Lock()
	if !h.sealed {
		h.pieces = append(h.pieces, p)
		h.mu.Unlock()
		return nil
	}
	h.mu.Unlock()
	err := closePiece(p)
	if err != nil {
		h.mu.Lock()
		h.late = append(h.late, Remains{
			Left:  leftovers(p.What, err),
			Retry: func() error { return closePiece(p) },
		})
		h.mu.Unlock()
	}
	return errors.Join(ErrSealed, err)
}

// takeLate hands over what was kept too late and would not close.
func (h *Held) takeLate() []Remains {
	h.mu.Lock()
	defer h.mu.Unlock()
	late := h.late
	h.late = nil
	return late
}

// OnAbort registers a clean-up hook: p.Close runs once when the use expires, is
// cancelled or panics, before the pieces are released; never after a success or a
// plain error. After such an end it runs at once; ErrSealed is returned after any.
func (h *Held) OnAbort(p *Piece) error {
	if p == nil {
		return errNoPiece
	}
	h.mu.Lock()
	if !h.sealed {
		h.hooks = append(h.hooks, p)
		h.mu.Unlock()
		return nil
	}
	aborted := h.aborted
	h.mu.Unlock()
	if !aborted {
		return ErrSealed
	}
	return errors.Join(ErrSealed, closePiece(p))
}

// Drop forgets p, a piece or a hook, without closing it: it has gone, or somebody else
// owns it now (a connection that went back to its pool). It reports whether p was still
// held; if not, p is being released and must not be used again.
func (h *Held) Drop(p *Piece) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sealed {
		return false
	}
	return drop(&h.pieces, p) || drop(&h.hooks, p)
}

// dropBoth drops a piece and a hook, or, where they are being released, neither.
func (h *Held) dropBoth(piece, hook *Piece) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sealed {
		return false
	}
	drop(&h.hooks, hook)
	return drop(&h.pieces, piece)
}

func drop(list *[]*Piece, p *Piece) bool {
	i := slices.Index(*list, p)
	if i >= 0 {
		*list = slices.Delete(*list, i, i+1)
	}
	return i >= 0
}

// Give hands all pieces and hooks over to another holder, in their order: the
// opening of a session gives what it opened to the session. When the use has
// ended nothing is handed over; when to has ended everything is closed. Both
// return ErrSealed.
func (h *Held) Give(to *Held) error {
	h.mu.Lock()
	if h.sealed {
		h.mu.Unlock()
		return ErrSealed
	}
	pieces, hooks := h.pieces, h.hooks
	h.pieces, h.hooks = nil, nil
	h.mu.Unlock()

	var errs []error
	for _, p := range pieces {
		errs = append(errs, to.Keep(p))
	}
	for _, p := range hooks {
		errs = append(errs, to.OnAbort(p))
	}
	return errors.Join(errs...)
}

// Opened says that the resource is open: what follows is its use. An expiry
// before it is one "while opening".
func (h *Held) Opened() { h.opened.CompareAndSwap(0, h.elapsed()) }

// Progress says that something moved, and so starts the budget's Stall limit
// anew. It costs one reading of the clock.
func (h *Held) Progress() { h.progress.Store(h.elapsed()) }

// Shelf returns what requests of one supervisor share, such as pools of idle
// connections. It is nil where there is none: what would be shared is then kept
// by the one use alone.
func (h *Held) Shelf() *Shelf { return h.shelf }

// elapsed is never zero, which means "not yet".
func (h *Held) elapsed() int64 { return max(1, int64(time.Since(h.start))) }
