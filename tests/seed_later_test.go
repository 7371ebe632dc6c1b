package tests

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

func TestSeedM07OuterDeadlineCleansUpAndIsReported(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t, supervisor.WithPolicy(timeoutpolicy.Fixed(time.Minute)))
		ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, errOuter)
		defer cancel()
		var cleanup counter
		began := time.Now()
		_, err := supervisor.Do(ctx, sup, resources.Func(untilStopped).Cleanup(cleanup.hook))
		expired := isExpired(t, err)
		assert.Equal(t, 5*time.Second, time.Since(began))
		assert.ErrorIs(t, err, errOuter)
		assert.ErrorContains(t, err, errOuter.Error())
		assert.Equal(t, "context deadline", expired.Receipt.Budget.GrantedBy)
		assert.EqualValues(t, 1, cleanup.calls.Load())
	})
}

func TestSeedM07InterruptionFromOutsideCleansUpAndKeepsItsCause(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t, supervisor.WithPolicy(timeoutpolicy.Fixed(time.Minute)))
		ctx, cancel := context.WithCancelCause(t.Context())
		var cleanup counter
		var inside error
		began := time.Now()
		time.AfterFunc(5*time.Second, func() { cancel(errOuter) })
		var rec supervisor.Receipt
		_, err := supervisor.Do(ctx, sup, resources.Func(func(ctx context.Context) (int, error) {
			<-ctx.Done()
			inside = context.Cause(ctx)
			return 0, ctx.Err()
		}).Cleanup(cleanup.hook), supervisor.WithReceipt(&rec))
		assert.Equal(t, 5*time.Second, time.Since(began))
		var cancelled *supervisor.Cancelled
		require.ErrorAs(t, err, &cancelled)
		assert.ErrorIs(t, err, errOuter)
		assert.ErrorIs(t, err, context.Canceled)
		assert.NotErrorIs(t, err, context.DeadlineExceeded, "it is no timeout")
		assert.Equal(t, errOuter, inside)
		assert.Equal(t, actors.Cancelled, rec.Outcome)
		assert.Equal(t, actors.Running, rec.Phase)
		assert.EqualValues(t, 1, cleanup.calls.Load())
	})
}

func TestSeedM07ShutdownCleansUpAndIsReported(t *testing.T) {
	sup := realWorld(t, supervisor.WithDrain(0), supervisor.WithPolicy(timeoutpolicy.Fixed(time.Minute)))
	asked := make(chan struct{}, 1)
	p := newPeer(t, func(c *peerConn) {
		_, _ = c.Request()
		asked <- struct{}{}
	})
	done := make(chan error, 1)
	go func() { // waited for below
		_, err := supervisor.Do(t.Context(), sup, resources.Fetch{URL: p.HTTP()})
		done <- err
	}()
	receive(t, asked, "the request")
	w := watch(0)
	require.NoError(t, sup.Close())
	err := receive(t, done, "the answer")
	p.sawClose(t, w.due, w.stop(t))
	assert.ErrorIs(t, err, supervisor.ErrClosed)
	assert.ErrorIs(t, err, context.Canceled)
}

func TestSeedM08CleanupThatFailsIsJoinedToTheTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t)
		began := time.Now()
		_, err := supervisor.Do(t.Context(), sup, resources.Func(untilStopped).Cleanup(func() error { return errOuter }), supervisor.Within(time.Second))
		assert.Equal(t, time.Second, time.Since(began))
		expired := isExpired(t, err)
		assert.ErrorIs(t, err, errOuter)
		assert.ErrorIs(t, expired.Cleanup, errOuter)
		assert.True(t, strings.HasPrefix(err.Error(), "func: timeout exceeded"), "the timeout stays the primary one: %v", err)
		assert.Empty(t, expired.Receipt.Leftover, "a hook that failed has run")
	})
}

func TestSeedM08CleanupThatPanicsIsJoinedToTheTimeout(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t)
		var second counter
		began := time.Now()
		_, err := supervisor.Do(t.Context(), sup, resources.Func(untilStopped).
			Cleanup(second.hook).
			Cleanup(func() error { panic("clean-up bug") }), supervisor.Within(time.Second))
		assert.Equal(t, time.Second, time.Since(began))
		expired := isExpired(t, err)
		var panicked *supervisor.Panicked
		require.ErrorAs(t, expired.Cleanup, &panicked)
		assert.Equal(t, "clean-up bug", panicked.Value)
		assert.EqualValues(t, 1, second.calls.Load(), "the other hooks run all the same")
		v, err := do(t, sup, answering, supervisor.Within(time.Second))
		require.NoError(t, err)
		assert.Equal(t, 42, v)
	})
}

func TestSeedM08CleanupThatHangsIsBounded(t *testing.T) {
	const limit, grace, force = 10 * time.Second, 3 * time.Second, 2 * time.Second
	bubble(t, func(t *testing.T) {
		sup := start(t, supervisor.WithPolicy(brief(limit, grace, force)))
		let := make(chan struct{})
		began := time.Now()
		_, err := supervisor.Do(t.Context(), sup, resources.Func(untilStopped).Cleanup(func() error { <-let; return nil }))
		assert.Equal(t, limit+grace+force, time.Since(began))
		expired := isExpired(t, err)
		require.Len(t, expired.Receipt.Leftover, 1)
		assert.Equal(t, "clean-up hook", expired.Receipt.Leftover[0].What)
		assert.ErrorContains(t, err, "clean-up unconfirmed")
		assert.Len(t, sup.Leftovers(), 1)
		close(let)
		synctest.Wait()
		assert.Empty(t, sup.Leftovers())
	})
}

func TestSeedM08CleanupThatHeedsItsContextIsToldToGiveUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t)
		began := time.Now()
		_, err := supervisor.Do(t.Context(), sup, resources.Func(untilStopped).CleanupContext(func(ctx context.Context) error {
			<-ctx.Done()
			return errOuter
		}), supervisor.Within(time.Second))
		isExpired(t, err)
		assert.Equal(t, time.Second+timeoutpolicy.DefaultGrace, time.Since(began), "its grace, and not the wait after it")
		assert.ErrorIs(t, err, errOuter)
	})
}

// shell is a command of a line for sh.
func shell(line string) resources.Command {
	return resources.Command{Path: "sh", Args: []string{"-c", line}}
}

func TestSeedM15CommandIsEndedByItsLadder(t *testing.T) {
	sup := realWorld(t)
	// Not INT, which a shell started in the background cannot trap.
	command := shell(`trap 'echo polite' USR1; trap 'echo asked; exit 3' TERM; echo ready; while :; do sleep 0.01; done`)
	command.Ladder = []resources.Step{{Signal: "USR1", Wait: 100 * time.Millisecond}, {Signal: "TERM", Wait: time.Second}}
	const limit = time.Second // long enough for a shell to be started
	w := watch(limit + 100*time.Millisecond)
	out, err := supervisor.Do(t.Context(), sup, command, supervisor.Within(limit))
	w.stopWith(t, 200*time.Millisecond) // the shell's own time to act
	expired := isExpired(t, err)
	assert.Empty(t, expired.Receipt.Leftover)
	require.NotNil(t, out)
	text := string(out.Stdout)
	assert.True(t, strings.HasPrefix(text, "ready\npolite\n"), "%q", text)
	assert.Contains(t, text, "asked\n", "each step after its delay")
	assert.Equal(t, 3, out.ExitCode)
}

func TestSeedM15CommandThatIgnoresItsLadderIsKilledAfterItsGrace(t *testing.T) {
	const limit, grace = time.Second, 150 * time.Millisecond
	sup := realWorld(t, supervisor.WithPolicy(timeoutpolicy.Compose(timeoutpolicy.Fixed(limit), timeoutpolicy.Grace(grace))))
	w := watch(limit + grace)
	out, err := supervisor.Do(t.Context(), sup, shell(`trap '' TERM; echo out; echo err >&2; sleep 60 & sleep 60; sleep 60`))
	w.stop(t)
	expired := isExpired(t, err)
	assert.Empty(t, expired.Receipt.Leftover)
	assert.NoError(t, expired.Cleanup, "what has gone by force has gone")
	require.NotNil(t, out)
	assert.Equal(t, "out\n", string(out.Stdout), "outputs are kept, also after an expiry")
	assert.Equal(t, "err\n", string(out.Stderr))
	assert.Equal(t, "KILL", out.Signal)
	process, err := os.FindProcess(out.PID)
	require.NoError(t, err)
	assert.ErrorIs(t, process.Signal(syscall.Signal(0)), os.ErrProcessDone, "dead and reaped")
	assert.Zero(t, out.Left)
	assert.GreaterOrEqual(t, out.Killed, 2, "its children, too")
}

func TestSeedM15OutputResetsTheInactivityLimit(t *testing.T) {
	const stall = 500 * time.Millisecond
	sup := realWorld(t, supervisor.WithPolicy(timeoutpolicy.Compose(timeoutpolicy.Fixed(time.Minute), timeoutpolicy.Stall(stall))))
	talks := `i=0; while [ $i -lt 8 ]; do echo $i; i=$((i+1)); sleep 0.1; done`
	out, err := supervisor.Do(t.Context(), sup, shell(talks))
	require.NoError(t, err, "longer than the inactivity limit in all, but never silent for as long")
	assert.Equal(t, "0\n1\n2\n3\n4\n5\n6\n7\n", string(out.Stdout))

	// The last line is due after 0.7 s, and the end of the silence that follows after 1.2.
	w := watch(700*time.Millisecond + stall)
	out, err = supervisor.Do(t.Context(), sup, shell(talks+`; sleep 60`))
	assert.GreaterOrEqual(t, time.Now(), w.due, "every line starts the time anew")
	expired := isExpired(t, err)
	assert.LessOrEqual(t, expired.Receipt.Lateness, w.allowed(), "from the end of the silence to the answer")
	assert.Empty(t, expired.Receipt.Leftover)
	assert.Equal(t, actors.Stalled, expired.Receipt.Phase)
	assert.ErrorContains(t, err, "no progress for 500ms")
	require.NotNil(t, out)
	assert.Equal(t, "0\n1\n2\n3\n4\n5\n6\n7\n", string(out.Stdout))
	assert.Less(t, expired.Receipt.Used, 5*time.Second)
}

func TestSeedM15ArgumentsAreAVectorAndNoShellReadsThem(t *testing.T) {
	sup := realWorld(t)
	out, err := supervisor.Do(t.Context(), sup, resources.Command{Path: "printf", Args: []string{"[%s]", "$HOME `id`; echo x", "*", "a b"}}, supervisor.Within(patience))
	require.NoError(t, err)
	assert.Equal(t, "[$HOME `id`; echo x][*][a b]", string(out.Stdout))
	_, err = supervisor.Do(t.Context(), sup, resources.Command{Path: "echo hello"}, supervisor.Within(patience))
	assert.ErrorIs(t, err, exec.ErrNotFound, "the words are one name, not a line")
}

func TestSeedM15ExitCodeAndOutputsComeTogether(t *testing.T) {
	sup := realWorld(t)
	var rec supervisor.Receipt
	out, err := supervisor.Do(t.Context(), sup, shell(`echo out; echo err >&2; exit 7`), supervisor.Within(patience), supervisor.WithReceipt(&rec))
	var exit *resources.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 7, exit.Code)
	assert.Equal(t, actors.Failed, rec.Outcome)
	require.NotNil(t, out)
	assert.Equal(t, "out\n", string(out.Stdout))
	assert.Equal(t, "err\n", string(out.Stderr))
}

func TestSeedM16SoftLimitOnlyReports(t *testing.T) {
	bubble(t, func(t *testing.T) {
		events := &recorder{}
		sup := start(t, supervisor.WithEvents(events.hook), supervisor.WithPolicy(timeoutpolicy.Compose(
			timeoutpolicy.Fixed(10*time.Second), timeoutpolicy.Warn(2*time.Second))))
		began := time.Now()
		v, err := do(t, sup, func(context.Context) (int, error) { time.Sleep(5 * time.Second); return 1, nil })
		require.NoError(t, err)
		assert.Equal(t, 1, v)
		_, err = do(t, sup, func(context.Context) (int, error) { time.Sleep(2*time.Second - 1); return 1, nil })
		require.NoError(t, err)
		require.NoError(t, sup.Close())
		var warned []supervisor.Event
		for _, e := range events.all() {
			if e.What == actors.EventWarned {
				warned = append(warned, e)
			}
		}
		require.Len(t, warned, 1, "the request that was quicker is not reported")
		assert.EqualValues(t, 1, warned[0].Request)
		assert.Equal(t, began.Add(2*time.Second), warned[0].At)
	})
}

func TestSeedM17EveryActionHasAStartAndAFinish(t *testing.T) {
	bubble(t, func(t *testing.T) {
		events := &recorder{}
		sup := start(t, supervisor.WithEvents(events.hook), supervisor.WithDrain(0),
			supervisor.WithPolicy(timeoutpolicy.Fixed(time.Second)), supervisor.WithLimits(supervisor.Limits{AtOnce: 1}))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(500*time.Millisecond, cancel)
		want := []struct {
			outcome actors.Outcome
			run     func() error
		}{
			{actors.Completed, func() error { _, err := do(t, sup, answering); return err }},
			{actors.Failed, func() error {
				_, err := do(t, sup, func(context.Context) (int, error) { return 0, io.EOF })
				return err
			}},
			{actors.Cancelled, func() error { _, err := supervisor.Do(ctx, sup, resources.Func(untilStopped)); return err }},
			{actors.Expired, func() error { _, err := do(t, sup, untilStopped); return err }},
			{actors.Panicked, func() error { _, err := do(t, sup, brokenWork); return err }},
			{actors.Refused, func() error { _, err := do(t, sup, answering, supervisor.Within(-1)); return err }},
			{actors.Refused, func() error {
				_, err := supervisor.Do(t.Context(), sup, resources.Fetch{URL: "ftp://target.invalid"})
				return err
			}},
		}
		var errs []error
		for _, w := range want {
			errs = append(errs, w.run())
		}
		require.NoError(t, sup.Close())

		started, finished := map[uint64]time.Time{}, map[uint64]*supervisor.Receipt{}
		for _, e := range events.all() {
			switch e.What {
			case actors.EventSubmitted:
				assert.NotContains(t, started, e.Request)
				started[e.Request] = e.At
			case actors.EventFinished:
				assert.NotContains(t, finished, e.Request, "one finish each")
				require.NotNil(t, e.Receipt)
				finished[e.Request] = e.Receipt
				if at, ok := started[e.Request]; ok {
					assert.Equal(t, e.Receipt.Used, e.At.Sub(at))
				} else {
					assert.Equal(t, actors.Refused, e.Receipt.Outcome, "only what is refused before it has a place has no start")
				}
			}
		}
		require.Len(t, finished, len(want))
		for i, w := range want {
			rec := finished[uint64(i+1)]
			require.NotNil(t, rec)
			assert.Equal(t, w.outcome, rec.Outcome, "%v", errs[i])
		}
		for id := range started {
			assert.Contains(t, finished, id)
		}
	})
}

func TestSeedM17LeftoversAreInTheTimeline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		events := &recorder{}
		sup := start(t, supervisor.WithEvents(events.hook))
		_, err := do(t, sup, func(context.Context) (int, error) { time.Sleep(time.Minute); return 1, nil }, supervisor.Within(time.Second))
		isExpired(t, err)
		time.Sleep(time.Hour)
		require.NoError(t, sup.Close())
		var kinds []actors.EventKind
		for _, e := range events.all() {
			kinds = append(kinds, e.What)
		}
		assert.Subset(t, kinds, []actors.EventKind{actors.EventLeftover, actors.EventGone})
	})
}

func TestSeedM20WhatThereIsOfTheResultIsHandedOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t)
		began := time.Now()
		pages, err := do(t, sup, func(ctx context.Context) ([]string, error) {
			var pages []string
			for {
				select {
				case <-time.After(300 * time.Millisecond):
					pages = append(pages, "page")
				case <-ctx.Done():
					return pages, context.Cause(ctx)
				}
			}
		}, supervisor.Within(time.Second))
		isExpired(t, err)
		assert.Equal(t, time.Second, time.Since(began))
		assert.Equal(t, []string{"page", "page", "page"}, pages)
	})
}

func TestSeedM20ResultOfARunnerThatIsNotBackIsNotTouched(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t)
		shared := []int{0}
		v, err := do(t, sup, func(context.Context) ([]int, error) {
			for range 60 {
				time.Sleep(time.Second)
				shared[0]++ // under the race detector a caller who reads it is found out
			}
			return shared, errors.New("too late")
		}, supervisor.Within(time.Second))
		expired := isExpired(t, err)
		assert.Nil(t, v)
		assert.NoError(t, expired.Work)
		time.Sleep(time.Hour)
	})
}
