//go:build unix

package resources_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
	"curfew.example/timeoutpolicy"
)

// commandBudget is long enough for anything that ends by itself.
var commandBudget = timeoutpolicy.Budget{Limit: 20 * time.Second}

func commandRun(t *testing.T, c resources.Command, b timeoutpolicy.Budget) (*resources.CommandResult, resourcetest.End) {
	t.Helper()
	c.Containment = cmp.Or(c.Containment, commandContainment)
	_, err := c.Spec()
	require.NoError(t, err)
	end := resourcetest.Drive(t.Context(), resources.Of(c), b, nil)
	require.True(t, end.Back, "the runner came back")
	require.Empty(t, end.Report.Left(), "nothing is left")
	res, _ := end.Value.(*resources.CommandResult)
	return res, end
}

// commandContainment is what tests that do not care demand; empty is the best there is. One
// test sets it for others that it runs.
var commandContainment string

func commandShell(script string) resources.Command {
	return resources.Command{Path: "/bin/sh", Args: []string{"-c", script}}
}

func commandChild(name string) resources.Command {
	exe, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return resources.Command{Path: exe, Env: []string{testChildEnv + "=" + name, commandQuickExit}}
}

// commandQuickExit takes away the second that the race detector sleeps before an exit.
const commandQuickExit = "GORACE=atexit_sleep_ms=0"

// commandOnTime drives c and asserts that all was over between due and due plus 50 ms after
// the deadline, beside what a plain timer is late at the same time. As a busy machine also
// delays programs that start and die, one in three tries is enough.
func commandOnTime(t *testing.T, c resources.Command, b timeoutpolicy.Budget, due time.Duration) (*resources.CommandResult, resourcetest.End) {
	t.Helper()
	for try := 1; ; try++ {
		slack := commandSlack()
		res, end := commandReady(t, c, b)
		require.True(t, end.Aborted)
		require.GreaterOrEqual(t, end.Late, due)
		if most := due + slack(); end.Late < most || try == 3 {
			require.Less(t, end.Late, most)
			return res, end
		}
	}
}

// commandReady is commandRun with a limit in which a command that says ready has said so: where
// the machine is too slow for that, the limit is doubled.
func commandReady(t *testing.T, c resources.Command, b timeoutpolicy.Budget) (*resources.CommandResult, resourcetest.End) {
	t.Helper()
	for try := 1; ; try++ {
		res, end := commandRun(t, c, b)
		says := slices.Contains(c.Env, commandQuickExit) || strings.Contains(strings.Join(c.Args, " "), "echo ready")
		if !says || try == 4 || res != nil && len(res.Stdout) > 0 {
			return res, end
		}
		b.Limit *= 2
	}
}

// commandSlack is what an answer may be late: 50 ms beside what a plain timer is, which is
// measured by the function that is returned.
func commandSlack() func() time.Duration {
	start, fired := time.Now(), make(chan time.Duration, 1)
	const d = 20 * time.Millisecond
	time.AfterFunc(d, func() { fired <- time.Since(start) - d })
	return func() time.Duration { return 50*time.Millisecond + <-fired }
}

// commandDies waits until a process that is not our child has gone, or is a zombie of
// somebody else.
func commandDies(t *testing.T, pid int) {
	t.Helper()
	assert.Eventually(t, func() bool { return !commandAlive(pid) }, 5*time.Second, time.Millisecond)
}

func commandAlive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err == nil {
		_, rest, _ := strings.Cut(string(stat), ") ")
		return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
	}
	return syscall.Kill(pid, 0) == nil
}

func commandPID(t *testing.T, out []byte) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	require.NoError(t, err)
	require.Greater(t, pid, 1)
	return pid
}

func TestCommandReturnsBothOutputs(t *testing.T) {
	res, end := commandRun(t, commandShell("echo out; echo err >&2"), commandBudget)
	require.NoError(t, end.Err)
	assert.Equal(t, "out\n", string(res.Stdout))
	assert.Equal(t, "err\n", string(res.Stderr))
	assert.Zero(t, res.ExitCode)
	assert.NotZero(t, res.PID)
	assert.Contains(t, []string{"guard", "runtime"}, res.Watchdog)
	assert.Equal(t, 1, res.Seen)
	assert.Zero(t, res.Killed+res.Left)
	assert.False(t, res.Truncated)
	assert.Positive(t, res.MaxRSSBytes)
	assert.Empty(t, end.Report.Released, "what has gone by itself is not held")
}

func TestCommandExitCodeComesWithTheResult(t *testing.T) {
	res, end := commandRun(t, commandShell("echo kept; echo why >&2; exit 3"), commandBudget)
	var exit *resources.ExitError
	require.ErrorAs(t, end.Err, &exit)
	assert.Equal(t, &resources.ExitError{Target: "sh", Code: 3, Stderr: []byte("why\n")}, exit)
	assert.Equal(t, 3, res.ExitCode)
	assert.Equal(t, "kept\n", string(res.Stdout))
	assert.Equal(t, "sh: exit status 3", exit.Error())
}

func TestCommandSignalIsNamed(t *testing.T) {
	res, end := commandRun(t, commandShell("kill -USR1 $$"), commandBudget)
	var exit *resources.ExitError
	require.ErrorAs(t, end.Err, &exit)
	assert.Equal(t, "USR1", exit.Signal)
	assert.Equal(t, -1, exit.Code)
	assert.Equal(t, "USR1", res.Signal)
}

func TestCommandThatIsMissingIsNotFound(t *testing.T) {
	t.Setenv("PATH", "/usr/bin:/bin") // all of it may be searched
	res, end := commandRun(t, resources.Command{Path: "curfew-no-such-program"}, commandBudget)
	assert.Nil(t, res)
	assert.ErrorIs(t, end.Err, exec.ErrNotFound)

	_, end = commandRun(t, resources.Command{Path: filepath.Join(t.TempDir(), "secret", "x")}, commandBudget)
	assert.ErrorIs(t, end.Err, fs.ErrNotExist)
	assert.NotContains(t, end.Err.Error(), "secret")
	var start *resources.StartError
	require.ErrorAs(t, end.Err, &start)
	assert.Equal(t, "x", start.Target)
}

func TestCommandThatMayNotBeExecutedIsAPermissionError(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "plain"), []byte("#!/bin/sh\n"), 0o644))
	t.Setenv("PATH", dir)
	for _, path := range []string{filepath.Join(dir, "plain"), dir, "plain", ".", "/"} {
		_, end := commandRun(t, resources.Command{Path: path}, commandBudget)
		assert.ErrorIs(t, end.Err, fs.ErrPermission, path)
	}
}

func TestCommandLookUpGoesOnAfterAFileThatMayNotBeExecuted(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(first, "tool"), nil, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(second, "tool"), []byte("#!/bin/sh\necho second \"$1\"\n"), 0o755))
	t.Setenv("PATH", first+":/nonexistent:"+second)
	res, end := commandRun(t, resources.Command{Path: "tool", Args: []string{"a b"}}, commandBudget)
	require.NoError(t, end.Err)
	assert.Equal(t, "second a b\n", string(res.Stdout))
}

func TestCommandIsNotTakenFromARelativePath(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tool"), []byte("#!/bin/sh\n"), 0o755))
	t.Chdir(dir)
	t.Setenv("PATH", "")
	_, end := commandRun(t, resources.Command{Path: "tool"}, commandBudget)
	assert.ErrorIs(t, end.Err, exec.ErrNotFound)
	t.Setenv("PATH", ".")
	_, end = commandRun(t, resources.Command{Path: "tool"}, commandBudget)
	assert.ErrorIs(t, end.Err, exec.ErrDot)
}

func TestCommandEnvironmentIsAddedOrAlone(t *testing.T) {
	t.Setenv("CURFEW_TEST_A", "ours")
	c := commandShell(`echo "$CURFEW_TEST_A $CURFEW_TEST_B"`)
	c.Env = []string{"CURFEW_TEST_B=theirs"}
	res, end := commandRun(t, c, commandBudget)
	require.NoError(t, end.Err)
	assert.Equal(t, "ours theirs\n", string(res.Stdout))
	c.Env = append(c.Env, "CURFEW_TEST_A=wins")
	res, end = commandRun(t, c, commandBudget)
	require.NoError(t, end.Err)
	assert.Equal(t, "wins theirs\n", string(res.Stdout))
	c.Env = c.Env[:1]
	c.CleanEnv = true
	res, end = commandRun(t, c, commandBudget)
	require.NoError(t, end.Err)
	assert.Equal(t, " theirs\n", string(res.Stdout))
}

func TestCommandRunsInItsDirectory(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	c := commandShell("pwd")
	c.Dir = dir
	res, end := commandRun(t, c, commandBudget)
	require.NoError(t, end.Err)
	assert.Equal(t, dir+"\n", string(res.Stdout))

	c.Dir = filepath.Join(dir, "missing")
	_, end = commandRun(t, c, commandBudget)
	assert.ErrorIs(t, end.Err, fs.ErrNotExist)
	assert.ErrorContains(t, end.Err, "working directory")
	assert.NotErrorIs(t, end.Err, exec.ErrNotFound)
}

func TestCommandReadsItsInput(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789abcdef"), 32<<10)
	res, end := commandRun(t, resources.Command{Path: "cat", Stdin: big}, commandBudget)
	require.NoError(t, end.Err)
	assert.Equal(t, big, res.Stdout)

	res, end = commandRun(t, resources.Command{Path: "cat", StdinFrom: strings.NewReader("from")}, commandBudget)
	require.NoError(t, end.Err)
	assert.Equal(t, "from", string(res.Stdout))

	res, end = commandRun(t, resources.Command{Path: "cat"}, commandBudget)
	require.NoError(t, end.Err)
	assert.Empty(t, res.Stdout)
}

func TestCommandThatDoesNotReadItsInputHoldsNobodyUp(t *testing.T) {
	c := commandShell("exit 0")
	c.Stdin = make([]byte, 4<<20)
	_, end := commandRun(t, c, commandBudget)
	require.NoError(t, end.Err)

	c = commandShell("sleep 60")
	c.Stdin = make([]byte, 4<<20)
	commandOnTime(t, c, timeoutpolicy.Budget{Limit: 100 * time.Millisecond}, 0)
}

func TestCommandSourceThatBlocksIsClosedAtTheEnd(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	c := commandShell("exit 0")
	c.StdinFrom = r
	_, end := commandRun(t, c, commandBudget)
	require.NoError(t, end.Err)
	_, err := w.Write([]byte("x"))
	assert.ErrorIs(t, err, io.ErrClosedPipe)
}

// commandStuckReader blocks until it is let go, and cannot be closed.
type commandStuckReader chan struct{}

func (r commandStuckReader) Read([]byte) (int, error) {
	<-r
	return 0, io.EOF
}

func TestCommandSourceThatCannotBeStoppedIsALeftover(t *testing.T) {
	stuck := make(commandStuckReader)
	c := commandShell("echo done")
	c.StdinFrom = stuck
	end := resourcetest.Drive(t.Context(), resources.Of(c), timeoutpolicy.Budget{
		Limit: 20 * time.Second, Grace: 20 * time.Millisecond, Force: 20 * time.Millisecond,
	}, nil)
	require.NoError(t, end.Err)
	assert.Equal(t, "done\n", string(end.Value.(*resources.CommandResult).Stdout))
	require.Len(t, end.Report.Left(), 1)
	assert.Equal(t, "standard input of sh", end.Report.Left()[0].What)
	close(stuck)
	<-end.Report.Remains[0].Gone
}

func TestCommandSourceThatFailsIsAnError(t *testing.T) {
	mine := errors.New("mine")
	c := resources.Command{Path: "cat", StdinFrom: io.MultiReader(strings.NewReader("some"), commandFailing{mine})}
	res, end := commandRun(t, c, commandBudget)
	assert.ErrorIs(t, end.Err, mine)
	assert.Nil(t, res)
}

// commandFailing reads and writes an error.
type commandFailing struct{ err error }

func (f commandFailing) Read([]byte) (int, error)  { return 0, f.err }
func (f commandFailing) Write([]byte) (int, error) { return 0, f.err }

func TestCommandOutputBeyondItsLimitIsCountedAndDropped(t *testing.T) {
	c := commandShell("head -c 3000000 /dev/zero; echo end >&2")
	c.OutputMaxBytes = 1000
	res, end := commandRun(t, c, commandBudget)
	require.NoError(t, end.Err)
	assert.Len(t, res.Stdout, 1000)
	assert.EqualValues(t, 3000000-1000, res.StdoutDropped)
	assert.True(t, res.Truncated)
	assert.Equal(t, "end\n", string(res.Stderr))
	assert.Zero(t, res.StderrDropped)

	c.OutputMaxBytes = 0
	res, _ = commandRun(t, c, commandBudget)
	assert.Len(t, res.Stdout, resources.DefaultOutputMaxBytes)
}

func TestCommandWriterThatBlocksIsWokenWhenTimeIsOver(t *testing.T) {
	for name, script := range map[string]string{
		"out of time":     "echo out; sleep 60",
		"ended by itself": "echo out; exit 3",
	} {
		unread, w := net.Pipe()
		c := commandShell(script)
		c.Stdout = w
		res, end := commandRun(t, c, timeoutpolicy.Budget{Limit: 500 * time.Millisecond})
		assert.True(t, end.Aborted, name)
		require.NotNil(t, res, name)
		assert.Zero(t, res.Left, name)
		if name == "ended by itself" {
			assert.Equal(t, 3, res.ExitCode)
		}

		// The writer is as it was.
		go func() { _, _ = w.Write([]byte("x")) }() // ends with the Read
		_, err := unread.Read(make([]byte, 1))
		assert.NoError(t, err, name)
		assert.NoError(t, errors.Join(unread.Close(), w.Close()))
	}
}

func TestCommandStreamsAsItComes(t *testing.T) {
	r, w := io.Pipe()
	defer r.Close()
	c := commandShell("echo first; read answer; echo $answer")
	stdin, answer := io.Pipe()
	c.Stdout, c.StdinFrom = w, stdin
	seen := make(chan string, 1)
	// Ends when both lines have been read; the test waits for seen.
	go func() {
		buf := make([]byte, 64)
		n, _ := r.Read(buf)
		_, _ = answer.Write([]byte("second\n"))
		m, _ := r.Read(buf[n:])
		seen <- string(buf[:n+m])
	}()
	res, end := commandRun(t, c, commandBudget)
	require.NoError(t, end.Err)
	assert.Nil(t, res.Stdout)
	assert.Equal(t, "first\nsecond\n", <-seen)
}

func TestCommandOneWriterForBothOutputs(t *testing.T) {
	var both bytes.Buffer
	c := commandShell("echo a; echo b >&2; echo c; exit 4")
	c.Stdout, c.Stderr = &both, &both
	_, end := commandRun(t, c, commandBudget)
	var exit *resources.ExitError
	require.ErrorAs(t, end.Err, &exit)
	assert.Equal(t, "a\nb\nc\n", both.String())
}

func TestCommandFilesAreHandedOverAsTheyAre(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "out")
	require.NoError(t, err)
	defer file.Close()
	in, err := os.Open("/dev/null")
	require.NoError(t, err)
	defer in.Close()
	c := commandShell("echo out; cat; echo err >&2")
	c.StdinFrom, c.Stdout, c.Stderr = in, file, file
	res, end := commandRun(t, c, commandBudget)
	require.NoError(t, end.Err)
	assert.Nil(t, res.Stdout)
	content, err := os.ReadFile(file.Name())
	require.NoError(t, err)
	assert.Equal(t, "out\nerr\n", string(content))
}

func TestCommandWriterThatFailsIsAnError(t *testing.T) {
	mine := errors.New("mine")
	c := commandShell("trap '' PIPE; echo x; exit 0")
	c.Stdout = commandFailing{mine}
	res, end := commandRun(t, c, commandBudget)
	assert.ErrorIs(t, end.Err, mine)
	assert.Nil(t, res)
}

// commandPanics panics when it is written to.
type commandPanics struct{}

func (commandPanics) Write([]byte) (int, error) { panic("writer") }

func TestCommandWriterThatPanicsIsContained(t *testing.T) {
	c := commandShell("echo x; exit 0")
	c.Stdout = commandPanics{}
	_, end := commandRun(t, c, commandBudget)
	var panicked *resources.Panicked
	require.ErrorAs(t, end.Err, &panicked)
	assert.Equal(t, "writer", panicked.Value)
}

func TestCommandOutputIsProgress(t *testing.T) {
	var keeper resources.Keeper
	held := keeper.Begin(nil)
	before := time.Now()
	_, err := commandShell("sleep 0.05; echo x").Run(t.Context(), held)
	require.NoError(t, err)
	assert.False(t, keeper.Seal(false))
	assert.Greater(t, keeper.Moved().Sub(before), 40*time.Millisecond)
	assert.False(t, keeper.Opened().IsZero())
}

func TestCommandExpiryKeepsPartialOutput(t *testing.T) {
	res, end := commandOnTime(t, commandShell("echo partial; sleep 60"), timeoutpolicy.Budget{Limit: 500 * time.Millisecond}, 0)
	assert.ErrorIs(t, end.Err, context.DeadlineExceeded)
	assert.Equal(t, "partial\n", string(res.Stdout))
	assert.Equal(t, "TERM", res.Signal)
	assert.Equal(t, -1, res.ExitCode)
	assert.GreaterOrEqual(t, res.Killed, 1)
	assert.Zero(t, res.Left)
	require.Len(t, end.Report.Released, 2)
	assert.Equal(t, "process sh", end.Report.Released[0].What)
	assert.Equal(t, res.Mechanism, end.Report.Released[0].How)
}

func TestCommandIsCancelled(t *testing.T) {
	mine := errors.New("mine")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { cancel(mine) })
	end := resourcetest.Drive(ctx, resources.Of(commandShell("sleep 60")), commandBudget, nil)
	require.True(t, end.Back)
	assert.ErrorIs(t, end.Err, mine)
	assert.Empty(t, end.Report.Left())
	assert.Less(t, end.Report.Took, time.Second)
}

func TestCommandThatIgnoresTermIsKilledAfterItsGrace(t *testing.T) {
	const grace = 150 * time.Millisecond
	res, end := commandOnTime(t, commandChild("command-deaf"), timeoutpolicy.Budget{Limit: 300 * time.Millisecond, Grace: grace}, grace)
	assert.Equal(t, "ready\n", string(res.Stdout))
	assert.Equal(t, "KILL", res.Signal)
	assert.Contains(t, end.Report.Released[0].How, " by force")
}

func TestCommandLadderIsClimbedInOrder(t *testing.T) {
	c := commandChild("command-signals")
	c.Ladder = []resources.Step{{Signal: "INT", Wait: 60 * time.Millisecond}, {Signal: "TERM", Wait: 60 * time.Millisecond}, {Signal: "HUP"}}
	res, end := commandOnTime(t, c, timeoutpolicy.Budget{Limit: 300 * time.Millisecond, Grace: 5 * time.Second}, 120*time.Millisecond)
	assert.Equal(t, "ready\ninterrupt\nterminated\nhangup\n", string(res.Stdout))
	assert.Equal(t, 7, res.ExitCode)
	assert.ErrorIs(t, end.Err, context.DeadlineExceeded)
}

func TestCommandThatIsStoppedStillEnds(t *testing.T) {
	commandOnTime(t, commandShell("kill -STOP $$"), timeoutpolicy.Budget{Limit: 100 * time.Millisecond}, 0)
}

func TestCommandBackgroundIsKilledAfterTheEnd(t *testing.T) {
	start := time.Now()
	res, end := commandRun(t, commandShell("sleep 60 & echo $!"), commandBudget)
	require.NoError(t, end.Err)
	assert.Less(t, time.Since(start), 5*time.Second, "a grandchild that holds the pipe holds nobody up")
	assert.False(t, res.PipeHeld)
	pid := commandPID(t, res.Stdout)
	assert.False(t, commandAlive(pid))
}

func TestCommandBackgroundIsLeftWhenAsked(t *testing.T) {
	start := time.Now()
	c := commandShell("sleep 60 & echo $!")
	c.LeaveBackground = true
	res, end := commandRun(t, c, commandBudget)
	require.NoError(t, end.Err)
	assert.Less(t, time.Since(start), 5*time.Second)
	assert.True(t, res.PipeHeld)
	assert.Zero(t, res.Killed+res.Left)
	pid := commandPID(t, res.Stdout)
	assert.True(t, commandAlive(pid))
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	commandDies(t, pid)
}

func TestCommandIsNotStartedWhenTheTimeIsOver(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "mark")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var keeper resources.Keeper
	_, err := commandShell("touch "+mark).Run(ctx, keeper.Begin(nil))
	assert.ErrorIs(t, err, context.Canceled)
	keeper.Seal(true)
	assert.NoFileExists(t, mark)

	keeper = resources.Keeper{}
	held := keeper.Begin(nil)
	keeper.Seal(true)
	_, err = commandShell("touch "+mark).Run(t.Context(), held)
	assert.ErrorIs(t, err, resources.ErrSealed)
	assert.NoFileExists(t, mark)
}

func TestCommandInTheForegroundKeepsTheGroup(t *testing.T) {
	c := commandShell("ps -o pgid= -p $$")
	if _, err := exec.LookPath("ps"); err != nil {
		t.Skip("needs the program ps")
	}
	c.Foreground = true
	res, end := commandRun(t, c, commandBudget)
	require.NoError(t, end.Err)
	assert.Equal(t, syscall.Getpgrp(), commandPID(t, res.Stdout))

	c = commandShell("sleep 60")
	c.Foreground = true
	commandOnTime(t, c, timeoutpolicy.Budget{Limit: 100 * time.Millisecond}, 0)
}

func TestCommandErrorsHoldNoArguments(t *testing.T) {
	for _, c := range []resources.Command{
		{Path: "sh", Args: []string{"-c", "exit 1", "hunter2"}, Env: []string{"PW=hunter2"}},
		{Path: "curfew-no-such-program", Args: []string{"hunter2"}},
		{Path: "sleep", Args: []string{"60"}, Env: []string{"PW=hunter2"}},
	} {
		_, end := commandRun(t, c, timeoutpolicy.Budget{Limit: 100 * time.Millisecond})
		require.Error(t, end.Err)
		assert.NotContains(t, end.Err.Error(), "hunter2")
		for _, r := range end.Report.Released {
			assert.NotContains(t, r.What+r.How, "hunter2")
		}
	}
}
