package actors

import (
	"slices"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/resources"
)

// Left is a leftover on the books: something a request held that would not go.
type Left struct {
	resources.Leftover
	Kind   string    // of the request it belonged to
	Target string    // of the request it belonged to
	Since  time.Time // when its clean-up gave up waiting
	Tries  int       // how often the reaper has tried since
}

// reaper keeps the book of leftovers: clean-ups that outlived their grace. Each entry has
// a goroutine that waits for it to go, or tries again with a growing delay; their number
// is bounded by the endpoints' limits.
type reaper struct {
	rt   *Runtime
	self *actor.PID
	done chan struct{} // closed when the runtime gives up watching
	once sync.Once

	mu   sync.Mutex
	book []*entry // in the order they came
	gone int64    // how many have gone since
}

// entry is one line in the book.
type entry struct {
	request *requestLeft
	remains resources.Remains
	since   time.Time
	tries   int
}

// requestLeft is what the entries of one request share.
type requestLeft struct {
	kind, target string
	ep           *endpoint // whose books it is on, too; nil for a session's own
	slot         bool      // it holds a slot there
	open         int       // entries still in the book
}

// adopted and reaped are the reaper actor's messages.
type (
	adopted struct{ entries []*entry }
	reaped  struct{ entry *entry }
)

const (
	reapFirst = 100 * time.Millisecond // delay before the first new try
	reapMost  = time.Minute            // longest delay between two tries
)

func (p *reaper) init(rt *Runtime) {
	p.rt, p.done = rt, make(chan struct{})
}

// adopt puts what is left in the book, before anybody is answered, and has it watched.
func (p *reaper) adopt(shared *requestLeft, remains []resources.Remains) {
	msg := &adopted{}
	for _, m := range remains {
		msg.entries = append(msg.entries, &entry{request: shared, remains: m, since: time.Now()})
	}
	p.mu.Lock()
	shared.open += len(remains)
	p.book = append(p.book, msg.entries...)
	p.mu.Unlock()
	p.rt.emitLeft(EventLeftover, shared)
	p.rt.system.Root.Send(p.self, msg)
}

// list copies the book.
func (p *reaper) list() []Left {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Left
	for _, e := range p.book {
		for _, l := range e.remains.Left {
			all = append(all, Left{Leftover: l, Kind: e.request.kind, Target: e.request.target, Since: e.since, Tries: e.tries})
		}
	}
	return all
}

// stop ends the watching: what is in the book then stays there.
func (p *reaper) stop() { p.once.Do(func() { close(p.done) }) }

// watch waits for an entry to go. It is the entry's own goroutine, and ends with it or
// with the runtime.
func (p *reaper) watch(e *entry) {
	if e.remains.Gone != nil {
		select {
		case <-e.remains.Gone:
			p.rt.system.Root.Send(p.self, &reaped{e})
		case <-p.done:
		}
		return
	}
	for delay := reapFirst; ; delay = min(2*delay, reapMost) {
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-p.done:
			timer.Stop()
			return
		}
		if p.retry(e) == nil {
			p.rt.system.Root.Send(p.self, &reaped{e})
			return
		}
	}
}

func (p *reaper) retry(e *entry) error {
	err := e.remains.Retry()
	p.mu.Lock()
	defer p.mu.Unlock()
	e.tries++
	return err
}

// reap strikes out an entry that has gone. What an operation that came back too late left
// behind in its turn takes its place first, so that the slot stays taken.
func (p *reaper) reap(e *entry) {
	ep := e.request.ep
	if e.remains.Then != nil {
		if more := e.remains.Then(); len(more) > 0 {
			if ep != nil {
				ep.leftMore(len(more))
			}
			p.adopt(e.request, more)
		}
	}
	last := p.strike(e)
	if ep != nil {
		ep.leftoverGone(last && e.request.slot)
	}
	p.rt.emitLeft(EventGone, e.request)
}

// strike takes an entry out of the book, and says whether it was its request's last.
func (p *reaper) strike(e *entry) (last bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.book = slices.DeleteFunc(p.book, func(x *entry) bool { return x == e })
	p.gone++
	e.request.open--
	return e.request.open == 0
}

// reaperActor is the reaper's mailbox.
type reaperActor struct{ *reaper }

// Receive implements actor.Actor.
func (a *reaperActor) Receive(c actor.Context) {
	switch msg := c.Message().(type) {
	case *adopted:
		for _, e := range msg.entries {
			go a.watch(e)
		}
	case *reaped:
		a.reap(msg.entry)
	}
}

// Leftovers lists what requests held that would not go, oldest first.
func (rt *Runtime) Leftovers() []Left { return rt.reaper.list() }
