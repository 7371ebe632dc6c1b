package actors

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// desk takes requests by message. It belongs to the root actor and is touched by its
// handlers alone.
type desk struct {
	rt         *Runtime
	open       func(actor.Context, *openEndpoint) // the root's own
	requesters map[string]*requester
}

// requester is an actor with requests under way.
type requester struct {
	pid     *actor.PID
	watched bool
	gone    bool // it has stopped, and what it asked for is on its way out
	asked   map[uint64]*asked
}

// asked is one request under way by message, from before its submission, and the context of
// its caller, who is known by message alone: it has a deadline, but no timer, since its
// request has one; it is cancelled by message. When the request is over it is what the desk
// is told.
type asked struct {
	desk     *desk
	sender   *actor.PID
	id       uint64
	deadline time.Time // zero is none

	mu      sync.Mutex
	request *request      // nil until submitted
	stopped error         // why it was stopped, if it was
	over    chan struct{} // closed when it was stopped; made when first asked for
}

// Deadline implements context.Context.
func (a *asked) Deadline() (time.Time, bool) { return a.deadline, !a.deadline.IsZero() }

// Done implements context.Context.
func (a *asked) Done() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over == nil {
		a.over = make(chan struct{})
		if a.stopped != nil {
			close(a.over)
		}
	}
	return a.over
}

// Err implements context.Context.
func (a *asked) Err() error {
	if a.cause() != nil {
		return context.Canceled
	}
	return nil
}

// Value implements context.Context.
func (a *asked) Value(any) any { return nil }

// cause is why it was stopped, nil while it was not.
func (a *asked) cause() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stopped
}

// stop stops the request now, or as soon as it has been submitted.
func (a *asked) stop(cause error) {
	a.mu.Lock()
	r := a.request
	if a.stopped == nil && a.over != nil {
		close(a.over)
	}
	a.stopped = cause
	a.mu.Unlock()
	if r != nil {
		r.abort(Cancelled, NoPhase, time.Time{}, cause)
	}
}

// submitted takes over the submitted request.
func (a *asked) submitted(r *request) {
	a.mu.Lock()
	a.request = r
	cause := a.stopped
	a.mu.Unlock()
	if cause != nil {
		r.abort(Cancelled, NoPhase, time.Time{}, cause)
	}
}

// finished answers for a request that is over.
func (a *asked) finished(r *request) {
	value, err := r.result()
	rec := r.receipt()
	rec.Error = errText(err)
	a.answer(&Response{ID: a.id, Value: value, Err: err, Receipt: rec})
}

// answer takes the request off the books and answers it: in this order, so that whoever has
// the answer may use the ID again.
func (a *asked) answer(msg *Response) {
	rt := a.desk.rt
	rt.system.Root.Send(rt.root, a)
	rt.system.Root.Send(a.sender, msg)
}

// request books and submits a message's request.
func (d *desk) request(c actor.Context, msg *Request) {
	sender := c.Sender()
	if sender == nil {
		c.Logger().Warn("curfew: a request without a sender was refused", slog.Uint64("id", msg.ID))
		return
	}
	from := d.requester(c, sender)
	if err := from.mayAsk(msg.ID); err != nil {
		d.rt.system.Root.Send(sender, refusal(msg.ID, fmt.Errorf("request %d: %w", msg.ID, err)))
		return
	}
	entry, left := &asked{desk: d, sender: sender, id: msg.ID}, msg.Left(c)
	if left != 0 {
		entry.deadline = time.Now().Add(left)
	}
	from.asked[msg.ID] = entry
	if !d.rt.policies.snapshot.Load().blocks {
		d.submit(entry, msg, left, func(msg *openEndpoint) { d.open(c, msg) })
		return
	}
	// The policy may take its time, which must not be the mailbox's, nor another request's.
	// It ends within the bound on the policy.
	go d.submit(entry, msg, left, nil)
}

// mayAsk says why nothing is begun for a requester, nil when it has gone.
func (from *requester) mayAsk(id uint64) error {
	switch {
	case from == nil || from.gone:
		return ErrRequesterGone
	case from.asked[id] != nil:
		return ErrDuplicateID
	}
	return nil
}

// submit runs on the root's goroutine, or on its own where the policy may block. On the
// root's an endpoint is opened by open: a message would wait for who waits for it.
func (d *desk) submit(entry *asked, msg *Request, left time.Duration, open func(*openEndpoint)) {
	returned := false
	defer func() {
		if !returned { // a Spec has ended this goroutine
			entry.answer(refusal(msg.ID, panicked(nil)))
		}
	}()
	d.try(entry, msg, left, open)
	returned = true
}

// try submits a request, or answers why it cannot.
func (d *desk) try(entry *asked, msg *Request, left time.Duration, open func(*openEndpoint)) {
	use, err := withCleanup(msg)
	if err == nil && left < 0 {
		err = fmt.Errorf("request %d: %w", msg.ID, timeoutpolicy.ErrTooLate)
	}
	var r *request
	if err == nil {
		opts := Options{Within: msg.Within, Class: msg.Class, Priority: msg.Priority}
		r, err = d.rt.submit(entry, use, &opts, open, entry)
	}
	if err != nil {
		entry.answer(refusal(msg.ID, err))
		return
	}
	entry.submitted(r)
}

// refusal answers a request of which nothing was started.
func refusal(id uint64, err error) *Response {
	rec := &Receipt{Outcome: Refused, Error: err.Error()}
	if cancelled, ok := errors.AsType[*CancelledError](err); ok {
		rec = cancelled.Receipt
	} else if expired, ok := errors.AsType[*ExpiredError](err); ok {
		rec = expired.Receipt
	}
	return &Response{ID: id, Err: err, Receipt: rec}
}

// requester finds or books the sender, and watches it if it is an actor. Watching the
// process behind a RequestFuture would complete the future with the Watch. It is nil for a
// sender that is nowhere: what it sent before it stopped is read after that.
func (d *desk) requester(c actor.Context, sender *actor.PID) *requester {
	key := sender.String()
	if from := d.requesters[key]; from != nil {
		return from
	}
	p, ok := c.ActorSystem().ProcessRegistry.Get(sender)
	if !ok {
		return nil
	}
	from := &requester{pid: sender, asked: make(map[uint64]*asked)}
	if d.requesters == nil {
		d.requesters = make(map[string]*requester)
	}
	d.requesters[key] = from
	if _, from.watched = p.(*actor.ActorProcess); from.watched {
		c.Watch(sender)
	}
	return from
}

// cancel stops one request of the sender.
func (d *desk) cancel(c actor.Context, msg *Cancel) {
	if c.Sender() == nil {
		c.Logger().Warn("curfew: a cancel without a sender was ignored", slog.Uint64("id", msg.ID))
		return
	}
	if from := d.requesters[c.Sender().String()]; from != nil {
		if entry := from.asked[msg.ID]; entry != nil {
			entry.stop(fmt.Errorf("request %d: %w", msg.ID, errCancelMessage))
		}
	}
}

// done takes a request off the books.
func (d *desk) done(c actor.Context, msg *asked) {
	key := msg.sender.String()
	from := d.requesters[key]
	if from == nil {
		return
	}
	delete(from.asked, msg.id)
	if len(from.asked) > 0 {
		return
	}
	delete(d.requesters, key)
	if from.watched {
		c.Unwatch(from.pid)
	}
}

// requesterGone stops all requests of an actor that has stopped. Its word overtakes the
// requests that are still in the mailbox: see mayAsk.
func (d *desk) requesterGone(c actor.Context, who *actor.PID) {
	from := d.requesters[who.String()]
	if from == nil {
		return
	}
	from.gone = true
	for _, entry := range from.asked {
		entry.stop(ErrRequesterGone)
	}
}

// withCleanup gives the use of msg the clean-up hook it names. What it asks may be a
// user's own type.
func withCleanup(msg *Request) (use resources.Use, err error) {
	if msg.CleanupMethod == "" {
		return msg.Use, nil
	}
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v)
		}
	}()
	return resources.CleanupByName(msg.Use, msg.CleanupMethod)
}
