package tests

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/tests/alone"
	"curfew.example/tests/peers"
	"curfew.example/timeoutpolicy"
)

// fetch runs f under sup with time enough.
func fetch(t testing.TB, sup *supervisor.Supervisor, f resources.Fetch) (*resources.Response, error) {
	t.Helper()
	return supervisor.Do(t.Context(), sup, f, supervisor.Within(patience))
}

// countedServer is an HTTP server that counts its connections.
type countedServer struct {
	*httptest.Server
	conns atomic.Int32
}

func newServerFor(t testing.TB, h http.HandlerFunc) *countedServer {
	t.Helper()
	return newCountedServer(t, h, false)
}

func newCountedServer(t testing.TB, h http.HandlerFunc, overTLS bool) *countedServer {
	t.Helper()
	s := &countedServer{Server: httptest.NewUnstartedServer(h)}
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if overTLS {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// closedPort is an address where nobody listens.
func closedPort(t testing.TB) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, listener.Close())
	return listener.Addr().String()
}

func TestSeedS11ConnectionRefusedIsReportedAsWhatItIs(t *testing.T) {
	sup := realWorld(t)
	var rec supervisor.Receipt
	began := time.Now()
	resp, err := supervisor.Do(t.Context(), sup, resources.Fetch{URL: "http://" + closedPort(t) + "/secret?token=1"},
		supervisor.Within(patience), supervisor.WithReceipt(&rec))
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
	assert.NotErrorIs(t, err, context.DeadlineExceeded)
	var expired *supervisor.Expired
	assert.False(t, errors.As(err, &expired), "it is no timeout")
	assert.Nil(t, resp)
	assert.Equal(t, actors.Failed, rec.Outcome)
	assert.Less(t, time.Since(began), time.Second, "nor does it take until one")
	assert.NotContains(t, err.Error(), "secret")
	assert.NotContains(t, err.Error(), "token")
}

func TestSeedS12ServerThatNeverAcceptsSeesTheRequestAndThenTheEnd(t *testing.T) {
	sup := realWorld(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	_, expired := expires(t, sup, resources.Fetch{URL: "http://" + listener.Addr().String() + "/late"}, hangLimit)
	assert.NotEmpty(t, expired.Receipt.Cleanup.Released, "the connection is in the receipt")

	conn, err := listener.Accept()
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
	all, err := io.ReadAll(conn)
	assert.NoError(t, err, "the request, and then end-of-file")
	assert.True(t, strings.HasPrefix(string(all), "GET /late HTTP/1.1\r\n"), "%q", all)
	assert.True(t, strings.HasSuffix(string(all), "\r\n\r\n"), "%q", all)
}

func TestSeedS13BodyThatDripsIsCutInTheMiddle(t *testing.T) {
	sup := realWorld(t)
	p := newPeer(t, func(c *peerConn) {
		_, _ = c.Request()
		c.Say("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
		c.Drip("x", peers.DripEvery)
	})
	due := time.Now().Add(hangLimit)
	resp, expired := expires(t, sup, resources.Fetch{URL: p.HTTP()}, hangLimit)
	p.sawClose(t, due, time.Since(due)+slack)
	assert.Equal(t, actors.Running, expired.Receipt.Phase)
	require.NotNil(t, resp, "what had come is not lost")
	assert.True(t, resp.Partial)
	assert.Equal(t, 200, resp.Status)
	assert.NotEmpty(t, resp.Body)
	assert.Less(t, len(resp.Body), 1000)
}

func TestSeedS15FetchInTimeReturnsTheContent(t *testing.T) {
	sup := realWorld(t, supervisor.WithPolicy(timeoutpolicy.Fixed(patience)))
	s := newServerFor(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Kind", "content")
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, strings.Repeat("content ", 1000))
	})
	for range 3 {
		resp, err := supervisor.Do(t.Context(), sup, resources.Fetch{URL: s.URL})
		require.NoError(t, err)
		assert.Equal(t, http.StatusCreated, resp.Status)
		assert.Equal(t, "content", resp.Header.Get("X-Kind"))
		assert.Equal(t, strings.Repeat("content ", 1000), string(resp.Body))
		assert.EqualValues(t, 8000, resp.BodyBytes)
		assert.False(t, resp.Partial)
	}
	assert.EqualValues(t, 1, s.conns.Load(), "a connection that is good is used again")
}

func TestSeedS15FetchKeepsToItsByteLimit(t *testing.T) {
	sup := realWorld(t)
	s := newServerFor(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(make([]byte, 4096))
	})
	resp, err := fetch(t, sup, resources.Fetch{URL: s.URL, BodyMaxBytes: 4096})
	require.NoError(t, err)
	assert.Len(t, resp.Body, 4096)

	resp, err = fetch(t, sup, resources.Fetch{URL: s.URL, BodyMaxBytes: 4095})
	var tooLarge *resources.TooLargeError
	require.ErrorAs(t, err, &tooLarge)
	assert.EqualValues(t, 4095, tooLarge.MaxBytes)
	assert.Nil(t, resp)
}

func TestSeedS15FetchStreamsToASink(t *testing.T) {
	sup := realWorld(t)
	s := newServerFor(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "for the disk") })
	path := filepath.Join(t.TempDir(), "page")
	resp, err := fetch(t, sup, resources.Fetch{URL: s.URL, Sink: &resources.Sink{Path: path}})
	require.NoError(t, err)
	assert.Nil(t, resp.Body)
	assert.EqualValues(t, len("for the disk"), resp.BodyBytes)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "for the disk", string(text))
}

func TestSeedS16OnlyHTTPIsFetched(t *testing.T) {
	sup := realWorld(t, supervisor.WithPolicy(timeoutpolicy.Fixed(patience)))
	p := newPeer(t, func(*peerConn) {})
	for _, address := range []string{
		"ftp://" + p.Addr + "/", "file:///etc/passwd", "gopher://" + p.Addr, "HTTPX://" + p.Addr,
		p.Addr, "//" + p.Addr + "/", "/etc/passwd", "", "http:", "http://", "://" + p.Addr,
	} {
		var rec supervisor.Receipt
		resp, err := supervisor.Do(t.Context(), sup, resources.Fetch{URL: address}, supervisor.WithReceipt(&rec))
		var invalid *supervisor.Invalid
		if assert.ErrorAs(t, err, &invalid, address) {
			assert.Equal(t, "URL", invalid.Field, address)
		}
		assert.Nil(t, resp, address)
		assert.Equal(t, actors.Refused, rec.Outcome, address)
	}
	assert.Zero(t, p.Accepted.Load(), "before any connection")
}

func TestSeedM09StoppedRequestRefusesFurtherDials(t *testing.T) {
	// The first hop expires; the redirect and the retry that would follow may not connect.
	sup := realWorld(t)
	second := newPeer(t, func(c *peerConn) { _, _ = c.Request() })
	first := newPeer(t, func(c *peerConn) {
		_, _ = c.Request()
		// The answer comes with the close: the stopped client does not act on it.
		c.AwaitClose()
		c.Say("HTTP/1.1 302 Found\r\nLocation: " + second.HTTP() + "\r\nContent-Length: 0\r\n\r\n")
	})
	due := time.Now().Add(hangLimit)
	expires(t, sup, resources.Fetch{URL: first.HTTP()}, hangLimit)
	first.sawClose(t, due, time.Since(due)+slack)
	assert.EqualValues(t, 1, first.Accepted.Load())
	assert.Zero(t, second.Accepted.Load())
}

func TestSeedM09WhatAStoppedRequestOpensIsClosedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		sup := start(t)
		here, there := net.Pipe()
		var kept error
		_, err := do(t, sup, func(ctx context.Context) (int, error) {
			<-ctx.Done()
			time.Sleep(time.Second) // a dial that hears nothing
			kept = resources.HeldFrom(ctx).Keep(&resources.Piece{What: "late connection", Close: here.Close})
			_, err := there.Read(make([]byte, 1))
			assert.ErrorIs(t, err, io.EOF, "it is closed by now")
			return 1, nil
		}, supervisor.Within(time.Second))
		isExpired(t, err)
		assert.ErrorIs(t, kept, resources.ErrSealed)
	})
}

func TestSeedM09CleanupReachesEveryConnectionOfTheRequest(t *testing.T) {
	sup := realWorld(t)
	last := newPeer(t, func(c *peerConn) { _, _ = c.Request() })
	first := newPeer(t, func(c *peerConn) {
		_, _ = c.Request()
		c.Say("HTTP/1.1 302 Found\r\nLocation: " + last.HTTP() + "\r\nContent-Length: 0\r\n\r\n")
	})
	due := time.Now().Add(hangLimit)
	expires(t, sup, resources.Fetch{URL: first.HTTP()}, hangLimit)
	last.sawClose(t, due, time.Since(due)+slack)
	assert.EqualValues(t, 1, first.Accepted.Load())
	assert.EqualValues(t, 1, last.Accepted.Load())
}

func TestSeedM09PooledConnectionIsClosedWhenItsRequestExpires(t *testing.T) {
	sup := realWorld(t)
	p := newPeer(t, func(c *peerConn) {
		for {
			req, _ := c.Request()
			if req == nil || req.URL.Path == "/hang" {
				return
			}
			c.Say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	resp, err := fetch(t, sup, resources.Fetch{URL: p.HTTP()})
	require.NoError(t, err)
	assert.Equal(t, "ok", string(resp.Body))
	due := time.Now().Add(hangLimit)
	expires(t, sup, resources.Fetch{URL: p.HTTP() + "/hang"}, hangLimit)
	p.sawClose(t, due, time.Since(due)+slack)
	assert.EqualValues(t, 1, p.Accepted.Load(), "it went over the pooled connection, and no second one was made")

	resp, err = fetch(t, sup, resources.Fetch{URL: p.HTTP()})
	require.NoError(t, err, "the pool is not poisoned")
	assert.False(t, resp.Reused)
	assert.EqualValues(t, 2, p.Accepted.Load())
}

func TestSeedM10AnyMethodHeadersAndBody(t *testing.T) {
	sup := realWorld(t)
	s := newServerFor(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.Header.Get("X-Asked"), body)
	})
	for _, method := range []string{"", "POST", "PUT", "PATCH", "DELETE", "REPORT"} {
		resp, err := fetch(t, sup, resources.Fetch{URL: s.URL, Method: method, Header: http.Header{"X-Asked": {"yes"}}, Body: []byte("body")})
		require.NoError(t, err, method)
		if method == "" {
			method = "POST"
		}
		assert.Equal(t, method+" yes body", string(resp.Body))
	}
}

func TestSeedM10EnvironmentsProxiesAndNetrcAreIgnored(t *testing.T) {
	if alone.Run(t) { // net/http reads the environment at its first request, of whichever test that is
		return
	}
	proxy := newPeer(t, func(*peerConn) {})
	home := t.TempDir()
	netrc := filepath.Join(home, ".netrc")
	require.NoError(t, os.WriteFile(netrc, []byte("default login someone password something\n"), 0o600))
	for name, value := range map[string]string{
		"HTTP_PROXY": proxy.HTTP(), "http_proxy": proxy.HTTP(), "ALL_PROXY": proxy.HTTP(), "all_proxy": proxy.HTTP(),
		"NO_PROXY": "", "no_proxy": "", "HOME": home, "NETRC": netrc,
	} {
		t.Setenv(name, value)
	}
	asked, err := http.NewRequest("GET", "http://target.invalid/", nil)
	require.NoError(t, err)
	by, err := http.ProxyFromEnvironment(asked)
	require.NoError(t, err)
	require.Equal(t, proxy.HTTP(), by.String(), "whoever looks there finds the proxy")
	sup := realWorld(t)
	s := newServerFor(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "direct, authorization %q", r.Header.Get("Authorization"))
	})
	// net/http does not use a proxy for loopback addresses either, so the name is another
	// one: it resolves nowhere, and a proxy would be the only way.
	_, err = fetch(t, sup, resources.Fetch{URL: "http://target.invalid/"})
	assert.Error(t, err)
	assert.Zero(t, proxy.Accepted.Load())

	resp, err := fetch(t, sup, resources.Fetch{URL: s.URL})
	require.NoError(t, err)
	assert.Equal(t, `direct, authorization ""`, string(resp.Body))
	assert.Zero(t, proxy.Accepted.Load())
}

func TestSeedM10ProxyIsUsedWhereItIsGiven(t *testing.T) {
	sup := realWorld(t)
	asked := make(chan string, 1)
	proxy := newPeer(t, func(c *peerConn) {
		req, _ := c.Request()
		asked <- req.RequestURI
		c.Say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nby proxy!")
	})
	resp, err := fetch(t, sup, resources.Fetch{URL: "http://target.invalid/page", Proxy: proxy.HTTP()})
	require.NoError(t, err)
	assert.Equal(t, "by proxy!", string(resp.Body))
	assert.Equal(t, "http://target.invalid/page", receive(t, asked, "the proxy's request"))
}

func TestSeedM11StatusIsAnErrorUnlessAskedOtherwise(t *testing.T) {
	sup := realWorld(t)
	s := newServerFor(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Why", "gone fishing")
		status := http.StatusNotFound
		if r.URL.Path == "/503" {
			status = http.StatusServiceUnavailable
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "the reason")
	})
	for path, status := range map[string]int{"/404": 404, "/503": 503} {
		var rec supervisor.Receipt
		resp, err := supervisor.Do(t.Context(), sup, resources.Fetch{URL: s.URL + path}, supervisor.Within(patience), supervisor.WithReceipt(&rec))
		var failed *resources.StatusError
		require.ErrorAs(t, err, &failed)
		assert.Equal(t, status, failed.Status)
		assert.Equal(t, "the reason", string(failed.Body), "the body can be read from the error")
		assert.Equal(t, "gone fishing", failed.Header.Get("X-Why"))
		require.NotNil(t, resp, "and the result is there")
		assert.Equal(t, "the reason", string(resp.Body))
		assert.Equal(t, actors.Failed, rec.Outcome)

		resp, err = fetch(t, sup, resources.Fetch{URL: s.URL + path, AnyStatus: true})
		require.NoError(t, err)
		assert.Equal(t, status, resp.Status)
		assert.Equal(t, "the reason", string(resp.Body))
	}
}

func TestSeedM12NoSecretIsShown(t *testing.T) {
	secrets := []string{"s3cret", "pa55word", "t0ken", "hiddenpath", "bodyofwork", "argum3nt", "env1ronment"}
	rec := &recorder{}
	sup := realWorld(t, supervisor.WithEvents(rec.hook))
	hang := newPeer(t, func(*peerConn) {})
	notFound := newPeer(t, func(c *peerConn) {
		_, _ = c.Request()
		c.Say("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
	})
	broken := newPeer(t, func(c *peerConn) {
		_, _ = c.Request()
		c.Say("nonsense\r\n\r\n")
	})
	address := func(where string) string { return "http://s3cret:pa55word@" + where + "/hiddenpath?key=t0ken#t0ken" }
	uses := map[string]resources.Use{
		"expired":        resources.Of(resources.Fetch{URL: address(hang.Addr), Body: []byte("bodyofwork")}),
		"refused":        resources.Of(resources.Fetch{URL: address(closedPort(t))}),
		"status":         resources.Of(resources.Fetch{URL: address(notFound.Addr)}),
		"broken":         resources.Of(resources.Fetch{URL: address(broken.Addr)}),
		"unknown host":   resources.Of(resources.Fetch{URL: address("nobody.invalid")}),
		"scheme":         resources.Of(resources.Fetch{URL: "ftp" + strings.TrimPrefix(address(hang.Addr), "http")}),
		"malformed":      resources.Of(resources.Fetch{URL: "http://s3cret:pa55word@[::1/hiddenpath?key=t0ken\x7f"}),
		"proxy refused":  resources.Of(resources.Fetch{URL: "http://target.invalid/hiddenpath", Proxy: "http://s3cret:pa55word@" + closedPort(t)}),
		"command":        resources.Of(resources.Command{Path: "sleep", Args: []string{"60", "argum3nt"}, Env: []string{"X=env1ronment"}}),
		"command hangs":  resources.Of(resources.Command{Path: "sh", Args: []string{"-c", "sleep 60 # argum3nt"}, Env: []string{"X=env1ronment"}}),
		"upload hangs":   resources.Of(resources.Fetch{URL: address(hang.Addr), Header: http.Header{"Authorization": {"pa55word"}}, BodyFrom: silence()}),
		"socket":         resources.Of(resources.Socket{Address: "tcp://" + hang.Addr, Send: []byte("bodyofwork")}),
		"socket refused": resources.Of(resources.Socket{Address: closedPort(t), Send: []byte("bodyofwork")}),
		"socket address": resources.Of(resources.Socket{Address: "tcp://s3cret:pa55word@" + hang.Addr}),
		"command absent": resources.Of(resources.Command{Path: "no-such-program", Args: []string{"argum3nt"}}),
	}
	for name, use := range uses {
		var receipt supervisor.Receipt
		_, err := supervisor.Do(t.Context(), sup, anyUse{use}, supervisor.Within(hangLimit), supervisor.WithReceipt(&receipt))
		require.Error(t, err, name)
		text, jsonErr := receipt.MarshalJSON()
		require.NoError(t, jsonErr)
		shown := fmt.Sprintf("%v %+v %s", err, err, text)
		for e := err; e != nil; e = errors.Unwrap(e) {
			shown += e.Error()
		}
		for _, secret := range secrets {
			assert.NotContains(t, shown, secret, name)
		}
	}
	require.NoError(t, sup.Close())
	for _, e := range rec.all() {
		shown := fmt.Sprintf("%+v", e)
		if e.Receipt != nil {
			shown += fmt.Sprintf("%+v", *e.Receipt)
		}
		for _, secret := range secrets {
			assert.NotContains(t, shown, secret)
		}
	}
}

// silence is a reader that has nothing to say until it is closed.
func silence() io.Reader {
	r, _ := io.Pipe()
	return r
}

func TestSeedM12NoSecretOfASessionIsShown(t *testing.T) {
	secrets := []string{"s3cret", "pa55word", "t0ken", "hiddenpath", "argum3nt"}
	sup := realWorld(t, supervisor.WithPolicy(timeoutpolicy.Fixed(hangLimit)))
	hang := newPeer(t, func(c *peerConn) { _, _ = c.Request() })
	answers := func(text string) string {
		return newPeer(t, func(c *peerConn) { _, _ = c.Request(); c.Say(text) }).Addr
	}
	for name, address := range map[string]string{
		"expired":      hang.Addr,
		"refused":      closedPort(t),
		"unknown host": "nobody.invalid",
		"status":       answers("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"),
		"nonsense":     answers("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nnonsense"),
		"no HTTP":      answers("nonsense\r\n\r\n"),
		"malformed":    "[::1",
	} {
		var rec supervisor.Receipt
		session, err := supervisor.Open(t.Context(), sup, resources.XMLRPC{URL: "http://s3cret:pa55word@" + address + "/hiddenpath?key=t0ken"})
		if err == nil {
			err = session.Call(supervisor.WithOptions(t.Context(), supervisor.WithReceipt(&rec)), "hang", []any{"argum3nt"}, nil)
			assert.NoError(t, session.Close())
		}
		require.Error(t, err, name)
		text, jsonErr := rec.MarshalJSON()
		require.NoError(t, jsonErr)
		shown := fmt.Sprintf("%v %+v %s", err, err, text)
		for _, secret := range secrets {
			assert.NotContains(t, shown, secret, name)
		}
	}
}

// anyUse is a Use as a Resource again.
type anyUse struct{ resources.Use }

func TestSeedM13SinkIsRemovedOnExpiry(t *testing.T) {
	sup := realWorld(t)
	p := newPeer(t, func(c *peerConn) {
		_, _ = c.Request()
		c.Say("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhalf of it")
	})
	dir := t.TempDir()
	path := filepath.Join(dir, "page")
	require.NoError(t, os.WriteFile(path, []byte("the old page"), 0o600))
	resp, _ := expires(t, sup, resources.Fetch{URL: p.HTTP(), Sink: &resources.Sink{Path: path}}, hangLimit)
	if assert.NotNil(t, resp) {
		assert.True(t, resp.Partial)
		assert.EqualValues(t, len("half of it"), resp.BodyBytes)
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "the old page", string(text), "the path is what it was before")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1, "the temporary file is gone")
}

func TestSeedM13SinkHasATemporaryNameUntilItIsComplete(t *testing.T) {
	sup := realWorld(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "page")
	midway, goOn := make(chan struct{}), make(chan struct{})
	s := newServerFor(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first half, ")
		w.(http.Flusher).Flush()
		close(midway)
		<-goOn
		_, _ = io.WriteString(w, "second half")
	})
	done := make(chan error, 1)
	go func() { // waited for below
		_, err := supervisor.Do(context.Background(), sup, resources.Fetch{URL: s.URL, Sink: &resources.Sink{Path: path}}, supervisor.Within(patience))
		done <- err
	}()
	receive(t, midway, "the first half")
	assert.NoFileExists(t, path)
	close(goOn)
	require.NoError(t, receive(t, done, "the answer"))
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "first half, second half", string(text))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 1)
}

func TestSeedM14OwnCertificateAuthoritiesPerCall(t *testing.T) {
	sup := realWorld(t)
	s := newCountedServer(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "trusted") }, true)
	trust := &resources.TLS{RootCAs: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})}

	resp, err := fetch(t, sup, resources.Fetch{URL: s.URL, TLS: trust})
	require.NoError(t, err)
	assert.Equal(t, "trusted", string(resp.Body))

	_, err = fetch(t, sup, resources.Fetch{URL: s.URL})
	var unknown *tls.CertificateVerificationError
	require.ErrorAs(t, err, &unknown, "trust in one call is none in the next, pooled connections included")
	resp, err = fetch(t, sup, resources.Fetch{URL: s.URL, TLS: trust})
	require.NoError(t, err)
	assert.True(t, bytes.Equal(resp.Body, []byte("trusted")))
}
