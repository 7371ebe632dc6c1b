//go:build unix

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources/resourcetest"
)

// curfew is a process of its own, in a session without a terminal.
func curfew(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), "curfew", args...)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return c
}

// started starts c and returns when it has said ready on its standard output, the rest of
// which is read with rest.
func started(t *testing.T, c *exec.Cmd) (rest func() string) {
	t.Helper()
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	r := bufio.NewReader(out)
	line, err := r.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return func() string {
		all, err := io.ReadAll(r)
		require.NoError(t, err)
		return string(all)
	}
}

// exitCode waits for c.
func exitCode(t *testing.T, c *exec.Cmd) int {
	t.Helper()
	if err := c.Wait(); err != nil {
		require.IsType(t, &exec.ExitError{}, err)
	}
	return c.ProcessState.ExitCode()
}

// loop is a shell command that says ready and then waits for a signal.
const loop = `echo ready; n=0; while [ $n -lt 400 ]; do n=$((n+1)); sleep 0.05; done`

func TestSignalsArePassedOnToTheCommand(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the command's main process is found on Linux alone")
	}
	for name, sig := range map[string]syscall.Signal{
		"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "QUIT": syscall.SIGQUIT,
		"USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2, "WINCH": syscall.SIGWINCH,
	} {
		if signal.Ignored(sig) {
			t.Logf("%s is ignored here, as under nohup, and stays so in what is started", name)
			continue
		}
		resourcetest.NothingLeft(t)
		c := curfew(t, "exec", "-t", "20", "sh", "-c", `trap "echo got `+name+`; exit 5" `+name+`; `+loop)
		rest := started(t, c)
		require.NoError(t, c.Process.Signal(sig))
		assert.Equal(t, "got "+name+"\n", rest(), "once")
		assert.Equal(t, 5, exitCode(t, c))
	}
}

func TestSignalThatEndsTheCommandIsItsCode(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the command's main process is found on Linux alone")
	}
	report := filepath.Join(t.TempDir(), "report.json")
	c := curfew(t, "exec", "-t", "20", "--report", report, "sh", "-c", loop)
	rest := started(t, c)
	require.NoError(t, c.Process.Signal(syscall.SIGTERM))
	rest()
	assert.Equal(t, 128+int(syscall.SIGTERM), exitCode(t, c))
	receipt := readReceipts(t, report)[0]
	assert.Equal(t, "failed", receipt["outcome"])
	assert.Equal(t, map[string]any{"code": nil, "signal": "TERM"}, receipt["exit"])
}

func TestIgnoredHangupStaysIgnored(t *testing.T) {
	if _, err := exec.LookPath("nohup"); err != nil {
		t.Skip("nohup is not there")
	}
	c := exec.CommandContext(t.Context(), "nohup", "curfew", "exec", "-t", "20", "sh", "-c", `echo ready; read x; echo still there`)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := c.StdinPipe()
	require.NoError(t, err)
	rest := started(t, c)
	require.NoError(t, c.Process.Signal(syscall.SIGHUP))
	_, err = io.WriteString(in, "go on\n")
	require.NoError(t, err)
	assert.Equal(t, "still there\n", rest())
	assert.Zero(t, exitCode(t, c))
}

func TestSignalEndsARequestWithItsCode(t *testing.T) {
	page := startHTTP(t)
	address := startPeer(t, "tcp", "127.0.0.1:0", greeter)
	for _, args := range [][]string{
		{"fetch", page + "/hang"},
		{"dial", address},
		{"xmlrpc", page, "hang"},
	} {
		for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT} {
			report := filepath.Join(t.TempDir(), "report.json")
			c := curfew(t, append([]string{args[0], "-t", "20", "--report", report}, args[1:]...)...)
			var stderr bytes.Buffer
			c.Stderr = &stderr
			require.NoError(t, c.Start())
			awaitSocket(t, c.Process.Pid)
			require.NoError(t, c.Process.Signal(sig))
			assert.Equal(t, 128+int(sig), exitCode(t, c))
			assert.Contains(t, stderr.String(), "cancelled")
			assert.NotContains(t, stderr.String(), "goroutine")
			assert.Equal(t, "cancelled", readReceipts(t, report)[0]["outcome"])
		}
	}
}

func TestResultThatNobodyReadsHoldsNobody(t *testing.T) {
	page := startHTTP(t)
	for name, args := range map[string][]string{
		"fetch":          {"fetch", page + "/large", page + "/hello", page + "/large"},
		"fetch, as JSON": {"fetch", "--output", "json", page + "/large"},
		"xmlrpc":         {"xmlrpc", page, "large"},
		"exec, as JSON":  {"exec", "--output", "json", "head", "-c", "1000000", "/dev/zero"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := curfew(t, append([]string{args[0], "-t", "2.5"}, args[1:]...)...)
			var stderr bytes.Buffer
			c.Stderr = &stderr
			_, err := c.StdoutPipe() // open, and never read
			require.NoError(t, err)
			require.NoError(t, c.Start())
			began := time.Now()
			assert.Equal(t, codeExpired, exitCode(t, c))
			assert.Equal(t, "curfew: write the result: timeout exceeded: it is not being read\n", stderr.String(), "said once")
			assert.Greater(t, time.Since(began), time.Second)
			assert.Less(t, time.Since(began), 4*time.Second)
		})
	}
}

func TestOutputThatCannotBeWrittenIsAFailureOfOurs(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full")
	}
	defer full.Close()
	for script, code := range map[string]int{
		"echo out":         codeInternal,
		"echo out; exit 3": 3, // the command's own comes first
	} {
		c := curfew(t, "exec", "-t", "20", "--stall", "10", "sh", "-c", script)
		var stderr bytes.Buffer
		c.Stdout, c.Stderr = full, &stderr
		require.NoError(t, c.Start())
		assert.Equal(t, code, exitCode(t, c), script)
		assert.Equal(t, "curfew: write the result: write /dev/stdout: no space left on device\n", stderr.String(), script)
	}
	c := curfew(t, "exec", "-t", "20", "--stall", "10", "sh", "-c", "echo out")
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close()) // nobody reads any more
	c.Stdout = w
	require.NoError(t, c.Start())
	require.NoError(t, w.Close())
	assert.Equal(t, codeSignal+int(syscall.SIGPIPE), exitCode(t, c))
}

func TestMessageThatNobodyReadsHoldsNobody(t *testing.T) {
	page := startHTTP(t)
	const most = 10 * time.Second
	for code, args := range map[int][]string{
		codeExpired: {"exec", "-t", "0.3", "--report", "-", "sleep", "30"},
		codeFailed:  {"fetch", "-t", "5", "-v", page + "/missing"},
		codeUsage:   {"fetch", "-t", "5"},
	} {
		t.Run(args[0]+strconv.Itoa(code), func(t *testing.T) {
			t.Parallel()
			c := curfew(t, args...)
			r, w, err := os.Pipe() // open, and never read
			require.NoError(t, err)
			defer time.AfterFunc(most, func() { _ = r.Close() }).Stop()
			defer r.Close()
			fillPipe(t, w)
			c.Stderr = w
			require.NoError(t, c.Start())
			require.NoError(t, w.Close())
			began := time.Now()
			assert.Equal(t, code, exitCode(t, c))
			assert.Less(t, time.Since(began), most)
		})
	}
}

// fillPipe writes until there is no room.
func fillPipe(t *testing.T, w *os.File) {
	t.Helper()
	require.NoError(t, w.SetWriteDeadline(time.Now().Add(50*time.Millisecond)))
	_, err := w.Write(make([]byte, 16<<20))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestSignalEndsTheWritingOfAResult(t *testing.T) {
	page := startHTTP(t)
	for _, limit := range []string{"60", "none"} {
		c := curfew(t, "fetch", "-t", limit, page+"/large")
		out, err := c.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, c.Start())
		_, err = io.ReadFull(out, make([]byte, 1)) // it is being written; no more is read
		require.NoError(t, err)
		require.NoError(t, c.Process.Signal(syscall.SIGTERM))
		assert.Equal(t, codeSignal+int(syscall.SIGTERM), exitCode(t, c))
	}
}

func TestWhatAServerSendsUnaskedIsNotLogged(t *testing.T) {
	address := startPeer(t, "tcp", "127.0.0.1:0", func(c net.Conn, over <-chan struct{}) {
		_, _ = c.Read(make([]byte, 1024))
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokunasked")
		<-over
	})
	// The first is done long before the last.
	page := startHTTP(t)
	c := curfew(t, "fetch", "-t", "0.5", "http://"+address, page+"/hang")
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	require.NoError(t, c.Start())
	assert.Equal(t, codeExpired, exitCode(t, c))
	assert.Equal(t, "ok", stdout.String())
	assert.NotContains(t, stderr.String(), "unasked")
}

// awaitSocket returns when the process has a socket, or where that cannot be seen, after a
// time that is enough for one.
func awaitSocket(t *testing.T, pid int) {
	t.Helper()
	if runtime.GOOS != "linux" {
		<-time.After(500 * time.Millisecond)
		return
	}
	require.Eventually(t, func() bool {
		links, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/fd/*")
		for _, l := range links {
			if to, _ := os.Readlink(l); strings.HasPrefix(to, "socket:") {
				return true
			}
		}
		return false
	}, 10*time.Second, time.Millisecond)
}

func TestExecEndsOnTime(t *testing.T) {
	resourcetest.NothingLeft(t)
	const limit = 300 * time.Millisecond
	report := filepath.Join(t.TempDir(), "report.json")
	plain := resourcetest.PlainTimer(limit)
	c := curfew(t, "exec", "-t", "0.3", "--report", report, "sleep", "30")
	require.NoError(t, c.Start())
	assert.Equal(t, codeExpired, exitCode(t, c))
	assertOnTime(t, readReceipts(t, report)[0], limit, <-plain)
}

func TestSilentStandardInputHoldsNobody(t *testing.T) {
	address := startPeer(t, "tcp", "127.0.0.1:0", func(c net.Conn, _ <-chan struct{}) { io.WriteString(c, "bye\n") })
	c := curfew(t, "dial", "-t", "20", address)
	in, err := c.StdinPipe() // stays open, and says nothing
	require.NoError(t, err)
	defer in.Close()
	out, err := c.Output()
	require.NoError(t, err)
	assert.Equal(t, "bye\n", string(out))
}

// measured is a program that runs another one, writes the most memory that has had, in
// bytes, and ends with its code. A child's figure begins with that of its parent, so the
// parent must not be a test that has been running for some time.
func measured() {
	c := exec.Command(os.Args[1], os.Args[2:]...)
	c.Stderr = os.Stderr
	if err := c.Run(); c.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(codeInternal)
	}
	fmt.Println(c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10)
	os.Exit(c.ProcessState.ExitCode())
}

// memoryMaxBytes is what no answer may make curfew use.
const memoryMaxBytes = 128 << 20

func TestMemoryIsBounded(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the most memory is counted in KiB on Linux alone")
	}
	page, bound := startHTTP(t), int64(memoryMaxBytes)
	cases := []struct {
		code int
		says string
		args []string
	}{
		{codeFailed, "body larger than", []string{"fetch", page + "/bomb"}},
		{codeFailed, "body larger than", []string{"fetch", page + "/huge"}},
		{codeFailed, "nested too deeply", []string{"xmlrpc", page, "deep"}},
		{codeFailed, "body larger than", []string{"xmlrpc", page, "endless"}},
		{codeDone, "", []string{"xmlrpc", page, "wide"}},
		{codeDone, "", []string{"xmlrpc", page, "huge"}},
	}
	if raceDetector {
		bound *= 4        // what the detector may make of it
		cases = cases[:4] // decoding is slow under it, and in the library's own tests
	}
	for _, c := range cases {
		cmd := exec.CommandContext(t.Context(), "measured", append([]string{"curfew", c.args[0], "-t", "60"}, c.args[1:]...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		var most int64
		_, scanErr := fmt.Sscan(string(out), &most)
		require.NoError(t, scanErr, err)
		assert.Equal(t, c.code, cmd.ProcessState.ExitCode(), c.args)
		assert.Contains(t, stderr.String(), c.says)
		t.Logf("%q: %d MB", c.args, most>>20)
		assert.Less(t, most, bound, c.args)
	}
}
