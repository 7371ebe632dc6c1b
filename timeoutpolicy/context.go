package timeoutpolicy

import "context"

// ContextPolicy is implemented by policies that may wait and give up when ctx ends.
// Their Grant is GrantContext without an end.
type ContextPolicy interface {
	Policy
	GrantContext(ctx context.Context, ask Ask, sofar Budget) (Budget, error)
}

// GrantContext asks p, with ctx where p is a ContextPolicy. It does not itself end
// with ctx: a policy that ignores ctx is waited for.
func GrantContext(ctx context.Context, p Policy, ask Ask, sofar Budget) (Budget, error) {
	if c, ok := p.(ContextPolicy); ok {
		return c.GrantContext(ctx, ask, sofar)
	}
	return p.Grant(ask, sofar)
}
