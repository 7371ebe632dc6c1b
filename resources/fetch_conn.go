package resources

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
)

// fetchConn is a connection of a fetchPool. At any time one use owns it and holds its
// piece, or, idle or shared by HTTP/2 streams, the pool does. A connection that its
// owner's end has begun to close cannot be taken over any more.
type fetchConn struct {
	net.Conn // set by dial, under opening
	piece    *Piece
	cancel   context.CancelFunc // of the dial
	opening  sync.Mutex         // held while dialling

	mu      sync.Mutex // over a change of owner
	owner   atomic.Pointer[fetchUse]
	gone    bool // closed, or about to be
	streams int  // uses that have an HTTP/2 stream on it
	retired bool // its pool is closed: it goes with its last stream

	dropped       chan struct{} // closed by the transport's Close
	drop          sync.Once
	http2         atomic.Bool
	writing       atomic.Int32 // Writes under way
	read, written atomic.Int64 // bytes
}

// fetchStamp is what had gone over a connection at some time.
type fetchStamp struct{ read, written int64 }

func newFetchConn(addr string, cancel context.CancelFunc) *fetchConn {
	c := &fetchConn{cancel: cancel, dropped: make(chan struct{})}
	c.piece = &Piece{What: "connection to " + addr, Close: c.abort, Force: c.reset}
	return c
}

// fetchConnOf finds the fetchConn under layers of TLS; nil if there is none.
func fetchConnOf(conn net.Conn) *fetchConn {
	for {
		switch c := conn.(type) {
		case *fetchConn:
			return c
		case *tls.Conn:
			conn = c.NetConn()
		default:
			return nil
		}
	}
}

// dial connects, once. A connection that opens when abort has been called is closed.
func (c *fetchConn) dial(ctx context.Context, network, addr string) error {
	c.opening.Lock()
	defer c.opening.Unlock()
	dialer := net.Dialer{Resolver: NewResolver()}
	conn, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		_ = conn.Close()
		return context.Cause(ctx)
	}
	c.Conn = conn
	return nil
}

// abort ends the connection in whatever state it is: a dial is called off and waited
// for, an open socket closed under whoever reads it. With a Write stuck in it the
// socket is reset, because the peer would read for long before it saw the close.
func (c *fetchConn) abort() error {
	c.cancel()
	c.opening.Lock()
	defer c.opening.Unlock()
	if c.Conn == nil {
		return nil
	}
	if c.writing.Load() > 0 {
		c.dropUnsent()
	}
	return c.Conn.Close()
}

// reset is abort by force: the kernel drops what has not been sent.
func (c *fetchConn) reset() error {
	c.cancel()
	c.opening.Lock()
	defer c.opening.Unlock()
	if c.Conn == nil {
		return nil
	}
	c.dropUnsent()
	return c.Conn.Close()
}

func (c *fetchConn) dropUnsent() {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
}

// take makes u the owner. It reports false, and the connection is or will be closed,
// when its last owner's end has reached it or u has ended.
func (c *fetchConn) take(u *fetchUse) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.disown() {
		return false
	}
	if err := u.held.Keep(c.piece); err != nil {
		c.gone = true
		return false
	}
	c.owner.Store(u)
	return true
}

// join puts an HTTP/2 stream on the connection. A shared one belongs to the pool from
// now on: the end of one stream is not the end of the others. It reports false, and
// nothing can be written any more, when the end of its last owner has reached it, which
// happens only behind a proxy: elsewhere the handshake has seen to it.
func (c *fetchConn) join(pool *fetchPool) bool {
	if c.http2.CompareAndSwap(false, true) && pool.shared {
		pool.streamed.add(c)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams++
	c.retired = c.retired || pool.retired.Load()
	if !pool.shared || c.disown() {
		return true
	}
	_ = c.Conn.Close()
	return false
}

// leave takes a stream off.
func (c *fetchConn) leave() {
	if c.http2.Load() {
		c.part(func() { c.streams-- })
	}
}

// retire says that the pool is closed.
func (c *fetchConn) retire() { c.part(func() { c.retired = true }) }

// part makes a change after which nobody may want the connection any more. net/http does
// not see that: it tells a stream that is being ended from one that is used only later.
func (c *fetchConn) part(change func()) {
	c.mu.Lock()
	change()
	unwanted := c.retired && c.streams == 0 && !c.gone
	c.gone = c.gone || unwanted
	c.mu.Unlock()
	if unwanted {
		_ = c.abort()
	}
}

// cut closes the connection after u was interrupted, unless it is another's by now. One
// that is shared is closed only if it has been silent and has no streams. It reports
// whether the connection was spared.
func (c *fetchConn) cut(u *fetchUse, silent bool) bool {
	if c.spare(u, silent) {
		return true
	}
	_ = c.abort()
	return false
}

// spare decides for cut. What is not spared can be taken by nobody any more.
func (c *fetchConn) spare(u *fetchUse, silent bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.owner.Load()
	if o != nil && o != u || o == nil && c.http2.Load() && !(silent && c.streams == 0) {
		return true
	}
	c.gone = true
	return false
}

// giveBack makes the pool the owner of what was u's. It reports false when it is closed,
// or u's end has begun to close it.
func (c *fetchConn) giveBack(u *fetchUse) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.owner.Load() == u && c.disown()
}

// disown takes the connection out of its owner's hands; mu is held. It reports false
// when it is closed, or its owner has begun to close it.
func (c *fetchConn) disown() bool {
	if o := c.owner.Swap(nil); o != nil && !o.held.Drop(c.piece) {
		c.gone = true
	}
	return !c.gone
}

// Close is the transport's.
func (c *fetchConn) Close() error {
	err := c.Conn.Close()
	c.drop.Do(func() { close(c.dropped) })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.disown()
	c.gone = true
	return err
}

func (c *fetchConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.moved(&c.read, n)
	return n, err
}

func (c *fetchConn) Write(p []byte) (int, error) {
	c.writing.Add(1)
	defer c.writing.Add(-1)
	n, err := c.Conn.Write(p)
	c.moved(&c.written, n)
	return n, err
}

// moved counts, and tells the owner.
func (c *fetchConn) moved(count *atomic.Int64, n int) {
	if n <= 0 {
		return
	}
	count.Add(int64(n))
	if o := c.owner.Load(); o != nil {
		o.held.Progress()
	}
}

// dead reports whether the connection is closed, or about to be.
func (c *fetchConn) dead() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gone
}

func (c *fetchConn) stamp() fetchStamp {
	return fetchStamp{c.read.Load(), c.written.Load()}
}
