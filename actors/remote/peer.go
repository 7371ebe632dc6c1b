package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	upstream "github.com/asynkron/protoactor-go/remote"
	"google.golang.org/protobuf/proto"

	"curfew.example/actors"
	"curfew.example/actors/remote/curfewv1"
	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// Options are what a caller says about one request to a peer.
type Options struct {
	Within   time.Duration   // explicit limit; 0: none, ctx's deadline has to do
	Class    string          // class of caller, for the peer's policy
	Priority int             // of those who wait there, the higher goes first
	Receipt  *actors.Receipt // the peer's, filled in before Do returns when it sent one; nil: not wanted
}

// Peer is another process's node, as seen from here. Node.Peer makes one, once for each
// address. Many goroutines may use it.
type Peer struct {
	node    *Node
	address string
	gateway *actor.PID
	desk    *actor.PID
	stopped chan struct{}  // the desk has
	busy    sync.WaitGroup // what the desk has under way
}

// Peer returns the peer at address, HOST:PORT, whose certificate has to be good for HOST.
// Nothing is dialled before the first request.
func (n *Node) Peer(address string) (*Peer, error) {
	host, port, err := splitAddress(address)
	switch {
	case err != nil:
		return nil, invalid("address", err.Error())
	case host == "" || port == 0:
		return nil, invalid("address", "has no host, or no port")
	case address == n.address:
		return nil, invalid("address", "is this node's own")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing.Load() {
		return nil, actors.ErrClosed
	}
	if p := n.peers[address]; p != nil {
		return p, nil
	}
	p := &Peer{node: n, address: address, gateway: actor.NewPID(address, gatewayID), stopped: make(chan struct{})}
	p.desk = n.system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return newDesk(p) }))
	n.peers[address] = p
	return p, nil
}

// Address is the peer's.
func (p *Peer) Address() string { return p.address }

// PID is the address in this process for requests to the peer by message: it takes
// *actors.Request and *actors.Cancel, and answers with *actors.Response, as a
// supervisor's does.
func (p *Peer) PID() *actor.PID { return p.desk }

// Do has a peer run r under a deadline, and returns what supervisor.Do would there. The
// table of errors is Peer.Do's.
func Do[T any](ctx context.Context, p *Peer, r resources.Resource[T], opts Options) (T, error) {
	v, err := p.Do(ctx, resources.Of(r), opts)
	value, _ := v.(T)
	return value, err
}

// Do has the peer run use, which is a Fetch, Command, Socket or XMLRPCCall. The deadline
// is fixed now, by opts.Within or ctx's deadline or whichever is sooner; with neither the
// request is refused (timeoutpolicy.ErrNoLimit), for links can break in ways that nobody
// notices. Do returns by the deadline plus Config.Grace, with
//
//	*Error                         what the peer answered, with what is found in it
//	*resources.Invalid             the use cannot be sent; nothing was
//	ErrTooLarge                    as such a request is larger than a message
//	ErrPeerLost                    and why: no link, or it broke; a refused connection is found in it
//	ErrNoAnswer                    nothing came in time
//	timeoutpolicy.ErrNoLimit, ErrTooLate, actors.ErrOverloaded, actors.ErrClosed, ctx's cause
//
// A request that is cancelled by ctx is stopped there, and its answer waited for, for
// Config.Grace.
func (p *Peer) Do(ctx context.Context, use resources.Use, opts Options) (any, error) {
	deadline, explicit, err := deadlineOf(ctx, opts.Within)
	if err != nil {
		return nil, fmt.Errorf("peer %s: %w", p.address, err)
	}
	req, err := p.request(use, opts)
	if err != nil {
		return nil, err
	}
	a, err := p.node.ask(p.address, req)
	if err != nil {
		return nil, fmt.Errorf("peer %s: %w", p.address, err)
	}
	defer p.node.forget(a)
	if !p.node.send(p.gateway, &question{req, deadline, explicit}, p.node.answers) {
		return nil, fmt.Errorf("peer %s: %w", p.address, actors.ErrClosed)
	}
	m, err := p.await(ctx, a, deadline)
	if err != nil {
		return nil, err
	}
	return p.open(ctx, m, opts)
}

// deadlineOf fixes the deadline of a request, and says whether it is the explicit one.
func deadlineOf(ctx context.Context, within time.Duration) (at time.Time, explicit bool, err error) {
	now := time.Now()
	due, ok := ctx.Deadline()
	limited := within > 0 && within != timeoutpolicy.Unlimited
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return due, false, context.Cause(ctx)
	case within < 0 || ok && !due.After(now):
		return due, false, timeoutpolicy.ErrTooLate
	case !limited && !ok:
		return due, false, timeoutpolicy.ErrNoLimit
	case limited && (!ok || now.Add(within).Before(due)):
		return now.Add(within), true, nil
	}
	return due, false, nil
}

// request makes the message, and finds what is wrong with it before anything is sent.
func (p *Peer) request(use resources.Use, opts Options) (*curfewv1.Request, error) {
	if use == nil {
		return nil, &resources.Invalid{Kind: "request", Field: "Use", Why: "there is nothing to run"}
	}
	req := &curfewv1.Request{WithinNs: int64(opts.Within), Class: opts.Class, Priority: int64(opts.Priority)}
	kind := resources.Plain(use)
	if err := encodeUse(req, kind); err != nil {
		return nil, err
	}
	if _, err := erase(kind).Spec(); err != nil {
		return nil, err
	}
	text, err := proto.Marshal(req)
	if err != nil {
		return nil, &resources.Invalid{Kind: "request", Field: "Use", Why: "holds text that is not UTF-8 where it has to be"}
	}
	if len(text) > p.node.conf.MessageMaxBytes {
		return nil, fmt.Errorf("the request has %d bytes: %w", len(text), ErrTooLarge)
	}
	return req, nil
}

// await waits for one of: the answer, the loss of the link, the time after which nobody
// waits any more.
func (p *Peer) await(ctx context.Context, a *ask, deadline time.Time) (*curfewv1.Response, error) {
	grace := max(0, p.node.conf.Grace)
	timer := time.NewTimer(time.Until(deadline) + grace)
	defer timer.Stop()
	done := ctx.Done()
	for {
		select {
		case m := <-a.answer:
			return m, nil
		case err := <-a.failed:
			return nil, err
		case <-timer.C:
			p.cancel(a)
			return nil, fmt.Errorf("peer %s: %w", p.address, ErrNoAnswer)
		case <-done:
			done = nil
			if !errors.Is(ctx.Err(), context.DeadlineExceeded) { // of that the peer knows
				p.cancel(a)
				timer.Reset(grace)
			}
		}
	}
}

// cancel tells the peer to stop a request.
func (p *Peer) cancel(a *ask) {
	p.node.send(p.gateway, &curfewv1.Cancel{Id: a.id}, p.node.answers)
}

// open takes an answer apart.
func (p *Peer) open(ctx context.Context, m *curfewv1.Response, opts Options) (any, error) {
	receipt, err := decodeReceipt(m.GetReceipt())
	if err != nil {
		return nil, fmt.Errorf("peer %s: %w", p.address, err)
	}
	if opts.Receipt != nil && receipt != nil {
		*opts.Receipt = *receipt
	}
	value := decodeResult(m)
	err = decodeError(p.address, m.GetError(), value, receipt)
	var e *Error
	if cause := context.Cause(ctx); errors.As(err, &e) && cause != nil {
		e.found = append(e.found, cause)
	}
	return value, err
}

// question is a request on its way.
type question struct {
	req      *curfewv1.Request
	deadline time.Time
	explicit bool // the deadline is that of an explicit limit
}

// Serialize implements upstream's RootSerializable. The request is going on the wire: what
// is left of its time is taken now. One that is out of time stays here.
func (q *question) Serialize() (upstream.RootSerialized, error) {
	left := time.Until(q.deadline)
	if left <= 0 {
		return nil, timeoutpolicy.ErrTooLate
	}
	if q.explicit {
		q.req.WithinNs = int64(left)
	} else {
		q.req.RemainingNs = proto.Int64(int64(left))
	}
	return wireRequest{q.req}, nil
}

// LogValue implements slog.LogValuer: nothing of the request gets into a log.
func (q *question) LogValue() slog.Value { return q.req.LogValue() }

// IgnoreDeadLetterLogging marks requests for which there was no link: no news.
func (q *question) IgnoreDeadLetterLogging() {}

// wireRequest is a message that upstream takes for one of its own.
type wireRequest struct{ *curfewv1.Request }

// Deserialize implements upstream's RootSerialized, which is for the sending side here.
func (wireRequest) Deserialize() (upstream.RootSerializable, error) { return nil, errOneWay }

// ask is one request under way at a peer.
type ask struct {
	id      uint64
	address string
	answer  chan *curfewv1.Response // room for the one that counts
	failed  chan error              // as above
}

// ask books a request under a number nobody else knows.
func (n *Node) ask(address string, req *curfewv1.Request) (*ask, error) {
	a := &ask{address: address, answer: make(chan *curfewv1.Response, 1), failed: make(chan error, 1)}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closing.Load() {
		return nil, actors.ErrClosed
	}
	if n.asking[address] >= n.conf.RequestsMax {
		return nil, fmt.Errorf("%d requests are under way: %w", n.conf.RequestsMax, actors.ErrOverloaded)
	}
	for a.id == 0 || n.asks[a.id] != nil {
		a.id = rand.Uint64() // ChaCha8, seeded by the system: not to be guessed
	}
	req.Id = a.id
	n.asks[a.id] = a
	n.asking[address]++
	return a, nil
}

// forget takes a request off the books; an answer to it then goes nowhere.
func (n *Node) forget(a *ask) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.asks, a.id)
	if n.asking[a.address]--; n.asking[a.address] == 0 {
		delete(n.asking, a.address)
	}
}

// failAsks ends those requests that which picks.
func (n *Node) failAsks(which func(*ask) bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, a := range n.asks {
		if which(a) {
			select {
			case a.failed <- err:
			default: // it has failed already
			}
		}
	}
}

// answers is where answers come in.
type answers struct{ node *Node }

// SendUserMessage implements actor.Process. It never blocks.
func (w *answers) SendUserMessage(_ *actor.PID, msg any) {
	_, v, _ := actor.UnwrapEnvelope(msg)
	m, ok := v.(*curfewv1.Response)
	if !ok {
		return
	}
	w.node.mu.Lock()
	a := w.node.asks[m.GetId()]
	w.node.mu.Unlock()
	if a == nil {
		return
	}
	select {
	case a.answer <- m:
	default: // a second one
	}
}

// SendSystemMessage implements actor.Process: there is nobody to watch or stop.
func (w *answers) SendSystemMessage(*actor.PID, any) {}

// Stop implements actor.Process.
func (w *answers) Stop(*actor.PID) {}
