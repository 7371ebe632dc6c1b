package supervisor_test

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/supervisor"
)

// TestWhatCallersDoNextHoldsUpNoCleanup has a hundred limits end at once, whose callers then keep
// the processors for what would be seconds. Expiries follow on one another, each when the one
// before it has been answered; that must not let the last wait for all those callers.
func TestWhatCallersDoNextHoldsUpNoCleanup(t *testing.T) {
	const count, limit = 100, 50 * time.Millisecond
	busy := 20 * time.Millisecond * time.Duration(runtime.GOMAXPROCS(0))
	sup, err := supervisor.Start()
	require.NoError(t, err)
	defer func() { _ = sup.Close() }()

	closed, timers := make([]time.Duration, count), make([]time.Duration, count)
	var over atomic.Bool
	var all sync.WaitGroup
	all.Add(2 * count)
	start := make(chan struct{})
	for i := range count {
		go func() {
			<-start
			due := time.Now().Add(limit)
			time.AfterFunc(limit, func() { timers[i] = time.Since(due); all.Done() })
			thing := make(chan struct{})
			work := resources.Func(func(context.Context) (int, error) { <-thing; return 0, nil }).Cleanup(func() error {
				closed[i] = time.Since(due)
				all.Done()
				close(thing)
				return nil
			})
			_, err := supervisor.Do(t.Context(), sup, work, supervisor.Within(limit))
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			for end := time.Now().Add(busy); time.Now().Before(end) && !over.Load(); {
			}
		}()
	}
	close(start)
	all.Wait()
	over.Store(true)
	late, plain := slices.Max(closed), slices.Max(timers)
	t.Logf("the last of %d was closed %v late, the latest plain timer was %v late", count, late, plain)
	assert.Less(t, late, 400*time.Millisecond+4*plain, "to wait for all the callers takes %v", count*busy/time.Duration(runtime.GOMAXPROCS(0)))
}
