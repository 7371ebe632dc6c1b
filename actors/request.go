package actors

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// request is one use of one resource: the request actor and all it needs, in one
// allocation. Its handlers run on whatever goroutine posts to it and never block; the
// operation runs on a goroutine of its own.
//
// The way of a request: submitted, admitted or queued by its endpoint, begun (spawned
// under the endpoint's gate), Started (the runner goes), decided (once), stopped: what it
// holds is released, on a goroutine that is lent for it, and until then its mailbox holds
// the actor's Stop back (see requestMail). Then Stopping, Stopped: PostStop. A request that
// ends in the queue is never spawned.
type request struct {
	op     operation
	keeper resources.Keeper
	mail   mailbox

	rt     *Runtime
	id     uint64 // for events; 0 when nobody listens
	ep     *endpoint
	use    resources.Use
	kind   string
	target string
	budget timeoutpolicy.Budget
	asked  *asked // who asked by message, and hears of the end; nil when a caller waits

	priority  int
	unbounded bool // no cap of the endpoint's holds for it
	early     bool // answered at the deadline, before the clean-up
	replaced  bool // as in Options

	alarmReleases bool // the alarm is the release's: the limit is over, or does not matter any more
	alarmUnset    bool // it was taken off when the request left: it had not gone off before

	submitted time.Time
	begun     moment // written before Started, read after

	alarm       alarm // the endpoint's: the limit, then what the release waits for
	stall, warn *time.Timer

	next, prev *request // in one of the endpoint's lists
	in         *requestList
	verdict    func(error) // tells the endpoint's breaker how it went; nil for none

	bell     bell // of the waiting caller: it has something to do, or its answer
	answered atomic.Bool

	mu      sync.Mutex // guards what follows
	outcome Outcome
	phase   Phase
	halted  bool // halt has been called
	back    bool // the runner is back: value and work are final
	cause   error
	due     moment // when the limit that ended it was reached
	ended   moment // when the outcome was decided
	value   any
	work    error
	report  *resources.Report
	told    *Receipt // in place of report, once that has been discarded
	final   moment
}

// moment is a point in time of a request, in a third of the room of a time.Time: how long
// after the submission it was, and 1 ns; 0 is not yet.
type moment time.Duration

func (r *request) moment(t time.Time) moment { return max(0, moment(t.Sub(r.submitted))) + 1 }

// elapsed is the moment that it is now; the clock is asked for no date.
func (r *request) elapsed() moment { return max(0, moment(time.Since(r.submitted))) + 1 }

// now is the time by the clock of the submission.
func (r *request) now() time.Time { return r.submitted.Add(time.Since(r.submitted)) }

// since is the time from the submission until m.
func (m moment) since() time.Duration { return time.Duration(m) - 1 }

// Receive implements actor.Actor.
func (r *request) Receive(c actor.Context) {
	switch c.Message().(type) {
	case *actor.Started:
		r.started()
	case *actor.Stopped:
		r.PostStop()
	}
}

// started sets the operation going, unless its end has come between its turn and its start.
func (r *request) started() {
	r.mu.Lock()
	if r.halted {
		r.mu.Unlock()
		return
	}
	held := r.keeper.BeginAt(r.submitted.Add(r.begun.since()), &r.rt.shelf)
	r.keeper.Expect(r.budget.Grace, r.budget.Force)
	r.keeper.Out()
	r.op.held = held
	if r.budget.Stall > 0 {
		r.stall = time.AfterFunc(r.budget.Stall, r.checkStall)
	}
	r.mu.Unlock()
	r.rt.emit(EventStarted, r, nil)
	// The runner: the one place where a resource's own code works. The release waits for it,
	// no longer than the budget allows; after that the reaper watches it. It calls the use
	// with as little on its stack as can be: each frame is read in every cycle of the collector.
	go func() {
		var value any
		var err error
		returned := false
		defer func() {
			if !returned {
				err = panicked(recover())
			}
			r.ran(value, resources.Sound(err), !returned)
		}()
		value, err = r.use.Run(&r.op, held)
		returned = true
	}()
}

// ran takes over what the operation returned and stops the actor. crashed says that it did
// not return but panicked, or ended its goroutine.
func (r *request) ran(value any, err error, crashed bool) {
	now := r.elapsed()
	if err != nil && r.past(now) && r.undecided() {
		r.awaitCause()
	}
	r.mu.Lock()
	r.value, r.work, r.back = value, err, true
	decided := r.outcome != Undecided
	if !decided {
		r.decide(r.judge(err, crashed, now), now)
	}
	aborted := r.outcome.aborted()
	r.mu.Unlock()
	holds := r.keeper.Back() // after an abort this may be what the release waited for
	switch {
	case decided: // the stop is under way
	case r.asked == nil && !aborted && !holds:
		r.bell.ring() // the waiting caller stops the actor on its own goroutine
	default:
		r.stopHere()
	}
}

// judge says what the end of the operation means. Called with mu held.
func (r *request) judge(err error, crashed bool, now moment) Outcome {
	switch {
	case err == nil:
		return Completed
	case crashed:
		return Panicked
	case r.past(now):
		// package net notices a deadline before our timer does.
		r.phase, r.due, r.cause = r.whereabouts(), r.moment(r.op.deadline), r.callerCause()
		return Expired
	}
	return Failed
}

// past reports whether the limit is over.
func (r *request) past(now moment) bool {
	return !r.op.deadline.IsZero() && now.since() >= r.op.deadline.Sub(r.submitted)
}

func (r *request) undecided() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.outcome == Undecided
}

// decide settles the outcome. Called with mu held, once.
func (r *request) decide(o Outcome, now moment) {
	r.outcome, r.ended = o, now
}

// whereabouts says which phase a begun request is in.
func (r *request) whereabouts() Phase {
	if r.keeper.Opened().IsZero() {
		return Opening
	}
	return Running
}

// expire is the alarm's call: set by the endpoint when the request was submitted.
func (r *request) expire() {
	r.awaitCause()
	if r.settle(Expired, NoPhase, r.op.deadline, r.callerCause()) {
		r.stopHere()
	}
}

// causeWait bounds awaitCause, for contexts that do not keep to their own deadlines.
const causeWait = time.Millisecond

// awaitCause lets the caller's context end first where its deadline is the limit: its
// timer and ours are due at the same time, and it alone can say why it ended.
func (r *request) awaitCause() {
	due, ok := r.op.caller.Deadline()
	if !ok || r.asked != nil || due.After(r.op.deadline) || r.op.caller.Done() == nil {
		return
	}
	timer := time.NewTimer(causeWait)
	defer timer.Stop()
	select {
	case <-r.op.caller.Done():
	case <-timer.C:
	}
}

// callerCause is why the caller's context ended, if it says more than its Err.
func (r *request) callerCause() error {
	if cause := context.Cause(r.op.caller); cause != nil && cause != r.op.caller.Err() {
		return cause
	}
	return nil
}

// callerGone is called when the caller's context has ended.
func (r *request) callerGone() {
	if errors.Is(r.op.caller.Err(), context.DeadlineExceeded) {
		due, ok := r.op.caller.Deadline()
		if !ok || due.After(time.Now()) {
			due = time.Now()
		}
		r.abort(Expired, NoPhase, due, r.callerCause())
		return
	}
	r.abort(Cancelled, NoPhase, time.Time{}, r.callersEnd())
}

// callersEnd is why the caller's context was cancelled. One of a foreign type may not say.
func (r *request) callersEnd() error {
	if r.asked != nil {
		return cmp.Or(r.asked.cause(), context.Canceled)
	}
	return cmp.Or(context.Cause(r.op.caller), context.Canceled)
}

// checkStall is the stall timer's call: it expires the request, or sleeps on for what is
// left since the last progress.
func (r *request) checkStall() {
	due := r.keeper.Moved().Add(r.budget.Stall)
	if left := time.Until(due); left > 0 {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.outcome == Undecided {
			r.stall.Reset(left)
		}
		return
	}
	if r.settle(Expired, Stalled, due, nil) {
		r.stopHere()
	}
}

// abort ends a request from outside, wherever it is. It does nothing when the outcome is
// already decided.
func (r *request) abort(o Outcome, phase Phase, due time.Time, cause error) {
	if r.settle(o, phase, due, cause) {
		r.stop()
	}
}

// settle decides the outcome, from outside, and ends a request that still waits. It reports
// whether there is an actor to stop because of it.
func (r *request) settle(o Outcome, phase Phase, due time.Time, cause error) bool {
	queued := r.ep.withdraw(r)
	r.mu.Lock()
	first := r.outcome == Undecided
	if first {
		r.phase = phase
		if phase == NoPhase {
			r.phase = r.whereabouts()
		}
		r.cause, r.due = cause, r.moment(due)
		r.decide(o, r.elapsed())
	}
	if queued {
		r.phase = Queued
	}
	r.mu.Unlock()
	if queued { // whoever takes it out of the queue ends it, even if another end was decided meanwhile
		r.finish(r.elapsed())
	}
	return first && !queued
}

// stop stops the actor, on a goroutine of its own where something has to be released. It
// may be called before the actor is spawned, and again.
func (r *request) stop() {
	if r.halt() {
		// Owned by the release: it ends with the last Close that it calls.
		go r.release()
	}
}

// stopHere is stop on a goroutine that may be kept for as long as a clean-up blocks: the
// timer's and the runner's.
func (r *request) stopHere() {
	if r.halt() {
		r.release()
	}
}

// halt ends the operation's context and reports whether something has to be released. If
// not, it stops the actor.
func (r *request) halt() bool {
	r.mu.Lock()
	if r.halted {
		r.mu.Unlock()
		return false
	}
	r.halted = true
	if r.outcome == Undecided {
		r.phase, r.cause = r.whereabouts(), ErrClosed
		r.decide(Cancelled, r.elapsed())
	}
	if r.op.held == nil && r.phase == Opening {
		r.phase = Queued // its end came between its turn and its start
	}
	outcome, out := r.outcome, r.op.held != nil && !r.back
	// Sealed first: what the operation closes itself because its context has ended would
	// be dropped otherwise, and missing from the receipt.
	held := r.keeper.Seal(outcome.aborted())
	r.mu.Unlock()
	r.endContext(outcome)
	if held || out {
		return true
	}
	r.mail.PostSystemMessage(stopMessage)
	return false
}

// release runs the ladder, off every mailbox and never longer than Grace and Force. Then the
// actor is stopped.
func (r *request) release() {
	if r.early && r.outcome.aborted() { // decided: it does not change any more
		r.reply()
	}
	r.keeper.ReleaseFor((*releasing)(r), r.budget.Grace, r.budget.Force)
}

// releasing is a request as the owner of its release.
type releasing request

// SetAlarm implements resources.Owner.
func (r *releasing) SetAlarm(d time.Duration) (active bool) {
	now := time.Now()
	r.ep.mu.Lock()
	defer r.ep.mu.Unlock()
	active = r.alarmReleases && r.alarm.place > 0
	r.alarmReleases = true
	r.ep.setAlarm((*request)(r), d, now)
	return active
}

// StopAlarm implements resources.Owner: the endpoint stops it, when the request leaves.
func (r *releasing) StopAlarm() {}

// Released implements resources.Owner.
func (r *releasing) Released(report *resources.Report) {
	r.mu.Lock()
	r.report = report
	r.mu.Unlock()
	if r.asked == nil && !r.answered.Load() {
		r.bell.ring() // the waiting caller does the rest: its stack has grown already
		return
	}
	r.mail.PostSystemMessage(stopMessage)
}

// requestMail is a request's mailbox as protoactor sees it. A Stop, whoever sends it, stops
// the request: it is held back, and the actor with it, until what the request held is gone.
// Passed on at once, protoactor would send Stopped microseconds after Stopping, and what is
// released later would be lost.
type requestMail request

func (m *requestMail) PostSystemMessage(msg any) {
	if _, ok := msg.(*actor.Stop); ok {
		(*request)(m).stop()
		return
	}
	m.mail.PostSystemMessage(msg)
}

func (m *requestMail) PostUserMessage(msg any) { m.mail.PostUserMessage(msg) }
func (m *requestMail) UserMessageCount() int   { return m.mail.UserMessageCount() }
func (m *requestMail) Start()                  { m.mail.Start() }
func (m *requestMail) RegisterHandlers(i actor.MessageInvoker, d actor.Dispatcher) {
	m.mail.RegisterHandlers(i, d)
}

// endContext ends the operation's context in the way that fits the outcome.
func (r *request) endContext(o Outcome) {
	switch o {
	case Expired:
		r.op.end(context.DeadlineExceeded, (*expiry)(r))
	case Cancelled:
		r.op.end(context.Canceled, r.cause)
	default:
		r.op.end(context.Canceled, nil)
	}
}

// PostStop is the clean-up's end, triggered once by the actor's stop: everything that
// could be released has been. It stops the timers, frees the slot or hands what is left to
// the reaper, and answers.
func (r *request) PostStop() {
	if r.verdict != nil {
		r.mu.Lock()
		verdict := judgement(r.outcome, r.work)
		r.mu.Unlock()
		r.verdict(verdict)
	}
	now := r.now()
	next := r.ep.leave(r, r.remains(), now)
	r.finish(r.moment(now))
	next.take(now)
}

// turnAway settles that the endpoint will not begin r. Called with the endpoint's lock
// held, for which a timer that wants to end r has to wait.
func (r *request) turnAway(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cause = why
	r.decide(Refused, r.elapsed())
}

// remains lists what the release could not confirm gone. The stop comes after the release.
func (r *request) remains() []resources.Remains {
	if r.report == nil {
		return nil
	}
	return r.report.Remains
}

// finish is the end of every request, started or not.
func (r *request) finish(now moment) {
	r.disarm()
	r.mu.Lock()
	r.final = now
	r.mu.Unlock()
	r.rt.finished(r)
	r.reply()
}

// disarm stops the timers.
func (r *request) disarm() {
	for _, t := range [...]*time.Timer{r.stall, r.warn} {
		if t != nil {
			t.Stop()
		}
	}
}

// reply answers, once.
func (r *request) reply() {
	if !r.answered.CompareAndSwap(false, true) {
		return
	}
	if r.asked != nil {
		r.asked.finished(r)
		return
	}
	r.bell.ring()
}
