package actors

import (
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// EventKind says what happened to a request.
type EventKind uint8

// The events of a request's life. Every request that was submitted has an EventSubmitted
// and an EventFinished, whatever becomes of it; one that is refused before that has
// EventFinished alone.
const (
	EventSubmitted EventKind = iota + 1
	EventStarted             // its operation has been set going
	EventWarned              // it has taken longer than its budget's Warn
	EventFinished            // it is over, its clean-up included; the event carries the receipt
	EventLeftover            // something of it would not go
	EventGone                // such a leftover has gone at last
)

var eventNames = [...]string{"", "submitted", "started", "warned", "finished", "leftover", "gone"}

// String returns a word for logs.
func (k EventKind) String() string { return eventNames[k] }

// Event is one step in the life of a request.
type Event struct {
	At      time.Time
	What    EventKind
	Request uint64 // numbers the requests of one runtime from 1; 0 for leftovers
	Kind    string
	Target  string
	Receipt *Receipt // of EventFinished
}

// observerQueue is how many events wait for a slow hook; beyond it they are dropped and
// counted.
const observerQueue = 4096

// observer hands events to the user's hook: in order, on one goroutine of its own, never
// waited for. Its actor owns that goroutine.
type observer struct {
	self    *actor.PID
	hook    func(Event)
	queue   chan Event
	quit    chan struct{}
	done    chan struct{}
	over    atomic.Bool // stop has given up on the hook
	dropped atomic.Int64
	lastID  atomic.Uint64
}

func newObserver(hook func(Event)) *observer {
	return &observer{
		hook:  hook,
		queue: make(chan Event, observerQueue),
		quit:  make(chan struct{}),
		done:  make(chan struct{}),
	}
}

// Receive implements actor.Actor.
func (o *observer) Receive(c actor.Context) {
	if _, ok := c.Message().(*actor.Started); ok {
		go o.run() // stop waits for it
	}
}

// run serves the hook, and goes on where that ends its goroutine.
func (o *observer) run() {
	returned := false
	defer func() {
		if returned {
			close(o.done)
		} else {
			go o.run() // it ends as this one would have
		}
	}()
	o.serve()
	returned = true
}

// serve calls the hook until the runtime closes, then for what is still in the queue.
func (o *observer) serve() {
	for !o.over.Load() { // with both ready, select takes either
		select {
		case e := <-o.queue:
			o.call(e)
		case <-o.quit:
			o.flush()
			return
		}
	}
}

// flush hands over what is left in the queue, until stop has waited long enough.
func (o *observer) flush() {
	for !o.over.Load() {
		select {
		case e := <-o.queue:
			o.call(e)
		default:
			return
		}
	}
}

// call contains a panic of the hook.
func (o *observer) call(e Event) {
	defer func() { _ = recover() }()
	o.hook(e)
}

// stop lets the hook have what is in the queue, for at most a second.
func (o *observer) stop() {
	close(o.quit)
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-o.done:
	case <-timer.C:
		o.over.Store(true)
	}
}

func (o *observer) offer(e Event) {
	select {
	case o.queue <- e:
	default:
		o.dropped.Add(1)
	}
}

// emit reports an event where somebody listens.
func (rt *Runtime) emit(what EventKind, r *request, rec *Receipt) {
	if rt.observer != nil {
		rt.observer.note(what, r, rec)
	}
}

func (o *observer) note(what EventKind, r *request, rec *Receipt) {
	o.offer(Event{At: time.Now(), What: what, Request: r.id, Kind: r.kind, Target: r.target, Receipt: rec})
}

// emitLeft reports what became of leftovers.
func (rt *Runtime) emitLeft(what EventKind, l *requestLeft) {
	if rt.observer != nil {
		rt.observer.offer(Event{At: time.Now(), What: what, Kind: l.kind, Target: l.target})
	}
}
