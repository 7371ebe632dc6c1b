package supervisor_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// line is a session put together by a test: its handle is an int, its face a lineFace.
type line struct {
	open  time.Duration
	close func() error
}

func (l *line) Spec() (resources.Spec, error) {
	return resources.Spec{Kind: "line", Target: "line", Endpoint: "line"}, nil
}

func (l *line) Open(ctx context.Context, held *resources.Held) (int, error) {
	if err := held.Keep(&resources.Piece{What: "line", Close: l.close}); err != nil {
		return 0, err
	}
	select {
	case <-time.After(l.open):
		return 42, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (l *line) Traits() resources.SessionTraits {
	return resources.SessionTraits{AtOnce: -1, Separate: true}
}

func (l *line) Face(c resources.Caller[int]) lineFace { return lineFace{c} }

type lineFace struct{ resources.Caller[int] }

func (f lineFace) Wait(ctx context.Context, d time.Duration) (int, error) {
	v, err := f.Do(ctx, func(ctx context.Context, h int, held *resources.Held) (any, error) {
		held.Opened()
		select {
		case <-time.After(d):
			return h, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	n, _ := v.(int)
	return n, err
}

func TestASessionServesCallsWithDeadlinesOfTheirOwn(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		closed := 0
		sess, err := supervisor.Open(t.Context(), sup, &line{open: time.Second, close: func() error { closed++; return nil }})
		require.NoError(t, err)
		start := time.Now()
		slow := make(chan error)
		go func() {
			_, err := sess.Wait(t.Context(), time.Hour)
			slow <- err
		}()
		n, err := sess.Wait(t.Context(), time.Second)
		require.NoError(t, err, "calls do not wait behind each other")
		assert.Equal(t, 42, n)
		assert.ErrorIs(t, <-slow, context.DeadlineExceeded)
		assert.Equal(t, 10*time.Second, time.Since(start))
		n, err = sess.Wait(supervisor.WithOptions(t.Context(), supervisor.Within(time.Minute)), 30*time.Second)
		require.NoError(t, err, "and the session serves the next call")
		assert.Equal(t, 42, n)
		assert.Zero(t, closed)

		require.NoError(t, sess.Close())
		require.NoError(t, sess.Close())
		assert.Equal(t, 1, closed)
		_, err = sess.Wait(t.Context(), 0)
		assert.ErrorIs(t, err, supervisor.ErrClosed)
	}, supervisor.WithPolicy(timeoutpolicy.Fixed(10*time.Second)))
}

func TestClosingASessionEndsItsCalls(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		sess, err := supervisor.Open(t.Context(), sup, &line{})
		require.NoError(t, err)
		ended := make(chan error)
		go func() {
			_, err := sess.Wait(t.Context(), time.Hour)
			ended <- err
		}()
		synctest.Wait()
		start := time.Now()
		go func() { assert.NoError(t, sess.Close()) }()
		err = <-ended
		var cancelled *supervisor.Cancelled
		require.ErrorAs(t, err, &cancelled)
		assert.ErrorIs(t, err, supervisor.ErrClosed)
		assert.Zero(t, time.Since(start))
	}, supervisor.WithPolicy(timeoutpolicy.Fixed(10*time.Second)))
}

func TestAnOpeningThatExpiresLeavesNothing(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		closed := 0
		_, err := supervisor.Open(t.Context(), sup, &line{open: time.Minute, close: func() error { closed++; return nil }})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 1, closed)
	}, supervisor.WithPolicy(timeoutpolicy.Fixed(10*time.Second)))
}

func TestClosingTheSupervisorClosesItsSessionsAndNamesWhatWouldNotGo(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		closed := 0
		_, err := supervisor.Open(t.Context(), sup, &line{close: func() error { closed++; return nil }})
		require.NoError(t, err)
		hung, err := supervisor.Open(t.Context(), sup, &line{close: func() error { time.Sleep(30 * time.Second); return nil }})
		require.NoError(t, err)
		start := time.Now()
		err = sup.Close()
		assert.Equal(t, timeoutpolicy.DefaultGrace+timeoutpolicy.DefaultForce, time.Since(start))
		assert.Equal(t, 1, closed)
		var left *resources.LeftoverError
		require.ErrorAs(t, err, &left)
		assert.Len(t, left.Left, 1)
		assert.Error(t, hung.Close())
	}, supervisor.WithPolicy(timeoutpolicy.Fixed(10*time.Second)))
}
