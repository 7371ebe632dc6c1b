package remote

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"

	"google.golang.org/grpc/credentials"
)

// errConnections refuses a connection before its handshake.
var errConnections = errors.New("too many connections")

// connections is the listening side's TLS with a bound on how many there are at once,
// those that have not yet shown who they are included.
type connections struct {
	credentials.TransportCredentials
	slots chan struct{}
}

func newConnections(config *tls.Config, most int) *connections {
	return &connections{credentials.NewTLS(config), make(chan struct{}, most)}
}

// ServerHandshake implements credentials.TransportCredentials.
func (c *connections) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	select {
	case c.slots <- struct{}{}:
	default:
		return nil, nil, errors.Join(errConnections, raw.Close())
	}
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		<-c.slots
		return nil, nil, err
	}
	return &counted{Conn: conn, free: sync.OnceFunc(func() { <-c.slots })}, info, nil
}

// Clone implements credentials.TransportCredentials: the bound is shared.
func (c *connections) Clone() credentials.TransportCredentials {
	return &connections{c.TransportCredentials.Clone(), c.slots}
}

// counted gives its slot back when it is closed.
type counted struct {
	net.Conn
	free func()
}

// Close implements net.Conn.
func (c *counted) Close() error {
	defer c.free()
	return c.Conn.Close()
}
