package remote

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	upstream "github.com/asynkron/protoactor-go/remote"
	"google.golang.org/protobuf/proto"

	"curfew.example/actors"
	"curfew.example/actors/remote/curfewv1"
	"curfew.example/timeoutpolicy"
)

// gatewayID is the name of the actor that takes the requests of peers.
const gatewayID = "curfew-gateway"

// gateway takes the requests of peers, turns them into those of the supervisor, and sends
// the answers back.
type gateway struct {
	node       *Node
	supervisor *actor.PID // nil: nobody is served
	allow      Allow
	lastID     uint64
	jobs       map[uint64]*job // under way at the supervisor, by our ID
	asked      map[askKey]uint64
}

// askKey tells the requests of peers apart: nobody can cancel another's.
type askKey struct {
	stream, address, sender string
	id                      uint64
}

// job is one request of a peer, until its answer is on the wire.
type job struct {
	in         *inbound
	key        askKey
	sender     *actor.PID
	kind       any
	supervisor *actor.PID // whom it was passed on to; Serve may name another meanwhile
	free       func()     // gives its slot back; may be called by many, and again
}

// Messages of the node to its gateway.
type (
	serve struct {
		supervisor *actor.PID
		allow      Allow
		done       chan struct{}
	}
	streamEnded    struct{ in *inbound }
	peerGone       struct{ address string }
	supervisorGone struct{ who *actor.PID }
	drain          struct{}
)

func newGateway(n *Node) *gateway {
	return &gateway{node: n, jobs: make(map[uint64]*job), asked: make(map[askKey]uint64)}
}

// Receive implements actor.Actor.
func (g *gateway) Receive(c actor.Context) {
	defer func() {
		if v := recover(); v != nil {
			c.Logger().Error("curfew: the gateway panicked; this is a bug", slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
		}
	}()
	switch msg := c.Message().(type) {
	case *curfewv1.Request:
		g.request(c, msg)
	case *curfewv1.Cancel:
		g.cancel(c, msg)
	case *actors.Response:
		g.answered(msg)
	case *serve:
		g.serve(c, msg)
	case *streamEnded:
		g.stop(c, func(j *job) bool { return j.in == msg.in })
	case *peerGone:
		g.stop(c, func(j *job) bool { return j.key.address == msg.address })
		g.node.freeUnsent(msg.address)
	case *actor.Terminated:
		// Answers that it gave before may be in the mailbox: they come first.
		c.Send(c.Self(), &supervisorGone{msg.Who})
	case *supervisorGone:
		g.supervisorGone(msg.who)
	case *drain:
		g.drain(c)
	case *actor.Stopped:
		g.stopped()
	}
}

func (g *gateway) serve(c actor.Context, msg *serve) {
	// One that is replaced stays watched: it may have requests under way.
	g.supervisor, g.allow = msg.supervisor, msg.allow
	if g.supervisor != nil {
		c.Watch(g.supervisor)
	}
	close(msg.done)
}

// request books a peer's request and passes it on.
func (g *gateway) request(c actor.Context, msg *curfewv1.Request) {
	in := g.node.inbound(streamOf(c))
	if in == nil {
		return // the stream has ended, and its slots with it
	}
	from := c.Sender()
	j := &job{in: in, key: askKey{in.id, from.GetAddress(), from.GetId(), msg.GetId()}, sender: from}
	g.node.live.Add(1)
	j.free = sync.OnceFunc(func() { g.node.free(j) })
	ask, err := g.translate(j, msg)
	if err != nil {
		g.refuse(j, err)
		return
	}
	g.lastID++
	ask.ID, j.supervisor = g.lastID, g.supervisor
	g.jobs[ask.ID], g.asked[j.key] = j, ask.ID
	c.Request(j.supervisor, ask)
}

// translate makes a request for the supervisor of a peer's, if that may be asked for.
func (g *gateway) translate(j *job, msg *curfewv1.Request) (_ *actors.Request, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("malformed request: %v", v)
		}
	}()
	if _, twice := g.asked[j.key]; twice {
		return nil, fmt.Errorf("request %d: %w", msg.GetId(), actors.ErrDuplicateID)
	}
	if msg.RemainingNs != nil && msg.GetRemainingNs() <= 0 || msg.GetWithinNs() < 0 {
		return nil, fmt.Errorf("request %d: expired on arrival: %w", msg.GetId(), timeoutpolicy.ErrTooLate)
	}
	if j.kind, err = decodeUse(msg, g.node.resultMax()); err != nil {
		return nil, err
	}
	if err := g.allow.permit(j.kind); err != nil {
		return nil, err
	}
	if g.supervisor == nil || g.node.closing.Load() {
		return nil, actors.ErrClosed
	}
	return &actors.Request{
		Use:    erase(j.kind),
		Within: time.Duration(msg.GetWithinNs()), Remaining: time.Duration(msg.GetRemainingNs()),
		Class: msg.GetClass(), Priority: int(msg.GetPriority()),
	}, nil
}

// resultMax is the limit of bodies, which leaves room for the rest of an answer.
func (n *Node) resultMax() int64 { return int64(n.conf.MessageMaxBytes) / 4 * 3 }

func (g *gateway) cancel(c actor.Context, msg *curfewv1.Cancel) {
	from := c.Sender()
	key := askKey{streamOf(c), from.GetAddress(), from.GetId(), msg.GetId()}
	if id, ok := g.asked[key]; ok {
		c.Request(g.jobs[id].supervisor, &actors.Cancel{ID: id})
	}
}

// answered takes a job off the books and answers its peer.
func (g *gateway) answered(resp *actors.Response) {
	j := g.jobs[resp.ID]
	if j == nil {
		return
	}
	delete(g.jobs, resp.ID)
	delete(g.asked, j.key)
	g.answer(j, resp)
}

func (g *gateway) refuse(j *job, err error) {
	g.answer(j, &actors.Response{Err: err, Receipt: &actors.Receipt{Outcome: actors.Refused, Error: err.Error()}})
}

// answer sends a response, without its value where that is too large.
func (g *gateway) answer(j *job, resp *actors.Response) {
	m := &curfewv1.Response{Id: j.key.id, Error: encodeError(resp.Err), Receipt: encodeReceipt(resp.Receipt)}
	encodeResult(m, resp.Value, j.kind)
	if size := proto.Size(m); size > g.node.conf.MessageMaxBytes {
		err := fmt.Errorf("the result has %d bytes: %w", size, ErrTooLarge)
		m = &curfewv1.Response{Id: j.key.id, Error: encodeError(errors.Join(err, resp.Err)), Receipt: m.GetReceipt()}
	}
	g.node.mu.Lock()
	g.node.unsent[j] = struct{}{}
	g.node.mu.Unlock()
	if !g.node.send(j.sender, &reply{g.node, j, m}, nil) {
		j.free()
	}
}

// stop ends jobs whose peer is gone: nobody is to be answered.
func (g *gateway) stop(c actor.Context, which func(*job) bool) {
	for id, j := range g.jobs {
		if which(j) {
			delete(g.jobs, id)
			delete(g.asked, j.key)
			c.Request(j.supervisor, &actors.Cancel{ID: id})
			j.free()
		}
	}
}

// supervisorGone answers what the supervisor no longer will.
func (g *gateway) supervisorGone(who *actor.PID) {
	if who.Equal(g.supervisor) {
		g.supervisor = nil
	}
	for id, j := range g.jobs {
		if who.Equal(j.supervisor) {
			g.answered(&actors.Response{ID: id, Err: actors.ErrClosed})
		}
	}
}

// drain stops everything; the answers say so.
func (g *gateway) drain(c actor.Context) {
	for id, j := range g.jobs {
		c.Request(j.supervisor, &actors.Cancel{ID: id})
	}
}

func (g *gateway) stopped() {
	for _, j := range g.jobs {
		j.free()
	}
	g.jobs, g.asked = nil, nil
	close(g.node.stopped)
}

// streamOf says by which stream the message at hand came.
func streamOf(c actor.Context) string {
	if h := c.MessageHeader(); h != nil {
		return h.Get(headerStream)
	}
	return ""
}

// free gives a job's slot back and takes it off the count of the living.
func (n *Node) free(j *job) {
	<-j.in.slots
	n.mu.Lock()
	delete(n.unsent, j)
	n.mu.Unlock()
	if n.live.Add(-1) == 0 && n.closing.Load() {
		select {
		case n.drained <- struct{}{}:
		default:
		}
	}
}

// freeUnsent gives up the answers that the link to an address has taken with it.
func (n *Node) freeUnsent(address string) {
	var gone []*job
	n.mu.Lock()
	delete(n.handed, address)
	for j := range n.unsent {
		if j.key.address == address {
			gone = append(gone, j)
		}
	}
	n.mu.Unlock()
	for _, j := range gone {
		j.free()
	}
}

// reply is an answer on its way.
type reply struct {
	node *Node
	job  *job
	m    *curfewv1.Response
}

// Serialize implements upstream's RootSerializable: the answer is next to be sent on its
// link. Its slot is free when it has been.
func (r *reply) Serialize() (upstream.RootSerialized, error) {
	r.node.mu.Lock()
	defer r.node.mu.Unlock()
	to := r.job.key.address
	r.node.handed[to] = append(r.node.handed[to], r.job)
	return wireResponse{r.m}, nil
}

// sent says that what was handed to the link to an address has been sent.
func (n *Node) sent(address string) {
	n.mu.Lock()
	jobs := n.handed[address]
	delete(n.handed, address)
	n.mu.Unlock()
	for _, j := range jobs {
		j.free()
	}
}

// LogValue implements slog.LogValuer: nothing of the answer gets into a log.
func (r *reply) LogValue() slog.Value { return r.m.LogValue() }

// IgnoreDeadLetterLogging marks answers to peers that have gone: no news.
func (r *reply) IgnoreDeadLetterLogging() {}

// wireResponse is a message that upstream takes for one of its own.
type wireResponse struct{ *curfewv1.Response }

// Deserialize implements upstream's RootSerialized, which is for the sending side here.
func (wireResponse) Deserialize() (upstream.RootSerializable, error) { return nil, errOneWay }

var errOneWay = errors.New("this form is for sending")
