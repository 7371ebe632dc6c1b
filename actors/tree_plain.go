package actors

import (
	"context"
	"fmt"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/resources"
)

// plain is the process between a supervisor and a plain actor of somebody else's: the
// supervisor's child and the actor's parent. Because of it a producer that blocks, a
// handler that does, or one that panics while stopping, never holds the supervisor up.
// protoactor's own restarts do not come into it: an actor that fails is stopped, and
// started anew by our rules.
type plain struct {
	system   *actor.ActorSystem
	path     string
	child    *actor.Props
	limit    time.Duration // what it was given until deadline, for the error
	deadline time.Time     // zero: none
	shutdown time.Duration

	self, parent *actor.PID
	ready        chan struct{} // closed when pid is known, or is not going to be
	back         chan struct{} // closed when the actor has gone
	hurry        chan struct{} // one slot: until has come nearer
	timer        *time.Timer   // of the deadline

	mu     sync.Mutex
	pid    *actor.PID
	asked  time.Time // when it was asked to stop; zero: not yet
	until  time.Time // when it is given up
	end    ending
	isBack bool
	over   bool // the supervisor has been told
	out    Exit
	gone   *straggler // once it was given up
}

func newPlain(system *actor.ActorSystem, path string, c Child, now, deadline time.Time) *plain {
	return &plain{
		system: system, path: path, child: c.Props,
		limit: deadline.Sub(now), deadline: deadline, shutdown: shutdownOf(c.Shutdown),
		ready: make(chan struct{}), back: make(chan struct{}), hurry: make(chan struct{}, 1),
	}
}

func (p *plain) props() *actor.Props {
	return processProps(func(self, parent *actor.PID) actor.Process {
		p.self, p.parent = self, parent
		if !p.deadline.IsZero() {
			p.timer = time.AfterFunc(time.Until(p.deadline), p.expire)
		}
		// A producer is foreign code. await waits for it as for the actor itself, until it is
		// given up; after that the reaper watches it.
		go p.spawn()
		return p
	})
}

func (p *plain) exit() Exit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out
}

// spawn makes the actor. Its producer may end the goroutine.
func (p *plain) spawn() {
	var pid *actor.PID
	var err error
	returned := false
	defer func() {
		if !returned {
			err = panicked(nil)
		}
		p.spawned(pid, err)
	}()
	pid, err = p.produce()
	returned = true
}

// spawned takes over the actor, and stops it at once if that was asked for meanwhile.
func (p *plain) spawned(pid *actor.PID, err error) {
	p.mu.Lock()
	p.pid = pid
	asked := !p.asked.IsZero()
	close(p.ready)
	p.mu.Unlock()
	switch {
	case err != nil:
		p.failed(err)
		p.childGone()
	case asked:
		p.stopActor(pid)
	}
}

// produce contains a producer's panic.
func (p *plain) produce() (pid *actor.PID, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v)
		}
	}()
	labels := pprof.WithLabels(context.Background(), pprof.Labels(labelPath, p.path, labelRun, p.self.Id))
	pprof.SetGoroutineLabels(labels) // the goroutine ends with spawn
	props := p.child.Clone(actor.WithReceiverMiddleware(p.contain(labels)))
	worksFor(func() {
		pid, err = spawnerOf()(p.system, p.self.Id+"/actor", props, underProcess{p.system.Root, p.self})
	})
	return pid, err
}

// spawnerOf returns what spawns by the Props' own spawn function where they have one, as a
// router's have: protoactor shows it to nobody but at the end of a chain of middleware.
func spawnerOf() (spawn actor.SpawnFunc) {
	actor.PropsFromFunc(nil, actor.WithSpawnMiddleware(func(last actor.SpawnFunc) actor.SpawnFunc {
		spawn = last
		return last
	}))
	return spawn
}

// underProcess is the parent context that protoactor's spawner asks for its Self alone.
type underProcess struct {
	actor.SpawnerContext
	self *actor.PID
}

func (u underProcess) Self() *actor.PID { return u.self }

// contain notes a panic of the actor with its stack. One while stopping ends there:
// protoactor would lose the stop over it, or leave a parent waiting for ever.
func (p *plain) contain(labels context.Context) actor.ReceiverMiddleware {
	return func(next actor.ReceiverFunc) actor.ReceiverFunc {
		return func(c actor.ReceiverContext, env *actor.MessageEnvelope) {
			pprof.SetGoroutineLabels(labels)
			returned := false
			defer p.recovered(c, env.Message, &returned)
			worksFor(func() { next(c, env) })
			returned = true
		}
	}
}

func (p *plain) recovered(c actor.ReceiverContext, msg any, returned *bool) {
	pprof.SetGoroutineLabels(context.Background())
	if *returned {
		return
	}
	v := recover()
	ours := p.self.Equal(c.Parent()) // not so a pool's routee, which is its router's affair
	if ours {
		p.failed(panicked(v))
	}
	if v == nil {
		if ours {
			p.exited(c)
		}
		return
	}
	switch msg.(type) {
	case *actor.Stopping, *actor.Stopped:
	default:
		panic(v) // for protoactor, which suspends the mailbox and sends us a Failure
	}
}

// exited takes in that the actor's goroutine ends (runtime.Goexit). Its mailbox ends with
// it, so no stop would ever reach it: there is no actor any more.
func (p *plain) exited(c actor.ReceiverContext) {
	if full, ok := c.(actor.Context); ok {
		for _, child := range full.Children() {
			p.system.Root.Stop(child)
		}
	}
	p.system.ProcessRegistry.Remove(c.Self())
	p.childGone()
}

// failed books the first thing that went wrong.
func (p *plain) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.end.err == nil {
		p.end.err, p.end.panicked = err, true
	}
}

// SendUserMessage implements actor.Process: messages are for the actor, not for us.
func (p *plain) SendUserMessage(*actor.PID, any) {}

// SendSystemMessage implements actor.Process.
func (p *plain) SendSystemMessage(_ *actor.PID, msg any) {
	switch msg := msg.(type) {
	case *actor.Stop:
		p.stop(time.Now().Add(p.shutdown), ErrStopping)
	case *actor.Terminated:
		p.childGone()
	case *actor.Failure:
		p.failed(&resources.Panicked{Value: msg.Reason, Stack: fmt.Appendf(nil, "while it handled a %T", msg.Message)})
		p.halt(time.Now().Add(p.shutdown), func() {})
	}
}

// Stop implements actor.Process.
func (p *plain) Stop(*actor.PID) { p.stop(time.Now().Add(p.shutdown), ErrStopping) }

// stop implements limb.
func (p *plain) stop(until time.Time, _ error) {
	p.halt(until, func() { p.end.stopped = true })
}

// expire is the deadline timer's call.
func (p *plain) expire() {
	p.halt(time.Now().Add(p.shutdown), func() {
		p.end.expired, p.end.err = true, &LimitError{Path: p.path, Limit: p.limit}
	})
}

// halt asks the actor to stop and has it waited for. The first to call it says why, with
// mu held.
func (p *plain) halt(until time.Time, why func()) {
	p.mu.Lock()
	first := p.asked.IsZero() && !p.isBack
	switch {
	case first:
		p.asked, p.until = time.Now(), until
		why()
	case until.Before(p.until):
		p.until = until
	}
	pid := p.pid
	p.mu.Unlock()
	select {
	case p.hurry <- struct{}{}:
	default: // await has not seen the last one yet
	}
	if !first {
		return
	}
	// The supervisor waits for it: no longer than until.
	go p.await()
	if pid != nil {
		p.stopActor(pid)
	}
}

// stopActor asks the actor to stop. The Stop of a process that is not protoactor's own may
// wait, a router's for up to ten seconds, and this is the supervisor's goroutine.
func (p *plain) stopActor(pid *actor.PID) {
	process, _ := p.system.ProcessRegistry.Get(pid)
	if _, own := process.(*actor.ActorProcess); own {
		p.system.Root.Stop(pid)
		return
	}
	go func() { // await waits for the actor, not for this
		defer func() { _ = recover() }() // an actor that does not go is named
		process.Stop(pid)
	}()
}

// await waits for the actor to go, until it is given up.
func (p *plain) await() {
	awaitUntil(p.back, p.hurry, func() time.Time {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.until
	})
	p.finish()
}

// childGone takes in that there is no actor any more.
func (p *plain) childGone() {
	p.mu.Lock()
	if p.isBack {
		p.mu.Unlock()
		return
	}
	p.isBack = true
	close(p.back)
	asked, late := !p.asked.IsZero(), p.gone
	p.mu.Unlock()
	switch {
	case late != nil:
		p.system.ProcessRegistry.Remove(p.self)
		late.leave()
	case !asked: // else await does it
		p.finish()
	}
}

// finish tells the supervisor, once: the actor has gone or has been given up. In that case
// the process stays, to hear of its end.
func (p *plain) finish() {
	p.mu.Lock()
	first, gone := !p.over, p.isBack
	if first {
		p.close()
	}
	p.mu.Unlock() // the supervisor's handlers run on this goroutine, and ask for the exit
	switch {
	case !first:
	case gone:
		tellTerminated(p.system, p.self, p.parent)
	default:
		tell(p.system, p.self, p.parent)
	}
}

// close settles how the run ended. Called with mu held.
func (p *plain) close() {
	p.over = true
	if p.timer != nil {
		p.timer.Stop()
	}
	p.out = p.end.exit()
	if p.isBack {
		p.child = nil // a supervisor keeps its dead children's memory
		return
	}
	p.gone = newStraggler(p.path, "actor", p.self.Id, p.asked, p.until)
	p.out.left = []*straggler{p.gone}
}

// tell says to parent that self has terminated.
func tell(system *actor.ActorSystem, self, parent *actor.PID) {
	if p, ok := system.ProcessRegistry.Get(parent); ok {
		p.SendSystemMessage(parent, &actor.Terminated{Who: self})
	}
}
