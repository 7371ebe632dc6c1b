package remote

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	upstream "github.com/asynkron/protoactor-go/remote"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// The messages that may come in.
const (
	requestName  = "curfew.v1.Request"
	cancelName   = "curfew.v1.Cancel"
	responseName = "curfew.v1.Response"
)

// headerStream says, inside this process, by which stream a message came.
const headerStream = "curfew-stream"

// handshakeLimit bounds how long a connection may take to show who it is.
const handshakeLimit = 5 * time.Second

// serverOptions are those of the listening side.
func (n *Node) serverOptions() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(n.gate),
		grpc.ConnectionTimeout(handshakeLimit),
		grpc.MaxRecvMsgSize(n.conf.MessageMaxBytes + overhead),
		grpc.MaxSendMsgSize(overhead),
		grpc.MaxHeaderListSize(overhead),
		grpc.MaxConcurrentStreams(2), // a new link may overlap the old
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingLimit}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingAfter / 2, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true),
		grpc.StreamInterceptor(n.fenceStream),
		grpc.UnaryInterceptor(fenceUnary),
	}
}

// fenceUnary refuses remote's other methods: they panic.
func fenceUnary(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
	return nil, status.Error(codes.Unimplemented, "not served here")
}

// fenceStream puts the fence between a peer and remote, whose handler panics on what it
// does not expect.
func (n *Node) fenceStream(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer func() {
		if v := recover(); v != nil {
			n.log().Error("curfew: remote panicked on a peer's message", slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
			err = status.Error(codes.InvalidArgument, "malformed message")
		}
	}()
	select {
	case <-n.ready:
	case <-ss.Context().Done():
		return ss.Context().Err()
	}
	in := n.enter(ss)
	defer n.leave(in)
	return handler(srv, in)
}

// inbound is the stream of a peer, behind the fence. One goroutine receives from it.
type inbound struct {
	grpc.ServerStream
	node    *Node
	id      string
	host    string        // that the connection comes from
	slots   chan struct{} // one for each of its requests, until the answer is on the wire
	greeted bool
	dropped int

	batch *upstream.MessageBatch // the one that is being handed out
	rest  []*upstream.MessageEnvelope
}

// enter books a stream.
func (n *Node) enter(ss grpc.ServerStream) *inbound {
	in := &inbound{
		ServerStream: ss, node: n,
		id:    strconv.FormatUint(n.lastID.Add(1), 10),
		slots: make(chan struct{}, n.conf.RequestsMax),
	}
	if p, ok := peer.FromContext(ss.Context()); ok {
		in.host, _, _ = net.SplitHostPort(p.Addr.String())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.inbounds[in.id] = in
	return in
}

// leave takes a stream off the books; what its peer has under way is stopped.
func (n *Node) leave(in *inbound) {
	n.mu.Lock()
	delete(n.inbounds, in.id)
	n.mu.Unlock()
	n.system.Root.Send(n.gateway, &streamEnded{in})
}

// inbound returns the stream of that ID, nil when it has ended.
func (n *Node) inbound(id string) *inbound {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.inbounds[id]
}

// RecvMsg implements grpc.ServerStream. It returns only what remote may see: one greeting,
// and messages one by one, made anew of the parts that are known to be good.
func (in *inbound) RecvMsg(m any) error {
	into, ok := m.(*upstream.RemoteMessage)
	if !ok {
		return status.Error(codes.Unimplemented, "not served here")
	}
	for {
		clean, err := in.next()
		if err != nil {
			return err
		}
		if clean != nil {
			into.MessageType = &upstream.RemoteMessage_MessageBatch{MessageBatch: clean}
			return nil
		}
		if err := in.ServerStream.RecvMsg(into); err != nil {
			return err
		}
		if in.greets(into) {
			return nil
		}
	}
}

// greets takes in what was received, and reports whether it is the greeting.
func (in *inbound) greets(m *upstream.RemoteMessage) bool {
	if b := m.GetMessageBatch(); b != nil {
		in.batch, in.rest = b, b.GetEnvelopes()
		return false
	}
	if m.GetConnectRequest().GetServerConnection() != nil && !in.greeted {
		in.greeted = true
		return true
	}
	in.drop("no message")
	return false
}

// next returns the next good message of the batch at hand, nil when there is none. It
// waits where the peer has as much under way as it may.
func (in *inbound) next() (*upstream.MessageBatch, error) {
	for len(in.rest) > 0 {
		e := in.rest[0]
		in.rest = in.rest[1:]
		clean := in.inspect(e)
		if clean == nil {
			continue
		}
		if clean.TypeNames[0] == requestName {
			select {
			case in.slots <- struct{}{}:
			case <-in.Context().Done():
				return nil, in.Context().Err()
			}
		}
		return clean, nil
	}
	in.batch = nil
	return nil, nil
}

// inspect makes a batch of one message anew, or drops it: nil.
func (in *inbound) inspect(e *upstream.MessageEnvelope) *upstream.MessageBatch {
	name, known := at(in.batch.GetTypeNames(), int(e.GetTypeId()))
	target, there := at(in.batch.GetTargets(), int(e.GetTarget()))
	if !known || !there || e.GetSerializerId() != 0 {
		in.drop("an index that is out of range")
		return nil
	}
	clean := &upstream.MessageBatch{TypeNames: []string{name}}
	envelope := &upstream.MessageEnvelope{MessageData: e.GetMessageData()}
	switch {
	case target.GetId() == gatewayID && (name == requestName || name == cancelName):
		sender, err := in.sender(e)
		if err != nil {
			in.drop(err.Error())
			return nil
		}
		clean.Targets = []*actor.PID{in.node.system.NewLocalPID(gatewayID)}
		clean.Senders = []*actor.PID{sender}
		envelope.Sender = 1
		envelope.MessageHeader = &upstream.MessageHeader{HeaderData: map[string]string{headerStream: in.id}}
	case target.GetId() == in.node.answers.GetId() && name == responseName:
		clean.Targets = []*actor.PID{in.node.system.NewLocalPID(target.GetId())}
	default:
		in.drop("a message that is not for peers to send")
		return nil
	}
	clean.Envelopes = []*upstream.MessageEnvelope{envelope}
	return clean
}

var errSender = errors.New("a sender that cannot be answered")

// sender is whom the answer goes to: on the host that the stream comes from, or one that
// was named. An address is dialled, so it is nothing but HOST:PORT, and not our own.
func (in *inbound) sender(e *upstream.MessageEnvelope) (*actor.PID, error) {
	pid, ok := at(in.batch.GetSenders(), int(e.GetSender())-1)
	if !ok || pid.GetId() == "" || pid.GetAddress() == in.node.address {
		return nil, errSender
	}
	host, _, err := splitAddress(pid.GetAddress())
	if err != nil || !in.mayAnswer(host, pid.GetAddress()) {
		return nil, errSender
	}
	return actor.NewPID(pid.GetAddress(), pid.GetId()), nil
}

func (in *inbound) mayAnswer(host, address string) bool {
	if ip := net.ParseIP(host); ip != nil && ip.Equal(net.ParseIP(in.host)) {
		return true
	}
	for _, p := range in.node.conf.Peers {
		if ok, _ := path.Match(p, address); ok {
			return true
		}
	}
	return false
}

// drop counts a message that does not get in. The first of a stream is logged.
func (in *inbound) drop(why string) {
	if in.dropped++; in.dropped == 1 {
		in.node.log().Warn("curfew: a peer's message was dropped", slog.String("host", in.host), slog.String("why", why))
	}
}

// at is a[i], if there is one that is not the zero value.
func at[T comparable](a []T, i int) (T, bool) {
	var zero T
	if i < 0 || i >= len(a) {
		return zero, false
	}
	return a[i], a[i] != zero
}

// bracketed is host as it stands before a port.
func bracketed(host string) string {
	if ip := net.ParseIP(host); ip != nil && ip.To4() == nil {
		return "[" + host + "]"
	}
	return host
}
