package tests

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// simSeed replays one simulation: go test ./tests -run Simulation -sim.seed N.
var simSeed = flag.Uint64("sim.seed", 0, "seed of the simulation; 0 draws one")

// simRequests is how many requests one simulation makes.
const simRequests = 3000

func TestSimulationEveryRequestIsAnsweredOnceOnTimeAndLeavesNothing(t *testing.T) {
	seed := *simSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d; replay with -sim.seed %d", seed, seed)
	found := simulate(t, seed, simRequests, honest)
	assert.Empty(t, found.violations, "seed %d", seed)
	// A simulation that visits nothing proves nothing.
	for _, o := range []actors.Outcome{actors.Completed, actors.Failed, actors.Expired, actors.Cancelled, actors.Panicked, actors.Refused} {
		assert.NotZero(t, found.outcomes[o], "no request %s; seed %d", o, seed)
	}
	assert.NotZero(t, found.leftovers, "no leftovers; seed %d", seed)
	t.Log(found.outcomes, "leftovers", found.leftovers)
}

// TestSimulationCatchesPlantedFaults shows that the checks would notice.
func TestSimulationCatchesPlantedFaults(t *testing.T) {
	for fault, says := range map[plant]string{
		lyingClose:  "is open",
		doubleHook:  "hook",
		lateAnswer:  "late",
		lostHandle:  "is open",
		lostOutcome: "outcome",
	} {
		t.Run(says+fmt.Sprint(fault), func(t *testing.T) {
			found := simulate(t, 1, 400, fault)
			require.NotEmpty(t, found.violations)
			assert.Contains(t, strings.Join(found.violations, "\n"), says)
		})
	}
}

// plant is a fault built into the simulated world.
type plant int

const (
	honest      plant = iota
	lyingClose        // a close that says it closed and did not
	doubleHook        // a hook that is called twice
	lateAnswer        // an answer held back
	lostHandle        // a handle that was never kept
	lostOutcome       // a success reported as a failure
)

// findings is what a simulation saw.
type findings struct {
	mu         sync.Mutex
	violations []string
	outcomes   map[actors.Outcome]int
	leftovers  int
}

func (f *findings) violated(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.violations = append(f.violations, fmt.Sprintf(format, args...))
}

// simulate runs n random requests against one supervisor in fake time.
func simulate(t *testing.T, seed uint64, n int, fault plant) *findings {
	found := &findings{outcomes: make(map[actors.Outcome]int)}
	synctest.Test(t, func(t *testing.T) {
		sup, err := supervisor.Start(
			supervisor.WithLimits(supervisor.Limits{AtOnce: 8, Waiting: 40, Leftovers: 6}),
			supervisor.WithDrain(time.Minute))
		require.NoError(t, err)
		rng := rand.New(rand.NewPCG(seed, 0))
		var all sync.WaitGroup
		for i := range n {
			s := newScript(rng, i, fault)
			all.Go(func() { s.play(sup, found) })
			if rng.IntN(4) > 0 {
				time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond)
			}
		}
		all.Wait()
		time.Sleep(time.Hour) // everything that hangs lets go within this

		assert.Empty(t, sup.Leftovers(), "leftovers that have gone are still on the books")
		if fault == honest {
			probeSlots(t, sup)
		}
		require.NoError(t, sup.Close())
		time.Sleep(time.Second)
	})
	return found
}

// probeSlots shows that every endpoint has all its slots back: as many requests as it has
// slots are at work at once.
func probeSlots(t *testing.T, sup *supervisor.Supervisor) {
	for endpoint := range simEndpoints {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				var rec supervisor.Receipt
				_, err := supervisor.Do(t.Context(), sup, &script{endpoint: endpoint, work: time.Second, found: &findings{}},
					supervisor.Within(time.Minute), supervisor.WithReceipt(&rec))
				assert.NoError(t, err)
				assert.Zero(t, rec.Phases.Queued, "a slot of endpoint %d is lost", endpoint)
			})
		}
		all.Wait()
	}
}

const simEndpoints = 5

// script is one simulated use: what its resource and its caller do, and when.
type script struct {
	id       int
	endpoint int
	fault    plant
	found    *findings

	open, work          time.Duration
	openDeaf, workDeaf  bool // does not look at its context
	openPanics, goexits bool
	workPanics, fails   bool
	closing, forcing    time.Duration
	closeFails, closePa bool
	hasForce            bool
	forceFails          int // times before it works
	hook                time.Duration
	hookPanics          bool

	limit, grace, force time.Duration
	cancelAfter         time.Duration // 0: never

	mu      sync.Mutex
	started bool
	isOpen  bool
	hooks   int
}

// newScript draws a script. Short and long times are mixed so that everything meets
// everything: limits are about as long as the work.
func newScript(rng *rand.Rand, id int, fault plant) *script {
	chance := func(percent int) bool { return rng.IntN(100) < percent }
	ms := func(upto int) time.Duration { return time.Duration(rng.IntN(upto)) * time.Millisecond }
	s := &script{
		id: id, endpoint: rng.IntN(simEndpoints), fault: fault,
		open: ms(800), work: ms(2500), openDeaf: chance(10), workDeaf: chance(10),
		openPanics: chance(3), goexits: chance(3), workPanics: chance(3), fails: chance(10),
		closing: ms(100), forcing: ms(100), closeFails: chance(5), closePa: chance(3),
		hasForce: chance(70), hook: ms(50), hookPanics: chance(3),
		limit: 100*time.Millisecond + ms(3000), grace: ms(500), force: ms(300),
	}
	if chance(5) {
		s.work = time.Minute
	}
	if chance(5) {
		s.closing = 30 * time.Second // hangs, as seen from any grace
	}
	if chance(5) {
		s.hook = 30 * time.Second
	}
	if chance(5) {
		s.forceFails = 1 + rng.IntN(3)
	}
	if chance(15) {
		s.cancelAfter = 1 + ms(2000)
	}
	if chance(1) {
		s.limit = -1 // to be refused
	}
	return s
}

// Spec implements resources.Resource.
func (s *script) Spec() (resources.Spec, error) {
	name := fmt.Sprint("endpoint", s.endpoint)
	return resources.Spec{Kind: "simulated", Target: name, Endpoint: name}, nil
}

var errSimulated = errors.New("simulated failure")

// Run implements resources.Resource.
func (s *script) Run(ctx context.Context, held *resources.Held) (int, error) {
	s.mu.Lock()
	s.started = true
	s.mu.Unlock()
	if err := held.OnAbort(&resources.Piece{What: "hook", Close: s.runHook}); err != nil {
		return 0, err
	}
	if err := pause(ctx, s.open, s.openDeaf); err != nil {
		return 0, err
	}
	if s.openPanics {
		panic("simulated panic while opening")
	}
	s.set(true)
	if s.fault != lostHandle {
		p := &resources.Piece{What: "handle", Close: s.close}
		if s.hasForce {
			p.Force = s.forceClose
		}
		if err := held.Keep(p); err != nil {
			return 0, err
		}
	}
	held.Opened()
	if err := pause(ctx, s.work, s.workDeaf); err != nil {
		return 1, err
	}
	switch {
	case s.workPanics:
		panic(errSimulated)
	case s.goexits:
		runtime.Goexit()
	case s.fails:
		return 0, errSimulated
	}
	return s.id, nil
}

func pause(ctx context.Context, d time.Duration, deaf bool) error {
	if deaf {
		time.Sleep(d)
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *script) set(open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.isOpen = open
}

func (s *script) runHook() error {
	s.mu.Lock()
	s.hooks++
	if s.fault == doubleHook {
		s.hooks++
	}
	s.mu.Unlock()
	time.Sleep(s.hook)
	if s.hookPanics {
		panic("simulated panic in a hook")
	}
	return nil
}

func (s *script) close() error {
	time.Sleep(s.closing)
	switch {
	case s.closePa:
		s.closePa = false // the reaper's next try works
		panic("simulated panic in a close")
	case s.closeFails:
		s.closeFails = false
		return errSimulated
	}
	if s.fault != lyingClose {
		s.set(false)
	}
	return nil
}

func (s *script) forceClose() error {
	time.Sleep(s.forcing)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forceFails > 0 {
		s.forceFails--
		return &resources.LeftoverError{Left: []resources.Leftover{{What: "handle", Why: "simulated"}}}
	}
	s.isOpen = s.isOpen && s.fault == lyingClose
	return nil
}

// play is the caller: it makes the request and checks what it is promised.
func (s *script) play(sup *supervisor.Supervisor, found *findings) {
	s.found = found
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	cause := errors.New("simulated cancel")
	if s.cancelAfter > 0 {
		time.AfterFunc(s.cancelAfter, func() { cancel(cause) })
	}
	ctx = timeoutpolicy.Override(ctx, timeoutpolicy.Compose(timeoutpolicy.Grace(s.grace+1), timeoutpolicy.Force(s.force+1)))
	var rec supervisor.Receipt
	began := time.Now()
	v, err := supervisor.Do(ctx, sup, s, supervisor.Within(s.limit), supervisor.WithReceipt(&rec))
	if s.fault == lateAnswer {
		time.Sleep(time.Minute)
	}
	if s.fault == lostOutcome && err == nil {
		err = errSimulated
	}
	s.check(v, err, &rec, time.Since(began), cause)
}

// check holds an answer against the promises.
func (s *script) check(v int, err error, rec *supervisor.Receipt, took time.Duration, cause error) {
	f := s.found
	f.mu.Lock()
	f.outcomes[rec.Outcome]++
	f.leftovers += len(rec.Leftover)
	f.mu.Unlock()

	s.mu.Lock()
	defer s.mu.Unlock()
	bound := max(s.limit, 0) + (s.grace + 1) + (s.force + 1)
	if took > bound {
		f.violated("request %d: answered after %s, late: bound %s", s.id, took, bound)
	}
	if s.isOpen && len(rec.Leftover) == 0 {
		f.violated("request %d: answered (%v) with nothing left over, but its handle is open", s.id, rec.Outcome)
	}
	hooks := 0
	if s.started && (rec.Outcome == actors.Expired || rec.Outcome == actors.Cancelled || rec.Outcome == actors.Panicked) {
		hooks = 1
	}
	// A request that was stopped before its operation registered the hook has none to run.
	if s.hooks > hooks || s.hooks < hooks && len(rec.Cleanup.Released) > 0 && rec.Cleanup.Mechanism == "hook" {
		f.violated("request %d: %v: hook ran %d times, not %d", s.id, rec.Outcome, s.hooks, hooks)
	}
	s.checkOutcome(v, err, rec, cause)
}

// checkOutcome holds the error against the table of outcomes.
func (s *script) checkOutcome(v int, err error, rec *supervisor.Receipt, cause error) {
	var expired *supervisor.Expired
	var cancelled *supervisor.Cancelled
	var panicked *supervisor.Panicked
	var unreleased *supervisor.Unreleased
	ok := false
	switch rec.Outcome {
	case actors.Completed:
		ok = v == s.id && (err == nil || errors.As(err, &unreleased))
	case actors.Failed:
		ok = errors.Is(err, errSimulated)
	case actors.Expired:
		ok = errors.As(err, &expired) && errors.Is(err, context.DeadlineExceeded) && rec.Phase != actors.NoPhase
	case actors.Cancelled:
		ok = errors.As(err, &cancelled) && errors.Is(err, context.Canceled) && errors.Is(err, cause)
	case actors.Panicked:
		ok = errors.As(err, &panicked)
	case actors.Refused:
		ok = errors.Is(err, supervisor.ErrOverloaded) || errors.Is(err, supervisor.ErrTooLate)
	}
	if !ok {
		s.found.violated("request %d: outcome %v does not go with value %d, error %v", s.id, rec.Outcome, v, err)
	}
	if rec.Phase == actors.Queued && s.started {
		s.found.violated("request %d: outcome %v in the queue, but it was started", s.id, rec.Outcome)
	}
}
