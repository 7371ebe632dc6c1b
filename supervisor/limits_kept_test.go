package supervisor_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// limitsSeed replays one run: go test ./supervisor -run NAME -limits.seed N.
var limitsSeed = flag.Uint64("limits.seed", 0, "seed of the random limits; 0 draws one")

// randomLimits is what a test draws its limits from.
func randomLimits(t *testing.T) *rand.Rand {
	t.Helper()
	seed := cmp.Or(*limitsSeed, rand.Uint64())
	t.Logf("seed %d; replay with -limits.seed %d", seed, seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// TestEachOfManyLimitsIsKeptToTheNanosecond has requests of all lengths come and go on one
// endpoint, whose limits share a timer: each ends at its own time, by its work or its limit.
func TestEachOfManyLimitsIsKeptToTheNanosecond(t *testing.T) {
	rng := randomLimits(t)
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

// TestAReleaseGoesAsOneWithATimerOfItsOwn has many requests end on one endpoint, whose releases
// share its timer with the limits: each takes as long, and says the same, as resources' own
// Release of the same pieces, which has a timer to itself.
func TestAReleaseGoesAsOneWithATimerOfItsOwn(t *testing.T) {
	rng := randomLimits(t)
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var all sync.WaitGroup
		for range 400 {
			e := newEnding(rng)
			all.Go(func() { e.run(t, sup) })
			time.Sleep(time.Duration(rng.IntN(3)) * 10 * time.Millisecond)
		}
		all.Wait()
	}, supervisor.WithLimits(supervisor.Limits{AtOnce: -1, Leftovers: 1 << 20}))
}

// ending is a request with what it holds when it ends.
type ending struct {
	limit, grace, force time.Duration
	returns             bool          // before its limit, with success
	late                time.Duration // how long its goroutine takes to come back, if not
	pieces              []resources.Piece
	hooks               int // of pieces, the first
}

// newEnding draws limits that fall together, and other times that do not.
func newEnding(rng *rand.Rand) *ending {
	steps := func(n int) time.Duration { return time.Duration(rng.IntN(n)) * 500 * time.Millisecond }
	takes := func() time.Duration { return 1 + time.Duration(rng.Int64N(int64(2*time.Second))) }
	call := func() func() error {
		takes, ends := takes(), rng.IntN(8)
		return func() error {
			time.Sleep(takes)
			switch ends {
			case 0:
				runtime.Goexit()
			case 1:
				panic(errWork)
			case 2, 3:
				return errWork
			}
			return nil
		}
	}
	e := &ending{
		limit: time.Second + steps(4), returns: rng.IntN(3) == 0, late: takes(),
		grace: cmp.Or(steps(4), timeoutpolicy.None), force: cmp.Or(steps(4), timeoutpolicy.None),
	}
	for i := range rng.IntN(4) {
		p := resources.Piece{What: fmt.Sprint("piece ", i), Close: call()}
		if rng.IntN(2) == 0 {
			p.Force = call()
		}
		e.pieces = append(e.pieces, p)
		e.hooks = rng.IntN(len(e.pieces))
	}
	return e
}

// hold registers the pieces.
func (e *ending) hold(held *resources.Held) {
	for i, p := range e.pieces {
		if i < e.hooks {
			_ = held.OnAbort(&p)
		} else {
			_ = held.Keep(&p)
		}
	}
}

// alone is what Release says.
func (e *ending) alone() *resources.Report {
	var k resources.Keeper
	e.hold(k.Begin(nil))
	if !e.returns {
		k.Out()
		time.AfterFunc(e.late, func() { k.Back() })
	}
	k.Seal(!e.returns)
	return k.Release(e.grace, e.force)
}

func (e *ending) run(t *testing.T, sup *supervisor.Supervisor) {
	want := e.alone()
	start, ends := time.Now(), e.limit
	if e.returns {
		ends = e.limit / 2
	}
	var got supervisor.Receipt
	_, _ = supervisor.Do(t.Context(), sup, use{run: func(ctx context.Context, held *resources.Held) (int, error) {
		e.hold(held)
		if e.returns {
			time.Sleep(ends)
			return 1, nil
		}
		<-ctx.Done()
		time.Sleep(e.late)
		return 2, nil
	}}, supervisor.Within(e.limit), supervisor.Grace(e.grace), supervisor.Force(e.force), supervisor.WithReceipt(&got))
	assert.Equal(t, ends+want.Took, time.Since(start), "%+v", e)
	assert.Equal(t, want.Left(), got.Leftover, "%+v", e)
	assert.Equal(t, fmt.Sprint(want.Released), fmt.Sprint(got.Cleanup.Released), "%+v", e)
}

// TestACloseThatFailsAsTheGraceEndsLeavesForceItsTime has the alarm go off at the instant at
// which it is set anew.
func TestACloseThatFailsAsTheGraceEndsLeavesForceItsTime(t *testing.T) {
	const grace, force = time.Second, time.Second
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var all sync.WaitGroup
		for range 2000 {
			all.Go(func() {
				start := time.Now()
				_, err := supervisor.Do(t.Context(), sup, use{run: func(ctx context.Context, held *resources.Held) (int, error) {
					_ = held.Keep(&resources.Piece{What: "piece",
						Close: func() error { time.Sleep(grace); return errWork },
						Force: func() error { time.Sleep(force / 2); return nil }})
					return 1, nil
				}}, supervisor.Within(time.Minute), supervisor.Grace(grace), supervisor.Force(force))
				assert.NoError(t, err)
				assert.Equal(t, grace+force/2, time.Since(start))
			})
		}
		all.Wait()
	}, supervisor.WithLimits(supervisor.Limits{AtOnce: -1}))
}

// TestAContextThatDoesNotEndHoldsUpNoOtherExpiry has requests whose expiry waits a millisecond
// for their callers' contexts to say why they ended, which they never do.
func TestAContextThatDoesNotEndHoldsUpNoOtherExpiry(t *testing.T) {
	const limit = time.Second
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var all sync.WaitGroup
		untilEnd := use{run: func(ctx context.Context, _ *resources.Held) (int, error) { <-ctx.Done(); return 1, nil }}
		expires := func(ctx context.Context, limit, late time.Duration) {
			all.Go(func() {
				start := time.Now()
				_, err := supervisor.Do(ctx, sup, untilEnd, supervisor.Within(limit))
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, limit+late, time.Since(start))
			})
		}
		for count := range 4 {
			for range count {
				endless := foreign{t.Context(), time.Now().Add(limit), make(chan struct{}), func() error { return nil }}
				expires(endless, limit, time.Millisecond)
			}
			expires(t.Context(), limit+time.Millisecond/2, 0)
			all.Wait()
		}
	})
}

// TestALimitBeyondAllDurationsIsNotOverWithTheNext begins when its endpoint has been there for
// a while: the sum is out of range.
func TestALimitBeyondAllDurationsIsNotOverWithTheNext(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		do := func(work, limit time.Duration) error {
			_, err := supervisor.Do(t.Context(), sup, obedient(work), supervisor.Within(limit))
			return err
		}
		assert.NoError(t, do(time.Second, time.Minute))
		var all sync.WaitGroup
		all.Go(func() { assert.NoError(t, do(time.Minute, timeoutpolicy.Unlimited-1)) })
		synctest.Wait()
		start := time.Now()
		assert.ErrorIs(t, do(time.Hour, time.Second), context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))
		all.Wait()
	})
}

// TestABurstOfBlockingCleanupsBeginsOnTime has clean-ups that block on the real clock, beside
// timers of the Go runtime's own that block as well.
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

// TestALimitThatWasNotReachedKeepsNoRequestInMemory has an open supervisor, whose endpoint
// has the longest limit of all set still.
func TestALimitThatWasNotReachedKeepsNoRequestInMemory(t *testing.T) {
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(time.Hour)))
	require.NoError(t, err)
	defer func() { assert.NoError(t, sup.Close()) }()
	var ended []weak.Pointer[[1 << 20]byte]
	for range 10 {
		mine := new([1 << 20]byte)
		_, err := supervisor.Do(t.Context(), sup, use{run: func(_ context.Context, held *resources.Held) (int, error) {
			return 1, held.Keep(&resources.Piece{What: "piece", Close: func() error { mine[0]++; return nil }})
		}})
		require.NoError(t, err)
		ended = append(ended, weak.Make(mine))
	}
	assert.Eventually(t, func() bool {
		runtime.GC()
		return !slices.ContainsFunc(ended, func(p weak.Pointer[[1 << 20]byte]) bool { return p.Value() != nil })
	}, 10*time.Second, 10*time.Millisecond)
}
