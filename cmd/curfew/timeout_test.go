//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestUnderTheNameTimeoutItIsTimeout builds curfew as anybody does: what a command
// inherits of ignored signals takes the linker's consent.
func TestUnderTheNameTimeoutItIsTimeout(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("the program go is not here")
	}
	dir := t.TempDir()
	built, name := filepath.Join(dir, "curfew"), filepath.Join(dir, "timeout")
	out, err := exec.Command(tool, "build", "-o", built, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, os.Symlink("curfew", name))

	out, err = exec.Command(name, "--version").Output()
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(out), "timeout (Curfew) "), "%s", out)

	out, err = exec.Command("sh", "-c", `trap '' QUIT; exec "$0" 10 sh -c 'kill -QUIT $$; echo here'`, name).Output()
	require.NoError(t, err)
	assert.Equal(t, "here\n", string(out))

	c := exec.Command(name, ".1", "sleep", "10")
	require.Error(t, c.Run())
	assert.Equal(t, 124, c.ProcessState.ExitCode())

	out, err = exec.Command(built, "version").Output()
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(string(out), "curfew "), "%s", out)
}
