package peers

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Script is what a peer does on one connection. When it returns, the peer goes on
// reading until the other side closes, unless the script has closed the connection.
type Script func(*Conn)

// Peer is a scripted server: it plays its script on every connection and notes when it
// sees the other side's close. Many goroutines may use it.
type Peer struct {
	Addr     string         // host:port, or the path of a unix socket
	Accepted atomic.Int32   // connections so far
	Heard    atomic.Int64   // bytes read so far, through Conn.In
	Told     atomic.Int64   // how often something was said so far, through Conn
	Closes   chan time.Time // when a connection was seen to end; beyond 1024 nobody took they are dropped

	listener net.Listener
	let      chan struct{} // closed by Let
	letOnce  sync.Once
	serving  sync.WaitGroup
	mu       sync.Mutex
	closing  bool
	conns    []net.Conn
}

// Conn is one connection of a Peer. Its script alone uses it.
type Conn struct {
	net.Conn
	In *bufio.Reader // reads the connection
	N  int32         // 1 is the peer's first connection

	ended chan struct{} // closed when the other side has closed
	watch sync.Once
	peer  *Peer
}

// Listen starts a peer on a loopback port of its own. Close ends it.
func Listen(script Script) (*Peer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return Serve(l, script), nil
}

// Serve starts a peer on l, which it closes in the end: a unix socket, or one that speaks
// TLS (crypto/tls.NewListener).
func Serve(l net.Listener, script Script) *Peer {
	p := &Peer{Addr: l.Addr().String(), Closes: make(chan time.Time, 1024), listener: l, let: make(chan struct{})}
	p.serving.Go(func() { // ends with the listener; Close waits for it
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if !p.keep(conn) {
				continue
			}
			c := &Conn{Conn: conn, In: bufio.NewReader(counted{conn, &p.Heard}), N: p.Accepted.Add(1), ended: make(chan struct{}), peer: p}
			p.serving.Go(func() { // ends with the connection; Close waits for it
				defer conn.Close()
				script(c)
				c.AwaitClose()
			})
		}
	})
	return p
}

// counted counts what is read.
type counted struct {
	io.Reader
	bytes *atomic.Int64
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.bytes.Add(int64(n))
	return n, err
}

// HTTP is the peer's address as an URL.
func (p *Peer) HTTP() string { return "http://" + p.Addr }

// HTTPS is the same with TLS.
func (p *Peer) HTTPS() string { return "https://" + p.Addr }

// Let lets scripts go on that are in Hold, now and later.
func (p *Peer) Let() { p.letOnce.Do(func() { close(p.let) }) }

// Close ends the peer, its connections and its scripts, and waits for them. A script that
// waits for something else than its connection or Let has to be let go first.
func (p *Peer) Close() {
	p.Let()
	_ = p.listener.Close()
	p.mu.Lock()
	p.closing = true
	for _, c := range p.conns {
		_ = raw(c).Close()
	}
	p.mu.Unlock()
	p.serving.Wait()
}

func (p *Peer) keep(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		_ = conn.Close()
		return false
	}
	p.conns = append(p.conns, conn)
	return true
}

// raw is the connection under TLS, whose farewell could block.
func raw(c net.Conn) net.Conn {
	if t, ok := c.(interface{ NetConn() net.Conn }); ok {
		return t.NetConn()
	}
	return c
}

// AwaitClose reads until the other side closes.
func (c *Conn) AwaitClose() {
	c.startWatch()
	<-c.ended
}

// startWatch reads and drops what comes, until the other side closes.
func (c *Conn) startWatch() {
	c.watch.Do(func() {
		go func() { // ends with the connection; AwaitClose waits for it
			_, _ = io.Copy(io.Discard, c.In)
			select {
			case c.peer.Closes <- time.Now():
			default:
			}
			close(c.ended)
		}()
	})
}

// Request reads an HTTP/1 request's head and its body; nil when there is none. A script
// asks for it before it answers: what comes unasked is no answer.
func (c *Conn) Request() (*http.Request, []byte) {
	req, err := http.ReadRequest(c.In)
	if err != nil {
		return nil, nil
	}
	body, _ := io.ReadAll(req.Body)
	return req, body
}

// Answer reads a request and says s.
func (c *Conn) Answer(s string) {
	_, _ = c.Request()
	c.Say(s)
}

// Write writes p, and counts that it was done.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err == nil {
		c.peer.Told.Add(1)
	}
	return n, err
}

// Say writes s.
func (c *Conn) Say(s string) { _, _ = io.WriteString(c, s) }

// Drip says s again and again until the other side closes.
func (c *Conn) Drip(s string, every time.Duration) {
	c.startWatch()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-c.ended:
			return
		case <-tick.C:
			c.Say(s)
		}
	}
}

// Flood says s as fast as it is taken, until the other side closes.
func (c *Conn) Flood(s string) {
	c.startWatch()
	for {
		if _, err := io.WriteString(c, s); err != nil {
			return
		}
	}
}

// Hold does nothing, and reads nothing after TLS's handshake, until the peer's Let.
func (c *Conn) Hold() {
	if t, ok := c.Conn.(interface{ Handshake() error }); ok {
		_ = t.Handshake()
	}
	<-c.peer.let
}

// Reset ends the connection with a reset: what was said and not taken yet may be lost.
func (c *Conn) Reset() {
	if t, ok := raw(c.Conn).(interface{ SetLinger(int) error }); ok {
		_ = t.SetLinger(0)
	}
	_ = raw(c.Conn).Close()
}

// HalfClose says that nothing more will be said, and stays to listen.
func (c *Conn) HalfClose() {
	if t, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		_ = t.CloseWrite()
	}
}

// Tunnel grants a CONNECT that has been read, and plays a proxy's tunnel to addr until
// either side ends.
func (c *Conn) Tunnel(addr string) {
	to, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	c.Say("HTTP/1.1 200 go on\r\n\r\n")
	pipe(c, to, func() bool { return true })
}

// pipe copies between c and to while pass says so, drops what comes otherwise, and
// returns when either side has ended and both are closed.
func pipe(c *Conn, to net.Conn, pass func() bool) {
	var copying sync.WaitGroup
	forward := func(dst io.Writer, src io.Reader) func() {
		return func() {
			defer func() { _, _ = c.Close(), to.Close() }()
			buf := make([]byte, 4096)
			for {
				n, err := src.Read(buf)
				if pass() && n > 0 {
					_, err = dst.Write(buf[:n])
				}
				if err != nil {
					return
				}
			}
		}
	}
	copying.Go(forward(to, c.In)) // both end with either connection; waited for below
	copying.Go(forward(c.Conn, to))
	copying.Wait()
}
