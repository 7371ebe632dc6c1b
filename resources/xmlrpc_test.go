package resources_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
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
	"curfew.example/timeoutpolicy"
)

var _ resources.Session[resources.Fetch, *resources.XMLRPCSession] = resources.XMLRPC{}

// xmlrpcCaller makes calls directly, each as the runtime makes a request.
type xmlrpcCaller struct {
	conf  resources.XMLRPC
	limit time.Duration
	shelf *resources.Shelf
	ended func(resourcetest.End) // may be nil
}

// xmlrpcUse is one call as a use.
type xmlrpcUse struct {
	conf resources.XMLRPC
	call func(context.Context, resources.Fetch, *resources.Held) (any, error)
}

func (u xmlrpcUse) Spec() (resources.Spec, error) { return u.conf.Spec() }

func (u xmlrpcUse) Run(ctx context.Context, held *resources.Held) (any, error) {
	f, err := u.conf.Open(ctx, held)
	if err != nil {
		return nil, err
	}
	return u.call(ctx, f, held)
}

func (c *xmlrpcCaller) Do(ctx context.Context, call func(context.Context, resources.Fetch, *resources.Held) (any, error)) (any, error) {
	end := resourcetest.Drive(ctx, xmlrpcUse{c.conf, call}, timeoutpolicy.Budget{Limit: c.limit}, c.shelf)
	if c.ended != nil {
		c.ended(end)
	}
	if end.Aborted {
		return end.Value, context.DeadlineExceeded
	}
	return end.Value, end.Err
}

func (c *xmlrpcCaller) Close() error { return nil }

// openXMLRPC is a session whose calls have limit, and whose connections are shared.
func openXMLRPC(t testing.TB, conf resources.XMLRPC, limit time.Duration) *resources.XMLRPCSession {
	t.Helper()
	_, err := conf.Spec()
	require.NoError(t, err)
	return conf.Face(&xmlrpcCaller{conf: conf, limit: limit, shelf: newShelf(t), ended: func(end resourcetest.End) {
		assert.True(t, end.Back)
		assert.Empty(t, end.Report.Left())
	}})
}

// xmlrpcSay is an HTTP answer with body.
func xmlrpcSay(status, header, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s", status, len(body), header, body)
}

// xmlrpcPeer plays for each request on its connections what reply says. It holds the
// connection when that is empty, and closes it after one that says so.
func xmlrpcPeer(t testing.TB, listener net.Listener, reply func(n int, body string) string) *fetchPeer {
	t.Helper()
	var mu sync.Mutex
	n := 0
	return newFetchPeer(t, listener, func(c *peerConn) {
		for {
			req, body := c.Request()
			if req == nil {
				return
			}
			mu.Lock()
			n++
			say := reply(n, string(body))
			mu.Unlock()
			if say == "" {
				return
			}
			c.Say(say)
			if strings.Contains(say, "Connection: close") {
				_ = c.Close()
				return
			}
		}
	})
}

func TestXMLRPCSpec(t *testing.T) {
	tests := []struct {
		conf             resources.XMLRPC
		target, endpoint string
	}{
		{resources.XMLRPC{URL: "http://user:secret@Host/path?key=secret"}, "http://host:80", "host:80"},
		{resources.XMLRPC{URL: "https://host:8443"}, "https://host:8443", "host:8443"},
		{resources.XMLRPC{URL: "unix:///run/s.sock"}, "unix:///run/s.sock", "unix:/run/s.sock"},
		{resources.XMLRPC{URL: "unix://user:secret@/run/s.sock", Path: "/secret"}, "unix:///run/s.sock", "unix:/run/s.sock"},
		{resources.XMLRPC{URL: "http+unix:///run/s.sock"}, "unix:///run/s.sock", "unix:/run/s.sock"},
		{resources.XMLRPC{URL: "http+unix://%2Frun%2Fs.sock/secret"}, "unix:///run/s.sock", "unix:/run/s.sock"},
	}
	for _, tt := range tests {
		spec, err := tt.conf.Spec()
		require.NoError(t, err, tt.conf.URL)
		assert.Equal(t, resources.Spec{Kind: "xmlrpc", Target: tt.target, Endpoint: tt.endpoint}, spec)
	}
	for field, bad := range map[string][]resources.XMLRPC{
		"URL": {{}, {URL: "host"}, {URL: "ftp://user:secret@host"}, {URL: "http://"}, {URL: "http://[secret"}, {URL: "http://host:secret"},
			{URL: "http://host:0"}, {URL: "unix://"}, {URL: "unix:///"}, {URL: "unix://secret"}, {URL: "http+unix://%zzsecret/"}, {URL: "http+unix://secret/x"}},
		"User":         {{URL: "http://host", User: "secret:secret"}, {URL: "http://a%3Asecret:x@host"}},
		"Path":         {{URL: "unix:///s", Path: "secret"}},
		"Header":       {{URL: "http://host", Header: http.Header{"X": {"secret\n"}}}},
		"Charset":      {{URL: "http://host", Charset: "secret"}, {URL: "http://host", Charset: "utf-16"}},
		"BodyMaxBytes": {{URL: "http://host", BodyMaxBytes: -1}},
		"ItemsMax":     {{URL: "http://host", ItemsMax: -1}},
		"Shape":        {{URL: "http://host", Shape: "secret"}},
		"Proxy":        {{URL: "http://host", Proxy: "ftp://secret"}, {URL: "unix:///s", Proxy: "http://host"}},
	} {
		for _, conf := range bad {
			_, err := conf.Spec()
			var invalid *resources.Invalid
			if assert.ErrorAs(t, err, &invalid, "%+v", conf) {
				assert.Equal(t, "xmlrpc", invalid.Kind)
				assert.Equal(t, field, invalid.Field, "%+v", conf)
				assert.NotContains(t, err.Error(), "secret")
			}
		}
	}
}

func TestXMLRPCCallIsOnePost(t *testing.T) {
	resourcetest.NothingLeft(t)
	type seen struct {
		method, uri, auth, contentType, extra string
		body                                  string
	}
	requests := make(chan seen, 10)
	server := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		requests <- seen{r.Method, r.RequestURI, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), r.Header.Get("X-Extra"), string(body)}
		_, _ = io.WriteString(w, xmlrpcValue("<int>3</int>"))
	}, false)

	host := strings.TrimPrefix(server.URL, "http://")
	sess := openXMLRPC(t, resources.XMLRPC{URL: "http://user:p%3A%40ss@" + host + "?q=1", Header: http.Header{"X-Extra": {"x"}}}, fetchLong)
	var sum int
	require.NoError(t, sess.Call(t.Context(), "add", []any{1, 2}, &sum))
	assert.Equal(t, 3, sum)
	got := <-requests
	assert.Equal(t, "POST", got.method)
	assert.Equal(t, "/RPC2?q=1", got.uri)
	assert.Equal(t, "Basic dXNlcjpwOkBzcw==", got.auth)
	assert.Equal(t, "text/xml", got.contentType)
	assert.Equal(t, "x", got.extra)
	assert.Equal(t, `<?xml version="1.0" encoding="UTF-8"?><methodCall><methodName>add</methodName><params><param><value><int>1</int></value></param><param><value><int>2</int></value></param></params></methodCall>`, got.body)

	sess = openXMLRPC(t, resources.XMLRPC{URL: "http://a:b@" + host, Path: "/p", User: "user", Password: "word"}, fetchLong)
	require.NoError(t, sess.Call(t.Context(), "m", nil, nil))
	require.NoError(t, sess.Call(t.Context(), "m", nil, nil))
	got = <-requests
	assert.Equal(t, "/p", got.uri)
	assert.Equal(t, "Basic dXNlcjp3b3Jk", got.auth)
	assert.EqualValues(t, 2, server.conns.Load(), "one connection a session: it is kept alive")
	assert.NoError(t, sess.Close())
}

func TestXMLRPCBadInputSendsNothing(t *testing.T) {
	conf := resources.XMLRPC{URL: "http://127.0.0.1:1"}
	sess := conf.Face(nil) // a call under a nil caller would panic
	var invalid *resources.Invalid
	assert.ErrorAs(t, sess.Call(t.Context(), "", nil, nil), &invalid)
	assert.ErrorAs(t, sess.Call(t.Context(), "m", []any{make(chan int)}, nil), &invalid)
	assert.ErrorAs(t, sess.Call(t.Context(), "m", nil, "not a pointer"), &invalid)
	assert.ErrorAs(t, sess.Call(t.Context(), "m", nil, (*int)(nil)), &invalid)
	_, err := sess.Multicall(t.Context(), []resources.MulticallCall{{Method: "m"}, {Method: "m", Reply: 1}})
	assert.ErrorAs(t, err, &invalid)
	_, err = sess.Multicall(t.Context(), []resources.MulticallCall{{}})
	assert.ErrorAs(t, err, &invalid)
	none, err := sess.Multicall(t.Context(), nil)
	assert.Empty(t, none)
	assert.NoError(t, err)
}

func TestXMLRPCConnectionRefusedIsSaid(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	sess := openXMLRPC(t, resources.XMLRPC{URL: "http://u:secret@" + l.Addr().String() + "/secret"}, fetchLong)
	err = sess.Call(t.Context(), "m", nil, nil)
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	assert.NotContains(t, err.Error(), "secret")
}

// Each nasty answer ends its own call with a typed error, and the session serves the
// next one: kolo's client is dead after most of them.
func TestXMLRPCNastyServers(t *testing.T) {
	resourcetest.NothingLeft(t)
	isAnswer := func(t *testing.T, err error) {
		var bad *resources.XMLRPCAnswerError
		assert.ErrorAs(t, err, &bad)
	}
	isStatus := func(status int) func(*testing.T, error) {
		return func(t *testing.T, err error) {
			var bad *resources.XMLRPCProtocolError
			if assert.ErrorAs(t, err, &bad) {
				assert.Equal(t, status, bad.Status)
				assert.LessOrEqual(t, len(bad.Body), 4<<10)
				assert.NotContains(t, err.Error(), "secret")
			}
		}
	}
	is := func(want error) func(*testing.T, error) {
		return func(t *testing.T, err error) { isAnswer(t, err); assert.ErrorIs(t, err, want) }
	}
	tooLarge := func(t *testing.T, err error) {
		var bad *resources.TooLargeError
		assert.ErrorAs(t, err, &bad)
	}
	ok := "200 OK"
	tests := map[string]struct {
		say   string
		check func(*testing.T, error)
	}{
		"HTML page":             {xmlrpcSay(ok, "Content-Type: text/html\r\n", "<html><body><value>hello</value></body></html>"), isAnswer},
		"wrong root":            {xmlrpcSay(ok, "", "<methodCall><params><param><value>x</value></param></params></methodCall>"), isAnswer},
		"nothing":               {xmlrpcSay(ok, "", ""), isAnswer},
		"cut document":          {xmlrpcSay(ok, "", xmlrpcValue("x")[:60]), isAnswer},
		"cut connection":        {"HTTP/1.1 200 OK\r\nContent-Length: 500\r\nConnection: close\r\n\r\n" + xmlrpcValue("x")[:60], func(t *testing.T, err error) { assert.Error(t, err) }},
		"204":                   {"HTTP/1.1 204 No Content\r\n\r\n", isStatus(204)},
		"301":                   {xmlrpcSay("301 Moved", "Location: /secret\r\n", ""), isStatus(301)},
		"401":                   {xmlrpcSay("401 Unauthorized", "", "secret"), isStatus(401)},
		"500 with a long body":  {xmlrpcSay("500 Oh", "", strings.Repeat("secret", 5000)), isStatus(500)},
		"text for an int":       {xmlrpcSay(ok, "", xmlrpcValue("x")), isAnswer},
		"no value":              {xmlrpcSay(ok, "", "<methodResponse><params/></methodResponse>"), isAnswer},
		"bytes beyond UTF-8":    {xmlrpcSay(ok, "", xmlrpcValue("\xff")), is(resources.ErrXMLRPCCharset)},
		"400,000 arrays":        {xmlrpcSay(ok, "", xmlrpcNested(400_000)), tooLarge},
		"400,000 arrays zipped": {xmlrpcSay(ok, "Content-Encoding: gzip\r\n", xmlrpcZip(xmlrpcNested(400_000))), tooLarge},
		"200,000 arrays zipped": {xmlrpcSay(ok, "Content-Encoding: gzip\r\n", xmlrpcZip(xmlrpcNested(200_000))), is(resources.ErrXMLRPCDepth)},
		"500 too large":         {xmlrpcSay("500 Oh", "Content-Encoding: gzip\r\n", xmlrpcZip(strings.Repeat("secret", 4<<20))), isStatus(500)},
		"500 cut":               {"HTTP/1.1 500 Oh\r\nContent-Length: 500\r\nConnection: close\r\n\r\nsecret", isStatus(500)},
		"gzip bomb":             {xmlrpcSay(ok, "Content-Encoding: gzip\r\n", xmlrpcZip(xmlrpcValue(strings.Repeat("x", 32<<20)))), tooLarge},
		"entity bomb":           {xmlrpcSay(ok, "", "<!DOCTYPE a [<!ENTITY b 'bb'><!ENTITY c '&b;&b;'>]>"+xmlrpcValue("&c;")), is(resources.ErrXMLRPCDTD)},
	}
	for what, tt := range tests {
		t.Run(what, func(t *testing.T) {
			peer := xmlrpcPeer(t, nil, func(n int, _ string) string {
				if n == 1 {
					return tt.say
				}
				return xmlrpcSay(ok, "", xmlrpcValue("<int>7</int>"))
			})
			sess := openXMLRPC(t, resources.XMLRPC{URL: peer.HTTP()}, fetchLong)
			reply := -1
			peak := xmlrpcPeak(t, func() { tt.check(t, sess.Call(t.Context(), "m", nil, &reply)) })
			assert.Less(t, peak, uint64(128<<20), "heap")
			assert.Equal(t, -1, reply)
			require.NoError(t, sess.Call(t.Context(), "m", nil, &reply))
			assert.Equal(t, 7, reply)
		})
	}
}

func xmlrpcZip(s string) string {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	_, _ = io.WriteString(z, s)
	_ = z.Close()
	return b.String()
}

func TestXMLRPCFaultIsTyped(t *testing.T) {
	fault := "<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>4</int></value></member>" +
		"<member><name>faultString</name><value>too many</value></member></struct></value></fault></methodResponse>"
	peer := xmlrpcPeer(t, nil, func(int, string) string { return xmlrpcSay("200 OK", "", fault) })
	sess := openXMLRPC(t, resources.XMLRPC{URL: peer.HTTP()}, fetchLong)
	reply := "kept"
	var got *resources.Fault
	require.ErrorAs(t, sess.Call(t.Context(), "m", nil, &reply), &got)
	assert.Equal(t, 4, got.Code)
	assert.Equal(t, "too many", got.String)
	assert.Equal(t, "kept", reply)
}

func TestXMLRPCOverTLS(t *testing.T) {
	resourcetest.NothingLeft(t)
	server := newCountingServer(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, xmlrpcValue("x"))
	}, true)
	var got string
	sess := openXMLRPC(t, resources.XMLRPC{URL: server.URL, TLS: server.trust()}, fetchLong)
	require.NoError(t, sess.Call(t.Context(), "m", nil, &got))
	assert.Equal(t, "x", got)
	sess = openXMLRPC(t, resources.XMLRPC{URL: server.URL}, fetchLong)
	assert.Error(t, sess.Call(t.Context(), "m", nil, &got), "the system's authorities do not know it")
}

func TestXMLRPCOverUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	var uri string
	newFetchPeer(t, l, func(c *peerConn) {
		if req, _ := c.Request(); req != nil {
			uri = req.RequestURI
			c.Say(xmlrpcSay("200 OK", "Connection: close\r\n", xmlrpcValue("x")))
		}
	})
	for address, want := range map[string]string{
		"unix://" + path:      "/RPC2",
		"http+unix://" + path: "/RPC2",
		"http+unix://" + strings.ReplaceAll(path, "/", "%2F") + "/other": "/other",
	} {
		sess := openXMLRPC(t, resources.XMLRPC{URL: address}, fetchLong)
		var got string
		require.NoError(t, sess.Call(t.Context(), "m", nil, &got), address)
		assert.Equal(t, "x", got)
		assert.Equal(t, want, uri)
	}
}

// Seed S17: the hung call makes one connection, which is closed at its expiry, and the
// session serves the next call.
func TestXMLRPCHungCallExpires(t *testing.T) {
	resourcetest.NothingLeft(t)
	const limit = 200 * time.Millisecond
	peer := xmlrpcPeer(t, nil, func(n int, body string) string {
		if strings.Contains(body, "hang") {
			return ""
		}
		return xmlrpcSay("200 OK", "", xmlrpcValue("x"))
	})
	conf := resources.XMLRPC{URL: peer.HTTP()}
	var end resourcetest.End
	caller := &xmlrpcCaller{conf: conf, limit: limit, shelf: newShelf(t), ended: func(e resourcetest.End) { end = e }}
	sess := conf.Face(caller)

	reply := "kept"
	plain := resourcetest.PlainTimer(limit)
	due := time.Now().Add(limit)
	err := sess.Call(t.Context(), "hang", nil, &reply)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.LessOrEqual(t, end.Late, <-plain+fetchSlack)
	assert.True(t, end.Back)
	assert.Empty(t, end.Report.Left())
	assert.Equal(t, "kept", reply)
	peer.sawClose(t, due, fetchSlack)
	assert.EqualValues(t, 1, peer.Accepted.Load())

	require.NoError(t, sess.Call(t.Context(), "echo", nil, &reply))
	assert.Equal(t, "x", reply)
	assert.EqualValues(t, 2, peer.Accepted.Load(), "the closed connection is not used again")
}

func TestXMLRPCSlowCallHoldsUpNoOther(t *testing.T) {
	resourcetest.NothingLeft(t)
	release := make(chan struct{})
	server := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if bytes.Contains(body, []byte("slow")) {
			<-release
		}
		_, _ = io.WriteString(w, xmlrpcValue("<int>1</int>"))
	}, false)
	sess := openXMLRPC(t, resources.XMLRPC{URL: server.URL}, fetchLong)

	slow := make(chan error, 1)
	go func() { slow <- sess.Call(t.Context(), "slow", nil, nil) }() // received below
	var quick sync.WaitGroup
	for range 64 {
		quick.Go(func() { // waited for below
			var n int
			assert.NoError(t, sess.Call(t.Context(), "quick", nil, &n))
			assert.Equal(t, 1, n)
		})
	}
	quick.Wait()
	select {
	case err := <-slow:
		assert.Fail(t, "the slow call was not slow", "%v", err)
	default:
	}
	close(release)
	assert.NoError(t, <-slow)
}

// A caller that comes back before its runner, as after an expiry whose clean-up did not
// succeed: the runner's answer, which comes later, must not reach reply. The race
// detector looks on.
type xmlrpcDeserter struct {
	fetch resources.Fetch
	left  sync.WaitGroup
}

func (d *xmlrpcDeserter) Do(_ context.Context, call func(context.Context, resources.Fetch, *resources.Held) (any, error)) (any, error) {
	began := make(chan struct{})
	d.left.Go(func() { // the test waits for left
		var keeper resources.Keeper
		close(began)
		held := keeper.Begin(nil)
		_, _ = call(context.Background(), d.fetch, held)
		keeper.Seal(false)
		keeper.Release(time.Second, time.Second)
	})
	<-began
	return nil, context.DeadlineExceeded
}

func (d *xmlrpcDeserter) Close() error { return nil }

func TestXMLRPCRunnerLeftBehindDoesNotTouchReply(t *testing.T) {
	peer := xmlrpcPeer(t, nil, func(int, string) string { return xmlrpcSay("200 OK", "", xmlrpcValue("late")) })
	conf := resources.XMLRPC{URL: peer.HTTP()}
	var keeper resources.Keeper
	f, err := conf.Open(t.Context(), keeper.Begin(nil))
	require.NoError(t, err)
	caller := &xmlrpcDeserter{fetch: f}
	reply := "kept"
	assert.ErrorIs(t, conf.Face(caller).Call(t.Context(), "m", nil, &reply), context.DeadlineExceeded)
	reply += " and written to"
	caller.left.Wait()
	assert.Equal(t, "kept and written to", reply)
}

// A value that comes with an error, as when the release failed after a success, is stored.
type xmlrpcUnreleased struct{ *xmlrpcCaller }

func (c xmlrpcUnreleased) Do(ctx context.Context, call func(context.Context, resources.Fetch, *resources.Held) (any, error)) (any, error) {
	v, err := c.xmlrpcCaller.Do(ctx, call)
	return v, errors.Join(err, resources.ErrSealed)
}

func TestXMLRPCValueWithAnErrorIsStored(t *testing.T) {
	peer := xmlrpcPeer(t, nil, func(int, string) string { return xmlrpcSay("200 OK", "", xmlrpcValue("<nil/>")) })
	conf := resources.XMLRPC{URL: peer.HTTP()}
	var reply any = "old"
	sess := conf.Face(xmlrpcUnreleased{&xmlrpcCaller{conf: conf, limit: fetchLong}})
	assert.ErrorIs(t, sess.Call(t.Context(), "m", nil, &reply), resources.ErrSealed)
	assert.Nil(t, reply)
}

func TestXMLRPCMulticallShapes(t *testing.T) {
	boxed := func(s string) string { return "<value><array><data><value>" + s + "</value></data></array></value>" }
	bare := func(s string) string { return "<value>" + s + "</value>" }
	fault := bare("<struct><member><name>faultCode</name><value><int>2</int></value></member><member><name>faultString</name><value>no</value></member></struct>")
	list := "<array><data><value>one</value></data></array>"
	noFault := "<struct><member><name>faultCode</name><value>x</value></member></struct>"
	one := []any{"one"}
	tests := map[string]struct {
		shape   resources.MulticallShape
		results []string // the last one answers the question, when it is asked
		want    []any    // nil is an error
	}{
		"boxed":                           {"", []string{boxed("a"), boxed(list), fault, boxed("help")}, []any{"a", one, 2}},
		"bare":                            {"", []string{bare("a"), bare(list), fault, bare("help")}, []any{"a", one, 2}},
		"bare lists of one":               {"", []string{bare(list), bare(list), bare("help")}, []any{one, one}},
		"bare struct that is no fault":    {"", []string{bare(noFault), bare("")}, []any{map[string]any{"faultCode": "x"}}},
		"no help, bare":                   {"", []string{bare("a"), bare(list), fault}, []any{"a", one}},
		"no help, boxed":                  {"", []string{boxed("a"), fault, fault}, []any{"a", 2}},
		"no help, bare lists, not told":   {"", []string{bare(list), fault}, []any{"one"}},
		"said to be bare":                 {resources.MulticallBare, []string{bare(list), fault}, []any{one, 2}},
		"said to be boxed":                {resources.MulticallBoxed, []string{boxed(list), fault}, []any{one, 2}},
		"said to be boxed, is not":        {resources.MulticallBoxed, []string{bare("a")}, []any{nil}},
		"too few":                         {resources.MulticallBare, nil, nil},
		"boxed, one that is not, by help": {"", []string{bare("a"), boxed("help")}, []any{nil}},
	}
	for what, tt := range tests {
		peer := xmlrpcPeer(t, nil, func(_ int, body string) string {
			assert.Equal(t, tt.shape == "", strings.Contains(body, "methodHelp"), what)
			return xmlrpcSay("200 OK", "", xmlrpcValue("<array><data>"+strings.Join(tt.results, "")+"</data></array>"))
		})
		sess := openXMLRPC(t, resources.XMLRPC{URL: peer.HTTP(), Shape: tt.shape}, fetchLong)
		calls := make([]resources.MulticallCall, max(len(tt.want), 1))
		for i := range calls {
			calls[i] = resources.MulticallCall{Method: "m", Args: []any{i}}
		}
		results, err := sess.Multicall(t.Context(), calls)
		var bad *resources.XMLRPCAnswerError
		if tt.want == nil {
			assert.ErrorAs(t, err, &bad, what)
			continue
		}
		require.NoError(t, err, what)
		for i, want := range tt.want {
			var failed *resources.Fault
			switch code, isCode := want.(int); {
			case isCode:
				require.ErrorAs(t, results[i].Err, &failed, what)
				assert.Equal(t, code, failed.Code, what)
			case want == nil:
				assert.ErrorAs(t, results[i].Err, &bad, what)
			default:
				assert.NoError(t, results[i].Err, what)
				assert.Equal(t, want, results[i].Value, what)
			}
		}
	}
}

func TestXMLRPCIsAKind(t *testing.T) {
	use := func(conf resources.XMLRPC) resources.Use { return xmlrpcWhole{conf} }
	good := func(t testing.TB) resources.Use {
		peer := xmlrpcPeer(t, nil, func(int, string) string { return xmlrpcSay("200 OK", "", xmlrpcValue("x")) })
		return use(resources.XMLRPC{URL: "http://u:secret@" + peer.Addr + "/secret"})
	}
	resourcetest.Suite(t, resourcetest.Kind{
		Name: "xmlrpc",
		Good: good,
		Hang: func(t testing.TB) resources.Use {
			peer := xmlrpcPeer(t, nil, func(int, string) string { return "" })
			return use(resources.XMLRPC{URL: "http://u:secret@" + peer.Addr + "/secret"})
		},
		Fail: func(t testing.TB) resources.Use {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			require.NoError(t, l.Close())
			return use(resources.XMLRPC{URL: "http://u:secret@" + l.Addr().String() + "/secret"})
		},
		FailsWith: syscall.ECONNREFUSED,
		Bad:       []resources.Use{use(resources.XMLRPC{}), use(resources.XMLRPC{URL: "ftp://u:secret@h"})},
		Check:     func(t testing.TB, value any) { assert.Equal(t, "x", value) },
		Secrets:   []string{"secret"},
	})
}

// xmlrpcWhole is a session with one call, in one use.
type xmlrpcWhole struct{ conf resources.XMLRPC }

func (u xmlrpcWhole) Spec() (resources.Spec, error) { return u.conf.Spec() }

func (u xmlrpcWhole) Run(ctx context.Context, held *resources.Held) (any, error) {
	f, err := u.conf.Open(ctx, held)
	if err != nil {
		return nil, err
	}
	var v any
	err = u.conf.Face(xmlrpcInline{f, held}).Call(ctx, "m", []any{"secret"}, &v)
	return v, err
}

type xmlrpcInline struct {
	f    resources.Fetch
	held *resources.Held
}

func (c xmlrpcInline) Do(ctx context.Context, call func(context.Context, resources.Fetch, *resources.Held) (any, error)) (any, error) {
	return call(ctx, c.f, c.held)
}

func (c xmlrpcInline) Close() error { return nil }
