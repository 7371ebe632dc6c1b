package supervisor_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/supervisor"
)

// puppet is a service that ends when it is told, and takes its time to stop.
type puppet struct {
	slow time.Duration // to stop
	end  chan error    // what Serve returns of itself

	mu     sync.Mutex
	starts int
}

func newPuppet(slow time.Duration) *puppet { return &puppet{slow: slow, end: make(chan error)} }

// Serve implements supervisor.Service.
func (p *puppet) Serve(ctx context.Context) error {
	p.mu.Lock()
	p.starts++
	p.mu.Unlock()
	select {
	case err := <-p.end:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-p.end: // on its own, while it is being stopped
		return err
	case <-time.After(p.slow):
		return ctx.Err()
	}
}

func (p *puppet) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.starts
}

// troupe is a one-for-all tree of three puppets, of which the last takes a second to stop.
// A restart waits for 10 s.
func troupe(t *testing.T, sup *supervisor.Supervisor) (g *supervisor.Grown, a, b, c *puppet) {
	t.Helper()
	a, b, c = newPuppet(0), newPuppet(0), newPuppet(time.Second)
	g = grow(t, sup, supervisor.Tree{
		Name: "top", Strategy: supervisor.OneForAll, Backoff: supervisor.Backoff{First: 10 * time.Second, Jitter: -1},
		Children: []supervisor.Child{{Name: "a", Service: a}, {Name: "b", Service: b}, {Name: "c", Service: c}},
	})
	synctest.Wait()
	return g, a, b, c
}

func TestACrashAmongThoseThatAreBeingRestartedIsNotCounted(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		g, a, b, c := troupe(t, sup)
		a.end <- errWork
		synctest.Wait() // c is asked, and b would be next
		b.end <- errWork
		c.end <- errWork
		time.Sleep(11 * time.Second)
		for i, p := range []*puppet{a, b, c} {
			assert.Equal(t, 2, p.count(), g.View().Children[i].Name)
		}
		v := g.View().Children
		assert.Equal(t, []int{1, 0, 0}, []int{v[0].Restarts, v[1].Restarts, v[2].Restarts})
		require.NoError(t, g.Stop(0))
	})
}

func TestAStopDuringABackoffIsAtOnceAndStartsNobody(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		g, a, b, c := troupe(t, sup)
		a.end <- errWork
		time.Sleep(2 * time.Second)
		start := time.Now()
		require.NoError(t, g.Stop(0))
		assert.Zero(t, time.Since(start))
		time.Sleep(time.Minute)
		assert.Equal(t, []int{1, 1, 1}, []int{a.count(), b.count(), c.count()})
	})
}

func TestChangesDuringABackoff(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		g, a, b, _ := troupe(t, sup)
		a.end <- errWork
		time.Sleep(2 * time.Second)
		start := time.Now()
		require.NoError(t, g.StopChild("b"))
		require.NoError(t, g.Remove("c"))
		c := newPuppet(0)
		require.NoError(t, g.Start(supervisor.Child{Name: "c", Service: c}))
		assert.Zero(t, time.Since(start), "nobody waits for the back-off")
		synctest.Wait()
		assert.Zero(t, c.count(), "it is started with the others")
		time.Sleep(8*time.Second + 1)
		assert.Equal(t, []int{2, 1, 1}, []int{a.count(), b.count(), c.count()})
		assert.Equal(t, "stopped", g.View().Children[1].State, "what was stopped on purpose")
		require.NoError(t, g.Stop(0))
	})
}

func TestNothingIsAddedToATreeThatIsStopping(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		g, a, b, _ := troupe(t, sup)
		stopped := make(chan error)
		go func() { stopped <- g.Stop(0) }()
		synctest.Wait()
		late := newPuppet(0)
		for _, err := range []error{g.Start(supervisor.Child{Name: "d", Service: late}), g.Restart("a"), g.StopChild("b"), g.Remove("c")} {
			assert.ErrorIs(t, err, supervisor.ErrTreeStopped)
		}
		a.end <- errWork // a crash is no reason to restart it
		require.NoError(t, <-stopped)
		assert.ErrorIs(t, g.Start(supervisor.Child{Name: "d", Service: late}), supervisor.ErrTreeStopped)
		time.Sleep(time.Minute)
		assert.Equal(t, []int{1, 1, 0}, []int{a.count(), b.count(), late.count()})
	})
}

func TestARestartThatComesToNothingBecauseTheTreeStopsSaysSo(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		g, _, _, c := troupe(t, sup)
		asked := make(chan error)
		go func() { asked <- g.Restart("c") }() // takes a second to stop
		synctest.Wait()
		stopped := make(chan error)
		go func() { stopped <- g.Stop(0) }()
		assert.ErrorIs(t, <-asked, supervisor.ErrTreeStopped)
		require.NoError(t, <-stopped)
		assert.Equal(t, 1, c.count())
	})
}
