package actors

import (
	"runtime"
	"time"
)

// alarms are an endpoint's timers: when the limit of each of its requests is over, then its
// grace, then its force. There is one of the Go runtime's for them all, set for what is due
// first, so that a limit which is not reached costs its place in a heap, and those that are
// reached are ended in the order in which they are due.
//
// They are ended one after another, each to its end, on as many processors as are free: a
// request that leaves has the next one ended. Ended all at once, the goroutines that this
// wakes would queue up behind whatever else the processors have to do, and what was due
// first would be late by all of it; so each goroutine of the chain is the next to run when
// the one before it is done. A link that is held up, by a clean-up that blocks or for want of
// a processor, holds up no other: the follower goes on in its place, or else the timer.
//
// Guarded by the endpoint's lock.
type alarms struct {
	start time.Time // what the times below count from
	due   dueHeap
	timer *time.Timer   // calls ring; nil until first needed
	set   bool          // it will
	at    time.Duration // when

	rung  int           // how many have been taken
	last  time.Duration // when the last of them was
	lap   uint32        // a new one begins when all chains are held up: they end then
	under int           // requests under way that carry on a chain of this lap

	next     func() // carryOn; made once: it is started with the lock held, under which nothing is allocated
	follower func() // follow, likewise
	followed bool   // there is a follower
	seen     int    // rung at its last turn
}

// alarm is a request's.
type alarm struct {
	place int32  // in the heap, from 1; 0 is not in it
	lap   uint32 // if it is the lap still when the request leaves, the next is ended; 0 is none
}

const (
	// ringPause is how long after the last alarm the timer takes one that is due already.
	ringPause = 50 * time.Microsecond

	// ringLate is how late one has to be to be ended whatever the processors have to do: by
	// a time slice of the Go scheduler. ringBatch is how many of them are at once.
	ringLate  = 10 * time.Millisecond
	ringBatch = 64

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
	if r.alarm.place == 1 {
		e.wind(a.due[0].at)
	}
}

// stopAlarm is called when r leaves: it takes its alarm off, and reports whether it was set. The
// timer stays as it is, for the next. If the alarm was taken before, the next one is ended that
// is due. Called with mu held.
func (e *endpoint) stopAlarm(r *request) (active bool) {
	active = e.alarms.due.remove(r)
	e.passOn(r)
	return active
}

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
		a.timer, a.next, a.follower = time.AfterFunc(left, e.ring), e.carryOn, e.follow
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
	if e.alarmed() {
		e.carryOn()
	}
}

// alarmed notes that the timer has gone off. It reports whether it is to take an alarm: not
// while others do.
func (e *endpoint) alarmed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := &e.alarms
	a.set = false
	if pause := a.last + ringPause; a.followed && time.Since(a.start) < pause {
		e.wind(pause)
		return false
	}
	e.newLap()
	return true
}

// newLap ends the chains that there are. Called with mu held.
func (e *endpoint) newLap() {
	a := &e.alarms
	a.under = 0
	if a.lap++; a.lap == 0 {
		a.lap = 1
	}
}

// carryOn ends the request that is due first, and others that are very late, on this
// goroutine, which a clean-up may keep.
func (e *endpoint) carryOn() {
	for n := range ringBatch {
		r, release := e.takeAlarm(n > 0)
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
// when none is due. With more it takes only what is very late, and no chain begins.
func (e *endpoint) takeAlarm(more bool) (r *request, release bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := &e.alarms
	if len(a.due) == 0 {
		return nil, false
	}
	now := time.Since(a.start)
	first := a.due[0]
	switch late := now - first.at; {
	case more && late < ringLate:
		return nil, false
	case late < 0:
		e.wind(first.at)
		return nil, false
	}
	r = first.request
	a.due.remove(r)
	a.rung, a.last = a.rung+1, now
	if !more && r.alarm.lap != a.lap {
		r.alarm.lap = a.lap
		a.under++
	}
	if len(a.due) > 0 {
		e.setNext(now)
	}
	return r, r.alarmReleases
}

// setNext has the timer set for the alarm that is first now; where it is due already there
// is a follower. Called with mu held.
func (e *endpoint) setNext(now time.Duration) {
	a := &e.alarms
	next := a.due[0].at
	if next <= now {
		next = now + ringPause
		if !a.followed {
			a.followed, a.seen = true, a.rung
			go a.follower() // ends when nothing is due, or as carryOn does
		}
	}
	e.wind(next)
}

// passOn has the next one ended that is due, if r, which leaves, carries on a chain. Called with
// mu held.
func (e *endpoint) passOn(r *request) {
	a := &e.alarms
	if r.alarm.lap == 0 || r.alarm.lap != a.lap {
		return
	}
	r.alarm.lap = 0
	a.under--
	if len(a.due) > 0 && a.due[0].at <= time.Since(a.start) {
		go a.next() // ends as carryOn does
	}
}

// follow carries on too when it has its turn and a processor has no chain yet, or when no
// other has been taken since its last turn: those who carry on are held up.
func (e *endpoint) follow() {
	for e.waits() {
		runtime.Gosched()
	}
	e.carryOn()
}

// waits reports whether the follower has nothing to do now, but may have. If not there is no
// follower any more.
func (e *endpoint) waits() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	a := &e.alarms
	if len(a.due) > 0 && a.under >= runtime.GOMAXPROCS(0) {
		if a.rung != a.seen {
			a.seen = a.rung
			return true
		}
		e.newLap()
	}
	a.followed = false
	return false
}
