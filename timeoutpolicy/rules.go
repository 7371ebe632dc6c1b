package timeoutpolicy

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Compose makes one policy of several: each is given what those to its left granted.
// The first error ends it. A nil rule is left out; without any rule nothing is granted.
func Compose(rules ...Policy) Policy {
	all := make(chain, 0, len(rules))
	for _, r := range rules {
		if r != nil {
			all = append(all, r)
		}
	}
	return all
}

// Fallback asks p only where the rules to its left granted nothing: a default for
// where there is no default.
func Fallback(p Policy) Policy { return fallback{p} }

// For applies rules, left to right, to the asks that m matches, and leaves the others
// as they are.
func For(m Match, rules ...Policy) Policy { return narrowed{m, Compose(rules...), m.check()} }

// Match says which asks are meant: those of this kind, this class and this endpoint.
// An empty field matches all; the zero value matches every ask. Endpoint is the
// endpoint itself or a pattern of path.Match: "*.example.org:443".
type Match struct {
	Kind     string
	Class    string
	Endpoint string
}

// Matches reports whether ask is meant. A malformed pattern matches only itself; see
// Check.
func (m Match) Matches(ask Ask) bool {
	return (m.Kind == "" || m.Kind == ask.Kind) &&
		(m.Class == "" || m.Class == ask.Class) &&
		(m.Endpoint == "" || m.Endpoint == ask.Endpoint || likePath(m.Endpoint, ask.Endpoint))
}

func likePath(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}

// String lists what is narrowed: "class page, kind fetch". Empty for the zero value.
func (m Match) String() string {
	var parts []string
	for _, f := range []struct{ name, value string }{{"class", m.Class}, {"kind", m.Kind}, {"endpoint", m.Endpoint}} {
		if f.value != "" {
			parts = append(parts, f.name+" "+f.value)
		}
	}
	return strings.Join(parts, ", ")
}

func (m Match) check() error {
	if _, err := path.Match(m.Endpoint, ""); err != nil {
		return fmt.Errorf("endpoint %q: %w", m.Endpoint, err)
	}
	return nil
}

// Check reports whether the values of p's rules make sense, without asking it: a fixed
// limit or a cap of zero, a negative clearance, a malformed pattern. Whoever changes a
// policy while it is in use asks first, so that a bad value is refused and the old
// policy stays. Of policies that are not this package's own it knows nothing.
func Check(p Policy) error {
	if c, ok := p.(checker); ok {
		return c.check()
	}
	return nil
}

type checker interface{ check() error }

// chain is a composition.
type chain []Policy

func (c chain) Grant(ask Ask, sofar Budget) (Budget, error) {
	return c.GrantContext(context.Background(), ask, sofar)
}

func (c chain) GrantContext(ctx context.Context, ask Ask, sofar Budget) (Budget, error) {
	for _, p := range c {
		var err error
		if sofar, err = GrantContext(ctx, p, ask, sofar); err != nil {
			return Budget{}, err
		}
	}
	return sofar, nil
}

func (c chain) Blocks() bool { return slices.ContainsFunc(c, Blocks) }

func (c chain) String() string {
	parts := make([]string, len(c))
	for i, p := range c {
		parts[i] = name(p)
	}
	return strings.Join(parts, ", ")
}

func (c chain) check() error {
	errs := make([]error, len(c))
	for i, p := range c {
		errs[i] = Check(p)
	}
	return errors.Join(errs...)
}

// fallback is Fallback's rule.
type fallback struct{ policy Policy }

func (f fallback) Grant(ask Ask, sofar Budget) (Budget, error) {
	return f.GrantContext(context.Background(), ask, sofar)
}

func (f fallback) GrantContext(ctx context.Context, ask Ask, sofar Budget) (Budget, error) {
	if f.policy == nil || sofar.Limit != 0 || ask.Within != 0 {
		return sofar, nil
	}
	b, err := GrantContext(ctx, f.policy, ask, sofar)
	if err == nil && b.Limit != 0 {
		b.GrantedBy = "fallback: " + b.GrantedBy
	}
	return b, err
}

func (f fallback) Blocks() bool   { return f.policy != nil && Blocks(f.policy) }
func (f fallback) String() string { return "fallback: " + name(f.policy) }
func (f fallback) check() error   { return Check(f.policy) }

// narrowed is For's rule.
type narrowed struct {
	match  Match
	policy Policy
	bad    error // what is wrong with match, if anything
}

func (n narrowed) Grant(ask Ask, sofar Budget) (Budget, error) {
	return n.GrantContext(context.Background(), ask, sofar)
}

func (n narrowed) GrantContext(ctx context.Context, ask Ask, sofar Budget) (Budget, error) {
	if n.bad != nil {
		return Budget{}, n.bad
	}
	if !n.match.Matches(ask) {
		return sofar, nil
	}
	return GrantContext(ctx, n.policy, ask, sofar)
}

func (n narrowed) Blocks() bool   { return Blocks(n.policy) }
func (n narrowed) String() string { return fmt.Sprintf("for %s: %s", n.match, name(n.policy)) }
func (n narrowed) check() error   { return errors.Join(n.bad, Check(n.policy)) }

// name says what p is, for GrantedBy and for people.
func name(p Policy) string {
	if s, ok := p.(fmt.Stringer); ok {
		return s.String()
	}
	return "policy"
}

// text writes d without its empty tail: 2m, not 2m0s.
func text(d time.Duration) string {
	if d == Unlimited {
		return "unlimited"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
