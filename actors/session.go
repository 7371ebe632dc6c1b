package actors

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// SessionKind is a resources.Session without its type parameters.
type SessionKind struct {
	Spec   func() (resources.Spec, error)
	Traits resources.SessionTraits
	Open   func(context.Context, *resources.Held) (any, error)
	Check  func(context.Context, any) error // nil: none
}

// session is a resource that lives longer than one request. Its actor owns what it holds;
// its calls are requests like any other, each with a deadline and a clean-up of its own,
// on an endpoint of the session's own where the calls take turns.
//
// What is open is an incarnation. A call that fails or is cut short takes it along, unless
// the calls have separate streams; the next call opens another, after a back-off when
// openings fail.
type session struct {
	rt     *Runtime
	kind   SessionKind
	spec   resources.Spec // of its calls
	class  string
	budget timeoutpolicy.Budget // of its opening: Grace and Force are for its closing
	keeper resources.Keeper     // keeps the incarnation in force
	mail   mailbox
	gone   chan struct{} // closed when it has been released

	mu       sync.Mutex
	closed   bool
	now      *incarnation          // nil: the next call opens one
	opening  *opening              // not nil while a call opens one, or checks it
	failures int                   // openings that failed since the last that did not
	again    time.Time             // when the next opening may begin
	calls    map[*calling]*request // under way; nil for one that is being submitted
	idle     chan struct{}         // closed when closed and without calls
	report   *resources.Report
}

// OpenSession opens a session as one request, and has the root spawn its actor.
func (rt *Runtime) OpenSession(ctx context.Context, kind SessionKind, opts Options) (*SessionCaller, error) {
	s := &session{
		rt: rt, kind: kind, class: opts.Class,
		gone: make(chan struct{}), idle: make(chan struct{}),
		calls: make(map[*calling]*request),
	}
	var rec Receipt
	if opts.Receipt == nil {
		opts.Receipt = &rec
	}
	opts.replaced = true
	s.keeper.Begin(&rt.shelf)
	nothing := func(context.Context, any, *resources.Held) (any, error) { return nil, nil }
	if _, err := rt.Do(ctx, &calling{s, nothing}, opts); err != nil {
		s.discard()
		return nil, err
	}
	s.budget = opts.Receipt.Budget
	msg := &spawnSession{session: s, reply: make(chan error, 1)}
	rt.system.Root.Send(rt.root, msg)
	var err error
	select { // the root answers or is closed
	case err = <-msg.reply:
	case <-rt.closed:
		err = ErrClosed
	}
	if err != nil {
		s.discard()
		return nil, err
	}
	return &SessionCaller{s}, nil
}

// discard releases what an opening that came to nothing left.
func (s *session) discard() {
	if s.keeper.Seal(true) {
		s.report = s.keeper.Release(timeoutpolicy.DefaultGrace, timeoutpolicy.DefaultForce)
		s.handOver()
	}
}

// describe makes the Spec of the session's calls, once. Calls that take turns do so on an
// endpoint of their own.
func (s *session) describe() (resources.Spec, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.spec.Kind != "" {
		return s.spec, nil
	}
	spec, err := s.kind.Spec()
	if err != nil {
		return spec, err
	}
	if t := s.kind.Traits; t.AtOnce >= 0 {
		spec.AtOnce = max(1, t.AtOnce)
		spec.Endpoint = fmt.Sprintf("%s#%d", spec.Endpoint, s.rt.sessions.Add(1))
	}
	s.spec = spec
	return spec, nil
}

// SessionCaller makes calls on an open session. Many goroutines may use it.
type SessionCaller struct{ s *session }

// Do runs one call as a request with a deadline of its own. After Close it returns
// ErrClosed.
func (c *SessionCaller) Do(ctx context.Context, call func(context.Context, any, *resources.Held) (any, error), opts Options) (any, error) {
	one := &calling{c.s, call}
	if !c.s.enter(one) {
		return nil, ErrClosed
	}
	defer c.s.exit(one)
	if opts.Class == "" {
		opts.Class = c.s.class
	}
	opts.replaced = !c.s.kind.Traits.Separate
	opts.call = one
	return c.s.rt.Do(ctx, one, opts)
}

// Close cancels the calls under way, waits for them, and releases what the session held.
// It returns what would not go. It may be called more than once.
func (c *SessionCaller) Close() error {
	c.s.mail.PostSystemMessage(stopMessage)
	<-c.s.gone // bounded: the calls' clean-ups and the session's own are
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.s.report == nil {
		return nil
	}
	return c.s.report.Err
}

// calling is the request that makes one call; a session's first opens it.
type calling struct {
	s    *session
	call func(context.Context, any, *resources.Held) (any, error)
}

// Spec implements resources.Use.
func (c *calling) Spec() (resources.Spec, error) { return c.s.describe() }

// Run implements resources.Use. While the call runs it holds the incarnation, so that its
// expiry ends it; afterwards it lets go of it, or else leaves it to its own release.
func (c *calling) Run(ctx context.Context, held *resources.Held) (any, error) {
	in, grip, err := c.s.take(ctx, held)
	if err != nil {
		return nil, err
	}
	good := false
	defer func() { c.s.giveBack(in, grip, good) }() // after a panic, too
	held.Opened()
	v, err := c.call(ctx, in.handle, held)
	good = resources.IsStillGood(err)
	return v, err
}

// enter books a call; false says that the session is closed.
func (s *session) enter(c *calling) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.calls[c] = nil
	}
	return !s.closed
}

// submitted notes the request of a call, or stops it when the session was closed meanwhile.
func (s *session) submitted(c *calling, r *request) {
	s.mu.Lock()
	s.calls[c] = r
	closed := s.closed
	s.mu.Unlock()
	if closed {
		r.abort(Cancelled, NoPhase, time.Time{}, ErrClosed)
	}
}

func (s *session) exit(c *calling) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.calls, c)
	if s.closed && len(s.calls) == 0 {
		close(s.idle)
	}
}

// shut refuses further calls and cancels those under way.
func (s *session) shut() {
	s.mu.Lock()
	s.closed = true
	if len(s.calls) == 0 {
		close(s.idle)
	}
	if s.now != nil && s.now.timer != nil {
		s.now.timer.Stop()
	}
	calls := slices.Collect(maps.Values(s.calls))
	s.mu.Unlock()
	for _, r := range calls {
		if r != nil {
			r.abort(Cancelled, NoPhase, time.Time{}, ErrClosed)
		}
	}
}

// spawnSession asks the root to spawn a session's actor.
type spawnSession struct {
	session *session
	reply   chan error // one slot
}

// Receive implements actor.Actor.
func (s *session) Receive(c actor.Context) {
	switch c.Message().(type) {
	case *actor.Stopping:
		s.shut()
		sendHolder(c, s.release)
	case *actor.Stopped:
		s.PostStop()
	}
}

// release waits for the calls to end, then runs the ladder over what the session holds.
// It is the holder's work.
func (s *session) release() {
	timer := time.NewTimer(s.cleanup())
	defer timer.Stop()
	select {
	case <-s.idle:
	case <-timer.C:
	}
	if !s.keeper.Seal(false) {
		return
	}
	report := s.keeper.Release(s.budget.Grace, s.budget.Force)
	s.mu.Lock()
	s.report = report
	s.mu.Unlock()
}

// cleanup bounds one ladder: the calls', and then the session's own.
func (s *session) cleanup() time.Duration {
	return cleanupBound(s.budget)
}

// PostStop is the clean-up's end: what would not go is handed to the reaper.
func (s *session) PostStop() {
	s.handOver()
	close(s.gone)
}

// handOver gives the reaper what would not go.
func (s *session) handOver() {
	s.mu.Lock()
	report := s.report
	s.mu.Unlock()
	if report != nil && len(report.Remains) > 0 {
		s.rt.reaper.adopt(&requestLeft{kind: s.spec.Kind, target: s.spec.Target}, report.Remains)
	}
}
