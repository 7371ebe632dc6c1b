package tests

import (
	"context"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
	tp "curfew.example/timeoutpolicy"
)

func TestSeedS08DefaultFunctionIsAskedAtEachCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const whole = 30 * time.Second
		began := time.Now()
		var asked atomic.Int64
		sup := start(t, supervisor.WithPolicy(tp.Func(func(_ context.Context, ask tp.Ask) (time.Duration, error) {
			asked.Add(1)
			return whole - ask.Now.Sub(began), nil
		})))
		assert.Zero(t, asked.Load(), "not before there is a call")
		assert.Equal(t, whole, granted(t, t.Context(), sup).Limit)

		time.Sleep(14 * time.Second)
		_, err := do(t, sup, untilStopped)
		expired := isExpired(t, err)
		assert.Equal(t, 16*time.Second, expired.Receipt.Budget.Limit)
		assert.Equal(t, "func 16s", expired.Receipt.Budget.GrantedBy)
		assert.Equal(t, whole, time.Since(began), "neither late nor early")
		assert.EqualValues(t, 2, asked.Load())

		refused(t, t.Context(), sup, supervisor.ErrTooLate) // all is used up
		assert.EqualValues(t, 3, asked.Load())
		assert.Equal(t, time.Second, granted(t, t.Context(), sup, supervisor.Within(time.Second)).Limit)
		assert.EqualValues(t, 3, asked.Load(), "where the limit is explicit the function is not asked")
	})
}

func TestSeedS08DefaultFunctionLearnsWhatTheCallerHasLeft(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var ask atomic.Pointer[tp.Ask]
		sup := start(t, supervisor.WithPolicy(tp.Func(func(_ context.Context, a tp.Ask) (time.Duration, error) {
			ask.Store(&a)
			return time.Minute, nil
		})))
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		time.Sleep(14 * time.Second)
		assert.Equal(t, 16*time.Second, granted(t, ctx, sup, supervisor.Class("page")).Limit)
		assert.Equal(t, tp.Ask{Kind: "func", Endpoint: "func", Class: "page", Remaining: 16 * time.Second, Now: time.Now()}, *ask.Load())
	})
}

func TestSeedS08DefaultFunctionThatFailsOrHangsStartsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t, supervisor.WithPolicy(tp.Func(func(context.Context, tp.Ask) (time.Duration, error) { return 0, errOuter })))
		refused(t, t.Context(), sup, errOuter)

		require.NoError(t, sup.SetPolicy(tp.Func(func(ctx context.Context, _ tp.Ask) (time.Duration, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})))
		began := time.Now()
		refused(t, t.Context(), sup, actors.ErrPolicySlow)
		assert.Equal(t, 5*time.Second, time.Since(began), "the wait for a policy has a bound")

		require.NoError(t, sup.SetPolicy(tp.Func(func(context.Context, tp.Ask) (time.Duration, error) { panic("a bug") })))
		var panicked *supervisor.Panicked
		_, err := do(t, sup, answering)
		require.ErrorAs(t, err, &panicked)
		assert.Equal(t, "a bug", panicked.Value)
		synctest.Wait()
	})
}

func TestSeedS09DefaultCanBeReadSetAndTakenAway(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup, other := start(t), start(t, supervisor.WithPolicy(tp.Fixed(time.Hour)))
		assert.Nil(t, sup.Policy(), "there is none at the start")
		refused(t, t.Context(), sup, supervisor.ErrNoLimit)

		ten := tp.Fixed(10 * time.Second)
		require.NoError(t, sup.SetPolicy(ten))
		assert.Equal(t, ten, sup.Policy())
		assert.Equal(t, 10*time.Second, granted(t, t.Context(), sup).Limit)
		assert.Equal(t, tp.Fixed(time.Hour), other.Policy(), "another supervisor's is not touched")

		require.NoError(t, sup.SetPolicy(nil))
		assert.Nil(t, sup.Policy())
		refused(t, t.Context(), sup, supervisor.ErrNoLimit)
		assert.Equal(t, time.Hour, granted(t, t.Context(), other).Limit)
	})
}

func TestSeedS10NoLimitIsAnErrorAndNothingIsStarted(t *testing.T) {
	sup := realWorld(t)
	refused(t, t.Context(), sup, supervisor.ErrNoLimit)

	p := newPeer(t, func(*peerConn) {})
	var rec supervisor.Receipt
	began := time.Now()
	resp, err := supervisor.Do(t.Context(), sup, resources.Fetch{URL: p.HTTP()}, supervisor.WithReceipt(&rec))
	assert.ErrorIs(t, err, supervisor.ErrNoLimit)
	assert.Nil(t, resp)
	assert.Equal(t, actors.Refused, rec.Outcome)
	assert.Empty(t, rec.Cleanup.Released)
	assert.Zero(t, p.Accepted.Load(), "no connection was made")
	assert.Less(t, time.Since(began), slack)

	_, err = supervisor.Open(t.Context(), sup, resources.XMLRPC{URL: p.HTTP()})
	assert.ErrorIs(t, err, supervisor.ErrNoLimit)
}

func TestSeedS10ContextsDeadlineSuffices(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t)
		ctx, cancel := context.WithTimeoutCause(t.Context(), 3*time.Second, errOuter)
		defer cancel()
		began := time.Now()
		_, err := supervisor.Do(ctx, sup, resources.Func(untilStopped))
		expired := isExpired(t, err)
		assert.Equal(t, 3*time.Second, time.Since(began))
		assert.Equal(t, "context deadline", expired.Receipt.Budget.GrantedBy)
		assert.ErrorIs(t, err, errOuter, "why the caller's own time was over is not lost")
	})
}

func TestSeedM01FallbackHoldsOnlyWhereThereIsNoDefault(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t, supervisor.WithPolicy(tp.Fallback(tp.Fixed(5*time.Second))))
		b := granted(t, t.Context(), sup)
		assert.Equal(t, 5*time.Second, b.Limit)
		assert.Equal(t, "fallback: fixed 5s", b.GrantedBy)

		require.NoError(t, sup.SetPolicy(tp.Compose(tp.Fixed(2*time.Second), tp.Fallback(tp.Fixed(5*time.Second)))))
		assert.Equal(t, 2*time.Second, granted(t, t.Context(), sup).Limit)
		require.NoError(t, sup.SetPolicy(tp.Compose(tp.Fixed(9*time.Second), tp.Fallback(tp.Fixed(5*time.Second)))))
		assert.Equal(t, 9*time.Second, granted(t, t.Context(), sup).Limit, "a default that is longer holds, too")
	})
}

func TestSeedM02OverrideHoldsForItsBlockAndIsSeenByNobodyElse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t, supervisor.WithPolicy(tp.Fixed(10*time.Second)))
		limit := func(ctx context.Context) time.Duration { return granted(t, ctx, sup).Limit }
		block := tp.Override(t.Context(), tp.Fixed(2*time.Second))
		assert.Equal(t, 2*time.Second, limit(block))
		assert.Equal(t, 10*time.Second, limit(t.Context()), "outside the block it is as before")
		assert.Equal(t, tp.Fixed(10*time.Second), sup.Policy())

		inner := tp.Override(block, tp.Fixed(time.Second))
		assert.Equal(t, time.Second, limit(inner))
		assert.Equal(t, 2*time.Second, limit(block), "put back when the inner block is left")
		assert.Equal(t, 10*time.Second, limit(tp.Override(inner, nil)), "taken away inside")

		began := time.Now()
		_, err := supervisor.Do(block, sup, resources.Func(untilStopped))
		isExpired(t, err)
		assert.Equal(t, 2*time.Second, time.Since(began))
	})
}

func TestSeedM03ReservedClearanceLeavesTimeToRecover(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t, supervisor.WithPolicy(tp.Reserve(time.Second)))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		_, err := supervisor.Do(ctx, sup, resources.Func(untilStopped))
		isExpired(t, err)
		assert.Equal(t, 4*time.Second, time.Since(began))
		assert.NoError(t, ctx.Err(), "the caller can still recover")

		refused(t, ctx, sup, supervisor.ErrTooLate) // the clearance is all that is left

		require.NoError(t, sup.SetPolicy(tp.Reserve(time.Second).Floor(500*time.Millisecond)))
		began = time.Now()
		_, err = supervisor.Do(ctx, sup, resources.Func(untilStopped))
		isExpired(t, err)
		assert.Equal(t, 500*time.Millisecond, time.Since(began), "a floor, by choice")
	})
}

func TestSeedM04CapHoldsForItsClassKindAndEndpoint(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t, supervisor.WithPolicy(tp.Compose(tp.Fixed(10*time.Second), tp.Cap(2*time.Second).Class("page"))))
		page := supervisor.Class("page")
		began := time.Now()
		_, err := do(t, sup, untilStopped, page)
		expired := isExpired(t, err)
		assert.Equal(t, 2*time.Second, time.Since(began), "pages are quick")
		assert.Equal(t, "cap 2s (class page)", expired.Receipt.Budget.GrantedBy)
		assert.Equal(t, 10*time.Second, granted(t, t.Context(), sup, supervisor.Class("job")).Limit, "jobs are slow")
		assert.Equal(t, 10*time.Second, granted(t, t.Context(), sup).Limit)

		b := granted(t, t.Context(), sup, page, supervisor.Within(time.Hour))
		assert.Equal(t, 2*time.Second, b.Limit, "a cap holds for what is explicit")
		assert.Equal(t, time.Second, granted(t, t.Context(), sup, page, supervisor.Within(time.Second)).Limit)
		assert.Equal(t, 2*time.Second, granted(t, t.Context(), sup, page, supervisor.Within(tp.Unlimited)).Limit)

		require.NoError(t, sup.SetPolicy(tp.Compose(tp.Fixed(10*time.Second), tp.Cap(3*time.Second).Kind("fetch"), tp.Cap(4*time.Second).Endpoint("re*"))))
		assert.Equal(t, 10*time.Second, granted(t, t.Context(), sup).Limit, "of another kind and endpoint")
		var rec supervisor.Receipt
		_, err = supervisor.Do(t.Context(), sup, resources.Func(answering).Named("report"), supervisor.WithReceipt(&rec))
		require.NoError(t, err)
		assert.Equal(t, 4*time.Second, rec.Budget.Limit)
	})
}

func TestSeedM05NothingLeftIsRefusedAndNeverNoLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t, supervisor.WithPolicy(tp.Fixed(tp.Unlimited)))
		for _, within := range []time.Duration{0, -1, -time.Hour, -tp.Unlimited} {
			refused(t, t.Context(), sup, supervisor.ErrTooLate, supervisor.Within(within))
		}
		past, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		time.Sleep(time.Second)
		refused(t, past, sup, supervisor.ErrTooLate)

		for _, d := range []time.Duration{0, -1} {
			require.NoError(t, sup.SetPolicy(tp.Func(func(context.Context, tp.Ask) (time.Duration, error) { return d, nil })))
			refused(t, t.Context(), sup, supervisor.ErrTooLate)
		}
		require.NoError(t, sup.SetPolicy(tp.Compose(tp.Fixed(time.Second), tp.Least(2*time.Second))))
		refused(t, t.Context(), sup, supervisor.ErrTooLate) // too small to be of use
	})
}

func TestSeedM06NoLimitOnPurposeIsVisibleInTheReceipt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t)
		var rec supervisor.Receipt
		began := time.Now()
		v, err := do(t, sup, func(context.Context) (int, error) {
			time.Sleep(1000 * time.Hour)
			return 1, nil
		}, supervisor.Within(tp.Unlimited), supervisor.WithReceipt(&rec))
		require.NoError(t, err)
		assert.Equal(t, 1, v)
		assert.Equal(t, 1000*time.Hour, time.Since(began))
		assert.Equal(t, tp.Unlimited, rec.Budget.Limit)
		assert.Equal(t, "within", rec.Budget.GrantedBy)
		assert.Nil(t, rec.Fields().Budget.LimitNS, "in JSON no limit is null")

		require.NoError(t, sup.SetPolicy(tp.Fixed(tp.Unlimited)))
		b := granted(t, t.Context(), sup)
		assert.Equal(t, tp.Unlimited, b.Limit)
		assert.Equal(t, "fixed unlimited", b.GrantedBy)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = supervisor.Do(ctx, sup, resources.Func(untilStopped))
		isExpired(t, err) // the caller's deadline holds all the same
	})
}

func TestSeedM18LeaseIsNotOutlived(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t, supervisor.WithPolicy(tp.Compose(tp.Fixed(time.Hour), tp.Remaining())))
		lease, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		time.Sleep(60 * time.Second)
		b := granted(t, lease, sup)
		assert.Equal(t, 30*time.Second, b.Limit)
		assert.Equal(t, "remaining", b.GrantedBy)
		assert.Equal(t, time.Hour, granted(t, t.Context(), sup).Limit)
		began := time.Now()
		_, err := supervisor.Do(lease, sup, resources.Func(untilStopped), supervisor.Within(time.Hour))
		isExpired(t, err)
		assert.Equal(t, 30*time.Second, time.Since(began), "an explicit limit does not outlive it either")

		end := time.Now().Add(20 * time.Second)
		require.NoError(t, sup.SetPolicy(tp.Compose(tp.Fixed(time.Hour), tp.Until(end))))
		_, err = do(t, sup, untilStopped, supervisor.Within(time.Hour))
		isExpired(t, err)
		assert.Equal(t, end, time.Now(), "a lease as a rule")
		refused(t, t.Context(), sup, supervisor.ErrTooLate)
	})
}

func TestSeedM18NestedRequestsShareWhatIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t, supervisor.WithPolicy(tp.Fixed(10*time.Second)))
		began := time.Now()
		_, err := do(t, sup, func(ctx context.Context) (int, error) {
			time.Sleep(4 * time.Second)
			return supervisor.Do(ctx, sup, resources.Func(untilStopped), supervisor.Within(time.Hour))
		})
		isExpired(t, err)
		assert.Equal(t, 10*time.Second, time.Since(began))
	})
}

// inertPolicy is foreign code: it is asked on a goroutine of its own.
type inertPolicy struct{}

func (inertPolicy) Grant(tp.Ask, tp.Budget) (tp.Budget, error) {
	return tp.Budget{Limit: time.Minute}, nil
}

func TestSeedM19LimitsChangeWhileRequestsRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t, supervisor.WithPolicy(tp.Fixed(10*time.Second)))
		began := time.Now()
		under := make(chan error, 1)
		go func() { // waited for below
			_, err := do(t, sup, untilStopped)
			under <- err
		}()
		time.Sleep(time.Second)
		require.NoError(t, sup.SetPolicy(tp.Fixed(2*time.Second)))
		assert.Equal(t, 2*time.Second, granted(t, t.Context(), sup).Limit, "the next request has the new limit")
		isExpired(t, <-under)
		assert.Equal(t, 10*time.Second, time.Since(began), "one under way keeps its own")
		require.NoError(t, sup.SetPolicy(inertPolicy{}))
		assert.Equal(t, time.Minute, granted(t, t.Context(), sup).Limit)
	})
}

func TestSeedM19BadValueIsRefusedAndTheOldOneStays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		good := tp.Fixed(10 * time.Second)
		sup := start(t, supervisor.WithPolicy(good))
		for name, bad := range map[string]tp.Policy{
			"zero":             tp.Fixed(0),
			"negative":         tp.Fixed(-time.Second),
			"cap of nothing":   tp.Compose(good, tp.Cap(0)),
			"clearance":        tp.Compose(good, tp.Reserve(-1)),
			"pattern":          tp.Compose(good, tp.Cap(time.Second).Endpoint("[")),
			"inside a for":     tp.For(tp.Match{Class: "page"}, tp.Fixed(0)),
			"inside fallback":  tp.Fallback(tp.Fixed(-1)),
			"endless grace":    tp.Compose(good, tp.Grace(tp.Unlimited)),
			"nothing to ask":   tp.Func(nil),
			"negative warning": tp.Compose(good, tp.Warn(-time.Second)),
		} {
			assert.Error(t, sup.SetPolicy(bad), name)
			assert.Equal(t, good, sup.Policy(), name)
			_, err := supervisor.Start(supervisor.WithPolicy(bad))
			assert.Error(t, err, name)
		}
		assert.Equal(t, 10*time.Second, granted(t, t.Context(), sup).Limit)
	})
}

func TestSeedM21ReducedLimitTable(t *testing.T) {
	const s = time.Second
	five := tp.Fixed(5 * s)
	page := []supervisor.Option{supervisor.Class("page")}
	for name, c := range map[string]struct {
		policy  tp.Policy
		options []supervisor.Option
		limit   time.Duration // 0 where it is refused with err
		err     error
	}{
		"default":                         {policy: five, limit: 5 * s},
		"clearance 1":                     {policy: tp.Compose(five, tp.Reserve(1*s)), limit: 4 * s},
		"page cap 2":                      {policy: tp.Compose(five, tp.Cap(2*s).Class("page")), options: page, limit: 2 * s},
		"page cap 2, not a page":          {policy: tp.Compose(five, tp.Cap(2*s).Class("page")), limit: 5 * s},
		"page cap 6, clearance 1":         {policy: tp.Compose(five, tp.Reserve(1*s), tp.Cap(6*s).Class("page")), options: page, limit: 4 * s},
		"clearance 6 is all":              {policy: tp.Compose(five, tp.Reserve(6*s)), err: supervisor.ErrTooLate},
		"clearance 6, floor":              {policy: tp.Compose(five, tp.Reserve(6*s).Floor(1*s)), limit: 1 * s},
		"no default":                      {policy: tp.Compose(tp.Reserve(1*s), tp.Cap(2*s).Class("page")), err: supervisor.ErrNoLimit},
		"no default, fallback":            {policy: tp.Compose(nil, tp.Fallback(five)), limit: 5 * s},
		"default, fallback is not needed": {policy: tp.Compose(tp.Fixed(3*s), tp.Fallback(five)), limit: 3 * s},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var ask tp.Ask
				if c.options != nil {
					ask.Class = "page"
				}
				ask.Kind, ask.Endpoint, ask.Remaining, ask.Now = "func", "func", tp.Unlimited, time.Now()
				b, err := tp.Resolve(c.policy, ask)
				assert.ErrorIs(t, err, c.err)
				assert.Equal(t, c.limit, b.Limit)

				sup := start(t, supervisor.WithPolicy(c.policy))
				if c.err != nil {
					refused(t, t.Context(), sup, c.err, c.options...)
					return
				}
				began := time.Now()
				_, err = do(t, sup, untilStopped, c.options...)
				isExpired(t, err)
				assert.Equal(t, c.limit, time.Since(began))
			})
		})
	}
}

func TestSeedM21RestOfTheCallersTimeIsReducedToo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t, supervisor.WithPolicy(tp.Reserve(time.Second)))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		assert.Equal(t, 4*time.Second, granted(t, ctx, sup).Limit)
		time.Sleep(3 * time.Second)
		assert.Equal(t, time.Second, granted(t, ctx, sup).Limit)
		time.Sleep(time.Second)
		refused(t, ctx, sup, supervisor.ErrTooLate)
	})
}

func TestPolicyGrantsByMessageWhatDoWouldGet(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup, a := newRequester(t, supervisor.WithPolicy(tp.Fixed(10*time.Second)))
		a.tell(&actors.AskPolicy{Ask: tp.Ask{Kind: "fetch", Endpoint: net.JoinHostPort("h", "1"), Remaining: 4 * time.Second, Now: time.Now()}})
		grant := nextOf[*actors.PolicyGrant](a)
		require.NoError(t, grant.Err)
		assert.Equal(t, 4*time.Second, grant.Budget.Limit)

		a.tell(&actors.SetPolicy{Policy: tp.Fixed(-1)})
		assert.Error(t, nextOf[*actors.PolicySet](a).Err)
		a.tell(&actors.SetPolicy{Policy: tp.Fixed(time.Second)})
		assert.NoError(t, nextOf[*actors.PolicySet](a).Err)
		assert.Equal(t, tp.Fixed(time.Second), sup.Policy())
		a.tell(&actors.AskPolicy{Ask: tp.Ask{Within: -1, Remaining: tp.Unlimited, Now: time.Now()}})
		assert.ErrorIs(t, nextOf[*actors.PolicyGrant](a).Err, supervisor.ErrTooLate)

		require.NoError(t, sup.SetPolicy(quitter{}))
		a.tell(&actors.AskPolicy{Ask: tp.Ask{Remaining: time.Minute, Now: time.Now()}})
		var panicked *resources.Panicked
		assert.ErrorAs(t, nextOf[*actors.PolicyGrant](a).Err, &panicked, "it ends the goroutine that asks")
	})
}

// quitter is a policy that ends whoever asks it, and says that it may be asked anywhere.
type quitter struct{}

// Blocks implements timeoutpolicy.Blocker.
func (quitter) Blocks() bool { return false }

// Grant implements timeoutpolicy.Policy.
func (quitter) Grant(tp.Ask, tp.Budget) (tp.Budget, error) {
	runtime.Goexit()
	return tp.Budget{}, nil
}
