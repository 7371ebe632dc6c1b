package supervisor

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// Supervisor runs requests for outside resources under deadlines, with clean-ups that are
// proved before the caller hears back. Start makes one; the zero value is of no use. Many
// goroutines may use it.
type Supervisor struct {
	runtime *actors.Runtime
	system  *actor.ActorSystem // ours, shut down with us; nil when it is somebody else's
	drain   time.Duration
	shut    atomic.Bool
}

// config is what the options of Start fill in.
type config struct {
	actors.Config
	parent actor.SpawnerContext
	logger *slog.Logger
	drain  time.Duration
}

// StartOption changes how a supervisor works.
type StartOption func(*config)

// WithPolicy sets the policy that grants budgets. Without one, requests need a limit of
// their own: Within, or a context with a deadline.
func WithPolicy(p timeoutpolicy.Policy) StartOption { return func(c *config) { c.Policy = p } }

// WithLimits bounds what each endpoint takes at once. Zero fields are the defaults: 64 at
// work (functions: no limit), 1,024 waiting, 100 leftovers.
func WithLimits(l actors.Limits) StartOption { return func(c *config) { c.Limits = l } }

// WithLimitsFor has f change the limits of single endpoints: it is called when one is first
// used, with those of WithLimits, and must be pure.
func WithLimitsFor(f func(kind, endpoint string, l actors.Limits) actors.Limits) StartOption {
	return func(c *config) { c.Each = f }
}

// WithEvents has hook called for every step in the life of every request: in order, on one
// goroutine, never waited for. When 4,096 events are waiting for it, further ones are
// dropped. After Close it is called no more.
func WithEvents(hook func(actors.Event)) StartOption { return func(c *config) { c.Events = hook } }

// WithDrain sets how long Close waits for requests under way before it stops them: 5 s
// unless set; 0 stops them at once.
func WithDrain(d time.Duration) StartOption { return func(c *config) { c.drain = d } }

// WithLogger sets where bugs of ours and dead letters of the actor system are logged.
// Without it nothing is. It does not apply to a system of yours (Under).
func WithLogger(l *slog.Logger) StartOption { return func(c *config) { c.logger = l } }

// Under starts the supervisor inside an actor system of yours: under its Root, or as a
// child of the actor whose context it is, with which it then stops. Close leaves the system
// running. Without it the supervisor makes a system of its own, by actors.NewSystem (some
// 4 ms: start one supervisor a process).
func Under(parent actor.SpawnerContext) StartOption { return func(c *config) { c.parent = parent } }

// Named names the root actor. Without it a name is made. The name must be free in the
// system, and is an error where it is not.
func Named(name string) StartOption { return func(c *config) { c.Name = name } }

// DefaultDrain is how long Close waits for requests under way unless WithDrain says otherwise.
const DefaultDrain = 5 * time.Second

// Start starts a supervisor. The caller closes it. The error says what is wrong with the
// options; nothing runs then.
func Start(options ...StartOption) (*Supervisor, error) {
	c := config{drain: DefaultDrain}
	for _, o := range options {
		o(&c)
	}
	s := &Supervisor{drain: c.drain}
	if c.parent == nil {
		s.system = actors.NewSystem(c.logger)
		c.parent = s.system.Root
	}
	rt, err := actors.Start(c.parent, c.Config)
	if err != nil {
		if s.system != nil {
			s.system.Shutdown()
		}
		return nil, err
	}
	s.runtime = rt
	return s, nil
}

// PID is the address for requests by message: actors.Request, actors.Cancel,
// actors.AskPolicy and actors.SetPolicy.
func (s *Supervisor) PID() *actor.PID { return s.runtime.PID() }

// Policy returns the policy in force, nil when there is none.
func (s *Supervisor) Policy() timeoutpolicy.Policy { return s.runtime.Policy() }

// SetPolicy puts p in force for requests submitted from now on; nil takes the policy away.
// A policy whose values make no sense is refused and the old one stays. No other
// supervisor sees it.
func (s *Supervisor) SetPolicy(p timeoutpolicy.Policy) error { return s.runtime.SetPolicy(p) }

// Leftovers lists what requests held that would not go, oldest first. An entry stays until
// it has gone; after Close nobody watches any more, and the list is what it was then.
func (s *Supervisor) Leftovers() []actors.Left { return s.runtime.Leftovers() }

// Close refuses new requests (ErrClosed), lets those under way go on for the drain time,
// and stops the rest through their clean-ups. It returns what would not go, as a
// *resources.LeftoverError, and may be called more than once.
func (s *Supervisor) Close() error {
	err := s.runtime.Close(s.drain)
	if s.system != nil && s.shut.CompareAndSwap(false, true) {
		s.system.Shutdown() // panics when called twice
	}
	return err
}

// Do runs r under a deadline and returns when what it held is gone, or the error names
// what is not. The deadline is fixed now: the explicit limit (Within) or else what the
// policy grants, and never later than ctx's. The table of what it returns is in the package
// documentation.
func Do[T any](ctx context.Context, s *Supervisor, r resources.Resource[T], options ...Option) (T, error) {
	v, err := s.runtime.Do(ctx, resources.Of(r), optionsOf(options))
	value, _ := v.(T)
	return value, err
}

// Option says something about one request.
type Option func(*actors.Options)

// optionsOf puts options together; without any it allocates nothing.
func optionsOf(options []Option) actors.Options {
	if len(options) == 0 {
		return actors.Options{}
	}
	var opts actors.Options
	for _, o := range options {
		o(&opts)
	}
	return opts
}

// Within sets the request's limit in place of the policy's; a Cap of the policy and ctx's
// deadline still hold. Zero or negative is refused (ErrTooLate); timeoutpolicy.Unlimited is
// no limit, said aloud.
func Within(d time.Duration) Option {
	if d == 0 {
		d = -1 // in the options zero means "not given"
	}
	return func(o *actors.Options) { o.Within = d }
}

// Grace sets how long the request's clean-up has before force, in place of the policy's; 0
// leaves it to the policy, timeoutpolicy.None is no wait, Unlimited is refused (*Invalid).
func Grace(d time.Duration) Option { return func(o *actors.Options) { o.Grace = d } }

// Force sets the bounded wait after force, in place of the policy's; 0 leaves it to the
// policy, timeoutpolicy.None is no wait, Unlimited is refused (*Invalid).
func Force(d time.Duration) Option { return func(o *actors.Options) { o.Force = d } }

// Priority has the request begin before those of a lower one that wait for the same
// endpoint; 0 unless set.
func Priority(p int) Option { return func(o *actors.Options) { o.Priority = p } }

// Class names the class of caller, for policies that tell classes apart.
func Class(name string) Option { return func(o *actors.Options) { o.Class = name } }

// WithReceipt has r filled in on every outcome, before Do returns.
func WithReceipt(r *actors.Receipt) Option { return func(o *actors.Options) { o.Receipt = r } }

// AnswerAtDeadline has Do return at an expiry, a cancellation or a panic before the clean-up
// is done rather than after it. The clean-up goes on; what would not go is in Leftovers.
func AnswerAtDeadline() Option { return func(o *actors.Options) { o.AnswerAtDeadline = true } }

// Open opens a session: a resource that lives longer than one request. The opening itself
// is a request and takes the same options. The caller closes the session; closing the
// supervisor does, too.
//
// Each call is a request with a deadline of its own. Unless the session's traits say
// otherwise, calls take turns, in order; one that fails or is cut short takes the resource
// with it, and the next call opens it anew, after a back-off (100 ms doubling to 30 s) when
// openings fail. A call whose rest is too short for that is refused (ErrTooLate).
func Open[H, S any](ctx context.Context, s *Supervisor, r resources.Session[H, S], options ...Option) (S, error) {
	c, err := s.runtime.OpenSession(ctx, sessionKind(r), optionsOf(options))
	if err != nil {
		var zero S
		return zero, err
	}
	return r.Face(caller[H]{c}), nil
}

// sessionKind erases the types of a session.
func sessionKind[H, S any](r resources.Session[H, S]) actors.SessionKind {
	kind := actors.SessionKind{
		Spec: r.Spec,
		Open: func(ctx context.Context, held *resources.Held) (any, error) { return r.Open(ctx, held) },
	}
	if t, ok := r.(resources.TraitedSession); ok {
		kind.Traits = t.Traits()
	}
	if c, ok := r.(resources.CheckedSession[H]); ok {
		kind.Check = func(ctx context.Context, h any) error {
			handle, _ := h.(H)
			return c.Check(ctx, handle)
		}
	}
	return kind
}

// caller gives a session's calls their handle's type.
type caller[H any] struct{ *actors.SessionCaller }

// Do implements resources.Caller.
func (c caller[H]) Do(ctx context.Context, call func(context.Context, H, *resources.Held) (any, error)) (any, error) {
	return c.SessionCaller.Do(ctx, func(ctx context.Context, h any, held *resources.Held) (any, error) {
		handle, _ := h.(H)
		return call(ctx, handle, held)
	}, optionsFrom(ctx))
}

// callOptions is the key under which a context carries options for session calls.
type callOptions struct{}

// WithOptions returns a context whose session calls take these options: a session's face
// has methods of its own, with no room for them.
func WithOptions(ctx context.Context, options ...Option) context.Context {
	opts := optionsFrom(ctx)
	for _, o := range options {
		o(&opts)
	}
	return context.WithValue(ctx, callOptions{}, opts)
}

func optionsFrom(ctx context.Context) actors.Options {
	opts, _ := ctx.Value(callOptions{}).(actors.Options)
	return opts
}
