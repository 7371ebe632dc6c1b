package actors

import (
	"runtime"
	"time"
)

// alarms are an endpoint's timers: when the limit of each of its requests is over, then its
// grace, then its force. There is one of the Go runtime's for them all, set for what is due
// first, so that a limit which is not reached costs its place in a heap, and those that are
// reached are ended in the order in which they are due. With a timer each, each starts a
// goroutine of its own when it is due, of which the latest runs first: in a burst, what was
// due first would come last. Guarded by the endpoint's lock.
type alarms struct {
	start time.Time // what the times below count from
	due   dueHeap
	timer *time.Timer   // calls ring; nil until first needed
	set   bool          // it will
	at    time.Duration // when
	rung  int           // how many have been taken

	followed bool // there is a follower: see follow
}

// alarm is a request's.
type alarm struct {
	place   int32 // in the heap, from 1; 0 is not in it
	release bool  // it is its release's: the limit is over, or does not matter any more
}

const (
	// ringBatch is how many are ended before the goroutines that this wakes have their turn.
	ringBatch = 64

	// ringPause is when those go on that are due still, and the longest for which a clean-up
	// that blocks holds up those behind it, where no processor is free for them.
	ringPause = 50 * time.Microsecond

	// dueKept is for how many alarms the heap keeps its room while there are none.
	dueKept = 1024

	// farOff is 146 years, by which no sum of two times is out of range.
	farOff = time.Duration(1) << 62
)

// setAlarm sets r's alarm, or sets it anew, for when left is over; it is now. Called with mu held.
func (e *endpoint) setAlarm(r *request, left time.Duration, now time.Time) {
	a := &e.alarms
	if a.start.IsZero() {
		a.start = now
	}
	a.due.set(r, now.Sub(a.start)+min(left, farOff))
	e.wind(a.due[0].at)
}

// stopAlarm takes r's alarm off, if it is set. The timer stays as it is, for the next.
// Called with mu held.
func (e *endpoint) stopAlarm(r *request) { e.alarms.due.remove(r) }

// wind sets the timer for at, unless it goes off before. It reads the clock itself: whoever
// calls may have waited for the lock since, and what is late for one is late for all behind
// it. Called with mu held.
func (e *endpoint) wind(at time.Duration) {
	a := &e.alarms
	if a.set && a.at <= at {
		return
	}
	a.set, a.at = true, at
	left := at - time.Since(a.start)
	if a.timer == nil {
		a.timer = time.AfterFunc(left, e.ring)
	} else {
		a.timer.Reset(left)
	}
}

// silence stops the timer when the last request has left a closed endpoint. Set for a limit
// that was not reached, it would keep the endpoint, and all that it belongs to, until then.
func (e *endpoint) silence() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.alarms.timer != nil {
		e.alarms.timer.Stop()
	}
}

// ring is the timer's call.
func (e *endpoint) ring() {
	e.mu.Lock()
	e.alarms.set = false
	e.mu.Unlock()
	e.ringSome()
}

// ringSome sees to what is due, on this goroutine, which a clean-up may keep: then those
// that are due go on by the timer, or sooner by the follower, if a processor is free for it.
func (e *endpoint) ringSome() {
	for range ringBatch {
		r, release := e.takeAlarm()
		switch {
		case r == nil:
			return
		case release:
			r.keeper.TimeOver()
		default:
			r.expire()
		}
	}
}

// takeAlarm takes the alarm that is due first, and has the timer set for the next; r is nil
// when none is due. Where more are, there is a follower from then on.
func (e *endpoint) takeAlarm() (r *request, release bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := &e.alarms
	if len(a.due) == 0 {
		return nil, false
	}
	now := time.Since(a.start)
	first := a.due[0]
	if first.at > now {
		e.wind(first.at)
		return nil, false
	}
	r = first.request
	a.due.remove(r)
	a.rung++
	if len(a.due) == 0 {
		return r, r.alarm.release
	}
	next := a.due[0].at
	if next <= now {
		next = now + ringPause
		if !a.followed {
			a.followed = true
			go e.follow(a.rung) // ends when nothing is due, or as ringSome does
		}
	}
	e.wind(next)
	return r, r.alarm.release
}

// follow looks each time that it has its turn whether another has been taken since, and if
// not goes on in place of whoever took the last: a clean-up keeps him, or he has done his share.
func (e *endpoint) follow(rung int) {
	for e.goesOn(&rung) {
		runtime.Gosched()
	}
	e.ringSome()
}

// goesOn reports whether another alarm has been taken after as many as rung, which it brings
// up to date, and more are due. If not there is no follower any more.
func (e *endpoint) goesOn(rung *int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := &e.alarms
	if len(a.due) > 0 && a.rung != *rung {
		*rung = a.rung
		return true
	}
	a.followed = false
	return false
}
