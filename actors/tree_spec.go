package actors

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// Service is work that goes on until it is stopped: suture's shape. Serve runs on a
// goroutine of its own and returns soon after ctx has ended; context.Cause says why it
// has. What it returns is why it ended: see Reason. A service that has a String method is
// named by it where its Child has no name. Serve is called again for each restart, never
// twice at once.
type Service interface {
	Serve(ctx context.Context) error
}

// ServiceFunc makes a Service of a function.
type ServiceFunc func(ctx context.Context) error

// Serve implements Service.
func (f ServiceFunc) Serve(ctx context.Context) error { return f(ctx) }

// Tree describes a supervisor and its children, in OTP's words with their meanings. It is
// a plain value: the same Tree may be grown many times. The zero value is a supervisor
// without children, to which some may be added while it runs.
//
// Source: supervisor(3erl). Beyond it there are Backoff, Limit, and a Shutdown that is one
// budget for everything below.
type Tree struct {
	Name     string // empty: "tree"; no "/"
	Strategy Strategy

	// Intensity is how many restarts within Period are accepted. With one more the
	// supervisor gives up: it stops its children and fails, which its own supervisor counts
	// as the failure of a child. 0 is DefaultIntensity; NoRestarts accepts none. An
	// expiry is restarted without being counted.
	Intensity int
	Period    time.Duration // 0 is DefaultPeriod

	// Backoff is for the children that have none of their own.
	Backoff Backoff

	AutoShutdown AutoShutdown

	// Limit is how long the tree may run. Every context below it has the deadline that
	// follows. 0 is no limit of its own: what is above it holds.
	Limit time.Duration

	// Shutdown is the budget for stopping the tree, all it holds included: each child in
	// turn, the last started first, gets an equal part of what is left of it (at most its
	// own Shutdown) before the next is asked, and the whole of it before it is given up.
	// 0 is DefaultShutdown; timeoutpolicy.None is no wait.
	Shutdown time.Duration

	Children []Child // in start order
}

// Child describes one child. Exactly one of Service, Props and Tree is set.
type Child struct {
	// Name is unique among its siblings and has no "/". Empty is the service's String, or
	// the Tree's Name.
	Name string

	Service Service
	Props   *actor.Props // a plain actor; its own supervisor strategy is for its own children
	Tree    *Tree

	Restart Restart

	// Significant children end their supervisor as its AutoShutdown says, when they end by
	// themselves and are not restarted. They are transient or temporary.
	Significant bool

	// Limit is how long one run may take; after it the child is stopped with the reason
	// "expired". 0 is no limit of its own, for a Tree the Tree's.
	Limit time.Duration

	// Shutdown is how long the child is waited for after it was asked to stop. 0 is
	// DefaultShutdown, for a Tree the Tree's; timeoutpolicy.None is no wait. There is no
	// infinity: every wait has a bound.
	Shutdown time.Duration

	Backoff Backoff // zero: its supervisor's
}

// Defaults, OTP's where it has them.
const (
	DefaultIntensity = 1
	DefaultPeriod    = 5 * time.Second
	DefaultShutdown  = 5 * time.Second

	// NoRestarts as a Tree's Intensity: the first failure is one too many.
	NoRestarts = -1
)

// Strategy is which children are restarted when one ends.
type Strategy uint8

// The strategies. Where others are restarted too, they are stopped first, the last started
// first, and all are started in start order.
const (
	OneForOne  Strategy = iota // that child
	OneForAll                  // all of them
	RestForOne                 // that child and those started after it
)

// String returns OTP's name with hyphens.
func (s Strategy) String() string {
	return nameOf(s, "one-for-one", "one-for-all", "rest-for-one")
}

// Restart is when a child is restarted after it ended by itself.
type Restart uint8

// The restart types.
const (
	Permanent Restart = iota // always
	Transient                // unless it ended with the reason "normal" or "shutdown"
	Temporary                // never; it is forgotten once it has ended
)

// String returns OTP's name.
func (r Restart) String() string { return nameOf(r, "permanent", "transient", "temporary") }

// AutoShutdown is when a supervisor ends because significant children have ended by
// themselves. It then ends with the reason "normal".
type AutoShutdown uint8

// When a supervisor ends by itself.
const (
	Never          AutoShutdown = iota // significant children are an error then
	AnySignificant                     // with the first significant child
	AllSignificant                     // with the last
)

// String returns OTP's name.
func (a AutoShutdown) String() string {
	return nameOf(a, "never", "any_significant", "all_significant")
}

// nameOf names one of a few values.
func nameOf[T ~uint8](v T, names ...string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("%d", v)
}

// maxDepth bounds how deep trees nest: one that holds itself is found by it.
const maxDepth = 64

// named returns the tree with its name filled in.
func (t Tree) named(name string) Tree {
	if name != "" {
		t.Name = name
	}
	if t.Name == "" {
		t.Name = "tree"
	}
	return t
}

// check finds what no tree can be made of, before anything is started.
func (t Tree) check(depth int) error {
	switch {
	case depth > maxDepth:
		return noTree("Children", "trees nest deeper than %d: does one hold itself?", maxDepth)
	case badName(t.Name):
		return noTree("Name", "%q: a name has no \"/\" and nothing unprintable", t.Name)
	case t.Strategy > RestForOne:
		return noTree("Strategy", "there is no strategy %d", t.Strategy)
	case t.AutoShutdown > AllSignificant:
		return noTree("AutoShutdown", "there is no auto-shutdown %d", t.AutoShutdown)
	case t.Intensity < NoRestarts:
		return noTree("Intensity", "%d: negative, and not NoRestarts", t.Intensity)
	case t.Period < 0:
		return noTree("Period", "%s is negative", t.Period)
	}
	if err := cmp.Or(t.Backoff.check(), checkTimes(t.Limit, t.Shutdown)); err != nil {
		return noTree(t.Name, "%v", err)
	}
	names := make(map[string]bool, len(t.Children))
	for i, c := range t.Children {
		c = c.named()
		if err := c.check(t.AutoShutdown, depth); err != nil {
			return noTree(fmt.Sprintf("Children[%d]", i), "%v", err)
		}
		if names[c.Name] {
			return noTree(fmt.Sprintf("Children[%d].Name", i), "there are two of the name %q", c.Name)
		}
		names[c.Name] = true
	}
	return nil
}

// named returns the child with its name, and for a tree its times, filled in.
func (c Child) named() Child {
	if c.Tree != nil {
		sub := c.Tree.named(c.Name)
		if c.Limit != 0 {
			sub.Limit = c.Limit
		}
		if c.Shutdown == 0 {
			c.Shutdown = sub.Shutdown
		}
		sub.Shutdown = c.Shutdown
		c.Name, c.Limit, c.Tree = sub.Name, sub.Limit, &sub
	}
	if s, ok := c.Service.(fmt.Stringer); ok && c.Name == "" {
		c.Name = nameBy(s)
	}
	return c
}

// nameBy contains a String method that panics: the child has no name then.
func nameBy(s fmt.Stringer) (name string) {
	defer func() { _ = recover() }()
	return s.String()
}

// check finds what no child can be made of.
func (c Child) check(auto AutoShutdown, depth int) error {
	kinds := 0
	for _, set := range []bool{c.Service != nil, c.Props != nil, c.Tree != nil} {
		if set {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return noTree("Service", "exactly one of Service, Props and Tree has to be set")
	case c.Name == "" || badName(c.Name):
		return noTree("Name", "%q: a name is not empty, has no \"/\" and nothing unprintable", c.Name)
	case c.Restart > Temporary:
		return noTree("Restart", "there is no restart type %d", c.Restart)
	case c.Significant && c.Restart == Permanent:
		return noTree("Significant", "a permanent child never ends by itself")
	case c.Significant && auto == Never:
		return noTree("Significant", "its supervisor's AutoShutdown is Never")
	}
	if err := cmp.Or(c.Backoff.check(), checkTimes(c.Limit, c.Shutdown)); err != nil {
		return noTree(c.Name, "%v", err)
	}
	if c.Tree != nil {
		return c.Tree.check(depth + 1)
	}
	return nil
}

// checkTimes checks the fields that trees and children share.
func checkTimes(limit, shutdown time.Duration) error {
	switch {
	case limit < 0:
		return noTree("Limit", "%s is negative; no limit of its own is 0", limit)
	case shutdown < 0 && shutdown != timeoutpolicy.None:
		return noTree("Shutdown", "%s is negative; no wait is timeoutpolicy.None", shutdown)
	case shutdown == timeoutpolicy.Unlimited:
		return noTree("Shutdown", "every stop has a bound")
	}
	return nil
}

// badName reports names that would break a path or a line.
func badName(name string) bool {
	return strings.ContainsFunc(name, func(r rune) bool { return r == '/' || r < ' ' || r == 0x7f })
}

func noTree(field, format string, args ...any) error {
	return &resources.Invalid{Kind: "tree", Field: field, Why: fmt.Sprintf(format, args...)}
}

// shutdownOf fills in the default.
func shutdownOf(d time.Duration) time.Duration {
	switch d {
	case 0:
		return DefaultShutdown
	case timeoutpolicy.None:
		return 0
	}
	return d
}

// sooner is the earlier of a deadline, zero for none, and the end of limit from now on.
func sooner(deadline, now time.Time, limit time.Duration) time.Time {
	if limit == 0 || limit == timeoutpolicy.Unlimited {
		return deadline
	}
	if due := now.Add(limit); deadline.IsZero() || due.Before(deadline) {
		return due
	}
	return deadline
}
