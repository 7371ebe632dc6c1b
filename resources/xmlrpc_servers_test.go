//go:build unix

package resources_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
)

// xmlrpcServer is Python's own server, with a thread a request. It says its port.
const xmlrpcServer = `
import datetime, socketserver, sys, threading, xmlrpc.client, xmlrpc.server
class Server(socketserver.ThreadingMixIn, xmlrpc.server.SimpleXMLRPCServer):
    daemon_threads, request_queue_size = True, 128
s = Server(("127.0.0.1", 0), logRequests=False, allow_none=True, use_builtin_types=True)
if "introspect" in sys.argv: s.register_introspection_functions()
s.register_multicall_functions()
done = threading.Event()
def hang(): done.wait(30)
def kind(v): return type(v).__name__
def fail(): raise xmlrpc.client.Fault(42, "as asked: <&>")
def big(n): return list(range(n))
s.register_function(lambda v: v, "echo")
s.register_function(lambda *a: list(a), "all")
s.register_function(lambda: datetime.datetime(2024, 2, 29, 1, 2, 3), "date")
for f in hang, kind, fail, big: s.register_function(f)
print(s.server_address[1], flush=True)
threading.Thread(target=s.serve_forever, daemon=True).start()
sys.stdin.read()
`

// startXMLRPCPython starts the server and returns its URL. The end of its stdin ends it.
func startXMLRPCPython(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(xmlrpcProgram(t, "python3"), append([]string{"-c", xmlrpcServer}, args...)...)
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	port, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return "http://127.0.0.1:" + strings.TrimSpace(port)
}

func TestXMLRPCWithPythonServer(t *testing.T) {
	sess := openXMLRPC(t, resources.XMLRPC{URL: startXMLRPCPython(t, "introspect")}, fetchLong)

	for _, v := range []any{nil, true, int64(-5), 1.25, "", " a<b>&\t\n\u00e9", []byte("\x00\xff"), []any{}, []any{"x", nil},
		map[string]any{"a<&>": "", "": []any{int64(1)}}, time.Date(2024, 2, 29, 1, 2, 3, 0, time.UTC)} {
		var got any
		require.NoError(t, sess.Call(t.Context(), "echo", []any{v}, &got), "%#v", v)
		assert.Equal(t, v, got)
	}
	var kind string
	require.NoError(t, sess.Call(t.Context(), "kind", []any{int64(1) << 40}, &kind))
	assert.Equal(t, "int", kind)
	require.NoError(t, sess.Call(t.Context(), "kind", []any{nil}, &kind), "a nil is an argument")
	assert.Equal(t, "NoneType", kind)
	require.NoError(t, sess.Call(t.Context(), "kind", []any{[]byte("x")}, &kind))
	assert.Equal(t, "bytes", kind)

	var all []any
	require.NoError(t, sess.Call(t.Context(), "all", nil, &all))
	assert.Empty(t, all)
	require.NoError(t, sess.Call(t.Context(), "all", []any{1, []any{2}, nil}, &all))
	assert.Equal(t, []any{int64(1), []any{int64(2)}, nil}, all)

	var when time.Time
	require.NoError(t, sess.Call(t.Context(), "date", nil, &when))
	assert.Equal(t, time.Date(2024, 2, 29, 1, 2, 3, 0, time.UTC), when)

	var big []int
	require.NoError(t, sess.Call(t.Context(), "big", []any{20_000}, &big))
	assert.Len(t, big, 20_000)

	var fault *resources.Fault
	require.ErrorAs(t, sess.Call(t.Context(), "fail", nil, nil), &fault)
	assert.Equal(t, 42, fault.Code)
	assert.Equal(t, "as asked: <&>", fault.String)
	require.ErrorAs(t, sess.Call(t.Context(), "no.such.method", nil, nil), &fault)
	assert.Equal(t, 1, fault.Code)

	var status *resources.XMLRPCProtocolError
	require.NoError(t, sess.Call(t.Context(), "system.listMethods", nil, &all))
	assert.Contains(t, all, any("echo"))
	elsewhere := openXMLRPC(t, resources.XMLRPC{URL: startXMLRPCPython(t), Path: "/other"}, fetchLong)
	require.ErrorAs(t, elsewhere.Call(t.Context(), "echo", []any{1}, nil), &status)
	assert.Equal(t, 404, status.Status)
}

func TestXMLRPCMulticallWithPythonServer(t *testing.T) {
	for _, args := range [][]string{{"introspect"}, nil} {
		sess := openXMLRPC(t, resources.XMLRPC{URL: startXMLRPCPython(t, args...)}, fetchLong)
		var one []string
		results, err := sess.Multicall(t.Context(), []resources.MulticallCall{
			{Method: "echo", Args: []any{[]any{"x"}}, Reply: &one},
			{Method: "fail"},
			{Method: "all"},
			{Method: "echo", Args: []any{nil}},
			{Method: "echo", Args: []any{"text"}, Reply: new(int)},
		})
		require.NoError(t, err)
		require.Len(t, results, 5)
		assert.Equal(t, []string{"x"}, one)
		var fault *resources.Fault
		require.ErrorAs(t, results[1].Err, &fault)
		assert.Equal(t, 42, fault.Code)
		assert.Equal(t, []any{}, results[2].Value)
		assert.Equal(t, resources.MulticallResult{}, results[3])
		var bad *resources.XMLRPCAnswerError
		assert.ErrorAs(t, results[4].Err, &bad)
	}
}

func TestXMLRPCHungCallBesideGoodOnes(t *testing.T) {
	resourcetest.NothingLeft(t)
	const limit = 300 * time.Millisecond
	conf := resources.XMLRPC{URL: startXMLRPCPython(t)}
	shelf := newShelf(t)
	var end resourcetest.End
	hung := make(chan error, 1)
	plain := resourcetest.PlainTimer(limit)
	go func() { // received below
		slow := conf.Face(&xmlrpcCaller{conf: conf, limit: limit, shelf: shelf, ended: func(e resourcetest.End) { end = e }})
		hung <- slow.Call(t.Context(), "hang", nil, nil)
	}()
	sess := conf.Face(&xmlrpcCaller{conf: conf, limit: fetchLong, shelf: shelf})
	var good sync.WaitGroup
	for i := range 20 {
		good.Go(func() { // waited for below
			var got int
			assert.NoError(t, sess.Call(t.Context(), "echo", []any{i}, &got))
			assert.Equal(t, i, got)
		})
	}
	good.Wait()
	assert.ErrorIs(t, <-hung, context.DeadlineExceeded)
	assert.LessOrEqual(t, end.Late, <-plain+fetchSlack)
	assert.Empty(t, end.Report.Left())
	var got string
	require.NoError(t, sess.Call(t.Context(), "echo", []any{"after"}, &got))
	assert.Equal(t, "after", got)
}

// xmlrpcSupervisord is supervisord with one program, on TCP and on a unix socket, with a password that has
// to be escaped in a URL. The wait for the program's stop is short since a TERM that comes
// before its exec is lost.
type xmlrpcSupervisord struct {
	tcp, unix string // URLs without userinfo
	process   *os.Process
}

const xmlrpcPassword = "p:a@s/s%"

func startXMLRPCSupervisord(t *testing.T) *xmlrpcSupervisord {
	t.Helper()
	program := xmlrpcProgram(t, "supervisord")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	dir := t.TempDir()
	conf := filepath.Join(dir, "s.conf")
	password := strings.ReplaceAll(xmlrpcPassword, "%", "%%")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, `
[supervisord]
nodaemon=true
user=%[4]s
logfile=/dev/null
logfile_maxbytes=0
pidfile=%[1]s/s.pid
[inet_http_server]
port=%[2]s
username=user
password=%[3]s
[unix_http_server]
file=%[1]s/s.sock
username=user
password=%[3]s
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[program:sleeper]
command=sleep 600
autostart=false
startsecs=0
stopwaitsecs=1
`, dir, addr, password, xmlrpcUser()), 0o600))
	cmd := exec.Command(program, "-n", "-c", conf)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	s := &xmlrpcSupervisord{tcp: "http://" + addr, unix: "unix://" + dir + "/s.sock", process: cmd.Process}
	for deadline := time.Now().Add(15 * time.Second); ; <-time.After(20 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
			return s
		}
		require.True(t, time.Now().Before(deadline), "supervisord does not listen")
	}
}

// xmlrpcUser is the user to run as, which supervisord wants to be told when it is root.
func xmlrpcUser() string {
	if os.Geteuid() == 0 {
		return "root"
	}
	return ""
}

func TestXMLRPCWithSupervisord(t *testing.T) {
	s := startXMLRPCSupervisord(t)
	for _, address := range []string{s.tcp, s.unix} {
		conf := resources.XMLRPC{URL: address, User: "user", Password: xmlrpcPassword}
		sess := openXMLRPC(t, conf, fetchLong)

		var state struct {
			Code int    `xmlrpc:"statecode"`
			Name string `xmlrpc:"statename"`
		}
		require.NoError(t, sess.Call(t.Context(), "supervisor.getState", nil, &state))
		assert.Equal(t, 1, state.Code)
		assert.Equal(t, "RUNNING", state.Name)

		var methods []string
		require.NoError(t, sess.Call(t.Context(), "system.listMethods", nil, &methods))
		assert.Contains(t, methods, "system.multicall")

		var started bool
		require.NoError(t, sess.Call(t.Context(), "supervisor.startProcess", []any{"sleeper", true}, &started))
		assert.True(t, started)
		var fault *resources.Fault
		require.ErrorAs(t, sess.Call(t.Context(), "supervisor.startProcess", []any{"sleeper"}, nil), &fault)
		assert.Equal(t, 60, fault.Code, "already started")
		require.ErrorAs(t, sess.Call(t.Context(), "supervisor.startProcess", []any{"no such"}, nil), &fault)
		assert.Equal(t, 10, fault.Code, "bad name")

		// One process: a bare result that looks like a boxed one.
		var info []map[string]any
		results, err := sess.Multicall(t.Context(), []resources.MulticallCall{
			{Method: "supervisor.getAllProcessInfo", Reply: &info},
			{Method: "supervisor.getProcessInfo", Args: []any{"no such"}},
		})
		require.NoError(t, err)
		require.NoError(t, results[0].Err)
		require.Len(t, info, 1)
		assert.Equal(t, "sleeper", info[0]["name"])
		assert.Equal(t, "", info[0]["spawnerr"], "an empty string is none")
		require.ErrorAs(t, results[1].Err, &fault)
		assert.Equal(t, 10, fault.Code)

		require.NoError(t, sess.Call(t.Context(), "supervisor.stopProcess", []any{"sleeper"}, nil))

		conf.Password = "wrong"
		var status *resources.XMLRPCProtocolError
		require.ErrorAs(t, openXMLRPC(t, conf, fetchLong).Call(t.Context(), "supervisor.getState", nil, nil), &status)
		assert.Equal(t, 401, status.Status)
	}
}

func TestXMLRPCWithStoppedServer(t *testing.T) {
	s := startXMLRPCSupervisord(t)
	resourcetest.NothingLeft(t)
	const limit = 300 * time.Millisecond
	conf := resources.XMLRPC{URL: s.tcp, User: "user", Password: xmlrpcPassword}
	var end resourcetest.End
	sess := conf.Face(&xmlrpcCaller{conf: conf, limit: limit, shelf: newShelf(t), ended: func(e resourcetest.End) { end = e }})

	require.NoError(t, s.process.Signal(syscall.SIGSTOP))
	plain := resourcetest.PlainTimer(limit)
	err := sess.Call(t.Context(), "supervisor.getState", nil, nil)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.LessOrEqual(t, end.Late, <-plain+fetchSlack)
	assert.Empty(t, end.Report.Left())

	require.NoError(t, s.process.Signal(syscall.SIGCONT))
	require.Eventually(t, func() bool {
		return sess.Call(t.Context(), "supervisor.getState", nil, nil) == nil
	}, 10*time.Second, 10*time.Millisecond, "it serves again once it goes on")
}
