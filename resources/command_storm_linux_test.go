package resources_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/resources/guard"
	"curfew.example/resources/resourcetest"
	"curfew.example/timeoutpolicy"
)

const (
	// containCookie marks all processes of a tree: it is in their environment.
	containCookie = "CURFEW_TEST_COOKIE"

	// containRounds says how often a storm is raised for each case; if it is empty, three times,
	// and once under the race detector, to which a second one shows nothing new.
	containRounds = "CURFEW_TEST_STORMS"

	// containNodes is how many nodes a storm has that is of nothing else; if it is empty, it has
	// stormNodes.
	containNodes = "CURFEW_TEST_NODES"
	stormNodes   = 200
)

// containChild is this test as a program with that role. The name of its own file is of no
// use to another user.
func containChild(role, cookie string, env ...string) resources.Command {
	return resources.Command{
		Path: "/proc/self/exe",
		Env:  append([]string{testChildEnv + "=" + role, containCookie + "=" + cookie, commandQuickExit, "GOGC=off"}, env...),
	}
}

// containSurvivors lists the processes that have the cookie.
func containSurvivors(cookie string) []string {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	var found []string
	for _, f := range environs {
		env, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(env, []byte(containCookie+"="+cookie)) {
			continue
		}
		pid := filepath.Base(filepath.Dir(f))
		if n, _ := strconv.Atoi(pid); commandAlive(n) {
			comm, _ := os.ReadFile("/proc/" + pid + "/comm")
			found = append(found, pid+" "+string(bytes.TrimSpace(comm)))
		}
	}
	return found
}

func containNewCookie(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("%s-%d-%d", t.Name(), os.Getpid(), time.Now().UnixNano())
}

// containHold is a pipe that a tree holds open, and what it says first.
type containHold struct {
	w     *os.File
	ready chan struct{}
	ended chan time.Time // when nobody held it any more
}

func containNewHold(t *testing.T) *containHold {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	h := &containHold{w: w, ready: make(chan struct{}), ended: make(chan time.Time, 1)}
	// Ends when the tree has gone; received from ended, or the test fails.
	go func() {
		defer r.Close()
		b := bufio.NewReader(r)
		if _, err := b.ReadString('\n'); err == nil {
			close(h.ready)
		}
		_, _ = io.Copy(io.Discard, b)
		h.ended <- time.Now()
	}()
	return h
}

// storm raises one under that containment, has it killed once it is up, and returns how long
// after the kill all were dead.
func storm(t *testing.T, how string, up func(cookie string)) time.Duration {
	t.Helper()
	const grace = 30 * time.Millisecond
	cookie, hold := containNewCookie(t), containNewHold(t)
	c := containChild("contain-storm", cookie)
	c.Containment, c.Stdout = how, hold.w
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cancelled := make(chan time.Time, 1)
	// Ends when the storm is up, or with the test.
	go func() {
		select {
		case <-hold.ready:
			if up != nil {
				up(cookie)
			}
		case <-t.Context().Done():
		}
		cancelled <- time.Now()
		cancel()
	}()
	end := resourcetest.Drive(ctx, resources.Of(c), timeoutpolicy.Budget{Limit: time.Minute, Grace: grace, Force: 20 * time.Second}, nil)
	require.NoError(t, hold.w.Close())
	require.True(t, end.Back)
	require.ErrorIs(t, end.Err, context.Canceled)
	assert.Empty(t, end.Report.Left())
	res := end.Value.(*resources.CommandResult)
	require.Equal(t, how, res.Mechanism)
	assert.Positive(t, res.Seen)
	assert.Zero(t, res.Left)
	var dead time.Time
	select {
	case dead = <-hold.ended:
	case <-time.After(5 * time.Second):
		require.Fail(t, "something holds the pipe", containSurvivors(cookie))
	}
	assert.Empty(t, containSurvivors(cookie))
	return dead.Sub((<-cancelled).Add(grace))
}

// plainKill raises a storm of nodes alone that nobody watches, sends each process a KILL, and
// returns how long it took until all were dead: what the machine takes for that at this time.
func plainKill(t *testing.T, nodes int) time.Duration {
	t.Helper()
	cookie, hold := containNewCookie(t), containNewHold(t)
	c := containChild("contain-storm", cookie, fmt.Sprint(containNodes, "=", nodes))
	cmd := exec.Command(c.Path)
	cmd.Env, cmd.Stdout = append(os.Environ(), c.Env...), hold.w
	require.NoError(t, cmd.Start())
	require.NoError(t, hold.w.Close())
	defer func() { _ = cmd.Wait() }()
	up := false
	select {
	case <-hold.ready:
		up = true
	case <-time.After(10 * time.Second):
	}
	alive := containSurvivors(cookie)
	start := time.Now()
	for _, s := range alive {
		number, _, _ := strings.Cut(s, " ")
		pid, err := strconv.Atoi(number)
		require.NoError(t, err)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	require.True(t, up, "the storm is not up")
	require.Len(t, alive, nodes+1)
	select {
	case dead := <-hold.ended:
		return dead.Sub(start)
	case <-time.After(10 * time.Second):
		require.Fail(t, "left", containSurvivors(cookie))
		return 0
	}
}

func stormRounds() int {
	if n, err := strconv.Atoi(os.Getenv(containRounds)); err == nil {
		return n
	}
	if raceEnabled {
		return 1
	}
	return 3
}

// burn keeps all cores busy until the test ends, and fails it if they were not.
func burn(t *testing.T) {
	t.Helper()
	for range runtime.NumCPU() {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), testChildEnv+"=contain-burn", commandQuickExit)
		in, err := cmd.StdinPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() {
			assert.True(t, commandAlive(cmd.Process.Pid), "a core was idle")
			_ = in.Close()
			_ = cmd.Wait()
		})
	}
}

func TestStormLeavesNothing(t *testing.T) {
	most := map[string]time.Duration{
		"cgroup+guard": 50 * time.Millisecond, "namespace+guard": 50 * time.Millisecond, "guard": time.Second,
	}
	for how, limit := range most {
		if !commandCanHave(t, how) {
			t.Log("not to be had here:", how)
			continue
		}
		storm(t, how, func(cookie string) {
			assert.Greater(t, len(containSurvivors(cookie)), stormNodes, "there is a storm")
		})
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/busy %t", how, busy), func(t *testing.T) {
				if busy {
					burn(t)
				}
				// Others may use the machine too: one in three tries is enough.
				for try := 1; ; try++ {
					var took []time.Duration
					for range stormRounds() {
						took = append(took, storm(t, how, nil))
					}
					slices.Sort(took)
					median := took[len(took)/2]
					t.Logf("from the kill until all were dead, %d times: median %v, most %v", len(took), median, took[len(took)-1])
					if busy || raceEnabled || median < limit {
						return
					}
					plain := plainKill(t, stormNodes)
					t.Log("a plain kill of the nodes alone takes", plain)
					if median < 3*plain {
						return // it is the machine that is slow
					}
					require.Less(t, try, 3, "median %v", median)
				}
			})
		}
	}
}

// asNobody runs tests of this program anew as a user without privilege. Those named have to
// pass, the others of the same test may be not to be had.
func asNobody(t *testing.T, tests ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("is without privilege already")
	}
	var names []string
	for _, test := range tests {
		name, _, _ := strings.Cut(test, "/")
		names = append(names, name)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run", "^("+strings.Join(names, "|")+")$", "-test.v", "-test.timeout", "5m")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "TMPDIR=/tmp", "HOME=/tmp")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	assert.NoError(t, err)
	for _, test := range tests {
		assert.Contains(t, string(out), "--- PASS: "+test+" ", "it has been run")
	}
}

// A guard takes no privilege, so that whoever is without has all of these.
func TestContainmentWithoutPrivilege(t *testing.T) {
	asNobody(t, "TestStormLeavesNothing/guard/busy_false", "TestRuntimeKilledLeavesNothing/guard", "TestRuntimeStoppedExtendsNoLife/guard",
		"TestCommandDescendantInItsOwnSessionIsKilled", "TestCommandLimitsHoldFromTheStart/guard")
}

// startRuntime starts a runtime with twenty trees, and returns when all are up.
func startRuntime(t *testing.T, how string, limit time.Duration) (runtime *exec.Cmd, hold *containHold, cookie string, begin time.Time) {
	t.Helper()
	cookie = containNewCookie(t)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), testChildEnv+"=contain-runtime", containCookie+"="+cookie, "HOW="+how, "LIMIT="+limit.String(), commandQuickExit)
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	require.NoError(t, cmd.Start())
	require.NoError(t, w.Close())
	hold = &containHold{ended: make(chan time.Time, 1)}
	up := make(chan string, 1)
	// Ends when all have gone that hold the pipe; received from ended, or the test fails.
	go func() {
		defer r.Close()
		b := bufio.NewReader(r)
		line, _ := b.ReadString('\n')
		began, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		if err != nil {
			up <- line
			return
		}
		begin = time.Now().Add(-time.Duration(guard.Now() - began))
		for range 20 {
			line, _ := b.ReadString('\n')
			if line != "ready\n" {
				up <- line
				return
			}
		}
		_ = cmd.Process.Signal(syscall.SIGUSR1)
		// Until it has let go of the pipe it must not be stopped.
		for link := ""; link != os.DevNull && err == nil; {
			link, err = os.Readlink(fmt.Sprintf("/proc/%d/fd/1", cmd.Process.Pid))
		}
		close(up)
		_, _ = io.Copy(io.Discard, b)
		hold.ended <- time.Now()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	select {
	case line := <-up:
		require.Empty(t, line)
	case <-time.After(30 * time.Second):
		require.Fail(t, "the trees are not up")
	}
	return cmd, hold, cookie, begin
}

// guardContainments are those with a watchdog.
var guardContainments = []string{"cgroup+guard", "guard", "namespace+guard"}

func TestRuntimeKilledLeavesNothing(t *testing.T) {
	for _, how := range guardContainments {
		if !commandCanHave(t, how) {
			t.Log("not to be had here:", how)
			continue
		}
		t.Run(how, func(t *testing.T) {
			runtime, hold, cookie, _ := startRuntime(t, how, time.Minute)
			slack := commandSlack()
			require.NoError(t, runtime.Process.Kill())
			killed := time.Now()
			select {
			case dead := <-hold.ended:
				t.Log("all dead after", dead.Sub(killed))
				assert.Less(t, dead.Sub(killed), 500*time.Millisecond+slack())
			case <-time.After(10 * time.Second):
				require.Fail(t, "left", containSurvivors(cookie))
			}
			_ = runtime.Wait()
			assert.Eventually(t, func() bool { return len(containSurvivors(cookie)) == 0 }, 5*time.Second, 5*time.Millisecond, "guards too")
		})
	}
}

func TestRuntimeStoppedExtendsNoLife(t *testing.T) {
	for _, how := range guardContainments {
		if !commandCanHave(t, how) {
			t.Log("not to be had here:", how)
			continue
		}
		t.Run(how, func(t *testing.T) {
			// The limit has to outlast the start of twenty trees. As a busy machine
			// delays the dead too, one in four tries is enough.
			late, most := time.Hour, 100*time.Millisecond
			if raceEnabled {
				most = 3 * time.Second // twenty guards are the race detector's binaries too
			}
			limit := time.Second
			for try := 0; try < 4 && late > most; try, limit = try+1, limit*2 {
				late = runtimeEnds(t, how, limit, true)
				t.Log("all dead", late, "after limit, grace and slack")
				if late <= most || late == time.Hour {
					continue
				}
				awake := runtimeEnds(t, how, limit, false)
				t.Log("with the runtime awake it is", awake)
				if late <= awake+50*time.Millisecond {
					return // it is the machine that is slow
				}
			}
			assert.LessOrEqual(t, late, most)
		})
	}
}

// runtimeEnds starts a runtime, stops it if that is asked for, and returns how long after the
// limit and the grace of its trees, and the slack, all were dead; an hour, when the machine was
// too slow to have them up in time.
func runtimeEnds(t *testing.T, how string, limit time.Duration, stopped bool) time.Duration {
	t.Helper()
	runtime, hold, cookie, start := startRuntime(t, how, limit)
	if stopped {
		require.NoError(t, runtime.Process.Signal(syscall.SIGSTOP))
	}
	if time.Since(start) >= limit {
		return time.Hour
	}
	time.Sleep(time.Until(start.Add(limit))) // the slack is measured when it matters
	slack := commandSlack()
	var late time.Duration
	select {
	case dead := <-hold.ended:
		late = dead.Sub(start.Add(limit + stoppedGrace))
	case <-time.After(10 * time.Second):
		require.Fail(t, "left", containSurvivors(cookie))
	}
	if stopped {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", runtime.Process.Pid))
		require.NoError(t, err)
		require.Contains(t, string(status), ") T ", "it is stopped still")
		require.NoError(t, runtime.Process.Signal(syscall.SIGCONT))
	}
	require.NoError(t, runtime.Wait())
	// All of the trees are dead. Their guards may need more than the force of a busy machine.
	assert.Eventually(t, func() bool { return len(containSurvivors(cookie)) == 0 }, 5*time.Second, 5*time.Millisecond, "guards too")
	return late - slack()
}

// stoppedGrace is the grace of the trees of a runtime.
const stoppedGrace = 200 * time.Millisecond
