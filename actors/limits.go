package actors

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"curfew.example/resources"
)

// ErrBreakerOpen is returned when an endpoint has failed so often of late that requests
// to it are refused for a while. Nothing has been started.
var ErrBreakerOpen = errors.New("the circuit breaker is open")

// Limits bounds what one endpoint takes. Zero values are the defaults.
type Limits struct {
	AtOnce    int // requests at work; 0 is 64, none where the kind says so (Func); negative is no limit
	Waiting   int // requests waiting for their turn; 0 is 1,024, negative is none
	Leftovers int // leftovers beyond which new requests are refused; 0 is 100, negative is none

	// PerSecond is how many requests may begin in a second, on average, and Burst how
	// many at once; the others wait in the queue. PerSecond 0 is no such limit, Burst 0
	// is 1. A token bucket.
	PerSecond float64
	Burst     int

	// Breaker, when not nil, refuses requests to an endpoint that keeps failing.
	Breaker *Breaker
}

// Breaker configures a circuit breaker: after Failures failures in a row requests are
// refused (ErrBreakerOpen) for Open; then Probes may try, and decide. Expiries, panics and
// failures count, except those that show the other side at work (a 4xx, an exit code, an
// XML-RPC fault); cancelled and refused requests count neither way.
type Breaker struct {
	Failures int           // 0 is 5
	Open     time.Duration // 0 is 30 s
	Probes   int           // 0 is 1
}

func (l Limits) orDefault() Limits {
	if l.AtOnce == 0 {
		l.AtOnce = 64
	}
	l.Waiting = defaultOrNone(l.Waiting, 1024)
	l.Leftovers = defaultOrNone(l.Leftovers, 100)
	return l
}

// limitsOf makes the function that tells the limits of an endpoint. Foreign code is
// contained: where it panics the general limits hold.
func limitsOf(cfg Config) func(kind, endpoint string) Limits {
	return func(kind, endpoint string) (l Limits) {
		if cfg.Each == nil {
			return cfg.Limits.orDefault()
		}
		defer func() {
			if recover() != nil {
				l = cfg.Limits.orDefault()
			}
		}()
		return cfg.Each(kind, endpoint, cfg.Limits).orDefault()
	}
}

// defaultOrNone reads a count of which 0 is the default and a negative one none.
func defaultOrNone(n, def int) int {
	if n == 0 {
		return def
	}
	return max(n, 0)
}

// valve is what a request has to pass to begin, beside a free slot. It is guarded by its
// endpoint's lock.
type valve struct {
	limiter *rate.Limiter
	breaker *gobreaker.TwoStepCircuitBreaker[any]
}

func newValve(l Limits) valve {
	var v valve
	if l.PerSecond > 0 {
		v.limiter = rate.NewLimiter(rate.Limit(l.PerSecond), max(1, l.Burst))
	}
	if b := l.Breaker; b != nil {
		failures := uint32(defaultOrNone(b.Failures, 5))
		v.breaker = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
			MaxRequests: uint32(defaultOrNone(b.Probes, 1)),
			Timeout:     cmp.Or(max(b.Open, 0), 30*time.Second),
			ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= failures },
			IsExcluded:  func(err error) bool { return errors.Is(err, errNoVerdict) },
		})
	}
	return v
}

// wait says how long it takes until a request may begin by the rate; when that is no time
// at all, its token is taken.
func (v *valve) wait() time.Duration {
	if v.limiter == nil {
		return 0
	}
	now := time.Now()
	token := v.limiter.ReserveN(now, 1)
	delay := token.DelayFrom(now)
	if delay > 0 {
		token.CancelAt(now)
	}
	return delay
}

// allow asks the breaker; r keeps the way to report back.
func (v *valve) allow(r *request) error {
	if v.breaker == nil {
		return nil
	}
	report, err := v.breaker.Allow()
	if err != nil {
		return fmt.Errorf("%s %s: %w", r.kind, r.target, ErrBreakerOpen)
	}
	r.verdict = report
	return nil
}

// shut reports whether requests are refused now.
func (v *valve) shut() bool { return v.breaker != nil && v.breaker.State() == gobreaker.StateOpen }

// atRest reports whether a new valve would let through what this one does: its breaker is
// not open, its bucket is full.
func (v *valve) atRest() bool {
	return !v.shut() && (v.limiter == nil || v.limiter.Tokens() >= float64(v.limiter.Burst()))
}

// errNoVerdict is what a request reports that says nothing about its endpoint.
var errNoVerdict = errors.New("no verdict")

// judgement is what an outcome says about the endpoint: nil that it works.
func judgement(o Outcome, work error) error {
	switch {
	case o == Completed, o == Failed && answered(work):
		return nil
	case o == Cancelled, o == Refused:
		return errNoVerdict
	}
	return errors.New(o.String())
}

// answered reports whether a failure shows the other side at work.
func answered(err error) bool {
	if status, ok := errors.AsType[*resources.StatusError](err); ok {
		return status.Status < 500
	}
	_, exit := errors.AsType[*resources.ExitError](err)
	_, fault := errors.AsType[*resources.Fault](err)
	return exit || fault
}
