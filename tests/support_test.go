package tests

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// slack is how much later than a plain timer an answer may come.
const slack = 50 * time.Millisecond

// hangLimit is the limit of requests that are to expire in real time.
const hangLimit = 150 * time.Millisecond

// patience is how long a test waits for something that has to happen.
const patience = 10 * time.Second

// start starts a supervisor that the test's end closes, with nothing left of it.
func start(t testing.TB, options ...supervisor.StartOption) *supervisor.Supervisor {
	t.Helper()
	sup, err := supervisor.Start(options...)
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.Empty(t, sup.Leftovers())
		assert.NoError(t, sup.Close())
	})
	return sup
}

// realWorld prepares a test with real sockets, processes and time: what is there of
// goroutines, descriptors and children at its end was there before.
func realWorld(t testing.TB, options ...supervisor.StartOption) *supervisor.Supervisor {
	t.Helper()
	resourcetest.NothingLeft(t)
	return start(t, options...)
}

// bubble runs f in fake time, where lateness is exact: an answer is on time or it is
// not. The bubble itself fails a test that leaves a goroutine blocked.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		// Cleanups run last in first out: this is the last of all. The actor system's dead
		// letters have a goroutine that ends a millisecond after the last of them.
		t.Cleanup(func() { time.Sleep(time.Second) })
		f(t)
	})
}

// stopwatch measures a lateness beside that of plain timers: one that is due at the same
// time, and from then on a chain of short ones. What those are late by is the machine's
// doing, which had other work.
type stopwatch struct {
	due    time.Time
	plain  <-chan time.Duration // how late the first was
	others chan time.Duration   // how late the others were in all, once stopped is closed
	done   chan struct{}
}

// watch starts a stopwatch for what is due after d. It has to be stopped.
func watch(d time.Duration) stopwatch {
	w := stopwatch{
		due: time.Now().Add(d), plain: resourcetest.PlainTimer(d),
		others: make(chan time.Duration, 1), done: make(chan struct{}),
	}
	go w.measure() // ends when the stopwatch is stopped, which waits for it
	return w
}

func (w stopwatch) measure() {
	const length = 5 * time.Millisecond
	var late time.Duration
	for {
		due := time.Now().Add(length)
		if first := w.due.Add(length); due.Before(first) {
			due = first
		}
		timer := time.NewTimer(time.Until(due))
		select {
		case <-timer.C:
			late += max(0, time.Since(due))
		case <-w.done:
			timer.Stop()
			w.others <- late + max(0, time.Since(due)) // a timer that has not got its turn
			return
		}
	}
}

// stop checks that now is neither before the time nor late, and returns how late another
// thing may be that was due at the same time.
func (w stopwatch) stop(t testing.TB) (allowed time.Duration) {
	t.Helper()
	return w.stopWith(t, 0)
}

// stopWith is stop where something else takes up to more of the time: a program that is
// asked to end, many at once.
func (w stopwatch) stopWith(t testing.TB, more time.Duration) (allowed time.Duration) {
	t.Helper()
	late := time.Since(w.due)
	allowed = w.allowed() + more
	assert.GreaterOrEqual(t, late, time.Duration(0), "it came before its time")
	assert.LessOrEqual(t, late, allowed, "it came late")
	return allowed
}

// allowed ends the stopwatch and returns how late a thing may be that was due at its time.
func (w stopwatch) allowed() time.Duration {
	close(w.done)
	return slack + max(0, <-w.plain) + <-w.others
}

// expires runs r, which has to expire after limit: on time, named as what it is, with
// nothing left of it. It returns what there was of the result.
func expires[T any](t testing.TB, sup *supervisor.Supervisor, r resources.Resource[T], limit time.Duration, options ...supervisor.Option) (T, *supervisor.Expired) {
	t.Helper()
	var rec supervisor.Receipt
	w := watch(limit)
	v, err := supervisor.Do(t.Context(), sup, r, append(options, supervisor.Within(limit), supervisor.WithReceipt(&rec))...)
	allowed := w.stop(t)
	expired := isExpired(t, err)
	assert.Equal(t, actors.Expired, rec.Outcome)
	assert.LessOrEqual(t, rec.Lateness, allowed)
	assert.Empty(t, rec.Leftover)
	assert.Empty(t, sup.Leftovers())
	assert.NoError(t, expired.Cleanup)
	return v, expired
}

// isExpired checks all that an expiry says of itself.
func isExpired(t testing.TB, err error) *supervisor.Expired {
	t.Helper()
	var expired *supervisor.Expired
	require.ErrorAs(t, err, &expired)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.NotErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, "timeout exceeded")
	assert.True(t, expired.Timeout())
	require.NotNil(t, expired.Receipt)
	return expired
}

// do runs a function under sup.
func do[T any](t testing.TB, sup *supervisor.Supervisor, work func(context.Context) (T, error), options ...supervisor.Option) (T, error) {
	t.Helper()
	return supervisor.Do(t.Context(), sup, resources.Func(work), options...)
}

// untilStopped is work that returns when, and only when, it is interrupted.
func untilStopped(ctx context.Context) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// answering is work that returns at once.
func answering(ctx context.Context) (int, error) { return 42, nil }

// granted runs a request under options and returns the budget it got, by its receipt.
func granted(t testing.TB, ctx context.Context, sup *supervisor.Supervisor, options ...supervisor.Option) timeoutpolicy.Budget {
	t.Helper()
	var rec supervisor.Receipt
	_, err := supervisor.Do(ctx, sup, resources.Func(answering), append(options, supervisor.WithReceipt(&rec))...)
	require.NoError(t, err)
	return rec.Budget
}

// refused runs a request that has to be refused with want, before its work starts.
func refused(t testing.TB, ctx context.Context, sup *supervisor.Supervisor, want error, options ...supervisor.Option) {
	t.Helper()
	var started atomic.Bool
	var rec supervisor.Receipt
	v, err := supervisor.Do(ctx, sup, resources.Func(func(context.Context) (int, error) {
		started.Store(true)
		return 1, nil
	}).Cleanup(func() error {
		started.Store(true)
		return nil
	}), append(options, supervisor.WithReceipt(&rec))...)
	assert.ErrorIs(t, err, want)
	assert.Zero(t, v)
	assert.False(t, started.Load(), "something was started")
	assert.Equal(t, actors.Refused, rec.Outcome)
	assert.Equal(t, err.Error(), rec.Error)
}

// receive waits for c, no longer than there is patience.
func receive[T any](t testing.TB, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		require.FailNow(t, "it has not come: "+what)
		panic("not reached")
	}
}

// eventually waits until f holds, without sleeping for longer than it takes.
func eventually(t testing.TB, f func() bool, what string) {
	t.Helper()
	require.Eventually(t, f, patience, time.Millisecond, what)
}

// counter is a clean-up hook that counts how often it was called.
type counter struct{ calls atomic.Int64 }

func (c *counter) hook() error {
	c.calls.Add(1)
	return nil
}

// recorder is an event hook that keeps what it is told.
type recorder struct {
	mu     sync.Mutex
	events []supervisor.Event
}

func (r *recorder) hook(e supervisor.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

func (r *recorder) all() []supervisor.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]supervisor.Event(nil), r.events...)
}

// brief is a policy with a limit, a grace and a wait after force.
func brief(limit, grace, force time.Duration) timeoutpolicy.Policy {
	return timeoutpolicy.Compose(timeoutpolicy.Fixed(limit), timeoutpolicy.Grace(grace), timeoutpolicy.Force(force))
}

// errOuter stands for why somebody outside ended a request.
var errOuter = errors.New("the outer reason")
