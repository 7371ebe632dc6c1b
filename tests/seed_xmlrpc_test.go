package tests

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// pythonServer is a SimpleXMLRPCServer that says what it sees: a line for its port, for
// each connection, for each call that hangs, and for the close that such a call sees.
const pythonServer = `
import socketserver, sys, threading
from xmlrpc.server import SimpleXMLRPCServer, SimpleXMLRPCRequestHandler

def say(*words):
    print(*words, flush=True)

here = threading.local()

class Handler(SimpleXMLRPCRequestHandler):
    protocol_version = sys.argv[1]
    def setup(self):
        say("connection")
        super().setup()
    def do_POST(self):
        here.connection = self.connection
        super().do_POST()

class Server(socketserver.ThreadingMixIn, SimpleXMLRPCServer):
    daemon_threads, request_queue_size = True, 128
    def handle_error(self, request, address):
        pass

def hang():
    say("hanging")
    try:
        rest = here.connection.recv(1)
        say("closed" if rest == b"" else "data")
    except OSError as e:
        say("reset")
    return 1

def drip():
    say("dripping")
    import time
    try:
        here.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nContent-Type: text/xml\r\n\r\n<?xml version='1.0'?>")
        while True:
            here.connection.sendall(b" ")
            time.sleep(0.01)
    except OSError as e:
        say("closed")
    return 1

server = Server(("127.0.0.1", int(sys.argv[2])), Handler, allow_none=True, logRequests=False)
server.register_function(lambda x: x, "echo")
server.register_function(hang, "hang")
server.register_function(drip, "drip")
server.register_introspection_functions()
server.register_multicall_functions()
say("port", server.server_address[1])
server.serve_forever()
`

// process is a server in a process of its own, and the lines it says.
type process struct {
	*exec.Cmd
	lines chan string
	ended chan struct{} // closed when it has been waited for
}

// run starts a program that is killed at the test's end.
func run(t testing.TB, name string, args ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(name, args...), lines: make(chan string, 1024), ended: make(chan struct{})}
	p.Stderr = os.Stderr
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	go func() { // ends with the program; the clean-up waits for it
		defer close(p.ended)
		for s := bufio.NewScanner(out); s.Scan(); {
			p.lines <- s.Text()
		}
		_ = p.Wait()
	}()
	t.Cleanup(func() {
		_ = p.Process.Kill() // does nothing to one that has been waited for
		receive(t, p.ended, "the end of "+name)
	})
	return p
}

// needs skips the test where a program is not installed.
func needs(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("SKIPPED: the program %s is not installed", name)
	}
}

// startPython starts the server, speaking the given version of HTTP.
func startPython(t testing.TB, proto string) (p *process, url string) {
	t.Helper()
	p = run(t, "python3", "-c", pythonServer, proto, "0")
	port, ok := strings.CutPrefix(receive(t, p.lines, "the port"), "port ")
	require.True(t, ok)
	return p, "http://127.0.0.1:" + port + "/RPC2"
}

// startPythonAt starts it where another has been.
func startPythonAt(t testing.TB, proto, at string) *process {
	t.Helper()
	u, err := url.Parse(at)
	require.NoError(t, err)
	p := run(t, "python3", "-c", pythonServer, proto, u.Port())
	require.Equal(t, "port "+u.Port(), receive(t, p.lines, "the port"))
	return p
}

func open(t testing.TB, sup *supervisor.Supervisor, x resources.XMLRPC) *resources.XMLRPCSession {
	t.Helper()
	session, err := supervisor.Open(t.Context(), sup, x)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, session.Close()) })
	return session
}

// callExpires makes a call that has to expire, on time.
func callExpires(t testing.TB, sup *supervisor.Supervisor, session *resources.XMLRPCSession, limit time.Duration, method string, args ...any) {
	t.Helper()
	reply := "untouched"
	w := watch(limit)
	err := session.Call(supervisor.WithOptions(t.Context(), supervisor.Within(limit)), method, args, &reply)
	w.stop(t)
	expired := isExpired(t, err)
	assert.Empty(t, expired.Receipt.Leftover)
	assert.NotEmpty(t, expired.Receipt.Cleanup.Released)
	assert.Empty(t, sup.Leftovers())
	assert.Equal(t, "untouched", reply)
}

func TestSeedS17XMLRPCHungCallIsClosedAndTheSessionServesTheNext(t *testing.T) {
	needs(t, "python3")
	for _, proto := range []string{"HTTP/1.0", "HTTP/1.1"} {
		t.Run(proto, func(t *testing.T) {
			sup := realWorld(t, supervisor.WithPolicy(timeoutpolicy.Fixed(patience)))
			server, url := startPython(t, proto)
			session := open(t, sup, resources.XMLRPC{URL: url})
			var answer string
			require.NoError(t, session.Call(t.Context(), "echo", []any{"hello"}, &answer))
			assert.Equal(t, "hello", answer)
			assert.Equal(t, "connection", receive(t, server.lines, "the connection"))
			assert.Empty(t, server.lines, "opening a session connects to nothing, a call once")

			callExpires(t, sup, session, 300*time.Millisecond, "hang")
			if proto == "HTTP/1.0" {
				assert.Equal(t, "connection", receive(t, server.lines, "the call's connection"))
			} // else the one that was kept alive serves it
			assert.Equal(t, "hanging", receive(t, server.lines, "the call"))
			assert.Equal(t, "closed", receive(t, server.lines, "the server's sight of the close"), "an orderly end-of-file")

			require.NoError(t, session.Call(t.Context(), "echo", []any{"again"}, &answer))
			assert.Equal(t, "again", answer)
			assert.Equal(t, "connection", receive(t, server.lines, "the next call's connection"))
			assert.Empty(t, server.lines, "exactly one connection was made for the call that hung, and it was called once")
		})
	}
}

func TestSeedS17XMLRPCAnswerThatDripsIsCut(t *testing.T) {
	needs(t, "python3")
	sup := realWorld(t, supervisor.WithPolicy(timeoutpolicy.Fixed(patience)))
	server, url := startPython(t, "HTTP/1.1")
	session := open(t, sup, resources.XMLRPC{URL: url})
	callExpires(t, sup, session, 300*time.Millisecond, "drip")
	for receive(t, server.lines, "the server's sight of the close") != "closed" {
	}
	var answer int
	require.NoError(t, session.Call(t.Context(), "echo", []any{7}, &answer))
	assert.Equal(t, 7, answer)
}

func TestSeedS17XMLRPCHungCallHoldsUpNoOther(t *testing.T) {
	needs(t, "python3")
	sup := realWorld(t, supervisor.WithPolicy(timeoutpolicy.Fixed(patience)))
	server, url := startPython(t, "HTTP/1.1")
	session := open(t, sup, resources.XMLRPC{URL: url})
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- session.Call(ctx, "hang", nil, nil) }() // waited for below
	for receive(t, server.lines, "the call that hangs") != "hanging" {
	}
	for i := range 10 {
		var answer int
		require.NoError(t, session.Call(t.Context(), "echo", []any{i}, &answer))
		assert.Equal(t, i, answer)
	}
	w := watch(0)
	cancel(errOuter)
	err := receive(t, done, "the answer")
	w.stop(t)
	assert.ErrorIs(t, err, errOuter)
	var cancelled *supervisor.Cancelled
	assert.ErrorAs(t, err, &cancelled)
}

func TestSeedS17XMLRPCFaultIsAnErrorOfItsOwn(t *testing.T) {
	needs(t, "python3")
	sup := realWorld(t, supervisor.WithPolicy(timeoutpolicy.Fixed(patience)))
	_, url := startPython(t, "HTTP/1.1")
	session := open(t, sup, resources.XMLRPC{URL: url})
	err := session.Call(t.Context(), "no.such.method", nil, nil)
	var fault *resources.Fault
	require.ErrorAs(t, err, &fault)
	assert.Contains(t, fault.String, "is not supported")

	var names []string
	require.NoError(t, session.Call(t.Context(), "system.listMethods", nil, &names))
	assert.Subset(t, names, []string{"echo", "hang", "drip", "system.listMethods"})
	results, err := session.Multicall(t.Context(), []resources.MulticallCall{
		{Method: "echo", Args: []any{1}}, {Method: "no.such.method"}, {Method: "echo", Args: []any{"two"}},
	})
	require.NoError(t, err)
	require.Len(t, results, 3)
	assert.EqualValues(t, 1, results[0].Value)
	assert.ErrorAs(t, results[1].Err, &fault)
	assert.Equal(t, "two", results[2].Value)
}

func TestSeedS17ClosingTheSessionEndsItsCalls(t *testing.T) {
	needs(t, "python3")
	sup := realWorld(t, supervisor.WithPolicy(timeoutpolicy.Fixed(patience)))
	server, url := startPython(t, "HTTP/1.1")
	session, err := supervisor.Open(t.Context(), sup, resources.XMLRPC{URL: url})
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- session.Call(t.Context(), "hang", nil, nil) }() // waited for below
	for receive(t, server.lines, "the call that hangs") != "hanging" {
	}
	w := watch(0)
	require.NoError(t, session.Close())
	assert.ErrorIs(t, receive(t, done, "the answer"), supervisor.ErrClosed)
	w.stop(t)
	// A reset where the write of the call had not come back yet.
	assert.Contains(t, []string{"closed", "reset"}, receive(t, server.lines, "the server's sight of the close"))
	assert.ErrorIs(t, session.Call(t.Context(), "echo", []any{1}, nil), supervisor.ErrClosed)
	require.NoError(t, session.Close())
}

// supervisord is where a real supervisord works.
type supervisord struct{ conf, socket string }

// newSupervisord prepares for one with two programs, of which one takes a minute to count
// as started.
func newSupervisord(t testing.TB) supervisord {
	t.Helper()
	// The path of a unix socket may not be longer than some hundred bytes, which that of
	// t.TempDir can be.
	dir, err := os.MkdirTemp("", "sv")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	socket, conf := filepath.Join(dir, "s"), filepath.Join(dir, "conf")
	require.NoError(t, os.WriteFile(conf, []byte(fmt.Sprintf(`
[unix_http_server]
file=%[1]s
username=someone
password=something

[supervisord]
nodaemon=true
silent=true
logfile=/dev/null
logfile_maxbytes=0
pidfile=%[2]s/pid
childlogdir=%[2]s

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[program:slow]
command=sleep 1000
autostart=false
startsecs=60

[program:quick]
command=sleep 1000
autostart=false
`, socket, dir)), 0o600))
	return supervisord{conf, socket}
}

// start starts it. One that was killed before has left its socket, which says nothing.
func (d supervisord) start(t testing.TB) *process {
	t.Helper()
	p := run(t, "supervisord", "-c", d.conf)
	eventually(t, func() bool {
		conn, err := net.Dial("unix", d.socket)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, "supervisord's socket")
	return p
}

// startSupervisord starts a supervisord that ends in order, and returns its socket.
func startSupervisord(t testing.TB) string {
	t.Helper()
	d := newSupervisord(t)
	p := d.start(t)
	t.Cleanup(func() {
		// Asked to end, it ends its programs first.
		assert.NoError(t, p.Process.Signal(syscall.SIGTERM))
		receive(t, p.ended, "supervisord's end")
	})
	return d.socket
}

func TestSeedS17SupervisordServesTheNextCallAfterAnExpiry(t *testing.T) {
	needs(t, "supervisord")
	sup := realWorld(t, supervisor.WithPolicy(timeoutpolicy.Fixed(patience)))
	socket := startSupervisord(t)
	session := open(t, sup, resources.XMLRPC{URL: "unix://" + socket, User: "someone", Password: "something"})

	var state struct {
		Code int    `xmlrpc:"statecode"`
		Name string `xmlrpc:"statename"`
	}
	require.NoError(t, session.Call(t.Context(), "supervisor.getState", nil, &state))
	assert.Equal(t, "RUNNING", state.Name)
	assert.Equal(t, 1, state.Code)

	// It waits for the program to have run for a minute.
	callExpires(t, sup, session, 300*time.Millisecond, "supervisor.startProcess", "slow", true)
	require.NoError(t, session.Call(t.Context(), "supervisor.getState", nil, &state))
	assert.Equal(t, "RUNNING", state.Name)
	var info map[string]any
	require.NoError(t, session.Call(t.Context(), "supervisor.getProcessInfo", []any{"slow"}, &info))
	assert.Equal(t, "STARTING", info["statename"], "what was begun on the other side is its own affair")
	require.NoError(t, session.Call(t.Context(), "supervisor.stopProcess", []any{"slow"}, nil))

	var fault *resources.Fault
	require.ErrorAs(t, session.Call(t.Context(), "supervisor.startProcess", []any{"nobody"}, nil), &fault)
	assert.Equal(t, 10, fault.Code, "BAD_NAME")
	results, err := session.Multicall(t.Context(), []resources.MulticallCall{
		{Method: "supervisor.getState"}, {Method: "supervisor.startProcess", Args: []any{"nobody"}},
	})
	require.NoError(t, err)
	require.Len(t, results, 2)
	assert.NoError(t, results[0].Err)
	assert.ErrorAs(t, results[1].Err, &fault)
}

func TestSeedS17SupervisordRefusesAWrongPassword(t *testing.T) {
	needs(t, "supervisord")
	sup := realWorld(t, supervisor.WithPolicy(timeoutpolicy.Fixed(patience)))
	socket := startSupervisord(t)
	session := open(t, sup, resources.XMLRPC{URL: "unix://" + socket, User: "someone", Password: "wr0ng"})
	err := session.Call(t.Context(), "supervisor.getState", nil, nil)
	var refused *resources.XMLRPCProtocolError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, http.StatusUnauthorized, refused.Status)
	assert.NotContains(t, err.Error(), "wr0ng")
}

func TestSeedS17XMLRPCSilentServerSeesOneConnectionAndItsClose(t *testing.T) {
	// Without Python: a server that accepts, reads the call and says nothing.
	sup := realWorld(t, supervisor.WithPolicy(timeoutpolicy.Fixed(hangLimit)))
	called := make(chan string, 8)
	p := newPeer(t, func(c *peerConn) {
		_, body := c.Request()
		called <- string(body)
	})
	session := open(t, sup, resources.XMLRPC{URL: p.HTTP()})
	w := watch(hangLimit)
	err := session.Call(t.Context(), "hang", nil, nil)
	allowed := w.stop(t)
	expired := isExpired(t, err)
	p.sawClose(t, w.due, allowed)
	assert.EqualValues(t, 1, p.Accepted.Load())
	assert.Contains(t, receive(t, called, "the call"), "<methodName>hang</methodName>")
	assert.Empty(t, called)
	assert.Equal(t, "xmlrpc", expired.Receipt.Kind)
	assert.Contains(t, []actors.Phase{actors.Opening, actors.Running}, expired.Receipt.Phase)
}
