package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

func TestTheQueueIsInOrderAndItsWaitCountsAgainstTheDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var mu sync.Mutex
		var order []int
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				var rec supervisor.Receipt
				limit, start := 2500*time.Millisecond-time.Duration(i)*10*time.Millisecond, time.Now()
				_, err := supervisor.Do(t.Context(), sup, use{run: func(ctx context.Context, held *resources.Held) (int, error) {
					mu.Lock()
					order = append(order, i)
					mu.Unlock()
					return obedient(time.Second).run(ctx, held)
				}}, supervisor.Within(limit), supervisor.WithReceipt(&rec))
				if i < 2 {
					assert.NoError(t, err)
					assert.Equal(t, time.Duration(i)*999*time.Millisecond, rec.Phases.Queued)
					return
				}
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, limit, time.Since(start))
			})
			time.Sleep(time.Millisecond)
		}
		all.Wait()
		assert.Equal(t, []int{0, 1, 2}, order, "the last expired in the queue and was never run")
	}, supervisor.WithLimits(supervisor.Limits{AtOnce: 1}))
}

func TestAnExpiryInTheQueueOpensNothing(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		go func() { _, _ = supervisor.Do(t.Context(), sup, obedient(time.Minute), supervisor.Within(time.Hour)) }()
		synctest.Wait()
		_, err := supervisor.Do(t.Context(), sup, use{run: func(context.Context, *resources.Held) (int, error) {
			t.Error("it was started")
			return 0, nil
		}}, supervisor.Within(time.Second))
		var expired *supervisor.Expired
		require.ErrorAs(t, err, &expired)
		assert.Equal(t, actors.Queued, expired.Receipt.Phase)
		assert.Equal(t, time.Second, expired.Receipt.Phases.Queued)
		time.Sleep(time.Minute)
	}, supervisor.WithLimits(supervisor.Limits{AtOnce: 1}))
}

func TestAFullQueueRefuses(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				_, err := supervisor.Do(t.Context(), sup, obedient(time.Second), supervisor.Within(time.Minute))
				assert.NoError(t, err)
			})
		}
		synctest.Wait()
		_, err := supervisor.Do(t.Context(), sup, obedient(0), supervisor.Within(time.Second))
		assert.ErrorIs(t, err, supervisor.ErrOverloaded)
		all.Wait()
		_, err = supervisor.Do(t.Context(), sup, obedient(0), supervisor.Within(time.Second))
		assert.NoError(t, err)
	}, supervisor.WithLimits(supervisor.Limits{AtOnce: 1, Waiting: 2}))
}

func TestLeftoversHoldTheirSlotsAndBeyondTheCapNewRequestsAreRefused(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		stuck := deaf(10 * time.Second)
		for range 2 {
			_, err := supervisor.Do(t.Context(), sup, stuck, supervisor.Within(10*time.Millisecond))
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		require.Len(t, sup.Leftovers(), 2)
		_, err := supervisor.Do(t.Context(), sup, obedient(0), supervisor.Within(time.Second))
		require.ErrorIs(t, err, supervisor.ErrOverloaded)
		elsewhere := obedient(0)
		elsewhere.spec = resources.Spec{Kind: "test", Target: "other", Endpoint: "other"}
		_, err = supervisor.Do(t.Context(), sup, elsewhere, supervisor.Within(time.Second))
		require.NoError(t, err, "other endpoints are not concerned")
		time.Sleep(time.Minute)
		_, err = supervisor.Do(t.Context(), sup, obedient(0), supervisor.Within(time.Second))
		assert.NoError(t, err)
	}, supervisor.WithLimits(supervisor.Limits{AtOnce: 4, Leftovers: 2}))
}

func TestAnIdleEndpointStopsAndComesBackWhenNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := actors.NewSystem(nil)
		sup, err := supervisor.Start(supervisor.Under(system.Root), supervisor.WithLimits(supervisor.Limits{AtOnce: 1}))
		require.NoError(t, err)
		for range 3 {
			_, err = supervisor.Do(t.Context(), sup, obedient(time.Second), supervisor.Within(time.Minute))
			require.NoError(t, err)
			assert.Len(t, processes(system, "endpoint"), 2, "the endpoint and its gate")
			time.Sleep(5 * time.Minute)
			assert.Empty(t, processes(system, "endpoint"))
		}
		require.NoError(t, sup.Close())
		time.Sleep(time.Second)
	})
}

// processes lists the ids in the system's registry that contain s.
func processes(system *actor.ActorSystem, s string) []string {
	var ids []string
	for _, bucket := range system.ProcessRegistry.LocalPIDs.LocalPIDs {
		for id := range bucket.Items() {
			if strings.Contains(id, s) {
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return ids
}

func TestCloseLeavesNoActorBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := actors.NewSystem(nil)
		sup, err := supervisor.Start(supervisor.Under(system.Root), supervisor.WithEvents(func(supervisor.Event) {}))
		require.NoError(t, err)
		for i := range 50 {
			u := obedient(time.Second)
			u.spec = resources.Spec{Kind: fmt.Sprint("kind", i%3), Endpoint: fmt.Sprint(i)}
			go func() { _, _ = supervisor.Do(t.Context(), sup, u, supervisor.Within(time.Minute)) }()
		}
		synctest.Wait()
		require.NotEmpty(t, processes(system, "curfew"))
		require.NoError(t, sup.Close())
		assert.Empty(t, processes(system, "curfew"))
		time.Sleep(time.Second)
	})
}

func TestCloseDrainsThenStopsTheRestAndReturnsWhatWouldNotGo(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var all sync.WaitGroup
		run := func(u use, check func(error)) {
			all.Go(func() {
				_, err := supervisor.Do(t.Context(), sup, u, supervisor.Within(time.Hour))
				check(err)
			})
			synctest.Wait()
		}
		stopped := func(err error) {
			var cancelled *supervisor.Cancelled
			assert.ErrorAs(t, err, &cancelled)
			assert.ErrorIs(t, err, supervisor.ErrClosed)
			assert.ErrorIs(t, err, context.Canceled)
		}
		run(obedient(2*time.Second), func(err error) { assert.NoError(t, err) })
		run(obedient(time.Minute), stopped)
		run(deaf(30*time.Second), stopped)
		run(obedient(time.Second), func(err error) { assert.NoError(t, err) }) // from the queue
		run(obedient(time.Minute), stopped)                                    // the same, too slow

		start := time.Now()
		closed := make(chan error)
		for range 2 {
			go func() { closed <- sup.Close() }()
		}
		synctest.Wait()
		_, err := supervisor.Do(t.Context(), sup, obedient(0), supervisor.Within(time.Second))
		assert.ErrorIs(t, err, supervisor.ErrClosed)
		for range 2 {
			var left *resources.LeftoverError
			assert.ErrorAs(t, <-closed, &left)
			assert.Equal(t, supervisor.DefaultDrain+3*time.Second, time.Since(start))
		}
		all.Wait()
	}, supervisor.WithLimits(supervisor.Limits{AtOnce: 3}))
}

func TestCloseComesBackAsSoonAsTheLastRequestHasEnded(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		for range 20 {
			go func() { _, _ = supervisor.Do(t.Context(), sup, obedient(time.Second), supervisor.Within(time.Minute)) }()
		}
		synctest.Wait()
		start := time.Now()
		require.NoError(t, sup.Close())
		assert.Equal(t, time.Second, time.Since(start))
	})
}

func TestStoppingTheRootFromOutsideAnswersEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := actors.NewSystem(nil)
		sup, err := supervisor.Start(supervisor.Under(system.Root))
		require.NoError(t, err)
		answered := make(chan error)
		go func() {
			_, err := supervisor.Do(t.Context(), sup, obedient(time.Hour), supervisor.Within(time.Hour))
			answered <- err
		}()
		synctest.Wait()
		system.Root.Stop(sup.PID())
		assert.ErrorIs(t, <-answered, supervisor.ErrClosed)
		synctest.Wait()
		_, err = supervisor.Do(t.Context(), sup, obedient(0), supervisor.Within(time.Second))
		assert.ErrorIs(t, err, supervisor.ErrClosed)
		assert.ErrorIs(t, sup.SetPolicy(nil), supervisor.ErrClosed)
		require.NoError(t, sup.Close())
		time.Sleep(time.Second)
	})
}

func TestTwoSupervisorsDoNotSeeEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		system := actors.NewSystem(nil)
		a, err := supervisor.Start(supervisor.Under(system.Root), supervisor.WithPolicy(timeoutpolicy.Fixed(time.Second)))
		require.NoError(t, err)
		b, err := supervisor.Start(supervisor.Under(system.Root))
		require.NoError(t, err)
		_, err = supervisor.Do(t.Context(), b, obedient(0))
		assert.ErrorIs(t, err, supervisor.ErrNoLimit)
		require.NoError(t, a.Close())
		require.NoError(t, b.SetPolicy(timeoutpolicy.Fixed(time.Second)))
		_, err = supervisor.Do(t.Context(), b, obedient(0))
		assert.NoError(t, err)
		require.NoError(t, b.Close())
		time.Sleep(time.Second)
	})
}

func TestABadPolicyIsRefusedAndTheOldOneStays(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		old := sup.Policy()
		require.Error(t, sup.SetPolicy(timeoutpolicy.Fixed(-1)))
		assert.Equal(t, old, sup.Policy())
		require.NoError(t, sup.SetPolicy(nil))
		_, err := supervisor.Do(t.Context(), sup, obedient(0))
		assert.ErrorIs(t, err, supervisor.ErrNoLimit)
	}, supervisor.WithPolicy(timeoutpolicy.Fixed(time.Second)))
}

// policyFunc is a policy of a user's own.
type policyFunc func(timeoutpolicy.Ask) (timeoutpolicy.Budget, error)

func (f policyFunc) Grant(ask timeoutpolicy.Ask, _ timeoutpolicy.Budget) (timeoutpolicy.Budget, error) {
	return f(ask)
}

func TestAPolicyThatMisbehavesStartsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		policy policyFunc
		check  func(error) bool
		took   time.Duration
	}{
		"panics": {func(timeoutpolicy.Ask) (timeoutpolicy.Budget, error) { panic(errWork) },
			func(err error) bool { return errors.Is(err, errWork) }, 0},
		"fails": {func(timeoutpolicy.Ask) (timeoutpolicy.Budget, error) { return timeoutpolicy.Budget{}, errWork },
			func(err error) bool { return errors.Is(err, errWork) }, 0},
		"exits": {func(timeoutpolicy.Ask) (timeoutpolicy.Budget, error) {
			runtime.Goexit()
			return timeoutpolicy.Budget{}, nil
		}, func(err error) bool { return errors.As(err, new(*supervisor.Panicked)) }, 0},
		"hangs": {func(timeoutpolicy.Ask) (timeoutpolicy.Budget, error) {
			time.Sleep(30 * time.Second)
			return timeoutpolicy.Budget{}, nil
		}, func(err error) bool { return errors.Is(err, actors.ErrPolicySlow) }, 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
				start := time.Now()
				_, err := supervisor.Do(t.Context(), sup, use{run: func(context.Context, *resources.Held) (int, error) {
					t.Error("it was started")
					return 0, nil
				}})
				assert.True(t, c.check(err), "%v", err)
				assert.Equal(t, c.took, time.Since(start))
			}, supervisor.WithPolicy(c.policy))
		})
	}
}

func TestEveryRequestHasAStartAndAFinishInTheTimeline(t *testing.T) {
	var mu sync.Mutex
	var timeline []supervisor.Event
	hook := func(e supervisor.Event) {
		mu.Lock()
		timeline = append(timeline, e)
		mu.Unlock()
		panic("a hook that panics goes no further")
	}
	policy := timeoutpolicy.Compose(timeoutpolicy.Fixed(time.Second), timeoutpolicy.Warn(500*time.Millisecond))
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		_, _ = supervisor.Do(t.Context(), sup, obedient(0))
		_, _ = supervisor.Do(t.Context(), sup, obedient(time.Minute))
		_, _ = supervisor.Do(t.Context(), sup, use{run: func(context.Context, *resources.Held) (int, error) { panic(1) }})
		_, _ = supervisor.Do(t.Context(), sup, obedient(0), supervisor.Within(-1))
		_, _ = supervisor.Do(t.Context(), sup, deaf(20*time.Second))
		time.Sleep(time.Minute)
		require.NoError(t, sup.Close())

		names := map[uint64][]string{}
		for _, e := range timeline {
			names[e.Request] = append(names[e.Request], e.What.String())
			assert.Equal(t, e.What == actors.EventFinished, e.Receipt != nil)
		}
		assert.Equal(t, map[uint64][]string{
			0: {"leftover", "gone"},
			1: {"submitted", "started", "finished"},
			2: {"submitted", "started", "warned", "finished"},
			3: {"submitted", "started", "finished"},
			4: {"finished"},
			5: {"submitted", "started", "warned", "finished"},
		}, names)
	}, supervisor.WithEvents(hook), supervisor.WithPolicy(policy))
}

func TestAHookThatHangsHoldsNobodyUp(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		start := time.Now()
		for range 3000 {
			_, err := supervisor.Do(t.Context(), sup, obedient(0), supervisor.Within(time.Second))
			require.NoError(t, err)
		}
		assert.Zero(t, time.Since(start))
		require.NoError(t, sup.Close())
		assert.Equal(t, time.Second, time.Since(start), "a closing gives the hook a second")
	}, supervisor.WithEvents(func(supervisor.Event) { time.Sleep(30 * time.Second) }))
}
