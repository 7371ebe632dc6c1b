package actors_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// Whoever sets an alarm has read the clock before it has the lock, which it may have to wait
// for.
func TestAnAlarmThatIsSetLateGoesOffOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := actors.NewHeldUp()
		time.Sleep(time.Second)
		over, _ := h.Set(false, 3*time.Second)
		time.Sleep(2*time.Second - 1)
		synctest.Wait()
		assert.Equal(t, []time.Duration{0}, over())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		assert.Equal(t, []time.Duration{3 * time.Second}, over())
	})
}

// TestWhatIsDueIsTakenByTheTimerWhereNobodyElseDoes has no follower, and of those that are ended
// none leaves: the timer takes one after another, no sooner after the last than the pause.
func TestWhatIsDueIsTakenByTheTimerWhereNobodyElseDoes(t *testing.T) {
	const us = time.Microsecond
	for name, limits := range map[string][]time.Duration{
		"due together":          {time.Second, time.Second, time.Second},
		"due during the pause":  {time.Second, time.Second + 10*us, time.Second + 10*us},
		"due one after another": {time.Second, time.Second + 20*us, time.Second + 70*us},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ended, _ := actors.NewHeldUp().Set(false, limits...)
				time.Sleep(time.Minute)
				assert.ElementsMatch(t, []time.Duration{time.Second, time.Second + 50*us, time.Second + 100*us}, ended())
			})
		})
	}
}

func TestARequestThatLeavesHasTheNextOneEndedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended, _ := actors.NewHeldUp().Set(true, time.Second, time.Second, time.Second)
		time.Sleep(time.Minute)
		assert.Equal(t, []time.Duration{time.Second, time.Second, time.Second}, ended())
	})
}

// TestARequestThatIsTurnedAwayWhenItsAlarmWasTakenCarriesOnNoLonger has the breaker be quicker
// than the limit that has taken the alarm. It does not leave by its limit then.
func TestARequestThatIsTurnedAwayWhenItsAlarmWasTakenCarriesOnNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := actors.NewHeldUp()
		time.Sleep(time.Second)
		h.SetUnheard(time.Second)
		h.Refuse()
		assert.Zero(t, h.Chains())
	})
}

func TestARequestWhoseAlarmIsTakenTwiceCarriesOnOneChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := actors.NewHeldUp()
		_, leave := h.Set(false, time.Second, time.Second)
		time.Sleep(time.Second)
		synctest.Wait() // the timer has taken one
		h.CarryOn()
		h.Again()
		h.CarryOn()
		assert.Equal(t, 2, h.Chains())
		leave(0)
		leave(1)
		assert.Zero(t, h.Chains())
	})
}

// TestAChainThatWasHeldUpIsNotCarriedOnBesideTheNext has the first of two, of which the timer
// has begun one after the other, go on when it is late for that.
func TestAChainThatWasHeldUpIsNotCarriedOnBesideTheNext(t *testing.T) {
	const us = time.Microsecond
	synctest.Test(t, func(t *testing.T) {
		ended, leave := actors.NewHeldUp().Set(false, time.Second, time.Second+1, time.Second+2, time.Second+3)
		time.Sleep(time.Second + 60*us)
		leave(0)
		leave(1)
		leave(1)
		time.Sleep(time.Minute)
		assert.Equal(t, []time.Duration{time.Second, time.Second + 50*us, time.Second + 60*us, time.Second + 110*us}, ended())
	})
}

// TestWhatIsVeryLateIsEndedAllAtOnce has alarms set when they have long been due.
func TestWhatIsVeryLateIsEndedAllAtOnce(t *testing.T) {
	const ms, us = time.Millisecond, time.Microsecond
	synctest.Test(t, func(t *testing.T) {
		h := actors.NewHeldUp()
		time.Sleep(11 * ms)
		ended, leave := h.Set(false, 0, ms/2, ms, 2*ms)
		synctest.Wait()
		leave(2) // it carries on nothing: the first does
		time.Sleep(time.Minute)
		assert.Equal(t, []time.Duration{11 * ms, 11 * ms, 11 * ms, 11*ms + 50*us}, ended(), "the last is late by 9 ms")
	})
}

// TestTheFollowerWaitsWhileEachProcessorHasAChainThatGoesOn gives it its turns by hand.
func TestTheFollowerWaitsWhileEachProcessorHasAChainThatGoesOn(t *testing.T) {
	procs := runtime.GOMAXPROCS(0)
	for _, more := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			h := actors.NewHeldUp()
			turn := func(waits bool, chains int) {
				gotWaits, gotChains := h.Follow()
				assert.Equal(t, waits, gotWaits)
				assert.Equal(t, chains, gotChains)
			}
			h.Set(false, slices.Repeat([]time.Duration{time.Second}, procs+more)...)
			time.Sleep(time.Second)
			synctest.Wait() // the timer has taken one
			for chains := 1; chains < procs; chains++ {
				turn(false, chains) // a processor has none
				h.CarryOn()
			}
			if more == 0 {
				turn(false, procs) // nothing is due
				return
			}
			turn(true, procs)
			turn(false, 0) // none has gone on: they are given up
			time.Sleep(time.Minute)
		})
	}
}

// TestThoseWhoCarryOnAreCountedOutAgain has many end together and one after another, in the
// queue and at work, by their limit, then their grace, some held up by a clean-up that blocks.
// Counted too often they would stand for processors that nobody uses.
func TestThoseWhoCarryOnAreCountedOutAgain(t *testing.T) {
	inSystem(t, func(t *testing.T, system *actor.ActorSystem) {
		rt, err := actors.Start(system.Root, actors.Config{Limits: actors.Limits{AtOnce: 200, Waiting: 1000, Leftovers: 1000}})
		require.NoError(t, err)
		for round := range 10 {
			var all sync.WaitGroup
			for i := range 300 {
				all.Go(func() {
					_, _ = rt.Do(t.Context(), resources.Of(endsBadly{}), actors.Options{
						Within: time.Second / 2, Grace: []time.Duration{timeoutpolicy.None, time.Second / 2, time.Minute}[(i+round)%3],
					})
				})
			}
			all.Wait()
			synctest.Wait()
			require.Zero(t, rt.CarryingOn())
		}
		require.NoError(t, rt.Close(0))
	})
}

func TestAnAlarmBehindOthersThatAreDueLeavesTheTimerItsPause(t *testing.T) {
	const us = time.Microsecond
	synctest.Test(t, func(t *testing.T) {
		h := actors.NewHeldUp()
		h.Set(false, time.Second, time.Second)
		time.Sleep(time.Second + 10*us)
		h.Set(false, time.Second+5*us)
		assert.Equal(t, time.Second+50*us, h.Timer())
		time.Sleep(time.Minute)
	})
}

// A request whose alarm stayed would be in memory until its limit is over.
func TestARequestThatHasEndedHasNoAlarm(t *testing.T) {
	inSystem(t, func(t *testing.T, system *actor.ActorSystem) {
		rt, err := actors.Start(system.Root, actors.Config{Limits: actors.Limits{
			AtOnce: 1, Waiting: 1, Breaker: &actors.Breaker{Failures: 1},
		}})
		require.NoError(t, err)
		var all sync.WaitGroup
		do := func(ctx context.Context, want error) {
			all.Go(func() {
				_, err := rt.Do(ctx, resources.Of(endsBadly{}), actors.Options{Within: time.Hour})
				assert.ErrorIs(t, err, want)
			})
			synctest.Wait()
		}
		cancelled, cancel := context.WithCancel(t.Context())
		do(t.Context(), errBadly)
		do(cancelled, context.Canceled)
		assert.Equal(t, 2, rt.Alarms(), "one at work, one that waits")
		do(t.Context(), actors.ErrOverloaded)
		assert.Equal(t, 2, rt.Alarms(), "one was refused, as the queue is full")
		cancel()
		synctest.Wait()
		assert.Equal(t, 1, rt.Alarms(), "the one that waited was cancelled")
		do(t.Context(), actors.ErrBreakerOpen)
		assert.Equal(t, 2, rt.Alarms(), "another one waits")
		all.Wait()
		assert.Zero(t, rt.Alarms(), "one has failed, and the breaker has turned the other away")
		require.NoError(t, rt.Close(0))
	})
}

// TestAnAlarmThatComesAfterTheAnswerFindsItsRelease has the alarm of a release taken as its only
// Close returns: its call comes when the caller has the answer and another release is under way.
func TestAnAlarmThatComesAfterTheAnswerFindsItsRelease(t *testing.T) {
	inSystem(t, func(t *testing.T, system *actor.ActorSystem) {
		rt, err := actors.Start(system.Root, actors.Config{})
		require.NoError(t, err)
		do := func(closes func()) {
			_, err := rt.Do(t.Context(), resources.Of(holds{closes}), actors.Options{Within: time.Hour})
			assert.NoError(t, err)
		}
		var timeOver func()
		do(func() { timeOver = rt.TakeAlarms() })
		do(func() { timeOver() })
		require.NoError(t, rt.Close(0))
	})
}

// holds succeeds, and what it holds goes with closes.
type holds struct{ closes func() }

// Spec implements resources.Resource.
func (holds) Spec() (resources.Spec, error) { return endsBadly{}.Spec() }

// Run implements resources.Resource.
func (h holds) Run(_ context.Context, held *resources.Held) (int, error) {
	return 1, held.Keep(&resources.Piece{What: "piece", Close: func() error { h.closes(); return nil }})
}

var errBadly = errors.New("badly")

// endsBadly fails after a second, and what it holds then takes another to go.
type endsBadly struct{}

// Spec implements resources.Resource.
func (endsBadly) Spec() (resources.Spec, error) {
	return resources.Spec{Kind: "test", Target: "target", Endpoint: "endpoint"}, nil
}

// Run implements resources.Resource.
func (endsBadly) Run(_ context.Context, held *resources.Held) (int, error) {
	_ = held.Keep(&resources.Piece{What: "piece", Close: func() error { time.Sleep(time.Second); return nil }})
	time.Sleep(time.Second)
	return 0, errBadly
}
