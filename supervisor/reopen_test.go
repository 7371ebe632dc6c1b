package supervisor_test

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

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// stream is a session whose calls take turns: its handle is the number of its opening.
type stream struct {
	traits resources.SessionTraits
	down   bool // openings fail
	sick   bool // checks fail

	mu                     sync.Mutex
	opened, closed, checks int
	hooks                  int
}

// count reads one of the counters.
func (s *stream) count(n *int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *n
}

func (s *stream) Spec() (resources.Spec, error) {
	return resources.Spec{Kind: "stream", Target: "peer", Endpoint: "peer"}, nil
}

func (s *stream) Traits() resources.SessionTraits { return s.traits }

func (s *stream) Check(context.Context, int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks++
	if s.sick {
		s.sick = false
		return errWork
	}
	return nil
}

func (s *stream) Open(_ context.Context, held *resources.Held) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return 0, errWork
	}
	s.opened++
	return s.opened, errors.Join(
		held.Keep(&resources.Piece{What: "stream", Close: func() error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.closed++
			return nil
		}}),
		held.OnAbort(&resources.Piece{What: "hook", Close: func() error { s.mu.Lock(); defer s.mu.Unlock(); s.hooks++; return nil }}))
}

func (s *stream) Face(c resources.Caller[int]) streamFace { return streamFace{c} }

type streamFace struct{ resources.Caller[int] }

// Ask returns the opening's number after d, and err.
func (f streamFace) Ask(ctx context.Context, d time.Duration, err error) (int, error) {
	v, err := f.Do(ctx, func(ctx context.Context, h int, held *resources.Held) (any, error) {
		select {
		case <-time.After(d):
			return h, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	n, _ := v.(int)
	return n, err
}

// streamBubble opens s in fake time and runs f; limits are 10 s.
func streamBubble(t *testing.T, s *stream, f func(*testing.T, streamFace)) {
	t.Helper()
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		face, err := supervisor.Open(t.Context(), sup, s)
		require.NoError(t, err)
		f(t, face)
		require.NoError(t, face.Close())
		assert.Equal(t, s.count(&s.opened), s.count(&s.closed), "what was opened is closed")
	}, supervisor.WithPolicy(timeoutpolicy.Fixed(10*time.Second)))
}

func ask(t *testing.T, f streamFace, want int) {
	t.Helper()
	n, err := f.Ask(t.Context(), 0, nil)
	require.NoError(t, err)
	assert.Equal(t, want, n, "number of the opening")
}

func TestCallsTakeTurnsInOrderEachWithItsOwnDeadline(t *testing.T) {
	s := &stream{}
	streamBubble(t, s, func(t *testing.T, f streamFace) {
		var all sync.WaitGroup
		start := time.Now()
		for i := range 4 {
			all.Go(func() {
				_, err := f.Ask(t.Context(), 4*time.Second, nil)
				if i < 2 {
					assert.NoError(t, err)
					assert.Equal(t, time.Duration(i+1)*4*time.Second, time.Since(start))
					return
				}
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Equal(t, 10*time.Second, time.Since(start))
			})
			synctest.Wait()
		}
		all.Wait()
		ask(t, f, 2) // the third was cut short, and took the stream with it
	})
}

func TestACallThatIsCutShortTakesTheStreamWithItAndThoseBehindItGoOn(t *testing.T) {
	s := &stream{}
	streamBubble(t, s, func(t *testing.T, f streamFace) {
		ask(t, f, 1)
		var all sync.WaitGroup
		all.Go(func() {
			_, err := f.Ask(supervisor.WithOptions(t.Context(), supervisor.Within(time.Second)), time.Hour, nil)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, 1, s.count(&s.closed), "closed before the caller hears")
			assert.Equal(t, 1, s.count(&s.hooks))
		})
		synctest.Wait()
		all.Go(func() { ask(t, f, 2) })
		all.Wait()
		assert.Equal(t, 1, s.count(&s.hooks))
	})
	assert.Equal(t, 1, s.count(&s.hooks), "a closing is no abort")
}

func TestAnErrorSpoilsTheStreamUnlessItIsMarkedStillGood(t *testing.T) {
	s := &stream{}
	streamBubble(t, s, func(t *testing.T, f streamFace) {
		_, err := f.Ask(t.Context(), 0, resources.StillGood(errWork))
		require.ErrorIs(t, err, errWork)
		ask(t, f, 1)
		_, err = f.Ask(t.Context(), 0, errWork)
		require.ErrorIs(t, err, errWork)
		ask(t, f, 2)
		_, err = f.Do(t.Context(), func(context.Context, int, *resources.Held) (any, error) { panic("boom") })
		var panicked *supervisor.Panicked
		require.ErrorAs(t, err, &panicked)
		ask(t, f, 3)
	})
}

func TestReopeningBacksOffAndRefusesThoseWithoutTheTime(t *testing.T) {
	s := &stream{}
	streamBubble(t, s, func(t *testing.T, f streamFace) {
		_, _ = f.Ask(t.Context(), 0, errWork)
		s.down = true
		for range 8 { // 100 ms, 200 ms … 12.8 s
			_, err := f.Ask(supervisor.WithOptions(t.Context(), supervisor.Within(time.Minute)), 0, nil)
			require.ErrorIs(t, err, errWork)
		}
		start := time.Now()
		_, err := f.Ask(t.Context(), 0, nil)
		require.ErrorIs(t, err, supervisor.ErrTooLate)
		assert.Zero(t, time.Since(start), "refused at once")
		s.down = false
		_, err = f.Ask(supervisor.WithOptions(t.Context(), supervisor.Within(time.Minute)), 0, nil)
		require.NoError(t, err)
		assert.GreaterOrEqual(t, time.Since(start), 12800*time.Millisecond)
		assert.LessOrEqual(t, time.Since(start), 14080*time.Millisecond)
		ask(t, f, 2)
	})
}

func TestAnIdleStreamIsClosedAndOpenedWhenNeeded(t *testing.T) {
	s := &stream{traits: resources.SessionTraits{IdleClose: time.Minute}}
	streamBubble(t, s, func(t *testing.T, f streamFace) {
		ask(t, f, 1)
		time.Sleep(time.Minute - 1)
		ask(t, f, 1)
		time.Sleep(time.Minute + 1)
		assert.Equal(t, 1, s.count(&s.closed))
		ask(t, f, 2)
	})
}

func TestClosingASessionWaitsForTheStreamThatIsBeingClosedAsIdle(t *testing.T) {
	for name, c := range map[string]struct {
		takes, waits time.Duration
		left         bool
	}{
		"in a while": {takes: 2 * time.Second, waits: time.Second},
		"for ever":   {takes: 30 * time.Second, waits: timeoutpolicy.DefaultGrace + timeoutpolicy.DefaultForce, left: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
				f, err := supervisor.Open(t.Context(), sup, idler{&line{close: func() error { time.Sleep(c.takes); return nil }}})
				require.NoError(t, err)
				_, err = f.Wait(t.Context(), 0)
				require.NoError(t, err)
				time.Sleep(time.Minute + time.Second) // a second ago it was found idle
				start := time.Now()
				err = f.Close()
				assert.Equal(t, c.waits, time.Since(start))
				var left *resources.LeftoverError
				assert.Equal(t, c.left, errors.As(err, &left), "%v", err)
				time.Sleep(time.Minute)
				assert.Empty(t, sup.Leftovers())
			}, supervisor.WithPolicy(timeoutpolicy.Fixed(10*time.Second)))
		})
	}
}

// idler is a line that is closed when idle.
type idler struct{ *line }

func (idler) Traits() resources.SessionTraits {
	return resources.SessionTraits{IdleClose: time.Minute}
}

func TestAnOldStreamIsOpenedAnew(t *testing.T) {
	s := &stream{traits: resources.SessionTraits{MaxAge: time.Minute}}
	streamBubble(t, s, func(t *testing.T, f streamFace) {
		ask(t, f, 1)
		time.Sleep(time.Minute)
		ask(t, f, 1)
		time.Sleep(time.Nanosecond)
		ask(t, f, 2)
		assert.Equal(t, 1, s.count(&s.closed))
	})
}

func TestAnOldStreamThatIsNeverIdleIsOpenedAnewToo(t *testing.T) {
	s := &stream{traits: resources.SessionTraits{AtOnce: 2, MaxAge: time.Minute}}
	streamBubble(t, s, func(t *testing.T, f streamFace) {
		var all sync.WaitGroup
		for i := range 2 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Second) // so that one is always under way
				for range 100 {
					_, err := f.Ask(t.Context(), 2*time.Second, nil)
					assert.NoError(t, err)
				}
			})
		}
		all.Wait()
		synctest.Wait()
		assert.GreaterOrEqual(t, s.count(&s.opened), 3, "in more than three minutes")
		assert.Equal(t, s.count(&s.opened)-1, s.count(&s.closed), "the old ones are gone")
	})
}

func TestThoseWhoCallAtOnceWaitForTheCheckOfTheFirst(t *testing.T) {
	s := &stream{traits: resources.SessionTraits{AtOnce: 3, CheckAfter: time.Minute}}
	streamBubble(t, s, func(t *testing.T, f streamFace) {
		ask(t, f, 1)
		time.Sleep(2 * time.Minute)
		s.mu.Lock()
		s.sick = true
		s.mu.Unlock()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() { ask(t, f, 2) })
		}
		all.Wait()
		assert.Equal(t, 1, s.count(&s.checks))
		assert.Equal(t, 1, s.count(&s.closed))
	})
}

func TestWhoHasNoTimeToWaitForAnotherCallsOpeningIsRefused(t *testing.T) {
	s := &stream{traits: resources.SessionTraits{AtOnce: 2}}
	streamBubble(t, s, func(t *testing.T, f streamFace) {
		s.mu.Lock()
		s.down = true
		s.mu.Unlock()
		_, err := f.Ask(t.Context(), 0, errWork) // spoils the stream
		require.ErrorIs(t, err, errWork)
		for range 6 { // the back-off grows to some six seconds
			_, err = f.Ask(t.Context(), 0, nil)
			require.ErrorIs(t, err, errWork)
		}
		var all sync.WaitGroup
		all.Go(func() { // has the time, and waits
			_, err := f.Ask(t.Context(), 0, nil)
			assert.ErrorIs(t, err, errWork)
		})
		synctest.Wait()
		start := time.Now()
		_, err = f.Ask(supervisor.WithOptions(t.Context(), supervisor.Within(time.Second)), 0, nil)
		assert.ErrorIs(t, err, timeoutpolicy.ErrTooLate)
		assert.Zero(t, time.Since(start))
		all.Wait()
	})
}

// hanging is a stream whose next opening or check takes so long, whatever is closed under it.
type hanging struct {
	stream
	open, check atomic.Int64 // ns
}

func (h *hanging) Open(ctx context.Context, held *resources.Held) (int, error) {
	n, err := h.stream.Open(ctx, held)
	time.Sleep(time.Duration(h.open.Swap(0)))
	return n, err
}

func (h *hanging) Check(ctx context.Context, n int) error {
	time.Sleep(time.Duration(h.check.Swap(0)))
	return h.stream.Check(ctx, n)
}

func TestAnOpeningOrACheckThatHangsHoldsOthersUpNoLongerThanItsCallHas(t *testing.T) {
	for name, c := range map[string]struct {
		traits resources.SessionTraits
		hang   func(*testing.T, *hanging, streamFace)
		opened int // for those who come later
	}{
		"opening in turns":   {resources.SessionTraits{}, openHangs, 3},
		"opening at once":    {resources.SessionTraits{AtOnce: 3}, openHangs, 3},
		"check in turns":     {resources.SessionTraits{}, checkHangs, 2},
		"check at once":      {resources.SessionTraits{AtOnce: 3}, checkHangs, 2},
		"check of separates": {resources.SessionTraits{AtOnce: -1, Separate: true}, checkHangs, 2},
	} {
		t.Run(name, func(t *testing.T) {
			c.traits.CheckAfter = time.Minute
			s := &hanging{stream: stream{traits: c.traits}}
			bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
				f, err := supervisor.Open(t.Context(), sup, s)
				require.NoError(t, err)
				c.hang(t, s, f)
				start := time.Now()
				var all sync.WaitGroup
				all.Go(func() {
					_, err := f.Ask(t.Context(), 0, nil)
					assert.ErrorIs(t, err, context.DeadlineExceeded)
				})
				synctest.Wait()
				all.Go(func() {
					n, err := f.Ask(supervisor.WithOptions(t.Context(), supervisor.Within(time.Minute)), 0, nil)
					assert.NoError(t, err)
					assert.Equal(t, c.opened, n)
					assert.GreaterOrEqual(t, time.Since(start), 10*time.Second, "it waits for as long as that")
					assert.LessOrEqual(t, time.Since(start), 13*time.Second, "the limit and the clean-up")
				})
				all.Wait()
				require.Len(t, sup.Leftovers(), 1)
				start = time.Now()
				for range 10 {
					ask(t, f, c.opened)
				}
				assert.Zero(t, time.Since(start))
				time.Sleep(50 * time.Second) // it has come back
				assert.Empty(t, sup.Leftovers())
				ask(t, f, c.opened)
				require.NoError(t, f.Close())
				assert.Equal(t, s.count(&s.opened), s.count(&s.closed))
			}, supervisor.WithPolicy(timeoutpolicy.Fixed(10*time.Second)))
		})
	}
}

func openHangs(t *testing.T, s *hanging, f streamFace) {
	_, err := f.Ask(t.Context(), 0, errWork) // the next call opens
	require.ErrorIs(t, err, errWork)
	s.open.Store(int64(time.Minute))
}

func checkHangs(_ *testing.T, s *hanging, _ streamFace) {
	time.Sleep(2 * time.Minute) // the next call checks
	s.check.Store(int64(time.Minute))
}

func TestAStreamThatRestedIsCheckedBeforeItIsUsed(t *testing.T) {
	s := &stream{traits: resources.SessionTraits{CheckAfter: time.Minute}}
	streamBubble(t, s, func(t *testing.T, f streamFace) {
		ask(t, f, 1)
		assert.Zero(t, s.count(&s.checks))
		time.Sleep(time.Minute + 1)
		ask(t, f, 1)
		assert.Equal(t, 1, s.count(&s.checks))
		time.Sleep(time.Minute + 1)
		s.sick = true
		ask(t, f, 2)
		assert.Equal(t, 1, s.count(&s.closed))
	})
}

func TestCallsOnOneStreamAtOnceFallTogether(t *testing.T) {
	s := &stream{traits: resources.SessionTraits{AtOnce: 3}}
	streamBubble(t, s, func(t *testing.T, f streamFace) {
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				n, err := f.Ask(t.Context(), 2*time.Second, nil)
				// The stream was closed under it: here the call cannot tell, and ends well.
				assert.NoError(t, err)
				assert.Equal(t, 1, n)
			})
		}
		_, err := f.Ask(supervisor.WithOptions(t.Context(), supervisor.Within(time.Second)), time.Hour, nil)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		ask(t, f, 2)
		all.Wait()
	})
}

func TestAThousandCallersOfOneSession(t *testing.T) {
	s := &stream{traits: resources.SessionTraits{AtOnce: 4}}
	streamBubble(t, s, func(t *testing.T, f streamFace) {
		var served, expired atomic.Int64
		var all sync.WaitGroup
		for i := range 1000 {
			all.Go(func() {
				start := time.Now()
				_, err := f.Ask(t.Context(), time.Duration(i%40)*10*time.Millisecond, nil)
				assert.LessOrEqual(t, time.Since(start), 10*time.Second)
				if err == nil {
					served.Add(1)
				} else if assert.ErrorIs(t, err, context.DeadlineExceeded) {
					expired.Add(1)
				}
			})
		}
		all.Wait()
		// Of 10 s for each of four places about 40 s are spent in calls of 0.2 s in the mean.
		assert.Greater(t, served.Load(), int64(150))
		assert.Positive(t, expired.Load())
	})
}
