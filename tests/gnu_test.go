//go:build linux

package tests

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestGNUsOwnScriptsPassUnderTheNameTimeout runs the scripts by which GNU tests its timeout(1),
// unchanged, against curfew under that name, five times.
func TestGNUsOwnScriptsPassUnderTheNameTimeout(t *testing.T) {
	if os.Getenv("COREUTILS") == "" {
		t.Skip("SKIPPED: needs GNU's test scripts, which are no part of this project: tests/gnu/run -o DIR fetches them, COREUTILS=DIR names them")
	}
	if raceDetector || testing.Short() {
		t.Skip("takes its time, and runs the plain program")
	}
	for _, needed := range []string{"bash", "perl", "awk"} {
		if _, err := exec.LookPath(needed); err != nil {
			t.Skip("needs the program ", needed)
		}
	}
	out, err := exec.CommandContext(t.Context(), "gnu/run", "-n", "5").CombinedOutput()
	assert.NoError(t, err, "%s", out)
	// Those that cannot be run here say why.
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, " SKIP ") {
			t.Log(line)
		}
	}
	assert.GreaterOrEqual(t, strings.Count(string(out), " PASS "), 5*5, "%s", out)
}
