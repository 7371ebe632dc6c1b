package main

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

const requestFuture = "protoactor: RequestFuture"

// sessionRequest is P2: a request to something that lives on.
func sessionRequest() benchmark {
	return benchmark{"P2", "a request to a living session actor, under a limit of 1 s", func(s *suite) (*trial, error) {
		const limit = time.Second
		sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(limit)))
		if err != nil {
			return nil, err
		}
		sess, err := supervisor.Open(context.Background(), sup, parrot{})
		if err != nil {
			return nil, err
		}
		ops := s.scale(100_000, 20_000)
		return &trial{
			roundsMin: 9,
			contenders: []contender{
				loop(curfew, ops, func(ctx context.Context) error { return seven(sess.ask(ctx)) }),
				loopIn(requestFuture, ops, func(system *actor.ActorSystem) func(context.Context) error {
					pid := system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
						if _, ok := c.Message().(askNow); ok {
							c.Respond(7)
						}
					}))
					return func(context.Context) error {
						v, err := system.Root.RequestFuture(pid, askNow{}, limit).Result()
						n, _ := v.(int)
						return seven(n, err)
					}
				}),
			},
			goals: []goal{
				ratio(cpu, curfew, requestFuture).atMost(1.0, 0).gated(relative),
				ratio(wall, curfew, requestFuture).atMost(1.0, 0),
			},
			notes: []string{"RequestFuture has a deadline and no clean-up: what the actor does when the time is over goes on. " +
				"It is answered by an actor that works in its mailbox; a session's call runs beside it, so that it can be ended and holds up no other."},
			close: func() {
				_ = sess.Close()
				_ = sup.Close()
			},
		}, nil
	}}
}

// parrot is the least that a session can be: its handle is a number, and its one call
// says it.
type parrot struct{}

// Spec implements resources.Session.
func (parrot) Spec() (resources.Spec, error) {
	return resources.Spec{Kind: "parrot", Target: "parrot", Endpoint: "parrot"}, nil
}

// Open implements resources.Session.
func (parrot) Open(_ context.Context, held *resources.Held) (int, error) {
	held.Opened()
	return 7, nil
}

// Face implements resources.Session.
func (parrot) Face(c resources.Caller[int]) parrotFace { return parrotFace{c} }

type parrotFace struct{ resources.Caller[int] }

func (f parrotFace) ask(ctx context.Context) (int, error) {
	v, err := f.Do(ctx, func(_ context.Context, n int, held *resources.Held) (any, error) {
		held.Opened()
		return n, nil
	})
	n, _ := v.(int)
	return n, err
}
