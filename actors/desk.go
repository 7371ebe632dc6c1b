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
	asked   map[uint64]*asked
}

// asked is one request under way, from before its submission.
type asked struct {
	cancel  context.CancelCauseFunc // of a submission that is waiting
	mu      sync.Mutex
	request *request // nil until submitted
	stopped error    // why it was stopped, if that came first
}

// deskDone tells the desk that a request is over.
type deskDone struct {
	sender *actor.PID
	id     uint64
}

// stop stops the request now, or as soon as it has been submitted.
func (a *asked) stop(cause error) {
	a.mu.Lock()
	r := a.request
	a.stopped = cause
	a.mu.Unlock()
	if r == nil {
		a.cancel(cause)
		return
	}
	r.abort(Cancelled, NoPhase, time.Time{}, cause)
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

// request books and submits a message's request.
func (d *desk) request(c actor.Context, msg *Request) {
	sender := c.Sender()
	if sender == nil {
		c.Logger().Warn("curfew: a request without a sender was refused", slog.Uint64("id", msg.ID))
		return
	}
	from := d.requester(c, sender)
	if from.asked[msg.ID] != nil {
		err := fmt.Errorf("request %d: %w", msg.ID, ErrDuplicateID)
		d.rt.system.Root.Send(sender, refusal(msg.ID, err))
		return
	}
	ctx, cancel := remote(msg.Remaining)
	entry := &asked{cancel: cancel}
	from.asked[msg.ID] = entry
	if !d.rt.policies.snapshot.Load().blocks {
		d.submit(ctx, entry, sender, msg, func(msg *openEndpoint) { d.open(c, msg) })
		return
	}
	// The policy may take its time, which must not be the mailbox's, nor another request's.
	// It ends within the bound on the policy.
	go d.submit(ctx, entry, sender, msg, nil)
}

// submit runs on the root's goroutine, or on its own where the policy may block. On the
// root's an endpoint is opened by open: a message would wait for who waits for it.
func (d *desk) submit(ctx context.Context, entry *asked, sender *actor.PID, msg *Request, open func(*openEndpoint)) {
	done := &deskDone{sender, msg.ID} // all that is kept of the message until the answer
	use, err := withCleanup(msg)
	if err == nil && msg.Remaining < 0 {
		err = fmt.Errorf("request %d: %w", msg.ID, timeoutpolicy.ErrTooLate)
	}
	var r *request
	if err == nil {
		opts := Options{Within: msg.Within, Class: msg.Class, Priority: msg.Priority}
		r, err = d.rt.submit(ctx, use, &opts, open, func(r *request) {
			value, err := r.result()
			rec := r.receipt()
			rec.Error = errText(err)
			d.answer(done, &Response{ID: done.id, Value: value, Err: err, Receipt: rec})
		})
	}
	if err != nil {
		d.answer(done, refusal(msg.ID, err))
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

// answer takes a request off the books and answers it: in this order, so that whoever has
// the answer may use the ID again.
func (d *desk) answer(done *deskDone, msg *Response) {
	d.rt.system.Root.Send(d.rt.root, done)
	d.rt.system.Root.Send(done.sender, msg)
}

// requester finds or books the sender, and watches it if it is an actor. Watching the
// process behind a RequestFuture would complete the future with the Watch.
func (d *desk) requester(c actor.Context, sender *actor.PID) *requester {
	key := sender.String()
	if from := d.requesters[key]; from != nil {
		return from
	}
	from := &requester{pid: sender, asked: make(map[uint64]*asked)}
	if d.requesters == nil {
		d.requesters = make(map[string]*requester)
	}
	d.requesters[key] = from
	if p, ok := c.ActorSystem().ProcessRegistry.Get(sender); ok {
		_, from.watched = p.(*actor.ActorProcess)
	}
	if from.watched {
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
func (d *desk) done(c actor.Context, msg *deskDone) {
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

// requesterGone stops all requests of an actor that has stopped.
func (d *desk) requesterGone(c actor.Context, who *actor.PID) {
	from := d.requesters[who.String()]
	if from == nil {
		return
	}
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

// remoteContext stands for a caller that is known by message alone: it has a deadline, but
// no timer, since its request has one; it is cancelled by message.
type remoteContext struct {
	context.Context
	deadline time.Time
}

// remote returns the context of a caller that has d left; 0 is no deadline.
func remote(d time.Duration) (context.Context, context.CancelCauseFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	if d == 0 {
		return ctx, cancel
	}
	return remoteContext{ctx, time.Now().Add(d)}, cancel
}

// Deadline implements context.Context.
func (c remoteContext) Deadline() (time.Time, bool) { return c.deadline, true }
