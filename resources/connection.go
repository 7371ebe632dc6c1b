package resources

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const connectionKind = "connection"

// Connection is a session with a peer over one socket that is spoken to line by line: a
// cache, a mail server, a daemon's control socket. It is plain data, and may be opened many
// times and by many goroutines.
//
// Calls take turns. One that fails or is cut short closes the connection, because what comes
// next on it may belong to nobody; the next call opens another, as it does when the peer has
// hung up, or has spoken unasked, between two calls. Nothing is sent a second time.
type Connection struct {
	// Address is the peer, as a Socket's: tcp://HOST:PORT, tls://HOST:PORT,
	// unix:///PATH, or HOST:PORT, which is tcp.
	Address string

	// TLS is for tls addresses alone; nil trusts the system's authorities.
	TLS *TLS

	// Greets says that the peer speaks first: its first line belongs to the opening,
	// which waits for it.
	Greets bool

	// Delimiter ends each line, ours and the peer's. Zero is '\n'. Where lines end with
	// CR LF, ours are given with their CR, and the peer's come with it.
	Delimiter byte

	// ReplyMaxBytes is how long one reply may be, delimiters not counted; 0 is 1 MiB.
	// A longer one is a *TooLargeError.
	ReplyMaxBytes int64
}

// Spec checks the fields. Target and Endpoint are those of a Socket.
func (c Connection) Spec() (Spec, error) {
	bad := func(field, why string) (Spec, error) { return Spec{}, &Invalid{connectionKind, field, why} }
	spec, err := c.socket().Spec()
	if inv, ok := errors.AsType[*Invalid](err); ok {
		return bad(inv.Field, inv.Why)
	}
	a, _ := parseSocketAddress(c.Address) // Spec has found it good
	switch {
	case err != nil:
		return Spec{}, err
	case a.scheme == "udp":
		return bad("Address", "is of datagrams, which are no lines")
	case c.ReplyMaxBytes < 0:
		return bad("ReplyMaxBytes", "is negative")
	}
	spec.Kind = connectionKind
	return spec, nil
}

func (c Connection) socket() Socket { return Socket{Address: c.Address, TLS: c.TLS} }

func (c Connection) delimiter() byte { return cmp.Or(c.Delimiter, '\n') }

// Traits says that calls take turns, and that what happened since the last is looked at.
func (c Connection) Traits() SessionTraits { return SessionTraits{CheckAfter: time.Nanosecond} }

// Check fails when the peer has hung up, or has spoken unasked.
func (c Connection) Check(_ context.Context, h *Conversation) error { return h.quiet() }

// Face returns the session's methods over s.
func (c Connection) Face(s Caller[*Conversation]) *ConnectionSession {
	return &ConnectionSession{talk{connectionKind, c.delimiter(), s}}
}

// Open connects, and waits for the greeting where there is one.
func (c Connection) Open(ctx context.Context, held *Held) (*Conversation, error) {
	a, err := parseSocketAddress(c.Address)
	if err != nil {
		return nil, err
	}
	conn, err := c.socket().open(ctx, a, held)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", a.target(), err)
	}
	raw := conn
	if secure, ok := conn.(*tls.Conn); ok {
		raw = secure.NetConn() // closed without a word of farewell, in which TLS could block
	}
	h := newConversation(a.target(), c.ReplyMaxBytes, lineEnd{conn, raw})
	// Ends when the connection does, at the session's end at the latest.
	go func() {
		defer close(h.ended)
		h.listen(c.delimiter())
	}()
	if err := held.Keep(&Piece{What: "reader of " + a.target(), Close: h.close}); err != nil {
		return nil, err
	}
	if c.Greets {
		if _, err := h.hear(ctx); err != nil {
			return nil, fmt.Errorf("greeting: %w", err)
		}
	}
	return h, nil
}

// lineEnd is our end of a connection: what is spoken over, and what is closed.
type lineEnd struct {
	io.ReadWriter
	raw net.Conn
}

// Close implements io.Closer.
func (e lineEnd) Close() error { return closed(e.raw.Close()) }

// ConnectionSession is an open Connection. Many goroutines may use it: their calls take
// turns. Whoever opened it closes it.
type ConnectionSession struct{ talk talk }

// Ask writes line, which must not hold the delimiter, and returns the line that the peer
// answers with. Where the peer hangs up instead, the error is io.ErrUnexpectedEOF, or the
// network's own.
func (s *ConnectionSession) Ask(ctx context.Context, line string) (string, error) {
	return s.talk.ask(ctx, line)
}

// AskUntil is Ask for answers of several lines: it returns them up to the one of which last
// says that it is the last. last runs on the call's goroutine; ReplyMaxBytes holds for all.
func (s *ConnectionSession) AskUntil(ctx context.Context, line string, last func(line string) bool) ([]string, error) {
	return s.talk.askUntil(ctx, line, last)
}

// Close closes the connection. Calls under way end as cancelled.
func (s *ConnectionSession) Close() error { return s.talk.caller.Close() }
