package timeoutpolicy

import (
	"errors"
	"fmt"
	"time"
)

// Reserve keeps clearance back for the caller, so that it can still recover when the
// time is out: it grants what was granted so far, or what the caller has left where
// that is less, less clearance. Where nothing is left then, it is ErrTooLate, unless a
// Floor is set. Where there is neither a grant nor a deadline it grants nothing.
func Reserve(clearance time.Duration) ReserveRule {
	return ReserveRule{clearance: clearance, name: "reserve " + text(clearance)}
}

// ReserveRule is what Reserve makes. It is a value and may be shared.
type ReserveRule struct {
	clearance time.Duration
	floor     time.Duration // 0 is none
	name      string
}

// Floor returns the rule with a least limit: where the clearance would leave less, at
// is granted in its stead, but never more than there was.
func (r ReserveRule) Floor(at time.Duration) ReserveRule {
	r.floor = at
	r.name = fmt.Sprintf("reserve %s (floor %s)", text(r.clearance), text(at))
	return r
}

// Grant implements Policy.
func (r ReserveRule) Grant(ask Ask, sofar Budget) (Budget, error) {
	if err := r.check(); err != nil {
		return Budget{}, err
	}
	have := least(sofar.Limit, ask.Remaining)
	if ask.Within != 0 || have == Unlimited {
		return sofar, nil
	}
	limit := max(have-r.clearance, min(r.floor, have))
	if limit <= 0 {
		return Budget{}, tooLate(r.name, fmt.Sprintf("only %s is there", text(have)))
	}
	return grant(sofar, limit, r.name)
}

// Blocks implements Blocker: it does not.
func (r ReserveRule) Blocks() bool   { return false }
func (r ReserveRule) String() string { return r.name }

func (r ReserveRule) check() error {
	if r.clearance < 0 || r.floor < 0 {
		return errors.New(r.name + ": neither clearance nor floor can be negative")
	}
	return nil
}

// Cap is the most that a limit may be: it lowers what is granted to its left, to its
// right, explicitly, or by the caller's deadline alone. It grants nothing by itself,
// and of several the lowest holds. Class, Kind and Endpoint narrow it. Zero and
// negative caps are ErrTooLate.
func Cap(limit time.Duration) CapRule { return CapRule{limit: limit}.to(Match{}) }

// CapRule is what Cap makes. It is a value and may be shared.
type CapRule struct {
	limit time.Duration
	match Match
	name  string
	bad   error // what is wrong with match, if anything
}

// Class returns the cap for callers of that class only.
func (c CapRule) Class(class string) CapRule {
	return c.to(Match{Class: class, Kind: c.match.Kind, Endpoint: c.match.Endpoint})
}

// Kind returns the cap for resources of that kind only.
func (c CapRule) Kind(kind string) CapRule {
	return c.to(Match{Class: c.match.Class, Kind: kind, Endpoint: c.match.Endpoint})
}

// Endpoint returns the cap for one endpoint only, or for those that match a pattern:
// see Match.
func (c CapRule) Endpoint(pattern string) CapRule {
	return c.to(Match{Class: c.match.Class, Kind: c.match.Kind, Endpoint: pattern})
}

// to returns the cap for what m matches.
func (c CapRule) to(m Match) CapRule {
	c.match, c.name = m, "cap "+text(c.limit)
	if s := m.String(); s != "" {
		c.name += " (" + s + ")"
	}
	c.bad = m.check()
	return c
}

// Grant implements Policy.
func (c CapRule) Grant(ask Ask, sofar Budget) (Budget, error) {
	if err := c.check(); err != nil {
		return Budget{}, err
	}
	if !c.match.Matches(ask) {
		return sofar, nil
	}
	return lower(sofar, c.limit, c.name), nil
}

// Blocks implements Blocker: it does not.
func (c CapRule) Blocks() bool   { return false }
func (c CapRule) String() string { return c.name }

func (c CapRule) check() error {
	if c.limit <= 0 {
		return tooLate(c.name, "a cap has to be more than nothing")
	}
	return c.bad
}

// Least refuses, with ErrTooLate, a request that would have less than d: by what is
// granted so far, by its explicit limit, or by its caller's deadline.
func Least(d time.Duration) Policy { return leastOf{d, "least " + text(d)} }

type leastOf struct {
	length time.Duration
	name   string
}

func (l leastOf) Grant(ask Ask, sofar Budget) (Budget, error) {
	have := least(sofar.Cap, ask.Remaining)
	if ask.Within != 0 {
		have = min(have, ask.Within)
	} else {
		have = least(have, sofar.Limit)
	}
	if have < l.length {
		return Budget{}, tooLate(l.name, fmt.Sprintf("only %s is there", text(have)))
	}
	return sofar, nil
}

func (l leastOf) Blocks() bool   { return false }
func (l leastOf) String() string { return l.name }

// least is the shortest of the lengths of time that are given: zero is not given.
func least(lengths ...time.Duration) time.Duration {
	shortest := Unlimited
	for _, d := range lengths {
		if d != 0 {
			shortest = min(shortest, d)
		}
	}
	return shortest
}

// lower applies a cap to b. Where there is no limit to lower yet, the cap leaves its
// name for the one that comes later: see cappedBy.
func lower(b Budget, limit time.Duration, by string) Budget {
	if b.Cap > 0 && b.Cap <= limit {
		return b
	}
	b.Cap = limit
	if b.Limit == 0 || b.Limit > limit {
		b.GrantedBy = by
	}
	b.Limit = min(b.Limit, limit)
	return b
}
