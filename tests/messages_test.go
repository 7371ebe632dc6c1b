package tests

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// newSystem makes an actor system that is shut down at the test's end.
func newSystem(t testing.TB, log io.Writer) *actor.ActorSystem {
	t.Helper()
	logger := slog.New(slog.NewTextHandler(log, nil))
	system := actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return logger }),
		actor.WithDeadLetterThrottleInterval(time.Millisecond))
	t.Cleanup(system.Shutdown)
	return system
}

// requester is an actor that makes requests by message and keeps what it is answered.
type requester struct {
	t       testing.TB
	system  *actor.ActorSystem
	self    *actor.PID
	to      *actor.PID
	answers chan any
	wait    time.Duration // longest for an answer; fake time has a lot of it
}

// newRequester starts a supervisor in an actor system, and a requester beside it.
func newRequester(t testing.TB, options ...supervisor.StartOption) (*supervisor.Supervisor, *requester) {
	t.Helper()
	system := newSystem(t, io.Discard)
	sup := start(t, append(options, supervisor.Under(system.Root))...)
	return sup, requesterIn(t, system, sup)
}

// requesterIn makes a requester to sup, which lives in system.
func requesterIn(t testing.TB, system *actor.ActorSystem, sup *supervisor.Supervisor) *requester {
	t.Helper()
	r := &requester{t: t, system: system, to: sup.PID(), answers: make(chan any, 1024), wait: 24 * time.Hour}
	r.self = system.Root.Spawn(actor.PropsFromFunc(r.receive))
	t.Cleanup(func() { r.system.Root.Stop(r.self) })
	return r
}

// receive is the requester's actor.
func (r *requester) receive(c actor.Context) {
	switch msg := c.Message().(type) {
	case actor.SystemMessage, actor.AutoReceiveMessage:
	case outgoing:
		c.Request(r.to, msg.msg)
	default:
		r.answers <- msg
	}
}

// outgoing wraps what a requester is to send.
type outgoing struct{ msg any }

// tell has the actor send msg to the supervisor.
func (r *requester) tell(msg any) { r.system.Root.Send(r.self, outgoing{msg}) }

// next is the next answer to a request.
func (r *requester) next() *actors.Response {
	r.t.Helper()
	return nextOf[*actors.Response](r)
}

func nextOf[T any](r *requester) T {
	r.t.Helper()
	select {
	case msg := <-r.answers:
		require.IsType(r.t, *new(T), msg)
		return msg.(T)
	case <-time.After(r.wait):
		require.FailNow(r.t, "no answer has come")
		panic("not reached")
	}
}

// nothingMore checks, in a bubble, that no further answer comes within an hour.
func (r *requester) nothingMore() {
	r.t.Helper()
	time.Sleep(time.Hour)
	synctest.Wait()
	assert.Empty(r.t, r.answers, "one answer for each request")
}

func function[T any](work func(context.Context) (T, error)) resources.Use {
	return resources.Of[T](resources.Func(work))
}

func TestMessageRequestIsAnsweredOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, a := newRequester(t, supervisor.WithPolicy(timeoutpolicy.Fixed(time.Second)))
		for name, c := range map[string]struct {
			use     resources.Use
			outcome actors.Outcome
			took    time.Duration
			value   any
		}{
			"completed": {use: function(answering), outcome: actors.Completed, value: 42},
			"failed":    {use: function(func(context.Context) (int, error) { return 0, io.EOF }), outcome: actors.Failed, value: 0},
			"expired":   {use: function(untilStopped), outcome: actors.Expired, took: time.Second, value: 0},
			"panicked":  {use: function(brokenWork), outcome: actors.Panicked},
			"refused":   {use: function[int](nil), outcome: actors.Refused},
			"no use":    {outcome: actors.Refused},
		} {
			began := time.Now()
			a.tell(&actors.Request{ID: 7, Use: c.use})
			resp := a.next()
			assert.Equal(t, c.took, time.Since(began), name)
			assert.EqualValues(t, 7, resp.ID, name)
			assert.Equal(t, c.value, resp.Value, name)
			require.NotNil(t, resp.Receipt, name)
			assert.Equal(t, c.outcome, resp.Receipt.Outcome, name)
			if c.outcome == actors.Completed {
				assert.NoError(t, resp.Err, name)
				assert.Empty(t, resp.Receipt.Error, name)
			} else {
				require.Error(t, resp.Err, name)
				assert.Equal(t, resp.Err.Error(), resp.Receipt.Error, name)
			}
		}
		a.nothingMore()
	})
}

func TestMessageAsReadsTheValue(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, a := newRequester(t, supervisor.WithPolicy(timeoutpolicy.Fixed(time.Second)))
		a.tell(&actors.Request{Use: function(answering)})
		resp := a.next()
		n, err := actors.As[int](resp)
		require.NoError(t, err)
		assert.Equal(t, 42, n)
		_, err = actors.As[string](resp)
		assert.Error(t, err, "a value of another type")

		a.tell(&actors.Request{Use: function(untilStopped)})
		_, err = actors.As[int](a.next())
		isExpired(t, err)
	})
}

func TestMessageFetchIsAnsweredWithItsResponse(t *testing.T) {
	resourcetest.NothingLeft(t)
	_, a := newRequester(t)
	a.wait = patience
	s := newServerFor(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "by message") })
	a.tell(&actors.Request{ID: 1, Use: resources.Of(resources.Fetch{URL: s.URL}), Within: patience})
	page, err := actors.As[*resources.Response](a.next())
	require.NoError(t, err)
	assert.Equal(t, "by message", string(page.Body))

	p := newPeer(t, func(*peerConn) {})
	w := watch(hangLimit)
	a.tell(&actors.Request{ID: 2, Use: resources.Of(resources.Fetch{URL: p.HTTP()}), Within: hangLimit})
	_, err = actors.As[*resources.Response](a.next())
	allowed := w.stop(t)
	isExpired(t, err)
	p.sawClose(t, w.due, allowed)
}

func TestMessageRequestsOfOneSenderAreToldApartByID(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, a := newRequester(t)
		const n = 50
		for i := range n {
			a.tell(&actors.Request{ID: uint64(i), Within: time.Minute, Use: function(func(context.Context) (int, error) {
				time.Sleep(time.Duration(n-i) * time.Second)
				return i, nil
			})})
		}
		for i := range n {
			resp := a.next()
			assert.EqualValues(t, n-1-i, resp.ID)
			assert.EqualValues(t, resp.ID, resp.Value)
		}
		a.nothingMore()
	})
}

func TestMessageIDUnderWayIsNotTakenTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, a := newRequester(t)
		a.tell(&actors.Request{ID: 3, Use: function(untilStopped), Within: time.Second})
		a.tell(&actors.Request{ID: 3, Use: function(answering), Within: time.Second})
		assert.ErrorIs(t, a.next().Err, actors.ErrDuplicateID)
		isExpired(t, a.next().Err)
		synctest.Wait()
		a.tell(&actors.Request{ID: 3, Use: function(answering), Within: time.Second})
		assert.NoError(t, a.next().Err, "an ID that is over is free again")
		a.nothingMore()
	})
}

func TestMessageCancelStopsTheRequestOfThatID(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup, a := newRequester(t)
		b := requesterIn(t, a.system, sup)
		var cleanup counter
		began := time.Now()
		a.tell(&actors.Request{ID: 1, Within: time.Minute, Use: resources.Of[int](resources.Func(untilStopped).Cleanup(cleanup.hook))})
		a.tell(&actors.Request{ID: 2, Within: time.Minute, Use: function(untilStopped)})
		time.Sleep(time.Second)
		b.tell(&actors.Cancel{ID: 1}) // somebody else's ID 1
		a.tell(&actors.Cancel{ID: 99})
		time.Sleep(time.Second)
		assert.Empty(t, a.answers)

		a.tell(&actors.Cancel{ID: 1})
		resp := a.next()
		assert.Equal(t, 2*time.Second, time.Since(began))
		assert.EqualValues(t, 1, resp.ID)
		var cancelled *supervisor.Cancelled
		require.ErrorAs(t, resp.Err, &cancelled)
		assert.ErrorIs(t, resp.Err, context.Canceled)
		assert.ErrorContains(t, resp.Err, "cancelled by its requester")
		assert.EqualValues(t, 1, cleanup.calls.Load())
		a.tell(&actors.Cancel{ID: 1}) // it is over: no error, no second answer

		resp = a.next()
		assert.EqualValues(t, 2, resp.ID)
		isExpired(t, resp.Err)
		assert.Equal(t, time.Minute, time.Since(began), "the other one is not touched")
		a.nothingMore()
		assert.Empty(t, b.answers)
	})
}

func TestMessageCancelReachesARequestThatWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, a := newRequester(t, supervisor.WithLimits(supervisor.Limits{AtOnce: 1}))
		var started atomic.Int64
		use := resources.Of[int](bounded{resources.Func(func(ctx context.Context) (int, error) {
			started.Add(1)
			return untilStopped(ctx)
		})})
		a.tell(&actors.Request{ID: 1, Within: time.Minute, Use: use})
		a.tell(&actors.Request{ID: 2, Within: time.Minute, Use: use})
		time.Sleep(time.Second)
		a.tell(&actors.Cancel{ID: 2})
		resp := a.next()
		assert.EqualValues(t, 2, resp.ID)
		assert.Equal(t, actors.Queued, resp.Receipt.Phase)
		assert.EqualValues(t, 1, started.Load())
		a.tell(&actors.Cancel{ID: 1})
		assert.EqualValues(t, 1, a.next().ID)
		a.nothingMore()
	})
}

func TestMessageRemainingIsInherited(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, a := newRequester(t, supervisor.WithPolicy(timeoutpolicy.Fixed(time.Hour)))
		for name, c := range map[string]struct {
			request *actors.Request
			takes   time.Duration
			by      string
		}{
			"caps the policy":   {&actors.Request{Remaining: 3 * time.Second}, 3 * time.Second, "context deadline"},
			"caps the explicit": {&actors.Request{Remaining: 3 * time.Second, Within: time.Minute}, 3 * time.Second, "context deadline"},
			"is longer":         {&actors.Request{Remaining: 3 * time.Second, Within: time.Second}, time.Second, "within"},
			"is none":           {&actors.Request{}, time.Hour, "fixed 1h"},
		} {
			began := time.Now()
			c.request.Use = function(untilStopped)
			a.tell(c.request)
			expired := isExpired(t, a.next().Err)
			assert.Equal(t, c.takes, time.Since(began), name)
			assert.Equal(t, c.by, expired.Receipt.Budget.GrantedBy, name)
		}

		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		time.Sleep(2 * time.Second)
		request := (&actors.Request{Use: function(untilStopped)}).Inherit(ctx)
		assert.Equal(t, 3*time.Second, request.Remaining, "a length of time, not a point in it")
		began := time.Now()
		a.tell(request)
		isExpired(t, a.next().Err)
		assert.Equal(t, 3*time.Second, time.Since(began))

		assert.Negative(t, (&actors.Request{}).Inherit(ctx).Remaining, "nothing left is not no budget")
		assert.Zero(t, (&actors.Request{}).Inherit(t.Context()).Remaining)
		for _, late := range []*actors.Request{{Remaining: -1}, {Within: -1}, (&actors.Request{}).Inherit(ctx)} {
			late.Use = function(answering)
			a.tell(late)
			assert.ErrorIs(t, a.next().Err, supervisor.ErrTooLate)
		}
		a.nothingMore()
	})
}

func TestMessageOperationSeesItsDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, a := newRequester(t)
		began := time.Now()
		a.tell(&actors.Request{Remaining: 3 * time.Second, Use: function(func(ctx context.Context) (time.Duration, error) {
			due, _ := ctx.Deadline()
			return due.Sub(began), nil
		})})
		left, err := actors.As[time.Duration](a.next())
		require.NoError(t, err)
		assert.Equal(t, 3*time.Second, left, "so that requests in its course inherit it")
	})
}

func TestSeedS06CleanupIsNamedInAMessage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, a := newRequester(t)
		for _, name := range []string{"Halt", "Close", "Shutdown", "Abort"} {
			s := newServer()
			began := time.Now()
			a.tell(&actors.Request{Within: time.Second, CleanupMethod: name, Use: resources.Of[int](resources.Func(s.Work).On(s))})
			resp := a.next()
			isExpired(t, resp.Err)
			assert.Equal(t, time.Second, time.Since(began), name)
			assert.Equal(t, 1, resp.Value, "%s ended the work", name)
			assert.Empty(t, resp.Receipt.Leftover)
		}
		s := newServer()
		a.tell(&actors.Request{Within: time.Second, CleanupMethod: "Failing", Use: resources.Of[int](resources.Func(s.Work).On(s))})
		resp := a.next()
		isExpired(t, resp.Err)
		assert.ErrorIs(t, resp.Err, errOuter)
		a.nothingMore()
	})
}

func TestSeedS07UnknownCleanupInAMessageIsAnErrorBeforeAnythingRuns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, a := newRequester(t)
		var started atomic.Bool
		work := resources.Func(func(context.Context) (int, error) { started.Store(true); return 1, nil })
		for name, c := range map[string]struct {
			use    resources.Use
			method string
		}{
			"no such method": {resources.Of[int](work.On(newServer())), "Shutdwon"},
			"wrong shape":    {resources.Of[int](work.On(newServer())), "StopIn"},
			"no object":      {resources.Of[int](work), "Close"},
			"another kind":   {resources.Of(resources.Fetch{URL: "http://target.invalid"}), "Close"},
			"nothing":        {nil, "Close"},
		} {
			a.tell(&actors.Request{Use: c.use, Within: time.Second, CleanupMethod: c.method})
			resp := a.next()
			var invalid *supervisor.Invalid
			require.ErrorAs(t, resp.Err, &invalid, name)
			assert.Equal(t, "CleanupMethod", invalid.Field, name)
			assert.Equal(t, actors.Refused, resp.Receipt.Outcome, name)
		}
		a.nothingMore()
		assert.False(t, started.Load())
	})
}

func TestMessageDeathOfTheRequesterTakesItsRequestsWithIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		events := &recorder{}
		sup, a := newRequester(t, supervisor.WithEvents(events.hook), supervisor.WithLimits(supervisor.Limits{AtOnce: 1}))
		b := requesterIn(t, a.system, sup)
		var cleanup counter
		use := resources.Of[int](bounded{resources.Func(untilStopped).Cleanup(cleanup.hook)})
		a.tell(&actors.Request{ID: 1, Within: time.Minute, Use: use})
		a.tell(&actors.Request{ID: 2, Within: time.Minute, Use: use}) // waits
		time.Sleep(time.Second)
		b.tell(&actors.Request{ID: 1, Within: time.Minute, Use: function(untilStopped)})
		time.Sleep(time.Second)

		died := time.Now()
		a.system.Root.Stop(a.self)
		synctest.Wait()
		assert.EqualValues(t, 1, cleanup.calls.Load(), "what was started is cleaned up")
		var finished []*supervisor.Receipt
		for _, e := range events.all() {
			if e.What == actors.EventFinished {
				finished = append(finished, e.Receipt)
				assert.Equal(t, died, e.At)
			}
		}
		require.Len(t, finished, 2)
		for _, rec := range finished {
			assert.Equal(t, actors.Cancelled, rec.Outcome)
			assert.Empty(t, rec.Leftover)
		}
		assert.Empty(t, a.answers, "there is nobody to answer")
		isExpired(t, b.next().Err)
		b.nothingMore()
	})
}

func TestMessageReadAfterTheDeathOfItsRequesterStartsNothing(t *testing.T) {
	// Word of the death is a system message: it overtakes what is still in the mailbox.
	for name, first := range map[string]time.Duration{"nothing was under way": -1, "what was is gone": 0, "what was is on its way out": time.Minute} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				sup, a := newRequester(t)
				b := requesterIn(t, a.system, sup)
				died := make(chan struct{})
				if first >= 0 {
					a.tell(&actors.Request{ID: 100, Within: time.Hour, Use: function(func(ctx context.Context) (int, error) {
						<-ctx.Done()
						time.Sleep(first)
						return 0, nil
					})})
				}
				synctest.Wait()
				b.tell(&actors.Request{Within: time.Second, Use: resources.Of[int](slowSpec{died})}) // holds the root up
				synctest.Wait()
				var started atomic.Int64
				for i := range uint64(50) {
					a.tell(&actors.Request{ID: i, Within: time.Hour, Use: function(func(ctx context.Context) (int, error) {
						started.Add(1)
						return untilStopped(ctx)
					})})
				}
				synctest.Wait()
				a.system.Root.Stop(a.self)
				synctest.Wait()
				close(died)
				synctest.Wait()
				assert.Zero(t, started.Load(), "nobody would hear of it")
				time.Sleep(2 * time.Minute)
				assert.Empty(t, sup.Leftovers())
				assert.Empty(t, a.answers)
				isExpired(t, b.next().Err)
			})
		})
	}
}

// slowSpec is a kind whose Spec takes its time.
type slowSpec struct{ until chan struct{} }

func (s slowSpec) Spec() (resources.Spec, error) {
	<-s.until
	return resources.Spec{Kind: "slow", Endpoint: "slow"}, nil
}

func (slowSpec) Run(ctx context.Context, _ *resources.Held) (int, error) { return untilStopped(ctx) }

func TestMessageRequestWithoutASenderIsRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var log bytes.Buffer
		var mu sync.Mutex
		system := newSystem(t, writer(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return log.Write(p)
		}))
		sup := start(t, supervisor.Under(system.Root), supervisor.WithPolicy(timeoutpolicy.Fixed(time.Second)))
		var started atomic.Bool
		system.Root.Send(sup.PID(), &actors.Request{ID: 77, Use: function(func(context.Context) (int, error) {
			started.Store(true)
			return 1, nil
		})})
		system.Root.Send(sup.PID(), &actors.Cancel{ID: 77})
		time.Sleep(time.Hour)
		assert.False(t, started.Load(), "nobody would hear of it")
		mu.Lock()
		defer mu.Unlock()
		assert.Contains(t, log.String(), "without a sender")
		assert.Contains(t, log.String(), "77")
	})
}

// writer is a function as an io.Writer.
type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestMessageRequestFutureIsAnswered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		system := newSystem(t, io.Discard)
		sup := start(t, supervisor.Under(system.Root))
		future := system.Root.RequestFuture(sup.PID(), &actors.Request{ID: 5, Use: function(answering), Within: time.Second}, time.Minute)
		got, err := future.Result()
		require.NoError(t, err)
		resp, ok := got.(*actors.Response)
		require.True(t, ok, "%T", got)
		n, err := actors.As[int](resp)
		require.NoError(t, err)
		assert.Equal(t, 42, n)
	})
}

func TestMessagePolicyThatBlocksHoldsNobodyElse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		let := make(chan struct{})
		sup, a := newRequester(t, supervisor.WithPolicy(timeoutpolicy.Func(func(ctx context.Context, ask timeoutpolicy.Ask) (time.Duration, error) {
			if ask.Class == "slow" {
				<-let
			}
			return time.Second, nil
		})))
		a.tell(&actors.Request{ID: 1, Class: "slow", Use: function(untilStopped)})
		a.tell(&actors.Request{ID: 2, Use: function(answering)})
		assert.EqualValues(t, 2, a.next().ID)
		a.tell(&actors.Cancel{ID: 1})
		synctest.Wait()
		close(let)
		resp := a.next()
		assert.EqualValues(t, 1, resp.ID)
		assert.ErrorIs(t, resp.Err, context.Canceled, "cancelled while the policy was asked")
		a.nothingMore()
		assert.Empty(t, sup.Leftovers())
	})
}

func TestMessageToAClosedSupervisor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup, a := newRequester(t, supervisor.WithDrain(0))
		a.tell(&actors.Request{ID: 1, Use: function(untilStopped), Within: time.Minute})
		time.Sleep(time.Second)
		require.NoError(t, sup.Close())
		resp := a.next()
		assert.ErrorIs(t, resp.Err, supervisor.ErrClosed)
		assert.ErrorIs(t, resp.Err, context.Canceled)
		a.nothingMore()
	})
}

func TestMessageRequestsBeginInTheOrderTheyWereSent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, a := newRequester(t, supervisor.WithLimits(supervisor.Limits{AtOnce: 1}))
		const n = 100
		var order []uint64 // one at once: no lock is needed
		for i := range uint64(n) {
			a.tell(&actors.Request{ID: i, Within: time.Hour, Use: resources.Of[int](bounded{resources.Func(func(context.Context) (int, error) {
				time.Sleep(time.Millisecond)
				order = append(order, i)
				return 0, nil
			})})})
		}
		for i := range uint64(n) {
			assert.Equal(t, i, a.next().ID)
		}
		for i := range uint64(n) {
			assert.Equal(t, i, order[i])
		}
	})
}

func TestMessageBeyondTheQueueIsAnswered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, a := newRequester(t, supervisor.WithLimits(supervisor.Limits{AtOnce: 2, Waiting: 3}))
		for i := range uint64(8) {
			a.tell(&actors.Request{ID: i, Within: time.Second, Use: resources.Of[int](bounded{resources.Func(untilStopped)})})
		}
		for i := range uint64(3) {
			resp := a.next()
			assert.Equal(t, 5+i, resp.ID)
			assert.ErrorIs(t, resp.Err, supervisor.ErrOverloaded)
		}
		for range 5 {
			isExpired(t, a.next().Err)
		}
		a.nothingMore()
	})
}

// brokenSpec is a kind with a bug.
type brokenSpec struct{ resources.Function[int] }

func (brokenSpec) Spec() (resources.Spec, error) { panic("a bug in Spec") }

func TestMessageOfAKindWithABugIsAnswered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, a := newRequester(t)
		a.tell(&actors.Request{ID: 1, Within: time.Second, Use: resources.Of[int](brokenSpec{})})
		var panicked *supervisor.Panicked
		require.ErrorAs(t, a.next().Err, &panicked)
		assert.Equal(t, "a bug in Spec", panicked.Value)
		a.tell(&actors.Request{ID: 1, Within: time.Second, Use: function(answering)})
		assert.NoError(t, a.next().Err)
		a.nothingMore()
	})
}

func TestMessageEveryRequestIsAnsweredOnceWhateverIsGoingOn(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	bubble(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 0))
		sup, first := newRequester(t, supervisor.WithLimits(supervisor.Limits{AtOnce: 4, Waiting: 20}))
		requesters := []*requester{first}
		for range 4 {
			requesters = append(requesters, requesterIn(t, first.system, sup))
		}
		const each = 200
		for i := range uint64(each) {
			for _, a := range requesters {
				takes := time.Duration(rng.IntN(1000)) * time.Millisecond
				a.tell(&actors.Request{ID: i, Within: 500 * time.Millisecond, Use: resources.Of[int](bounded{resources.Func(func(ctx context.Context) (int, error) {
					select {
					case <-time.After(takes):
						return 1, nil
					case <-ctx.Done():
						return 0, ctx.Err()
					}
				})})})
				if rng.IntN(4) == 0 {
					a.tell(&actors.Cancel{ID: uint64(rng.IntN(int(i) + 1))})
				}
			}
			time.Sleep(time.Duration(rng.IntN(200)) * time.Millisecond)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		for _, a := range requesters {
			answered := make(map[uint64]int)
			for len(a.answers) > 0 {
				answered[a.next().ID]++
			}
			assert.Len(t, answered, each)
			for id, n := range answered {
				assert.Equal(t, 1, n, "request %d", id)
			}
		}
	})
}

func TestMessageSentWhileTheSupervisorClosesIsAnsweredOnce(t *testing.T) {
	// In real time, so that the messages and the close meet at any point.
	resourcetest.NothingLeft(t)
	for range 20 {
		system := newSystem(t, io.Discard)
		sup, err := supervisor.Start(supervisor.Under(system.Root), supervisor.WithDrain(0))
		require.NoError(t, err)
		a := requesterIn(t, system, sup)
		const n = 500
		halfway, closed := make(chan struct{}), make(chan error, 1)
		go func() { // waited for below
			<-halfway
			closed <- sup.Close()
		}()
		for i := range uint64(n) {
			if i == n/2 {
				close(halfway)
			}
			a.tell(&actors.Request{ID: i, Within: time.Minute, Use: function(answering)})
		}
		require.NoError(t, receive(t, closed, "the end of the close"))
		answered := make(map[uint64]int)
		refused := 0
		for range n {
			switch msg := receive(t, a.answers, "an answer, or word that there is nobody to give one").(type) {
			case *actors.Response:
				answered[msg.ID]++
			case *actor.DeadLetterResponse:
				refused++ // the supervisor's PID is nobody's any more
			}
		}
		assert.Equal(t, n, len(answered)+refused)
		for id, times := range answered {
			assert.Equal(t, 1, times, "request %d", id)
		}
	}
}

func TestUnderTheRootOfASystemCloseLeavesItRunning(t *testing.T) {
	bubble(t, func(t *testing.T) {
		system := newSystem(t, io.Discard)
		sup := start(t, supervisor.Under(system.Root), supervisor.Named("curfew"), supervisor.WithPolicy(timeoutpolicy.Fixed(time.Second)))
		assert.Equal(t, "curfew", sup.PID().Id)
		_, err := supervisor.Start(supervisor.Under(system.Root), supervisor.Named("curfew"))
		assert.Error(t, err, "the name is taken")
		v, err := do(t, sup, answering)
		require.NoError(t, err)
		assert.Equal(t, 42, v)
		require.NoError(t, sup.Close())
		require.NoError(t, sup.Close())

		assert.False(t, system.IsStopped())
		echo := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
			if s, ok := c.Message().(string); ok {
				c.Respond(strings.ToUpper(s))
			}
		}))
		got, err := system.Root.RequestFuture(echo, "still here", time.Second).Result()
		require.NoError(t, err)
		assert.Equal(t, "STILL HERE", got)
		system.Root.Stop(echo)

		again := start(t, supervisor.Under(system.Root), supervisor.Named("curfew"))
		assert.Nil(t, again.Policy(), "the name is free again, and nothing is handed down")
	})
}

// host is an actor of somebody's, with a supervisor under it.
type host struct {
	started chan *supervisor.Supervisor
	stopped chan struct{}
}

func (h *host) Receive(c actor.Context) {
	switch c.Message().(type) {
	case *actor.Started:
		sup, err := supervisor.Start(supervisor.Under(c))
		if err != nil {
			panic(err)
		}
		h.started <- sup
	case *actor.Stopped:
		close(h.stopped)
	}
}

func TestUnderAnActorTheSupervisorStopsWithIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		system := newSystem(t, io.Discard)
		h := &host{make(chan *supervisor.Supervisor, 1), make(chan struct{})}
		pid := system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return h }))
		sup := receive(t, h.started, "the supervisor")
		assert.True(t, strings.HasPrefix(sup.PID().Id, pid.Id+"/"), "it is the actor's child")

		var cleanup counter
		done := make(chan error, 1)
		go func() { // waited for below
			_, err := supervisor.Do(t.Context(), sup, resources.Func(untilStopped).Cleanup(cleanup.hook), supervisor.Within(time.Minute))
			done <- err
		}()
		time.Sleep(time.Second)
		stopped := time.Now()
		system.Root.Stop(pid)
		err := receive(t, done, "the answer")
		assert.Zero(t, time.Since(stopped))
		assert.ErrorIs(t, err, supervisor.ErrClosed)
		assert.EqualValues(t, 1, cleanup.calls.Load())
		receive(t, h.stopped, "the actor's own end")
		_, err = do(t, sup, answering, supervisor.Within(time.Second))
		assert.ErrorIs(t, err, supervisor.ErrClosed)
		require.NoError(t, sup.Close())
		assert.False(t, system.IsStopped())
	})
}

func TestUnderAnActorCloseStopsTheSupervisorAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		system := newSystem(t, io.Discard)
		h := &host{make(chan *supervisor.Supervisor, 1), make(chan struct{})}
		pid := system.Root.Spawn(actor.PropsFromProducer(func() actor.Actor { return h }))
		sup := receive(t, h.started, "the supervisor")
		require.NoError(t, sup.Close())
		synctest.Wait()
		select {
		case <-h.stopped:
			assert.Fail(t, "the actor has stopped, too")
		default:
		}
		system.Root.Stop(pid)
		receive(t, h.stopped, "the actor's own end")
	})
}
