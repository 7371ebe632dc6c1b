package actors

import (
	"math"
	"time"

	"curfew.example/timeoutpolicy"
)

// Backoff is how long a child that ended waits before it is started again: First, then
// twice as long each time, at most Most, of which a part is drawn at random. The zero value
// is the default.
//
// Source: exponential back-off with capped, partial jitter, as in gRPC's connection back-off.
type Backoff struct {
	First time.Duration // 0 is DefaultBackoffFirst; timeoutpolicy.None is no wait (but see Reason "expired")
	Most  time.Duration // 0 is DefaultBackoffMost

	// Jitter is the part of the wait, 0 to 1, that is drawn at random. 0 is
	// DefaultBackoffJitter; negative is none.
	Jitter float64

	// Reset is how long a run has to last for the row of waits to begin anew. 0 is Most.
	Reset time.Duration
}

// Defaults of Backoff.
const (
	DefaultBackoffFirst  = 100 * time.Millisecond
	DefaultBackoffMost   = 30 * time.Second
	DefaultBackoffJitter = 0.2
)

// check finds values that make no sense.
func (b Backoff) check() error {
	switch {
	case b.First < 0 && b.First != timeoutpolicy.None:
		return noTree("Backoff.First", "%s is negative; no wait is timeoutpolicy.None", b.First)
	case b.Most < 0:
		return noTree("Backoff.Most", "%s is negative", b.Most)
	case b.Reset < 0:
		return noTree("Backoff.Reset", "%s is negative", b.Reset)
	case b.Jitter > 1 || math.IsNaN(b.Jitter):
		return noTree("Backoff.Jitter", "%v is more than the whole", b.Jitter)
	}
	return nil
}

// orDefault fills in the zero fields.
func (b Backoff) orDefault() Backoff {
	if b.First == 0 {
		b.First = DefaultBackoffFirst
	}
	if b.Most == 0 {
		b.Most = max(DefaultBackoffMost, b.First)
	}
	if b.Jitter == 0 {
		b.Jitter = DefaultBackoffJitter
	}
	if b.Reset == 0 {
		b.Reset = b.Most
	}
	return b
}

// delay is the wait before the restart that is the row's nth, from 1. random is in [0, 1).
// An expiry spends no restart: without a wait nothing would stop it from spinning.
func (b Backoff) delay(nth int, expired bool, random float64) time.Duration {
	b = b.orDefault()
	if b.First == timeoutpolicy.None {
		if !expired {
			return 0
		}
		b.First = DefaultBackoffFirst
	}
	d := min(b.First, b.Most)
	for ; nth > 1 && d < b.Most; nth-- {
		d = min(2*d, b.Most)
		if d <= 0 { // past the largest length of time
			d = b.Most
		}
	}
	return d - time.Duration(float64(d)*max(0, b.Jitter)*random)
}

// window counts restarts within a period.
type window struct {
	intensity int
	period    time.Duration
	restarts  []time.Time // no more than one above the intensity
}

func newWindow(intensity int, period time.Duration) window {
	switch intensity {
	case 0:
		intensity = DefaultIntensity
	case NoRestarts:
		intensity = 0
	}
	if period == 0 {
		period = DefaultPeriod
	}
	return window{intensity: intensity, period: period}
}

// exceeded books a restart and reports whether it was one too many. One that is exactly a
// period old counts still, as in supervisor.erl.
func (w *window) exceeded(now time.Time) bool {
	kept := w.restarts[:0]
	for _, at := range w.restarts {
		if now.Sub(at) <= w.period {
			kept = append(kept, at)
		}
	}
	w.restarts = append(kept, now)
	return len(w.restarts) > w.intensity
}
