package main

import (
	"context"
	"log/slog"
	"runtime"

	"github.com/asynkron/protoactor-go/actor"
)

// stockSystem is an actor system as protoactor makes one, but for what it would log.
func stockSystem() *actor.ActorSystem {
	silent := slog.New(slog.DiscardHandler)
	return actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return silent }))
}

// inSystem is a contender that has a stock system for the time of its turn. Once in use, the
// registry of one is 11 MB for the collector to read, which is nobody else's business.
func inSystem(name string, turn func(context.Context, *actor.ActorSystem) (readings, error)) contender {
	return contender{name, func(ctx context.Context) (readings, error) {
		system := stockSystem()
		defer system.Shutdown()
		runtime.GC()
		return turn(ctx, system)
	}}
}

// loopIn is loop for an op that needs an actor system, and in it what start makes.
func loopIn(name string, ops int, start func(*actor.ActorSystem) func(context.Context) error) contender {
	return inSystem(name, func(ctx context.Context, system *actor.ActorSystem) (readings, error) {
		return loop(name, ops, start(system)).run(ctx)
	})
}
