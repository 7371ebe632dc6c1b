package actors_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/resources"
)

// Whoever sets an alarm has read the clock before it has the lock, which it may have to wait
// for.
func TestAnAlarmThatIsSetLateGoesOffOnTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := actors.SetAlarm(3*time.Second, time.Second)
		time.Sleep(2*time.Second - 1)
		synctest.Wait()
		assert.False(t, over())
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		assert.True(t, over())
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
