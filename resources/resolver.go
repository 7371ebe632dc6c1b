package resources

import (
	"context"
	"net"
)

// NewResolver returns Go's own resolver, of whose look-ups nothing is left once they are
// given up. The C library's leaves a thread behind for each, and Go's as it is two sockets
// and four goroutines, which read on for five seconds. It is for one dial: a look-up that
// several share is called off by none of them. Nobody needs to close it.
func NewResolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: dialNameServer}
}

// dialNameServer connects to a name server for one question, and closes the connection
// with ctx, which the resolver ends after the answer or when nobody waits for it any more.
// By itself the resolver then goes on to read until its own timeout.
func dialNameServer(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	return conn, nil
}
