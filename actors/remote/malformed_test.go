package remote_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	upstream "github.com/asynkron/protoactor-go/remote"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	"curfew.example/actors/remote"
	"curfew.example/actors/remote/curfewv1"
	"curfew.example/resources"
	"curfew.example/tests/alone"
)

// frames is how many malformed messages are sent.
const frames = 10_000

func TestMalformedFramesDoNoHarm(t *testing.T) {
	if alone.Run(t) {
		return
	}
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("CURFEW_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("CURFEW_SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 1))

	issue := authority(t)
	c := startChild(t, childConf{TLS: issue(), Allow: loopback()})
	p, err := startNode(t, remote.Config{TLS: issue()}).Peer(c.state.Address)
	require.NoError(t, err)
	url, _, _ := site(t)
	honest := func() {
		page, err := remote.Do(t.Context(), p, resources.Fetch{URL: url + "/page"}, within(10*time.Second))
		require.NoError(t, err)
		require.Equal(t, "GET ", string(page.Body))
	}
	honest()
	before := c.look()

	conf := clientTLS(t, issue())
	for range 100 {
		spew(t, r, c.state.Address, nil)  // to a stranger
		spew(t, r, c.state.Address, conf) // to a peer that speaks no HTTP/2
	}
	stop := make(chan struct{})
	latest := make(chan time.Duration)
	go punctual(t, p, url, stop, latest) // ends with the flood
	flood(t, r, c.state.Address, conf)
	close(stop)
	assert.Less(t, <-latest, remote.DefaultGrace)
	unary(t, c.state.Address, conf)
	honest()

	assert.Equal(t, before.Leftovers, c.look().Leftovers)
	var after childState
	assert.Eventually(t, func() bool {
		after = c.look()
		return after.Live == 0 && after.Goroutines <= before.Goroutines+2 && after.FDs <= before.FDs+2
	}, 20*time.Second, 50*time.Millisecond)
	t.Logf("before %+v, after %+v", before, after)
	c.close()
}

// punctual asks for what never comes until stop, and returns the greatest lateness of the
// answers.
func punctual(t *testing.T, p *remote.Peer, url string, stop chan struct{}, latest chan time.Duration) {
	const limit = 50 * time.Millisecond
	var most time.Duration
	for {
		start := time.Now()
		_, err := remote.Do(t.Context(), p, resources.Fetch{URL: url + "/hang"}, within(limit))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		most = max(most, time.Since(start)-limit)
		select {
		case <-stop:
			latest <- most
			return
		default:
		}
	}
}

func clientTLS(t *testing.T, own resources.TLS) *tls.Config {
	t.Helper()
	pair, err := tls.X509KeyPair(own.Certificate, own.Key)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(own.RootCAs))
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13}
}

// spew sends random bytes, half the time behind an HTTP/2 preface.
func spew(t *testing.T, r *rand.Rand, address string, conf *tls.Config) {
	t.Helper()
	var conn net.Conn
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	if conf != nil {
		conf = conf.Clone()
		conf.ServerName = "127.0.0.1"
		conn = tls.Client(conn, conf)
	}
	if r.IntN(2) == 0 {
		_, _ = conn.Write([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	}
	_, _ = conn.Write(noise(r, 4096)) // it may have hung up by now
}

func noise(r *rand.Rand, most int) []byte {
	b := make([]byte, r.IntN(most))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// asIs is a codec that sends bytes.
type asIs struct{}

func (asIs) Name() string { return "proto" }
func (asIs) Marshal(v any) ([]byte, error) {
	if b, ok := v.([]byte); ok {
		return b, nil
	}
	return proto.Marshal(v.(proto.Message))
}
func (asIs) Unmarshal(b []byte, v any) error { return proto.Unmarshal(b, v.(proto.Message)) }

// flood sends malformed messages over as many streams as it takes.
func flood(t *testing.T, r *rand.Rand, address string, conf *tls.Config) {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(conf)), grpc.WithDefaultCallOptions(grpc.ForceCodec(asIs{})))
	require.NoError(t, err)
	defer conn.Close()
	desc := &grpc.StreamDesc{StreamName: "Receive", ServerStreams: true, ClientStreams: true}
	sent := 0
	for sent < frames {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		stream, err := conn.NewStream(ctx, desc, "/remote.Remoting/Receive")
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() { // ends with the stream
			var err error
			for err == nil {
				err = stream.RecvMsg(new(upstream.RemoteMessage))
			}
			ended <- err
		}()
		n := 0
		for range 1 + r.IntN(200) {
			if stream.SendMsg(malformed(t, r, address)) != nil {
				break
			}
			n++
		}
		_ = stream.CloseSend()
		if err := <-ended; errors.Is(err, io.EOF) {
			sent += n // all have been looked at
		} else {
			sent++ // the one that ended the stream
		}
		cancel()
	}
}

// malformed is a message that is wrong in one way or another.
func malformed(t *testing.T, r *rand.Rand, address string) []byte {
	t.Helper()
	if r.IntN(100) == 0 {
		return noise(r, 200)
	}
	pick := func(all ...int32) int32 { return all[r.IntN(len(all))] }
	names := []string{"", "curfew.v1.Request", "curfew.v1.Cancel", "curfew.v1.Response", "no.such.Type", "actor.Stop", "actor.PoisonPill",
		"actor.Watch", "actor.Terminated", "actor.Touch", "remote.ActorPidRequest", "remote.RemoteMessage", "google.protobuf.Any"}
	ids := []string{"", "curfew-gateway", "curfew$2", "activator", "EndpointSupervisor", "curfew-answers$1", "eventstream", "$1"}
	addresses := []string{"", address, "nonhost", "127.0.0.1:1", "unix:///run/x", "dns:///evil.example:1", "10.255.255.1:80"}
	pid := func() *actor.PID {
		return actor.NewPID(addresses[r.IntN(len(addresses))], ids[r.IntN(len(ids))])
	}
	b := &upstream.MessageBatch{TypeNames: names, Targets: []*actor.PID{pid(), pid(), actor.NewPID(address, "curfew-gateway")}, Senders: []*actor.PID{pid(), pid()}}
	if r.IntN(10) == 0 {
		b.TypeNames = nil
	}
	for range r.IntN(4) {
		e := &upstream.MessageEnvelope{
			TypeId: pick(-1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 1<<30), Target: pick(-1, 0, 1, 2, 2, 3, 1<<30), Sender: pick(-1, 0, 1, 2, 3, 1<<30),
			SerializerId: pick(-1, 0, 0, 0, 1, 2, 1<<30), MessageData: noise(r, 40),
			TargetRequestId: r.Uint32N(2), SenderRequestId: r.Uint32N(2),
		}
		if r.IntN(2) == 0 {
			e.MessageData, _ = proto.Marshal(&curfewv1.Request{Id: r.Uint64(), WithinNs: -int64(r.Uint32())})
		}
		b.Envelopes = append(b.Envelopes, e)
	}
	m := &upstream.RemoteMessage{MessageType: &upstream.RemoteMessage_MessageBatch{MessageBatch: b}}
	switch r.IntN(8) {
	case 0:
		m.MessageType = &upstream.RemoteMessage_ConnectRequest{ConnectRequest: &upstream.ConnectRequest{}}
	case 1:
		m.MessageType = &upstream.RemoteMessage_ConnectRequest{ConnectRequest: &upstream.ConnectRequest{
			ConnectionType: &upstream.ConnectRequest_ServerConnection{ServerConnection: &upstream.ServerConnection{Address: "127.0.0.1:1"}}}}
	case 2:
		m.MessageType = &upstream.RemoteMessage_DisconnectRequest{DisconnectRequest: &upstream.DisconnectRequest{}}
	}
	text, err := proto.Marshal(m)
	require.NoError(t, err)
	return text
}

// unary calls remote's other methods, which panic.
func unary(t *testing.T, address string, conf *tls.Config) {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(conf)))
	require.NoError(t, err)
	defer conn.Close()
	_, err = upstream.NewRemotingClient(conn).ListProcesses(t.Context(), &upstream.ListProcessesRequest{})
	require.ErrorContains(t, err, "Unimplemented")
	_, err = upstream.NewRemotingClient(conn).GetProcessDiagnostics(t.Context(), &upstream.GetProcessDiagnosticsRequest{})
	require.ErrorContains(t, err, "Unimplemented")
}

func TestStrangersCannotCrowdOutPeers(t *testing.T) {
	if alone.Run(t) {
		return
	}
	issue := authority(t)
	c := startChild(t, childConf{TLS: issue(), ConnectionsMax: 8, Allow: loopback()})
	before := c.look()
	var silent []net.Conn
	for range 100 {
		conn, err := net.Dial("tcp", c.state.Address)
		require.NoError(t, err)
		silent = append(silent, conn)
	}
	assert.Eventually(t, func() bool { return c.look().FDs <= before.FDs+8 }, 5*time.Second, 20*time.Millisecond)
	defer func() {
		for _, conn := range silent {
			_ = conn.Close()
		}
	}()
	// They stay: those that were let in have five seconds to show who they are.
	p, err := startNode(t, remote.Config{TLS: issue()}).Peer(c.state.Address)
	require.NoError(t, err)
	url, _, _ := site(t)
	assert.Eventually(t, func() bool {
		_, err := remote.Do(t.Context(), p, resources.Fetch{URL: url + "/page"}, within(5*time.Second))
		return err == nil
	}, 10*time.Second, 20*time.Millisecond)
}
