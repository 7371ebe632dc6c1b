// Package examples_test builds and runs the examples, as their readers do.
package examples_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// longest is how long an example may run. Waiting for one that hangs ends a little later.
const longest = 5 * time.Second

// example is one program and what it has to print: regular expressions, in their order.
type example struct {
	name  string
	lines []string
}

func examples() []example {
	return []example{
		{"fetch", []string{
			`^silent server: fetch http://127\.0\.0\.1:\d+: timeout exceeded while running: limit 500ms granted by fixed 500ms`,
			`^  released: connection to 127\.0\.0\.1:\d+, by close$`,
			`^  the server saw the connection end$`,
			`^good server: 200, "good morning"$`,
		}},
		{"subprocess", []string{
			`^command sh: timeout exceeded while running: limit 1s granted by fixed 1s, used 1\.`,
			`^  output until then: "12 of 30 tables dumped"$`,
			`^  the shell was ended by KILL$`,
			`^  processes: \d seen, \d killed, 0 left$`,
			`^sh: exit status 3: "no such table"$`,
		}},
		{"coprocess", []string{
			`^7: 360$`,
			`^0: coprocess sh: timeout exceeded while running: limit 500ms granted by fixed 500ms`,
			`^9: 280$`,
		}},
		{"cleanup", []string{
			`^in time: "a whole line\\n"$`,
			`^clean-up: closing the connection$`,
			`^the read ends: .*use of closed network connection$`,
			`^too late: func read a line: timeout exceeded while running: limit 500ms granted by within`,
			`^  what had come by then: "half a li"$`,
		}},
		{"lockfile", []string{
			`^second: lock build\.lock: timeout exceeded while opening: limit 100ms`,
			`^first: lock build\.lock: timeout exceeded while running: limit 500ms`,
			`^third: had the lock after \S+, error: <nil>$`,
			`^fourth: lock: Path: is not absolute$`,
			`^the lock file is gone$`,
		}},
		{"policy", []string{
			`^ *14s used, .*granted 16s by what is left of the page$`,
			`^now: what is left of the page, reserve 1s, cap 2s \(class advert\), fallback: fixed 5s$`,
			`^ *14s used, .*granted 15s by reserve 1s$`,
			`^ *14s used, advert .*granted 2s by cap 2s \(class advert\)$`,
			`^ *29\.5s used, .*refused: .*too late`,
			`^ *0s used, .*granted 5s by fallback: fixed 5s$`,
		}},
		{"tree", []string{
			`^│  ├─ well  running$`,
			`^│  ├─ slow  (waiting|running)  expiries \d  last expired: .*timeout exceeded while running: limit 300ms`,
			`^│  └─ broken  (waiting|running)  restarts \d  last error: .*connection refused$`,
			`^├─ names  waiting  restarts 1  last error: the cache is corrupt$`,
			`^├─ fetchers  \(one-for-one\)  waiting  last shutdown$`,
			`^└─ store  waiting  last shutdown$`,
			`^stopped: <nil>$`,
		}},
		{"daemon", []string{
			`^page 1: \[headlines\]\[no answer in time\] after \S+$`,
			`^page 2: \[headlines\]\[no answer in time\] after \S+$`,
			`^SIGTERM, with a page under way$`,
			// The daemon and its visitor are not in step: either may come first.
			`^(page 3: \[headlines\]\[no answer in time\] after \S+|daemon: every page has been answered)$`,
			`^(page 3: \[headlines\]\[no answer in time\] after \S+|daemon: every page has been answered)$`,
		}},
		{"ask", []string{
			`^mirror 1: "the file"$`,
			`^mirror 0: .*cancelled while \w+: request 0: cancelled by its requester$`,
			`^left over: 0$`,
		}},
		{"crawler", []string{
			// In any order.
			`^(absent +0 pages in .*connection refused|(news|wiki) +4 pages in .*that is all)$`,
			`^(absent +0 pages in .*connection refused|(news|wiki) +4 pages in .*that is all)$`,
			`^(absent +0 pages in .*connection refused|(news|wiki) +4 pages in .*that is all)$`,
			`^hangs +1 pages in .*timeout exceeded while stalled: no progress for 300ms`,
			`^drips +0 pages in .*timeout exceeded while running: limit 1s`,
			`^left over: 0$`,
		}},
		{"remote", []string{
			`^page: "good morning"$`,
			`^hangs: peer 127\.0\.0\.1:\d+: fetch http://127\.0\.0\.1:\d+: timeout exceeded while running: limit [\d.]+ms granted by within`,
			`^not allowed: peer 127\.0\.0\.1:\d+: fetch http://127\.0\.0\.1:1: not allowed to remote peers$`,
			`^killed: peer 127\.0\.0\.1:\d+: the link to the peer is lost`,
			`^noticed at once: true$`,
		}},
	}
}

func TestEveryExampleTellsItsStoryAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", dir+string(filepath.Separator), "./...")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	built, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, built, len(examples()), "each example is run by this test")
	for _, e := range examples() {
		t.Run(e.name, func(t *testing.T) {
			if e.name != "policy" { // which tells milliseconds; the others wait
				t.Parallel()
			}
			if e.name == "subprocess" {
				needs(t, "sh", "setsid")
			}
			text := run(t, filepath.Join(dir, e.name))
			for _, line := range e.lines {
				text = after(t, text, line)
			}
		})
	}
}

// needs skips a test on a machine without these programs.
func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
}

// run runs an example and returns what it printed. It has to end in time, by itself,
// without an error and without a process of its own left behind.
func run(t *testing.T, bin string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*longest)
	defer cancel()
	mark := "CURFEW_EXAMPLE_RUN=" + rand.Text()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, bin)
	cmd.Env = append(os.Environ(), mark)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second

	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	require.NoError(t, err, "stdout:\n%s\nstderr:\n%s", &stdout, &stderr)
	assert.Less(t, took, longest)
	assert.Empty(t, stderr.String())
	assert.Empty(t, marked(t, mark), "processes left behind")
	return stdout.String()
}

// after returns what follows the first line of text that matches pattern.
func after(t *testing.T, text, pattern string) string {
	t.Helper()
	at := regexp.MustCompile(`(?m)` + pattern).FindStringIndex(text)
	require.NotNil(t, at, "no line %s in:\n%s", pattern, text)
	return text[at[1]:]
}

// marked lists the processes whose environment holds mark: children inherit it, whatever
// session or parent they have since. It sees them on Linux alone.
func marked(t *testing.T, mark string) []string {
	t.Helper()
	if runtime.GOOS != "linux" {
		return nil
	}
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	require.NoError(t, err)
	var found []string
	for _, path := range environs {
		// Processes end while we look, and others' environments cannot be read.
		if env, err := os.ReadFile(path); err == nil && bytes.Contains(env, []byte(mark)) {
			found = append(found, filepath.Dir(path))
		}
	}
	return found
}
