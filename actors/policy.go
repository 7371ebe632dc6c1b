package actors

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/timeoutpolicy"
)

// ErrPolicySlow is returned when a policy that may block did not answer in time. Nothing
// has been started.
var ErrPolicySlow = errors.New("the policy did not answer in time")

const (
	policyWait = 5 * time.Second // longest wait for a policy that blocks
	policyAsks = 64              // policies being asked at once, those that do not come back included
)

// SetPolicy replaces the policy of a runtime; Policy nil takes it away. A policy whose
// values make no sense is refused and the old one stays. It is answered by *PolicySet.
type SetPolicy struct{ Policy timeoutpolicy.Policy }

// PolicySet answers SetPolicy.
type PolicySet struct{ Err error }

// AskPolicy asks what a request would be granted now. It is answered by *PolicyGrant.
type AskPolicy struct{ Ask timeoutpolicy.Ask }

// PolicyGrant answers AskPolicy.
type PolicyGrant struct {
	Budget timeoutpolicy.Budget
	Err    error
}

// policies is what the policy actor publishes: an immutable snapshot that readers load
// without asking. Only the actor stores it.
type policies struct {
	rt       *Runtime
	snapshot atomic.Pointer[published]
	asking   chan struct{} // one token for each blocking policy being asked
}

// published is one policy in force.
type published struct {
	policy timeoutpolicy.Policy
	blocks bool
}

func (p *policies) init(rt *Runtime, policy timeoutpolicy.Policy) error {
	p.rt = rt
	p.asking = make(chan struct{}, policyAsks)
	return p.set(policy)
}

// publishable asks a policy how it is to be asked, and contains a panic.
func publishable(policy timeoutpolicy.Policy) (in *published, err error) {
	defer containPolicy(&err)
	return &published{policy, policy != nil && timeoutpolicy.Blocks(policy)}, nil
}

// containPolicy is deferred round foreign policies.
func containPolicy(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("policy: %w", panicked(v))
	}
}

// budget asks the policy in force, or the one that ctx carries in its place, and contains a
// panic. Whoever calls it does so from a shallow stack: policies are passed much by value,
// and a goroutine whose stack has to grow for them pays more for that than for the answer.
func (p *policies) budget(ctx context.Context, ask timeoutpolicy.Ask) (b timeoutpolicy.Budget, err error) {
	defer containPolicy(&err)
	in := p.snapshot.Load()
	if over := timeoutpolicy.Overridden(ctx); over != nil {
		in = &published{over, timeoutpolicy.Blocks(over)}
	}
	// One without time is refused before the policy is asked.
	if in.blocks && ask.Remaining > 0 && ask.Within >= 0 {
		return p.askAside(ctx, in.policy, ask)
	}
	return timeoutpolicy.ResolveContext(ctx, in.policy, ask)
}

// resolve asks on this goroutine and contains a panic.
func resolve(ctx context.Context, policy timeoutpolicy.Policy, ask timeoutpolicy.Ask) (b timeoutpolicy.Budget, err error) {
	defer containPolicy(&err)
	return timeoutpolicy.ResolveContext(ctx, policy, ask)
}

// askAside asks a policy that may block: on a goroutine of its own, one of a bounded
// number, waited for no longer than the caller has time.
func (p *policies) askAside(ctx context.Context, policy timeoutpolicy.Policy, ask timeoutpolicy.Ask) (timeoutpolicy.Budget, error) {
	select {
	case p.asking <- struct{}{}:
	default:
		return timeoutpolicy.Budget{}, fmt.Errorf("%w: %d callers ask the policy already", ErrOverloaded, policyAsks)
	}
	wait := min(policyWait, ask.Remaining)
	if ask.Within > 0 {
		wait = min(wait, ask.Within)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, wait, ErrPolicySlow)
	defer cancel()
	answer := make(chan PolicyGrant, 1)
	go func() { // its token is its owner: no more than policyAsks of them exist
		defer func() { <-p.asking }()
		var grant *PolicyGrant
		defer func() {
			if grant == nil { // the policy has ended this goroutine
				grant = &PolicyGrant{Err: fmt.Errorf("policy: %w", panicked(nil))}
			}
			answer <- *grant
		}()
		b, err := resolve(ctx, policy, ask)
		grant = &PolicyGrant{b, err}
	}()
	select {
	case a := <-answer:
		return a.Budget, a.Err
	case <-ctx.Done():
		return timeoutpolicy.Budget{}, context.Cause(ctx)
	}
}

// policyActor is the policies' mailbox.
type policyActor struct{ *policies }

// Receive implements actor.Actor.
func (a *policyActor) Receive(c actor.Context) {
	switch msg := c.Message().(type) {
	case *SetPolicy:
		answer(c, &PolicySet{Err: a.set(msg.Policy)})
	case *setPolicy:
		msg.reply <- a.set(msg.policy)
	case *AskPolicy:
		a.answer(c, msg.Ask)
	}
}

func (p *policies) set(policy timeoutpolicy.Policy) error {
	if err := timeoutpolicy.Check(policy); err != nil {
		return err
	}
	in, err := publishable(policy)
	if err == nil {
		p.snapshot.Store(in)
	}
	return err
}

// answer never lets foreign code run on the mailbox.
func (p *policies) answer(c actor.Context, ask timeoutpolicy.Ask) {
	sender, system := c.Sender(), c.ActorSystem()
	if sender == nil {
		return
	}
	go func() { // ends with the policy, or with the bound on the wait for it
		var grant *PolicyGrant
		defer func() {
			if grant == nil { // the policy has ended this goroutine
				grant = &PolicyGrant{Err: panicked(nil)}
			}
			system.Root.Send(sender, grant)
		}()
		b, err := p.budget(context.Background(), ask)
		grant = &PolicyGrant{b, err}
	}()
}

// answer replies where there is somebody to reply to.
func answer(c actor.Context, msg any) {
	if c.Sender() != nil {
		c.Respond(msg)
	}
}

// Policy returns the policy in force, nil when there is none.
func (rt *Runtime) Policy() timeoutpolicy.Policy { return rt.policies.snapshot.Load().policy }

// SetPolicy sends a SetPolicy message and waits for its answer.
func (rt *Runtime) SetPolicy(policy timeoutpolicy.Policy) error {
	msg := &setPolicy{policy: policy, reply: make(chan error, 1)}
	rt.system.Root.Send(rt.root, msg)
	select { // the actor answers, it never waits; or it is closed
	case err := <-msg.reply:
		return err
	case <-rt.closed:
		return ErrClosed
	}
}

// setPolicy is SetPolicy from one that is no actor.
type setPolicy struct {
	policy timeoutpolicy.Policy
	reply  chan error // one slot
}
