package resources_test

import (
	"context"
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/resources/guard"
	"curfew.example/resources/internal/cgroup"
	"curfew.example/resources/internal/proctree"
	"curfew.example/resources/resourcetest"
	"curfew.example/timeoutpolicy"
)

// freezer makes a group of the first version that stops all in it, in a way that SIGKILL
// does not end.
func freezer(t *testing.T) (freeze func(pid int), thaw func()) {
	t.Helper()
	dir, err := os.MkdirTemp("/sys/fs/cgroup/freezer", "curfew-test-")
	if err != nil {
		t.Skip("needs a freezer of cgroup version 1 that may be written: ", err)
	}
	write := func(file, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(text), 0))
	}
	thaw = func() { write("freezer.state", "THAWED") }
	t.Cleanup(func() {
		thaw()
		assert.Eventually(t, func() bool { return os.Remove(dir) == nil }, 5*time.Second, 5*time.Millisecond)
	})
	return func(pid int) {
		write("tasks", strconv.Itoa(pid))
		write("freezer.state", "FROZEN")
	}, thaw
}

func TestFrozenChildIsNamedAndCountedLater(t *testing.T) {
	freeze, thaw := freezer(t)
	for _, how := range []string{"cgroup+guard", "guard", "cgroup", "group"} {
		if !commandCanHave(t, how) {
			t.Log("not to be had here:", how)
			continue
		}
		t.Run(how, func(t *testing.T) {
			const grace, force = 100 * time.Millisecond, 300 * time.Millisecond
			r, w, err := os.Pipe()
			require.NoError(t, err)
			c := commandShell("sleep 100 & echo $!; wait")
			c.Containment, c.Stdout = how, w
			frozen := make(chan int, 1)
			// Ends when the child is frozen; received from below.
			go func() {
				defer r.Close()
				buf := make([]byte, 32)
				n, _ := r.Read(buf)
				pid, _ := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
				freeze(pid)
				frozen <- pid
			}()
			slack := commandSlack()
			end := resourcetest.Drive(t.Context(), resources.Of(c), timeoutpolicy.Budget{Limit: 500 * time.Millisecond, Grace: grace, Force: force}, nil)
			require.NoError(t, w.Close())
			pid := <-frozen
			require.True(t, end.Back, "it does not wait for the dead")
			assert.GreaterOrEqual(t, end.Late, grace)
			assert.Less(t, end.Late, grace+force+50*time.Millisecond+slack())
			left := end.Report.Left()
			require.Len(t, left, 1)
			assert.Equal(t, pid, left[0].PID)
			assert.Equal(t, "process sleep, started by sh", left[0].What)
			assert.NotEmpty(t, left[0].Start)
			assert.NotEmpty(t, left[0].State)
			assert.Equal(t, 1, end.Value.(*resources.CommandResult).Left)

			// Others do not notice.
			res, other := commandRun(t, commandShell("echo fine"), commandBudget)
			require.NoError(t, other.Err)
			assert.Equal(t, "fine\n", string(res.Stdout))

			thaw()
			assert.Eventually(t, func() bool { return end.Report.Remains[0].Retry() == nil }, 5*time.Second, 5*time.Millisecond)
			assert.False(t, commandAlive(pid))
		})
	}
}

func TestForceIsWaitedForAsLongAsTheBudgetSays(t *testing.T) {
	freeze, thaw := freezer(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	c := commandShell("sleep 100 & echo $!; wait")
	c.Stdout = w
	thawed := make(chan struct{})
	// Ends when the child, frozen at first, has been thawed; received from below.
	go func() {
		defer r.Close()
		defer close(thawed)
		buf := make([]byte, 32)
		n, _ := r.Read(buf)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
		freeze(pid)
		time.Sleep(1500 * time.Millisecond) // a second more than limit and grace
		thaw()
	}()
	end := resourcetest.Drive(t.Context(), resources.Of(c), timeoutpolicy.Budget{Limit: 300 * time.Millisecond, Grace: 100 * time.Millisecond, Force: 20 * time.Second}, nil)
	require.NoError(t, w.Close())
	<-thawed
	assert.Empty(t, end.Report.Left())
	assert.Greater(t, end.Late, time.Second, "the child was frozen")
	assert.Less(t, end.Late, 5*time.Second, "and no longer than it takes")
}

// guardOf finds the guard that is this process's child; if there is none, the test has failed.
func guardOf(t *testing.T) int {
	t.Helper()
	for _, pid := range proctree.Children(os.Getpid()) {
		if comm, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline"); strings.HasPrefix(string(comm), guard.Name) {
			return pid
		}
	}
	assert.Fail(t, "there is no guard")
	return math.MaxInt32 // no process has that number
}

// guardedWith runs a tree with one session of its own under a guard, meddles with that when
// the tree is up, and returns how it ended and the session's process.
func guardedWith(t *testing.T, how string, b timeoutpolicy.Budget, meddle func(guard int)) (resourcetest.End, int) {
	t.Helper()
	commandNeedsSetsid(t)
	if !commandCanHave(t, how) {
		t.Skip("not to be had here: ", how)
	}
	r, w, err := os.Pipe()
	require.NoError(t, err)
	c := commandShell("setsid sleep 60 & echo $!; sleep 60")
	c.Containment, c.Stdout = how, w
	session := make(chan int, 1)
	// Ends when the tree is up and has been meddled with; received from below.
	go func() {
		defer r.Close()
		buf := make([]byte, 32)
		n, _ := r.Read(buf)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(buf[:n])))
		time.Sleep(50 * time.Millisecond) // it has been seen by the runtime then
		meddle(guardOf(t))
		session <- pid
	}()
	end := resourcetest.Drive(t.Context(), resources.Of(c), b, nil)
	require.NoError(t, w.Close())
	return end, <-session
}

func TestGuardThatIsKilledTakesItsTreeAlong(t *testing.T) {
	for _, how := range []string{"cgroup+guard", "guard", "namespace+guard"} {
		t.Run(how, func(t *testing.T) {
			end, pid := guardedWith(t, how, commandBudget, func(guard int) { _ = syscall.Kill(guard, syscall.SIGKILL) })
			assert.ErrorContains(t, end.Err, "its guard has been ended from outside")
			assert.Empty(t, end.Report.Left())
			if how != "namespace+guard" {
				commandDies(t, pid)
			}
		})
	}
}

func TestGuardThatIsStoppedHoldsNobodyUp(t *testing.T) {
	for _, how := range []string{"cgroup+guard", "guard"} {
		t.Run(how, func(t *testing.T) {
			b := timeoutpolicy.Budget{Limit: 300 * time.Millisecond, Grace: 200 * time.Millisecond}
			stopped := false
			end, pid := guardedWith(t, how, b, func(guard int) { stopped = stop(guard) })
			assert.True(t, stopped, "the guard")
			assert.ErrorIs(t, end.Err, context.DeadlineExceeded)
			assert.Empty(t, end.Report.Left())
			assert.Less(t, end.Late, time.Second)
			assert.False(t, commandAlive(pid))
		})
	}
}

// stop stops a process, and reports whether it has stopped.
func stop(pid int) bool {
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	for end := time.Now().Add(100 * time.Millisecond); time.Now().Before(end); runtime.Gosched() {
		stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if strings.Contains(string(stat), ") T ") {
			return true
		}
	}
	return false
}

func TestGuardOfTheUsersChoice(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	c := commandShell("exit 4")
	c.Guard = exe
	res, _ := commandRun(t, c, commandBudget)
	assert.Equal(t, 4, res.ExitCode)
	assert.Equal(t, "guard", res.Watchdog)

	for _, wrong := range []string{"/bin/true", "/nonexistent/curfew", "/bin/cat"} {
		c.Guard = wrong
		_, end := commandRun(t, c, timeoutpolicy.Budget{Limit: 300 * time.Millisecond, Grace: 50 * time.Millisecond})
		assert.ErrorContains(t, end.Err, "", wrong)
		var exit *resources.ExitError
		assert.NotErrorAs(t, end.Err, &exit, wrong)
	}
}

func TestContainmentThatIsNotToBeHadIsAnError(t *testing.T) {
	c := commandShell("exit 0")
	for _, bad := range []resources.Command{
		{Path: "sh", Containment: "hope"},
		{Path: "sh", Containment: "namespace+guard", Foreground: true},
		{Path: "sh", Containment: "cgroup", LeaveBackground: true},
		{Path: "sh", Guard: "curfew"},
		{Path: "sh", FilesMax: -1},
	} {
		_, err := bad.Spec()
		var invalid *resources.Invalid
		assert.ErrorAs(t, err, &invalid, "%+v", bad)
	}
	if !commandCanHave(t, "cgroup") {
		c.Containment = "cgroup"
		_, end := commandRun(t, c, commandBudget)
		var start *resources.StartError
		assert.ErrorAs(t, end.Err, &start)
		assert.ErrorIs(t, end.Err, resources.ErrNotContained)
	}
}

// The error of a kernel that makes no namespace reads like one of the program's.
func TestNamespaceThatIsNotToBeHadIsNoFaultOfTheProgram(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), testChildEnv+"=contain-nowhere", commandQuickExit)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.Output()
	var start *os.PathError
	if errors.As(err, &start) {
		t.Skip("needs a namespace of users: ", err)
	}
	require.NoError(t, err)
	assert.Equal(t, "true start true: it cannot be contained as it should be: no namespace can be made: no space left on device\n", string(out))
}

func TestCommandLimitsHoldFromTheStart(t *testing.T) {
	for _, how := range []string{"guard", "cgroup+guard", "namespace+guard", "group"} {
		if !commandCanHave(t, how) {
			t.Log("not to be had here:", how)
			continue
		}
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			// Without a guard the limits come an instant after the start.
			c := commandShell("sleep 0.1; ulimit -n; ulimit -v; ulimit -t")
			c.Containment = how
			c.FilesMax, c.MemoryMaxBytes, c.CPUMax = 77, 512<<20, 1500*time.Millisecond
			res, end := commandRun(t, c, commandBudget)
			require.NoError(t, end.Err)
			assert.Equal(t, "77\n524288\n2\n", string(res.Stdout))

			c = commandShell("while :; do :; done")
			c.Containment, c.CPUMax = how, time.Second
			res, _ = commandRun(t, c, commandBudget)
			assert.Contains(t, []string{"XCPU", "KILL"}, res.Signal)

			missing := resources.Command{Path: "/nonexistent/x", FilesMax: 77, Containment: how}
			_, end = commandRun(t, missing, commandBudget)
			assert.ErrorIs(t, end.Err, os.ErrNotExist)
		})
	}
}

// What comes between the limit of memory and the program may ask for no memory of its own.
func TestMemoryLimitHoldsForLargeArgumentsAndSmallPrograms(t *testing.T) {
	for _, how := range []string{"guard", "cgroup+guard", "namespace+guard"} {
		if !commandCanHave(t, how) {
			t.Log("not to be had here:", how)
			continue
		}
		sizes := []int64{16 << 20, 64 << 20, 512 << 20}
		if raceEnabled {
			sizes = sizes[:1] // a start takes the detector's own memory, and most of a second
		}
		for _, most := range sizes {
			c := resources.Command{Path: "echo", Args: []string{"fine"}, Containment: how, MemoryMaxBytes: most}
			for i := range 5000 {
				c.Env = append(c.Env, "V"+strconv.Itoa(i)+"="+strings.Repeat("x", 200))
			}
			res, end := commandRun(t, c, commandBudget)
			require.NoError(t, end.Err)
			assert.Equal(t, "fine\n", string(res.Stdout))
			assert.Empty(t, string(res.Stderr))

			c.Path = "/nonexistent/x"
			_, end = commandRun(t, c, commandBudget)
			assert.ErrorIs(t, end.Err, os.ErrNotExist)
			c.Path = "/etc/passwd"
			_, end = commandRun(t, c, commandBudget)
			assert.ErrorIs(t, end.Err, os.ErrPermission)
		}
	}
}

// The limit of open files is the caller's own, which Go raises for itself.
func TestMemoryLimitLeavesTheOthersAsTheyWere(t *testing.T) {
	ask := commandShell("ulimit -Sn; ulimit -Hn")
	ask.Containment = "group"
	want, end := commandRun(t, ask, commandBudget)
	require.NoError(t, end.Err)
	ask.Containment, ask.MemoryMaxBytes = "guard", 512<<20
	got, end := commandRun(t, ask, commandBudget)
	require.NoError(t, end.Err)
	assert.Equal(t, string(want.Stdout), string(got.Stdout))
}

func TestStaleCgroupIsKilledAndRemovedAtTheNextStart(t *testing.T) {
	if !commandCanHave(t, "cgroup") {
		t.Skip("needs a cgroup of version 2 that may be written")
	}
	runtime, hold, cookie, _ := startRuntime(t, "cgroup", time.Minute)
	require.NoError(t, runtime.Process.Kill())
	_ = runtime.Wait()
	assert.NotEmpty(t, containSurvivors(cookie), "nobody watches over a cgroup without a guard")
	commandRun(t, commandShell("exit 0"), commandBudget)
	select {
	case <-hold.ended:
	case <-time.After(5 * time.Second):
		require.Fail(t, "left", containSurvivors(cookie))
	}
	parent, err := cgroup.Find()
	require.NoError(t, err)
	assert.Eventually(t, func() bool {
		found, _ := parent.Sweep()
		return found == 0
	}, 5*time.Second, 10*time.Millisecond)
}

func TestGuardLeavesTheBackgroundWhenAsked(t *testing.T) {
	c := commandShell("setsid sleep 60 >/dev/null 2>&1 & echo $!")
	c.LeaveBackground, c.Containment = true, "guard"
	if !commandCanHave(t, "guard") {
		t.Skip("not to be had here: guard")
	}
	res, end := commandRun(t, c, commandBudget)
	require.NoError(t, end.Err)
	pid := commandPID(t, res.Stdout)
	assert.True(t, commandAlive(pid))
	require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
	commandDies(t, pid)
}

func TestGuardThatIsHeldUpLeavesTheKillToTheRuntime(t *testing.T) {
	freeze, thaw := freezer(t)
	b := timeoutpolicy.Budget{Limit: 500 * time.Millisecond, Grace: 50 * time.Millisecond, Force: 500 * time.Millisecond}
	end, pid := guardedWith(t, "guard", b, freeze)
	require.Len(t, end.Report.Left(), 1)
	assert.Contains(t, end.Report.Left()[0].What, "guard")
	commandDies(t, pid)
	thaw()
	assert.Eventually(t, func() bool { return end.Report.Remains[0].Retry() == nil }, 5*time.Second, 5*time.Millisecond)
}

// In a force that has time for a second kill the last one is not left to the guard alone.
func TestGuardIsNotLeftAloneForAWholeForce(t *testing.T) {
	for force := 26 * time.Millisecond; force < time.Second; force += time.Millisecond {
		assert.Greater(t, resources.KillsWithin(force), resources.GuardKills(force), force)
	}
	assert.Equal(t, 2, resources.GuardKills(time.Second))
	assert.Equal(t, 2, resources.GuardKills(0), "its wait is another's")
}
