package actors_test

import (
	"sync"
	"testing"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/stretchr/testify/assert"

	"curfew.example/actors"
)

// recorder is a mailbox's invoker.
type recorder struct {
	mu      sync.Mutex
	inside  int
	overlap bool
	got     []any
	failed  []any
	on      func(any)
}

func (r *recorder) enter(msg any) {
	r.mu.Lock()
	r.inside++
	r.overlap = r.overlap || r.inside > 1
	r.got = append(r.got, msg)
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.inside--
		r.mu.Unlock()
	}()
	if r.on != nil {
		r.on(msg)
	}
}

func (r *recorder) InvokeSystemMessage(msg any)     { r.enter(msg) }
func (r *recorder) InvokeUserMessage(msg any)       { r.enter(msg) }
func (r *recorder) EscalateFailure(reason, msg any) { r.failed = append(r.failed, reason, msg) }

func TestMailboxDeliversSystemMessagesFirstAndTheRestInOrder(t *testing.T) {
	m, r := actors.NewMailbox(), &recorder{}
	for i := range 5 {
		m.PostUserMessage(i)
	}
	m.PostSystemMessage("stop")
	assert.Empty(t, r.got, "nobody is there yet")
	assert.Equal(t, 5, m.UserMessageCount())
	m.RegisterHandlers(r, actors.Synchronous{})
	m.PostSystemMessage("started")
	assert.Equal(t, []any{"stop", "started", 0, 1, 2, 3, 4}, r.got)
}

func TestMailboxRunsWhatAHandlerPostsAfterTheHandler(t *testing.T) {
	m := actors.NewMailbox()
	r := &recorder{}
	r.on = func(msg any) {
		if msg == "a" {
			m.PostSystemMessage("b")
		}
	}
	m.RegisterHandlers(r, actors.Synchronous{})
	m.PostUserMessage("a")
	assert.Equal(t, []any{"a", "b"}, r.got)
	assert.False(t, r.overlap)
}

func TestASuspendedMailboxKeepsUserMessages(t *testing.T) {
	m, r := actors.NewMailbox(), &recorder{}
	m.RegisterHandlers(r, actors.Synchronous{})
	m.PostSystemMessage(&actor.SuspendMailbox{})
	m.PostUserMessage("later")
	m.PostSystemMessage("now")
	assert.Equal(t, []any{"now"}, r.got)
	m.PostSystemMessage(&actor.ResumeMailbox{})
	assert.Equal(t, []any{"now", "later"}, r.got)
}

func TestAPanicInAHandlerIsEscalatedAndTheRestDelivered(t *testing.T) {
	m := actors.NewMailbox()
	r := &recorder{on: func(msg any) {
		if msg == 1 {
			panic("boom")
		}
	}}
	m.RegisterHandlers(r, actors.Synchronous{})
	for i := range 3 {
		m.PostUserMessage(i)
	}
	assert.Equal(t, []any{0, 1, 2}, r.got)
	assert.Equal(t, []any{"boom", 1}, r.failed)
}

func TestMailboxIsOneHandlerAtATimeForManySenders(t *testing.T) {
	for name, dispatcher := range map[string]actor.Dispatcher{
		"synchronous": actors.Synchronous{},
		"goroutine":   actor.NewDefaultDispatcher(300),
	} {
		t.Run(name, func(t *testing.T) {
			const senders, each = 8, 1000
			m, r := actors.NewMailbox(), &recorder{}
			var left sync.WaitGroup
			left.Add(senders * each)
			r.on = func(any) { left.Done() }
			m.RegisterHandlers(r, dispatcher)
			var all sync.WaitGroup
			for s := range senders {
				all.Go(func() {
					for i := range each {
						if i%10 == 0 {
							m.PostSystemMessage([2]int{s, i})
						} else {
							m.PostUserMessage([2]int{s, i})
						}
					}
				})
			}
			all.Wait()
			left.Wait()
			assert.False(t, r.overlap)
			assert.Len(t, r.got, senders*each)
			last := map[[2]int]int{}
			for _, msg := range r.got {
				from, i := msg.([2]int)[0], msg.([2]int)[1]
				lane := [2]int{from, 0}
				if i%10 == 0 {
					lane[1] = 1
				}
				assert.GreaterOrEqual(t, i, last[lane], "out of order")
				last[lane] = i
			}
		})
	}
}
