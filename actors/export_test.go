package actors

import (
	"context"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// NewMailbox makes a mailbox for tests.
func NewMailbox() actor.Mailbox { return &mailbox{} }

// Synchronous is the dispatcher of request actors.
type Synchronous = synchronous

// Alarms counts the requests whose alarms are set.
func (rt *Runtime) Alarms() (n int) {
	for _, e := range rt.allEndpoints() {
		e.mu.Lock()
		n += len(e.alarms.due)
		e.mu.Unlock()
	}
	return n
}

// SetAlarm sets the alarm of a request for when limit is over, by a clock that was read as
// long ago as heldUp. It returns a function that tells whether it has gone off.
func SetAlarm(limit, heldUp time.Duration) (over func() bool) {
	e := &endpoint{}
	r := &request{ep: e, submitted: time.Now()}
	r.op.caller, r.op.deadline = context.Background(), r.submitted.Add(limit)
	time.Sleep(heldUp)
	e.mu.Lock()
	defer e.mu.Unlock()
	r.arm(r.submitted)
	return func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.outcome == Expired
	}
}
