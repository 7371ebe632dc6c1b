package timeoutpolicy

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// Resolve asks p, which may be nil, and settles what the request gets: the explicit
// limit (Ask.Within) replaces what p grants, p's Cap holds for both, and what the
// caller has left (Ask.Remaining) caps all of it and suffices alone. The budget it
// returns has a positive Limit, the name of what decided it, and Grace and Force that
// are positive or None.
//
// Errors are p's own, ErrTooLate when a limit is zero or negative, an explicit one or
// the caller's rest, and ErrNoLimit when nobody grants any. Zero is never "no limit";
// in Ask.Within alone it means that the caller set none.
func Resolve(p Policy, ask Ask) (Budget, error) {
	return ResolveContext(context.Background(), p, ask)
}

// ResolveContext is Resolve for a policy that blocks: see GrantContext.
func ResolveContext(ctx context.Context, p Policy, ask Ask) (Budget, error) {
	if ask.Within < 0 {
		return Budget{}, tooLate(byCaller, "a limit has to be more than nothing")
	}
	if ask.Remaining <= 0 {
		return Budget{}, tooLate(byDeadline, "it has passed")
	}
	b := Budget{}
	if p != nil {
		var err error
		if c, ok := p.(ContextPolicy); ok { // as GrantContext, with a frame less
			b, err = c.GrantContext(ctx, ask, b)
		} else {
			b, err = p.Grant(ask, b)
		}
		if err != nil {
			return Budget{}, err
		}
	}
	if min(b.Limit, b.Cap, b.Stall, b.Warn) < 0 {
		return Budget{}, tooLate(cmp.Or(b.GrantedBy, "policy"), "it grants a negative time")
	}
	if max(b.Grace, b.Force) == Unlimited {
		return Budget{}, fmt.Errorf("%s: %w", cmp.Or(b.GrantedBy, "policy"), errNoEnd)
	}
	return settle(b, ask)
}

// What decided a limit where no rule did. The limit itself stands beside it.
const (
	byCaller   = "within"
	byDeadline = "context deadline"
)

// settle applies to b what the ask itself says.
func settle(b Budget, ask Ask) (Budget, error) {
	limit, by := b.Limit, cmp.Or(b.GrantedBy, "policy")
	if ask.Within != 0 {
		limit, by = ask.Within, byCaller
	}
	if limit == 0 || ask.Remaining < limit {
		limit, by = ask.Remaining, byDeadline
		if limit == Unlimited {
			return Budget{}, ErrNoLimit
		}
	}
	if b.Cap > 0 && limit > b.Cap {
		limit, by = b.Cap, cappedBy(b)
	}
	b.Limit, b.GrantedBy = limit, by
	b.Grace = wait(b.Grace, DefaultGrace)
	b.Force = wait(b.Force, DefaultForce)
	return b, nil
}

// wait fills in the default; anything below zero is no wait.
func wait(d, def time.Duration) time.Duration {
	if d < 0 {
		return None
	}
	return cmp.Or(d, def)
}
