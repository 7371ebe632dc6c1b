//go:build unix

package gnutimeout_test

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// timeout is a process of this test binary under that name, in a session of its own.
func timeout(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	c := exec.CommandContext(t.Context(), self)
	c.Args = append([]string{"timeout"}, args...)
	c.Env = append(os.Environ(), "LC_ALL=C", "TIMEOUT="+self)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return c
}

// ran runs c and returns how it has ended and what it has said on standard error.
func ran(t *testing.T, c *exec.Cmd) (status syscall.WaitStatus, stderr string) {
	t.Helper()
	var buf bytes.Buffer
	if c.Stderr == nil {
		c.Stderr = &buf
	}
	if err := c.Run(); err != nil {
		require.IsType(t, &exec.ExitError{}, err)
	}
	return c.ProcessState.Sys().(syscall.WaitStatus), buf.String()
}

// begin starts c and returns the first line that it writes, once it has.
func begin(t *testing.T, c *exec.Cmd) string {
	t.Helper()
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(line)
}

// gone reports whether there is no process pid, or what is left of it cannot do anything
// but be waited for.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) == syscall.ESRCH {
		return true
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || bytes.Contains(stat, []byte(") Z "))
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	require.NoError(t, err)
	return n
}

func TestCodesAndMessages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script, plain := filepath.Join(dir, "script"), filepath.Join(dir, "plain")
	require.NoError(t, os.WriteFile(script, []byte("exit 9\n"), 0o700)) // nothing says by what
	require.NoError(t, os.WriteFile(plain, nil, 0o600))
	const try = "Try 'timeout --help' for more information.\n"
	for _, test := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{[]string{"10", "true"}, 0, ""},
		{[]string{"0", "sh", "-c", "exit 3"}, 3, ""},
		{[]string{"10", script}, 9, ""},
		{[]string{".1", "sleep", "10"}, 124, ""},
		{[]string{"-p", ".1", "sleep", "10"}, 143, ""},
		{[]string{"-p", "-sHUP", ".7", "sh", "-c", "trap 'exit 5' HUP; sleep 10 & wait"}, 5, ""},
		{[]string{"-f", "-s9", ".1", "sleep", "10"}, 137, ""},
		{[]string{"-fv", "-s0", "-k.1", ".1", "sleep", "10"}, 137,
			"timeout: sending signal 0 to command 'sleep'\ntimeout: sending signal KILL to command 'sleep'\n"},
		{nil, 125, try},
		{[]string{"x", "true"}, 125, "timeout: invalid time interval 'x'\n" + try},
		{[]string{"-s", "NO\n", "1", "true"}, 125, "timeout: 'NO\\n': invalid signal\n" + try},
		{[]string{"1", "."}, 126, "timeout: failed to run command '.': Permission denied\n"},
		{[]string{"1", plain}, 126, "timeout: failed to run command '" + plain + "': Permission denied\n"},
		{[]string{"1", "no such"}, 127, "timeout: failed to run command 'no such': No such file or directory\n"},
		{[]string{"1", ""}, 127, "timeout: failed to run command '': No such file or directory\n"},
	} {
		status, stderr := ran(t, timeout(t, test.args...))
		assert.True(t, status.Exited(), "%q", test.args)
		assert.Equal(t, test.code, status.ExitStatus(), "%q", test.args)
		assert.Equal(t, test.stderr, stderr, "%q", test.args)
	}
}

func TestHelpAndVersionGoToStandardOutput(t *testing.T) {
	out, err := timeout(t, "--help").Output()
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(out), "Usage: timeout [OPTION]... DURATION COMMAND [ARG]...\n"))
	out, err = timeout(t, "--vers").Output()
	require.NoError(t, err)
	assert.Equal(t, "timeout (Curfew) test\n", string(out))
}

func TestExpiryIsOnTime(t *testing.T) {
	const limit = 300 * time.Millisecond
	began := time.Now()
	ran(t, timeout(t, "10", "true"))
	usual := time.Since(began) // a start, an end, and how busy this machine is
	began = time.Now()
	<-time.After(limit)
	timer := time.Since(began)

	began = time.Now()
	status, _ := ran(t, timeout(t, "0.3", "sleep", "10"))
	took := time.Since(began)
	assert.Equal(t, 124, status.ExitStatus())
	assert.GreaterOrEqual(t, took, limit)
	assert.Less(t, took, timer+usual+50*time.Millisecond)
}

func TestCommandThatIgnoresTheSignalIsWaitedFor(t *testing.T) {
	t.Parallel()
	status, _ := ran(t, timeout(t, "-p", ".7", "sh", "-c", "trap '' TERM; sleep 1; exit 6"))
	assert.Equal(t, 6, status.ExitStatus())
	status, _ = ran(t, timeout(t, ".7", "sh", "-c", "trap '' TERM; sleep 1; exit 6"))
	assert.Equal(t, 124, status.ExitStatus())
}

func TestKillReachesTimeoutToo(t *testing.T) {
	t.Parallel()
	status, _ := ran(t, timeout(t, "-k.1", ".7", "sh", "-c", "trap '' TERM; sleep 10; sleep 10"))
	require.True(t, status.Signaled())
	assert.Equal(t, syscall.SIGKILL, status.Signal())
}

func TestSignalThatEndedTheCommandEndsTimeout(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGSEGV, syscall.SIGPIPE, syscall.SIGPROF, syscall.SIGKILL} {
		status, stderr := ran(t, timeout(t, "10", "sh", "-c", "ulimit -c 0; kill -"+strconv.Itoa(int(sig))+" $$"))
		require.True(t, status.Signaled(), "%v: %d %s", sig, status, stderr)
		assert.Equal(t, sig, status.Signal())
		assert.False(t, status.CoreDump())
		assert.Empty(t, stderr)
	}
}

func TestSignalsArePassedOnAndAlarmIsExpiry(t *testing.T) {
	t.Parallel()
	const loop = `; echo $$; while :; do sleep .01; done`
	for sig, code := range map[syscall.Signal]int{
		syscall.SIGUSR1: 7, syscall.SIGINT: 7, syscall.SIGPIPE: 7, syscall.SIGSYS: 7, syscall.SIGALRM: 124,
	} {
		trap := sig
		if sig == syscall.SIGALRM {
			trap = syscall.SIGTERM
		}
		c := timeout(t, "10", "sh", "-c", "trap 'exit 7' "+strconv.Itoa(int(trap))+loop)
		pid := number(t, begin(t, c))
		require.NoError(t, c.Process.Signal(sig))
		_ = c.Wait()
		assert.Equal(t, code, c.ProcessState.ExitCode(), "%v", sig)
		assert.True(t, gone(pid), "%v", sig)
	}
}

func TestSignalThatIsPassedOnStartsTheTimeForKill(t *testing.T) {
	t.Parallel()
	c := timeout(t, "-k.1", "60", "sh", "-c", "trap '' USR1; echo; while :; do sleep .01; done")
	begin(t, c)
	began := time.Now()
	require.NoError(t, c.Process.Signal(syscall.SIGUSR1))
	_ = c.Wait()
	assert.Less(t, time.Since(began), 10*time.Second)
	assert.Equal(t, syscall.SIGKILL, c.ProcessState.Sys().(syscall.WaitStatus).Signal())
}

func TestClosedStandardErrorIsNotTheEnd(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	defer w.Close()
	for _, option := range []string{"-v", "-fv"} {
		c := timeout(t, option, ".1", "sleep", "10")
		c.Stderr = w
		status, _ := ran(t, c)
		assert.Equal(t, 124, status.ExitStatus(), option)
	}
}

func TestOtherDescriptorsArePassedOn(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	c := timeout(t, "10", "sh", "-c", "echo here >&3")
	c.ExtraFiles = []*os.File{w}
	status, stderr := ran(t, c)
	require.NoError(t, w.Close())
	assert.Zero(t, status, stderr)
	line, err := bufio.NewReader(r).ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "here\n", line)
}
