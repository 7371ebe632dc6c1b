package remote_test

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"curfew.example/actors/remote"
	"curfew.example/actors/remote/remotetest"
	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// childEnv makes the test binary a node in a process of its own.
const childEnv = "CURFEW_REMOTE_CHILD"

// raceExit spares a process under the race detector its second of sleep at the end.
const raceExit = "GORACE=atexit_sleep_ms=10"

// childConf is what a child is told, as JSON on its standard input.
type childConf struct {
	Listen         string // empty: any port
	TLS            resources.TLS
	ConnectionsMax int
	Allow          *remote.Allow // nil: Serve is not called
	Ask, URL       string        // a peer, and what to ask it for, without end
}

// childState is what a child says about itself, for each line that it reads.
type childState struct {
	Address    string
	Goroutines int
	FDs        int
	Live       int64
	Leftovers  int
}

// childMain is the child: it says its state for each line it reads, and closes at the end.
func childMain() int {
	lines := bufio.NewReader(os.Stdin)
	var conf childConf
	first, err := lines.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(first, &conf)
	}
	if err != nil {
		return childFails(err)
	}
	node, err := remote.Start(remote.Config{Listen: cmp.Or(conf.Listen, "127.0.0.1:0"), TLS: conf.TLS, ConnectionsMax: conf.ConnectionsMax})
	if err != nil {
		return childFails(err)
	}
	sup, err := supervisor.Start(supervisor.Under(node.System().Root), supervisor.WithPolicy(timeoutpolicy.Fixed(20*time.Second)))
	if err != nil {
		return childFails(err)
	}
	if conf.Allow != nil {
		if err := node.Serve(sup.PID(), *conf.Allow); err != nil {
			return childFails(err)
		}
	}
	if conf.Ask != "" {
		go childAsks(node, conf) // ends with the process
	}
	say := func() {
		state := childState{Address: node.Address(), Goroutines: runtime.NumGoroutine(), Live: node.Live(), Leftovers: len(sup.Leftovers())}
		if all, err := os.ReadDir("/proc/self/fd"); err == nil {
			state.FDs = len(all)
		}
		_ = json.NewEncoder(os.Stdout).Encode(state)
	}
	say()
	for {
		if _, err := lines.ReadBytes('\n'); err != nil {
			break
		}
		say()
	}
	if err := node.Close(); err != nil {
		return childFails(err)
	}
	if err := sup.Close(); err != nil {
		return childFails(err)
	}
	return 0
}

func childAsks(node *remote.Node, conf childConf) {
	peer, err := node.Peer(conf.Ask)
	if err == nil {
		_, err = remote.Do(context.Background(), peer, resources.Fetch{URL: conf.URL}, remote.Options{Within: time.Minute})
	}
	fmt.Fprintln(os.Stderr, "asked:", err)
}

func childFails(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// child is a node in another process.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *json.Decoder
	state childState
}

// startChild starts a node that serves what allow says.
func startChild(t *testing.T, conf childConf) *child {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	c := &child{t: t, cmd: exec.Command(self)}
	c.cmd.Env = append(os.Environ(), childEnv+"=1", raceExit)
	c.cmd.Stderr = os.Stderr
	c.in, err = c.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	c.out = json.NewDecoder(out)
	require.NoError(t, c.cmd.Start())
	t.Cleanup(func() {
		if c.cmd.ProcessState == nil {
			_ = c.cmd.Process.Kill()
			_ = c.cmd.Wait()
		}
	})
	line, err := json.Marshal(conf)
	require.NoError(t, err)
	_, err = c.in.Write(append(line, '\n'))
	require.NoError(t, err)
	require.NoError(t, c.out.Decode(&c.state))
	return c
}

// look asks the child how it is; that it answers says that it lives.
func (c *child) look() childState {
	c.t.Helper()
	_, err := c.in.Write([]byte("\n"))
	require.NoError(c.t, err, "the child is gone")
	var s childState
	require.NoError(c.t, c.out.Decode(&s), "the child is gone")
	return s
}

// kill is kill -9, and waits for the end.
func (c *child) kill() {
	c.t.Helper()
	require.NoError(c.t, c.cmd.Process.Kill())
	_ = c.cmd.Wait()
}

func (c *child) signal(sig syscall.Signal) {
	c.t.Helper()
	require.NoError(c.t, c.cmd.Process.Signal(sig))
}

// close ends the child in order and expects it to end well.
func (c *child) close() {
	c.t.Helper()
	require.NoError(c.t, c.in.Close())
	require.NoError(c.t, c.cmd.Wait())
}

// authority makes certificates for 127.0.0.1.
func authority(t *testing.T) func() resources.TLS {
	t.Helper()
	a, err := remotetest.NewAuthority()
	require.NoError(t, err)
	return func() resources.TLS {
		conf, err := a.Issue("127.0.0.1")
		require.NoError(t, err)
		return conf
	}
}

// startNode starts this process's node.
func startNode(t *testing.T, conf remote.Config) *remote.Node {
	t.Helper()
	if conf.Listen == "" {
		conf.Listen = "127.0.0.1:0"
	}
	n, err := remote.Start(conf)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	return n
}

// pair starts a child that serves allow and a node here, and returns the child as seen
// from here.
func pair(t *testing.T, allow *remote.Allow, change ...func(*remote.Config)) (*remote.Peer, *child) {
	t.Helper()
	issue := authority(t)
	c := startChild(t, childConf{TLS: issue(), Allow: allow})
	conf := remote.Config{TLS: issue()}
	for _, f := range change {
		f(&conf)
	}
	n := startNode(t, conf)
	p, err := n.Peer(c.state.Address)
	require.NoError(t, err)
	return p, c
}

// silentListener accepts in the kernel alone, and says nothing.
func silentListener(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}
