package supervisor_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

var errWork = errors.New("the work failed")

func TestWorkThatEndsOneNanosecondBeforeItsLimitCompletes(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		start := time.Now()
		v, err := supervisor.Do(t.Context(), sup, obedient(time.Second-1), supervisor.Within(time.Second))
		require.NoError(t, err)
		assert.Equal(t, 1, v)
		assert.Equal(t, time.Second-1, time.Since(start))
	})
}

func TestExpiryIsAnsweredExactlyAtTheDeadline(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		start := time.Now()
		v, err := supervisor.Do(t.Context(), sup, obedient(time.Second+1), supervisor.Within(time.Second))
		var expired *supervisor.Expired
		require.ErrorAs(t, err, &expired)
		assert.Equal(t, 2, v, "what there is of the result")
		assert.Equal(t, time.Second, time.Since(start))
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.True(t, expired.Timeout())
		assert.Contains(t, err.Error(), "timeout exceeded")
		assert.Contains(t, err.Error(), "limit 1s granted by within")
		assert.Equal(t, actors.Running, expired.Receipt.Phase)
		assert.Zero(t, expired.Receipt.Lateness)
		assert.Empty(t, expired.Receipt.Leftover)
	})
}

func TestWorkThatIgnoresItsEndIsNamedAsLeftoverUntilItComesBack(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		start := time.Now()
		v, err := supervisor.Do(t.Context(), sup, deaf(10*time.Second), supervisor.Within(time.Second))
		var expired *supervisor.Expired
		require.ErrorAs(t, err, &expired)
		assert.Zero(t, v)
		assert.Equal(t, time.Second+timeoutpolicy.DefaultGrace+timeoutpolicy.DefaultForce, time.Since(start))
		assert.Contains(t, err.Error(), "clean-up unconfirmed: goroutine")
		require.Len(t, sup.Leftovers(), 1)
		assert.Equal(t, "goroutine", sup.Leftovers()[0].What)
		time.Sleep(10 * time.Second)
		assert.Empty(t, sup.Leftovers())
	})
}

func TestAnswerAtDeadlineIsForACancellationToo(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		_, err := supervisor.Do(ctx, sup, deaf(10*time.Second), supervisor.Within(time.Minute), supervisor.AnswerAtDeadline())
		assert.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, time.Second, time.Since(start))
	})
}

func TestAnswerAtDeadlineDoesNotWaitForTheCleanup(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		start := time.Now()
		_, err := supervisor.Do(t.Context(), sup, deaf(10*time.Second), supervisor.Within(time.Second), supervisor.AnswerAtDeadline())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))
		assert.Empty(t, sup.Leftovers(), "the clean-up is still under way")
		time.Sleep(4 * time.Second)
		assert.Len(t, sup.Leftovers(), 1)
	})
}

func TestNoGraceAndNoForceAnswersAtOnceAndCountsTheLeftover(t *testing.T) {
	policy := timeoutpolicy.Compose(timeoutpolicy.Fixed(50*time.Millisecond), timeoutpolicy.Grace(timeoutpolicy.None), timeoutpolicy.Force(timeoutpolicy.None))
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		start := time.Now()
		_, err := supervisor.Do(t.Context(), sup, deaf(500*time.Millisecond))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 50*time.Millisecond, time.Since(start))
		assert.Len(t, sup.Leftovers(), 1)
		time.Sleep(451 * time.Millisecond)
		assert.Empty(t, sup.Leftovers())
	}, supervisor.WithPolicy(policy))
}

func TestAnErrorReachesTheCallerAsItWas(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var rec supervisor.Receipt
		_, err := supervisor.Do(t.Context(), sup, use{run: func(context.Context, *resources.Held) (int, error) { return 0, errWork }},
			supervisor.Within(time.Second), supervisor.WithReceipt(&rec))
		assert.Equal(t, errWork, err)
		assert.Equal(t, actors.Failed, rec.Outcome)
		assert.Equal(t, errWork.Error(), rec.Error)
	})
}

func TestAnErrorAtTheDeadlineCountsAsTheExpiry(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		// Both timers fire at the same instant; whichever is first, it is an expiry.
		for range 200 {
			_, err := supervisor.Do(t.Context(), sup, use{run: func(context.Context, *resources.Held) (int, error) {
				time.Sleep(time.Second)
				return 0, errWork
			}}, supervisor.Within(time.Second))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, errWork, "and what the work said is not lost")
		}
	})
}

func TestPanicAndGoexitBecomeErrorsAndRunTheHook(t *testing.T) {
	for name, end := range map[string]func(){
		"panic":        func() { panic("boom") },
		"panic nil":    func() { panic(nil) }, //nolint:govet // on purpose
		"panic error":  func() { panic(errWork) },
		"goexit":       runtime.Goexit,
		"nil function": func() { var f func(); f() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
				hooks := 0
				_, err := supervisor.Do(t.Context(), sup, use{run: func(_ context.Context, held *resources.Held) (int, error) {
					_ = held.OnAbort(&resources.Piece{What: "hook", Close: func() error { hooks++; return nil }})
					end()
					return 0, nil
				}}, supervisor.Within(time.Second))
				var panicked *supervisor.Panicked
				require.ErrorAs(t, err, &panicked)
				assert.NotEmpty(t, panicked.Stack)
				assert.Equal(t, 1, hooks)
				if name == "panic error" {
					assert.ErrorIs(t, err, errWork)
				}
			})
		})
	}
}

func TestRefusalsStartNothing(t *testing.T) {
	passed, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	for name, c := range map[string]struct {
		ctx     context.Context
		options []supervisor.Option
		want    error
	}{
		"no limit":         {context.Background(), nil, supervisor.ErrNoLimit},
		"zero":             {context.Background(), []supervisor.Option{supervisor.Within(0)}, supervisor.ErrTooLate},
		"negative":         {context.Background(), []supervisor.Option{supervisor.Within(-1)}, supervisor.ErrTooLate},
		"passed":           {passed, nil, supervisor.ErrTooLate},
		"passed, explicit": {passed, []supervisor.Option{supervisor.Within(time.Second)}, supervisor.ErrTooLate},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
				var rec supervisor.Receipt
				_, err := supervisor.Do(c.ctx, sup, use{run: func(context.Context, *resources.Held) (int, error) {
					t.Error("it was started")
					return 0, nil
				}}, append(c.options, supervisor.WithReceipt(&rec))...)
				assert.ErrorIs(t, err, c.want)
				assert.Equal(t, actors.Refused, rec.Outcome)
			})
		})
	}
}

func TestUnlimitedIsSaidAloudAndSeenInTheReceipt(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		var rec supervisor.Receipt
		_, err := supervisor.Do(t.Context(), sup, use{run: func(ctx context.Context, _ *resources.Held) (int, error) {
			_, ok := ctx.Deadline()
			assert.False(t, ok)
			time.Sleep(1000 * time.Hour)
			return 1, nil
		}}, supervisor.Within(timeoutpolicy.Unlimited), supervisor.WithReceipt(&rec))
		require.NoError(t, err)
		assert.Equal(t, timeoutpolicy.Unlimited, rec.Budget.Limit)
		assert.Nil(t, rec.Fields().BudgetNS)
	})
}

func TestTheCallersDeadlineCapsAndSuffices(t *testing.T) {
	for name, options := range map[string][]supervisor.Option{
		"suffices":    nil,
		"caps within": {supervisor.Within(time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
				cause := errors.New("the page took too long")
				ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, cause)
				defer cancel()
				start := time.Now()
				_, err := supervisor.Do(ctx, sup, obedient(time.Hour), options...)
				var expired *supervisor.Expired
				require.ErrorAs(t, err, &expired)
				assert.Equal(t, time.Second, time.Since(start))
				assert.Equal(t, "context deadline", expired.Receipt.Budget.GrantedBy)
			})
		})
	}
}

func TestCancelTakesTheStopPathAndKeepsItsCause(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		cause := errors.New("the user went away")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		start, hooks := time.Now(), 0
		work := resources.Func(func(ctx context.Context) (int, error) {
			<-ctx.Done()
			assert.Equal(t, context.Canceled, ctx.Err())
			assert.Equal(t, cause, context.Cause(ctx))
			return 5, ctx.Err()
		}).Cleanup(func() error { hooks++; return nil })
		v, err := supervisor.Do(ctx, sup, work, supervisor.Within(time.Minute))
		var cancelled *supervisor.Cancelled
		require.ErrorAs(t, err, &cancelled)
		assert.Equal(t, 5, v)
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, err, cause)
		assert.NotErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))
		assert.Equal(t, 1, hooks)
	})
}

func TestACallerThatIsGoneAlreadyStartsNothing(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errWork)
		var rec supervisor.Receipt
		_, err := supervisor.Do(ctx, sup, use{run: func(context.Context, *resources.Held) (int, error) {
			t.Error("it was started")
			return 0, nil
		}}, supervisor.Within(time.Second), supervisor.WithReceipt(&rec))
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, err, errWork)
		assert.Equal(t, actors.Cancelled, rec.Outcome)
	})
}

func TestStallEndsWhatMakesNoProgressAndOnlyThat(t *testing.T) {
	policy := timeoutpolicy.Compose(timeoutpolicy.Fixed(time.Minute), timeoutpolicy.Stall(time.Second))
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		start := time.Now()
		_, err := supervisor.Do(t.Context(), sup, use{run: func(ctx context.Context, held *resources.Held) (int, error) {
			for range 5 {
				time.Sleep(900 * time.Millisecond)
				held.Progress()
			}
			<-ctx.Done()
			return 0, ctx.Err()
		}})
		var expired *supervisor.Expired
		require.ErrorAs(t, err, &expired)
		assert.Equal(t, actors.Stalled, expired.Receipt.Phase)
		assert.Equal(t, 5*900*time.Millisecond+time.Second, time.Since(start))
		assert.Zero(t, expired.Receipt.Lateness)
		assert.Contains(t, err.Error(), "no progress for 1s")
	}, supervisor.WithPolicy(policy))
}

func TestAPlainFunctionReachesItsHeldThroughTheContext(t *testing.T) {
	policy := timeoutpolicy.Compose(timeoutpolicy.Fixed(time.Minute), timeoutpolicy.Stall(time.Second))
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		closed := false
		_, err := supervisor.Do(t.Context(), sup, resources.Func(func(ctx context.Context) (int, error) {
			held := resources.HeldFrom(ctx)
			require.NoError(t, held.Keep(&resources.Piece{What: "piece", Close: func() error { closed = true; return nil }}))
			for range 10 {
				time.Sleep(900 * time.Millisecond)
				held.Progress()
			}
			return 1, nil
		}))
		require.NoError(t, err)
		assert.True(t, closed, "a piece is released after a success, too")
	}, supervisor.WithPolicy(policy))
}

func TestASuccessWhoseReleaseFailsReturnsTheValueAndNamesWhatIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		tries := 0
		v, err := supervisor.Do(t.Context(), sup, use{run: func(_ context.Context, held *resources.Held) (int, error) {
			_ = held.Keep(&resources.Piece{What: "stubborn piece", Close: func() error {
				if tries++; tries < 3 {
					return errWork
				}
				return nil
			}})
			return 4, nil
		}}, supervisor.Within(time.Second))
		var unreleased *supervisor.Unreleased
		require.ErrorAs(t, err, &unreleased)
		assert.Equal(t, 4, v)
		assert.Contains(t, err.Error(), "stubborn piece")
		require.Len(t, sup.Leftovers(), 1)
		time.Sleep(time.Second)
		assert.Empty(t, sup.Leftovers(), "the reaper tried again until it went")
		assert.Equal(t, 3, tries)
	})
}

func TestACleanupThatHangsIsBoundedAndThenForced(t *testing.T) {
	policy := timeoutpolicy.Compose(timeoutpolicy.Fixed(time.Second), timeoutpolicy.Grace(300*time.Millisecond))
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		start, back := time.Now(), make(chan struct{})
		_, err := supervisor.Do(t.Context(), sup, use{run: func(_ context.Context, held *resources.Held) (int, error) {
			_ = held.Keep(&resources.Piece{
				What:  "piece",
				Close: func() error { <-back; return nil },
				Force: func() error { close(back); return nil },
			})
			<-back
			return 0, nil
		}})
		var expired *supervisor.Expired
		require.ErrorAs(t, err, &expired)
		assert.Equal(t, 1300*time.Millisecond, time.Since(start), "limit and grace, and no wait after the force")
		assert.Empty(t, expired.Receipt.Leftover)
		assert.Contains(t, expired.Receipt.Cleanup.Mechanism, "close")
	}, supervisor.WithPolicy(policy))
}

func TestTheErrorOfACleanupJoinsTheTimeoutAndDoesNotHideIt(t *testing.T) {
	for name, hook := range map[string]func() error{
		"fails":  func() error { return errWork },
		"panics": func() error { panic(errWork) },
		"goexit": func() error { runtime.Goexit(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
				start := time.Now()
				work := resources.Func(func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, nil }).Cleanup(hook)
				_, err := supervisor.Do(t.Context(), sup, work, supervisor.Within(time.Second))
				var expired *supervisor.Expired
				require.ErrorAs(t, err, &expired)
				require.Error(t, expired.Cleanup)
				if name != "goexit" {
					assert.ErrorIs(t, err, errWork)
				}
				assert.Equal(t, time.Second, time.Since(start))
				assert.Empty(t, sup.Leftovers(), "a hook that failed has run")
			})
		})
	}
}

func TestALateOpenCannotEscape(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		open := false
		_, err := supervisor.Do(t.Context(), sup, use{run: func(_ context.Context, held *resources.Held) (int, error) {
			time.Sleep(2 * time.Second) // a dial that hears nothing
			open = true
			err := held.Keep(&resources.Piece{What: "late", Close: func() error { open = false; return nil }})
			return 0, err
		}}, supervisor.Within(time.Second))
		var expired *supervisor.Expired
		require.ErrorAs(t, err, &expired)
		assert.Equal(t, actors.Opening, expired.Receipt.Phase)
		assert.False(t, open)
		assert.Empty(t, expired.Receipt.Leftover, "it came back within the grace")
	})
}

func TestThePanicOfANestedRequestIsAPlainErrorOfTheOuter(t *testing.T) {
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		hooks := 0
		var rec supervisor.Receipt
		outer := resources.Func(func(ctx context.Context) (int, error) {
			return supervisor.Do(ctx, sup, resources.Func(func(context.Context) (int, error) { panic("inner") }))
		}).Cleanup(func() error { hooks++; return nil })
		_, err := supervisor.Do(t.Context(), sup, outer, supervisor.Within(time.Second), supervisor.WithReceipt(&rec))
		var panicked *supervisor.Panicked
		require.ErrorAs(t, err, &panicked)
		assert.Equal(t, actors.Failed, rec.Outcome)
		assert.Zero(t, hooks)
	})
}
