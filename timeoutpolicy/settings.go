package timeoutpolicy

import (
	"errors"
	"fmt"
	"time"
)

// Stall sets the longest time without progress. Zero and Unlimited take the limit
// away again.
func Stall(d time.Duration) Policy {
	return setting{"stall", d, func(b Budget, d time.Duration) Budget { b.Stall = orZero(d); return b }}
}

// Warn sets the time after which a request is reported and goes on. Zero and Unlimited
// take it away again.
func Warn(d time.Duration) Policy {
	return setting{"warn", d, func(b Budget, d time.Duration) Budget { b.Warn = orZero(d); return b }}
}

// Grace sets how long a clean-up may take before force is used: zero is DefaultGrace,
// None no wait. It has an end: Unlimited is an error.
func Grace(d time.Duration) Policy {
	return setting{"grace", d, func(b Budget, d time.Duration) Budget { b.Grace = d; return b }}
}

// Force sets how long is waited after force was used: zero is DefaultForce, None no
// wait. It has an end: Unlimited is an error.
func Force(d time.Duration) Policy {
	return setting{"force", d, func(b Budget, d time.Duration) Budget { b.Force = d; return b }}
}

// errNoEnd is what is wrong with an unlimited Grace or Force.
var errNoEnd = errors.New("a clean-up has to have an end")

// orZero is d, where without an end means not at all.
func orZero(d time.Duration) time.Duration {
	if d == Unlimited {
		return 0
	}
	return d
}

// setting is a rule that sets one field of the budget. It grants nothing, and holds
// for explicit limits too.
type setting struct {
	what string
	d    time.Duration
	set  func(Budget, time.Duration) Budget
}

func (s setting) Grant(_ Ask, sofar Budget) (Budget, error) {
	if err := s.check(); err != nil {
		return Budget{}, err
	}
	return s.set(sofar, s.d), nil
}

func (s setting) Blocks() bool { return false }

func (s setting) String() string {
	if s.d == None && s.waits() {
		return s.what + " none"
	}
	return s.what + " " + text(s.d)
}

func (s setting) check() error {
	switch {
	case s.waits() && s.d == Unlimited:
		return fmt.Errorf("%s: %w", s.what, errNoEnd)
	case s.d < 0 && !(s.waits() && s.d == None):
		return fmt.Errorf("%s %s: it cannot be negative", s.what, s.d)
	}
	return nil
}

// waits reports whether the setting is a wait of the release, where None has a meaning.
func (s setting) waits() bool { return s.what == "grace" || s.what == "force" }
