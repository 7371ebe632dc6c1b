package actors

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/resources"
)

// endpointKey finds an endpoint.
type endpointKey struct{ kind, name string }

// endpoint is what requests for the same thing share: a concurrency cap, a bounded queue,
// a book of the requests at work. Its actor owns them, through the gate; the book itself is
// kept under a lock, so that admitting a request takes no message.
type endpoint struct {
	rt     *Runtime
	key    endpointKey
	limits Limits
	self   *actor.PID // set before the endpoint is published
	gate   gate

	mu     latch // guards what follows
	closed bool
	live   requestList // admitted, their slot taken
	queue  requestList
	busy   int // slots taken, by live requests and by leftovers
	left   int // leftovers
	used   time.Time
	valve  valve
	alarms alarms
	wake   *time.Timer // begins those who wait for the rate; nil until first needed
}

// admit takes a new request in, to the queue or straight through it. The deadline timer is
// armed here, at submission. gone says that the endpoint has closed meanwhile and another
// one has to be found.
func (e *endpoint) admit(r *request) (gone bool, err error) {
	now := r.now()
	e.mu.Lock()
	r.ep = e
	switch {
	case e.closed:
		e.mu.Unlock()
		return true, nil
	case e.left >= e.limits.Leftovers && e.left > 0:
		err = e.littered(r)
		e.mu.Unlock()
		return false, err
	}
	e.queue.insert(r)
	r.arm(now) // under the lock, so that a timer that fires at once finds the request in its list
	t := e.promote(now)
	if r.in == &e.queue && (e.queue.len > e.limits.Waiting || e.valve.shut()) {
		e.queue.remove(r)
		e.stopAlarm(r)
		err = e.crowded(r)
		r.turnAway(err)
	}
	e.mu.Unlock()
	if t.refused != nil && t.excuse(r) {
		err = r.cause
	}
	t.take(now)
	return false, err
}

// littered says that too much is left of earlier requests. Called with mu held.
func (e *endpoint) littered(r *request) error {
	return fmt.Errorf("%s: %w: %d leftovers of earlier requests", title(e.key.kind, r.target), ErrOverloaded, e.left)
}

// crowded says why r may not wait. Called with mu held.
func (e *endpoint) crowded(r *request) error {
	if e.valve.shut() {
		return fmt.Errorf("%s: %w", title(e.key.kind, r.target), ErrBreakerOpen)
	}
	return fmt.Errorf("%s: %w: %d at work, %d waiting", title(e.key.kind, r.target), ErrOverloaded, e.busy, e.queue.len)
}

// arm starts the timers of a request that was submitted; it is now.
func (r *request) arm(now time.Time) {
	if !r.op.deadline.IsZero() {
		r.ep.setAlarm(r, r.op.deadline.Sub(now), now)
	}
	if r.budget.Warn > 0 {
		r.warn = time.AfterFunc(r.budget.Warn, func() { r.rt.emit(EventWarned, r, nil) })
	}
}

// turn is whose turn it is: those who may begin, and those whom the breaker turned away.
type turn struct {
	first   *request   // nil for nobody
	more    []*request // only after first
	refused []*request
}

// excuse takes r from among the refused, whose refusal its caller hears in another way; false when
// it is not among them.
func (t *turn) excuse(r *request) bool {
	i := slices.Index(t.refused, r)
	if i >= 0 {
		t.refused = slices.Delete(t.refused, i, i+1)
	}
	return i >= 0
}

// take lets them, on this goroutine and without the endpoint's lock; it is now.
func (t turn) take(now time.Time) {
	for _, r := range t.refused {
		r.finish(r.moment(now))
	}
	if t.first != nil {
		t.first.begin(now)
	}
	for _, r := range t.more {
		r.begin(now)
	}
}

// promote finds out whose turn it is; it is now. Called with mu held.
func (e *endpoint) promote(now time.Time) (t turn) {
	for {
		next := e.queue.head
		for next != nil && next.past(next.moment(now)) {
			next = next.next // its timer is about to take it out: it must not begin
		}
		if next == nil || e.closed || !e.free(next) {
			return t
		}
		if wait := e.valve.wait(); wait > 0 {
			e.wakeIn(wait)
			return t
		}
		e.queue.remove(next)
		if err := e.valve.allow(next); err != nil {
			e.stopAlarm(next)
			next.turnAway(err)
			t.refused = append(t.refused, next)
			continue
		}
		e.occupy(next)
		if t.first == nil {
			t.first = next
		} else {
			t.more = append(t.more, next)
		}
	}
}

// wakeIn has the queue looked at when the rate allows the next. Called with mu held.
func (e *endpoint) wakeIn(d time.Duration) {
	if e.wake != nil {
		e.wake.Reset(d)
		return
	}
	e.wake = time.AfterFunc(d, func() {
		now := time.Now()
		e.mu.Lock()
		t := e.promote(now)
		e.mu.Unlock()
		t.take(now)
	})
}

// free reports whether r may begin now. Called with mu held.
func (e *endpoint) free(r *request) bool {
	return r.unbounded || e.limits.AtOnce < 0 || e.busy < e.limits.AtOnce
}

// occupy gives r a slot. Called with mu held.
func (e *endpoint) occupy(r *request) {
	e.busy++
	e.live.push(r)
	e.gate.children.Add(1)
}

// begin spawns the request actor, on the goroutine of whoever calls, under the gate.
func (r *request) begin(now time.Time) {
	r.begun = r.moment(now)
	r.ep.gate.spawn(r)
}

// withdraw takes r out of the queue; false when it is not in it.
func (e *endpoint) withdraw(r *request) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if r.in != &e.queue {
		return false
	}
	e.queue.remove(r)
	e.stopAlarm(r)
	return true
}

// leave ends r's stay. Its slot is free when nothing of it is left, else when the reaper
// says that the last of it has gone. It returns whose turn it is then.
func (e *endpoint) leave(r *request, remains []resources.Remains, now time.Time) (t turn) {
	holds := len(remains) > 0 && !r.replaced
	e.mu.Lock()
	e.live.remove(r)
	r.alarmUnset = e.stopAlarm(r)
	e.used = now
	if !holds {
		e.busy--
		t = e.promote(now)
	}
	e.left += len(remains)
	e.mu.Unlock()
	if len(remains) > 0 {
		e.rt.reaper.adopt(&requestLeft{kind: r.kind, target: r.target, ep: e, slot: holds}, remains)
	}
	return t
}

// leftMore is the reaper's call: a leftover that went has left more behind.
func (e *endpoint) leftMore(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.left += n
}

// leftoverGone is the reaper's call: one leftover has gone; free says that it was the last
// of a request whose slot it held.
func (e *endpoint) leftoverGone(free bool) {
	now := time.Now()
	e.mu.Lock()
	e.left--
	var t turn
	if free {
		e.busy--
		t = e.promote(now)
	}
	e.mu.Unlock()
	t.take(now)
}

// close refuses new requests and ends those that wait.
func (e *endpoint) close() {
	e.mu.Lock()
	e.closed = true
	waiting := e.queue.all()
	if e.wake != nil {
		e.wake.Stop()
	}
	e.mu.Unlock()
	for _, r := range waiting {
		r.abort(Cancelled, NoPhase, time.Time{}, ErrClosed)
	}
}

// closeIfIdle closes an endpoint that nobody has used since before, and whose rate and
// breaker hold nobody up.
func (e *endpoint) closeIfIdle(before time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	idle := !e.closed && e.busy == 0 && e.queue.len == 0 && e.left == 0 && e.used.Before(before) && e.valve.atRest()
	e.closed = e.closed || idle
	return idle
}

// requests lists those at work.
func (e *endpoint) requests() []*request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.live.all()
}

// Receive implements actor.Actor: the endpoint's own actor, the parent of the gate.
func (e *endpoint) Receive(c actor.Context) {
	switch c.Message().(type) {
	case *actor.Started:
		e.self = c.Self()
		e.gate.open(c, e)
	case *actor.Stopping:
		e.rt.forget(e)
		e.close()
	case *actor.Stopped:
		e.silence()
	}
}

// gate is a process between an endpoint and its requests: the endpoint's child and the
// requests' parent. Requests are spawned under it from any goroutine, without the
// endpoint's mailbox. A stopped gate stops its requests and terminates after the last.
type gate struct {
	ep       *endpoint
	self     *actor.PID
	parent   *actor.PID
	prefix   string
	spawner  spawner
	children atomic.Int64 // requests not terminated yet, and 1 for the gate itself until it is stopped
	stopped  atomic.Bool
}

// open spawns the gate as a child of its endpoint's actor.
func (g *gate) open(c actor.Context, e *endpoint) {
	g.ep, g.spawner = e, spawner{c.ActorSystem().Root, g}
	g.children.Store(1)
	props := processProps(func(self, parent *actor.PID) actor.Process {
		g.self, g.parent, g.prefix = self, parent, self.Id+"/"
		return g
	})
	if _, err := c.SpawnNamed(props, "gate"); err != nil {
		panic(err) // the name is free: an endpoint starts once
	}
}

// spawn makes r an actor under the gate, on this goroutine.
func (g *gate) spawn(r *request) {
	kit := kits.Get().(*kit)
	kit.request = r
	system := g.ep.rt.system
	// As the registry's NextId, in the one string that is needed.
	id := string(strconv.AppendUint(append(make([]byte, 0, 64), g.prefix...), atomic.AddUint64(&system.ProcessRegistry.SequenceID, 1), 36))
	_, err := actor.DefaultSpawner(system, id, kit.props, &g.spawner)
	kit.request = nil
	kits.Put(kit)
	if err != nil {
		panic(err) // the name is new: the registry counts
	}
}

// spawner is the parent context that protoactor's spawner asks for its Self alone.
type spawner struct {
	actor.SpawnerContext
	gate *gate
}

func (s *spawner) Self() *actor.PID { return s.gate.self }

// kit is what it takes to spawn a request without building Props for each: protoactor's
// producers take no argument, so the request is laid into the kit for the time of the
// spawn. A request is never restarted, which would ask the producer again.
type kit struct {
	props   *actor.Props
	request *request
}

var kits = sync.Pool{New: func() any {
	k := &kit{}
	k.props = actor.PropsFromProducer(func() actor.Actor { return k.request },
		actor.WithMailbox(func() actor.Mailbox { return (*requestMail)(k.request) }),
		actor.WithDispatcher(synchronous{}),
		actor.WithSupervisor(stopOnly{}))
	return k
}}

// SendUserMessage implements actor.Process: a gate has no messages of its own.
func (g *gate) SendUserMessage(*actor.PID, any) {}

// SendSystemMessage implements actor.Process.
func (g *gate) SendSystemMessage(_ *actor.PID, msg any) {
	switch msg := msg.(type) {
	case *actor.Stop:
		g.stop()
	case *actor.Terminated:
		g.childGone()
	case *actor.Failure:
		if p, ok := g.ep.rt.system.ProcessRegistry.Get(msg.Who); ok {
			p.Stop(msg.Who)
		}
	}
}

// Stop implements actor.Process.
func (g *gate) Stop(*actor.PID) { g.stop() }

func (g *gate) stop() {
	if !g.stopped.CompareAndSwap(false, true) {
		return
	}
	for _, r := range g.ep.requests() {
		r.stop()
	}
	g.childGone()
}

func (g *gate) childGone() {
	if g.children.Add(-1) == 0 {
		tellTerminated(g.ep.rt.system, g.self, g.parent)
	}
}

// requestList is a doubly linked list through its requests, guarded by its endpoint's lock.
type requestList struct {
	head, tail *request
	len        int
}

func (l *requestList) push(r *request) {
	r.in, r.prev, r.next = l, l.tail, nil
	if l.tail != nil {
		l.tail.next = r
	} else {
		l.head = r
	}
	l.tail = r
	l.len++
}

// insert puts r behind all of its priority or a higher one.
func (l *requestList) insert(r *request) {
	behind := l.tail
	for behind != nil && behind.priority < r.priority {
		behind = behind.prev
	}
	if behind == l.tail {
		l.push(r)
		return
	}
	r.in, r.prev = l, behind
	if behind == nil {
		r.next, l.head = l.head, r
	} else {
		r.next, behind.next = behind.next, r
	}
	r.next.prev = r
	l.len++
}

func (l *requestList) remove(r *request) {
	if r.in != l {
		return
	}
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		l.head = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	} else {
		l.tail = r.prev
	}
	r.in, r.prev, r.next = nil, nil, nil
	l.len--
}

func (l *requestList) all() []*request {
	all := make([]*request, 0, l.len)
	for r := l.head; r != nil; r = r.next {
		all = append(all, r)
	}
	return all
}

// actorName makes a name that is safe in a PID: protoactor's separator is taken out.
func actorName(name string) string {
	if name == "" {
		return "-"
	}
	return strings.ReplaceAll(name, "/", "|")
}
