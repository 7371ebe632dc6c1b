package actors

import (
	"github.com/asynkron/protoactor-go/actor"
)

// holder is the child that an actor in Stopping spawns when something has to be released:
// protoactor sends Stopped only when it has terminated. Without a child Stopped would come
// microseconds after Stopping, and what was released later would be lost.
type holder struct{}

// sendHolder spawns a holder under c that does work and then lets c stop. work blocks for
// no longer than the ladder's bounds.
func sendHolder(c actor.Context, work func()) {
	system, parent := c.ActorSystem(), c.Self()
	props := processProps(func(_, _ *actor.PID) actor.Process { return holder{} })
	self, err := c.SpawnNamed(props, "holder")
	if err != nil {
		panic(err) // the name is free: an actor stops once
	}
	// The actor under c waits for this goroutine: it cannot reach Stopped before. It starts
	// when the holder is on the books, or its end might be noted before its beginning.
	go func() {
		defer tellTerminated(system, self, parent)
		work()
	}()
}

// SendUserMessage implements actor.Process.
func (holder) SendUserMessage(*actor.PID, any) {}

// SendSystemMessage implements actor.Process. A holder has its bounds and is not stopped.
func (holder) SendSystemMessage(*actor.PID, any) {}

// Stop implements actor.Process.
func (holder) Stop(*actor.PID) {}
