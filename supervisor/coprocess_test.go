//go:build unix

package supervisor_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// talker answers lines: its own number, that of a child, an echo, or as it is told.
const talker = `
while read -r cmd rest; do case $cmd in
pid) echo $$ ;;
child) sleep 60 & echo $! ;;
hang) sleep 60 ;;
deaf) trap '' TERM; echo ok; while :; do sleep 60; done ;; # nor does it read
die) echo why >&2; exit 7 ;;
leave) exit 0 ;;
many) for i in 1 2 3; do echo $i; done; echo . ;;
twice) printf '%s\n%s\n' $rest $rest ;; # in one write
long) while :; do echo 0123456789012345678901234567890123456789; done | tr -d '\n' ;;
*) echo "$cmd" ;;
esac; done`

func openTalker(t *testing.T, c resources.Coprocess) (*supervisor.Supervisor, *resources.CoprocessSession) {
	t.Helper()
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(20 * time.Second)))
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, sup.Close())
		assert.Empty(t, sup.Leftovers())
	})
	if c.Command.Path == "" {
		c.Command = resources.Command{Path: "/bin/sh", Args: []string{"-c", talker}}
	}
	s, err := supervisor.Open(t.Context(), sup, c)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return sup, s
}

func told(t *testing.T, s *resources.CoprocessSession, line string) string {
	t.Helper()
	got, err := s.Ask(t.Context(), line)
	require.NoError(t, err)
	return got
}

func askPID(t *testing.T, s *resources.CoprocessSession, line string) int {
	t.Helper()
	pid, err := strconv.Atoi(told(t, s, line))
	require.NoError(t, err)
	return pid
}

// dead reports whether a process has gone, or waits for somebody else to reap it.
func dead(pid int) func() bool {
	return func() bool {
		if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
			_, rest, _ := strings.Cut(string(stat), ") ")
			return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
		}
		return syscall.Kill(pid, 0) != nil
	}
}

func TestCoprocessAnswersInTurn(t *testing.T) {
	_, s := openTalker(t, resources.Coprocess{})
	pid := told(t, s, "pid")
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			got, err := s.Ask(t.Context(), fmt.Sprint("n", i))
			assert.NoError(t, err)
			assert.Equal(t, fmt.Sprint("n", i), got)
		})
	}
	all.Wait()
	lines, err := s.AskUntil(t.Context(), "many", func(l string) bool { return l == "." })
	require.NoError(t, err)
	assert.Equal(t, []string{"1", "2", "3", "."}, lines)
	assert.Equal(t, pid, told(t, s, "pid"), "one program for all")
}

func TestCoprocessGoesWithTheCallThatExpires(t *testing.T) {
	_, s := openTalker(t, resources.Coprocess{})
	pid, child := askPID(t, s, "pid"), askPID(t, s, "child")
	const limit = 200 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	plain := resourcetest.PlainTimer(limit)
	start := time.Now()
	_, err := s.Ask(ctx, "hang")
	late := time.Since(start) - limit
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, late, <-plain+time.Second)
	assert.True(t, dead(pid)(), "the program")
	assert.Eventually(t, dead(child), time.Second, time.Millisecond, "its child")
	assert.NotEqual(t, pid, askPID(t, s, "pid"), "started anew")
}

func TestCoprocessThatEndsSaysHow(t *testing.T) {
	_, s := openTalker(t, resources.Coprocess{})
	_, err := s.Ask(t.Context(), "die")
	var exit *resources.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, 7, exit.Code)
	assert.Equal(t, "why\n", string(exit.Stderr))
	_, err = s.Ask(t.Context(), "leave")
	assert.ErrorContains(t, err, "has ended")
	assert.Equal(t, "again", told(t, s, "again"))
}

func TestCoprocessThatIsKilledBetweenCallsIsStartedAnew(t *testing.T) {
	_, s := openTalker(t, resources.Coprocess{})
	pid := askPID(t, s, "pid")
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	require.Eventually(t, dead(pid), 5*time.Second, time.Millisecond)
	// Only a call that comes before its end is known here may fail.
	assert.Eventually(t, func() bool {
		got, err := s.Ask(t.Context(), "pid")
		return err == nil && got != strconv.Itoa(pid)
	}, 5*time.Second, 10*time.Millisecond)
}

func TestCoprocessThatSpeaksUnaskedIsNotBelieved(t *testing.T) {
	_, s := openTalker(t, resources.Coprocess{})
	assert.Equal(t, "a", told(t, s, "twice a"))
	time.Sleep(50 * time.Millisecond) // until its second line has come
	assert.Equal(t, "b", told(t, s, "b"))
}

func TestCoprocessReplyHasALimit(t *testing.T) {
	_, s := openTalker(t, resources.Coprocess{ReplyMaxBytes: 1000})
	_, err := s.Ask(t.Context(), "long")
	var large *resources.TooLargeError
	require.ErrorAs(t, err, &large)
	assert.EqualValues(t, 1000, large.MaxBytes)
	assert.Equal(t, "b", told(t, s, "b"))
}

func TestCoprocessThatDoesNotReadHoldsNobody(t *testing.T) {
	_, s := openTalker(t, resources.Coprocess{Command: resources.Command{Path: "/bin/sleep", Args: []string{"60"}}})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	plain := resourcetest.PlainTimer(200 * time.Millisecond)
	start := time.Now()
	_, err := s.Ask(ctx, strings.Repeat("x", 1<<20))
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(start)-200*time.Millisecond, <-plain+time.Second)
}

func TestCoprocessThatIsDeafGoesByForce(t *testing.T) {
	_, s := openTalker(t, resources.Coprocess{})
	pid := askPID(t, s, "pid")
	assert.Equal(t, "ok", told(t, s, "deaf"))
	start := time.Now()
	require.NoError(t, s.Close())
	assert.GreaterOrEqual(t, time.Since(start), timeoutpolicy.DefaultGrace, "it was asked first")
	assert.True(t, dead(pid)())
}

func TestCoprocessBadInputIsRefused(t *testing.T) {
	_, s := openTalker(t, resources.Coprocess{})
	_, err := s.Ask(t.Context(), "a\nb")
	assert.EqualError(t, err, "coprocess: line: holds the delimiter")
	_, err = resources.Coprocess{Command: resources.Command{Path: "x", Stdin: []byte("y")}}.Spec()
	assert.EqualError(t, err, "coprocess: Command.Stdin: is the session's")
	_, err = resources.Coprocess{}.Spec()
	assert.ErrorContains(t, err, "coprocess: Command.Path: ")
	_, err = resources.Coprocess{Command: resources.Command{Path: "x"}, ReplyMaxBytes: -1}.Spec()
	assert.EqualError(t, err, "coprocess: ReplyMaxBytes: is negative")
}
