// Package alone runs a test in a process of its own: for what a process does but once, and for
// what it cannot have twice. The project's tests use it.
package alone

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// env names the test that a process of a test binary is there for.
const env = "CURFEW_TEST_ALONE"

// Run runs the test t anew in a process of its own, for two minutes at most, and returns true when
// that has passed there; the caller has nothing left to do. In that process it returns false. A
// test that fails, is skipped or does not exist there fails t. Only the goroutine of the test
// may call it.
func Run(t *testing.T) bool {
	t.Helper()
	if os.Getenv(env) == t.Name() {
		return false
	}
	self, err := os.Executable()
	require.NoError(t, err)
	pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(t.Name()), "/", "$/^") + "$"
	cmd := exec.CommandContext(t.Context(), self, "-test.run="+pattern, "-test.timeout=2m", "-test.count=1", "-test.v")
	// Under the race detector a process sleeps for a second before it ends.
	cmd.Env = append(os.Environ(), env+"="+t.Name(), "GORACE=atexit_sleep_ms=10")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name()+" ", "a pattern that fits no test is no failure")
	return true
}
