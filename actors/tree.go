package actors

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/resources"
)

// tree is the actor of one supervisor: the mailbox around a roster. What the roster decides
// it carries out; it never waits for a child. Its handlers run on whatever goroutine posts
// to it. It is a limb of the supervisor above it.
type tree struct {
	rt     *Runtime
	spec   Tree
	path   string
	values context.Context // for the services below, without its end
	limit  time.Time       // the deadline from above; zero: none
	mail   mailbox
	done   chan struct{} // closed when it has stopped

	// release ends the watch over the context a tree of its own was grown with; nil below.
	release func() bool

	mu       sync.Mutex // guards what follows; held by every handler, never with another tree's
	roster   *roster
	branches map[string]*branch // by name
	byPID    map[string]*branch
	expiry   *time.Timer // at the deadline
	waker    *time.Timer // the back-off of those that are started together
	mover    *time.Timer // moves on to the next that is stopped
	began    time.Time
	ending   time.Time // when it began to stop
	ended    time.Time
	left     []*straggler // what would not go, below included
}

// branch is what the mailbox keeps of a member.
type branch struct {
	m        *member
	pid      *actor.PID
	limb     limb
	deadline time.Time // of its run; zero: none
	waker    *time.Timer
	waiters  []chan error // for what was asked of it; one slot each
}

// The messages of a tree.
type (
	treeAdd struct {
		child Child
		reply chan error // one slot
	}
	treeAsk struct {
		name  string
		next  next
		reply chan error // one slot
	}
	treeEnd struct {
		exit Exit
		by   time.Time
	}
	treeWake   struct{ m *member }
	treeMove   struct{ m *member }
	treeGone   struct{ m *member }
	treeExpire struct{}
)

func newTree(rt *Runtime, spec Tree, path string, values context.Context, deadline time.Time) *tree {
	return &tree{
		rt: rt, spec: spec, path: path, values: values, limit: deadline,
		done: make(chan struct{}), branches: make(map[string]*branch), byPID: make(map[string]*branch),
		roster: newRoster(path, spec, time.Time{}, rand.Float64),
	}
}

func (t *tree) props() *actor.Props {
	return propsOf(t, false).Configure(actor.WithMailbox(func() actor.Mailbox { return &t.mail }))
}

// post sends a message to the tree. One that has stopped does not answer: see done.
func (t *tree) post(msg any) { t.mail.PostUserMessage(msg) }

// stop implements limb.
func (t *tree) stop(until time.Time, cause error) {
	t.post(&treeEnd{Exit{Reason: ReasonShutdown, Err: quiet(cause)}, until})
}

// exit implements limb.
func (t *tree) exit() Exit {
	t.mu.Lock()
	defer t.mu.Unlock()
	exit := t.roster.exit
	exit.left = t.left
	return exit
}

// Receive implements actor.Actor.
func (t *tree) Receive(c actor.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	switch msg := c.Message().(type) {
	case *actor.Started:
		t.started(now)
	case *treeAdd:
		t.add(msg, now)
	case *treeAsk:
		t.ask(msg, now)
	case *treeEnd:
		t.roster.end(msg.exit, msg.by, now)
	case *treeWake:
		t.roster.wake(msg.m, now)
	case *treeMove:
		t.roster.movedOn(msg.m, now)
	case *treeGone:
		t.roster.gone(msg.m, now)
	case *treeExpire:
		t.roster.expire(now)
	case *actor.Terminated:
		t.terminated(msg.Who, now)
	case *actor.Stopping: // of the roster's own accord, or somebody stopped what is above us
		t.roster.end(Exit{Reason: ReasonShutdown, Err: ErrClosed}, now.Add(t.roster.shutdown), now)
	case *actor.Stopped:
		t.PostStop()
		return
	}
	t.carryOut(c, now)
}

// started starts the children, in order.
func (t *tree) started(now time.Time) {
	t.began = now
	deadline := sooner(t.limit, now, t.spec.Limit)
	t.roster.deadline = deadline
	if !deadline.IsZero() {
		t.roster.limit = deadline.Sub(now)
		t.expiry = time.AfterFunc(deadline.Sub(now), func() { t.post(&treeExpire{}) })
	}
	for _, child := range t.spec.Children {
		t.enroll(child, now)
	}
}

func (t *tree) enroll(c Child, now time.Time) {
	c = c.named()
	t.branches[c.Name] = &branch{}
	t.branches[c.Name].m = t.roster.add(c, now)
}

// add is a new child's.
func (t *tree) add(msg *treeAdd, now time.Time) {
	switch {
	case t.roster.ended:
		msg.reply <- ErrTreeStopped
	case t.branches[msg.child.Name] != nil:
		msg.reply <- ErrNameTaken
	default:
		t.enroll(msg.child, now)
		msg.reply <- nil
	}
}

// ask is a user's wish about a child. It is answered when the child has settled.
func (t *tree) ask(msg *treeAsk, now time.Time) {
	b := t.branches[msg.name]
	switch {
	case t.roster.ended:
		msg.reply <- ErrTreeStopped
	case b == nil:
		msg.reply <- ErrNoChild
	default:
		b.waiters = append(b.waiters, msg.reply)
		t.roster.ask(b.m, msg.next, now)
	}
}

// terminated takes in the end of a child's run.
func (t *tree) terminated(who *actor.PID, now time.Time) {
	b := t.byPID[who.Id]
	if b == nil {
		return
	}
	delete(t.byPID, who.Id)
	exit := b.limb.exit()
	if len(exit.left) > 0 {
		t.giveUp(b, exit.left)
	}
	if _, below := b.limb.(*tree); !below { // of a tree its last state can still be seen
		b.limb = nil
	}
	b.pid = nil
	t.roster.exited(b.m, exit, now)
}

// giveUp hands what would not go to the reaper, and has the roster told when it has gone.
// What is below a tree of our own that tree has handed over already.
func (t *tree) giveUp(b *branch, left []*straggler) {
	if _, below := b.limb.(*tree); !below {
		for _, s := range left {
			t.rt.reaper.adopt(&requestLeft{kind: s.kind, target: s.path}, []resources.Remains{s.remains()})
		}
	}
	t.left = append(stillThere(t.left), left...)
	m := b.m
	whenGone(left, func() { t.post(&treeGone{m}) })
}

// carryOut takes the roster's steps, and those that follow from them.
func (t *tree) carryOut(c actor.Context, now time.Time) {
	if t.roster.ended && t.ending.IsZero() {
		t.ending = now
	}
	for steps := t.roster.take(); len(steps) > 0; steps = t.roster.take() {
		for _, s := range steps {
			t.carryOutOne(c, s, now)
		}
	}
}

func (t *tree) carryOutOne(c actor.Context, s step, now time.Time) {
	switch s.do {
	case stepStart:
		t.start(c, s.m, now)
	case stepStop:
		t.stopChild(s, now)
	case stepWake:
		t.wakeAt(s, now)
	case stepSettled:
		t.settled(t.branches[s.m.Name])
	case stepDropped:
		b := t.branches[s.m.Name]
		delete(t.branches, s.m.Name)
		t.settled(b)
	case stepFinish:
		c.Stop(c.Self())
	}
}

// start sets a run of a child going.
func (t *tree) start(c actor.Context, m *member, now time.Time) {
	b, path := t.branches[m.Name], t.path+"/"+m.Name
	b.deadline = sooner(t.roster.deadline, now, m.Limit)
	switch {
	case m.Service != nil:
		b.limb = newService(path, m.Child, t.values, now, b.deadline)
	case m.Props != nil:
		b.limb = newPlain(t.rt.system, path, m.Child, now, b.deadline)
	default:
		b.limb = newTree(t.rt, *m.Tree, path, t.values, t.roster.deadline)
	}
	// Names are not used twice: a stop meant for one run must not hit the next.
	b.pid = c.SpawnPrefix(b.limb.props(), actorName(m.Name))
	t.byPID[b.pid.Id] = b
}

// stopChild asks a child to stop, and sees to it that the next is asked in its time.
func (t *tree) stopChild(s step, now time.Time) {
	if !s.moveOn.IsZero() {
		t.mover = replace(t.mover, s.moveOn.Sub(now), func() { t.post(&treeMove{s.m}) })
	}
	cause := ErrStopping
	if t.roster.ended && t.roster.exit.Err != nil {
		cause = t.roster.exit.Err
	}
	t.branches[s.m.Name].limb.stop(s.at, cause)
}

func (t *tree) wakeAt(s step, now time.Time) {
	wake := func() { t.post(&treeWake{s.m}) }
	if s.m == nil {
		t.waker = replace(t.waker, s.at.Sub(now), wake)
		return
	}
	b := t.branches[s.m.Name]
	b.waker = replace(b.waker, s.at.Sub(now), wake)
}

// replace stops a timer and arms another in its place.
func replace(old *time.Timer, d time.Duration, f func()) *time.Timer {
	stopTimers(old)
	return time.AfterFunc(d, f)
}

func stopTimers(timers ...*time.Timer) {
	for _, timer := range timers {
		if timer != nil {
			timer.Stop()
		}
	}
}

// settled answers those who asked something of a child.
func (t *tree) settled(b *branch) {
	if b == nil {
		return
	}
	for _, reply := range b.waiters {
		reply <- t.unsettled(b)
	}
	b.waiters = nil
}

// unsettled is what there is to say about a child that would not go, or that is not started
// again because the whole has ended.
func (t *tree) unsettled(b *branch) error {
	switch {
	case b.m.state == memberStuck:
		return &stuckError{b.m.last.left}
	case t.roster.ended && b.m.next == nextAgain:
		return ErrTreeStopped
	}
	return nil
}

// stuckError carries what would not go to who asked, who writes the report of it.
type stuckError struct{ left []*straggler }

func (*stuckError) Error() string { return "it did not stop" }

// PostStop is the supervisor's end, triggered once by its actor's stop: every child has
// stopped or has been given up.
func (t *tree) PostStop() {
	stopTimers(t.expiry, t.waker, t.mover)
	for _, b := range t.branches {
		stopTimers(b.waker)
		t.settled(b)
	}
	t.left = stillThere(t.left)
	t.ended = time.Now()
	t.rt.forest.fell(t)
	if t.release != nil {
		t.release()
	}
	close(t.done)
}

func stillThere(all []*straggler) []*straggler {
	var still []*straggler
	for _, s := range all {
		if !s.gone() {
			still = append(still, s)
		}
	}
	return still
}
