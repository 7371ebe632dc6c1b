package resources_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
	"curfew.example/tests/alone"
	"curfew.example/timeoutpolicy"
)

func TestFetchPassesTheSuite(t *testing.T) {
	refused := func(t testing.TB) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer listener.Close()
		return listener.Addr().String()
	}
	bad := []resources.Use{}
	for _, f := range badFetches() {
		bad = append(bad, resources.Of(f.fetch))
	}
	resourcetest.Suite(t, resourcetest.Kind{
		Name: "fetch",
		Good: func(t testing.TB) resources.Use {
			s := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") }, false)
			return resources.Of(resources.Fetch{URL: strings.Replace(s.URL, "//", "//me:5ecretpass@", 1) + "/5ecretpath?k=5ecretquery"})
		},
		Hang: func(t testing.TB) resources.Use {
			p := newFetchPeer(t, nil, func(c *peerConn) {})
			return resources.Of(resources.Fetch{URL: "http://me:5ecretpass@" + p.Addr + "/5ecretpath?k=5ecretquery"})
		},
		Fail: func(t testing.TB) resources.Use {
			return resources.Of(resources.Fetch{URL: "http://me:5ecretpass@" + refused(t) + "/5ecretpath?k=5ecretquery"})
		},
		FailsWith: syscall.ECONNREFUSED,
		Bad:       bad,
		Check: func(t testing.TB, v any) {
			assert.Equal(t, "hello", string(v.(*resources.Response).Body))
		},
		Secrets: []string{"5ecret"},
	})
}

type badFetch struct {
	fetch resources.Fetch
	field string
}

func badFetches() map[string]badFetch {
	const ok = "http://host"
	return map[string]badFetch{
		"no URL":              {resources.Fetch{}, "URL"},
		"ftp":                 {resources.Fetch{URL: "ftp://u:5ecret@host/5ecret"}, "URL"},
		"no scheme":           {resources.Fetch{URL: "host/5ecret"}, "URL"},
		"no host":             {resources.Fetch{URL: "http:///5ecret"}, "URL"},
		"malformed":           {resources.Fetch{URL: "http://u:5ecret@host/%zz5ecret"}, "URL"},
		"control character":   {resources.Fetch{URL: "http://host/5ecret\n"}, "URL"},
		"bad port":            {resources.Fetch{URL: "http://host:5ecret/"}, "URL"},
		"port too high":       {resources.Fetch{URL: "http://host:65536/5ecret"}, "URL"},
		"port zero":           {resources.Fetch{URL: "http://host:0/5ecret"}, "URL"},
		"bad host":            {resources.Fetch{URL: "http://ho st/5ecret"}, "URL"},
		"method":              {resources.Fetch{URL: ok, Method: "5ecret GET"}, "Method"},
		"CONNECT":             {resources.Fetch{URL: ok, Method: "CONNECT"}, "Method"},
		"header name":         {resources.Fetch{URL: ok, Header: http.Header{"X 5ecret": {"v"}}}, "Header"},
		"header value":        {resources.Fetch{URL: ok, Header: http.Header{"X": {"5ecret\r\nY: z"}}}, "Header"},
		"host header":         {resources.Fetch{URL: ok, Header: http.Header{"Host": {"5ecret host"}}}, "Header"},
		"two bodies":          {resources.Fetch{URL: ok, Body: []byte("5ecret"), BodyFile: "5ecret"}, "Body"},
		"negative body":       {resources.Fetch{URL: ok, BodyMaxBytes: -1}, "BodyMaxBytes"},
		"negative raw":        {resources.Fetch{URL: ok, RawMaxBytes: -1}, "RawMaxBytes"},
		"negative headers":    {resources.Fetch{URL: ok, HeaderMaxBytes: -1}, "HeaderMaxBytes"},
		"sink without a path": {resources.Fetch{URL: ok, Sink: &resources.Sink{}}, "Sink.Path"},
		"sink's mode":         {resources.Fetch{URL: ok, Sink: &resources.Sink{Path: "x", Mode: os.ModeDir}}, "Sink.Mode"},
		"proxy's scheme":      {resources.Fetch{URL: ok, Proxy: "ftp://u:5ecret@proxy"}, "Proxy"},
		"proxy malformed":     {resources.Fetch{URL: ok, Proxy: "http://u:5ecret@pro xy"}, "Proxy"},
		"proxy and unix":      {resources.Fetch{URL: ok, Proxy: "http://proxy", Unix: "/s"}, "Proxy"},
		"authorities":         {resources.Fetch{URL: ok, TLS: &resources.TLS{RootCAs: []byte("5ecret")}}, "TLS.RootCAs"},
		"certificate":         {resources.Fetch{URL: ok, TLS: &resources.TLS{Key: []byte("5ecret")}}, "TLS.Certificate"},
	}
}

func TestBadFetchIsRefusedBeforeAnythingIsOpened(t *testing.T) {
	for name, bad := range badFetches() {
		t.Run(name, func(t *testing.T) {
			_, err := bad.fetch.Spec()
			var invalid *resources.Invalid
			require.ErrorAs(t, err, &invalid)
			assert.Equal(t, "fetch", invalid.Kind)
			assert.Equal(t, bad.field, invalid.Field)
			assert.NotContains(t, err.Error(), "5ecret")

			_, end := driveFetch(t, bad.fetch, time.Second, nil)
			assert.ErrorAs(t, end.Err, &invalid, "Run checks by itself")
			assert.Empty(t, end.Report.Released)
		})
	}
}

func TestFetchSpecNamesTheOriginOnly(t *testing.T) {
	for in, want := range map[string][2]string{
		"http://u:p@Example.COM/path?q#f": {"http://example.com:80", "example.com:80"},
		"https://example.com":             {"https://example.com:443", "example.com:443"},
		"HTTPS://example.com:8443/":       {"https://example.com:8443", "example.com:8443"},
		"http://[::1]:81/":                {"http://[::1]:81", "[::1]:81"},
	} {
		spec, err := resources.Fetch{URL: in}.Spec()
		require.NoError(t, err)
		assert.Equal(t, resources.Spec{Kind: "fetch", Target: want[0], Endpoint: want[1]}, spec)
	}
	spec, err := resources.Fetch{URL: "http://localhost/x", Unix: "/run/s.sock"}.Spec()
	require.NoError(t, err)
	assert.Equal(t, resources.Spec{Kind: "fetch", Target: "unix:///run/s.sock", Endpoint: "unix:/run/s.sock"}, spec)
}

func TestFetchIsPlainData(t *testing.T) {
	f := resources.Fetch{
		URL: "http://h", Header: http.Header{"A": {"b"}}, Body: []byte("x"), Sink: &resources.Sink{Path: "p", Mode: 0o600},
		TLS: &resources.TLS{ServerName: "n"}, RedirectsMax: -1, NoRetry: true,
	}
	text, err := json.Marshal(f)
	require.NoError(t, err)
	var back resources.Fetch
	require.NoError(t, json.Unmarshal(text, &back))
	assert.Equal(t, f, back)
}

func TestFetchReturnsStatusHeadersAndBody(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Method", r.Method)
		w.Header().Set("X-Agent", r.UserAgent())
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.Copy(w, r.Body)
	}, false)
	resp := fetchWell(t, resources.Fetch{URL: s.URL + "/p?q=1", Body: []byte("echo")}, nil)
	assert.Equal(t, 202, resp.Status)
	assert.Equal(t, "HTTP/1.1", resp.Proto)
	assert.Equal(t, "POST", resp.Header.Get("X-Method"))
	assert.Equal(t, "curfew", resp.Header.Get("X-Agent"))
	assert.Equal(t, "echo", string(resp.Body))
	assert.EqualValues(t, 4, resp.BodyBytes)
	assert.EqualValues(t, 4, resp.RawBytes)
	assert.Equal(t, s.URL+"/p?q=1", resp.URL)
	assert.False(t, resp.Partial)

	resp = fetchWell(t, resources.Fetch{URL: s.URL}, nil)
	assert.Equal(t, "GET", resp.Header.Get("X-Method"))
	resp = fetchWell(t, resources.Fetch{URL: s.URL, Method: "HEAD"}, nil)
	assert.Equal(t, "HEAD", resp.Header.Get("X-Method"))
	assert.Empty(t, resp.Body)
}

func TestUserinfoBecomesBasicAuthentication(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		fmt.Fprintf(w, "%s %s %s", user, password, r.Host)
	}, false)
	u, err := url.Parse(s.URL)
	require.NoError(t, err)
	u.User = url.UserPassword("me", "p:@ss")
	resp := fetchWell(t, resources.Fetch{URL: u.String(), Header: http.Header{"Host": {"virtual"}}}, nil)
	assert.Equal(t, "me p:@ss virtual", string(resp.Body))
	assert.Equal(t, s.URL, resp.URL, "without the userinfo")
}

func TestRefusedConnectionIsReportedAsWhatItIs(t *testing.T) {
	resourcetest.NothingLeft(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := listener.Addr().String()
	require.NoError(t, listener.Close())

	for _, f := range []resources.Fetch{
		{URL: "http://me:5ecret@" + addr + "/5ecret?5ecret"},
		{URL: "https://me:5ecret@" + addr + "/5ecret?5ecret"},
		{URL: "https://target.invalid/5ecret", Proxy: "http://me:5ecret@" + addr},
	} {
		err := fetchFails(t, f, nil)
		assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		assert.NotContains(t, err.Error(), "5ecret")
	}
}

func TestErrorStatusIsAnErrorWithTheBody(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Why", "because")
		status, _ := strconv.Atoi(r.URL.Path[1:])
		w.WriteHeader(status)
		if status >= 400 {
			fmt.Fprint(w, "explanation")
		}
	}, false)
	for _, status := range []int{400, 404, 500, 503} {
		f := resources.Fetch{URL: fmt.Sprintf("%s/%d?5ecret", s.URL, status)}
		resp, end := driveFetch(t, f, 10*time.Second, nil)
		var failed *resources.StatusError
		require.ErrorAs(t, end.Err, &failed)
		assert.Equal(t, status, failed.Status)
		assert.Equal(t, "because", failed.Header.Get("X-Why"))
		assert.Equal(t, "explanation", string(failed.Body))
		assert.Equal(t, fmt.Sprintf("fetch %s: %d %s", s.URL, status, http.StatusText(status)), end.Err.Error())
		require.NotNil(t, resp, "with the result")
		assert.Equal(t, status, resp.Status)
		assert.False(t, resp.Partial)

		f.AnyStatus = true
		resp = fetchWell(t, f, nil)
		assert.Equal(t, status, resp.Status)
		assert.Equal(t, "explanation", string(resp.Body))
	}
	assert.Equal(t, 304, fetchWell(t, resources.Fetch{URL: s.URL + "/304"}, nil).Status)
}

func TestErrorStatusOutweighsTheEndOfItsBody(t *testing.T) {
	resourcetest.NothingLeft(t)
	for name, c := range map[string]struct {
		answer string
		err    error
	}{
		"too long": {"HTTP/1.1 500 No\r\nContent-Length: 20\r\n\r\n01234567890123456789", nil},
		"broken":   {"HTTP/1.1 500 No\r\nContent-Length: 20\r\n\r\n0123456789", io.ErrUnexpectedEOF},
	} {
		t.Run(name, func(t *testing.T) {
			p := newFetchPeer(t, nil, func(pc *peerConn) {
				pc.Answer(c.answer)
				_ = pc.Conn.(*net.TCPConn).CloseWrite()
			})
			resp, end := driveFetch(t, resources.Fetch{URL: p.HTTP(), BodyMaxBytes: 10}, 10*time.Second, nil)
			var failed *resources.StatusError
			require.ErrorAs(t, end.Err, &failed)
			assert.Equal(t, "0123456789", string(failed.Body))
			assert.Equal(t, c.err, failed.Err)
			assert.True(t, resp.Partial)
		})
	}
}

func TestTooLargeBodyIsATypedError(t *testing.T) {
	resourcetest.NothingLeft(t)
	exact := strings.Repeat("x", 1000)
	for name, answer := range map[string]string{
		"announced": "HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",
		"chunked":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + exact + "x\r\n",
		"until end": "HTTP/1.0 200 OK\r\n\r\n" + exact + "x",
	} {
		t.Run(name, func(t *testing.T) {
			p := newFetchPeer(t, nil, func(c *peerConn) { c.Answer(answer) })
			err := fetchFails(t, resources.Fetch{URL: p.HTTP(), BodyMaxBytes: 1000}, newShelf(t))
			var large *resources.TooLargeError
			require.ErrorAs(t, err, &large)
			assert.Equal(t, resources.TooLargeError{What: "body", MaxBytes: 1000, Target: p.HTTP()}, *large)
			p.sawClose(t, time.Now(), fetchSlack)
		})
	}
	t.Run("exactly as much is not too much", func(t *testing.T) {
		p := newFetchPeer(t, nil, func(c *peerConn) { c.Answer("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + exact) })
		assert.Equal(t, exact, string(fetchWell(t, resources.Fetch{URL: p.HTTP(), BodyMaxBytes: 1000}, nil).Body))
	})
}

func TestHeaderAndInformationalFloodsAreCut(t *testing.T) {
	resourcetest.NothingLeft(t)
	for name, script := range map[string]func(*peerConn){
		"one header":  func(c *peerConn) { c.Answer("HTTP/1.1 200 OK\r\nX: "); c.Flood(strings.Repeat("x", 4096)) },
		"many":        func(c *peerConn) { c.Answer("HTTP/1.1 200 OK\r\n"); c.Flood(strings.Repeat("X: y\r\n", 1000)) },
		"early hints": func(c *peerConn) { _, _ = c.Request(); c.Flood("HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			p := newFetchPeer(t, nil, script)
			var large *resources.TooLargeError
			require.ErrorAs(t, fetchFails(t, resources.Fetch{URL: p.HTTP()}, nil), &large)
			assert.Equal(t, "headers", large.What)
			assert.EqualValues(t, resources.DefaultHeaderMaxBytes, large.MaxBytes)
		})
	}
	t.Run("HTTP/2", func(t *testing.T) {
		s := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) {
			for i := range 15 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("x", 100))
			}
		}, true)
		var large *resources.TooLargeError
		// Far above the limit, HTTP/2 gives the connection up, with another error.
		require.ErrorAs(t, fetchFails(t, resources.Fetch{URL: s.URL, TLS: s.trust(), HeaderMaxBytes: 1000}, nil), &large)
		assert.Equal(t, "headers", large.What)
	})
}

// gzipServer answers with size zeros, compressed.
func gzipServer(t *testing.T, size int64) *countingServer {
	return newCountingServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.CopyN(z, zeros{}, size)
		_ = z.Close()
	}, false)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestGzipIsDecodedWhenNobodyAskedForIt(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := gzipServer(t, 100_000)
	shelf := newShelf(t)
	resp := fetchWell(t, resources.Fetch{URL: s.URL}, shelf)
	assert.EqualValues(t, 100_000, resp.BodyBytes)
	assert.Len(t, resp.Body, 100_000)
	assert.Less(t, resp.RawBytes, int64(1000))
	assert.True(t, resp.Decoded)
	assert.Empty(t, resp.Header.Get("Content-Encoding"))

	resp = fetchWell(t, resources.Fetch{URL: s.URL, Header: http.Header{"Accept-Encoding": {"gzip"}}}, shelf)
	assert.False(t, resp.Decoded)
	assert.Equal(t, "gzip", resp.Header.Get("Content-Encoding"))
	assert.EqualValues(t, resp.RawBytes, resp.BodyBytes)
	assert.EqualValues(t, 1, s.conns.Load(), "the decoder reads to the end, so that the connection can be used again")
}

func TestGzipBombStopsAtTheLimit(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := gzipServer(t, 1<<30)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := fetchFails(t, resources.Fetch{URL: s.URL, BodyMaxBytes: 4 << 20}, nil)
	runtime.ReadMemStats(&after)
	var large *resources.TooLargeError
	require.ErrorAs(t, err, &large)
	assert.Equal(t, "body", large.What)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<20))
}

func TestRawLimitHoldsBeforeDecoding(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := gzipServer(t, 1<<20)
	var large *resources.TooLargeError
	require.ErrorAs(t, fetchFails(t, resources.Fetch{URL: s.URL, RawMaxBytes: 500}, nil), &large)
	assert.Equal(t, "body before decoding", large.What)
	assert.EqualValues(t, 500, large.MaxBytes)
}

func TestBrokenGzipIsAnError(t *testing.T) {
	resourcetest.NothingLeft(t)
	p := newFetchPeer(t, nil, func(c *peerConn) {
		c.Answer("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\nthis is no gzip data")
	})
	assert.ErrorIs(t, fetchFails(t, resources.Fetch{URL: p.HTTP()}, nil), gzip.ErrHeader)
}

func TestEmptyBodyMarkedGzipIsNoError(t *testing.T) {
	resourcetest.NothingLeft(t)
	p := newFetchPeer(t, nil, func(c *peerConn) {
		c.Answer("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n")
	})
	assert.Empty(t, fetchWell(t, resources.Fetch{URL: p.HTTP()}, nil).Body)
}

// redirectServer sends /N on to /N-1, and answers /0 with what came.
func redirectServer(t *testing.T, status int) *countingServer {
	return newCountingServer(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Path[1:])
		if n > 0 {
			http.Redirect(w, r, fmt.Sprintf("/%d", n-1), status)
			return
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Method, r.Header.Get("Content-Type"), body)
	}, false)
}

func TestRedirectsAreFollowedAndCounted(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := redirectServer(t, http.StatusFound)
	resp := fetchWell(t, resources.Fetch{URL: s.URL + "/10"}, newShelf(t))
	assert.Equal(t, 10, resp.Redirects)
	assert.Equal(t, s.URL+"/0", resp.URL)
	assert.EqualValues(t, 1, s.conns.Load(), "on one connection")

	err := fetchFails(t, resources.Fetch{URL: s.URL + "/11"}, nil)
	assert.ErrorIs(t, err, resources.ErrRedirects)
	err = fetchFails(t, resources.Fetch{URL: s.URL + "/4", RedirectsMax: 3}, nil)
	assert.ErrorIs(t, err, resources.ErrRedirects)

	resp = fetchWell(t, resources.Fetch{URL: s.URL + "/5", RedirectsMax: -1}, nil)
	assert.Equal(t, 302, resp.Status)
	assert.Equal(t, "/4", resp.Header.Get("Location"))
}

func TestRedirectKeepsOrDropsMethodAndBody(t *testing.T) {
	resourcetest.NothingLeft(t)
	file := filepath.Join(t.TempDir(), "body")
	require.NoError(t, os.WriteFile(file, []byte("data"), 0o600))
	text := http.Header{"Content-Type": {"text/plain"}}
	for _, c := range []struct {
		status int
		method string
		want   string
	}{
		{301, "POST", "GET  "}, {302, "POST", "GET  "}, {303, "POST", "GET  "}, {303, "PUT", "GET  "},
		{302, "PUT", "PUT text/plain data"}, {307, "POST", "POST text/plain data"}, {308, "PUT", "PUT text/plain data"},
	} {
		s := redirectServer(t, c.status)
		for _, f := range []resources.Fetch{{Body: []byte("data")}, {BodyFile: file}} {
			f.URL, f.Method, f.Header = s.URL+"/2", c.method, text
			assert.Equal(t, c.want, string(fetchWell(t, f, nil).Body), "%d %s", c.status, c.method)
		}
	}
	s := redirectServer(t, 307)
	resp := fetchWell(t, resources.Fetch{URL: s.URL + "/2", BodyFrom: strings.NewReader("data")}, nil)
	assert.Equal(t, 307, resp.Status, "a reader cannot be sent twice")
}

func TestCredentialsDoNotFollowToAnotherOrigin(t *testing.T) {
	resourcetest.NothingLeft(t)
	seen := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s|%s|%s|%s", r.Header.Get("Authorization"), r.Header.Get("Cookie"), r.Header.Get("Referer"), r.Header.Get("X-Kept"))
	}
	other := newCountingServer(t, seen, false)
	s := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/here":
			http.Redirect(w, r, "/", http.StatusFound)
		default:
			seen(w, r)
		}
	}, false)
	header := http.Header{"Authorization": {"Bearer t"}, "Cookie": {"c=1"}, "X-Kept": {"yes"}}
	resp := fetchWell(t, resources.Fetch{URL: s.URL + "/away", Header: header}, nil)
	assert.Equal(t, "|||yes", string(resp.Body))
	resp = fetchWell(t, resources.Fetch{URL: s.URL + "/here", Header: header}, nil)
	assert.Equal(t, "Bearer t|c=1||yes", string(resp.Body))
}

func TestRedirectToWhatIsNoFetchIsRefused(t *testing.T) {
	resourcetest.NothingLeft(t)
	for name, location := range map[string]string{
		"ftp": "ftp://host/5ecret", "file": "file:///5ecret", "malformed": "http://host/%zz5ecret", "no host": "http:///5ecret", "port": "http://host:99999/5ecret",
	} {
		t.Run(name, func(t *testing.T) {
			p := newFetchPeer(t, nil, func(c *peerConn) {
				c.Answer("HTTP/1.1 302 Found\r\nLocation: " + location + "\r\nContent-Length: 0\r\n\r\n")
			})
			err := fetchFails(t, resources.Fetch{URL: p.HTTP()}, nil)
			assert.Contains(t, err.Error(), "redirect")
			assert.NotContains(t, err.Error(), "5ecret")
		})
	}
}

// cancellable runs f under a context that the test can cancel from within a peer.
func cancellable(t *testing.T, ctx context.Context, f resources.Fetch, shelf *resources.Shelf) resourcetest.End {
	t.Helper()
	return resourcetest.Drive(ctx, resources.Of(f), timeoutpolicy.Budget{Limit: time.Minute}, shelf)
}

func TestRedirectAfterTheEndIsNotFollowed(t *testing.T) {
	resourcetest.NothingLeft(t)
	ctx, cancel := context.WithCancel(t.Context())
	next := newFetchPeer(t, nil, func(c *peerConn) {})
	p := newFetchPeer(t, nil, func(c *peerConn) {
		_, _ = c.Request()
		cancel()
		c.Say("HTTP/1.1 302 Found\r\nLocation: " + next.HTTP() + "\r\nContent-Length: 0\r\n\r\n")
	})
	end := cancellable(t, ctx, resources.Fetch{URL: p.HTTP()}, nil)
	assert.ErrorIs(t, end.Err, context.Canceled)
	assert.Zero(t, next.Accepted.Load())
}

func TestRetryAfterTheEndIsNotMade(t *testing.T) {
	resourcetest.NothingLeft(t)
	ctx, cancel := context.WithCancel(t.Context())
	p := newFetchPeer(t, nil, func(c *peerConn) {
		c.Answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		if req, _ := c.Request(); req != nil {
			cancel()
			_ = c.Close()
		}
	})
	shelf := newShelf(t)
	fetchWell(t, resources.Fetch{URL: p.HTTP()}, shelf)
	end := cancellable(t, ctx, resources.Fetch{URL: p.HTTP()}, shelf)
	assert.Error(t, end.Err)
	assert.EqualValues(t, 1, p.Accepted.Load())
}

func TestOnlyWhatMayBeRepeatedIsSentTwice(t *testing.T) {
	for name, c := range map[string]struct {
		fetch resources.Fetch
		again bool
	}{
		"GET":                  {resources.Fetch{}, true},
		"GET with NoRetry":     {resources.Fetch{NoRetry: true}, false},
		"POST":                 {resources.Fetch{Body: []byte("pay")}, false},
		"POST without a body":  {resources.Fetch{Method: "POST"}, false},
		"POST with NoRetry":    {resources.Fetch{Body: []byte("pay"), NoRetry: true}, false},
		"POST from a reader":   {resources.Fetch{BodyFrom: strings.NewReader("pay")}, false},
		"PATCH":                {resources.Fetch{Method: "PATCH", Body: []byte("pay")}, false},
		"POST with a key":      {resources.Fetch{Body: []byte("pay"), Header: http.Header{"Idempotency-Key": {"1"}}}, true},
		"its NoRetry is heard": {resources.Fetch{Body: []byte("pay"), Header: http.Header{"Idempotency-Key": {"1"}}, NoRetry: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			resourcetest.NothingLeft(t)
			var seen atomic.Int32
			p := newFetchPeer(t, nil, func(pc *peerConn) {
				for {
					req, _ := pc.Request()
					if req == nil {
						return
					}
					if req.URL.Path == "/once" {
						seen.Add(1) // before the answer, after which it is counted
						if pc.N == 1 {
							_ = pc.Close()
							return
						}
					}
					pc.Say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			})
			shelf := newShelf(t)
			fetchWell(t, resources.Fetch{URL: p.HTTP() + "/warm"}, shelf)
			c.fetch.URL = p.HTTP() + "/once"
			if c.again {
				fetchWell(t, c.fetch, shelf)
				assert.EqualValues(t, 2, seen.Load())
				return
			}
			fetchFails(t, c.fetch, shelf)
			assert.EqualValues(t, 1, seen.Load(), "sent twice")
		})
	}
}

func TestConnectionIsKeptForTheNextFetch(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") }, false)
	shelf := newShelf(t)
	first, end := driveFetch(t, resources.Fetch{URL: s.URL}, time.Second, shelf)
	require.NoError(t, end.Err)
	assert.Empty(t, end.Report.Released, "the connection went back to the pool")
	assert.False(t, first.Reused)
	assert.True(t, fetchWell(t, resources.Fetch{URL: s.URL}, shelf).Reused)
	assert.EqualValues(t, 1, s.conns.Load())

	assert.False(t, fetchWell(t, resources.Fetch{URL: s.URL, NoReuse: true}, shelf).Reused)
	assert.EqualValues(t, 2, s.conns.Load())
}

func TestInterruptedConnectionIsNeverUsedAgain(t *testing.T) {
	resourcetest.NothingLeft(t)
	p := newFetchPeer(t, nil, func(c *peerConn) {
		for {
			req, _ := c.Request()
			switch {
			case req == nil, req.URL.Path == "/hang":
				return
			case req.URL.Path == "/stall":
				c.Say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
				return
			}
			c.Say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
		}
	})
	shelf := newShelf(t)
	for i, path := range []string{"/hang", "/stall"} {
		fetchWell(t, resources.Fetch{URL: p.HTTP()}, shelf)
		fetchExpires(t, resources.Fetch{URL: p.HTTP() + path}, shelf, p)
		assert.False(t, fetchWell(t, resources.Fetch{URL: p.HTTP()}, shelf).Reused)
		assert.EqualValues(t, i+2, p.Accepted.Load())
	}
}

func TestShelfThatIsClosedKeepsNothing(t *testing.T) {
	resourcetest.NothingLeft(t)
	p := newFetchPeer(t, nil, func(c *peerConn) { c.Answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") })
	shelf := &resources.Shelf{}
	fetchWell(t, resources.Fetch{URL: p.HTTP()}, shelf)
	require.NoError(t, shelf.Close())
	p.sawClose(t, time.Now(), fetchSlack)
	assert.ErrorIs(t, fetchFails(t, resources.Fetch{URL: p.HTTP()}, shelf), resources.ErrSealed)
}

func TestUploadFileIsStreamed(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%s %d %d", r.Method, r.ContentLength, n)
	}, false)
	file := filepath.Join(t.TempDir(), "body")
	require.NoError(t, os.WriteFile(file, make([]byte, 3_000_000), 0o600))
	assert.Equal(t, "POST 3000000 3000000", string(fetchWell(t, resources.Fetch{URL: s.URL, BodyFile: file}, nil).Body))
	assert.Equal(t, "POST -1 5", string(fetchWell(t, resources.Fetch{URL: s.URL, BodyFrom: strings.NewReader("hello")}, nil).Body))

	require.NoError(t, os.WriteFile(file, nil, 0o600))
	assert.Equal(t, "POST 0 0", string(fetchWell(t, resources.Fetch{URL: s.URL, BodyFile: file}, nil).Body))

	err := fetchFails(t, resources.Fetch{URL: s.URL, BodyFile: file + ".missing"}, nil)
	assert.ErrorIs(t, err, os.ErrNotExist)
	err = fetchFails(t, resources.Fetch{URL: s.URL, BodyFile: t.TempDir()}, nil)
	assert.ErrorContains(t, err, "not a regular file")
}

func TestUploadBodyThatFailsIsTheError(t *testing.T) {
	resourcetest.NothingLeft(t)
	p := newFetchPeer(t, nil, func(c *peerConn) {})
	broken := errors.New("broken source")
	r, w := io.Pipe()
	go func() { _ = w.CloseWithError(broken) }() // returns at once
	assert.ErrorIs(t, fetchFails(t, resources.Fetch{URL: p.HTTP(), BodyFrom: r}, nil), broken)
}

func TestUnixSocketIsDialledInPlaceOfTheHost(t *testing.T) {
	resourcetest.NothingLeft(t)
	path := filepath.Join(t.TempDir(), "s.sock")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	p := newFetchPeer(t, listener, func(c *peerConn) {
		req, _ := c.Request()
		c.Say(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(req.Host), req.Host))
	})
	resp := fetchWell(t, resources.Fetch{URL: "http://some.name/x", Unix: path}, newShelf(t))
	assert.Equal(t, "some.name", string(resp.Body))
	assert.EqualValues(t, 1, p.Accepted.Load())
	assert.ErrorIs(t, fetchFails(t, resources.Fetch{URL: "http://some.name/x", Unix: path + ".none"}, nil), os.ErrNotExist)
}

// net/http asks the environment once a process.
func TestProxiesOfTheEnvironmentAreIgnored(t *testing.T) {
	if alone.Run(t) {
		return
	}
	resourcetest.NothingLeft(t)
	p := newFetchPeer(t, nil, func(c *peerConn) { c.Answer("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") })
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, p.HTTP())
	}
	_, end := driveFetch(t, resources.Fetch{URL: "http://target.invalid/"}, 300*time.Millisecond, nil)
	assert.Error(t, end.Err)
	assert.Zero(t, p.Accepted.Load())
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: &url.URL{Scheme: "http", Host: "target.invalid"}})
	require.NoError(t, err)
	assert.Equal(t, p.HTTP(), proxy.String(), "others would have asked it")
}

func TestFetchThroughAProxy(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "behind") }, true)
	p := newFetchPeer(t, nil, func(c *peerConn) {
		req, _ := c.Request()
		if req == nil {
			return
		}
		if req.Header.Get("Proxy-Authorization") == "" {
			c.Say("HTTP/1.1 407 5ecret Required\r\n\r\n")
			return
		}
		if req.Method != http.MethodConnect {
			c.Say("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nproxied")
			return
		}
		c.Tunnel(req.Host)
	})
	proxy := "http://me:5ecret@" + p.Addr
	resp := fetchWell(t, resources.Fetch{URL: s.URL, TLS: s.trust(), Proxy: proxy}, newShelf(t))
	assert.Equal(t, "behind", string(resp.Body))
	resp = fetchWell(t, resources.Fetch{URL: "http://target.invalid/", Proxy: proxy}, nil)
	assert.Equal(t, "proxied", string(resp.Body))

	err := fetchFails(t, resources.Fetch{URL: s.URL, TLS: s.trust(), Proxy: p.HTTP()}, nil)
	assert.ErrorContains(t, err, "the proxy refused to connect: 407")
	assert.NotContains(t, err.Error(), "5ecret")
}

func TestUnknownAuthorityIsAnError(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) {}, true)
	assert.ErrorContains(t, fetchFails(t, resources.Fetch{URL: s.URL}, nil), "certificate")
	fetchWell(t, resources.Fetch{URL: s.URL, TLS: s.trust()}, nil)
	fetchWell(t, resources.Fetch{URL: s.URL, TLS: &resources.TLS{InsecureSkipVerify: true}}, nil)
	trust := s.trust()
	trust.ServerName = "wrong.name"
	assert.ErrorContains(t, fetchFails(t, resources.Fetch{URL: s.URL, TLS: trust}, nil), "wrong.name")
}

func TestFetchSendsNoSpaceInItsRequestLine(t *testing.T) {
	resourcetest.NothingLeft(t)
	lines := make(chan string, 2)
	p := newFetchPeer(t, nil, func(c *peerConn) {
		line, _ := bufio.NewReader(c).ReadString('\n')
		lines <- line
		if len(lines) == 1 {
			c.Say("HTTP/1.1 302 Found\r\nLocation: /?to=c d HTTP/1.1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			return
		}
		c.Say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	})
	fetchWell(t, resources.Fetch{URL: p.HTTP() + "/?q=a b HTTP/1.1"}, nil)
	assert.Equal(t, "GET /?q=a%20b%20HTTP/1.1 HTTP/1.1\r\n", <-lines)
	assert.Equal(t, "GET /?to=c%20d%20HTTP/1.1 HTTP/1.1\r\n", <-lines)
}
