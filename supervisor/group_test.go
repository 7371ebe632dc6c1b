package supervisor_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

func TestTheFirstErrorOfAGroupEndsTheOthersAndWaitComesWhenAllIsClean(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		began := time.Now()
		g := sup.Group(t.Context())
		g.Go(func(context.Context) error { return nil })
		g.Go(func(context.Context) error { time.Sleep(time.Second); return io.ErrUnexpectedEOF })
		var cause error
		var nested time.Duration
		g.Go(func(ctx context.Context) error {
			_, err := supervisor.Do(ctx, sup, obedient(time.Hour))
			nested = time.Since(began)
			cause = context.Cause(ctx)
			time.Sleep(500 * time.Millisecond) // within its grace
			return err
		})
		assert.Equal(t, io.ErrUnexpectedEOF, g.Wait(), "as it was, and not what the others say of it")
		assert.Equal(t, time.Second, nested, "a nested request ends with the group")
		assert.ErrorIs(t, cause, io.ErrUnexpectedEOF)
		assert.Equal(t, 1500*time.Millisecond, time.Since(began))
		assert.Empty(t, sup.Leftovers())
	}, supervisor.WithPolicy(timeoutpolicy.Fixed(10*time.Second)))
}

func TestAGroupWhoseFunctionsSucceedReturnsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		assert.NoError(t, sup.Group(t.Context()).Wait(), "an empty one")
		ctx, cancel := context.WithCancel(t.Context())
		g := sup.Group(ctx)
		var done atomic.Int32
		for range 100 {
			g.Go(func(ctx context.Context) error { time.Sleep(time.Second); done.Add(1); return ctx.Err() })
		}
		assert.NoError(t, g.Wait())
		assert.EqualValues(t, 100, done.Load())
		cancel()
		assert.NoError(t, g.Wait(), "what comes after the end is no error of the group")
	}, supervisor.WithPolicy(timeoutpolicy.Fixed(10*time.Second)))
}

func TestTheFunctionsOfAGroupHaveBudgetsOfTheirOwnAndTheContextsDeadlineInCommon(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		began := time.Now()
		var expired *supervisor.Expired
		g := sup.Group(t.Context())
		g.Go(untilEnded)
		g.Go(untilEnded, supervisor.Within(3*time.Second))
		assert.ErrorAs(t, g.Wait(), &expired)
		assert.Equal(t, 3*time.Second, time.Since(began))
		assert.Equal(t, "within", expired.Receipt.Budget.GrantedBy)

		began = time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		g = sup.Group(ctx)
		g.Go(untilEnded)
		g.Go(untilEnded)
		assert.ErrorAs(t, g.Wait(), &expired)
		assert.Equal(t, 2*time.Second, time.Since(began))

		began = time.Now()
		g = sup.Group(t.Context())
		g.Go(func(context.Context) error { time.Sleep(time.Minute); return nil }, supervisor.Within(time.Second))
		assert.ErrorAs(t, g.Wait(), &expired, "deaf work holds nobody beyond its grace and force")
		assert.Equal(t, time.Second+timeoutpolicy.DefaultGrace+timeoutpolicy.DefaultForce, time.Since(began))
		assert.Len(t, sup.Leftovers(), 1)
	}, supervisor.WithPolicy(timeoutpolicy.Fixed(10*time.Second)))
}

// untilEnded is work that heeds its context and nothing else.
func untilEnded(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestAGroupKeepsToItsLimitAndStartsNothingAfterItsEnd(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		began := time.Now()
		g := sup.Group(t.Context())
		g.SetLimit(3)
		var now, most, started atomic.Int32
		work := func(context.Context) error {
			started.Add(1)
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Second)
			now.Add(-1)
			return nil
		}
		for range 9 {
			g.Go(work)
		}
		assert.NoError(t, g.Wait())
		assert.EqualValues(t, 3, most.Load())
		assert.Equal(t, 3*time.Second, time.Since(began))

		g = sup.Group(t.Context())
		g.SetLimit(1)
		started.Store(0)
		g.Go(func(context.Context) error { time.Sleep(time.Second); return io.EOF })
		g.Go(work) // waits, and finds the group ended
		g.Go(work)
		assert.Equal(t, io.EOF, g.Wait())
		assert.Zero(t, started.Load())
	}, supervisor.WithPolicy(timeoutpolicy.Fixed(10*time.Second)))
}

func TestWhatGoesWrongInAGroupIsAnErrorOfIt(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		wait := func(ctx context.Context, work func(context.Context) error, options ...supervisor.Option) error {
			g := sup.Group(ctx)
			g.Go(work, options...)
			return g.Wait()
		}
		var panicked *supervisor.Panicked
		assert.ErrorAs(t, wait(t.Context(), func(context.Context) error { panic("a bug") }), &panicked)
		var invalid *supervisor.Invalid
		assert.ErrorAs(t, wait(t.Context(), nil), &invalid)
		assert.ErrorIs(t, wait(t.Context(), untilEnded, supervisor.Within(-1)), supervisor.ErrTooLate)

		why := errors.New("why")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		assert.ErrorIs(t, wait(ctx, untilEnded), why)
		assert.ErrorIs(t, wait(ctx, untilEnded), why, "cancelled before it began")

		done := make(chan error, 1)
		go func() { done <- wait(t.Context(), untilEnded) }() // waited for below
		synctest.Wait()
		assert.NoError(t, sup.Close())
		assert.ErrorIs(t, <-done, supervisor.ErrClosed)
		assert.ErrorIs(t, wait(t.Context(), untilEnded), supervisor.ErrClosed)
	}, supervisor.WithPolicy(timeoutpolicy.Fixed(10*time.Second)), supervisor.WithDrain(0))
}
