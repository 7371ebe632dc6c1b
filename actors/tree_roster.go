package actors

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

// roster is the decisions of one supervisor: who runs, who is stopped or started next, when
// it ends. It is pure: events and the time go in, steps come out, and whoever owns it takes
// them in their order. It never waits: a child that is slow to stop is a state in it.
//
// One-for-one children are stopped and started each for itself. Where a failure takes
// others along, they form a queue that is stopped one at a time, the last started first;
// when it is empty and the back-off is over, all that wait are started in start order. The
// end of the supervisor is the same queue over all, with a budget.
type roster struct {
	path     string
	strategy Strategy
	auto     AutoShutdown
	window   window
	backoff  Backoff
	shutdown time.Duration  // the budget for an end that it decides itself
	limit    time.Duration  // what it was given until deadline, for the error
	deadline time.Time      // of the whole; zero: none
	random   func() float64 // for the back-off's jitter

	members []*member // in start order
	queue   []*member // to be stopped, the last first
	current *member   // of the queue: asked, and waited for before the next is
	coming  []*member // to be started together, and some that no longer are
	active  int       // running or stopping
	born    uint64

	ended    bool // it is stopping, or has
	finished bool
	exit     Exit      // why it ended
	by       time.Time // when the stopping has to be over

	steps []step
}

// member is one child on the roster.
type member struct {
	Child
	born     uint64 // orders the members
	state    memberState
	since    time.Time // when it came into that state
	next     next      // what becomes of it when it has stopped or gone
	due      time.Time // of waiting: no start before
	doomed   bool      // in the queue
	coming   bool      // among those of that name
	row      int       // restarts in a row, for the back-off
	restarts int       // those that were counted
	expiries int       // those that were not
	last     Exit
}

// memberState is where a member is.
type memberState uint8

const (
	memberStopped  memberState = iota // not running, and not to be started by itself
	memberWaiting                     // to be started
	memberRunning                     //
	memberStopping                    // asked to stop
	memberStuck                       // given up, and not gone: its place stays taken
)

// String returns a word for people.
func (s memberState) String() string {
	return nameOf(s, "stopped", "waiting", "running", "stopping", "stuck")
}

// next is what becomes of a member when it has stopped.
type next uint8

const (
	nextStay   next = iota // it stays on the roster, unless it is temporary
	nextAgain              // it is started again
	nextRemove             // it is forgotten
)

// step is one thing to be done.
type step struct {
	do     stepKind
	m      *member
	at     time.Time // stepWake: when; stepStop: when it is given up
	moveOn time.Time // stepStop: when the next is asked all the same; zero: never
}

// stepKind is what is to be done.
type stepKind uint8

const (
	stepStart   stepKind = iota // start m
	stepStop                    // ask m to stop
	stepWake                    // call wake(m) at that time; m nil: of all that wait
	stepSettled                 // what was asked of m is done, or came to nothing
	stepDropped                 // m is off the roster
	stepFinish                  // all have stopped: the supervisor's end
)

func newRoster(path string, t Tree, deadline time.Time, random func() float64) *roster {
	return &roster{
		path: path, strategy: t.Strategy, auto: t.AutoShutdown,
		window: newWindow(t.Intensity, t.Period), backoff: t.Backoff,
		shutdown: shutdownOf(t.Shutdown), deadline: deadline, random: random,
	}
}

// take returns the steps so far.
func (r *roster) take() []step {
	steps := r.steps
	r.steps = nil
	return steps
}

func (r *roster) emit(s step) { r.steps = append(r.steps, s) }

// add puts a child at the end and starts it.
func (r *roster) add(c Child, now time.Time) *member {
	r.born++
	m := &member{Child: c, born: r.born}
	r.members = append(r.members, m)
	r.again(m, now, now)
	r.advance(now)
	return m
}

// ask is a user's wish: that m stop, start again, or be forgotten. The last wish holds.
func (r *roster) ask(m *member, n next, now time.Time) {
	m.next, m.due = n, now
	switch m.state {
	case memberRunning:
		r.stop(m, now)
	case memberStopping:
	default:
		r.settle(m, now)
	}
	r.advance(now)
}

// exited takes in that m has ended, or was given up.
func (r *roster) exited(m *member, exit Exit, now time.Time) {
	asked, ran := m.state == memberStopping || m.doomed, now.Sub(m.since)
	r.active--
	r.enter(m, memberStopped, now)
	if len(exit.left) > 0 {
		r.enter(m, memberStuck, now)
	}
	m.last = exit
	if r.current == m {
		r.current = nil
	}
	if asked || r.ended {
		r.settle(m, now)
	} else {
		r.judge(m, exit, ran, now)
	}
	r.advance(now)
}

// gone takes in that a member that was given up has gone after all.
func (r *roster) gone(m *member, now time.Time) {
	if m.state != memberStuck {
		return
	}
	r.enter(m, memberStopped, now)
	r.settle(m, now)
	r.advance(now)
}

// wake takes in that a back-off is over.
func (r *roster) wake(m *member, now time.Time) {
	if m != nil && m.state == memberWaiting && !now.Before(m.due) {
		r.start(m, now)
	}
	r.advance(now)
}

// movedOn takes in that m has had its part of the budget: the next is asked, while m
// still has until the end of its own.
func (r *roster) movedOn(m *member, now time.Time) {
	if r.ended && r.current == m {
		r.current = nil
		r.advance(now)
	}
}

// expire takes in that the deadline of the whole has come.
func (r *roster) expire(now time.Time) {
	r.end(Exit{Reason: ReasonExpired, Err: &LimitError{Path: r.path, Limit: r.limit}}, now.Add(r.shutdown), now)
}

// end stops them all, in reverse start order, and has it over by that time. A second end
// can only bring that forward.
func (r *roster) end(exit Exit, by, now time.Time) {
	if r.ended {
		r.hurry(by, now)
		return
	}
	r.ended, r.exit, r.by = true, exit, by
	r.queue, r.current = nil, nil
	for _, m := range r.members {
		switch m.state {
		case memberRunning, memberStopping:
			r.queue = append(r.queue, m)
		case memberWaiting:
			r.enter(m, memberStopped, now)
			r.emit(step{do: stepSettled, m: m})
		}
	}
	r.advance(now)
}

// hurry brings the end forward.
func (r *roster) hurry(by, now time.Time) {
	if !by.Before(r.by) {
		return
	}
	r.by = by
	for _, m := range r.members {
		if m.state == memberStopping {
			r.stop(m, now)
		}
	}
	r.advance(now)
}

// judge decides about a member that ended by itself, after it ran so long.
func (r *roster) judge(m *member, exit Exit, ran time.Duration, now time.Time) {
	switch {
	case errors.Is(exit.Err, ErrTerminateTree):
		r.retire(m)
		r.end(Exit{Reason: exit.Reason, Err: exit.Err}, now.Add(r.shutdown), now)
	case !r.deadline.IsZero() && !now.Before(r.deadline):
		r.expire(now)
	case !m.Restart.restarts(exit):
		r.retire(m)
		r.shutdownBy(m, now)
	case exit.Reason != ReasonExpired && r.window.exceeded(now):
		r.end(Exit{Reason: ReasonGaveUp, Err: &GaveUpError{
			Path: r.path, Intensity: r.window.intensity, Period: r.window.period, Child: m.Name, Exit: Exit{Reason: exit.Reason, Err: exit.Err},
		}}, now.Add(r.shutdown), now)
	default:
		r.restart(m, exit, ran, now)
	}
}

// retire keeps a member that is not restarted, or forgets it.
func (r *roster) retire(m *member) {
	m.next = nextStay
	if m.Restart == Temporary {
		r.remove(m)
	}
}

// shutdownBy ends the supervisor if m was significant enough.
func (r *roster) shutdownBy(m *member, now time.Time) {
	if !m.Significant || r.auto == Never {
		return
	}
	more := slices.ContainsFunc(r.members, func(x *member) bool {
		return x != m && x.Significant && (x.state == memberWaiting || x.state == memberRunning || x.next == nextAgain)
	})
	if r.auto == AnySignificant || !more {
		r.end(Exit{Reason: ReasonNormal}, now.Add(r.shutdown), now)
	}
}

// restart has m, and those that the strategy takes along, started again.
func (r *roster) restart(m *member, exit Exit, ran time.Duration, now time.Time) {
	b := r.backoffOf(m)
	if ran >= b.orDefault().Reset {
		m.row = 0
	}
	m.row++
	expired := exit.Reason == ReasonExpired
	if expired {
		m.expiries++
	} else {
		m.restarts++
	}
	r.again(m, now.Add(b.delay(m.row, expired, r.random())), now)
	if r.strategy != OneForOne {
		r.takeAlong(m, now)
	}
}

func (r *roster) backoffOf(m *member) Backoff {
	if m.Backoff != (Backoff{}) {
		return m.Backoff
	}
	return r.backoff
}

// takeAlong dooms those that the strategy stops and starts with m. Temporary ones are
// stopped for good; those that had ended or been stopped are started too: both as in
// supervisor.erl.
func (r *roster) takeAlong(m *member, now time.Time) {
	from := 0
	if r.strategy == RestForOne {
		from = r.index(m)
	}
	r.queue = r.queue[:0]
	for i, x := range slices.Clone(r.members) {
		taken := i >= from && x != m
		switch {
		case x.state == memberRunning && (taken || x.doomed):
			if !x.doomed {
				x.doomed, x.next = true, nextAgain
			}
			if x.Restart == Temporary {
				x.next = nextRemove
			}
			r.queue = append(r.queue, x)
		case taken && x.Restart != Temporary && (x.state == memberStopped || x.state == memberStuck && x.next == nextStay):
			r.again(x, now, now)
		}
	}
}

// settle gives a member that has stopped what was to become of it.
func (r *roster) settle(m *member, now time.Time) {
	n := m.next
	m.doomed = false
	switch {
	case n == nextRemove, n == nextStay && m.Restart == Temporary && !r.ended:
		r.remove(m)
	case r.ended:
	case n == nextAgain:
		r.again(m, later(m.due, now), now)
	case m.state == memberWaiting:
		r.enter(m, memberStopped, now)
	}
	r.emit(step{do: stepSettled, m: m})
}

// later is due where that is yet to come, else now.
func later(due, now time.Time) time.Time {
	if due.After(now) {
		return due
	}
	return now
}

// again has m started at due, or, if it is stuck, once it has gone.
func (r *roster) again(m *member, due, now time.Time) {
	m.next, m.due = nextAgain, due
	if r.strategy != OneForOne && !m.coming {
		m.coming = true
		r.coming = append(r.coming, m)
	}
	if m.state == memberStuck {
		return
	}
	m.state = memberWaiting
	if r.strategy == OneForOne {
		r.startOrWait(m, now)
	}
}

// remove forgets m, once it has gone.
func (r *roster) remove(m *member) {
	m.next = nextRemove
	if m.state == memberStuck {
		return
	}
	m.state = memberStopped // so that nothing that is due starts it
	if i := r.index(m); i >= 0 {
		r.members = slices.Delete(r.members, i, i+1)
		r.emit(step{do: stepDropped, m: m})
	}
}

// index finds m among the members, which are in order.
func (r *roster) index(m *member) int {
	i, ok := slices.BinarySearchFunc(r.members, m, byBirth)
	if !ok {
		return -1
	}
	return i
}

// byBirth compares members by when they came.
func byBirth(a, b *member) int { return cmp.Compare(a.born, b.born) }

// advance goes on with what is under way: the queue, then the end or the starts.
func (r *roster) advance(now time.Time) {
	for r.current == nil && len(r.queue) > 0 {
		last := len(r.queue) - 1
		m := r.queue[last]
		r.queue = r.queue[:last]
		switch m.state {
		case memberStopping: // on somebody's wish
			r.current = m
			if r.ended {
				r.stop(m, now)
			}
		case memberRunning:
			r.current = m
			r.stop(m, now)
		}
	}
	switch {
	case r.current != nil:
	case r.ended:
		if r.active == 0 && !r.finished {
			r.finished = true
			r.emit(step{do: stepFinish})
		}
	case r.strategy != OneForOne:
		r.startTogether(now)
	}
}

// stop asks m to stop. At the end of the whole it has no longer than that, and before the
// next is asked no more than an equal part of what is left.
func (r *roster) stop(m *member, now time.Time) {
	if m.state == memberRunning {
		r.enter(m, memberStopping, now)
	}
	s := step{do: stepStop, m: m, at: now.Add(shutdownOf(m.Shutdown))}
	if r.ended {
		if r.by.Before(s.at) {
			s.at = r.by
		}
		if r.current == m {
			part := max(0, r.by.Sub(now)) / time.Duration(len(r.queue)+1)
			s.moveOn = now.Add(max(0, min(part, s.at.Sub(now))))
		}
	}
	r.emit(s)
}

// startTogether starts all that wait, in start order, when the last back-off is over. It
// looks at nobody else: there may be thousands.
func (r *roster) startTogether(now time.Time) {
	due, waiting := now, false
	r.coming = slices.DeleteFunc(r.coming, func(m *member) bool {
		m.coming = m.next == nextAgain && (m.state == memberWaiting || m.state == memberStuck)
		if m.coming { // one that is stuck holds the others up no longer than its back-off
			due, waiting = later(m.due, due), waiting || m.state == memberWaiting
		}
		return !m.coming
	})
	if waiting && due.After(now) {
		r.emit(step{do: stepWake, at: due})
		return
	}
	slices.SortFunc(r.coming, byBirth)
	for _, m := range r.coming {
		if m.state == memberWaiting {
			r.start(m, now)
		}
	}
}

// startOrWait starts a one-for-one member, or has it woken when it may start.
func (r *roster) startOrWait(m *member, now time.Time) {
	if m.due.After(now) {
		r.emit(step{do: stepWake, m: m, at: m.due})
		return
	}
	r.start(m, now)
}

func (r *roster) start(m *member, now time.Time) {
	m.next, m.doomed = nextStay, false
	r.active++
	r.enter(m, memberRunning, now)
	r.emit(step{do: stepStart, m: m})
}

func (r *roster) enter(m *member, s memberState, now time.Time) { m.state, m.since = s, now }
