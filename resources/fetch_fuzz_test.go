package resources_test

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
	"curfew.example/tests/peers"
	"curfew.example/timeoutpolicy"
)

// fuzzSecret stands in all parts of an address that nobody is to see.
const fuzzSecret = "hunter2"

// FuzzFetchAnswer gives a Fetch arbitrary bytes for an answer: status lines, headers,
// chunks, gzip, redirects. Whatever they are it comes back soon, keeps its limits, says
// what it got or why not, and leaves nothing.
func FuzzFetchAnswer(f *testing.F) {
	zipped := peers.Zipped(strings.NewReader("hello"))
	for _, seed := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.0 200\r\n\r\nhello", zipped, zipped[:len(zipped)-4], zipped + zipped,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
		"HTTP/1.1 302 Found\r\nLocation: https://u:p@other.test:1/?q\r\n\r\n", "HTTP/1.1 307 X\r\nLocation: //[::1%25a]:99999\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\nx",
		"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "HTTP/1.1 204 No\r\nContent-Length: 9\r\n\r\n",
		"HTTP/1.1 304 Not\r\nContent-Encoding: gzip\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n", "HTTP/1.1 999\r\n: x\r\n\r\n", "", "\x00",
	} {
		f.Add([]byte(seed))
	}
	var answer atomic.Pointer[[]byte]
	socket := filepath.Join(f.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	require.NoError(f, err)
	p := peers.Serve(l, func(c *peers.Conn) {
		c.Answer(string(*answer.Load()))
		_ = c.Close()
	})
	f.Cleanup(p.Close)

	const bodyMax, headerMax = 1 << 16, 1 << 12
	fetch := resources.Fetch{
		URL: "http://user:" + fuzzSecret + "@host/" + fuzzSecret, Unix: socket,
		BodyMaxBytes: bodyMax, RawMaxBytes: bodyMax, HeaderMaxBytes: headerMax, RedirectsMax: 2,
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		answer.Store(&raw)
		end := resourcetest.Drive(t.Context(), resources.Of(fetch), timeoutpolicy.Budget{Limit: fetchLong}, nil)
		require.False(t, end.Aborted, "it hangs")
		require.Empty(t, end.Report.Left())
		resp, _ := end.Value.(*resources.Response)
		if end.Err != nil && !strings.Contains(string(raw), fuzzSecret) {
			require.NotContains(t, end.Err.Error(), fuzzSecret)
		}
		status, refused := errors.AsType[*resources.StatusError](end.Err)
		if end.Err != nil && !refused {
			require.Nil(t, resp)
			return
		}
		require.NotNil(t, resp)
		require.Equal(t, refused, resp.Status >= 400)
		if refused {
			require.Equal(t, resp.Body, status.Body)
		}
		require.LessOrEqual(t, resp.BodyBytes, int64(bodyMax))
		require.LessOrEqual(t, resp.RawBytes, int64(bodyMax))
		require.Len(t, resp.Body, int(resp.BodyBytes))
		require.LessOrEqual(t, resp.Redirects, 2)
		_, err := url.Parse(resp.URL)
		require.NoError(t, err)
	})
}

// FuzzRedirect follows arbitrary Locations: they lead to http and https alone, and to
// another origin without what is meant for this one.
func FuzzRedirect(f *testing.F) {
	for _, to := range []string{
		"/x", "//other.test", "https://origin.test/", "http://ORIGIN.test:80/a?b#c", "http://u:p@other.test/", "ftp://x", "http://", "http:x", "%zz", "//[::1]:0",
		"\x00", "?q", "#f", "http://origin.test.:80", "http://origin.test:080", "HTTP://other", "javascript:x", "http://xn--/", "//origin.test@other.test",
	} {
		f.Add(to, 302)
	}
	from := &url.URL{Scheme: "http", Host: "origin.test", Path: "/a/b", User: url.UserPassword("user", fuzzSecret)}
	secrets := http.Header{"Cookie": {fuzzSecret}, "Host": {"origin.test"}}
	f.Fuzz(func(t *testing.T, location string, status int) {
		to, sent, err := resources.FollowFetch(from, secrets.Clone(), status, location)
		if err != nil {
			require.Empty(t, to)
			if !strings.Contains(location, fuzzSecret) {
				require.NotContains(t, err.Error(), fuzzSecret)
			}
			return
		}
		if to == "" {
			return
		}
		u, err := url.Parse(to)
		require.NoError(t, err, "what is sent can be read again")
		require.Contains(t, []string{"http", "https"}, u.Scheme)
		require.NotEmpty(t, u.Hostname())
		require.Nil(t, u.User)
		_, err = resources.Fetch{URL: to}.Spec()
		require.NoError(t, err, "it could have been asked for in the first place")
		same := u.Scheme == "http" && strings.EqualFold(u.Hostname(), "origin.test") && (u.Port() == "" || u.Port() == "80")
		require.Equal(t, same, sent.Get("Cookie") != "")
		if !same {
			require.Empty(t, sent.Get("Host"))
			require.NotContains(t, sent.Get("Authorization"), fuzzSecret)
		}
	})
}

// FuzzFetchURL checks addresses: what is refused is *Invalid, and neither that nor the
// names of what is accepted show more than the origin.
func FuzzFetchURL(f *testing.F) {
	for _, part := range [][2]string{
		{"http", "host"}, {"https", "[::1]:8080"}, {"HTTP", "Host:80"}, {"ftp", "host"}, {"", ""}, {"http", ":80"}, {"http", "host:0"}, {"http", "host:99999"},
		{"http", "h%6fst"}, {"http", "a b"}, {"http", "[fe80::1%25eth0]"}, {"http", "\u00e9"}, {"http:", "x"}, {"http", "x@y"}, {"socks5", "x\\y"}, {"http", "host:"},
	} {
		f.Add(part[0], part[1])
	}
	f.Fuzz(func(t *testing.T, scheme, host string) {
		if strings.Contains(scheme+host, fuzzSecret) {
			return
		}
		address := scheme + "://user:" + fuzzSecret + "@" + host + "/" + fuzzSecret + "?" + fuzzSecret + "#" + fuzzSecret
		for _, use := range []interface {
			Spec() (resources.Spec, error)
		}{
			resources.Fetch{URL: address}, resources.Fetch{URL: "http://host", Proxy: address}, resources.XMLRPC{URL: address},
		} {
			spec, err := use.Spec()
			fuzzSpec(t, spec, err)
		}
		// The zone of an IPv6 address is shown as it is spoken of, and not as a URL has it.
		if spec, err := (resources.Fetch{URL: address}).Spec(); err == nil && !strings.Contains(spec.Target, "%") {
			again, err := resources.Fetch{URL: spec.Target}.Spec()
			require.NoError(t, err, "a target is an address")
			require.Equal(t, spec, again)
		}
	})
}

// fuzzSpec checks what an address came to.
func fuzzSpec(t *testing.T, spec resources.Spec, err error) {
	t.Helper()
	if err != nil {
		_, ok := errors.AsType[*resources.Invalid](err)
		require.True(t, ok, "%v", err)
		require.NotContains(t, err.Error(), fuzzSecret)
		require.Zero(t, spec)
		return
	}
	require.NotEmpty(t, spec.Kind)
	require.NotEmpty(t, spec.Endpoint)
	require.NotContains(t, spec.Target+spec.Endpoint, fuzzSecret)
}

// FuzzXMLRPCAddress is FuzzFetchURL for the addresses of unix sockets, whose paths are no
// secrets: they stand where others have host and port.
func FuzzXMLRPCAddress(f *testing.F) {
	for _, part := range [][2]string{
		{"unix", "/run/s.sock"}, {"http+unix", "%2Frun%2Fs.sock/RPC2"}, {"http+unix", "/run/s"}, {"unix", ""}, {"UNIX", "//"}, {"unix", "%zz"}, {"unix", "a@/b"}, {"unix", "/\x00"},
	} {
		f.Add(part[0], part[1], "/RPC2")
	}
	f.Fuzz(func(t *testing.T, scheme, rest, path string) {
		if strings.Contains(scheme+rest+path, fuzzSecret) {
			return
		}
		spec, err := resources.XMLRPC{URL: scheme + "://user:" + fuzzSecret + "@" + rest, Path: path, Password: fuzzSecret}.Spec()
		fuzzSpec(t, spec, err)
	})
}

// FuzzSocketAddress checks a Socket's addresses, of which the target is one too.
func FuzzSocketAddress(f *testing.F) {
	for _, address := range []string{
		"host:80", "tcp://host:80", "TLS://HOST:443", "udp://[::1]:53", "unix:///run/s", "unix://s", "tcp://user:" + fuzzSecret + "@host:80", "tcp://host:80/" + fuzzSecret,
		"tcp://:80", "host", "host:http", "host:0", "host:65536", "::1:80", "[::1]80", "[fe80::1%eth0]:80", "a b:80", "", "x://y:1", "\x00:1", "h\u00f6st:1",
	} {
		f.Add(address)
	}
	f.Fuzz(func(t *testing.T, address string) {
		spec, err := resources.Socket{Address: address}.Spec()
		if err != nil {
			invalid, ok := errors.AsType[*resources.Invalid](err)
			require.True(t, ok)
			require.NotContains(t, invalid.Error(), fuzzSecret)
			require.Zero(t, spec)
			return
		}
		again, err := resources.Socket{Address: spec.Target}.Spec()
		require.NoError(t, err, "a target is an address")
		require.Equal(t, spec, again)
		if strings.HasPrefix(spec.Target, "unix://") {
			return
		}
		host, port, err := net.SplitHostPort(spec.Endpoint)
		require.NoError(t, err)
		require.NotEmpty(t, host)
		require.NotEmpty(t, port)
		require.NotContains(t, spec.Endpoint, "@")
	})
}

// FuzzXMLRPCDate reads arbitrary dates: a time that is made of one is the same when it is
// written and read again.
func FuzzXMLRPCDate(f *testing.F) {
	for _, s := range []string{"19980717T14:08:55", "1998-07-17T14:08:55Z", "20240229T24:00:00", "", "00000000T00:00:00", "99991231T23:59:60", "20240101T00:00:00+14:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		switch v := resources.XMLRPCDate(text).(type) {
		case time.Time:
			again, ok := resources.XMLRPCDate(v.Format("20060102T15:04:05.999999999Z07:00")).(time.Time)
			require.True(t, ok && again.Equal(v), "%v became %v", v, again)
		case resources.XMLRPCDateTime:
			require.Equal(t, strings.TrimSpace(text), strings.TrimSpace(string(v)))
		default:
			require.Failf(t, "neither", "%T", v)
		}
	})
}
