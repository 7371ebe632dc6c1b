package actors

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTheDueHeapHoldsWhatASortedListWould sets, sets anew and removes alarms at random.
func TestTheDueHeapHoldsWhatASortedListWould(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	for range 20 {
		var h dueHeap
		set := map[*request]time.Duration{}
		all := make([]*request, 1+rng.IntN(100))
		for i := range all {
			all[i] = &request{}
		}
		for range 300 {
			r := all[rng.IntN(len(all))]
			if rng.IntN(3) == 0 {
				h.remove(r)
				delete(set, r)
			} else {
				at := time.Duration(rng.IntN(50))
				h.set(r, at)
				set[r] = at
			}
			checkDueHeap(t, h, set)
		}
		var taken []time.Duration
		for len(h) > 0 {
			taken = append(taken, h[0].at)
			h.remove(h[0].request)
		}
		require.True(t, slices.IsSorted(taken), taken)
		require.Len(t, taken, len(set))
	}
}

func checkDueHeap(t *testing.T, h dueHeap, set map[*request]time.Duration) {
	t.Helper()
	require.Len(t, h, len(set))
	for i, a := range h {
		require.Equal(t, set[a.request], a.at)
		require.EqualValues(t, i+1, a.request.alarm.place)
		require.LessOrEqual(t, h[0].at, a.at)
	}
}

// TestTheDueHeapGivesItsRoomBack is for a burst of a million that is over.
func TestTheDueHeapGivesItsRoomBack(t *testing.T) {
	var h dueHeap
	all := make([]*request, dueKept*2)
	for i := range all {
		all[i] = &request{}
		h.set(all[i], time.Duration(i))
	}
	for _, r := range all {
		h.remove(r)
		require.Zero(t, r.alarm.place)
	}
	require.Nil(t, h)
}
