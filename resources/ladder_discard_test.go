package resources_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
)

// laterRounds is how often a test tries what depends on a release that gets what another took:
// a sync.Pool promises nothing.
const laterRounds = 20

// sealed makes a keeper of pieces whose use has been aborted.
func sealed(pieces ...*resources.Piece) *resources.Keeper {
	k := &resources.Keeper{}
	held := k.Begin(nil)
	for _, p := range pieces {
		_ = held.Keep(p)
	}
	k.Seal(true)
	return k
}

// TestAReleaseThatIsDiscardedAtOnceClosesNothingOfTheNext discards a release on the goroutine
// that has closed its last piece, and has not left it yet. What begins then would have two
// goroutines, which close two pieces at the same time.
func TestAReleaseThatIsDiscardedAtOnceClosesNothingOfTheNext(t *testing.T) {
	for range laterRounds {
		synctest.Test(t, func(t *testing.T) {
			k := sealed(&resources.Piece{})
			next := sealed(&resources.Piece{Close: sleeper(time.Second, nil)}, &resources.Piece{Close: sleeper(time.Second, nil)})
			reports := make(chan *resources.Report, 1)
			owner := &modelOwner{keeper: k}
			owner.released = func(*resources.Report) {
				require.True(t, owner.timer.Stop())
				k.Discard()
				go func() { reports <- next.Release(time.Minute, time.Minute) }()
				synctest.Wait()
			}
			k.ReleaseFor(owner, time.Minute, time.Minute)
			assert.Equal(t, 2*time.Second, (<-reports).Took, "one after the other")
		})
	}
}

// released releases what k keeps, and returns what there is to say until it is discarded.
func released(t *testing.T, k *resources.Keeper) (said *resources.Report) {
	owner := &modelOwner{keeper: k, released: func(r *resources.Report) { said = r }}
	k.ReleaseFor(owner, time.Minute, time.Minute)
	require.True(t, owner.timer.Stop())
	return said
}

func TestADiscardedReleaseHasNoPartInTheNext(t *testing.T) {
	for range laterRounds {
		first, next := &resources.Keeper{}, sealed(&resources.Piece{What: "piece"})
		require.NoError(t, first.Begin(nil).OnAbort(&resources.Piece{What: "hook", Close: sleeper(0, errStubborn)}))
		first.Seal(true)
		require.ErrorIs(t, released(t, first).Err, errStubborn)
		first.Discard()

		said := released(t, next)
		assert.NoError(t, said.Err, "that of the one before")
		first.Discard() // again: it has nothing any more
		if assert.Len(t, said.Released, 1) {
			assert.Equal(t, "piece", said.Released[0].What)
		}
	}
}

// TestADiscardedReleaseIsUsedAgain needs a pool that keeps what it has, which the race detector's
// does not.
func TestADiscardedReleaseIsUsedAgain(t *testing.T) {
	if raceEnabled {
		t.Skip("a sync.Pool loses some on purpose")
	}
	cost := func(discard func(*resources.Keeper)) float64 {
		piece := &resources.Piece{}
		return testing.AllocsPerRun(100, func() {
			k := sealed(piece)
			owner := &modelOwner{keeper: k, released: func(*resources.Report) {}}
			k.ReleaseFor(owner, time.Minute, time.Minute)
			owner.timer.Stop()
			discard(k)
		})
	}
	assert.Equal(t, cost(func(*resources.Keeper) {})-1, cost((*resources.Keeper).Discard))
}
