package supervisor_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
)

// requestPID finds the one request actor that there is.
func requestPID(t *testing.T, system *actor.ActorSystem) *actor.PID {
	t.Helper()
	for _, id := range registered(system) {
		if strings.Contains(id, "/gate/") {
			return actor.NewPID(system.Address(), id)
		}
	}
	require.Fail(t, "there is no request", registered(system))
	return nil
}

// A request's actor has a PID like any other, and whoever finds it may stop it: before its
// release, during it and after it.
func TestARequestWhoseActorOthersStopIsReleasedFirstAndAnsweredOnce(t *testing.T) {
	const second = time.Second
	stops := map[string]func(*actor.RootContext, *actor.PID){
		"Stop": (*actor.RootContext).Stop, "Poison": (*actor.RootContext).Poison,
	}
	for name, c := range map[string]struct {
		closing time.Duration // how long the piece takes to close; negative: there is none
		deaf    bool
		limit   time.Duration
		stops   []time.Duration
		options []supervisor.Option

		outcome actors.Outcome
		took    time.Duration
		left    int
	}{
		"at work, holding nothing":          {closing: -1, limit: 9 * second, stops: []time.Duration{second}, outcome: actors.Cancelled, took: second},
		"at work":                           {closing: second, limit: 9 * second, stops: []time.Duration{second}, outcome: actors.Cancelled, took: 2 * second},
		"at work, and again":                {closing: second, limit: 9 * second, stops: []time.Duration{second, 1, second / 2}, outcome: actors.Cancelled, took: 2 * second},
		"at work that does not come back":   {closing: 0, deaf: true, limit: 9 * second, stops: []time.Duration{second}, outcome: actors.Cancelled, took: 4 * second, left: 1},
		"during the release":                {closing: second, limit: second, stops: []time.Duration{3 * second / 2}, outcome: actors.Expired, took: 2 * second},
		"during the wait after force":       {closing: time.Minute, limit: second, stops: []time.Duration{7 * second / 2}, outcome: actors.Expired, took: 4 * second, left: 1},
		"during the release, answered":      {closing: second, limit: second, stops: []time.Duration{3 * second / 2}, options: []supervisor.Option{supervisor.AnswerAtDeadline()}, outcome: actors.Expired, took: second},
		"at the instant of the expiry":      {closing: second, limit: second, stops: []time.Duration{second}, took: 2 * second},
		"at work, the limit in the release": {closing: second, limit: 3 * second / 2, stops: []time.Duration{second}, outcome: actors.Cancelled, took: 2 * second},
	} {
		for verb, stop := range stops {
			t.Run(verb+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					system := actors.NewSystem(nil)
					defer system.Shutdown()
					sup, err := supervisor.Start(supervisor.Under(system.Root))
					require.NoError(t, err)
					var closes, hooks, answers atomic.Int64
					work := one("e", func(ctx context.Context, held *resources.Held) (int, error) {
						_ = held.OnAbort(&resources.Piece{What: "hook", Close: func() error { hooks.Add(1); return nil }})
						if c.closing >= 0 {
							_ = held.Keep(&resources.Piece{What: "piece", Close: func() error {
								closes.Add(1)
								time.Sleep(c.closing)
								return nil
							}})
						}
						if c.deaf {
							time.Sleep(time.Minute)
						}
						<-ctx.Done()
						return 0, ctx.Err()
					})
					var rec supervisor.Receipt
					go func() {
						start := time.Now()
						_, err := supervisor.Do(context.Background(), sup, work, append(c.options, supervisor.Within(c.limit),
							supervisor.Grace(2*second), supervisor.Force(second), supervisor.WithReceipt(&rec))...)
						answers.Add(1)
						assert.Error(t, err)
						assert.Equal(t, c.took, time.Since(start))
					}()
					synctest.Wait()
					pid := requestPID(t, system)
					for _, after := range c.stops {
						time.Sleep(after)
						stop(system.Root, pid)
					}
					time.Sleep(time.Hour)
					stop(system.Root, pid) // nobody is there
					assert.EqualValues(t, 1, answers.Load())
					assert.EqualValues(t, 1, hooks.Load())
					assert.EqualValues(t, min(1, c.closing+1), closes.Load())
					if c.outcome != actors.Undecided { // else either may be
						assert.Equal(t, c.outcome, rec.Outcome)
					}
					assert.Len(t, rec.Leftover, c.left)
					assert.Empty(t, sup.Leftovers(), "an hour later")
					assert.NoError(t, sup.Close())
					time.Sleep(time.Second)
				})
			})
		}
	}
}
