package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// registered lists the processes of an actor system.
func registered(system *actor.ActorSystem) []string {
	var all []string
	for _, bucket := range system.ProcessRegistry.LocalPIDs.LocalPIDs {
		all = append(all, bucket.Keys()...)
	}
	return all
}

// handle is an outside resource that notices how it is treated.
type handle struct{ closed atomic.Int32 }

func (h *handle) piece(what string) *resources.Piece {
	return &resources.Piece{What: what, Close: func() error { h.closed.Add(1); return nil }}
}

// ledger counts what was opened and what was closed.
type ledger struct {
	mu      sync.Mutex
	handles []*handle
}

func (l *ledger) open() *handle {
	h := &handle{}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.handles = append(l.handles, h)
	return h
}

// balanced checks that everything was closed, once.
func (l *ledger) balanced(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	wrong := map[int32]int{}
	for _, h := range l.handles {
		if n := h.closed.Load(); n != 1 {
			wrong[n]++
		}
	}
	assert.Empty(t, wrong, "of %d opened: times closed, and how many so", len(l.handles))
}

// outcomeFits checks that a value, an error and a receipt tell one story.
func outcomeFits(t *testing.T, v int, err error, rec *supervisor.Receipt) {
	t.Helper()
	switch rec.Outcome {
	case actors.Completed:
		assert.NoError(t, err)
		assert.Equal(t, 42, v)
	case actors.Expired:
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NotEqual(t, actors.NoPhase, rec.Phase)
	case actors.Cancelled:
		assert.ErrorIs(t, err, context.Canceled)
	case actors.Refused:
		assert.Zero(t, v)
		assert.Error(t, err)
	default:
		assert.Fail(t, "unexpected outcome", "%s: %v", rec.Outcome, err)
	}
	for name, d := range map[string]time.Duration{
		"queued": rec.Phases.Queued, "opening": rec.Phases.Opening, "running": rec.Phases.Running,
		"clean-up": rec.Phases.Cleanup, "used": rec.Used, "lateness": rec.Lateness,
	} {
		assert.GreaterOrEqual(t, d, time.Duration(0), "%s, after %v", name, err)
	}
}

func TestExpiryAtTheInstantOfCompletionTenThousandTimes(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var books ledger
		var all sync.WaitGroup
		for i := range 10_000 {
			all.Go(func() {
				h, hooks := books.open(), 0
				var rec supervisor.Receipt
				v, err := supervisor.Do(t.Context(), sup, use{run: func(_ context.Context, held *resources.Held) (int, error) {
					_ = held.Keep(h.piece("piece"))
					_ = held.OnAbort(&resources.Piece{What: "hook", Close: func() error { hooks++; return nil }})
					time.Sleep(time.Second)
					return 42, nil
				}, spec: resources.Spec{Kind: "test", Target: "t", Endpoint: "e", Unbounded: true}},
					supervisor.Within(time.Second), supervisor.WithReceipt(&rec))
				outcomeFits(t, v, err, &rec)
				want := 0
				if err != nil {
					want = 1
				}
				assert.Equal(t, want, hooks)
				assert.Equal(t, 42, v, "it was there")
			})
			if i%100 == 0 {
				time.Sleep(time.Nanosecond)
			}
		}
		all.Wait()
		books.balanced(t)
	})
}

func TestWhatIsAcquiredAtTheInstantOfExpiryIsClosedOnce(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var books ledger
		var all sync.WaitGroup
		for range 10_000 {
			all.Go(func() {
				var rec supervisor.Receipt
				v, err := supervisor.Do(t.Context(), sup, use{run: func(_ context.Context, held *resources.Held) (int, error) {
					time.Sleep(time.Second)
					if err := held.Keep(books.open().piece("piece")); err != nil {
						return 0, err
					}
					held.Opened()
					return 42, nil
				}, spec: resources.Spec{Kind: "test", Target: "t", Endpoint: "e", Unbounded: true}},
					supervisor.Within(time.Second), supervisor.WithReceipt(&rec))
				outcomeFits(t, v, err, &rec)
			})
		}
		all.Wait()
		books.balanced(t)
	})
}

// turns is a session whose openings are on a ledger.
type turns struct {
	books  *ledger
	traits resources.SessionTraits
}

func (turns) Spec() (resources.Spec, error) {
	return resources.Spec{Kind: "turns", Target: "t", Endpoint: "e"}, nil
}
func (s turns) Open(_ context.Context, held *resources.Held) (*handle, error) {
	h := s.books.open()
	return h, held.Keep(h.piece("handle"))
}
func (turns) Face(c resources.Caller[*handle]) resources.Caller[*handle] { return c }
func (s turns) Traits() resources.SessionTraits                          { return s.traits }

func TestSessionCallsThatEndAtTheInstantOfTheirExpiryLoseNoHandle(t *testing.T) {
	for name, traits := range map[string]resources.SessionTraits{
		"in turns":       {},
		"many at once":   {AtOnce: 4},
		"separate":       {AtOnce: 4, Separate: true},
		"closed if idle": {IdleClose: time.Millisecond},
		"short-lived":    {MaxAge: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			sup, err := supervisor.Start()
			require.NoError(t, err)
			var books ledger
			sess, err := supervisor.Open(t.Context(), sup, turns{&books, traits}, supervisor.Within(10*time.Second))
			require.NoError(t, err)
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for range 500 {
						length := time.Duration(50+rand.IntN(600)) * time.Microsecond
						ctx := supervisor.WithOptions(t.Context(), supervisor.Within(length))
						_, _ = sess.Do(ctx, func(ctx context.Context, h *handle, _ *resources.Held) (any, error) {
							// Asked in this order: an end closes the handle after it ended the context.
							if h.closed.Load() != 0 && ctx.Err() == nil && (traits.AtOnce == 0 || traits.Separate) {
								assert.Fail(t, "a closed handle was handed out")
							}
							spin(length - 20*time.Microsecond)
							return nil, nil
						})
					}
				})
			}
			all.Wait()
			comesBack(t, "Close", func() { assert.NoError(t, sess.Close()) })
			assert.Empty(t, sup.Leftovers())
			comesBack(t, "Close", func() { assert.NoError(t, sup.Close()) })
			books.balanced(t)
		})
	}
}

// spin works for d, more exactly than a timer.
func spin(d time.Duration) {
	for start := time.Now(); time.Since(start) < d; {
		runtime.Gosched()
	}
}

func TestEndpointsComeAndGoAndLeaveNothing(t *testing.T) {
	bubble(t, func(t *testing.T, _ *supervisor.Supervisor) {
		system := actors.NewSystem(nil)
		defer system.Shutdown()
		sup, err := supervisor.Start(supervisor.Under(system.Root))
		require.NoError(t, err)
		time.Sleep(time.Second)
		before := registered(system)
		var all sync.WaitGroup
		for i := range 5000 {
			all.Go(func() {
				for range 4 {
					v, err := supervisor.Do(t.Context(), sup, one(fmt.Sprint(i), answer42), supervisor.Within(time.Second))
					assert.NoError(t, err)
					assert.Equal(t, 42, v)
					time.Sleep(time.Minute) // the sweep is due at the same instant
				}
			})
		}
		all.Wait()
		time.Sleep(5 * time.Minute)
		assert.LessOrEqual(t, len(registered(system)), len(before)+1, "processes; the kind is there to stay")
		assert.NoError(t, sup.Close())
		time.Sleep(time.Second)
	})
}

func TestClosingAmidEverythingAnswersEveryoneOnceAndLeavesNothing(t *testing.T) {
	system := actors.NewSystem(nil)
	defer system.Shutdown()
	var start []string
	for round := range 60 {
		if round == 1 { // the first leaves the guardian behind, of which a system has one
			start = registered(system)
		}
		var books ledger
		sup, err := supervisor.Start(supervisor.Under(system.Root), supervisor.WithDrain(time.Duration(round%3)*time.Millisecond),
			supervisor.WithPolicy(timeoutpolicy.Compose(timeoutpolicy.Fixed(5*time.Millisecond), timeoutpolicy.Grace(2*time.Second))),
			supervisor.WithLimits(supervisor.Limits{AtOnce: 2}), supervisor.WithEvents(func(supervisor.Event) {}))
		require.NoError(t, err)
		work := func(endpoint string) use {
			return one(endpoint, func(ctx context.Context, held *resources.Held) (int, error) {
				if err := held.Keep(books.open().piece("piece")); err != nil {
					return 0, err
				}
				select {
				case <-ctx.Done():
					return 0, ctx.Err()
				case <-time.After(time.Duration(rand.IntN(8)) * time.Millisecond):
					return 42, nil
				}
			})
		}
		var all sync.WaitGroup
		for i := range 40 {
			all.Go(func() {
				for n := 0; ; n++ {
					var rec supervisor.Receipt
					options := []supervisor.Option{supervisor.WithReceipt(&rec)}
					if i%4 == 1 {
						options = append(options, supervisor.AnswerAtDeadline())
					}
					v, err := supervisor.Do(t.Context(), sup, work(fmt.Sprint(i%7, n%3)), options...)
					outcomeFits(t, v, err, &rec)
					if errors.Is(err, supervisor.ErrClosed) {
						return
					}
				}
			})
		}
		for range 4 {
			all.Go(func() {
				for {
					sess, err := supervisor.Open(t.Context(), sup, turns{books: &books}, supervisor.Within(time.Second))
					if err != nil {
						assert.ErrorIs(t, err, supervisor.ErrClosed)
						return
					}
					for range 3 {
						_, _ = sess.Do(t.Context(), func(context.Context, *handle, *resources.Held) (any, error) {
							return nil, []error{nil, errWork}[rand.IntN(2)]
						})
					}
					if rand.IntN(2) == 0 {
						assert.NoError(t, sess.Close())
					}
				}
			})
		}
		asker := newAsker(t, system, sup, work)
		spin(time.Duration(rand.IntN(4)) * time.Millisecond)
		for range 3 {
			all.Go(func() { comesBack(t, "Close", func() { assert.NoError(t, sup.Close()) }) })
		}
		comesBack(t, "the callers", all.Wait)
		comesBack(t, "the requests by message", asker.wait)
		books.balanced(t)
		assert.Empty(t, sup.Leftovers())
		if t.Failed() {
			t.Fatalf("in round %d", round)
		}
	}
	assert.Eventually(t, func() bool { return len(registered(system)) <= len(start) }, attackPatience, 10*time.Millisecond)
	assert.ElementsMatch(t, start, registered(system))
}

// asker is an actor that sends requests and counts the answers.
type asker struct {
	sent, answered atomic.Int64
	done           chan struct{}
}

// newAsker has requests sent one after the other, eight under way, until one is refused.
func newAsker(t *testing.T, system *actor.ActorSystem, sup *supervisor.Supervisor, work func(string) use) *asker {
	a := &asker{done: make(chan struct{})}
	seen := map[uint64]bool{}
	over := false
	send := func(c actor.Context) {
		id := uint64(a.sent.Add(1))
		c.Request(sup.PID(), &actors.Request{ID: id, Use: resources.Of(work(fmt.Sprint("m", id%5)))})
		if id%3 == 0 {
			c.Request(sup.PID(), &actors.Cancel{ID: id})
		}
	}
	system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		switch msg := c.Message().(type) {
		case *actor.Started:
			for range 8 {
				send(c)
			}
		case *actors.Response:
			assert.False(t, seen[msg.ID], "answered twice")
			seen[msg.ID] = true
			a.took(c, errors.Is(msg.Err, actors.ErrClosed), &over, send)
		case *actor.DeadLetterResponse:
			a.took(c, true, &over, send)
		}
	}))
	return a
}

func (a *asker) took(c actor.Context, closed bool, over *bool, send func(actor.Context)) {
	*over = *over || closed
	if n := a.answered.Add(1); *over && n >= a.sent.Load() {
		select {
		case <-a.done:
		default:
			close(a.done)
			c.Stop(c.Self())
		}
		return
	}
	if !*over {
		send(c)
	}
}

func (a *asker) wait() { <-a.done }

// TestTenThousandAtOnce has nobody's work done before all have asked, and one in five of them has
// expired or gone away: the others are under way at once.
func TestTenThousandAtOnce(t *testing.T) {
	sup, err := supervisor.Start(supervisor.WithLimits(supervisor.Limits{AtOnce: 100, Waiting: 20_000}))
	require.NoError(t, err)
	var books ledger
	var all, early sync.WaitGroup
	early.Add(2000)
	goOn := make(chan struct{})
	outcomes := [8]atomic.Int64{}
	for i := range 10_000 {
		all.Go(func() {
			limit := 3 * attackPatience
			if i%10 == 0 {
				limit = time.Duration(50+i%200) * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if i%10 == 5 {
				time.AfterFunc(time.Duration(i%97)*time.Millisecond, cancel)
			}
			var rec supervisor.Receipt
			v, err := supervisor.Do(ctx, sup, one(fmt.Sprint(i%3), func(ctx context.Context, held *resources.Held) (int, error) {
				_ = held.Keep(books.open().piece("piece"))
				select {
				case <-ctx.Done():
					return 0, ctx.Err()
				case <-goOn:
					return 42, nil
				}
			}), supervisor.WithReceipt(&rec))
			outcomeFits(t, v, err, &rec)
			outcomes[rec.Outcome].Add(1)
			if i%5 == 0 {
				early.Done()
			}
		})
	}
	comesBack(t, "those that end early", early.Wait)
	close(goOn)
	comesBack(t, "ten thousand", all.Wait)
	comesBack(t, "Close", func() { assert.NoError(t, sup.Close()) })
	books.balanced(t)
	assert.EqualValues(t, 8000, outcomes[actors.Completed].Load())
	assert.Positive(t, outcomes[actors.Expired].Load())
	assert.Positive(t, outcomes[actors.Cancelled].Load())
	t.Log("completed", outcomes[actors.Completed].Load(), "expired", outcomes[actors.Expired].Load(),
		"cancelled", outcomes[actors.Cancelled].Load(), "refused", outcomes[actors.Refused].Load())
}

func TestAPolicyChangesUnderThousandsOfRequests(t *testing.T) {
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(time.Minute)))
	require.NoError(t, err)
	defer func() { assert.NoError(t, sup.Close()) }()
	asked := map[string]*atomic.Int64{}
	policy := func(name string, answer func(context.Context) error) timeoutpolicy.Policy {
		count := new(atomic.Int64)
		asked[name] = count
		return timeoutpolicy.Func(func(ctx context.Context, _ timeoutpolicy.Ask) (time.Duration, error) {
			count.Add(1)
			return 0, answer(ctx)
		})
	}
	policies := []timeoutpolicy.Policy{
		timeoutpolicy.Fixed(time.Minute), nil, timeoutpolicy.Fixed(0),
		policy("breaks", func(context.Context) error { panic("policy") }),
		policy("goes", func(context.Context) error { runtime.Goexit(); return nil }),
		policy("hangs", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }), // the last: as many soon wait for it as may
	}
	// No more than 64 wait for a policy: there are always some who come through.
	const callers, rounds = 200, 3
	var over atomic.Bool
	defer over.Store(true)
	var decided, completed atomic.Int64
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for !over.Load() {
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				if i%2 == 0 {
					ctx = t.Context()
				}
				var rec supervisor.Receipt
				start := time.Now()
				if v, err := supervisor.Do(ctx, sup, one("e", answer42), supervisor.WithReceipt(&rec)); err == nil {
					assert.Equal(t, 42, v)
					completed.Add(1)
				}
				cancel()
				decided.Add(1)
				assert.Less(t, time.Since(start), 12*time.Second)
				assert.NotEqual(t, actors.Undecided, rec.Outcome)
			}
		})
	}
	comesBack(t, "the changes", func() {
		for i := range rounds * len(policies) {
			_ = sup.SetPolicy(policies[i%len(policies)])
			// Until some have begun and ended under it.
			for until := decided.Load() + 2*callers; decided.Load() < until; {
				runtime.Gosched()
			}
		}
	})
	over.Store(true)
	comesBack(t, "the requests", all.Wait)
	assert.Positive(t, completed.Load())
	for name, count := range asked {
		assert.Positive(t, count.Load(), name)
		t.Log(name, count.Load())
	}
	t.Log("completed", completed.Load())
}

func TestHeldIsDeafAndSafeAfterTheEnd(t *testing.T) {
	sup, err := supervisor.Start()
	require.NoError(t, err)
	var books ledger
	var late sync.WaitGroup
	var kept, sealed atomic.Int64
	for i := range 2000 {
		_, err := supervisor.Do(t.Context(), sup, one("e", func(_ context.Context, held *resources.Held) (int, error) {
			for range 3 {
				late.Go(func() {
					p := books.open().piece("late")
					switch err := held.Keep(p); {
					case err == nil:
						kept.Add(1)
						if i%2 == 0 && held.Drop(p) {
							_ = p.Close()
						}
					default:
						sealed.Add(1)
						assert.ErrorIs(t, err, resources.ErrSealed)
						assert.False(t, held.Drop(p))
					}
					other := &resources.Held{}
					_ = held.OnAbort(&resources.Piece{What: "hook", Close: func() error { return errWork }})
					if held.Give(other) == nil {
						_ = other.Give(held)
					}
					held.Progress()
					held.Opened()
				})
			}
			for range i % 8 { // some come before the end, some with it, some after it
				runtime.Gosched()
			}
			return 42, nil
		}), supervisor.Within(time.Second))
		assert.NoError(t, err)
	}
	late.Wait()
	require.NoError(t, sup.Close())
	books.balanced(t)
	assert.Positive(t, kept.Load())
	assert.Positive(t, sealed.Load())
	t.Log("kept", kept.Load(), "sealed", sealed.Load())
}

func TestRequestsWithinRequestsHooksAndActors(t *testing.T) {
	system := actors.NewSystem(nil)
	defer system.Shutdown()
	sup, err := supervisor.Start(supervisor.Under(system.Root), supervisor.WithPolicy(timeoutpolicy.Fixed(5*time.Second)))
	require.NoError(t, err)
	nested := func(ctx context.Context) error {
		_, err := supervisor.Do(ctx, sup, one("inner", answer42))
		return err
	}
	comesBack(t, "a request within a hook of a request within a hook", func() {
		work := resources.Func(func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, nil })
		_, err := supervisor.Do(t.Context(), sup, work.Cleanup(func() error {
			_, err := supervisor.Do(t.Context(), sup, work.Cleanup(func() error { return nested(t.Context()) }), supervisor.Within(20*time.Millisecond))
			return err
		}), supervisor.Within(20*time.Millisecond))
		var expired *supervisor.Expired
		require.ErrorAs(t, err, &expired)
		assert.ErrorIs(t, expired.Cleanup, context.DeadlineExceeded, "the inner one's expiry is the outer hook's error")
	})
	comesBack(t, "requests and a closing in a Receive", func() {
		done := make(chan error, 2)
		pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
			if _, ok := c.Message().(*actor.Started); ok {
				own, err := supervisor.Start(supervisor.Under(c))
				done <- err
				_, err = supervisor.Do(t.Context(), own, one("e", answer42), supervisor.Within(time.Second))
				done <- errors.Join(err, nested(t.Context()), own.Close())
			}
		}))
		assert.NoError(t, <-done)
		assert.NoError(t, <-done)
		assert.NoError(t, system.Root.StopFuture(pid).Wait())
	})
	comesBack(t, "a closing within a request", func() {
		_, err := supervisor.Do(t.Context(), sup, one("e", func(context.Context, *resources.Held) (int, error) {
			closer, err := supervisor.Start(supervisor.Under(system.Root), supervisor.WithDrain(0))
			if err != nil {
				return 0, err
			}
			_, err = supervisor.Do(t.Context(), closer, one("e", func(ctx context.Context, _ *resources.Held) (int, error) {
				return 0, closer.Close()
			}), supervisor.Within(time.Hour), supervisor.Grace(20*time.Millisecond), supervisor.Force(timeoutpolicy.None))
			return 0, err
		}))
		assert.ErrorIs(t, err, supervisor.ErrClosed)
	})
	assert.NoError(t, sup.Close())
}
