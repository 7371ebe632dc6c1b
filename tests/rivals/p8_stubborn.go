package main

import (
	"context"
	"fmt"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/timeout"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// The figures of P8.
const (
	backAfter   = "caller back after"
	leftCounted = "leftovers counted then"
	goneAfter   = "off the books after"
)

// stubborn is P8: work that does not listen. Nobody can end it; what counts is that the
// caller is free, and that somebody knows of what is left.
func stubborn() benchmark {
	const limit, takes = 50 * time.Millisecond, 500 * time.Millisecond
	work := fmt.Sprintf("work that ignores its limit of %v for %v, no grace, no force", limit, takes)
	return benchmark{"P8", work, func(s *suite) (*trial, error) {
		sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Compose(timeoutpolicy.Fixed(limit),
			timeoutpolicy.Grace(timeoutpolicy.None), timeoutpolicy.Force(timeoutpolicy.None))))
		if err != nil {
			return nil, err
		}
		system := stockSystem()
		executor := failsafe.With(timeout.New[int](limit))
		deaf := func() (int, error) {
			time.Sleep(takes)
			return 7, nil
		}
		deafTo := func(context.Context) (int, error) { return deaf() }
		// Nobody is counting but Curfew; the rest is waited for, so that rounds do not meet.
		abandons := func(name string, call func() error, want ...error) contender {
			return contender{name, func(context.Context) (readings, error) {
				start := time.Now()
				err := expired(call(), want...)
				back := time.Since(start)
				time.Sleep(time.Until(start.Add(takes + 50*time.Millisecond)))
				return readings{{backAfter, float64(back), nanoseconds}}, err
			}}
		}
		return &trial{
			contenders: []contender{
				{curfew, func(ctx context.Context) (readings, error) { return leaveBehind(ctx, sup, deafTo, takes) }},
				abandons(idiom, func() error {
					_, err := bySelect(context.Background(), limit, deafTo)
					return err
				}, context.DeadlineExceeded),
				abandons(failSafe+", sync", func() error {
					_, err := executor.Get(deaf)
					return err
				}, timeout.ErrExceeded),
				abandons(failSafe+", async", func() error {
					_, err := executor.GetAsync(deaf).Get()
					return err
				}, timeout.ErrExceeded),
				abandons(future, func() error {
					_, err := spawnAndAsk(system, limit, deaf)
					return err
				}, actor.ErrTimeout),
			},
			goals: []goal{
				value(curfew, backAfter, nanoseconds).atMost(float64(55*time.Millisecond), 0),
				value(curfew, leftCounted, count).atMost(1, 0),
				value(curfew, leftCounted, count).noLess(1, 0),
				value(curfew, goneAfter, nanoseconds).atMost(float64(takes+50*time.Millisecond), 0),
			},
			close: func() {
				_ = sup.Close()
				system.Shutdown()
			},
		}, nil
	}}
}

// leaveBehind lets one request expire that leaves a goroutine, and watches the books.
func leaveBehind(ctx context.Context, sup *supervisor.Supervisor, work func(context.Context) (int, error), takes time.Duration) (readings, error) {
	start := time.Now()
	_, err := supervisor.Do(ctx, sup, resources.Func(work))
	back := time.Since(start)
	if err := expired(err, context.DeadlineExceeded); err != nil {
		return nil, err
	}
	left := len(sup.Leftovers())
	for len(sup.Leftovers()) > 0 {
		if time.Since(start) > 10*takes {
			return nil, fmt.Errorf("a leftover is on the books for %v", time.Since(start))
		}
		time.Sleep(time.Millisecond)
	}
	return readings{
		{backAfter, float64(back), nanoseconds},
		{leftCounted, float64(left), count},
		{goneAfter, float64(time.Since(start)), nanoseconds},
	}, nil
}
