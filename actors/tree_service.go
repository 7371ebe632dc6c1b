package actors

import (
	"context"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// limb is one run of a child: an actor, or a process, under its supervisor's. It tells its
// end by Terminated, after which exit is valid.
type limb interface {
	props() *actor.Props

	// stop asks it to go, and gives it up at that time. It does not wait. When it is called
	// again the earlier time holds.
	stop(until time.Time, cause error)

	exit() Exit
}

// service is the actor of one run of a Service. Its handlers run on whatever goroutine
// posts to it; Serve has a goroutine of its own.
type service struct {
	path     string
	serve    Service
	values   context.Context // of the tree, without its end
	limit    time.Duration   // what it was given until deadline, for the error
	deadline time.Time       // zero: none
	shutdown time.Duration

	mail    mailbox
	cancel  context.CancelCauseFunc
	release context.CancelFunc // of the deadline; nil: none
	run     string             // its label in profiles
	back    chan struct{}      // closed when Serve is back
	hurry   chan struct{}      // one slot: until has come nearer

	mu     sync.Mutex
	asked  time.Time // when it was asked to stop; zero: not yet
	until  time.Time // when it is given up
	cause  error     // why it was asked
	end    ending
	out    Exit
	ctx    context.Context
	gone   *straggler // once it was given up
	isBack bool
}

func newService(path string, c Child, values context.Context, now, deadline time.Time) *service {
	return &service{
		path: path, serve: c.Service, values: values,
		limit: deadline.Sub(now), deadline: deadline, shutdown: shutdownOf(c.Shutdown),
		back: make(chan struct{}), hurry: make(chan struct{}, 1),
	}
}

func (s *service) props() *actor.Props {
	return propsOf(s, false).Configure(actor.WithMailbox(func() actor.Mailbox { return &s.mail }))
}

func (s *service) exit() Exit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out
}

// Receive implements actor.Actor.
func (s *service) Receive(c actor.Context) {
	switch c.Message().(type) {
	case *actor.Started:
		s.started(c)
	case *actor.Stopping:
		s.stopping(c)
	case *actor.Stopped:
		s.PostStop()
	}
}

// started sets Serve going.
func (s *service) started(c actor.Context) {
	s.run = c.Self().Id
	ctx, cancel := context.WithCancelCause(s.values)
	s.cancel = cancel
	if !s.deadline.IsZero() {
		ctx, s.release = context.WithDeadlineCause(ctx, s.deadline, &LimitError{Path: s.path, Limit: s.limit})
	}
	s.ctx = pprof.WithLabels(ctx, pprof.Labels(labelPath, s.path, labelRun, s.run))
	if !s.deadline.IsZero() {
		context.AfterFunc(s.ctx, s.over) // may be called at once, and reads s.ctx
	}
	// The holder waits for it, until it is given up; after that the reaper watches it.
	go s.work()
}

// work is the goroutine of Serve.
func (s *service) work() {
	pprof.SetGoroutineLabels(s.ctx)
	end := ending{panicked: true}
	defer func() {
		if end.panicked {
			end.err = panicked(recover())
		}
		s.served(end)
	}()
	worksFor(func() { end.err = s.serve.Serve(s.ctx) })
	end.panicked = false
}

// served takes over how Serve ended, and stops the actor.
func (s *service) served(end ending) {
	s.mu.Lock()
	end.stopped = s.end.stopped
	// Asked of the context: it may have noticed before over did.
	end.expired = s.ctx.Err() == context.DeadlineExceeded
	if end.expired && (end.err == nil || end.err == context.DeadlineExceeded) {
		end.err = context.Cause(s.ctx)
	}
	s.end, s.isBack = end, true
	late := s.gone
	close(s.back)
	s.mu.Unlock()
	s.mail.PostSystemMessage(stopMessage)
	if late != nil {
		late.leave()
	}
}

// over is called when the context has ended: at the deadline it stops the actor.
func (s *service) over() {
	s.mu.Lock()
	expired := s.ctx.Err() == context.DeadlineExceeded && !s.isBack && s.asked.IsZero()
	if expired {
		now := time.Now()
		s.end.expired, s.end.err = true, context.Cause(s.ctx)
		s.asked, s.until = now, now.Add(s.shutdown)
	}
	s.mu.Unlock()
	if expired {
		s.mail.PostSystemMessage(stopMessage)
	}
}

// stop implements limb.
func (s *service) stop(until time.Time, cause error) {
	s.mu.Lock()
	switch {
	case s.isBack:
	case s.asked.IsZero():
		s.ask(until, cause)
	case until.Before(s.until):
		s.until = until
	}
	s.mu.Unlock()
	select {
	case s.hurry <- struct{}{}:
	default: // the holder has not seen the last one yet
	}
	s.mail.PostSystemMessage(stopMessage)
}

// ask books that it is to stop. Called with mu held.
func (s *service) ask(until time.Time, cause error) {
	s.asked, s.until, s.cause, s.end.stopped = time.Now(), until, cause, true
}

// stopping ends the context, and has the stop wait for Serve.
func (s *service) stopping(c actor.Context) {
	s.mu.Lock()
	if s.asked.IsZero() && !s.isBack { // stopped by one that is not our supervisor
		s.ask(time.Now().Add(s.shutdown), ErrStopping)
	}
	back, cause := s.isBack, s.cause
	s.mu.Unlock()
	s.cancel(cause)
	if s.release != nil {
		s.release()
	}
	if !back {
		sendHolder(c, s.await)
	}
}

// await waits for Serve to come back, until it is given up. It is the holder's work.
func (s *service) await() {
	awaitUntil(s.back, s.hurry, func() time.Time {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.until
	})
}

// awaitUntil waits for done, or for a time that may come nearer, which hurry tells.
func awaitUntil(done, hurry <-chan struct{}, until func() time.Time) {
	timer := time.NewTimer(time.Until(until()))
	defer timer.Stop()
	for {
		select {
		case <-done:
			return
		case <-timer.C:
			return
		case <-hurry:
			timer.Reset(time.Until(until()))
		}
	}
}

// PostStop is the run's end, triggered once by the actor's stop: Serve is back, or has been
// given up.
func (s *service) PostStop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = s.end.exit()
	if !s.isBack {
		s.gone = newStraggler(s.path, "service", s.run, s.asked, s.until)
		s.out.left = []*straggler{s.gone}
		return
	}
	s.serve, s.values = nil, nil // a supervisor keeps its dead children's memory
}
