package actors

import (
	"context"
	"slices"
	"time"
	"unsafe"

	"github.com/asynkron/protoactor-go/actor"
)

// NewMailbox makes a mailbox for tests.
func NewMailbox() actor.Mailbox { return &mailbox{} }

// RequestSize is what a request takes, in bytes.
const RequestSize = unsafe.Sizeof(request{})

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

// CarryingOn counts the requests that carry on a chain of alarms.
func (rt *Runtime) CarryingOn() (n int) {
	for _, e := range rt.allEndpoints() {
		e.mu.Lock()
		n += e.alarms.under
		e.mu.Unlock()
	}
	return n
}

// TakeAlarms takes the alarms of all releases, as if their time were over, and returns the call
// that they make then.
func (rt *Runtime) TakeAlarms() (timeOver func()) {
	var taken []*request
	for _, e := range rt.allEndpoints() {
		e.mu.Lock()
		for _, a := range slices.Clone(e.alarms.due) {
			if a.request.alarmReleases {
				e.stopAlarm(a.request)
				taken = append(taken, a.request)
			}
		}
		e.mu.Unlock()
	}
	return func() {
		for _, r := range taken {
			r.keeper.TimeOver()
		}
	}
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

// HeldUp is an endpoint whose follower never has its turn. All that is set was submitted when
// it was made.
type HeldUp struct {
	e     *endpoint
	start time.Time
}

// NewHeldUp makes one for tests.
func NewHeldUp() *HeldUp {
	h := &HeldUp{&endpoint{rt: &Runtime{}}, time.Now()}
	h.e.alarms.followed = true
	return h
}

// Set sets the alarms of requests for when these limits are over. Those that wait leave when
// they are ended; the others, which are at work, stay until leave is called. ended says after
// how long each was.
func (h *HeldUp) Set(wait bool, limits ...time.Duration) (ended func() []time.Duration, leave func(i int)) {
	all := make([]*request, len(limits))
	h.e.mu.Lock()
	defer h.e.mu.Unlock()
	for i, limit := range limits {
		r := &request{rt: h.e.rt, ep: h.e, submitted: h.start}
		r.op.caller, r.op.deadline = context.Background(), h.start.Add(limit)
		if wait {
			h.e.queue.insert(r)
		}
		r.arm(h.start)
		all[i] = r
	}
	ended = func() (after []time.Duration) {
		for _, r := range all {
			r.mu.Lock()
			after = append(after, max(0, r.ended.since()))
			r.mu.Unlock()
		}
		return after
	}
	return ended, func(i int) {
		h.e.mu.Lock()
		defer h.e.mu.Unlock()
		h.e.passOn(all[i])
	}
}

// Timer says when the timer goes off, since the first alarm was set.
func (h *HeldUp) Timer() time.Duration {
	h.e.mu.Lock()
	defer h.e.mu.Unlock()
	return h.e.alarms.at
}

// CarryOn ends what is due first.
func (h *HeldUp) CarryOn() { h.e.carryOn() }

// Follow is a turn of the follower. It reports whether that was to wait for the next, and how
// many chains there are.
func (h *HeldUp) Follow() (waits bool, chains int) {
	waits = h.e.waits()
	h.e.mu.Lock()
	defer h.e.mu.Unlock()
	h.e.alarms.followed = true
	return waits, h.e.alarms.under
}

// SetUnheard is Set for one that waits, while the timer's call is on its way.
func (h *HeldUp) SetUnheard(limit time.Duration) {
	h.e.alarms.set = true
	h.Set(true, limit)
}

// Refuse has the breaker turn away all that wait, by a clock that was read when h was made,
// as soon as the alarm of the first that is due has been taken.
func (h *HeldUp) Refuse() {
	e := h.e
	e.alarmed()
	e.takeAlarm(false)
	e.mu.Lock()
	e.limits.AtOnce, e.valve = 1, newValve(Limits{Breaker: &Breaker{Failures: 1}})
	report, _ := e.valve.breaker.Allow()
	report(context.DeadlineExceeded)
	t := e.promote(h.start)
	e.mu.Unlock()
	t.take(h.start)
}

// Chains counts the requests that carry one on.
func (h *HeldUp) Chains() int {
	h.e.mu.Lock()
	defer h.e.mu.Unlock()
	return h.e.alarms.under
}
