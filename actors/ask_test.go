package actors_test

import (
	"context"
	"errors"
	"sync/atomic"
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

// inSystem runs f with an actor system in fake time.
func inSystem(t *testing.T, f func(t *testing.T, system *actor.ActorSystem)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t, actors.NewSystem(nil))
		time.Sleep(time.Minute) // dead letters and what sleeps let go
	})
}

// spawn starts a budgeted actor that is one function.
func spawn(system *actor.ActorSystem, f actor.ReceiveFunc) *actor.PID {
	return system.Root.Spawn(actor.PropsFromProducer(actors.Budgeted(func() actor.Actor { return f })))
}

// asker starts an actor that does do on the message "go".
func asker(system *actor.ActorSystem, do func(actor.Context)) *actor.PID {
	pid := spawn(system, func(c actor.Context) {
		if c.Message() == "go" {
			do(c)
		}
	})
	system.Root.Send(pid, "go")
	return pid
}

func TestAskCallsBackOnTheAskersTurnAndDoesNotBlockIt(t *testing.T) {
	inSystem(t, func(t *testing.T, system *actor.ActorSystem) {
		slow := spawn(system, func(c actor.Context) {
			if n, ok := c.Message().(int); ok {
				time.Sleep(time.Second)
				c.Respond(n * 2)
			}
		})
		got := make(chan any, 3)
		pid := spawn(system, func(c actor.Context) {
			switch msg := c.Message().(type) {
			case int:
				actors.Ask(c, slow, msg, time.Minute, func(n int, err error) { got <- n; got <- err })
			case string:
				got <- msg
			}
		})
		system.Root.Send(pid, 21)
		system.Root.Send(pid, "meanwhile")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		assert.Equal(t, []any{"meanwhile", 42, nil}, []any{<-got, <-got, <-got})
	})
}

func TestAskEndsExactlyOnceOnEveryPath(t *testing.T) {
	for name, c := range map[string]struct {
		target func(actor.Context)
		within time.Duration
		took   time.Duration
		err    error
	}{
		"no reply":   {func(actor.Context) {}, time.Second, time.Second, actors.ErrNoReply},
		"no limit":   {func(actor.Context) {}, 0, 0, timeoutpolicy.ErrNoLimit},
		"negative":   {func(actor.Context) {}, -1, 0, timeoutpolicy.ErrTooLate},
		"stops":      {func(c actor.Context) { c.Stop(c.Self()) }, time.Second, 0, actors.ErrGone},
		"twice":      {func(c actor.Context) { c.Respond(1); c.Respond(2) }, time.Second, 0, nil},
		"wrong type": {func(c actor.Context) { c.Respond("text") }, time.Second, 0, nil},
		"an error":   {func(c actor.Context) { c.Respond(&actors.Response{Err: errPlain}) }, time.Second, 0, errPlain},
	} {
		t.Run(name, func(t *testing.T) {
			inSystem(t, func(t *testing.T, system *actor.ActorSystem) {
				target := spawn(system, func(ctx actor.Context) {
					if ctx.Message() == "ask" {
						c.target(ctx)
					}
				})
				var calls atomic.Int32
				start := time.Now()
				asker(system, func(ctx actor.Context) {
					actors.Ask(ctx, target, "ask", c.within, func(n int, err error) {
						calls.Add(1)
						assert.Equal(t, c.took, time.Since(start))
						switch {
						case c.err != nil:
							assert.ErrorIs(t, err, c.err)
						case name == "wrong type":
							assert.ErrorContains(t, err, "string")
						default:
							assert.NoError(t, err)
							assert.Equal(t, 1, n)
						}
					})
				})
				time.Sleep(time.Hour)
				synctest.Wait()
				assert.EqualValues(t, 1, calls.Load())
			})
		})
	}
}

var errPlain = errors.New("plain")

func TestAskOfOneThatIsNotThereIsGoneAtOnce(t *testing.T) {
	inSystem(t, func(t *testing.T, system *actor.ActorSystem) {
		var calls atomic.Int32
		asker(system, func(c actor.Context) {
			actors.Ask(c, system.NewLocalPID("nobody"), 1, time.Hour, func(_ int, err error) {
				calls.Add(1)
				assert.ErrorIs(t, err, actors.ErrGone)
			})
		})
		time.Sleep(time.Second)
		synctest.Wait()
		assert.EqualValues(t, 1, calls.Load())
	})
}

func TestAnAnswerToAnIncarnationBeforeARestartIsDropped(t *testing.T) {
	inSystem(t, func(t *testing.T, system *actor.ActorSystem) {
		var answered, started int
		slow := spawn(system, func(c actor.Context) {
			if c.Message() == "ask" {
				time.Sleep(time.Second)
				c.Respond(1)
				answered++
			}
		})
		pid := spawn(system, func(c actor.Context) {
			if _, ok := c.Message().(*actor.Started); ok {
				started++
			}
			switch c.Message() {
			case "go":
				actors.Ask(c, slow, "ask", time.Minute, func(int, error) { t.Error("called") })
			case "crash":
				panic("restart me")
			}
		})
		system.Root.Send(pid, "go")
		system.Root.Send(pid, "crash")
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, 1, answered)
		assert.Equal(t, 2, started)
	})
}

func TestNoMessageRunsAfterItsCallerHasGone(t *testing.T) {
	inSystem(t, func(t *testing.T, system *actor.ActorSystem) {
		var ran, expired, done atomic.Int32
		worker := spawn(system, func(c actor.Context) {
			if n, ok := c.Message().(int); ok {
				left, ok := actors.Remaining(c)
				assert.True(t, ok)
				assert.Positive(t, left, "request %d", n)
				time.Sleep(10 * time.Millisecond)
				ran.Add(1)
				c.Respond(n)
			}
		})
		asker(system, func(c actor.Context) {
			for i := range 20 {
				actors.Ask(c, worker, i, 50*time.Millisecond, func(_ int, err error) {
					if err == nil {
						done.Add(1)
						return
					}
					late := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, timeoutpolicy.ErrTooLate)
					assert.True(t, late, "%v", err)
					expired.Add(1)
				})
			}
		})
		time.Sleep(time.Second)
		synctest.Wait()
		assert.EqualValues(t, 5, ran.Load(), "plain protoactor runs all twenty")
		assert.EqualValues(t, 20, done.Load()+expired.Load())
	})
}

func TestTheLeafIsGrantedWhatTheFirstLeft(t *testing.T) {
	// Thirty seconds in all, fourteen spent by the first of four levels.
	inSystem(t, func(t *testing.T, system *actor.ActorSystem) {
		rt, err := actors.Start(system.Root, actors.Config{})
		require.NoError(t, err)
		granted := make(chan time.Duration, 6)
		leaf := spawn(system, func(c actor.Context) {
			if c.Message() == "work" {
				use := resources.Of(resources.Func(func(context.Context) (int, error) { return 1, nil }))
				actors.Ask(c, rt.PID(), &actors.Request{Use: use}, 0, func(r *actors.Response, err error) {
					assert.NoError(t, err)
					granted <- r.Receipt.Budget.Limit
					c.Respond("done")
				})
			}
		})
		pass := func(to ...*actor.PID) *actor.PID {
			return spawn(system, func(c actor.Context) {
				if c.Message() == "work" {
					for _, pid := range to {
						actors.Ask(c, pid, "work", 0, func(string, error) { c.Respond("done") })
					}
				}
			})
		}
		third := pass(leaf, leaf, leaf)
		second := pass(third, third)
		asker(system, func(c actor.Context) {
			first := spawn(system, func(c actor.Context) {
				if c.Message() == "work" {
					time.Sleep(14 * time.Second)
					actors.Ask(c, second, "work", 0, func(string, error) {})
				}
			})
			actors.Ask(c, first, "work", 30*time.Second, func(string, error) {})
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		for range 6 {
			assert.Equal(t, 16*time.Second, <-granted)
		}
		require.NoError(t, rt.Close(0))
	})
}

// slowSpec is a use that keeps the supervisor's mailbox waiting, as no kind should.
type slowSpec struct{ resources.Use }

func (s slowSpec) Spec() (resources.Spec, error) {
	time.Sleep(2 * time.Second)
	return s.Use.Spec()
}

func TestASupervisorKeepsToTheBudgetOfTheEnvelope(t *testing.T) {
	inSystem(t, func(t *testing.T, system *actor.ActorSystem) {
		rt, err := actors.Start(system.Root, actors.Config{})
		require.NoError(t, err)
		var ran atomic.Int32
		use := resources.Of(resources.Func(func(context.Context) (int, error) { return int(ran.Add(1)), nil }))
		answers := make(chan *actors.Response, 3)
		self := spawn(system, func(c actor.Context) {
			if resp, ok := c.Message().(*actors.Response); ok {
				answers <- resp
			}
		})
		send := func(req *actors.Request, d time.Duration) {
			system.Root.Send(rt.PID(), actors.Within(req, self, d))
		}
		send(&actors.Request{ID: 1, Use: slowSpec{use}}, 10*time.Second)
		synctest.Wait() // the mailbox is taken for two seconds
		send(&actors.Request{ID: 2, Use: use}, time.Second)
		send(&actors.Request{ID: 3, Use: use, Remaining: time.Minute}, 5*time.Second)
		got := map[uint64]*actors.Response{}
		for range 3 {
			resp := <-answers
			got[resp.ID] = resp
		}
		require.NoError(t, got[1].Err)
		assert.ErrorIs(t, got[2].Err, timeoutpolicy.ErrTooLate, "it expired in the mailbox")
		require.NoError(t, got[3].Err)
		assert.Equal(t, 3*time.Second, got[3].Receipt.Budget.Limit, "five, less the two in the mailbox")
		assert.EqualValues(t, 2, ran.Load())
		require.NoError(t, rt.Close(0))
	})
}

func TestARequestThatComesTooLateIsAnsweredUnderItsNumber(t *testing.T) {
	inSystem(t, func(_ *testing.T, system *actor.ActorSystem) {
		answers := make(chan *actors.Response, 1)
		self := spawn(system, func(c actor.Context) {
			if resp, ok := c.Message().(*actors.Response); ok {
				answers <- resp
			}
		})
		never := spawn(system, func(c actor.Context) {
			_, is := c.Message().(*actors.Request)
			assert.False(t, is)
		})
		system.Root.Send(never, actors.Within(&actors.Request{ID: 7}, self, 0))
		late := <-answers
		assert.EqualValues(t, 7, late.ID)
		assert.ErrorIs(t, late.Err, timeoutpolicy.ErrTooLate)
	})
}

func TestTheAskersDeathTakesItsRequestWithIt(t *testing.T) {
	inSystem(t, func(t *testing.T, system *actor.ActorSystem) {
		rt, err := actors.Start(system.Root, actors.Config{})
		require.NoError(t, err)
		start := time.Now()
		var ended atomic.Int64
		pid := asker(system, func(c actor.Context) {
			use := resources.Of(resources.Func(func(ctx context.Context) (int, error) {
				<-ctx.Done()
				ended.Store(int64(time.Since(start)))
				return 0, ctx.Err()
			}))
			actors.Ask(c, rt.PID(), &actors.Request{Use: use}, time.Hour, func(*actors.Response, error) { t.Error("called") })
		})
		time.Sleep(time.Second)
		synctest.Wait()
		system.Root.Stop(pid)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.EqualValues(t, time.Second, ended.Load())
		require.NoError(t, rt.Close(0))
	})
}
