package resources

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ladder is one release under way. It has no goroutine of its own that waits: one that is
// lent to it closes piece after piece, and everything that happens then, a call that comes
// back, the runner, the timer, takes it a step further on its own goroutine.
type ladder struct {
	held     *Held
	start    time.Time
	patience time.Duration // after force
	owner    Owner

	mu      sync.Mutex // guards what follows
	climber bool       // a goroutine climbs
	asked   int32      // rungs whose Close has been called
	calls   int32      // under way
	stale   int32      // calls of TimeOver that were on their way when the alarm was set anew
	forcing bool
	late    bool // the wait after force is over
	over    bool
	runner  attempt // the use's own goroutine
	rungs   []rung

	few      [1]rung // of rungs
	summary  Report
	released [1]Release // of summary.Released
}

// rung is one piece on the ladder.
type rung struct {
	*Piece
	hook   bool
	asked  attempt // Close
	forced attempt // Force
}

// attempt is one call of foreign code.
type attempt struct {
	called, back bool
	err          error
	took         time.Duration // since the start of the release
	gone         chan struct{} // closed when it comes back; made for those who wait after the report
}

// ok reports whether a came back without an error.
func (a *attempt) ok() bool { return a.back && a.err == nil }

// comeBack notes that a has.
func (a *attempt) comeBack(err error, took time.Duration) {
	a.back, a.err, a.took = true, err, took
	if a.gone != nil {
		close(a.gone)
	}
}

// await returns a channel that is closed when a comes back.
func (a *attempt) await() <-chan struct{} {
	if a.gone == nil {
		a.gone = make(chan struct{})
	}
	return a.gone
}

// note notes what has happened and takes the ladder a step further; it runs what follows
// the release when this was the last.
func (l *ladder) note(what func()) {
	l.mu.Lock()
	what()
	report := l.advance()
	l.mu.Unlock()
	if report != nil {
		l.owner.Released(report)
	}
}

func (l *ladder) runnerBack() { l.runner.comeBack(nil, 0) }

// timeOver is the alarm's: the grace is over, or the wait after force.
func (l *ladder) timeOver() {
	switch {
	case l.over:
	case l.stale > 0:
		l.stale--
	case !l.forcing:
		l.owner.SetAlarm(l.patience)
		l.force()
	default:
		l.late = true
	}
}

// ladders has those that nobody comes back to.
var ladders = sync.Pool{New: func() any { return new(ladder) }}

// abandon makes l as new and reports true, if nobody will come back to it: all has gone, when
// it was asked to. Most that begin end so.
func (l *ladder) abandon() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over || l.climber || l.forcing { // without force it is over when all calls are back, the runner too
		return false
	}
	l.held, l.owner, l.asked, l.over = nil, nil, 0, false
	l.runner, l.rungs, l.few, l.summary, l.released = attempt{}, nil, [1]rung{}, Report{}, [1]Release{}
	return true
}

// advance forces what failed, and reports when there is nothing left to wait for. Called
// with mu held.
func (l *ladder) advance() *Report {
	if l.over {
		return nil
	}
	if !l.forcing && l.through() && l.calls == 0 && l.failed() {
		if !l.owner.SetAlarm(l.patience) {
			l.stale++
		}
		l.force()
	}
	if !l.late && (!l.through() || l.calls > 0 || !l.runner.back) {
		return nil
	}
	l.over = true
	l.owner.StopAlarm()
	return l.report()
}

// through reports whether every piece has been asked to go. Called with mu held.
func (l *ladder) through() bool { return int(l.asked) == len(l.rungs) }

// failed reports whether a piece said that it has not gone. Called with mu held.
func (l *ladder) failed() bool {
	for i := range l.rungs {
		if r := &l.rungs[i]; r.asked.err != nil && !r.hook {
			return true
		}
	}
	return false
}

// climb closes the pieces one after the other, on this goroutine, until the grace is over:
// then the timer's goroutine has taken over, and this one comes back with the call it is in.
func (l *ladder) climb() {
	through := false
	defer func() {
		if !through {
			go l.climb() // a Close has ended this goroutine; the next ends as this one does
		}
	}()
	for r := l.next(); r != nil; r = l.next() {
		l.try(r.close, &r.asked)
	}
	through = true
	l.note(func() { l.climber = false })
}

// next returns the rung to ask now; nil when there is none, or it is not asked one by one
// any more.
func (l *ladder) next() *rung {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.forcing || l.through() {
		return nil
	}
	r := &l.rungs[l.asked]
	l.asked++
	l.begin(&r.asked)
	return r
}

// begin books a call that is about to be made. Called with mu held.
func (l *ladder) begin(a *attempt) {
	a.called = true
	l.calls++
}

// try makes a call that was booked.
func (l *ladder) try(f func() error, a *attempt) {
	Guard(func() error { return heard(f()) }, func(err error) {
		l.note(func() {
			l.calls--
			a.comeBack(err, time.Since(l.start))
		})
	})
}

// force is called on all that has not gone, at once. Each call has a goroutine of its own,
// which ends when the call does. Called with mu held.
func (l *ladder) force() {
	l.forcing = true
	for i := range l.rungs {
		r := &l.rungs[i]
		if !r.asked.called {
			// The ladder was held up before it came to this rung.
			l.asked++
			l.begin(&r.asked)
			go l.try(r.close, &r.asked)
		}
		if r.Force != nil && !r.asked.ok() {
			l.begin(&r.forced)
			go l.try(r.Force, &r.forced)
		}
	}
}

// report sums up. Called with mu held.
func (l *ladder) report() *Report {
	rep := &l.summary
	if rep.Released = l.released[:0]; len(l.rungs) > len(l.released) {
		rep.Released = make([]Release, 0, len(l.rungs))
	}
	for i := range l.rungs {
		l.settle(&l.rungs[i], rep)
	}
	if l.runner.back {
		rep.Remains = append(rep.Remains, l.held.takeLate()...)
	} else {
		rep.remains("goroutine", "the operation has not returned", l.runner.await(), l.held.takeLate)
	}
	rep.Took = time.Since(l.start)
	if len(rep.Remains) > 0 || rep.failed() {
		rep.Err = rep.errors() // in a frame of its own: most have none, and a stack that need not grow
	}
	return rep
}

// failed reports whether a hook says that it has failed. A piece that went by force has gone.
func (r *Report) failed() bool {
	for i := range r.Released {
		if rel := &r.Released[i]; rel.Err != nil && rel.How == byHook {
			return true
		}
	}
	return false
}

// errors joins what hooks say, and what is left.
func (r *Report) errors() error {
	var errs []error
	for _, rel := range r.Released {
		if rel.Err != nil && rel.How == byHook {
			errs = append(errs, fmt.Errorf("release %s: %w", rel.What, rel.Err))
		}
	}
	for _, left := range r.Left() {
		errs = append(errs, &LeftoverError{Left: []Leftover{left}})
	}
	return errors.Join(errs...)
}

// released adds a rung that went by the attempt a.
func (r *Report) released(g *rung, how string, a *attempt) {
	r.Released = append(r.Released, Release{g.What, how, a.took, g.asked.err})
}

// remains adds what will have gone when gone is closed.
func (r *Report) remains(what, why string, gone <-chan struct{}, then func() []Remains) {
	r.Remains = append(r.Remains, Remains{Left: []Leftover{{What: what, Why: why}}, Gone: gone, Then: then})
}

// How pieces go, beside Piece.By.
const (
	byClose = "close"
	byForce = "force"
	byHook  = "hook"
)

// settle adds to rep what has become of a rung so far: gone, or left, or gone while one of
// its calls is still out. A hook that failed has run: an error, not a leftover. Called with
// mu held.
func (l *ladder) settle(r *rung, rep *Report) {
	switch {
	case r.asked.back && r.hook:
		rep.released(r, byHook, &r.asked)
	case r.asked.ok():
		rep.released(r, cmp.Or(r.By, byClose), &r.asked)
	default:
		l.unsettled(r, rep)
	}
}

// unsettled is settle for a rung on which asking was not enough.
func (l *ladder) unsettled(r *rung, rep *Report) {
	asked, forced := &r.asked, &r.forced
	if forced.ok() {
		rep.released(r, r.forcedBy(), forced)
	}
	switch {
	case !asked.back && forced.ok():
		l.stillOut(r, rep, "gone, but its clean-up has not returned", asked)
	case !asked.back:
		l.stillOut(r, rep, "its clean-up has not returned", asked)
	case forced.ok():
	case forced.called && !forced.back:
		l.stillOut(r, rep, "its forced end has not returned", forced)
	default:
		rep.Remains = append(rep.Remains, Remains{Left: leftovers(r.What, cmp.Or(forced.err, asked.err)), Retry: r.retry})
	}
}

// forcedBy says how a piece went that had to be forced: by its own means, where it names them.
func (r *rung) forcedBy() string {
	if r.By == "" {
		return byForce
	}
	return r.By + " by " + byForce
}

// stillOut is a rung on which a call is out. What the call says when it comes back, it says
// late, and it counts all the same.
func (l *ladder) stillOut(r *rung, rep *Report, why string, a *attempt) {
	rep.remains(r.What, why, a.await(), func() []Remains {
		l.mu.Lock()
		defer l.mu.Unlock()
		var late Report
		l.settle(r, &late)
		return late.Remains
	})
}

// retry tries once more what failed.
func (r *rung) retry() error { return closePiece(r.Piece) }
