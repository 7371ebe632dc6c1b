package supervisor_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/supervisor"
)

type key struct{}

func TestTheOperationsContextExpiresWithACauseOfOurs(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		ctx := context.WithValue(t.Context(), key{}, "value")
		deadline := time.Now().Add(time.Second)
		_, err := supervisor.Do(ctx, sup, resources.Func(func(ctx context.Context) (int, error) {
			due, ok := ctx.Deadline()
			assert.True(t, ok)
			assert.Equal(t, deadline, due)
			assert.Equal(t, "value", ctx.Value(key{}))
			assert.NoError(t, context.Cause(ctx))

			goroutines := runtime.NumGoroutine()
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			later, cancelLater := context.WithTimeout(ctx, time.Hour)
			defer cancelLater()
			called := make(chan struct{})
			context.AfterFunc(ctx, func() { close(called) })
			assert.Equal(t, goroutines, runtime.NumGoroutine(), "a derived context costs no goroutine")

			<-child.Done()
			<-later.Done()
			<-called
			for _, c := range []context.Context{ctx, child, later} {
				assert.Equal(t, context.DeadlineExceeded, c.Err())
				assert.ErrorIs(t, context.Cause(c), context.DeadlineExceeded)
				assert.Contains(t, context.Cause(c).Error(), "limit 1s granted by within")
			}
			derived, cancelDerived := context.WithCancel(ctx)
			defer cancelDerived()
			assert.Equal(t, context.DeadlineExceeded, derived.Err(), "of one made after the end, too")
			return 0, nil
		}), supervisor.Within(time.Second))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestTheContextEndsWithASuccess(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var kept, child context.Context
		called := false
		_, err := supervisor.Do(t.Context(), sup, resources.Func(func(ctx context.Context) (int, error) {
			kept = ctx
			child = context.WithValue(ctx, key{}, "child")
			stop := context.AfterFunc(ctx, func() { called = true })
			assert.True(t, stop())
			return 0, nil
		}), supervisor.Within(time.Second))
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, context.Canceled, kept.Err())
		assert.Equal(t, context.Canceled, child.Err())
		<-kept.Done()
		assert.False(t, called)
	})
}

func TestANestedRequestInheritsWhatIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		start := time.Now()
		_, err := supervisor.Do(t.Context(), sup, resources.Func(func(ctx context.Context) (int, error) {
			time.Sleep(14 * time.Second)
			var rec supervisor.Receipt
			_, err := supervisor.Do(ctx, sup, obedient(time.Hour), supervisor.WithReceipt(&rec))
			assert.Equal(t, 16*time.Second, rec.Budget.Limit)
			return 0, err
		}), supervisor.Within(30*time.Second))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 30*time.Second, time.Since(start))
	})
}
