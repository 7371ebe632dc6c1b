package gnutimeout_test

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// inherited is a shell command that shows what it inherits of signals.
const inherited = `grep -E '^Sig(Blk|Ign)' /proc/self/status`

func TestCommandInheritsWhatWasIgnored(t *testing.T) {
	for _, ignore := range []string{"", "HUP", "PIPE", "QUIT USR1 WINCH URG TSTP PIPE INT 34 35 64"} {
		prepare := "true"
		if ignore != "" {
			prepare = "trap '' " + ignore
		}
		want, err := exec.Command("bash", "-c", prepare+"; "+inherited).Output()
		if err != nil {
			t.Skip("the program bash is not here, or has no such signals")
		}
		c := timeout(t)
		c.Args, c.Path = []string{"bash", "-c", prepare + `; exec -a timeout "$TIMEOUT" 10 sh -c "` + inherited + `"`}, "/bin/bash"
		got, err := c.Output()
		require.NoError(t, err)
		assert.Equal(t, string(want), string(got), "ignored: %s", ignore)
	}
}

func TestCommandInheritsWhatWasBlocked(t *testing.T) {
	const block = `use POSIX; sigprocmask(SIG_BLOCK, POSIX::SigSet->new(@SIGNALS)); exec @ARGV`
	if exec.Command("perl", "-MPOSIX", "-e", "1").Run() != nil {
		t.Skip("the program perl is not here")
	}
	masks := func(signals string, command ...string) string {
		c := timeout(t)
		c.Path = "/usr/bin/env"
		c.Args = append([]string{"env", "perl", "-e", strings.Replace(block, "@SIGNALS", signals, 1)}, command...)
		out, err := c.Output()
		require.NoError(t, err)
		return string(out)
	}
	through := []string{"bash", "-c", `exec -a timeout "$TIMEOUT" 10 sh -c "$0"`, inherited}
	// TERM, USR1, PIPE, SEGV, INT, and real-time signals; then those that timeout lets in.
	const signals = "15, 10, 13, 11, 2, 34, 40"
	assert.Equal(t, masks(signals, "sh", "-c", inherited), masks(signals+", 14, 17", through...))
}

func TestBlockedSignalIsNotPassedOn(t *testing.T) {
	t.Parallel()
	if exec.Command("perl", "-MPOSIX", "-e", "1").Run() != nil {
		t.Skip("the program perl is not here")
	}
	c := timeout(t)
	c.Path = "/usr/bin/env"
	c.Args = []string{"env", "perl", "-e", `use POSIX; sigprocmask(SIG_BLOCK, POSIX::SigSet->new(15, 10)); exec @ARGV`,
		"bash", "-c", `exec -a timeout "$TIMEOUT" 10 sh -c 'kill -TERM $PPID; kill -USR1 $PPID; sleep .3; exit 4'`}
	status, stderr := ran(t, c)
	assert.Equal(t, 4, status.ExitStatus(), stderr)
}

func TestIgnoredSignalStillExpires(t *testing.T) {
	c := timeout(t)
	c.Args, c.Path = []string{"bash", "-c", `trap '' TERM ALRM CHLD; exec -a timeout "$TIMEOUT" .1 sleep 10`}, "/bin/bash"
	status, _ := ran(t, c)
	assert.Equal(t, 124, status.ExitStatus(), "GNU gives the first signal its usual effect back")
}

// daemon is a shell command that leaves a process behind, in a session of its own and
// ignoring TERM, and writes its number.
const daemon = `setsid sh -c 'trap "" TERM; echo $$; exec sleep 60 >/dev/null' & `

func TestDescendantsAreKilledOnceTheCommandHasEnded(t *testing.T) {
	for _, options := range [][]string{{"1"}, {"-p", "1"}, {"-sKILL", "1"}, {"-k.1", "-s0", "1"}} {
		t.Run(strings.Join(options, " "), func(t *testing.T) {
			t.Parallel()
			c := timeout(t, append(options, "sh", "-c", daemon+"sleep 60")...)
			pid := number(t, begin(t, c))
			_ = c.Wait()
			assert.True(t, gone(pid))
		})
	}
}

func TestDescendantsAreLeftAloneOtherwise(t *testing.T) {
	for name, change := range map[string]func(*exec.Cmd){
		"success":    func(c *exec.Cmd) { c.Args = append(c.Args, "60", "sh", "-c", daemon+"sleep 1") },
		"foreground": func(c *exec.Cmd) { c.Args = append(c.Args, "-f", "1", "sh", "-c", daemon+"exec sleep 60") },
		"a child that was there before": func(c *exec.Cmd) {
			c.Args, c.Path = []string{"bash", "-c", daemon + `exec -a timeout "$TIMEOUT" 1 sleep 60`}, "/bin/bash"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := timeout(t)
			change(c)
			pid := number(t, begin(t, c))
			_ = c.Wait()
			assert.False(t, gone(pid))
			_ = syscall.Kill(pid, syscall.SIGKILL)
		})
	}
}

func TestCommandDiesWithTimeout(t *testing.T) {
	c := timeout(t, "-sUSR1", "60", "sh", "-c", "echo $$; exec sleep 60 >/dev/null")
	pid := number(t, begin(t, c))
	require.NoError(t, c.Process.Kill())
	_ = c.Wait()
	assert.Eventually(t, func() bool { return gone(pid) }, 5*time.Second, time.Millisecond)
}

func TestRealTimeSignals(t *testing.T) {
	t.Parallel()
	for _, sig := range []int{35, 50, 64} {
		c := timeout(t, "10", "bash", "-c", "trap 'exit 7' "+strconv.Itoa(sig)+"; echo; while :; do sleep .01; done")
		begin(t, c)
		require.NoError(t, c.Process.Signal(syscall.Signal(sig)))
		_ = c.Wait()
		assert.Equal(t, 7, c.ProcessState.ExitCode(), sig)
	}
	for _, name := range []string{"RTMIN", "RTMIN+1", "RTMAX-1", "32"} {
		status, stderr := ran(t, timeout(t, "-vs", name, ".1", "sleep", "10"))
		assert.Equal(t, 124, status.ExitStatus(), name)
		assert.True(t, strings.Contains(stderr, "signal "+name+" to"), stderr)
	}
}

func TestFirstProcessOfANamespace(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("unshare")
	if err != nil || exec.Command(path, "--pid", "--fork", "--map-root-user", "true").Run() != nil {
		t.Skip("the program unshare is not here, or may not make namespaces")
	}
	for line, code := range map[string]int{
		`exec -a timeout "$TIMEOUT" .1 sleep 10`:            124,
		`exec -a timeout "$TIMEOUT" -s0 -k.1 .1 sleep 10`:   137,
		`exec -a timeout "$TIMEOUT" 10 sh -c 'kill -9 $$'`:  137,
		`(exec -a timeout "$TIMEOUT" .1 sleep 10); exit $?`: 124,
	} {
		c := timeout(t)
		c.Args, c.Path = []string{"unshare", "--pid", "--fork", "--map-root-user", "bash", "-c", line}, path
		status, stderr := ran(t, c)
		assert.Equal(t, code, status.ExitStatus(), "%s: %s", line, stderr)
	}
}
