package actors

import (
	"context"
	"log/slog"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	cmap "github.com/orcaman/concurrent-map"

	"curfew.example/resources"
)

// This file is the seam to protoactor: what the rest of the package would otherwise
// have to know about its hazards.

// stopMessage is shared: it has no fields.
var stopMessage = &actor.Stop{}

// NewSystem makes an actor system of our own: it logs to logger alone (protoactor's
// default writes colour to standard error), the goroutine it starts for the first dead
// letter lives a millisecond rather than a second, and its registry is small, which is a
// quarter of what a request costs, and works where an int has 32 bits. It takes some 4 ms,
// and leaves 3 MB to the collector: one a process.
func NewSystem(logger *slog.Logger) *actor.ActorSystem {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	system := actor.NewActorSystem(
		actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger { return logger }),
		actor.WithDeadLetterThrottleInterval(time.Millisecond),
	)
	compact(system.ProcessRegistry)
	return system
}

// registryMaps is how many maps the registry of a system of ours is spread over.
const registryMaps = 512

// compact gives the registry of a new system, which nobody uses yet, fewer maps. protoactor
// makes 32,768: with an actor a request, each is touched before one is touched again, which
// is a miss of every cache at each spawn and stop, and 11 MB for each cycle of the collector.
func compact(registry *actor.ProcessRegistryValue) {
	spread := registry.LocalPIDs.LocalPIDs
	slices := max(1, registryMaps/cmap.SHARD_COUNT)
	if strconv.IntSize == 32 {
		slices = 1 // of more, protoactor's index is negative for every other name
	}
	compacted := &actor.SliceMap{LocalPIDs: make([]cmap.ConcurrentMap, slices)}
	for i := range compacted.LocalPIDs {
		compacted.LocalPIDs[i] = cmap.New()
	}
	for _, m := range spread {
		m.IterCb(func(id string, process any) { compacted.GetBucket(id).Set(id, process) })
	}
	registry.LocalPIDs = compacted
}

// stopOnly is the strategy of every supervisor of ours: a child that fails is stopped.
// Restart can override a stop that is already queued, Resume loses it, and Escalate at a
// guardian ends the process.
type stopOnly struct{}

// HandleFailure implements actor.SupervisorStrategy.
func (stopOnly) HandleFailure(_ *actor.ActorSystem, sup actor.Supervisor, child *actor.PID, _ *actor.RestartStatistics, _, _ any) {
	sup.StopChildren(child)
}

// safe is the base of every actor of ours: a panic in a handler, Stopping and Stopped
// included, is logged and goes no further. Bare, it would lose the stop or leave a
// parent waiting for ever.
type safe struct{ actor.Actor }

// Receive implements actor.Actor.
func (s safe) Receive(c actor.Context) {
	defer func() {
		if v := recover(); v != nil {
			c.Logger().LogAttrs(context.Background(), slog.LevelError, "curfew: an actor panicked; this is a bug",
				slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
		}
	}()
	s.Actor.Receive(c)
}

// propsOf describes a long-lived actor of ours. Its handlers run on the goroutine that
// posts to it unless dispatched says that they get one of their own.
func propsOf(a actor.Actor, dispatched bool) *actor.Props {
	var d actor.Dispatcher = synchronous{}
	if dispatched {
		d = actor.NewDefaultDispatcher(300)
	}
	return actor.PropsFromProducer(func() actor.Actor { return safe{a} },
		actor.WithMailbox(func() actor.Mailbox { return &mailbox{} }),
		actor.WithDispatcher(d),
		actor.WithSupervisor(stopOnly{}))
}

// processProps describes a child that is a bare process of ours, made by make once its
// PID is known. Whoever spawns it waits for it as for any child.
func processProps(make func(self, parent *actor.PID) actor.Process) *actor.Props {
	spawn := func(system *actor.ActorSystem, id string, _ *actor.Props, parent actor.SpawnerContext) (*actor.PID, error) {
		pid := system.NewLocalPID(id)
		process := make(pid, parent.Self())
		registered, absent := system.ProcessRegistry.Add(process, id)
		if !absent {
			return registered, actor.ErrNameExists
		}
		return registered, nil
	}
	return actor.PropsFromFunc(func(actor.Context) {}, actor.WithSpawnFunc(spawn))
}

// tellTerminated removes a bare process and tells its parent, as protoactor does for actors.
func tellTerminated(system *actor.ActorSystem, self, parent *actor.PID) {
	system.ProcessRegistry.Remove(self)
	if parent == nil {
		return
	}
	if p, ok := system.ProcessRegistry.Get(parent); ok {
		p.SendSystemMessage(parent, &actor.Terminated{Who: self})
	}
}

// panicked wraps what recover returned.
func panicked(v any) error { return &resources.Panicked{Value: v, Stack: debug.Stack()} }
