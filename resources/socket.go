package resources

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// socketMaxBytes is what is received into memory when the Socket sets no limit.
const socketMaxBytes = 32 << 20

const kindSocket = "socket"

// Socket dials a peer, sends it something and receives its answer: one exchange, under
// one deadline that covers the look-up of the name, the dial, the TLS handshake and
// every byte in both directions. Sending and receiving go on at the same time.
//
// It is plain data but for In and Out, and many goroutines may use it at once when it
// has neither.
//
// The answer ends with ReadBytes, with ReadUntil, or, when neither is set, where the
// peer ends its side of the connection. Once the answer has ended and Send is out, the
// connection is closed.
//
// Over udp the exchange is one datagram, which may be empty, and one in answer. Nothing
// is sent a second time: when either is lost, the exchange ends at its deadline.
type Socket struct {
	// Address is the peer: tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT,
	// unix:///PATH, or HOST:PORT, which is tcp. The port is a number. Names are looked
	// up by Go's own resolver.
	Address string

	// TLS is for tls addresses alone; nil trusts the system's authorities.
	TLS *TLS

	// Send is sent first.
	Send []byte

	// HalfClose ends the sending side once all has been sent, so that a peer that
	// reads to the end knows that it has everything. It means nothing to udp.
	HalfClose bool

	// ReadBytes is the length of the answer. 0 is not known.
	ReadBytes int64

	// ReadUntil ends the answer and belongs to it: "\n" reads a line.
	ReadUntil []byte

	// BodyMaxBytes is the most that is received: more is a *TooLargeError. 0 is 32 MiB
	// (or ReadBytes, where that is more), and no limit where the answer goes to Out.
	BodyMaxBytes int64

	// In is sent after Send, as it comes, up to its end, which does not end the
	// exchange. An exchange that ends before In does not wait for a Read that blocks:
	// it is woken where In has a SetReadDeadline that works, as pipes and connections
	// do, and left to itself otherwise; what it reads then is lost.
	In io.Reader `json:"-"`

	// Out takes the answer, as it comes, in place of SocketResult.Received. A Write
	// that blocks is woken at the end where Out has a SetWriteDeadline that works;
	// otherwise it holds the exchange, which is then a leftover.
	Out io.Writer `json:"-"`
}

// SocketResult is what came of a Socket. Beside an expiry or a cancellation it is what
// there was until then.
type SocketResult struct {
	Received      []byte // the answer; nil when it went to Out
	SentBytes     int64  // handed to the operating system, which is not yet to the peer
	ReceivedBytes int64  // in Received, or written to Out
	RemoteAddr    string // of the peer, once connected: "127.0.0.1:80"
}

// Spec checks the fields and describes the socket.
func (s Socket) Spec() (Spec, error) {
	a, err := parseSocketAddress(s.Address)
	if err != nil {
		return Spec{}, err
	}
	if err := s.check(a); err != nil {
		return Spec{}, err
	}
	return Spec{Kind: kindSocket, Target: a.target(), Endpoint: a.address}, nil
}

// check finds fields that are wrong by themselves or do not go together.
func (s Socket) check(a socketAddress) error {
	ends := s.ReadBytes != 0 || len(s.ReadUntil) > 0
	switch {
	case s.TLS != nil && a.scheme != "tls":
		return invalidSocket("TLS", "is set, but the address is not tls://")
	case s.ReadBytes < 0:
		return invalidSocket("ReadBytes", "is negative")
	case s.ReadBytes > 0 && len(s.ReadUntil) > 0:
		return invalidSocket("ReadUntil", "is set together with ReadBytes: the answer has one end")
	case s.BodyMaxBytes < 0:
		return invalidSocket("BodyMaxBytes", "is negative")
	case s.BodyMaxBytes > 0 && s.ReadBytes > s.BodyMaxBytes:
		return invalidSocket("ReadBytes", "is more than BodyMaxBytes")
	case a.scheme == "udp" && ends:
		return invalidSocket("ReadBytes, ReadUntil", "are set, but a datagram has an end of its own")
	case a.scheme == "udp" && len(s.Send) > datagramMaxBytes:
		return invalidSocket("Send", "is longer than a datagram can be")
	}
	_, err := s.TLS.config(kindSocket)
	return err
}

// Run dials, sends and receives. Errors are the network's own, found by errors.Is
// (syscall.ECONNREFUSED, *net.DNSError), io.ErrUnexpectedEOF when the peer ends before
// the answer does, *TooLargeError, or those of In and Out.
func (s Socket) Run(ctx context.Context, held *Held) (*SocketResult, error) {
	a, err := parseSocketAddress(s.Address)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return &SocketResult{}, err
	}
	conn, err := s.open(ctx, a, held)
	if err != nil {
		return ifEnded(ctx, func() *SocketResult { return &SocketResult{} }), fmt.Errorf("open %s: %w", a.target(), err)
	}
	held.Opened()
	x := &socketExchange{Socket: s, conn: conn, held: held, datagram: a.scheme == "udp", target: a.target()}
	if err := x.run(ctx); err != nil {
		return ifEnded(ctx, x.result), fmt.Errorf("%s: %w", a.target(), err)
	}
	return x.result(), nil
}

// ifEnded is the result where the use was ended from outside: a failure of its own has none.
func ifEnded(ctx context.Context, result func() *SocketResult) *SocketResult {
	if ctx.Err() == nil {
		return nil
	}
	return result()
}

// open dials a and shakes hands. The connection is kept before the handshake, in which
// it can block.
func (s Socket) open(ctx context.Context, a socketAddress, held *Held) (net.Conn, error) {
	dialer := net.Dialer{Resolver: NewResolver()}
	raw, err := dialer.DialContext(ctx, a.network(), a.address)
	if err != nil {
		return nil, err
	}
	if err := held.Keep(connectionPiece(raw, a.target())); err != nil {
		return nil, err
	}
	if a.scheme != "tls" {
		return raw, nil
	}
	config, err := s.TLS.config(kindSocket)
	if err != nil {
		return nil, err
	}
	if config.ServerName == "" {
		config.ServerName = a.host
	}
	conn := tls.Client(raw, config)
	return conn, conn.HandshakeContext(ctx)
}

// connectionPiece closes a connection without a word of farewell, in which TLS could
// block; by force it resets it.
func connectionPiece(conn net.Conn, target string) *Piece {
	return &Piece{
		What:  "connection to " + target,
		Close: conn.Close,
		Force: func() error {
			if c, ok := conn.(*net.TCPConn); ok {
				_ = c.SetLinger(0)
			}
			return conn.Close()
		},
	}
}

// socketAddress is an Address taken apart.
type socketAddress struct {
	scheme  string // tcp, tls, udp or unix
	address string // host:port or a path
	host    string // empty for unix
}

func (a socketAddress) network() string {
	if a.scheme == "tls" {
		return "tcp"
	}
	return a.scheme
}

// target is the address as it may be shown. The path of a unix socket is no secret: it
// stands where others have host and port.
func (a socketAddress) target() string { return a.scheme + "://" + a.address }

// parseSocketAddress never quotes the address in an error: what stands in the wrong
// place may be a password.
func parseSocketAddress(address string) (socketAddress, error) {
	scheme, rest, found := strings.Cut(address, "://")
	if !found {
		scheme, rest = "tcp", address
	}
	switch scheme = strings.ToLower(scheme); scheme {
	case "unix":
		if !strings.HasPrefix(rest, "/") || strings.ContainsRune(rest, 0) {
			return socketAddress{}, invalidSocket("Address", "is not unix:///PATH")
		}
		return socketAddress{scheme: scheme, address: rest}, nil
	case "tcp", "tls", "udp":
		return parseHostPort(scheme, rest)
	}
	return socketAddress{}, invalidSocket("Address", "has an unknown scheme: tcp, tls, udp and unix are known")
}

func parseHostPort(scheme, rest string) (socketAddress, error) {
	if strings.ContainsAny(rest, "@/?# \t\r\n\x00") {
		return socketAddress{}, invalidSocket("Address", "holds more than HOST:PORT")
	}
	host, port, err := net.SplitHostPort(rest)
	if err != nil || host == "" {
		return socketAddress{}, invalidSocket("Address", "is not HOST:PORT")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return socketAddress{}, invalidSocket("Address", "has no port from 1 to 65535")
	}
	host = strings.ToLower(host)
	return socketAddress{scheme: scheme, address: net.JoinHostPort(host, port), host: host}, nil
}

func invalidSocket(field, why string) *Invalid {
	return &Invalid{Kind: kindSocket, Field: field, Why: why}
}

// socketTooLarge is a TooLargeError in a socket's words.
type socketTooLarge struct{ *TooLargeError }

func (e socketTooLarge) Error() string {
	return fmt.Sprintf("the %s is larger than %d bytes", e.What, e.MaxBytes)
}

func (e socketTooLarge) Unwrap() error { return e.TooLargeError }

// isClosing reports whether err says that the connection was closed on this side.
func isClosing(err error) bool { return errors.Is(err, net.ErrClosed) }
