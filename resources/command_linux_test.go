package resources_test

import (
	"os"
	"os/exec"
	"path/filepath"
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
	"curfew.example/timeoutpolicy"
)

// commandDescriptors counts the descriptors of this process.
func commandDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}

// commandZombies lists the children of this process that have ended and not been reaped.
func commandZombies(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/self/task/*/children")
	require.NoError(t, err)
	require.NotEmpty(t, files, "the kernel says which children there are")
	var zombies []string
	for _, f := range files {
		list, _ := os.ReadFile(f)
		for _, pid := range strings.Fields(string(list)) {
			if n, err := strconv.Atoi(pid); err == nil && !commandAlive(n) {
				zombies = append(zombies, pid)
			}
		}
	}
	return zombies
}

func commandNeedsSetsid(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("needs the program setsid")
	}
}

func TestCommandLeavesNothingBehind(t *testing.T) {
	commandRun(t, commandShell("exit 0"), commandBudget) // the poller has descriptors of its own
	before := commandDescriptors(t)
	for range 5 {
		commandRun(t, commandShell("sleep 60 & echo $!"), commandBudget)
		commandRun(t, commandShell("sleep 60"), timeoutpolicy.Budget{Limit: 30 * time.Millisecond})
		commandRun(t, resources.Command{Path: "curfew-no-such-program", Stdin: []byte("x")}, commandBudget)
		commandRun(t, resources.Command{Path: "cat", Stdin: []byte("x")}, commandBudget)
	}
	assert.Equal(t, before, commandDescriptors(t))
	assert.Empty(t, commandZombies(t))
}

func TestCommandExpiryWhileStartingLeavesNothing(t *testing.T) {
	commandNeedsSetsid(t)
	commandRun(t, commandShell("exit 0"), commandBudget) // the poller has descriptors of its own
	before := commandDescriptors(t)
	const many = 40
	punctual := 0
	for i := range many {
		slack := commandSlack()
		c := commandShell("sleep 60 & setsid sleep 60 & sleep 60")
		c.Stdin = make([]byte, 1<<20)
		_, end := commandRun(t, c, timeoutpolicy.Budget{Limit: time.Duration(i) * 75 * time.Microsecond})
		assert.True(t, end.Aborted || end.Err != nil)
		// Its grace would be over then: a signal would have been missed.
		assert.Less(t, end.Late, timeoutpolicy.DefaultGrace, "released %+v", end.Report.Released)
		if end.Late < slack() {
			punctual++
		}
	}
	assert.Greater(t, punctual, many/4, "a busy machine may delay some")
	assert.Equal(t, before, commandDescriptors(t))
	assert.Empty(t, commandZombies(t))
}

func TestCommandDescendantInItsOwnSessionIsKilled(t *testing.T) {
	commandNeedsSetsid(t)
	c := commandShell("setsid sleep 60 & echo $!; sleep 60")
	c.Containment = "group"
	res, _ := commandOnTime(t, c, timeoutpolicy.Budget{Limit: 100 * time.Millisecond}, 0)
	assert.Equal(t, "group+children", res.Mechanism)
	assert.False(t, commandAlive(commandPID(t, res.Stdout)))
	assert.Equal(t, 3, res.Seen)
	assert.Equal(t, 3, res.Killed)
	assert.False(t, res.PipeHeld)
}

func TestCommandOrphanThatWasSeenIsKilled(t *testing.T) {
	commandNeedsSetsid(t)
	script := `setsid sh -c 'sleep 60 & echo $!; exec sleep 0.2' & sleep 60`
	res, end := commandRun(t, commandShell(script), timeoutpolicy.Budget{Limit: 500 * time.Millisecond})
	require.True(t, end.Aborted)
	pid := commandPID(t, res.Stdout)
	assert.False(t, commandAlive(pid))
	assert.False(t, res.PipeHeld)
}

func TestCommandSessionThatWasSeenIsKilledAfterASuccess(t *testing.T) {
	commandNeedsSetsid(t)
	res, end := commandRun(t, commandShell("setsid sleep 60 & echo $!; sleep 0.2"), commandBudget)
	require.NoError(t, end.Err)
	assert.False(t, commandAlive(commandPID(t, res.Stdout)))
	assert.Equal(t, 1, res.Killed)
}

func TestCommandThatEscapesHoldsNobodyUpAndIsNoticed(t *testing.T) {
	commandNeedsSetsid(t)
	start := time.Now()
	// Its parent has gone before the tree is first looked at, unless the machine is slow.
	c := commandShell("setsid sh -c 'sleep 60 & echo $!'")
	c.Containment = "group" // whatever is better lets nobody escape
	res, end := commandRun(t, c, commandBudget)
	require.NoError(t, end.Err)
	assert.Less(t, time.Since(start), 5*time.Second)
	pid := commandPID(t, res.Stdout)
	if commandAlive(pid) {
		assert.True(t, res.PipeHeld)
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	}
	commandDies(t, pid)
}

func TestCommandRestOfAPipelineHasItsGrace(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	c := commandShell(`"$EXE" & wait`)
	c.Env = []string{"EXE=" + exe, testChildEnv + "=command-slow", commandQuickExit}
	res, end := commandReady(t, c, timeoutpolicy.Budget{Limit: 300 * time.Millisecond, Grace: 5 * time.Second})
	require.True(t, end.Aborted)
	assert.Equal(t, "ready\nbye\n", string(res.Stdout))
	assert.Equal(t, "TERM", res.Signal, "the shell went at once")
	assert.GreaterOrEqual(t, end.Late, 150*time.Millisecond)
	assert.Less(t, end.Late, time.Second)
	assert.Equal(t, res.Mechanism, end.Report.Released[0].How)
}

func TestCommandOrphanInTheGroupIsWaitedForAndForced(t *testing.T) {
	script := `( (trap '' TERM; exec sleep 60) & echo $! ); exec sleep 60`
	res, end := commandOnTime(t, commandShell(script), timeoutpolicy.Budget{Limit: 100 * time.Millisecond, Grace: 100 * time.Millisecond}, 100*time.Millisecond)
	assert.Contains(t, end.Report.Released[0].How, " by force")
	assert.Equal(t, "TERM", res.Signal)
	assert.False(t, commandAlive(commandPID(t, res.Stdout)))
	assert.Equal(t, 2, res.Killed)
}

func TestCommandInTheForegroundReachesItsTree(t *testing.T) {
	c := commandShell("sleep 60 & echo $!; sleep 60")
	c.Foreground, c.Containment = true, "group"
	res, _ := commandOnTime(t, c, timeoutpolicy.Budget{Limit: 100 * time.Millisecond}, 0)
	assert.Equal(t, "children", res.Mechanism)
	assert.False(t, commandAlive(commandPID(t, res.Stdout)))
}

func TestCommandForcedLeavesNobodyOfADeafTree(t *testing.T) {
	commandNeedsSetsid(t)
	script := `trap '' TERM; setsid sh -c 'trap "" TERM; echo ready; while :; do sleep 0.02; done' & while :; do sleep 0.02; done`
	res, end := commandOnTime(t, commandShell(script), timeoutpolicy.Budget{Limit: 100 * time.Millisecond, Grace: 100 * time.Millisecond}, 100*time.Millisecond)
	assert.Contains(t, end.Report.Released[0].How, " by force")
	assert.GreaterOrEqual(t, res.Killed, 2)
	assert.Zero(t, res.Left)
}

func TestCommandsThatWaitCostNoThreads(t *testing.T) {
	threads := func() int {
		entries, err := os.ReadDir("/proc/self/task")
		require.NoError(t, err)
		return len(entries)
	}
	before := threads()
	const many = 40
	var wg sync.WaitGroup
	var ends sync.Map
	for i := range many {
		// The test waits for wg.
		wg.Go(func() {
			end := resourcetest.Drive(t.Context(), resources.Of(commandShell("exec sleep 60")), timeoutpolicy.Budget{Limit: 2 * time.Second, Grace: 10 * time.Second}, nil)
			ends.Store(i, end)
		})
	}
	most := 0
	stop := time.After(1800 * time.Millisecond)
sample:
	for {
		select {
		case <-stop:
			break sample
		case <-time.After(100 * time.Millisecond):
			most = max(most, threads())
		}
	}
	wg.Wait()
	assert.Less(t, most-before, many/2, "threads beside %d", before)
	ends.Range(func(_, v any) bool {
		end := v.(resourcetest.End)
		assert.True(t, end.Back)
		assert.True(t, end.Aborted, "it has waited all the time: %v", end.Err)
		assert.Empty(t, end.Report.Left())
		return true
	})
}

func TestParseSignalReadsRealTimeSignals(t *testing.T) {
	for s, want := range map[string]syscall.Signal{"RTMIN": 34, "RTMIN+1": 35, "SIGRTMAX-2": 62, "rtmax": 64} {
		got, err := resources.ParseSignal(s)
		require.NoError(t, err, s)
		assert.Equal(t, want, got, s)
	}
	assert.Equal(t, "RTMIN+1", resources.SignalName(35))
}

func TestWhatIsLeftOfACommandIsNamed(t *testing.T) {
	left, kill, err := resources.GroupOf(exec.Command("/bin/sh", "-c", "sleep 60 & exec sleep 60"))
	require.NoError(t, err)
	defer kill()
	require.Eventually(t, func() bool { return len(left()) == 2 && left()[0].What == "process sleep" }, 5*time.Second, 5*time.Millisecond)
	for _, l := range left() {
		assert.Equal(t, "has not ended", l.Why)
		assert.True(t, commandAlive(l.PID))
		assert.Regexp(t, `^\d+ ticks after boot$`, l.Start)
		assert.Regexp(t, `^[A-Z]$`, l.State)
	}
	kill()
	assert.Empty(t, left())
}

// A look at hundreds of processes takes tens of milliseconds where the processors are busy. A
// signal that is due does not wait for it.
func TestALookMakesWayForWhoWantsTheTree(t *testing.T) {
	if !commandCanHave(t, "guard") {
		t.Skip("needs /proc and pidfds")
	}
	var pids []int
	for range 3 {
		cmd := exec.Command("sleep", "1000")
		require.NoError(t, cmd.Start())
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		pids = append(pids, cmd.Process.Pid)
	}
	assert.Equal(t, 2, resources.LookWanted(pids, false))
	assert.Zero(t, resources.LookWanted(pids, true))

	broken, whole, err := resources.GoneWanted(exec.Command("true"))
	require.NoError(t, err)
	assert.False(t, broken, "a look that was broken off proves nothing")
	assert.True(t, whole)
}

// One that has left the cgroup is followed, also while others are in that.
func TestTreeOutsideOfABoxIsLookedAtWhileThereIsOneInIt(t *testing.T) {
	if !commandCanHave(t, "guard") {
		t.Skip("needs /proc and pidfds")
	}
	commandNeedsSetsid(t)
	in, asks, err := os.Pipe()
	require.NoError(t, err)
	says, out, err := os.Pipe()
	require.NoError(t, err)
	defer says.Close()
	cmd := exec.Command("sh", "-c", `exec 3<&0; setsid sh -c 'read ask; setsid sleep 1000 & echo $!; read ask' <&3 & exec sleep 1000`)
	cmd.Stdin, cmd.Stdout = in, out
	populated := true
	seen, gone, kill, err := resources.BoxedGroup(cmd, func() bool { return populated })
	require.NoError(t, err)
	_, _ = in.Close(), out.Close()
	assert.Eventually(t, func() bool { return seen() == 2 }, 5*time.Second, time.Millisecond)
	require.NoError(t, cmd.Process.Kill())

	_, _ = asks.WriteString("fork\n")
	buf := make([]byte, 32)
	n, err := says.Read(buf)
	require.NoError(t, err)
	orphan := commandPID(t, buf[:n])
	assert.Eventually(t, func() bool { return !gone() && seen() == 3 }, 5*time.Second, time.Millisecond)
	require.NoError(t, asks.Close()) // its parent ends
	populated = false
	kill()
	commandDies(t, orphan)
	assert.Eventually(t, gone, 5*time.Second, time.Millisecond)
}
