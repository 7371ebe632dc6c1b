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

// each calls f for each endpoint, under its lock.
func (rt *Runtime) each(f func(*endpoint)) {
	for _, e := range rt.allEndpoints() {
		e.mu.Lock()
		f(e)
		e.mu.Unlock()
	}
}

// Alarms counts the requests whose alarms are set.
func (rt *Runtime) Alarms() (n int) {
	rt.each(func(e *endpoint) { n += len(e.alarms.due) })
	return n
}

// CarryingOn counts the requests that carry on a chain of alarms.
func (rt *Runtime) CarryingOn() (n int) {
	rt.each(func(e *endpoint) { n += e.alarms.under })
	return n
}

// TakeAlarms takes the alarms of all releases, as if their time were over, and returns the call
// that they make then.
func (rt *Runtime) TakeAlarms() (timeOver func()) {
	var taken []*request
	rt.each(func(e *endpoint) {
		for _, a := range slices.Clone(e.alarms.due) {
			if a.request.alarmReleases {
				e.alarms.due.remove(a.request)
				taken = append(taken, a.request)
			}
		}
	})
	return func() {
		for _, r := range taken {
			r.keeper.TimeOver()
		}
	}
}

// HeldUp is an endpoint whose follower never has its turn. All that is set was submitted when
// it was made.
type HeldUp struct {
	e     *endpoint
	start time.Time
	last  *request
}

// NewHeldUp makes one for tests.
func NewHeldUp() *HeldUp {
	h := &HeldUp{e: &endpoint{rt: &Runtime{}}, start: time.Now()}
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
	h.last = all[len(all)-1]
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
		h.e.stopAlarm(all[i])
	}
}

// Again sets the alarm of the last that was set anew, to be due now, as a release does.
func (h *HeldUp) Again() {
	h.e.mu.Lock()
	defer h.e.mu.Unlock()
	h.e.setAlarm(h.last, 0, time.Now())
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
