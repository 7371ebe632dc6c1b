package actors

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/timeoutpolicy"
)

// ErrGone is the error of an Ask whose target has stopped, or was never there.
var ErrGone = errors.New("the actor that was asked is gone")

// ErrNoReply is the error of an Ask that had no answer in time. It is a
// context.DeadlineExceeded.
var ErrNoReply = fmt.Errorf("no reply in time: %w", context.DeadlineExceeded)

// Headers of a message with a budget. What is left travels as a length of time; beside it
// stands when that was, by the clock of the process that sent it, which counts only there:
// so the time in a mailbox counts, and a clock that is wrong elsewhere does not.
const (
	headerRemaining = "curfew-remaining" // ns
	headerSince     = "curfew-since"     // process, and ns since its start
)

// epoch tells this process's times from those of others.
var epoch = struct {
	id    string
	start time.Time
}{strconv.FormatInt(time.Now().UnixNano(), 36), time.Now()}

// Budgeted makes any actor keep to the budgets of its callers: a message whose budget was
// used up before it was read is answered with a *Response that says ErrTooLate, and never
// handed to the actor. Inside the actor, Remaining says what is left for the message at
// hand, and Ask asks others within it.
//
//	props := actor.PropsFromProducer(actors.Budgeted(NewMine))
func Budgeted(producer actor.Producer) actor.Producer {
	return func() actor.Actor { return &budgeted{inner: producer()} }
}

// budgeted is one incarnation of an actor that keeps to budgets.
type budgeted struct{ inner actor.Actor }

// Receive implements actor.Actor.
func (b *budgeted) Receive(c actor.Context) {
	if again, ok := c.Message().(*reentry); ok {
		if again.asker == b { // not one of an incarnation before a restart
			again.then()
		}
		return
	}
	if left, ok := Remaining(c); ok && left <= 0 {
		late := &Response{Err: fmt.Errorf("%T: %w", c.Message(), timeoutpolicy.ErrTooLate)}
		if r, ok := c.Message().(*Request); ok {
			late.ID = r.ID
		}
		answer(c, late)
		return
	}
	b.inner.Receive(c)
}

// Remaining says what is left of the budget that the message at hand came with; false
// says that it came without one.
func Remaining(c actor.Context) (time.Duration, bool) {
	h := c.MessageHeader()
	if h == nil {
		return 0, false
	}
	ns, err := strconv.ParseInt(h.Get(headerRemaining), 10, 64)
	if err != nil {
		return 0, false
	}
	return time.Duration(ns) - waited(h.Get(headerSince)), true
}

// waited is how long ago a mark was made; nothing, for one of another process.
func waited(since string) time.Duration {
	id, at, _ := strings.Cut(since, "/")
	ns, err := strconv.ParseInt(at, 10, 64)
	if id != epoch.id || err != nil {
		return 0
	}
	return time.Since(epoch.start) - time.Duration(ns)
}

// Within wraps msg in an envelope that carries the budget d: for Send and Request, when no
// answer is waited for with Ask. A supervisor keeps to it as a Budgeted actor does.
func Within(msg any, sender *actor.PID, d time.Duration) *actor.MessageEnvelope {
	env := &actor.MessageEnvelope{Message: msg, Sender: sender}
	env.SetHeader(headerRemaining, strconv.FormatInt(int64(d), 10))
	env.SetHeader(headerSince, epoch.id+"/"+strconv.FormatInt(int64(time.Since(epoch.start)), 10))
	return env
}

// Ask sends msg to another actor and returns at once; then is called on the asking actor's
// own turn, exactly once: with the answer, or with an error (ErrNoReply, ErrGone,
// timeoutpolicy.ErrTooLate, one of a *Response). The mailbox is not blocked meanwhile. In
// then, c is the asking actor's context with the sender and the budget of the message it
// was asked under, so Respond, Remaining and Ask work. then is not called when the asking
// actor has stopped or restarted.
//
// The limit is the smaller of within and what Remaining says; within 0 is what Remaining
// says alone, and an error (timeoutpolicy.ErrNoLimit) where that says nothing. msg travels
// with the limit, and a *Request to a supervisor takes it over. An answer that comes too
// late goes nowhere: its address is gone.
//
// The asking actor has to be Budgeted. c must be the context of the message at hand.
func Ask[T any](c actor.Context, to *actor.PID, msg any, within time.Duration, then func(T, error)) {
	back := &reentry{asker: c.Actor()}
	a := &asking{
		system: c.ActorSystem(), asker: c.Self(), sender: c.Sender(), to: to,
		header: c.MessageHeader(),
	}
	a.done = func(v any, err error) {
		back.then = func() { then(answerAs[T](v, err)) }
		a.deliver(back)
	}
	limit, err := askLimit(c, within)
	if err != nil {
		a.done(nil, err)
		return
	}
	a.send(msg, limit)
}

// askLimit is the time an Ask has.
func askLimit(c actor.Context, within time.Duration) (time.Duration, error) {
	left, ok := Remaining(c)
	switch {
	case within < 0 || ok && left <= 0:
		return 0, timeoutpolicy.ErrTooLate
	case within == 0 && !ok:
		return 0, timeoutpolicy.ErrNoLimit
	case within == 0 || ok && left < within:
		return left, nil
	}
	return within, nil
}

// answerAs gives an answer its type. A *Response that is an error is one, unless the caller
// wants the Response.
func answerAs[T any](v any, err error) (T, error) {
	t, ok := v.(T)
	if ok || err != nil {
		return t, err
	}
	if resp, isResponse := v.(*Response); isResponse {
		return As[T](resp)
	}
	return t, fmt.Errorf("the answer is a %T, not a %T", v, t)
}

// reentry has something run on the asking actor's turn.
type reentry struct {
	asker actor.Actor
	then  func()
}

// IgnoreDeadLetterLogging marks what came back to an actor that has stopped: no news.
func (*reentry) IgnoreDeadLetterLogging() {}

// asking is the address of one answer: a process that lives until the answer, the limit or
// the target's end, whichever is first.
type asking struct {
	system        *actor.ActorSystem
	self          *actor.PID
	asker, sender *actor.PID
	to            *actor.PID
	header        actor.ReadonlyMessageHeader
	cancel        *Cancel // of a request to a supervisor; nil for other messages
	done          func(any, error)
	timer         *time.Timer

	mu   sync.Mutex
	over bool
}

func (a *asking) send(msg any, limit time.Duration) {
	a.self, _ = a.system.ProcessRegistry.Add(a, "ask"+a.system.ProcessRegistry.NextId())
	a.mu.Lock() // the timer may fire before it is in its field
	a.timer = time.AfterFunc(limit, func() { a.finish(nil, ErrNoReply) })
	a.mu.Unlock()
	if req, ok := msg.(*Request); ok {
		msg = a.inherit(req, limit)
	}
	p, ok := a.system.ProcessRegistry.Get(a.to)
	if !ok {
		a.finish(nil, ErrGone)
		return
	}
	a.watch(a.asker)
	a.watch(a.to)
	p.SendUserMessage(a.to, Within(msg, a.self, limit))
}

// inherit gives a request to a supervisor the limit; the caller's own stays as it is.
func (a *asking) inherit(req *Request, limit time.Duration) *Request {
	own := *req
	if own.Remaining == 0 || own.Remaining > limit {
		own.Remaining = limit
	}
	a.cancel = &Cancel{ID: own.ID}
	return &own
}

func (a *asking) watch(who *actor.PID) {
	if p, ok := a.system.ProcessRegistry.Get(who); ok {
		p.SendSystemMessage(who, &actor.Watch{Watcher: a.self})
	}
}

func (a *asking) unwatch(who *actor.PID) {
	if p, ok := a.system.ProcessRegistry.Get(who); ok {
		p.SendSystemMessage(who, &actor.Unwatch{Watcher: a.self})
	}
}

// SendUserMessage implements actor.Process: the answer.
func (a *asking) SendUserMessage(_ *actor.PID, msg any) {
	_, v, _ := actor.UnwrapEnvelope(msg)
	if _, dead := v.(*actor.DeadLetterResponse); dead {
		a.finish(nil, ErrGone)
		return
	}
	a.finish(v, nil)
}

// SendSystemMessage implements actor.Process: the target's end, or the asker's, which
// takes its request to a supervisor with it.
func (a *asking) SendSystemMessage(_ *actor.PID, msg any) {
	over, ok := msg.(*actor.Terminated)
	if !ok {
		return
	}
	if a.cancel != nil && over.Who.Equal(a.asker) {
		a.system.Root.RequestWithCustomSender(a.to, a.cancel, a.self)
	}
	a.finish(nil, ErrGone)
}

// Stop implements actor.Process.
func (a *asking) Stop(*actor.PID) { a.finish(nil, ErrGone) }

func (a *asking) finish(v any, err error) {
	a.mu.Lock()
	first := !a.over
	a.over = true
	a.mu.Unlock()
	if !first {
		return
	}
	a.timer.Stop()
	a.system.ProcessRegistry.Remove(a.self)
	a.unwatch(a.to)
	a.unwatch(a.asker)
	a.done(v, err)
}

// deliver takes the answer to the asking actor's mailbox, under the sender and the budget
// of the message that it was asked under.
func (a *asking) deliver(back *reentry) {
	env := &actor.MessageEnvelope{Message: back, Sender: a.sender}
	if a.header != nil {
		for _, k := range a.header.Keys() {
			env.SetHeader(k, a.header.Get(k))
		}
	}
	a.system.Root.Send(a.asker, env)
}
