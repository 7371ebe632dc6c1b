package main

import (
	"net"
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

	"curfew.example/resources/resourcetest"
)

// freezer makes a group of cgroup version 1 and returns its directory. What is frozen in it is
// not ended by SIGKILL before it is thawed.
func freezer(t *testing.T) (dir string, thaw func()) {
	t.Helper()
	dir, err := os.MkdirTemp("/sys/fs/cgroup/freezer", "curfew-test-")
	if err != nil {
		t.Skip("needs a freezer of cgroup version 1 that may be written: ", err)
	}
	thaw = func() {
		assert.NoError(t, os.WriteFile(filepath.Join(dir, "freezer.state"), []byte("THAWED"), 0))
	}
	t.Cleanup(func() {
		thaw()
		assert.Eventually(t, func() bool { return os.Remove(dir) == nil }, 5*time.Second, 5*time.Millisecond)
	})
	return dir, thaw
}

// cgroupOf is the cgroup of version 2 that a process is in, as /proc names it.
func cgroupOf(t *testing.T, pid int) string {
	t.Helper()
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	require.NoError(t, err)
	_, name, _ := strings.Cut(string(raw), "0::")
	name, _, _ = strings.Cut(name, "\n")
	return name
}

func TestFrozenChildIsCode123AndNamed(t *testing.T) {
	for _, how := range []string{"", "guard", "namespace+guard", "group"} {
		t.Run("contained by "+how, func(t *testing.T) { frozenChild(t, how) })
	}
}

func frozenChild(t *testing.T, how string) {
	const longest = 900 * time.Millisecond // limit, grace and force
	dir, thaw := freezer(t)
	report := filepath.Join(t.TempDir(), "report.json")
	cookie := "curfew-test-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	c := curfew(t, "exec", "-t", "0.5", "-k", "0.1", "--force", "0.3", "--contain", how, "--report", report,
		"sh", "-c", `sleep 100 & echo $! >`+dir+`/tasks; echo FROZEN >`+dir+`/freezer.state; wait`)
	c.Env = append(os.Environ(), "CURFEW_TEST_COOKIE="+cookie)
	start, plain := time.Now(), resourcetest.PlainTimer(longest)
	require.NoError(t, c.Start())
	assert.Equal(t, codeLeftover, exitCode(t, c))
	took := time.Since(start)
	assert.Less(t, took, longest+100*time.Millisecond+<-plain)

	receipt := readReceipts(t, report)[0]
	assert.Equal(t, "expired", receipt["outcome"])
	left := receipt["leftover"].([]any)
	require.Len(t, left, 1)
	assert.Equal(t, "process sleep, started by sh", left[0].(map[string]any)["what"])
	assert.InDelta(t, float64(400*time.Millisecond), receipt["lateness_ns"], float64(150*time.Millisecond))

	// Who watches over it goes with it, and so does what it was kept in.
	box := cgroupOf(t, int(left[0].(map[string]any)["pid"].(float64)))
	if how != "group" {
		assert.Len(t, withCookie(cookie), 2, "the sleeper and its guard")
	}
	thaw()
	assert.Eventually(t, func() bool { return len(withCookie(cookie)) == 0 }, 5*time.Second, 5*time.Millisecond)
	if strings.Contains(box, "/curfew-") {
		assert.NoDirExists(t, "/sys/fs/cgroup"+box)
		assert.NoDirExists(t, "/sys/fs/cgroup/unified"+box)
	}
}

func TestReportNamesTheContainment(t *testing.T) {
	for _, how := range []string{"guard", "group"} {
		report := filepath.Join(t.TempDir(), "report.json")
		c := curfew(t, "exec", "-t", "0.2", "--contain", how, "--report", report, "sleep", "30")
		require.NoError(t, c.Start())
		assert.Equal(t, codeExpired, exitCode(t, c))
		receipt := readReceipts(t, report)[0]
		assert.True(t, strings.HasPrefix(receipt["cleanup"].(map[string]any)["mechanism"].(string), how))
		processes := receipt["processes"].(map[string]any)
		assert.True(t, strings.HasPrefix(processes["mechanism"].(string), how))
		assert.Equal(t, map[string]string{"guard": "guard", "group": "runtime"}[how], processes["watchdog"])
	}
	c := curfew(t, "exec", "-t", "1", "--contain", "hope", "true")
	require.NoError(t, c.Start())
	assert.Equal(t, codeUsage, exitCode(t, c))
}

// TestCommandsThatDetachThemselvesAreEnded runs real daemons under a limit of a second.
// They are back in time, none of them is left, and their ports are free at once.
func TestCommandsThatDetachThemselvesAreEnded(t *testing.T) {
	dir := t.TempDir()
	conf := func(name, text string) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
		return file
	}
	nginx := conf("nginx.conf", "daemon on; pid "+dir+"/nginx.pid; error_log "+dir+"/error.log; events {} http { access_log off; server { listen 127.0.0.1:28081; } }")
	supervisor := conf("supervisord.conf", `[supervisord]
nodaemon=false
logfile=`+dir+`/supervisord.log
pidfile=`+dir+`/supervisord.pid
[program:one]
command=/bin/sleep 1000
autorestart=true
[program:two]
command=/bin/sh -c "sleep 0.05"
autorestart=true
startsecs=0
`)
	// Where one does not start, the shell ends at once and not by its limit.
	for program, script := range map[string]string{
		"tmux":              "tmux -S " + dir + "/tmux new-session -d 'sleep 1000' && sleep 30",
		"nginx":             "nginx -c " + nginx + " && sleep 30",
		"redis-server":      "redis-server --port 28082 --daemonize yes --dir " + dir + " && sleep 30",
		"ssh-agent":         "ssh-agent && sleep 30",
		"start-stop-daemon": "start-stop-daemon --start --background --pidfile " + dir + "/none --startas /bin/sleep -- 1000 && sleep 30",
		"supervisord":       "supervisord -c " + supervisor + " && sleep 30",
	} {
		t.Run(program, func(t *testing.T) {
			if _, err := exec.LookPath(program); err != nil {
				t.Skip("needs the program ", program)
			}
			const limit, grace = 900 * time.Millisecond, 200 * time.Millisecond
			for try := 1; ; try++ {
				cookie := "curfew-test-" + strconv.FormatInt(time.Now().UnixNano(), 36)
				report := filepath.Join(t.TempDir(), "report.json")
				c := curfew(t, "exec", "-t", "0.9", "-k", "0.2", "--report", report, "sh", "-c", script)
				c.Env = append(os.Environ(), "CURFEW_TEST_COOKIE="+cookie)
				require.NoError(t, c.Start())
				assert.Equal(t, codeExpired, exitCode(t, c))
				assert.Empty(t, withCookie(cookie))
				for _, port := range []string{"28081", "28082"} {
					assertFree(t, port)
				}
				receipt := readReceipts(t, report)[0]
				assert.EqualValues(t, 0, receipt["processes"].(map[string]any)["left"])
				late := time.Duration(receipt["lateness_ns"].(float64))
				if late < grace+100*time.Millisecond || try == 3 {
					assert.Less(t, late, grace+100*time.Millisecond)
					t.Log("late", late, "killed", receipt["processes"], receipt["cleanup"].(map[string]any)["mechanism"])
					return
				}
			}
		})
	}
}

// withCookie lists the living processes that have it in their environment.
func withCookie(cookie string) []string {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	var found []string
	for _, f := range environs {
		env, err := os.ReadFile(f)
		if err == nil && strings.Contains(string(env), cookie) {
			comm, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "comm"))
			found = append(found, strings.TrimSpace(string(comm)))
		}
	}
	return found
}

func TestCurfewThatIsKilledTakesItsCommandAlong(t *testing.T) {
	cookie := "curfew-test-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	c := curfew(t, "exec", "-t", "20", "sh", "-c", "trap '' TERM; (setsid sh -c 'trap \"\" TERM; echo ready; sleep 300; sleep 300' &); sleep 300; sleep 300")
	c.Env = append(os.Environ(), "CURFEW_TEST_COOKIE="+cookie)
	rest := started(t, c)
	require.Contains(t, withCookie(cookie), "curfew")
	require.NoError(t, c.Process.Signal(syscall.SIGKILL))
	rest()
	_ = c.Wait()
	assert.Eventually(t, func() bool { return len(withCookie(cookie)) == 0 }, time.Second, time.Millisecond)
}

// assertFree asserts that a port can be listened to at once.
func assertFree(t *testing.T, port string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if assert.NoError(t, err) {
		assert.NoError(t, l.Close())
	}
}
