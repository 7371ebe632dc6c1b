package supervisor_test

import (
	"context"
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

// failing fails at once.
func failing(err error) use {
	return use{run: func(context.Context, *resources.Held) (int, error) { return 0, err }}
}

func TestTheRateHoldsBackWithinTheDeadlineAndInOrder(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		start := time.Now()
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				_, err := supervisor.Do(t.Context(), sup, obedient(0), supervisor.Within(450*time.Millisecond))
				switch {
				case i < 2: // the burst
					assert.NoError(t, err)
					assert.Zero(t, time.Since(start))
				case i < 6: // one each 100 ms
					assert.NoError(t, err)
					assert.Equal(t, time.Duration(i-1)*100*time.Millisecond, time.Since(start))
				default:
					assert.ErrorIs(t, err, context.DeadlineExceeded)
					assert.Equal(t, 450*time.Millisecond, time.Since(start))
				}
			})
			synctest.Wait()
		}
		all.Wait()
		time.Sleep(time.Minute)
		begun := time.Now()
		_, err := supervisor.Do(t.Context(), sup, obedient(0), supervisor.Within(time.Second))
		require.NoError(t, err)
		assert.Zero(t, time.Since(begun), "rested")
	}, supervisor.WithLimits(supervisor.Limits{PerSecond: 10, Burst: 2}))
}

func TestTheHigherPriorityGoesFirst(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var mu sync.Mutex
		var order []int
		var all sync.WaitGroup
		for i, priority := range []int{9, 0, 5, 0, 5, -1} {
			all.Go(func() {
				_, err := supervisor.Do(t.Context(), sup, use{run: func(context.Context, *resources.Held) (int, error) {
					mu.Lock()
					order = append(order, i)
					mu.Unlock()
					time.Sleep(time.Second)
					return 0, nil
				}}, supervisor.Within(time.Minute), supervisor.Priority(priority))
				assert.NoError(t, err)
			})
			synctest.Wait()
		}
		all.Wait()
		assert.Equal(t, []int{0, 2, 4, 1, 3, 5}, order)
	}, supervisor.WithLimits(supervisor.Limits{AtOnce: 1}))
}

func TestTheBreakerOpensForExpiriesAndFailuresAndNotForCancels(t *testing.T) {
	limits := supervisor.Limits{Breaker: &supervisor.Breaker{Failures: 3, Open: 10 * time.Second}}
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		do := func(u use) error {
			_, err := supervisor.Do(t.Context(), sup, u, supervisor.Within(time.Second))
			return err
		}
		for range 10 {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Millisecond, cancel)
			_, err := supervisor.Do(ctx, sup, obedient(time.Minute), supervisor.Within(time.Second))
			require.ErrorIs(t, err, context.Canceled)
			require.Error(t, do(failing(&resources.StatusError{Status: 404})), "the other side is at work")
		}
		require.ErrorIs(t, do(failing(errWork)), errWork)
		require.ErrorIs(t, do(obedient(time.Minute)), context.DeadlineExceeded)
		require.NoError(t, do(obedient(0)), "in a row, that is")
		require.ErrorIs(t, do(failing(errWork)), errWork)
		require.ErrorIs(t, do(obedient(time.Minute)), context.DeadlineExceeded)
		require.Error(t, do(failing(&resources.StatusError{Status: 503})))
		require.ErrorIs(t, do(obedient(0)), supervisor.ErrBreakerOpen)
	}, supervisor.WithLimits(limits))
}

func TestAnOpenBreakerRefusesThenLetsOneProbeTry(t *testing.T) {
	limits := supervisor.Limits{Breaker: &supervisor.Breaker{Failures: 2, Open: 10 * time.Second}}
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var rec supervisor.Receipt
		do := func(u use) error {
			_, err := supervisor.Do(t.Context(), sup, u, supervisor.Within(time.Second), supervisor.WithReceipt(&rec))
			return err
		}
		trip := func() {
			for range 2 {
				_ = do(failing(errWork))
			}
		}
		trip()
		require.ErrorIs(t, do(obedient(0)), supervisor.ErrBreakerOpen)
		assert.Equal(t, actors.Refused, rec.Outcome)
		time.Sleep(10*time.Second + 1)
		require.ErrorIs(t, do(failing(errWork)), errWork, "the probe")
		require.ErrorIs(t, do(obedient(0)), supervisor.ErrBreakerOpen)
		time.Sleep(10*time.Second + 1)
		require.NoError(t, do(obedient(0)))
		require.NoError(t, do(obedient(0)))
	}, supervisor.WithLimits(limits))
}

func TestAProbeThatIsCancelledLeavesTheTrialToTheNext(t *testing.T) {
	limits := supervisor.Limits{Breaker: &supervisor.Breaker{Failures: 1, Open: 10 * time.Second}}
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		do := func(ctx context.Context, u use) error {
			_, err := supervisor.Do(ctx, sup, u, supervisor.Within(time.Minute))
			return err
		}
		require.ErrorIs(t, do(t.Context(), failing(errWork)), errWork)
		time.Sleep(10*time.Second + 1)
		for range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			cancelled := make(chan error)
			go func() { cancelled <- do(ctx, obedient(time.Hour)) }()
			synctest.Wait()
			require.ErrorIs(t, do(t.Context(), obedient(0)), supervisor.ErrBreakerOpen, "one probe at a time")
			cancel()
			require.ErrorIs(t, <-cancelled, context.Canceled)
		}
		require.NoError(t, do(t.Context(), obedient(0)))
		require.NoError(t, do(t.Context(), obedient(0)))
	}, supervisor.WithLimits(limits))
}

func TestThoseWhoWaitAreTurnedAwayWhenTheBreakerOpens(t *testing.T) {
	limits := supervisor.Limits{AtOnce: 1, Breaker: &supervisor.Breaker{Failures: 1}}
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var all sync.WaitGroup
		start := time.Now()
		all.Go(func() {
			_, err := supervisor.Do(t.Context(), sup, obedient(time.Hour), supervisor.Within(time.Second))
			assert.ErrorIs(t, err, context.DeadlineExceeded)
		})
		synctest.Wait()
		for range 3 {
			all.Go(func() {
				_, err := supervisor.Do(t.Context(), sup, obedient(0), supervisor.Within(time.Minute))
				assert.ErrorIs(t, err, supervisor.ErrBreakerOpen)
				assert.Equal(t, time.Second, time.Since(start))
			})
		}
		all.Wait()
	}, supervisor.WithLimits(limits))
}

func TestLimitsMayDifferByEndpoint(t *testing.T) {
	only := func(kind, endpoint string, l supervisor.Limits) supervisor.Limits {
		if endpoint == "narrow" {
			l.AtOnce = 1
		}
		return l
	}
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		start := time.Now()
		var all sync.WaitGroup
		for _, endpoint := range []string{"wide", "narrow", "wide", "narrow"} {
			all.Go(func() {
				u := obedient(time.Second)
				u.spec = resources.Spec{Kind: "test", Endpoint: endpoint}
				_, err := supervisor.Do(t.Context(), sup, u)
				assert.NoError(t, err)
				assert.LessOrEqual(t, time.Since(start), map[string]time.Duration{"wide": time.Second, "narrow": 2 * time.Second}[endpoint])
			})
		}
		all.Wait()
		assert.Equal(t, 2*time.Second, time.Since(start))
	}, supervisor.WithLimitsFor(only), supervisor.WithPolicy(timeoutpolicy.Fixed(time.Minute)))
}
