package supervisor_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net/url"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// attackPatience is how long an attack waits before it says that something hangs.
const attackPatience = 20 * time.Second

// comesBack fails the test when f does not.
func comesBack(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { // waited for below, or the test has failed
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(attackPatience):
		buf := make([]byte, 1<<16)
		require.FailNow(t, "it hangs: "+what, string(buf[:runtime.Stack(buf, true)]))
	}
}

// one is a use of the endpoint of that name.
func one(endpoint string, run func(context.Context, *resources.Held) (int, error)) use {
	return use{spec: resources.Spec{Kind: "test", Target: endpoint, Endpoint: endpoint}, run: run}
}

func answer42(context.Context, *resources.Held) (int, error) { return 42, nil }

func untilEnd(ctx context.Context, _ *resources.Held) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

func TestAQueuedRequestThatTwoEndsReachAtOnceIsAnswered(t *testing.T) {
	sup, err := supervisor.Start(supervisor.WithLimits(supervisor.Limits{AtOnce: 1, Waiting: 100_000}), supervisor.WithDrain(0))
	require.NoError(t, err)
	defer func() { assert.NoError(t, sup.Close()) }()
	blocked := make(chan struct{})
	var first sync.WaitGroup
	first.Go(func() {
		_, _ = supervisor.Do(context.Background(), sup, one("e", func(ctx context.Context, _ *resources.Held) (int, error) {
			close(blocked)
			<-ctx.Done()
			return 0, ctx.Err()
		}), supervisor.Within(time.Hour))
	})
	<-blocked
	comesBack(t, "queued requests at their deadline", func() {
		var all sync.WaitGroup
		for i := range 3000 {
			all.Go(func() {
				limit := time.Duration(1+i%40) * time.Millisecond
				ctx, cancel := context.WithTimeout(context.Background(), limit)
				defer cancel()
				var rec supervisor.Receipt
				_, err := supervisor.Do(ctx, sup, one("e", answer42), supervisor.WithReceipt(&rec))
				if !errors.Is(err, supervisor.ErrTooLate) {
					assert.ErrorIs(t, err, context.DeadlineExceeded)
					assert.Equal(t, actors.Queued, rec.Phase)
				}
			})
		}
		all.Wait()
	})
	require.NoError(t, sup.Close())
	first.Wait()
}

func TestAQueuedRequestThatIsCancelledAtItsDeadlineIsAnswered(t *testing.T) {
	// In fake time both ends are due at the same instant.
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var all sync.WaitGroup
		for range 2000 {
			all.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				time.AfterFunc(time.Second, cancel)
				_, err := supervisor.Do(ctx, sup, one("e", untilEnd), supervisor.Within(time.Second))
				assert.Error(t, err)
			})
		}
		all.Wait()
	}, supervisor.WithLimits(supervisor.Limits{AtOnce: 1, Waiting: 100_000}))
}

func TestASupervisorWhoseParentStopsLeavesNothingBehind(t *testing.T) {
	system := actors.NewSystem(nil)
	defer system.Shutdown()
	for _, end := range []string{"stops", "panics"} {
		t.Run(end, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			started := make(chan *supervisor.Supervisor, 8)
			pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
				switch c.Message().(type) {
				case *actor.Started:
					sup, err := supervisor.Start(supervisor.Under(c), supervisor.WithEvents(func(supervisor.Event) {}))
					if err == nil {
						started <- sup
					}
				case string:
					panic("the parent fails")
				}
			}))
			sup := <-started
			outcome, running := make(chan error, 1), make(chan struct{})
			go func() {
				_, err := supervisor.Do(context.Background(), sup, one("e", func(ctx context.Context, held *resources.Held) (int, error) {
					close(running)
					return untilEnd(ctx, held)
				}), supervisor.Within(time.Hour))
				outcome <- err
			}()
			<-running
			if end == "stops" {
				system.Root.Stop(pid)
			} else {
				system.Root.Send(pid, "panic")
			}
			select {
			case err := <-outcome:
				assert.ErrorIs(t, err, supervisor.ErrClosed)
			case <-time.After(attackPatience):
				t.Fatal("the request outlived its supervisor")
			}
			comesBack(t, "Do after the end", func() {
				_, err := supervisor.Do(context.Background(), sup, one("e2", answer42), supervisor.Within(time.Second))
				assert.ErrorIs(t, err, supervisor.ErrClosed)
			})
			comesBack(t, "Close after the end", func() { assert.NoError(t, sup.Close()) })
			if end == "panics" { // the parent was restarted, and has another
				again := <-started
				assert.NoError(t, again.Close())
				system.Root.Stop(pid)
			}
			assert.NoError(t, goleak.Find(before))
		})
	}
}

// specs is a use whose Spec is foreign code.
type specs struct {
	use
	spec func() resources.Spec
}

func (s specs) Spec() (resources.Spec, error) { return s.spec(), nil }

func TestAnEndpointThatIsOpenedDuringTheClosingHoldsNothingUp(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var all sync.WaitGroup
		all.Go(func() {
			_, err := supervisor.Do(context.Background(), sup, deaf(2500*time.Millisecond), supervisor.Within(time.Hour))
			assert.ErrorIs(t, err, supervisor.ErrClosed)
		})
		for _, kind := range []string{"test", "another"} {
			all.Go(func() {
				_, err := supervisor.Do(context.Background(), sup, specs{use{run: answer42}, func() resources.Spec {
					time.Sleep(2 * time.Second) // the closing begins meanwhile
					return resources.Spec{Kind: kind, Target: "late", Endpoint: "late"}
				}}, supervisor.Within(time.Hour))
				assert.ErrorIs(t, err, supervisor.ErrClosed)
			})
		}
		time.Sleep(time.Second)
		start := time.Now()
		assert.NoError(t, sup.Close())
		assert.LessOrEqual(t, time.Since(start), 3*time.Second, "the closing waited for what was opened in it")
		all.Wait()
	}, supervisor.WithDrain(0))
}

func TestAnErrorWhoseMethodsPanicIsContained(t *testing.T) {
	var none *url.Error // the old trap: a nil pointer in an error interface
	var rec supervisor.Receipt
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		_, err := supervisor.Do(t.Context(), sup, use{run: func(context.Context, *resources.Held) (int, error) { return 0, none }},
			supervisor.Within(time.Second), supervisor.WithReceipt(&rec))
		require.Error(t, err)
		assert.NotPanics(t, func() { _ = err.Error() })
		_, err = supervisor.Do(t.Context(), sup, use{run: func(ctx context.Context, _ *resources.Held) (int, error) { <-ctx.Done(); return 0, none }},
			supervisor.Within(time.Second), supervisor.WithReceipt(&rec))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = supervisor.Do(t.Context(), sup, use{run: func(ctx context.Context, held *resources.Held) (int, error) {
			_ = held.Keep(&resources.Piece{What: "piece", Close: func() error { return none }, Force: func() error { return none }})
			_ = held.OnAbort(&resources.Piece{What: "hook", Close: func() error { return none }})
			<-ctx.Done()
			_ = held.Keep(&resources.Piece{What: "late", Close: func() error { return none }})
			panic(none)
		}}, supervisor.Within(time.Second), supervisor.WithReceipt(&rec))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NotPanics(t, func() { _ = err.Error(); _ = errors.Is(err, io.EOF) })
	})
}

func TestANilPieceIsRefusedAndBreaksNothing(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		for _, keep := range []func(*resources.Held) error{
			func(h *resources.Held) error { return h.Keep(nil) },
			func(h *resources.Held) error { return h.OnAbort(nil) },
		} {
			_, err := supervisor.Do(t.Context(), sup, use{run: func(ctx context.Context, held *resources.Held) (int, error) {
				assert.Error(t, keep(held))
				<-ctx.Done()
				assert.Error(t, keep(held))
				return 0, nil
			}}, supervisor.Within(time.Second))
			assert.ErrorIs(t, err, context.DeadlineExceeded)
		}
	})
}

func TestACloseThatFailsAfterItsTimeStaysOnTheBooks(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var tries atomic.Int32
		_, err := supervisor.Do(t.Context(), sup, use{run: func(ctx context.Context, held *resources.Held) (int, error) {
			_ = held.Keep(&resources.Piece{What: "stubborn", Close: func() error {
				if tries.Add(1) > 3 {
					return nil
				}
				time.Sleep(5 * time.Second)
				return errWork
			}})
			<-ctx.Done()
			return 0, ctx.Err()
		}}, supervisor.Within(time.Second))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, sup.Leftovers(), 1)
		time.Sleep(2*time.Second + 50*time.Millisecond) // its Close has come back, with an error
		require.Len(t, sup.Leftovers(), 1, "it said that it has not gone")
		time.Sleep(time.Minute)
		assert.Empty(t, sup.Leftovers(), "it was tried again until it went")
		assert.EqualValues(t, 4, tries.Load())
	})
}

func TestAPieceWithForceAloneIsForced(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		forced := 0
		_, err := supervisor.Do(t.Context(), sup, use{run: func(ctx context.Context, held *resources.Held) (int, error) {
			_ = held.Keep(&resources.Piece{What: "piece", Force: func() error { forced++; return nil }})
			return 1, nil
		}}, supervisor.Within(time.Second))
		assert.NoError(t, err)
		assert.Equal(t, 1, forced)
	})
}

func TestMessagesOfNothingStrandNoOther(t *testing.T) {
	system := actors.NewSystem(nil)
	defer system.Shutdown()
	sup, err := supervisor.Start(supervisor.Under(system.Root))
	require.NoError(t, err)
	defer func() { assert.NoError(t, sup.Close()) }()
	stop := make(chan struct{})
	var flood sync.WaitGroup
	flood.Go(func() {
		root := system.Root
		for {
			select {
			case <-stop:
				return
			default:
				root.Send(sup.PID(), nil)
				runtime.Gosched()
			}
		}
	})
	comesBack(t, "SetPolicy among messages of nothing", func() {
		for range 20_000 {
			assert.NoError(t, sup.SetPolicy(timeoutpolicy.Fixed(time.Second)))
		}
	})
	close(stop)
	flood.Wait()
}

// hostile is a policy whose methods are hostile.
type hostile struct {
	blocks func() bool
	grant  func() (timeoutpolicy.Budget, error)
}

func (h hostile) Blocks() bool { return h.blocks() }
func (h hostile) Grant(timeoutpolicy.Ask, timeoutpolicy.Budget) (timeoutpolicy.Budget, error) {
	return h.grant()
}

func TestAPolicyThatPanicsWhereverItIsAskedIsContained(t *testing.T) {
	bad := hostile{func() bool { panic("blocks") }, func() (timeoutpolicy.Budget, error) { panic("grant") }}
	sup, err := supervisor.Start(supervisor.WithDrain(0))
	require.NoError(t, err)
	defer func() { comesBack(t, "Close", func() { assert.NoError(t, sup.Close()) }) }()
	comesBack(t, "SetPolicy", func() { assert.Error(t, sup.SetPolicy(bad)) })
	comesBack(t, "SetPolicy, composed", func() { assert.Error(t, sup.SetPolicy(timeoutpolicy.Compose(bad))) })
	comesBack(t, "Override", func() {
		_, err := supervisor.Do(timeoutpolicy.Override(t.Context(), bad), sup, one("e", answer42))
		assert.Error(t, err)
	})
	comesBack(t, "Start", func() {
		_, err := supervisor.Start(supervisor.WithPolicy(bad))
		assert.Error(t, err)
	})
	assert.Nil(t, sup.Policy())
}

func TestEveryWaitOfACleanupHasABound(t *testing.T) {
	endless := hostile{func() bool { return false }, func() (timeoutpolicy.Budget, error) {
		return timeoutpolicy.Budget{Limit: time.Second, Grace: timeoutpolicy.Unlimited}, nil
	}}
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		for name, options := range map[string][]supervisor.Option{
			"grace": {supervisor.Within(time.Second), supervisor.Grace(timeoutpolicy.Unlimited)},
			"force": {supervisor.Within(time.Second), supervisor.Force(timeoutpolicy.Unlimited)},
		} {
			_, err := supervisor.Do(t.Context(), sup, deaf(time.Hour), options...)
			var invalid *supervisor.Invalid
			assert.ErrorAs(t, err, &invalid, name)
		}
		_, err := supervisor.Do(timeoutpolicy.Override(t.Context(), endless), sup, one("e", answer42))
		assert.Error(t, err)
	})
}

func TestLongTimesDoNotOverflow(t *testing.T) {
	const long = math.MaxInt64 / 2 * time.Nanosecond
	for name, options := range map[string][]supervisor.Option{
		"grace and force": {supervisor.Within(time.Hour), supervisor.Grace(long), supervisor.Force(long)},
		"limit":           {supervisor.Within(timeoutpolicy.Unlimited - 1), supervisor.Grace(time.Minute)},
		"grace":           {supervisor.Within(timeoutpolicy.Unlimited - 1), supervisor.Grace(timeoutpolicy.Unlimited - 1)},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
				var all sync.WaitGroup
				all.Go(func() {
					_, err := supervisor.Do(t.Context(), sup, one("e", func(ctx context.Context, _ *resources.Held) (int, error) {
						<-ctx.Done()
						time.Sleep(30 * time.Second) // well within its grace
						return 7, nil
					}), options...)
					assert.ErrorIs(t, err, supervisor.ErrClosed)
				})
				time.Sleep(time.Second)
				start := time.Now()
				assert.NoError(t, sup.Close())
				assert.Equal(t, 30*time.Second, time.Since(start), "it waits for what is within its time")
				all.Wait()
			}, supervisor.WithDrain(0))
		})
	}
}

func TestADeadlineBeyondAllDurationsIsADeadline(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		ctx, cancel := context.WithDeadline(t.Context(), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
		defer cancel()
		v, err := supervisor.Do(ctx, sup, one("e", answer42))
		assert.NoError(t, err)
		assert.Equal(t, 42, v)
	})
}

// foreign is a context of a type that package context does not know.
type foreign struct {
	context.Context
	due  time.Time
	done chan struct{}
	err  func() error
}

func (f foreign) Deadline() (time.Time, bool) { return f.due, !f.due.IsZero() }
func (f foreign) Done() <-chan struct{}       { return f.done }
func (f foreign) Err() error                  { return f.err() }

func TestContextsOfForeignTypesAreKeptTo(t *testing.T) {
	never := func() error { return nil }
	ended := make(chan struct{})
	close(ended)
	t.Run("a deadline without Done", func(t *testing.T) {
		bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
			start := time.Now()
			_, err := supervisor.Do(foreign{t.Context(), start.Add(time.Second), nil, never}, sup, one("e", untilEnd))
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, time.Second, time.Since(start))
		})
	})
	t.Run("a deadline with a Done that never comes", func(t *testing.T) {
		bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
			start := time.Now()
			_, err := supervisor.Do(foreign{t.Context(), start.Add(time.Second), make(chan struct{}), never}, sup, one("e", untilEnd))
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.LessOrEqual(t, time.Since(start), time.Second+2*time.Millisecond)
		})
	})
	t.Run("a deadline that has passed, unnoticed", func(t *testing.T) {
		bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
			_, err := supervisor.Do(foreign{t.Context(), time.Now().Add(-time.Second), nil, never}, sup, one("e", untilEnd))
			assert.ErrorIs(t, err, supervisor.ErrTooLate)
			slow := timeoutpolicy.Func(func(context.Context, timeoutpolicy.Ask) (time.Duration, error) { return time.Second, nil })
			_, err = supervisor.Do(foreign{timeoutpolicy.Override(t.Context(), slow), time.Now().Add(-time.Second), nil, never}, sup, one("e", untilEnd))
			assert.ErrorIs(t, err, supervisor.ErrTooLate, "whoever is asked")
		})
	})
	t.Run("Done without a deadline", func(t *testing.T) {
		bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
			done := make(chan struct{})
			time.AfterFunc(time.Second, func() { close(done) })
			var over atomic.Bool
			time.AfterFunc(time.Second, func() { over.Store(true) })
			start := time.Now()
			_, err := supervisor.Do(foreign{t.Context(), time.Time{}, done, func() error {
				select {
				case <-done:
					return context.DeadlineExceeded
				default:
					return nil
				}
			}}, sup, one("e", untilEnd), supervisor.Within(time.Hour))
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, time.Second, time.Since(start))
		})
	})
	t.Run("an Err that denies the end", func(t *testing.T) {
		bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
			_, err := supervisor.Do(foreign{t.Context(), time.Time{}, ended, never}, sup, one("e", untilEnd), supervisor.Within(time.Hour))
			var cancelled *supervisor.Cancelled
			require.ErrorAs(t, err, &cancelled)
			assert.NotContains(t, err.Error(), "nil")
			assert.Error(t, cancelled.Cause)
		})
	})
	t.Run("an Err that claims an end", func(t *testing.T) {
		bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
			_, err := supervisor.Do(foreign{t.Context(), time.Time{}, nil, func() error { return errWork }}, sup, one("e", untilEnd), supervisor.Within(time.Hour))
			assert.ErrorIs(t, err, context.Canceled)
			assert.ErrorIs(t, err, errWork)
		})
	})
}

func TestABreakerStaysOpenForItsTimeHoweverIdle(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		failing := one("e", func(context.Context, *resources.Held) (int, error) { return 0, errWork })
		_, err := supervisor.Do(t.Context(), sup, failing, supervisor.Within(time.Second))
		require.ErrorIs(t, err, errWork)
		time.Sleep(5 * time.Minute)
		_, err = supervisor.Do(t.Context(), sup, failing, supervisor.Within(time.Second))
		assert.ErrorIs(t, err, supervisor.ErrBreakerOpen)
		time.Sleep(6 * time.Minute)
		_, err = supervisor.Do(t.Context(), sup, failing, supervisor.Within(time.Second))
		assert.ErrorIs(t, err, errWork)
	}, supervisor.WithLimits(supervisor.Limits{Breaker: &supervisor.Breaker{Failures: 1, Open: 10 * time.Minute}}))
}

func TestARateHoldsForAnEndpointHoweverIdle(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		start := time.Now()
		for range 3 {
			_, err := supervisor.Do(t.Context(), sup, one("e", answer42), supervisor.Within(time.Hour))
			require.NoError(t, err)
			time.Sleep(3 * time.Minute)
		}
		assert.GreaterOrEqual(t, time.Since(start), 20*time.Minute)
	}, supervisor.WithLimits(supervisor.Limits{PerSecond: 1.0 / 600}))
}

func TestASpecThatPanicsOrEndsItsGoroutineHarmsNobodyElse(t *testing.T) {
	sup, err := supervisor.Start(supervisor.WithDrain(time.Hour))
	require.NoError(t, err)
	defer func() { comesBack(t, "Close", func() { assert.NoError(t, sup.Close()) }) }()
	comesBack(t, "Goexit in Spec", func() {
		var gone sync.WaitGroup
		gone.Go(func() {
			_, _ = supervisor.Do(context.Background(), sup, specs{use{run: answer42}, func() resources.Spec { runtime.Goexit(); return resources.Spec{} }}, supervisor.Within(time.Second))
		})
		gone.Wait()
	})
	_, err = supervisor.Do(t.Context(), sup, specs{use{run: answer42}, func() resources.Spec { panic("spec") }}, supervisor.Within(time.Second))
	var panicked *supervisor.Panicked
	assert.ErrorAs(t, err, &panicked)
	_, err = supervisor.Do[int](t.Context(), sup, nil, supervisor.Within(time.Second))
	assert.Error(t, err)
}

func TestASessionServesTheNextCallThoughTheLastHasNotComeBack(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var books ledger
		sess, err := supervisor.Open(t.Context(), sup, turns{books: &books}, supervisor.Within(time.Second))
		require.NoError(t, err)
		ctx := supervisor.WithOptions(t.Context(), supervisor.Within(10*time.Second))
		_, err = sess.Do(ctx, func(context.Context, *handle, *resources.Held) (any, error) {
			time.Sleep(20 * time.Second) // whatever is closed under it
			return nil, nil
		})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, sup.Leftovers(), 1)
		for range 20 { // before, when and after it comes back
			_, err = sess.Do(ctx, func(_ context.Context, h *handle, _ *resources.Held) (any, error) {
				assert.Zero(t, h.closed.Load(), "a closed handle was handed out")
				return nil, nil
			})
			require.NoError(t, err)
			time.Sleep(time.Second)
		}
		assert.Empty(t, sup.Leftovers())
		assert.Len(t, books.handles, 2, "and opened anew once")
		assert.NoError(t, sess.Close())
		books.balanced(t)
	})
}

func TestStallAndWarnBeyondTheLimitChangeNothing(t *testing.T) {
	var mu sync.Mutex
	seen := map[actors.EventKind]int{}
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		for _, limit := range []time.Duration{time.Second, time.Hour - 1} {
			start := time.Now()
			var rec supervisor.Receipt
			_, err := supervisor.Do(t.Context(), sup, obedient(2*time.Hour), supervisor.Within(limit), supervisor.WithReceipt(&rec))
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, limit, time.Since(start))
			assert.Equal(t, actors.Running, rec.Phase)
		}
	}, supervisor.WithPolicy(timeoutpolicy.Compose(timeoutpolicy.Stall(time.Hour), timeoutpolicy.Warn(time.Hour))),
		supervisor.WithEvents(func(e supervisor.Event) {
			mu.Lock()
			defer mu.Unlock()
			seen[e.What]++
		}))
	assert.Zero(t, seen[actors.EventWarned])
	assert.Equal(t, 2, seen[actors.EventFinished])
}

func TestAnEventsHookThatEndsItsGoroutineMissesNothing(t *testing.T) {
	seen := make(chan actors.EventKind, 100)
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		for range 3 {
			_, err := supervisor.Do(t.Context(), sup, one("some", answer42), supervisor.Within(time.Minute))
			require.NoError(t, err)
		}
	}, supervisor.WithEvents(func(e supervisor.Event) {
		seen <- e.What
		runtime.Goexit()
	}))
	assert.Len(t, seen, 9, "submitted, started and finished, of each")
}

func TestTheOpeningOfAnEndpointIsWaitedForNoLongerThanTheRequestHas(t *testing.T) {
	// The root is held up by foreign code that is to be pure and is not.
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		_, err := supervisor.Do(t.Context(), sup, one("free", answer42), supervisor.Within(time.Minute))
		require.NoError(t, err)
		var all sync.WaitGroup
		all.Go(func() {
			_, err := supervisor.Do(t.Context(), sup, one("slow", answer42), supervisor.Within(time.Minute))
			assert.NoError(t, err)
		})
		time.Sleep(time.Second)
		for name, want := range map[string]error{"expired": context.DeadlineExceeded, "cancelled": context.Canceled} {
			ctx, cancel := context.WithCancel(t.Context())
			if name == "cancelled" {
				time.AfterFunc(time.Second, cancel)
			}
			start := time.Now()
			var rec supervisor.Receipt
			_, err = supervisor.Do(ctx, sup, one("other", answer42), supervisor.Within(2*time.Second), supervisor.WithReceipt(&rec))
			assert.ErrorIs(t, err, want)
			assert.Equal(t, name, rec.Outcome.String())
			assert.LessOrEqual(t, time.Since(start), 2*time.Second)
			cancel()
		}
		all.Wait()
	}, supervisor.WithLimitsFor(func(_, endpoint string, l supervisor.Limits) supervisor.Limits {
		if endpoint == "slow" {
			time.Sleep(10 * time.Second)
		}
		return l
	}))
}

func TestAMessageWhoseSpecEndsTheGoroutineDoesNotEndTheSupervisor(t *testing.T) {
	system := actors.NewSystem(nil)
	defer system.Shutdown()
	sup, err := supervisor.Start(supervisor.Under(system.Root), supervisor.WithPolicy(timeoutpolicy.Fixed(time.Second)))
	require.NoError(t, err)
	goes := resources.Of[int](specs{use{run: answer42}, func() resources.Spec { runtime.Goexit(); return resources.Spec{} }})
	comesBack(t, "it", func() {
		answer, err := system.Root.RequestFuture(sup.PID(), &actors.Request{ID: 1, Use: goes}, attackPatience).Result()
		require.NoError(t, err)
		var panicked *supervisor.Panicked
		require.ErrorAs(t, answer.(*actors.Response).Err, &panicked)
		assert.Nil(t, panicked.Value)
	})
	comesBack(t, "the next one", func() {
		answer, err := system.Root.RequestFuture(sup.PID(), &actors.Request{ID: 2, Use: resources.Of[int](one("e", answer42))}, attackPatience).Result()
		require.NoError(t, err)
		v, err := actors.As[int](answer.(*actors.Response))
		assert.NoError(t, err)
		assert.Equal(t, 42, v)
	})
	comesBack(t, "Close", func() { assert.NoError(t, sup.Close()) })
}
