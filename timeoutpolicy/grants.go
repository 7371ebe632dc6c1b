package timeoutpolicy

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Fixed grants limit, in place of what was granted so far. Zero and negative limits
// are ErrTooLate; Unlimited grants no limit at all.
func Fixed(limit time.Duration) Policy { return &fixed{limit, "fixed " + text(limit)} }

// Remaining grants what the caller has left by its own deadline, in place of what was
// granted so far. A caller without a deadline gets what was granted so far.
func Remaining() Policy { return remaining{} }

// Until is a lease that ends at t: it grants what is left of it, and no limit of the
// request may be longer, an explicit one included. A lease that is over is ErrTooLate.
func Until(t time.Time) Policy {
	return until{t, "lease until " + t.UTC().Format(time.RFC3339)}
}

// Func grants what f returns, in place of what was granted so far; f is asked at each
// call. It may wait (Blocks is true), and is to return when ctx ends. An error of f is the
// caller's answer, but for ErrNoLimit: f then has nothing to say, and what was granted
// so far stays. Zero and negative limits are ErrTooLate. f is not asked where the
// limit is explicit, and has to be safe for many goroutines.
func Func(f func(ctx context.Context, ask Ask) (time.Duration, error)) Policy { return asked{f} }

// grant is what sofar becomes when a rule grants limit. A cap to the left holds.
func grant(sofar Budget, limit time.Duration, by string) (Budget, error) {
	if limit <= 0 {
		return Budget{}, tooLate(by, "a limit has to be more than nothing")
	}
	if sofar.Cap > 0 && limit > sofar.Cap {
		limit, by = sofar.Cap, cappedBy(sofar)
	}
	sofar.Limit, sofar.GrantedBy = limit, by
	return sofar, nil
}

// cappedBy names what set b's cap: the cap itself has put its name into GrantedBy when
// it decided the limit, or would have.
func cappedBy(b Budget) string {
	if b.GrantedBy != "" && (b.Limit == 0 || b.Limit == b.Cap) {
		return b.GrantedBy
	}
	return "cap " + text(b.Cap)
}

func tooLate(rule, why string) error {
	return fmt.Errorf("%s: %s: %w", rule, why, ErrTooLate)
}

// The names of rules are made once, with the rule: a request costs no formatting.

type fixed struct {
	limit time.Duration
	name  string
}

func (f *fixed) Grant(ask Ask, sofar Budget) (Budget, error) {
	if ask.Within != 0 {
		return sofar, nil
	}
	return grant(sofar, f.limit, f.name)
}

func (f *fixed) Blocks() bool   { return false }
func (f *fixed) String() string { return f.name }

func (f *fixed) check() error {
	_, err := f.Grant(Ask{}, Budget{})
	return err
}

type remaining struct{}

func (r remaining) Grant(ask Ask, sofar Budget) (Budget, error) {
	if ask.Within != 0 || ask.Remaining == Unlimited {
		return sofar, nil
	}
	return grant(sofar, ask.Remaining, r.String())
}

func (remaining) Blocks() bool   { return false }
func (remaining) String() string { return "remaining" }

type until struct {
	end  time.Time
	name string
}

func (u until) Grant(ask Ask, sofar Budget) (Budget, error) {
	if ask.Now.IsZero() {
		return Budget{}, errors.New(u.name + ": the time of asking is not given")
	}
	left := u.end.Sub(ask.Now)
	if left <= 0 {
		return Budget{}, tooLate(u.name, "it is over")
	}
	// Sub saturates, at what would mean no limit; three centuries are an end all the same.
	left = min(left, Unlimited-1)
	sofar = lower(sofar, left, u.name)
	if ask.Within == 0 && sofar.Limit == 0 {
		return grant(sofar, left, u.name)
	}
	return sofar, nil
}

func (u until) Blocks() bool   { return false }
func (u until) String() string { return u.name }

type asked struct {
	f func(context.Context, Ask) (time.Duration, error)
}

func (a asked) Grant(ask Ask, sofar Budget) (Budget, error) {
	return a.GrantContext(context.Background(), ask, sofar)
}

func (a asked) GrantContext(ctx context.Context, ask Ask, sofar Budget) (Budget, error) {
	if err := a.check(); err != nil {
		return Budget{}, err
	}
	if ask.Within != 0 {
		return sofar, nil
	}
	limit, err := a.f(ctx, ask)
	if errors.Is(err, ErrNoLimit) {
		return sofar, nil
	}
	if err != nil {
		return Budget{}, fmt.Errorf("%s: %w", a, err)
	}
	return grant(sofar, limit, "func "+text(limit))
}

func (asked) Blocks() bool   { return true }
func (asked) String() string { return "func" }

func (a asked) check() error {
	if a.f == nil {
		return errors.New("func: there is no function to ask")
	}
	return nil
}
