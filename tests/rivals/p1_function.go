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

// naiveActor is the rival that shows what a request actor costs when nothing is done about it.
const naiveActor = "naive supervised actor"

// function is P1: what supervision costs where there is nothing else to pay for.
func function() benchmark {
	return benchmark{"P1", "a function that returns at once, under a limit of 1 s", func(s *suite) (*trial, error) {
		const limit = time.Second
		sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(limit)))
		if err != nil {
			return nil, err
		}
		work := func(context.Context) (int, error) { return 7, nil }
		use := resources.Func(work)
		plain := func() (int, error) { return 7, nil }
		executor := failsafe.With(timeout.New[int](limit))
		ops := s.scale(100_000, 20_000)

		return &trial{
			roundsMin: 9,
			contenders: []contender{
				loop(curfew, ops, func(ctx context.Context) error { return seven(supervisor.Do(ctx, sup, use)) }),
				loop(idiom, ops, func(ctx context.Context) error { return seven(bySelect(ctx, limit, work)) }),
				loop(failSafe+", sync", ops, func(context.Context) error { return seven(executor.Get(plain)) }),
				loop(failSafe+", async", ops, func(context.Context) error { return seven(executor.GetAsync(plain).Get()) }),
				loopIn(future, ops, func(system *actor.ActorSystem) func(context.Context) error {
					return func(context.Context) error { return seven(spawnAndAsk(system, limit, plain)) }
				}),
				loopIn(naiveActor, ops/4, func(system *actor.ActorSystem) func(context.Context) error {
					naive := startNaive(system, limit)
					return func(context.Context) error { return seven(naive.do(plain)) }
				}),
			},
			goals: []goal{
				ratio(cpu, curfew, idiom).atMost(2.0, 3.5).gated(relative),
				ratio(cpu, curfew, naiveActor).atMost(0.35, 0.35).gated(relative),
				value(curfew, allocs, count).atMost(16, 16).gated(counted),
			},
			close: func() { _ = sup.Close() },
		}, nil
	}}
}

func seven(n int, err error) error {
	if err == nil && n != 7 {
		err = fmt.Errorf("%d came back", n)
	}
	return err
}

// spawnAndAsk runs work in an actor of its own and waits for a future.
func spawnAndAsk(system *actor.ActorSystem, limit time.Duration, work func() (int, error)) (int, error) {
	pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(askNow); ok {
			n, _ := work()
			c.Respond(n)
		}
	}))
	defer system.Root.Stop(pid)
	v, err := system.Root.RequestFuture(pid, askNow{}, limit).Result()
	n, _ := v.(int)
	return n, err
}

// askNow asks an actor for its answer.
type askNow struct{}

// naive is a supervisor as one would write it at first: it asks a policy actor by message,
// and has a child, with Props, a context and a timer of its own, for each request.
type naive struct {
	system *actor.ActorSystem
	pid    *actor.PID
}

type (
	naiveRequest struct{ work func() (int, error) }
	naiveAsk     struct{}
	naiveResult  struct {
		value int
		err   error
	}
)

func startNaive(system *actor.ActorSystem, limit time.Duration) *naive {
	policy := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(naiveAsk); ok {
			c.Respond(limit)
		}
	}))
	pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		msg, ok := c.Message().(naiveRequest)
		if !ok {
			return
		}
		granted, err := c.RequestFuture(policy, naiveAsk{}, time.Second).Result()
		if err != nil {
			c.Respond(naiveResult{err: err})
			return
		}
		c.Spawn(actor.PropsFromProducer(func() actor.Actor {
			return &naiveChild{work: msg.work, limit: granted.(time.Duration), client: c.Sender()}
		}))
	}))
	return &naive{system, pid}
}

func (n *naive) do(work func() (int, error)) (int, error) {
	v, err := n.system.Root.RequestFuture(n.pid, naiveRequest{work}, 10*time.Second).Result()
	if err != nil {
		return 0, err
	}
	r := v.(naiveResult)
	return r.value, r.err
}

// naiveChild is one request.
type naiveChild struct {
	work   func() (int, error)
	limit  time.Duration
	client *actor.PID
	result naiveResult
	cancel context.CancelFunc
	timer  *time.Timer
}

// Receive implements actor.Actor.
func (n *naiveChild) Receive(c actor.Context) {
	switch msg := c.Message().(type) {
	case *actor.Started:
		self, root := c.Self(), c.ActorSystem().Root
		n.result = naiveResult{err: context.DeadlineExceeded}
		var ctx context.Context
		ctx, n.cancel = context.WithTimeout(context.Background(), n.limit)
		n.timer = time.AfterFunc(n.limit, func() { root.Stop(self) })
		go func() { // ends with the work
			v, err := n.work()
			if ctx.Err() == nil {
				root.Send(self, naiveResult{v, err})
			}
		}()
	case naiveResult:
		n.result = msg
		c.Stop(c.Self())
	case *actor.Stopped:
		n.timer.Stop()
		n.cancel()
		c.Send(n.client, n.result)
	}
}
