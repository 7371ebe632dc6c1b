package actors

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"curfew.example/resources"
)

// expiry is a request as the cause of an operation's context that expired. There is one at
// every expiry, so the text is put together only when somebody reads it.
type expiry request

func (e *expiry) Error() string {
	return (&ExpiredError{Receipt: (*request)(e).receipt(), Cause: e.cause}).Error()
}

// Unwrap makes the cause a timeout for errors.Is.
func (e *expiry) Unwrap() error { return context.DeadlineExceeded }

// Timeout reports true, as net.Error's does for timeouts.
func (e *expiry) Timeout() bool { return true }

// result is what the caller gets: the table of outcomes.
func (r *request) result() (any, error) {
	r.mu.Lock()
	var value any
	var work, cleanup error
	if r.back {
		value, work = r.value, r.work
	}
	if r.report != nil {
		cleanup = r.report.Err
	}
	outcome, cause := r.outcome, r.cause
	r.mu.Unlock()

	switch outcome {
	case Refused:
		return nil, cause
	case Expired:
		e := &expired{ExpiredError: ExpiredError{Cause: cause, Cleanup: cleanup, Work: notNoise(work)}}
		e.Receipt = r.receiptIn(&e.room)
		return value, &e.ExpiredError
	case Cancelled:
		return value, &CancelledError{Receipt: r.receipt(), Cause: cause, Cleanup: cleanup, Work: notNoise(work)}
	}
	if cleanup != nil {
		cleanup = &UnreleasedError{Receipt: r.receipt(), Cleanup: cleanup}
	}
	if work != nil && cleanup != nil {
		return value, errors.Join(work, cleanup)
	}
	if work != nil {
		return value, work
	}
	return value, cleanup
}

// notNoise drops an error that only says that the operation was ended.
func notNoise(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, os.ErrClosed) ||
		errors.Is(err, resources.ErrSealed) {
		return nil
	}
	return err
}

// receiptRoom has room for a receipt, of which most have one release.
type receiptRoom struct {
	receipt  Receipt
	released [1]resources.Release
}

// expired is an ExpiredError with its receipt in one allocation.
type expired struct {
	ExpiredError
	room receiptRoom
}

// receipt sums up the request as it stands.
func (r *request) receipt() *Receipt { return r.receiptIn(new(receiptRoom)) }

// receiptIn is receipt, in room.
func (r *request) receiptIn(room *receiptRoom) *Receipt {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.told != nil {
		return r.told
	}
	end := r.final
	if end == 0 {
		end = r.elapsed()
	}
	rec := &room.receipt
	*rec = Receipt{
		Kind: r.kind, Target: r.target,
		Outcome: r.outcome, Phase: r.phase, Budget: r.budget,
		Used:   end.since(),
		Phases: r.phases(end),
	}
	if r.outcome == Expired {
		rec.Lateness = max(0, time.Duration(end-r.due))
	}
	if r.report != nil {
		released := append(room.released[:0], r.report.Released...)
		rec.Cleanup = Cleanup{Took: r.report.Took, Mechanism: mechanism(released), Released: released}
		rec.Leftover = r.report.Left()
	}
	return rec
}

// discard gives up what the release took, when the caller has what there is to say of it: only
// the receipt of an expiry is read after that.
func (r *request) discard(err error) {
	if r.early || !r.alarmUnset {
		return
	}
	r.mu.Lock()
	if e, ok := err.(*ExpiredError); ok {
		r.told = e.Receipt
	}
	r.report = nil
	r.mu.Unlock()
	r.keeper.Discard()
}

// phases says where the time went. Called with mu held.
func (r *request) phases(end moment) Phases {
	stop := r.ended
	if stop == 0 {
		stop = end
	}
	if r.begun == 0 || r.begun > stop {
		return Phases{Queued: stop.since()}
	}
	p := Phases{Queued: r.begun.since()}
	opened := r.keeper.Opened()
	if at := r.moment(opened); opened.IsZero() || at > stop {
		p.Opening = time.Duration(stop - r.begun)
	} else {
		p.Opening, p.Running = time.Duration(at-r.begun), time.Duration(stop-at)
	}
	if r.report != nil {
		p.Cleanup = r.report.Took
	}
	return p
}
