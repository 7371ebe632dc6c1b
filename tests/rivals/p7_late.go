package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/timeout"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

const lateLimit = 100 * time.Millisecond

// The figures of P7.
const (
	answerP50  = "answer p50"
	answerP99  = "answer p99"
	cleanupP50 = "clean-up p50"
	cleanupP99 = "clean-up p99"
)

// latePrecision is P7: how late an expiry is, when many are due at once.
func latePrecision() benchmark {
	work := fmt.Sprintf("limits of %v: deadline to answer, and to the end of the clean-up", lateLimit)
	return benchmark{"P7", work, func(s *suite) (*trial, error) {
		sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(lateLimit)))
		if err != nil {
			return nil, err
		}
		executor := failsafe.With(timeout.New[int](lateLimit))
		ways := []struct {
			name string
			expirer
		}{
			{curfew, func(ctx context.Context, cleaned func()) error { return expireCurfew(ctx, sup, cleaned) }},
			{idiom, expireSelect},
			{failSafe, func(_ context.Context, cleaned func()) error { return expireFailsafe(executor, cleaned) }},
		}
		t := &trial{roundsMin: 9, close: func() { _ = sup.Close() }}
		burst, spread := s.scale(10_000, 2_000), s.scale(100_000, 10_000)
		for _, load := range []struct {
			name  string
			count int
			over  time.Duration
		}{
			{fmt.Sprintf("%d at once", burst), burst, 0},
			{fmt.Sprintf("%d over 2 s", spread), spread, 2 * time.Second},
		} {
			named := func(way string) string { return way + ", " + load.name }
			for _, w := range ways {
				t.contenders = append(t.contenders, contender{named(w.name), func(ctx context.Context) (readings, error) {
					return storm(ctx, load.count, load.over, w.expirer)
				}})
			}
			t.contenders = append(t.contenders, inSystem(named(future), func(ctx context.Context, system *actor.ActorSystem) (readings, error) {
				return storm(ctx, load.count, load.over, func(_ context.Context, cleaned func()) error { return expireFuture(system, cleaned) })
			}))
			t.goals = append(t.goals,
				value(named(curfew), answerP50, nanoseconds).atMost(float64(time.Millisecond), 0),
				ratio(answerP99, named(curfew), named(idiom)).atMost(1.2, 2),
				ratio(cleanupP99, named(curfew), named(idiom)).atMost(1.2, 2))
		}
		t.notes = append(t.notes, "The work blocks until it is closed under it. Curfew closes it in a clean-up hook and answers after that; "+
			"the others see their context end, or stop their actor, and answer when they will.")
		return t, nil
	}}
}

// expirer makes one request that expires and returns when it is answered. It calls cleaned
// once, when what the request held is gone, which may be later.
type expirer func(ctx context.Context, cleaned func()) error

// storm makes count requests, spread evenly over a time, and waits for all that they leave.
func storm(ctx context.Context, count int, over time.Duration, expire expirer) (readings, error) {
	answered, cleaned := make([]time.Duration, count), make([]time.Duration, count)
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	all.Add(2 * count)
	m := startMeter(false)
	start := time.Now()
	for i := range count {
		if over > 0 {
			time.Sleep(time.Until(start.Add(over * time.Duration(i) / time.Duration(count))))
		}
		go func() {
			defer all.Done()
			due := time.Now().Add(lateLimit)
			err := expire(ctx, func() {
				cleaned[i] = time.Since(due)
				all.Done()
			})
			answered[i] = time.Since(due)
			if err != nil {
				failed.CompareAndSwap(nil, &err)
			}
		}()
	}
	all.Wait()
	used := m.each(count)[1]
	if err := failed.Load(); err != nil {
		return nil, *err
	}
	a, c := lengths(answered), lengths(cleaned)
	return readings{
		{answerP50, percentile(a, 50), nanoseconds}, {answerP99, percentile(a, 99), nanoseconds}, {"answer latest", a[count-1], nanoseconds},
		{cleanupP50, percentile(c, 50), nanoseconds}, {cleanupP99, percentile(c, 99), nanoseconds}, used,
	}, nil
}

// expired checks that err says what it has to.
func expired(err error, want ...error) error {
	for _, w := range want {
		if errors.Is(err, w) {
			return nil
		}
	}
	return fmt.Errorf("it did not expire: %w", err)
}

func expireCurfew(ctx context.Context, sup *supervisor.Supervisor, cleaned func()) error {
	thing := make(chan struct{})
	begun := false
	work := resources.Func(func(context.Context) (int, error) {
		begun = true
		<-thing
		cleaned()
		return 0, nil
	}).Cleanup(func() error {
		close(thing)
		return nil
	})
	_, err := supervisor.Do(ctx, sup, work)
	if !begun { // the time was over before its turn came: it held nothing
		cleaned()
	}
	return expired(err, context.DeadlineExceeded)
}

func expireSelect(ctx context.Context, cleaned func()) error {
	_, err := bySelect(ctx, lateLimit, func(ctx context.Context) (int, error) {
		<-ctx.Done()
		cleaned()
		return 0, ctx.Err()
	})
	return expired(err, context.DeadlineExceeded)
}

func expireFailsafe(executor failsafe.Executor[int], cleaned func()) error {
	_, err := executor.GetWithExecution(func(e failsafe.Execution[int]) (int, error) {
		<-e.Canceled()
		cleaned()
		return 0, nil
	})
	return expired(err, timeout.ErrExceeded)
}

func expireFuture(system *actor.ActorSystem, cleaned func()) error {
	pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(*actor.Stopped); ok {
			cleaned()
		}
	}))
	_, err := system.Root.RequestFuture(pid, askNow{}, lateLimit).Result()
	system.Root.Stop(pid)
	return expired(err, actor.ErrTimeout)
}
