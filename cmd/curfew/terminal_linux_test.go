package main

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal with a session of its own on the other side.
type terminal struct {
	*os.File
	lines *bufio.Reader
	cmd   *exec.Cmd
}

// onTerminal runs a shell command line as the leader of a session on a new terminal.
func onTerminal(t *testing.T, line string) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("there are no pseudo-terminals: ", err)
	}
	t.Cleanup(func() { master.Close() })
	raw, err := master.SyscallConn()
	require.NoError(t, err)
	number := 0
	require.NoError(t, raw.Control(func(fd uintptr) {
		require.NoError(t, unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0))
		number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		require.NoError(t, err)
	}))
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("the other side of a pseudo-terminal cannot be opened: ", err)
	}
	defer slave.Close()
	c := exec.CommandContext(t.Context(), "sh", "-c", line)
	c.Stdin, c.Stdout, c.Stderr = slave, slave, slave
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, c.Start())
	return &terminal{master, bufio.NewReader(master), c}
}

// until reads up to a line that ends in text.
func (p *terminal) until(t *testing.T, text string) {
	t.Helper()
	for {
		line, err := p.lines.ReadString('\n')
		require.NoError(t, err)
		if strings.HasSuffix(strings.TrimSpace(line), text) {
			return
		}
	}
}

// rest reads what comes until the session has ended, and waits for it.
func (p *terminal) rest(t *testing.T) string {
	t.Helper()
	all, _ := io.ReadAll(p.lines) // a terminal nobody has open is an error, not an end
	_ = p.cmd.Wait()
	return strings.ReplaceAll(string(all), "\r", "")
}

func TestInterruptFromTheTerminalComesOnce(t *testing.T) {
	p := onTerminal(t, `trap : INT; curfew exec -t 20 sh -c 'trap "n=\$((n+1))" INT; n=0; echo ready; read x; read x; echo interrupts $n'; echo code $?`)
	p.until(t, "ready")
	_, err := p.Write([]byte{3}) // ^C
	require.NoError(t, err)
	_, err = io.WriteString(p, "\ngo on\n")
	require.NoError(t, err)
	assert.Contains(t, p.rest(t), "interrupts 1\ncode 0\n")
}

func TestInterruptFromTheTerminalEndsTheCommand(t *testing.T) {
	// The leader of the session must not die of it itself.
	p := onTerminal(t, `trap : INT; curfew exec -t 20 sh -c 'echo ready; exec sleep 30'; echo code $?`)
	p.until(t, "ready")
	_, err := p.Write([]byte{3})
	require.NoError(t, err)
	assert.Contains(t, p.rest(t), "code 130\n")
}

func TestCommandKeepsItsTerminalAndJobControl(t *testing.T) {
	p := onTerminal(t, `set -m; curfew exec -t 20 sh -c 'test -t 0 && test -t 1 && echo terminal; kill -TSTP 0; echo resumed'; echo stopped $?; fg >/dev/null; echo code $?`)
	out := p.rest(t)
	assert.Contains(t, out, "terminal\n")
	assert.Contains(t, out, "stopped "+strconv.Itoa(codeSignal+int(syscall.SIGTSTP)))
	assert.Contains(t, out, "resumed\n")
	assert.Contains(t, out, "code 0\n")
}

func TestOrphansInTheTerminalsGroupGoToo(t *testing.T) {
	p := onTerminal(t, `curfew exec -t 20 sh -c '(sleep 300 & echo pid $!)'; echo code $?`)
	out := p.rest(t)
	assert.Contains(t, out, "code 0\n")
	_, pid, _ := strings.Cut(out, "pid ")
	pid, _, _ = strings.Cut(pid, "\n")
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	assert.True(t, err != nil || strings.Contains(string(stat), ") Z "), "%s", stat)
}

func TestProgressIsShownOnATerminalAndTakenAway(t *testing.T) {
	page := startHTTP(t)
	p, quiet := onTerminal(t, `curfew fetch -t 1.5 `+page+`/hang`), onTerminal(t, `curfew fetch -q -t 1.5 `+page+`/hang`)
	out := p.rest(t)
	assert.Contains(t, out, "fetch: 1s of 1.5")
	assert.Contains(t, out, "\x1b[Kcurfew: fetch http://")
	assert.Empty(t, quiet.rest(t))
}
