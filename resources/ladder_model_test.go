package resources_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// ladderSeed replays one run: go test ./resources -run AnyLadder -ladder.seed N.
var ladderSeed = flag.Uint64("ladder.seed", 0, "seed of the random ladders; 0 draws one")

// TestAnyLadderReportsOnceInTimeAndCallsEachPieceOnce takes random pieces down random
// ladders and holds them against what has to be true of every one.
func TestAnyLadderReportsOnceInTimeAndCallsEachPieceOnce(t *testing.T) {
	seed := *ladderSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d; replay with -ladder.seed %d", seed, seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range 400 {
		synctest.Test(t, func(t *testing.T) { newLadderModel(rng).run(t, fmt.Sprintf("ladder %d of seed %d", i, seed)) })
		if t.Failed() {
			return
		}
	}
}

// ladderModel is one release: what its pieces do, and what was seen of them.
type ladderModel struct {
	grace, force time.Duration
	aborted      bool
	runner       time.Duration // from the start until it comes back; negative: it is back
	pieces       []*modelPiece
	hooks        int // of pieces, the first

	reports atomic.Int64
}

// modelPiece counts its calls.
type modelPiece struct {
	resources.Piece
	closing, forcing modelCall
}

// modelCall is a Close or Force: how long it takes and how it ends.
type modelCall struct {
	takes time.Duration
	ends  int // of the first
	calls atomic.Int64
}

const (
	endsWell = iota
	endsGone
	endsBadly
	endsInPanic
	endsInGoexit
	waysToEnd
)

func (c *modelCall) call() error {
	first := c.calls.Add(1) == 1
	time.Sleep(c.takes)
	if !first {
		return nil // a reaper's
	}
	switch c.ends {
	case endsGone:
		return fmt.Errorf("wrapped: %w", resourcesGone)
	case endsBadly:
		return errStubborn
	case endsInPanic:
		panic(errStubborn)
	case endsInGoexit:
		runtime.Goexit()
	}
	return nil
}

// Times are few, so that everything happens at once with everything else.
func modelTime(rng *rand.Rand) time.Duration {
	return []time.Duration{0, 0, 0, 1, 1, 2, 3, 4, 10, 60}[rng.IntN(10)] * time.Second
}

func newLadderModel(rng *rand.Rand) *ladderModel {
	waits := []time.Duration{timeoutpolicy.None, 0, time.Second, time.Second, 2 * time.Second, 3 * time.Second}
	m := &ladderModel{
		grace: waits[rng.IntN(len(waits))], force: waits[rng.IntN(len(waits))],
		aborted: rng.IntN(3) > 0, runner: modelTime(rng) - time.Second,
	}
	for range rng.IntN(5) {
		p := &modelPiece{}
		p.What, p.Close = "piece", p.closing.call
		p.closing.takes, p.closing.ends = modelTime(rng), rng.IntN(waysToEnd)
		p.forcing.takes, p.forcing.ends = modelTime(rng), rng.IntN(waysToEnd)
		if rng.IntN(2) > 0 {
			p.closing.takes, p.closing.ends = 0, endsWell
		}
		if rng.IntN(2) > 0 {
			p.Force = p.forcing.call
		}
		m.pieces = append(m.pieces, p)
	}
	if len(m.pieces) > 0 {
		m.hooks = rng.IntN(len(m.pieces))
	}
	return m
}

var resourcesGone = net.ErrClosed

func (m *ladderModel) run(t *testing.T, name string) {
	var k resources.Keeper
	held := k.Begin(nil)
	for i, p := range m.pieces {
		if i < m.hooks {
			require.NoError(t, held.OnAbort(&p.Piece))
		} else {
			require.NoError(t, held.Keep(&p.Piece))
		}
	}
	if m.runner >= 0 {
		k.Out()
		time.AfterFunc(m.runner, func() { k.Back() })
	}
	k.Seal(m.aborted)
	start := time.Now()
	done := make(chan *resources.Report, 2)
	go k.ReleaseFor(&modelOwner{keeper: &k, released: func(r *resources.Report) {
		m.reports.Add(1)
		done <- r
	}}, m.grace, m.force)
	rep := <-done
	bound := max(0, m.grace) + max(0, m.force)
	assert.LessOrEqual(t, time.Since(start), bound, name)
	assert.Equal(t, time.Since(start), rep.Took, name)
	if m.runner > bound {
		assert.Contains(t, fmt.Sprint(rep.Left()), "the operation has not returned", name)
	}
	time.Sleep(time.Hour)
	m.settle(t, rep.Remains, name)
	m.check(t, rep, name)
}

// modelOwner has a timer.
type modelOwner struct {
	keeper   *resources.Keeper
	released func(*resources.Report)

	mu    sync.Mutex
	timer *time.Timer
}

func (o *modelOwner) SetAlarm(d time.Duration) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.timer == nil {
		o.timer = time.AfterFunc(d, o.keeper.TimeOver)
		return false
	}
	return o.timer.Reset(d)
}

func (o *modelOwner) StopAlarm()                   {}
func (o *modelOwner) Released(r *resources.Report) { o.released(r) }

// settle sees what remained through to its end.
func (m *ladderModel) settle(t *testing.T, remains []resources.Remains, name string) {
	for _, r := range remains {
		if r.Gone == nil {
			assert.NoError(t, r.Retry(), name)
			continue
		}
		select {
		case <-r.Gone:
		default:
			t.Errorf("%s: %v is still out", name, r.Left)
		}
		if r.Then != nil {
			m.settle(t, r.Then(), name)
		}
	}
}

// check counts.
func (m *ladderModel) check(t *testing.T, rep *resources.Report, name string) {
	assert.EqualValues(t, 1, m.reports.Load(), name)
	for i, p := range m.pieces {
		hook := i < m.hooks
		switch {
		case hook && !m.aborted:
			assert.Zero(t, p.closing.calls.Load()+p.forcing.calls.Load(), name)
		case hook:
			assert.EqualValues(t, 1, p.closing.calls.Load(), name)
		default:
			assert.GreaterOrEqual(t, p.closing.calls.Load(), int64(1), name)
			assert.LessOrEqual(t, p.closing.calls.Load(), int64(2), name) // again by Retry
		}
		assert.LessOrEqual(t, p.forcing.calls.Load(), int64(2), name)
	}
	if rep.Err == nil {
		assert.Empty(t, rep.Remains, name)
	} else {
		assert.False(t, errors.Is(rep.Err, resourcesGone), name)
	}
}
