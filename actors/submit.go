package actors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// Do runs use under the deadline it gets from the policy, opts and ctx, and returns when
// what it held is gone, or the error names what is not.
func (rt *Runtime) Do(ctx context.Context, use resources.Use, opts Options) (any, error) {
	deepen(false)
	r, err := rt.submit(ctx, use, &opts, nil, nil)
	if err != nil {
		return nil, err
	}
	if opts.call != nil {
		opts.call.s.submitted(opts.call, r)
	}
	r.await()
	r.bell.still()
	rt.bells.Put(r.bell)
	value, err := r.result()
	if opts.Receipt != nil {
		*opts.Receipt = *r.receipt()
		opts.Receipt.Error = errText(err)
	}
	r.discard(err)
	return value, err
}

// deepen has the stack of a fresh goroutine grown, once and while there is little on it to
// move: it would be doubled twice on the way through protoactor, the second time with some
// twenty frames to walk. Where there is room already it costs a comparison.
//
//go:noinline
func deepen(fill bool) {
	if fill { // it is not: the room alone is wanted
		var room [4 << 10]byte
		touch(room[:])
	}
}

//go:noinline
func touch(b []byte) { b[0] = 1 }

func errText(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprint(err) // contains a panic of its Error
}

// submit makes a request of use and lets it begin or wait. An error says that nothing was
// started. open, when not nil, opens an endpoint without a message to the root: see
// desk.submit. by, when not nil, asked by message, and is told of the end: no caller waits.
func (rt *Runtime) submit(ctx context.Context, use resources.Use, opts *Options, open func(*openEndpoint), by *asked) (*request, error) {
	r := &request{
		rt: rt, asked: by, submitted: time.Now(),
		priority: opts.Priority, early: opts.AnswerAtDeadline, replaced: opts.replaced,
	}
	r.op.caller = ctx
	if by == nil {
		r.bell = rt.bells.Get().(bell)
	}
	if rt.observer != nil {
		r.id = rt.observer.lastID.Add(1)
	}
	rt.live.Add(1)
	foreign := true
	defer func() {
		if foreign { // a context or a Spec takes this goroutine with it
			rt.refuse(r, opts, panicked(nil))
		}
	}()
	err := rt.start(r, use, opts, open)
	foreign = false
	if err != nil {
		rt.refuse(r, opts, err)
		return nil, err
	}
	return r, nil
}

// start checks everything that can be checked before a side effect, fixes the deadline and
// finds the endpoint.
func (rt *Runtime) start(r *request, use resources.Use, opts *Options, open func(*openEndpoint)) error {
	if rt.closing.Load() {
		return ErrClosed
	}
	spec, run, err := prepared(use)
	if err != nil {
		return err
	}
	r.use, r.kind, r.target, r.unbounded = run, spec.Kind, spec.Target, spec.Unbounded
	if err := r.check(opts); err != nil {
		return err
	}
	if err := r.grant(spec.Endpoint, opts); err != nil {
		return err
	}
	return rt.admit(r, &spec, open)
}

// check finds what is wrong with a request whatever its budget.
func (r *request) check(opts *Options) error {
	switch err := r.op.caller.Err(); {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s: %w: %w", title(r.kind, r.target), timeoutpolicy.ErrTooLate, context.Cause(r.op.caller))
	case err != nil:
		return r.cancelledEarly()
	}
	return checkOptions(r.kind, opts)
}

// grant asks for the budget, which fixes the deadline.
func (r *request) grant(endpoint string, opts *Options) (err error) {
	r.budget, err = r.rt.policies.budget(r.op.caller, timeoutpolicy.Ask{
		Kind: r.kind, Endpoint: endpoint, Class: opts.Class,
		Remaining: remaining(r.op.caller, r.submitted),
		Within:    opts.Within,
		Now:       r.submitted,
	})
	if err != nil {
		return r.notGranted(err)
	}
	r.budget.Grace = cmp.Or(opts.Grace, r.budget.Grace)
	r.budget.Force = cmp.Or(opts.Force, r.budget.Force)
	if r.budget.Limit != timeoutpolicy.Unlimited {
		r.op.deadline = r.submitted.Add(r.budget.Limit)
		if due, ok := r.op.caller.Deadline(); ok && due.Before(r.op.deadline) {
			r.op.deadline = due
		}
	}
	return nil
}

// notGranted is the answer to a caller who gets no budget.
func (r *request) notGranted(err error) error {
	if errors.Is(r.op.caller.Err(), context.Canceled) {
		return r.cancelledEarly()
	}
	return fmt.Errorf("%s: %w", title(r.kind, r.target), err)
}

// checkOptions finds what no request can be told.
func checkOptions(kind string, opts *Options) error {
	switch timeoutpolicy.Unlimited {
	case opts.Grace:
		return &resources.Invalid{Kind: kind, Field: "Grace", Why: "a clean-up has to have an end"}
	case opts.Force:
		return &resources.Invalid{Kind: kind, Field: "Force", Why: "a clean-up has to have an end"}
	}
	return nil
}

// cancelledEarly is the answer to a caller whose context was cancelled before anything
// was started.
func (r *request) cancelledEarly() error {
	r.decide(Cancelled, r.moment(r.submitted))
	r.cause, r.final = r.callersEnd(), r.ended
	return &CancelledError{Receipt: r.receipt(), Cause: r.cause}
}

// expiredEarly is the answer to a caller whose time was over before there was an endpoint
// to wait for.
func (r *request) expiredEarly() error {
	r.decide(Expired, r.elapsed())
	r.phase, r.due, r.cause, r.final = Queued, r.moment(r.op.deadline), r.callerCause(), r.ended
	return &ExpiredError{Receipt: r.receipt(), Cause: r.cause}
}

// prepared asks a resource for its Spec, and for what to run, which may be foreign code.
func prepared(use resources.Use) (spec resources.Spec, run resources.Use, err error) {
	if use == nil {
		return spec, nil, &resources.Invalid{Kind: "request", Field: "Use", Why: "there is nothing to run"}
	}
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v)
		}
	}()
	return resources.Prepare(use)
}

// remaining is what ctx leaves from now on.
func remaining(ctx context.Context, now time.Time) time.Duration {
	if due, ok := ctx.Deadline(); ok {
		// Sub saturates, at what would mean no deadline.
		return min(due.Sub(now), timeoutpolicy.Unlimited-1)
	}
	return timeoutpolicy.Unlimited
}

// admit finds the endpoint and hands the request to it.
func (rt *Runtime) admit(r *request, spec *resources.Spec, open func(*openEndpoint)) error {
	rt.emit(EventSubmitted, r, nil)
	for {
		e, err := rt.endpoint(r, spec, open)
		if err != nil {
			return err
		}
		gone, err := e.admit(r)
		if !gone {
			return err
		}
		if rt.closing.Load() {
			return ErrClosed
		}
		rt.forget(e)
	}
}

// endpoint finds the endpoint of r, or has it opened: by open, or else by the root.
func (rt *Runtime) endpoint(r *request, spec *resources.Spec, open func(*openEndpoint)) (*endpoint, error) {
	key := endpointKey{r.kind, spec.Endpoint}
	rt.mu.RLock()
	e := rt.endpoints[key]
	rt.mu.RUnlock()
	if e != nil {
		return e, nil
	}
	msg := &openEndpoint{key: key, atOnce: spec.AtOnce, reply: make(chan *endpoint, 1)}
	if open != nil {
		open(msg)
	} else {
		rt.system.Root.Send(rt.root, msg)
	}
	var due <-chan time.Time
	if !r.op.deadline.IsZero() {
		timer := time.NewTimer(time.Until(r.op.deadline))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case e := <-msg.reply:
		if e == nil {
			return nil, ErrClosed
		}
		return e, nil
	case <-rt.closed:
		return nil, ErrClosed
	case <-r.op.caller.Done():
		if errors.Is(r.op.caller.Err(), context.DeadlineExceeded) {
			return nil, r.expiredEarly()
		}
		return nil, r.cancelledEarly()
	case <-due:
		return nil, r.expiredEarly()
	}
}
