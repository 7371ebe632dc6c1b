package actors

import (
	"cmp"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// Config says how a Runtime is to work. The zero value is ready: no policy, default
// limits, nobody listens.
type Config struct {
	Policy timeoutpolicy.Policy                         // nil: requests need a limit of their own
	Limits Limits                                       // of each endpoint
	Each   func(kind, endpoint string, l Limits) Limits // changes them for one; nil: they hold for all. Pure
	Events func(Event)                                  // called on one goroutine, in order, never waited for; nil: nobody listens
	Name   string                                       // of the root actor; empty: one is made
}

// Options are what a caller says about one request.
type Options struct {
	Within           time.Duration // explicit limit; 0: none
	Grace, Force     time.Duration // in place of the policy's; 0: as the policy says
	Class            string        // class of caller, for the policy
	Priority         int           // of those who wait, the higher goes first
	AnswerAtDeadline bool          // answer an expiry, a cancellation or a panic before its clean-up
	Receipt          *Receipt      // filled in on every outcome, before the answer; nil: not wanted

	call *calling // of a session; nil for none

	// replaced says that what a leftover of this request held is opened anew for the
	// next: it does not keep the slot.
	replaced bool
}

// Runtime is the tree of actors and what its parts share. Many goroutines may use it.
type Runtime struct {
	system   *actor.ActorSystem
	root     *actor.PID
	limits   func(kind, endpoint string) Limits
	shelf    resources.Shelf
	bells    sync.Pool // of bell
	policies policies
	reaper   reaper
	forest   forest
	observer *observer // nil: nobody listens

	mu        sync.RWMutex
	endpoints map[endpointKey]*endpoint

	closing atomic.Bool
	closed  chan struct{} // the root has stopped
	off     atomic.Bool   // shutOff has begun
	over    chan struct{} // shutOff has ended
	live    atomic.Int64  // requests submitted and not finished
	drained chan struct{} // gets a token when live reaches zero while closing
	sweeper atomic.Pointer[time.Timer]

	sessions     atomic.Int64 // how many were opened, to tell their endpoints apart
	sessionBound atomic.Int64 // longest clean-up of a session, ns
}

// idleAfter is how long an endpoint is kept that nobody uses.
const idleAfter = time.Minute

// Start spawns the tree under parent: the Root of an actor system, or an actor's context.
// The error says that the name is taken or the policy's values make no sense.
func Start(parent actor.SpawnerContext, cfg Config) (*Runtime, error) {
	rt := &Runtime{
		system:    parent.ActorSystem(),
		limits:    limitsOf(cfg),
		endpoints: make(map[endpointKey]*endpoint),
		closed:    make(chan struct{}),
		over:      make(chan struct{}),
		drained:   make(chan struct{}, 1),
		bells:     sync.Pool{New: func() any { return make(bell, 1) }},
	}
	if err := rt.policies.init(rt, cfg.Policy); err != nil {
		return nil, err
	}
	rt.reaper.init(rt)
	if cfg.Events != nil {
		rt.observer = newObserver(cfg.Events)
	}
	top := &root{rt: rt}
	props := propsOf(top, true).Clone(actor.WithMailbox(func() actor.Mailbox { return &top.mail }))
	if parent.Self() == nil {
		// At the top of a system an actor without a guardian is restarted when it fails.
		props = props.Clone(actor.WithGuardian(stopOnly{}))
	}
	name := cfg.Name
	if name == "" {
		name = "curfew" + rt.system.ProcessRegistry.NextId()
	}
	pid, err := parent.SpawnNamed(props, name)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	rt.root = pid
	rt.sweeper.Store(time.AfterFunc(idleAfter, rt.sweep))
	return rt, nil
}

// PID is the root actor: it takes Request, Cancel, AskPolicy and SetPolicy.
func (rt *Runtime) PID() *actor.PID { return rt.root }

// publish makes e findable.
func (rt *Runtime) publish(e *endpoint) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	rt.endpoints[e.key] = e
}

// forget takes e off the books of endpoints, if it is the one there.
func (rt *Runtime) forget(e *endpoint) {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if rt.endpoints[e.key] == e {
		delete(rt.endpoints, e.key)
	}
}

// sweep stops the endpoints that nobody has used for a while. The sweeper timer owns it.
func (rt *Runtime) sweep() {
	before := time.Now().Add(-idleAfter)
	for _, e := range rt.allEndpoints() {
		if e.closeIfIdle(before) {
			rt.system.Root.Stop(e.self)
		}
	}
	if !rt.closing.Load() {
		rt.sweeper.Load().Reset(idleAfter)
	}
}

func (rt *Runtime) allEndpoints() []*endpoint {
	rt.mu.RLock()
	defer rt.mu.RUnlock()
	all := make([]*endpoint, 0, len(rt.endpoints))
	for _, e := range rt.endpoints {
		all = append(all, e)
	}
	return all
}

// refuse ends a request that was not started.
func (rt *Runtime) refuse(r *request, opts *Options, err error) {
	r.disarm()
	r.mu.Lock()
	if r.outcome == Undecided {
		r.decide(Refused, r.moment(r.submitted))
	}
	r.final = cmp.Or(r.final, r.elapsed())
	r.mu.Unlock()
	if opts.Receipt != nil {
		*opts.Receipt = *r.receipt()
		opts.Receipt.Error = errText(err)
	}
	rt.finished(r)
}

// finished takes a request off the count of the living.
func (rt *Runtime) finished(r *request) {
	if rt.observer != nil {
		rt.emit(EventFinished, r, r.receipt())
	}
	if rt.live.Add(-1) == 0 && rt.closing.Load() {
		select {
		case rt.drained <- struct{}{}:
		default:
		}
	}
}

// Close refuses new requests, waits until those at work and in the queues have ended,
// for no longer than drain, then stops the rest through their clean-ups. It returns what
// would not go as a *resources.LeftoverError. It may be called more than once, by many; each
// call waits.
func (rt *Runtime) Close(drain time.Duration) error {
	rt.forest.stop() // first: what runs there makes requests
	if rt.closing.CompareAndSwap(false, true) {
		rt.sweeper.Load().Stop()
		rt.drain(drain)
		bound := rt.longestCleanup()
		rt.system.Root.Stop(rt.root)
		rt.awaitRoot(plus(bound, 5*time.Second))
	}
	<-rt.closed
	rt.shutOff()
	return rt.leftoverError()
}

// drain waits for the living.
func (rt *Runtime) drain(wait time.Duration) {
	timer := time.NewTimer(max(0, wait))
	defer timer.Stop()
	for rt.live.Load() > 0 {
		select {
		case <-rt.drained:
		case <-rt.closed:
			return
		case <-timer.C:
			return
		}
	}
}

// longestCleanup bounds the wait for the tree: no clean-up takes longer than its budget.
func (rt *Runtime) longestCleanup() time.Duration {
	var longest time.Duration
	for _, e := range rt.allEndpoints() {
		for _, r := range e.requests() {
			longest = max(longest, cleanupBound(r.budget))
		}
	}
	return max(longest, time.Duration(rt.sessionBound.Load()))
}

// cleanupBound is the longest that one clean-up may take.
func cleanupBound(b timeoutpolicy.Budget) time.Duration {
	return plus(max(0, b.Grace), max(0, b.Force))
}

// plus adds lengths of time that are not negative, and stops at the longest there is.
func plus(a, b time.Duration) time.Duration {
	if a > timeoutpolicy.Unlimited-b {
		return timeoutpolicy.Unlimited
	}
	return a + b
}

// awaitRoot waits until the tree has stopped. The bound guards against a bug of ours, or a
// system that somebody else has broken: Close comes back even then.
func (rt *Runtime) awaitRoot(bound time.Duration) {
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-rt.closed:
	case <-timer.C:
		rt.system.Logger().Error("curfew: the tree did not stop", slog.Duration("waited", bound))
		rt.markClosed()
	}
}

// markClosed says that the root is gone; it may be said twice.
func (rt *Runtime) markClosed() {
	rt.closing.Store(true)
	rt.mu.Lock()
	defer rt.mu.Unlock()
	select {
	case <-rt.closed:
	default:
		close(rt.closed)
	}
}

// shutOff closes what the tree's parts shared, once; whoever comes later waits.
func (rt *Runtime) shutOff() {
	if !rt.off.CompareAndSwap(false, true) {
		<-rt.over // within the second that the observer waits at most
		return
	}
	defer close(rt.over)
	_ = rt.shelf.Close()
	rt.reaper.stop()
	if rt.observer != nil {
		rt.observer.stop()
	}
}

func (rt *Runtime) leftoverError() error {
	left := rt.reaper.list()
	if len(left) == 0 {
		return nil
	}
	e := &resources.LeftoverError{}
	for _, l := range left {
		e.Left = append(e.Left, l.Leftover)
	}
	return e
}
