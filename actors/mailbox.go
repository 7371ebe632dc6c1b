package actors

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"
)

// synchronous is a dispatcher that runs a mailbox on the goroutine that posts to it.
// Handlers under it never wait and never call foreign code.
type synchronous struct{}

func (synchronous) Schedule(fn func()) { fn() }
func (synchronous) Throughput() int    { return 300 }

// mailbox is a small actor.Mailbox: two queues under one lock, system messages first.
// protoactor's own costs eight allocations an actor more. What is posted before the
// handlers are registered waits for the first post after that. The zero value is ready.
type mailbox struct {
	mu         sync.Mutex
	system     queue
	user       []any
	running    bool
	suspended  bool
	inline     bool          // the dispatcher is synchronous: save the closure
	refuse     func(msg any) // gets the user messages that the actor no longer does; nil before retire
	invoker    actor.MessageInvoker
	dispatcher actor.Dispatcher
}

// queue is a first-in, first-out queue; its first two entries cost no allocation: a request
// gets two system messages and no user messages at all.
type queue struct {
	first [2]any
	items []any
}

func (q *queue) push(msg any) {
	if q.items == nil {
		q.items = q.first[:0]
	}
	q.items = append(q.items, msg)
}

func (q *queue) pop() any {
	if len(q.items) == 0 {
		return nil
	}
	msg := q.items[0]
	q.items[0] = nil
	q.items = q.items[1:]
	if len(q.items) == 0 {
		q.items = nil
	}
	return msg
}

// RegisterHandlers implements actor.Mailbox.
func (m *mailbox) RegisterHandlers(invoker actor.MessageInvoker, dispatcher actor.Dispatcher) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.invoker, m.dispatcher = invoker, dispatcher
	_, m.inline = dispatcher.(synchronous)
}

// Start implements actor.Mailbox.
func (m *mailbox) Start() {}

// UserMessageCount implements actor.Mailbox.
func (m *mailbox) UserMessageCount() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.user)
}

// PostUserMessage implements actor.Mailbox.
func (m *mailbox) PostUserMessage(msg any) { m.post(msg, false) }

// PostSystemMessage implements actor.Mailbox.
func (m *mailbox) PostSystemMessage(msg any) { m.post(msg, true) }

// retire is for an actor that has stopped: protoactor loses what its mailbox still holds
// and what comes while its PID is being forgotten. refuse gets those messages.
func (m *mailbox) retire(refuse func(msg any)) {
	m.mu.Lock()
	m.refuse = refuse
	waiting := m.user
	m.user = nil
	m.mu.Unlock()
	for _, msg := range waiting {
		refuse(msg)
	}
}

func (m *mailbox) post(msg any, system bool) {
	if msg == nil {
		return // no actor does anything with it, and in a queue it stands for the end
	}
	m.mu.Lock()
	if refuse := m.refuse; refuse != nil && !system {
		m.mu.Unlock()
		refuse(msg)
		return
	}
	if system {
		m.system.push(msg)
	} else {
		m.user = append(m.user, msg)
	}
	start := !m.running && m.invoker != nil
	m.running = m.running || start
	m.mu.Unlock()
	switch {
	case !start:
	case m.inline:
		m.process()
	default:
		m.dispatcher.Schedule(m.process)
	}
}

// process delivers until both queues are empty. Only one goroutine is in it at a time.
func (m *mailbox) process() {
	for {
		msg, system := m.next()
		if msg == nil {
			return
		}
		m.deliver(msg, system)
	}
}

// next takes the next message; nil ends the processing.
func (m *mailbox) next() (msg any, system bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		msg = m.system.pop()
		switch msg.(type) {
		case *actor.SuspendMailbox:
			m.suspended = true
			continue
		case *actor.ResumeMailbox:
			m.suspended = false
			continue
		case nil:
		default:
			return msg, true
		}
		if !m.suspended {
			msg = m.nextUser()
		}
		m.running = msg != nil
		return msg, false
	}
}

// nextUser takes the next user message. Called with mu held.
func (m *mailbox) nextUser() any {
	if len(m.user) == 0 {
		return nil
	}
	msg := m.user[0]
	m.user[0] = nil
	m.user = m.user[1:]
	if len(m.user) == 0 {
		m.user = nil
	}
	return msg
}

func (m *mailbox) deliver(msg any, system bool) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil {
			m.invoker.EscalateFailure(v, msg)
			return
		}
		// Foreign code called runtime.Goexit: this goroutine ends, the actor does not. The
		// new one ends when the mailbox is empty.
		go m.process()
	}()
	if system {
		m.invoker.InvokeSystemMessage(msg)
	} else {
		m.invoker.InvokeUserMessage(msg)
	}
	returned = true
}
