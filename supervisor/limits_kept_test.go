package supervisor_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// limitsSeed replays one run: go test ./supervisor -run OfManyLimits -limits.seed N.
var limitsSeed = flag.Uint64("limits.seed", 0, "seed of the random limits; 0 draws one")

// TestEachOfManyLimitsIsKeptToTheNanosecond has requests of all lengths come and go on one
// endpoint, whose limits share a timer: each ends at its own time, by its work or its limit.
func TestEachOfManyLimitsIsKeptToTheNanosecond(t *testing.T) {
	seed := *limitsSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d; replay with -limits.seed %d", seed, seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	length := func() time.Duration { // in steps, so that many fall together
		return time.Duration(1+rng.IntN(50)) * []time.Duration{1, time.Microsecond, time.Millisecond, time.Second}[rng.IntN(4)]
	}
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var all sync.WaitGroup
		for range 3000 {
			time.Sleep(time.Duration(rng.IntN(3)) * 100 * time.Microsecond)
			limit, work := length(), length()
			if work == limit {
				work++
			}
			all.Go(func() {
				start := time.Now()
				_, err := supervisor.Do(t.Context(), sup, obedient(work), supervisor.Within(limit))
				assert.Equal(t, min(limit, work), time.Since(start))
				if limit < work {
					assert.ErrorIs(t, err, context.DeadlineExceeded)
				} else {
					assert.NoError(t, err)
				}
			})
		}
		all.Wait()
	}, supervisor.WithLimits(supervisor.Limits{AtOnce: -1}))
}

// TestACleanupThatBlocksHoldsUpNoOtherExpiry has a thousand limits end at the same time, on
// one endpoint, each with a clean-up that takes its time, or would for ever.
func TestACleanupThatBlocksHoldsUpNoOtherExpiry(t *testing.T) {
	const limit, grace, force = time.Second, 500 * time.Millisecond, 300 * time.Millisecond
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var all sync.WaitGroup
		for i := range 1000 {
			takes := time.Duration(i%10) * 100 * time.Millisecond
			late := min(takes, grace+force)
			all.Go(func() {
				start := time.Now()
				work := resources.Func(func(ctx context.Context) (int, error) {
					<-ctx.Done()
					return 0, nil
				}).Cleanup(func() error {
					time.Sleep(takes)
					return nil
				})
				_, err := supervisor.Do(t.Context(), sup, work, supervisor.Within(limit), supervisor.Grace(grace), supervisor.Force(force))
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, limit+late, time.Since(start), "a clean-up of %v", takes)
			})
		}
		all.Wait()
	})
}

// TestABurstOfBlockingCleanupsBeginsOnTime is the same on the real clock, beside timers of
// the Go runtime's own that block as well.
func TestABurstOfBlockingCleanupsBeginsOnTime(t *testing.T) {
	const count, limit = 2000, 200 * time.Millisecond
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(limit)))
	require.NoError(t, err)
	defer func() { assert.NoError(t, sup.Close()) }()

	let := make(chan struct{})
	var begun, ended sync.WaitGroup
	late := func(run func(hook func())) []time.Duration {
		lateness := make([]time.Duration, count)
		begun.Add(count)
		for i := range lateness {
			ended.Go(func() {
				due := time.Now().Add(limit)
				run(func() {
					lateness[i] = time.Since(due)
					begun.Done()
					<-let
				})
			})
		}
		begun.Wait()
		slices.Sort(lateness)
		return lateness
	}
	plain := late(func(hook func()) {
		done := make(chan struct{})
		time.AfterFunc(limit, func() { hook(); close(done) })
		<-done
	})
	ours := late(func(hook func()) {
		work := resources.Func(func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, nil
		}).Cleanup(func() error { hook(); return nil })
		_, err := supervisor.Do(t.Context(), sup, work, supervisor.Grace(time.Minute))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
	close(let)
	ended.Wait()
	t.Logf("the last clean-up began %v late, the last of the plain timers %v", ours[count-1], plain[count-1])
	assert.Less(t, ours[count-1], plain[count-1]+250*time.Millisecond)
}

// TestALimitThatWasNotReachedKeepsNoClosedSupervisorInMemory has an hour to run when all that
// it was for has gone.
func TestALimitThatWasNotReachedKeepsNoClosedSupervisorInMemory(t *testing.T) {
	closed := func() weak.Pointer[[1 << 20]byte] {
		mine := new([1 << 20]byte) // reachable through the supervisor alone
		sup, err := supervisor.Start(
			supervisor.WithPolicy(timeoutpolicy.Fixed(time.Hour)),
			supervisor.WithEvents(func(supervisor.Event) { mine[0]++ }))
		require.NoError(t, err)
		_, err = supervisor.Do(t.Context(), sup, resources.Func(func(context.Context) (int, error) { return 1, nil }))
		require.NoError(t, err)
		require.NoError(t, sup.Close())
		return weak.Make(mine)
	}()
	assert.Eventually(t, func() bool {
		runtime.GC()
		return closed.Value() == nil
	}, 10*time.Second, 10*time.Millisecond)
}
