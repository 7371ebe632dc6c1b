package actors

import (
	"fmt"
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"
)

// root is the runtime's first actor: parent of the policy actor, the reaper, the observer
// and the kinds, and the address that other actors send their requests to. It has a
// mailbox goroutine of its own, so that those who send to it run none of our code.
type root struct {
	rt     *Runtime
	kinds  map[string]*actor.PID
	policy *actor.PID
	desk   desk
	mail   mailbox
}

// openEndpoint asks root, and then the kind, for the endpoint under key.
type openEndpoint struct {
	key    endpointKey
	atOnce int            // the kind's own cap; 0 for none
	reply  chan *endpoint // one slot: the answer never blocks; nil says that it is too late
}

// Receive implements actor.Actor.
func (a *root) Receive(c actor.Context) {
	switch msg := c.Message().(type) {
	case *actor.Started:
		a.started(c)
	case *openEndpoint:
		a.openEndpoint(c, msg)
	case *spawnSession:
		msg.reply <- a.spawnSession(c, msg.session)
	case *spawnTree:
		msg.reply <- a.spawnTree(c, msg.tree)
	case *Request:
		a.desk.request(c, msg)
	case *Cancel:
		a.desk.cancel(c, msg)
	case *asked:
		a.desk.done(c, msg)
	case *AskPolicy, *SetPolicy, *setPolicy:
		c.Forward(a.policy)
	case *actor.Terminated:
		a.desk.requesterGone(c, msg.Who)
	case *actor.Stopping:
		a.rt.closing.Store(true)
	case *actor.Stopped:
		a.rt.markClosed()
		a.mail.retire(a.refuse)
		a.rt.shutOff() // not left to Close, which nobody may call where a parent's end was ours
	case actor.SystemMessage, actor.AutoReceiveMessage:
	default:
		c.Logger().Warn("curfew: unknown message", slog.String("type", fmt.Sprintf("%T", msg)))
	}
}

// refuse answers a message that came too late. Those who wait for another answer than by
// message have seen that the runtime is closed.
func (a *root) refuse(envelope any) {
	_, msg, sender := actor.UnwrapEnvelope(envelope)
	if sender == nil {
		return
	}
	var answer any
	switch msg := msg.(type) {
	case *Request:
		answer = &Response{ID: msg.ID, Err: ErrClosed, Receipt: &Receipt{Outcome: Refused, Error: ErrClosed.Error()}}
	case *AskPolicy:
		answer = &PolicyGrant{Err: ErrClosed}
	case *SetPolicy:
		answer = &PolicySet{Err: ErrClosed}
	default:
		return
	}
	a.rt.system.Root.Send(sender, answer)
}

func (a *root) started(c actor.Context) {
	a.kinds = make(map[string]*actor.PID)
	a.desk.rt, a.desk.open = a.rt, a.openEndpoint
	a.policy = child(c, &policyActor{&a.rt.policies}, "policy", false)
	a.rt.reaper.self = child(c, &reaperActor{&a.rt.reaper}, "reaper", false)
	if a.rt.observer != nil {
		a.rt.observer.self = child(c, a.rt.observer, "observer", false)
	}
}

// openEndpoint passes msg on to its kind, which answers it on this goroutine. What is
// spawned while its parents stop would never be stopped, and they would wait for it.
func (a *root) openEndpoint(c actor.Context, msg *openEndpoint) {
	if a.rt.closing.Load() {
		msg.reply <- nil
		return
	}
	c.Send(a.kind(c, msg.key.kind), msg)
}

// kind returns the supervisor of a kind's endpoints.
func (a *root) kind(c actor.Context, name string) *actor.PID {
	if pid := a.kinds[name]; pid != nil {
		return pid
	}
	pid := child(c, &kind{rt: a.rt}, actorName(name), false)
	a.kinds[name] = pid
	return pid
}

func (a *root) spawnSession(c actor.Context, s *session) error {
	if a.rt.closing.Load() {
		return ErrClosed
	}
	if bound := int64(plus(s.cleanup(), s.cleanup())); bound > a.rt.sessionBound.Load() {
		a.rt.sessionBound.Store(bound) // only this goroutine stores it
	}
	props := propsOf(s, false).Clone(actor.WithMailbox(func() actor.Mailbox { return &s.mail }))
	c.SpawnPrefix(props, "session")
	return nil
}

// child spawns an actor of ours under c. The names are ours, so they are free.
func child(c actor.Context, a actor.Actor, name string, dispatched bool) *actor.PID {
	pid, err := c.SpawnNamed(propsOf(a, dispatched), name)
	if err != nil {
		panic(err)
	}
	return pid
}

// kind is the supervisor of the endpoints of one kind of resource.
type kind struct {
	rt *Runtime
}

// Receive implements actor.Actor.
func (k *kind) Receive(c actor.Context) {
	if msg, ok := c.Message().(*openEndpoint); ok {
		msg.reply <- k.endpoint(c, msg)
	}
}

// endpoint returns the endpoint under key: another caller may have asked for it first.
func (k *kind) endpoint(c actor.Context, msg *openEndpoint) *endpoint {
	k.rt.mu.RLock()
	e := k.rt.endpoints[msg.key]
	k.rt.mu.RUnlock()
	if e != nil {
		return e
	}
	e = &endpoint{rt: k.rt, key: msg.key, limits: k.rt.limits(msg.key.kind, msg.key.name)}
	e.valve = newValve(e.limits)
	if msg.atOnce > 0 {
		e.limits.AtOnce = msg.atOnce
	}
	// A stopped endpoint's name may still be in use while its last requests end.
	c.SpawnPrefix(propsOf(e, false), actorName(msg.key.name))
	k.rt.publish(e)
	return e
}
