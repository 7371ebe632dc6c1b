package supervisor

import (
	"context"
	"net"

	"curfew.example/resources"
)

// Dialer dials under supervision: its DialContext fits http.Transport, database drivers
// and the like. The dial is a request of kind "dial"; the connection it returns is the
// caller's alone. Conn supervises a connection.
type Dialer struct {
	// Net is the dialer below. Its zero value uses resources.NewResolver, so that a silent
	// name server leaves nothing behind.
	Net net.Dialer

	sup *Supervisor
}

// Dialer returns a dialer with the zero net.Dialer below.
func (s *Supervisor) Dialer() *Dialer { return &Dialer{sup: s} }

// Dial is DialContext without a context.
func (d *Dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

// DialContext connects to address under the budget that the policy grants. Errors are
// those of Do.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := Do(ctx, d.sup, &dial{d.Net, network, address})
	if err != nil {
		if conn != nil {
			_ = conn.Close() // connected, and too late
		}
		return nil, err
	}
	return conn, nil
}

// dial is one dial as a resource.
type dial struct {
	net              net.Dialer
	network, address string
}

// Spec implements resources.Resource.
func (d *dial) Spec() (resources.Spec, error) {
	if d.address == "" {
		return resources.Spec{}, &Invalid{Kind: "dial", Field: "address", Why: "is empty"}
	}
	return resources.Spec{Kind: "dial", Target: d.network + "://" + d.address, Endpoint: d.address}, nil
}

// Run implements resources.Resource.
func (d *dial) Run(ctx context.Context, held *resources.Held) (net.Conn, error) {
	if d.net.Resolver == nil {
		d.net.Resolver = resources.NewResolver()
	}
	conn, err := d.net.DialContext(ctx, d.network, d.address)
	if err != nil {
		return nil, err
	}
	piece := &resources.Piece{What: "connection to " + d.address, Close: conn.Close}
	if err := held.Keep(piece); err != nil {
		return nil, err
	}
	if !held.Drop(piece) {
		return nil, resources.ErrSealed
	}
	return conn, nil // the caller's from here on
}

// Conn supervises c as a request of kind "conn", whose budget lasts until c is closed: at
// expiry c is closed under whoever blocks on it, and their error is *Expired. Reads and
// writes count as progress for the budget's Stall. The caller closes the connection it
// gets back, which closes c; where there is an error instead, c itself.
//
// A TLS connection takes leave of its peer, for which that has Grace; then the connection
// below is closed.
func (s *Supervisor) Conn(ctx context.Context, c net.Conn, options ...Option) (net.Conn, error) {
	spec := resources.Spec{Kind: "conn", Target: "connection", Endpoint: "connection", Unbounded: true}
	if a := c.RemoteAddr(); a != nil {
		spec.Target, spec.Endpoint = a.Network()+"://"+a.String(), a.String()
	}
	whole := &onceCloser{Closer: c}
	piece := &resources.Piece{What: "connection to " + spec.Target, Close: whole.release}
	if outer, ok := c.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		piece.Force = func() error { return outer.NetConn().Close() }
	}
	_, l, err := last(ctx, s, spec, func(_ context.Context, held *resources.Held) (net.Conn, error) {
		return c, held.Keep(piece)
	}, options...)
	if err != nil {
		return nil, err
	}
	return &conn{c, whole, l}, nil
}

// conn is a connection whose request lasts until it is closed.
type conn struct {
	net.Conn
	whole *onceCloser
	last  *lasting[net.Conn]
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) { return c.moved(c.Conn.Read(p)) }

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) { return c.moved(c.Conn.Write(p)) }

func (c *conn) moved(n int, err error) (int, error) {
	if n > 0 {
		c.last.held.Progress()
	}
	return n, c.last.why(err)
}

// Close implements net.Conn: it ends the request and returns its error, or else what the
// connection said when it was closed.
func (c *conn) Close() error {
	if err := c.last.end(); err != nil {
		return err
	}
	return c.whole.Close()
}
