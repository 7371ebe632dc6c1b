package resources

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync/atomic"
	"time"
)

// Limits of a pool. Idle connections go after fetchIdleLimit. An HTTP/2 connection on
// which nothing came for fetchPingAfter is asked for a sign of life, and closed when
// none comes within fetchPingWait.
const (
	fetchIdleMax       = 256
	fetchIdleLimit     = 90 * time.Second
	fetchContinueLimit = time.Second
	fetchPingAfter     = 5 * time.Second
	fetchPingWait      = 3 * time.Second
)

// fetchPool is a transport and its kept-alive connections, for exchanges with the
// same TLS, proxy, socket and header limit. It is shared through a Shelf.
type fetchPool struct {
	transport *http.Transport
	tls       *tls.Config // of the connections that dialTLS makes
	unix      string
	shared    bool
	retired   atomic.Bool // closed: what becomes idle from now on is closed as well
	doubts    fetchDoubts
	standIn   fetchStandIn
	streamed  fetchStreamed
}

// fetchPoolKey tells pools apart.
type fetchPoolKey struct {
	tls       tlsKey
	proxy     string
	unix      string
	headerMax int64
}

// plainPool is the key of the pool that most use, boxed once.
var plainPool any = fetchPoolKey{headerMax: DefaultHeaderMaxBytes}

func (f *Fetch) poolKey(p *fetchPlan) any {
	if f.TLS == nil && f.Proxy == "" && f.Unix == "" && p.headerMax == DefaultHeaderMaxBytes {
		return plainPool
	}
	return fetchPoolKey{f.TLS.comparable(), f.Proxy, f.Unix, p.headerMax}
}

// pool returns the shared pool, or one for this exchange alone.
func (f Fetch) pool(shelf *Shelf, p *fetchPlan) (*fetchPool, error) {
	if shelf == nil || f.NoReuse {
		return f.newPool(p, false)
	}
	pool, err := shelf.Get(f.poolKey(p), func() (io.Closer, error) { return f.newPool(p, true) })
	if err != nil {
		return nil, err
	}
	return pool.(*fetchPool), nil
}

func (f Fetch) newPool(p *fetchPlan, shared bool) (*fetchPool, error) {
	conf, err := f.TLS.config(fetchKind)
	if err != nil {
		return nil, err
	}
	pool := &fetchPool{unix: f.Unix, shared: shared}
	pool.tls = conf.Clone()
	pool.tls.NextProtos = []string{"h2", "http/1.1"}
	if p.proxy != nil {
		pool.tls.NextProtos = []string{"http/1.1"}
	}
	pool.transport = &http.Transport{
		DialContext:            pool.dial,
		DialTLSContext:         pool.dialTLS,
		TLSClientConfig:        conf,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // bodyReader decodes, with limits
		DisableKeepAlives:      !shared,
		MaxIdleConns:           fetchIdleMax,
		MaxIdleConnsPerHost:    fetchIdleMax, // an endpoint may have many requests at once: its Limits say
		IdleConnTimeout:        fetchIdleLimit,
		ExpectContinueTimeout:  fetchContinueLimit,
		MaxResponseHeaderBytes: p.headerMax,
		OnProxyConnectResponse: refusedByProxy,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout: fetchPingAfter, PingTimeout: fetchPingWait, WriteByteTimeout: fetchPingAfter + fetchPingWait,
		},
	}
	if p.proxy != nil {
		pool.transport.Proxy = http.ProxyURL(p.proxy)
	}
	return pool, nil
}

// refusedByProxy gives a proxy's refusal to CONNECT its number; net/http has only the
// proxy's own text.
func refusedByProxy(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	return fmt.Errorf("the proxy refused to connect: %d", resp.StatusCode)
}

// dial is the transport's. The context it is given has the values of the request that
// wants the connection, but not its end: net/http detaches dials (golang/go#59017), so
// the request is found by value, and the dial tied to it.
func (p *fetchPool) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return p.open(ctx, network, addr, nil)
}

// dialTLS is the transport's too, for an https target, or an https proxy where there is
// one. The transport itself does TLS only behind a proxy.
func (p *fetchPool) dialTLS(ctx context.Context, network, addr string) (net.Conn, error) {
	conf := p.tls
	if conf.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		conf = conf.Clone()
		conf.ServerName = host
	}
	return p.open(ctx, network, addr, conf)
}

func (p *fetchPool) open(ctx context.Context, network, addr string, conf *tls.Config) (net.Conn, error) {
	use, ok := ctx.Value(fetchUseKey{}).(*fetchUse)
	if !ok {
		return nil, errors.New("dial without a request")
	}
	if p.unix != "" {
		network, addr = "unix", p.unix
	}
	return use.open(ctx, p, network, addr, conf)
}

// done is called at the end of each exchange.
func (p *fetchPool) done() {
	if !p.shared || p.retired.Load() {
		p.transport.CloseIdleConnections()
	}
}

// Close closes idle connections. Exchanges under way go on; theirs are closed as they
// end, as are those of exchanges that begin later.
func (p *fetchPool) Close() error {
	p.retired.Store(true)
	p.transport.CloseIdleConnections()
	p.streamed.retire()
	return p.standIn.Close()
}

// fetchUse is one run of a Fetch as its connections see it.
type fetchUse struct {
	parent context.Context // the runtime's
	ctx    context.Context // ends with parent, and with the run
	cancel context.CancelCauseFunc
	held   *Held
	pool   *fetchPool // of the hop at hand
	spares []*fetchPool
	origin string // scheme://host:port of the hop at hand

	noRetry  bool
	complete bool // the body was read to its end
	reused   bool // the connection at hand had served before
	lost     bool // it was closed under its former owner before anything of ours was on it

	conn  atomic.Pointer[fetchConn] // the one at hand; net/http's goroutines ask too
	stamp fetchStamp                // of conn, when this hop took it
	past  []*fetchConn              // those of the hops and attempts before

	pastRoom [1]*fetchConn
	trace    httptrace.ClientTrace
}

type fetchUseKey struct{}

// begin makes the use ready; end ends it. The transport and its dials find it in its ctx.
func (u *fetchUse) begin(ctx context.Context, held *Held, noRetry bool) {
	u.parent, u.held, u.noRetry = ctx, held, noRetry
	u.past = u.pastRoom[:0]
	u.trace = httptrace.ClientTrace{
		GotConn:              u.gotConn,
		PutIdleConn:          u.putIdleConn,
		GotFirstResponseByte: held.Progress,
	}
	// In this order: package context watches a parent that is not its own, with a value on
	// top, from a goroutine.
	ctx, u.cancel = context.WithCancelCause(ctx)
	u.ctx = httptrace.WithClientTrace(context.WithValue(ctx, fetchUseKey{}, u), &u.trace)
}

// open opens a connection that belongs to the use, and holds it from before the first
// packet. conf is nil without TLS.
func (u *fetchUse) open(detached context.Context, pool *fetchPool, network, addr string, conf *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithCancel(u.ctx)
	defer cancel()
	// The transport takes a dial back when its idle connections are closed.
	defer context.AfterFunc(detached, cancel)()

	c := newFetchConn(addr, cancel)
	c.owner.Store(u)
	if err := u.held.Keep(c.piece); err != nil {
		return nil, err
	}
	if err := c.dial(ctx, network, addr); err != nil {
		u.held.Drop(c.piece)
		return nil, err
	}
	if conf == nil {
		return c, nil
	}
	return u.handshake(ctx, pool, c, conf)
}

// handshake puts TLS on c. If HTTP/2 comes of it, c belongs to a shared pool before the
// transport can put other requests on it, which the end of this one must not touch.
func (u *fetchUse) handshake(ctx context.Context, pool *fetchPool, c *fetchConn, conf *tls.Config) (net.Conn, error) {
	conn := tls.Client(c, conf)
	err := conn.HandshakeContext(ctx)
	if err == nil && pool.shared && isHTTP2(conn) && !c.giveBack(u) {
		err = ErrSealed
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return conn, nil
}

// gotConn is called when the transport has picked a connection, fresh or kept alive,
// before anything is written to it.
func (u *fetchUse) gotConn(info httptrace.GotConnInfo) {
	c := fetchConnOf(info.Conn)
	if c == nil {
		return
	}
	u.held.Opened()
	sent := u.sent()
	u.leave()
	if sent && u.noRetry {
		u.cancel(errSentAgain)
	}
	u.reused = info.Reused
	u.stamp = c.stamp()
	u.conn.Store(c)
	if isHTTP2(info.Conn) {
		u.lost = !c.join(u.pool)
	} else if u.ctx.Err() != nil || !c.take(u) {
		_ = c.Close()
	}
}

// dropWait bounds awaitDropped. It takes microseconds, or as long as net/http's goroutine
// for the connection waits for a processor.
const dropWait = 200 * time.Millisecond

// awaitDropped lets net/http see that the connection at hand was closed: until then it
// would be picked again, for one attempt after the other.
func (u *fetchUse) awaitDropped() {
	c := u.conn.Load()
	if c == nil {
		return
	}
	timer := time.NewTimer(dropWait)
	defer timer.Stop()
	select {
	case <-c.dropped:
	case <-u.ctx.Done():
	case <-timer.C:
	}
}

// putIdleConn is called when an HTTP/1 connection is back in the pool, at the latest
// when the body's end is read, and before the next hop takes one.
func (u *fetchUse) putIdleConn(err error) {
	if c := u.conn.Load(); c != nil && err == nil {
		_ = c.giveBack(u)
	}
}

// sent reports whether anything of this hop has gone out on an HTTP/1 connection. On
// HTTP/2, net/http repeats only what the server says it did not look at.
func (u *fetchUse) sent() bool {
	c := u.conn.Load()
	return c != nil && !c.http2.Load() && c.stamp().written > u.stamp.written
}

// nextHop forgets the connection of the hop or attempt before.
func (u *fetchUse) nextHop(pool *fetchPool, origin string) {
	u.leave()
	u.lost = false
	u.pool, u.origin = pool, origin
}

// done is called when the exchange is over and its body closed.
func (u *fetchUse) done() {
	for _, p := range u.spares {
		p.done()
	}
}

// leave parts from the connection at hand.
func (u *fetchUse) leave() {
	if c := u.conn.Swap(nil); c != nil {
		c.leave()
		if !slices.Contains(u.past, c) {
			u.past = append(u.past, c)
		}
	}
}

// end ends the use; it may be called again. What is not complete is cut: every HTTP/1
// connection that the exchange used is closed, one that is idle again among them. A
// shared HTTP/2 one only loses the stream, unless it seems dead: nothing came on it
// while this request waited, and nobody else waits on it. Then the next request must
// not be put on it. With others waiting it is left to the pings.
func (u *fetchUse) end() {
	u.cancel(context.Canceled)
	last := u.conn.Load()
	u.leave()
	if u.complete {
		return
	}
	for _, c := range u.past {
		// On a fresh connection the handshake has come, since the request began.
		silent := c == last && u.reused && u.parent.Err() != nil && c.stamp().read == u.stamp.read
		if spared := c.cut(u, silent); spared && silent && c.http2.Load() {
			u.pool.doubts.add(u.origin, c, u.stamp.read)
		}
	}
	u.past = nil
}

// isHTTP2 reports whether the transport speaks HTTP/2 on conn.
func isHTTP2(conn net.Conn) bool {
	t, ok := conn.(*tls.Conn)
	return ok && t.ConnectionState().NegotiatedProtocol == "h2"
}
