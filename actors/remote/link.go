package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	upstream "github.com/asynkron/protoactor-go/remote"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

type tlsConfig = tls.Config

// Bounds of a link, whatever the requests on it allow.
const (
	connectLimit = 5 * time.Second  // dial, handshake and greeting
	sendLimit    = 10 * time.Second // a peer that takes no byte of a message for so long is lost
	pingAfter    = 10 * time.Second // of silence
	pingLimit    = 5 * time.Second  // for the answer to a ping
	overhead     = 16 << 10         // of a message on the wire

	farewellLimit = time.Second // for peers to read what was sent before Close
)

var (
	errSlowConnect = errors.New("no connection in time")
	errSlowSend    = errors.New("the peer takes no messages")
	errEnded       = errors.New("the peer ended the link")
)

// dialOptions are those of the links to peers.
func (n *Node) dialOptions(config *tlsConfig) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithContextDialer(n.dial),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithStreamInterceptor(n.openStream),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingLimit}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectLimit}),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallSendMsgSize(n.conf.MessageMaxBytes+overhead),
			grpc.MaxCallRecvMsgSize(overhead)), // greetings are all that comes back
	}
}

// dial notes why it fails: gRPC would pass on the text alone.
func (n *Node) dial(ctx context.Context, address string) (net.Conn, error) {
	ctx, stop := merge(ctx, n.life)
	defer stop()
	dialer := net.Dialer{Resolver: &net.Resolver{PreferGo: true}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	n.mu.Lock()
	defer n.mu.Unlock()
	if delete(n.dials, address); err != nil {
		n.dials[address] = err
	}
	return conn, err
}

// merge ends ctx with other, too.
func merge(ctx, other context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(other, cancel)
	return ctx, func() { stop(); cancel() }
}

// outbound is a stream to a peer. Remote sends on it and receives a greeting; whatever
// comes after that is its end.
type outbound struct {
	grpc.ClientStream
	node      *Node
	address   string
	cancel    context.CancelCauseFunc
	ctx       context.Context
	greeting  *time.Timer
	release   func() bool // of n.life
	connected bool        // set before anybody else can see the stream
	over      chan struct{}

	sending  sync.Mutex // held while a message is sent
	finished bool       // nothing more is
}

// openStream is remote's way to a peer. It runs in the mailbox of remote's writer.
func (n *Node) openStream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	s := &outbound{node: n, address: strings.TrimPrefix(cc.Target(), "passthrough:///")}
	s.over = make(chan struct{})
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.release = context.AfterFunc(n.life, func() { s.cancel(errEnded) })
	s.greeting = time.AfterFunc(connectLimit, func() { s.cancel(errSlowConnect) })
	var err error
	if s.ClientStream, err = open(s.ctx, desc, cc, method, opts...); err != nil {
		s.failed(err)
	}
	return s, nil
}

// failed gives up a link that did not come to be. It panics: an error would have remote
// sleep for two seconds with the requests in its mailbox, and the panic has its supervisor
// stop the writer at once.
func (s *outbound) failed(err error) {
	s.greeting.Stop()
	s.node.mu.Lock()
	dialled := s.node.dials[s.address]
	delete(s.node.dials, s.address)
	s.node.mu.Unlock()
	if dialled != nil {
		err = dialled
	}
	s.end(s.why(err))
	panic(fmt.Sprintf("no link to %s: %v", s.address, err))
}

// why prefers the reason for which we ended the stream ourselves.
func (s *outbound) why(err error) error {
	if cause := context.Cause(s.ctx); cause != nil {
		return cause
	}
	if err == nil || errors.Is(err, io.EOF) {
		return errEnded
	}
	return err
}

// SendMsg implements grpc.ClientStream, with a bound.
func (s *outbound) SendMsg(m any) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	if s.finished {
		return errEnded
	}
	timer := time.AfterFunc(sendLimit, func() { s.cancel(errSlowSend) })
	defer timer.Stop()
	err := s.ClientStream.SendMsg(m)
	if err == nil {
		s.node.sent(s.address)
	}
	if err != nil && !s.connected {
		if errors.Is(err, io.EOF) { // the reason has to be received
			err = s.ClientStream.RecvMsg(new(upstream.RemoteMessage))
		}
		s.failed(err)
	}
	return err
}

// RecvMsg implements grpc.ClientStream. When the link ends it tells everybody itself, in
// an order in which no request is lost between the old link and the next, and then says
// EOF, after which remote is silent: it would announce the end a second time, and that
// would end the next link.
func (s *outbound) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if !s.connected {
		s.greet(m, err)
		return nil
	}
	s.end(s.why(err))
	return io.EOF
}

// end ends the stream and tells everybody.
func (s *outbound) end(err error) {
	s.release()
	s.cancel(err)
	s.node.mu.Lock()
	delete(s.node.streams, s)
	s.node.mu.Unlock()
	close(s.over)
	s.node.lost(s.address, err)
}

// finish says that nothing more will be sent. A peer that does not take what is being sent
// is not waited for.
func (s *outbound) finish() {
	if !s.sending.TryLock() {
		s.cancel(errSlowSend)
		return
	}
	defer s.sending.Unlock()
	s.finished = true
	_ = s.CloseSend() // a link that is broken has ended, too
}

// greet takes the greeting, without which there is no link.
func (s *outbound) greet(m any, err error) {
	msg, _ := m.(*upstream.RemoteMessage)
	hello := msg.GetConnectResponse()
	switch {
	case err != nil:
		s.failed(err)
	case hello == nil || hello.GetBlocked():
		s.failed(errors.New("the peer greets in a way that is unknown here"))
	case !s.greeting.Stop():
		s.failed(errSlowConnect)
	}
	s.connected = true
	s.node.mu.Lock()
	s.node.streams[s] = struct{}{}
	s.node.mu.Unlock()
}
