package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	upstream "github.com/asynkron/protoactor-go/remote"

	"curfew.example/actors"
)

// Node is this process's end of the links to others. Start makes one. Many goroutines may
// use it.
type Node struct {
	conf    Config
	system  *actor.ActorSystem
	remote  *upstream.Remote
	address string
	gateway *actor.PID
	stopped chan struct{} // the gateway has
	ready   chan struct{} // address is known

	life   context.Context // of the links to peers; ended by Close
	end    context.CancelFunc
	closed chan struct{} // Close is done

	mu       sync.Mutex
	peers    map[string]*Peer
	asks     map[uint64]*ask        // under way at peers
	asking   map[string]int         // how many, by address
	dials    map[string]error       // why the last dial failed, by address
	streams  map[*outbound]struct{} // links to peers
	inbounds map[string]*inbound    // streams of peers, by ID
	unsent   map[*job]struct{}      // answered, and the answer is not yet sent
	handed   map[string][]*job      // those whose answers are next, by address

	sealing sync.RWMutex  // held shared while something is sent
	sealed  bool          // nothing is sent any more
	closing atomic.Bool   // nothing new is taken
	live    atomic.Int64  // jobs of peers, until their answers are sent
	drained chan struct{} // gets a token when live reaches zero while closing
	lastID  atomic.Uint64 // of streams
	answers *actor.PID    // where answers come in
	gate    *connections  // bounds the connections
}

// Start begins to listen. Nothing is served before Serve says so. The caller closes the
// node. Errors are *resources.Invalid for what is wrong with cfg; another says that
// nothing could listen at the address.
func Start(cfg Config) (*Node, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	serverTLS, clientTLS, err := cfg.tlsConfigs()
	if err != nil {
		return nil, err
	}
	n := &Node{
		conf: cfg, system: cfg.System,
		stopped: make(chan struct{}), ready: make(chan struct{}), closed: make(chan struct{}), drained: make(chan struct{}, 1),
		peers: make(map[string]*Peer), asks: make(map[uint64]*ask), asking: make(map[string]int),
		inbounds: make(map[string]*inbound), unsent: make(map[*job]struct{}),
		handed: make(map[string][]*job), streams: make(map[*outbound]struct{}), dials: make(map[string]error),
		gate: newConnections(serverTLS, cfg.ConnectionsMax),
	}
	n.life, n.end = context.WithCancel(context.Background())
	if n.system == nil {
		n.system = actors.NewSystem(cfg.Logger)
	}
	if err := n.start(n.options(clientTLS)); err != nil {
		n.end()
		return nil, err
	}
	return n, nil
}

// start spawns what takes messages and then lets them in.
func (n *Node) start(settings *upstream.Config) (err error) {
	if _, ok := n.system.ProcessRegistry.GetLocal("activator"); ok {
		return errors.New("remote: the actor system has a node already")
	}
	id := "curfew-answers" + n.system.ProcessRegistry.NextId()
	n.answers, _ = n.system.ProcessRegistry.Add(&answers{n}, id)
	n.gateway, err = n.system.Root.SpawnNamed(actor.PropsFromProducer(func() actor.Actor { return newGateway(n) }), gatewayID)
	if err != nil {
		n.system.ProcessRegistry.Remove(n.answers)
		return fmt.Errorf("remote: %w", err)
	}
	n.remote = upstream.NewRemote(n.system, settings)
	if err := listen(n.remote); err != nil {
		n.system.ProcessRegistry.Remove(n.answers)
		n.system.Root.Stop(n.gateway)
		return err
	}
	n.address = n.system.Address()
	n.answers = actor.NewPID(n.address, id) // as peers have to call it
	close(n.ready)
	return nil
}

// listen starts remote, which panics where it cannot.
func listen(r *upstream.Remote) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("remote: %v", v)
		}
	}()
	r.Start()
	return nil
}

// Address is where peers reach this node.
func (n *Node) Address() string { return n.address }

// System is the actor system the node lives in: supervisor.Under(node.System().Root).
func (n *Node) System() *actor.ActorSystem { return n.system }

// Serve lets peers ask for what allow lists, of the supervisor with the given PID. Called
// again it replaces both, for requests that come from then on. The error is about allow's
// patterns, or actors.ErrClosed.
func (n *Node) Serve(supervisor *actor.PID, allow Allow) error {
	if err := allow.check(); err != nil {
		return err
	}
	msg := &serve{supervisor, allow, make(chan struct{})}
	n.system.Root.Send(n.gateway, msg)
	select { // the gateway answers or has stopped
	case <-msg.done:
		return nil
	case <-n.stopped:
		return actors.ErrClosed
	}
}

// Close ends the node: requests of this process at peers end with actors.ErrClosed, those
// of peers are cancelled, cleaned up and answered, for which Close waits Config.Grace at
// most, and all connections are closed. The supervisor goes on. Close may be called more
// than once, by many; each call waits.
func (n *Node) Close() error {
	if !n.closing.CompareAndSwap(false, true) {
		<-n.closed
		return nil
	}
	defer close(n.closed)
	n.failAsks(func(*ask) bool { return true }, actors.ErrClosed)
	n.drain()
	n.seal()
	n.stopActors()
	n.farewell()
	n.end()
	n.stopRemote()
	n.system.ProcessRegistry.Remove(n.answers)
	if n.conf.System == nil {
		n.system.Shutdown()
	}
	return nil
}

// drain stops what peers have under way and waits until the answers are on the wire.
func (n *Node) drain() {
	n.system.Root.Send(n.gateway, &drain{})
	timer := time.NewTimer(max(0, n.conf.Grace))
	defer timer.Stop()
	for n.live.Load() > 0 {
		select {
		case <-n.drained:
		case <-timer.C:
			return
		}
	}
}

// seal lets nothing more go out: what is sent while remote stops makes it panic.
func (n *Node) seal() {
	n.sealing.Lock()
	n.sealed = true
	n.sealing.Unlock()
}

// send sends a message to a peer, unless the node is closed.
func (n *Node) send(to *actor.PID, msg any, sender *actor.PID) bool {
	n.sealing.RLock()
	defer n.sealing.RUnlock()
	if n.sealed {
		return false
	}
	n.system.Root.Send(to, &actor.MessageEnvelope{Message: msg, Sender: sender})
	return true
}

// farewell ends the links to peers so that what was sent arrives: it waits until they have
// read to the end, for a moment.
func (n *Node) farewell() {
	timer := time.NewTimer(farewellLimit)
	defer timer.Stop()
	n.mu.Lock()
	streams := slices.Collect(maps.Keys(n.streams))
	n.mu.Unlock()
	for _, s := range streams {
		s.finish()
	}
	for _, s := range streams {
		select {
		case <-s.over:
		case <-timer.C:
			return
		}
	}
}

// stopActors stops what takes messages, and waits for it, which is bounded: their
// handlers do not block.
func (n *Node) stopActors() {
	n.mu.Lock()
	peers := make([]*Peer, 0, len(n.peers))
	for _, p := range n.peers {
		peers = append(peers, p)
	}
	n.mu.Unlock()
	for _, p := range peers {
		n.system.Root.Stop(p.desk)
		<-p.stopped
		p.busy.Wait()
	}
	n.system.Root.Stop(n.gateway)
	<-n.stopped
}

// stopRemote ends remote, in the order that it stands: first the server, whose graceful
// stop would wait ten seconds for peers that stay; then the rest.
func (n *Node) stopRemote() {
	n.remote.Shutdown(false)
	defer func() {
		// It may write to a channel that a handler of its own has just closed. All
		// but the server, which has stopped, is stopped by then.
		if v := recover(); v != nil {
			n.log().Debug("curfew: remote panicked while it stopped", slog.Any("panic", v))
		}
	}()
	n.remote.Shutdown(true)
}

func (n *Node) log() *slog.Logger { return n.system.Logger() }

// options configures remote: with bounds, with mutual TLS, and behind the fence.
func (n *Node) options(clientTLS *tlsConfig) *upstream.Config {
	host, port, _ := splitAddress(n.conf.Listen) // checked
	settings := upstream.Configure(bracketed(host), port,
		upstream.WithAdvertisedHost(n.conf.Advertise),
		upstream.WithServerOptions(n.serverOptions()...),
		upstream.WithDialOptions(n.dialOptions(clientTLS)...),
		// A batch is one gRPC message, which has a limit.
		upstream.WithEndpointWriterBatchSize(1),
		// Where its queue begins; what is in it is bounded by those who fill it.
		upstream.WithEndpointWriterQueueSize(64),
	)
	settings.MaxRetryCount = 1 // each further one is two seconds of sleep in a mailbox
	return settings
}

// lost says that the link to a peer is no more: remote forgets it, at once, what was
// under way there ends, and answers for it are given up.
func (n *Node) lost(address string, err error) {
	n.sealing.RLock()
	defer n.sealing.RUnlock()
	if n.sealed {
		return
	}
	n.system.EventStream.Publish(&upstream.EndpointTerminatedEvent{Address: address})
	why := fmt.Errorf("peer %s: %w: %w", address, ErrPeerLost, err)
	n.failAsks(func(a *ask) bool { return a.address == address }, why)
	n.system.Root.Send(n.gateway, &peerGone{address})
}
