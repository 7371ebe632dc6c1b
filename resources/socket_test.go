package resources_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
	"curfew.example/timeoutpolicy"
)

// socketLimit is for exchanges that are to expire, socketPlenty for those that are not.
const (
	socketLimit  = 150 * time.Millisecond
	socketPlenty = 20 * time.Second
)

// socketDrive drives a socket and returns its result, which may be nil.
func socketDrive(t *testing.T, s resources.Socket, limit time.Duration) (*resources.SocketResult, resourcetest.End) {
	t.Helper()
	end := resourcetest.Drive(t.Context(), resources.Of(s), timeoutpolicy.Budget{Limit: limit}, nil)
	require.True(t, end.Back)
	assert.Empty(t, end.Report.Left())
	r, _ := end.Value.(*resources.SocketResult)
	return r, end
}

// socketExpires drives a socket that is to expire, and checks that it does so on time.
func socketExpires(t *testing.T, s resources.Socket) *resources.SocketResult {
	t.Helper()
	plain := resourcetest.PlainTimer(socketLimit)
	r, end := socketDrive(t, s, socketLimit)
	require.True(t, end.Aborted, "it ended by itself: %v", end.Err)
	assert.LessOrEqual(t, end.Late, <-plain+50*time.Millisecond)
	require.NotNil(t, r, "an expiry has what there was until then")
	return r
}

// socketLine asks for an answer of one line.
func socketLine(text string) func(*resources.Socket) {
	return func(s *resources.Socket) { s.Send, s.ReadUntil = []byte(text), []byte("\n") }
}

func TestSocketPassesTheSuite(t *testing.T) {
	bad := []resources.Use{
		resources.Of(resources.Socket{}),
		resources.Of(resources.Socket{Address: "ftp://peer:21"}),
		resources.Of(resources.Socket{Address: "tcp://user:hunter2@peer:21"}),
		resources.Of(resources.Socket{Address: "hunter2"}),
	}
	for _, scheme := range []string{"tcp", "unix", "tls"} {
		resourcetest.Suite(t, resourcetest.Kind{
			Name: scheme,
			Good: func(t testing.TB) resources.Use {
				return resources.Of(newSocketPeer(t, scheme, socketEcho).socket(socketLine("hunter2\n")))
			},
			Hang: func(t testing.TB) resources.Use {
				return resources.Of(newSocketPeer(t, scheme, socketSilent).socket(socketLine("hunter2\n")))
			},
			Bad: bad,
			Check: func(t testing.TB, v any) {
				assert.Equal(t, "hunter2\n", string(v.(*resources.SocketResult).Received))
			},
			Secrets: []string{"hunter2"},
		})
	}
}

func TestDatagramPassesTheSuite(t *testing.T) {
	use := func(answer func([]byte) []byte) func(t testing.TB) resources.Use {
		return func(t testing.TB) resources.Use {
			return resources.Of(resources.Socket{Address: newDatagramPeer(t, answer), Send: []byte("hunter2")})
		}
	}
	resourcetest.Suite(t, resourcetest.Kind{
		Name: "udp",
		Good: use(func(p []byte) []byte { return p }),
		Hang: use(func([]byte) []byte { return nil }),
		Fail: func(t testing.TB) resources.Use {
			return resources.Of(resources.Socket{Address: "udp://" + socketUnusedPort(t)})
		},
		Check:   func(t testing.TB, v any) { assert.EqualValues(t, 7, v.(*resources.SocketResult).ReceivedBytes) },
		Secrets: []string{"hunter2"},
	})
}

// The peer accepts and never begins the handshake.
func TestSocketInHandshakePassesTheSuite(t *testing.T) {
	resourcetest.Suite(t, resourcetest.Kind{
		Name: "handshake",
		Good: func(t testing.TB) resources.Use {
			return resources.Of(newSocketPeer(t, "tls", socketEcho).socket(socketLine("hello\n")))
		},
		Hang: func(t testing.TB) resources.Use {
			p := newSocketPeer(t, "tcp", socketSilent)
			return resources.Of(resources.Socket{Address: strings.Replace(p.address, "tcp", "tls", 1)})
		},
		Fail: func(t testing.TB) resources.Use { return resources.Of(resources.Socket{Address: socketUnusedPort(t)}) },

		FailsWith: syscall.ECONNREFUSED,
	})
}

// socketUnusedPort is an address where nobody listens.
func socketUnusedPort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func TestSocketSpec(t *testing.T) {
	for address, want := range map[string]resources.Spec{
		"Peer:80":             {Target: "tcp://peer:80", Endpoint: "peer:80"},
		"tcp://peer:80":       {Target: "tcp://peer:80", Endpoint: "peer:80"},
		"TLS://peer:443":      {Target: "tls://peer:443", Endpoint: "peer:443"},
		"udp://[::1]:53":      {Target: "udp://[::1]:53", Endpoint: "[::1]:53"},
		"unix:///run/x y":     {Target: "unix:///run/x y", Endpoint: "/run/x y"},
		"tcp://[fe80::1%e]:1": {Target: "tcp://[fe80::1%e]:1", Endpoint: "[fe80::1%e]:1"},
	} {
		spec, err := resources.Socket{Address: address}.Spec()
		want.Kind = "socket"
		if assert.NoError(t, err, address) {
			assert.Equal(t, want, spec)
		}
	}
}

func TestSocketSpecRefuses(t *testing.T) {
	const ok = "tcp://peer:80"
	for name, c := range map[string]struct {
		socket resources.Socket
		field  string
	}{
		"empty":            {resources.Socket{}, "Address"},
		"no port":          {resources.Socket{Address: "tcp://peer"}, "Address"},
		"empty port":       {resources.Socket{Address: "tcp://peer:"}, "Address"},
		"port zero":        {resources.Socket{Address: "tcp://peer:0"}, "Address"},
		"port too high":    {resources.Socket{Address: "tcp://peer:65536"}, "Address"},
		"port by name":     {resources.Socket{Address: "tcp://peer:http"}, "Address"},
		"no host":          {resources.Socket{Address: "tcp://:80"}, "Address"},
		"scheme":           {resources.Socket{Address: "ftp://peer:80"}, "Address"},
		"empty scheme":     {resources.Socket{Address: "://peer:80"}, "Address"},
		"userinfo":         {resources.Socket{Address: "tcp://user:hunter2@peer:80"}, "Address"},
		"path":             {resources.Socket{Address: "tcp://peer:80/hunter2"}, "Address"},
		"query":            {resources.Socket{Address: "tcp://peer:80?hunter2"}, "Address"},
		"a line end":       {resources.Socket{Address: "tcp://peer:80\n"}, "Address"},
		"open bracket":     {resources.Socket{Address: "tcp://[::1:80"}, "Address"},
		"unix, relative":   {resources.Socket{Address: "unix://run/x"}, "Address"},
		"unix, empty":      {resources.Socket{Address: "unix://"}, "Address"},
		"TLS for tcp":      {resources.Socket{Address: ok, TLS: &resources.TLS{}}, "TLS"},
		"bad roots":        {resources.Socket{Address: "tls://peer:1", TLS: &resources.TLS{RootCAs: []byte("hunter2")}}, "TLS.RootCAs"},
		"negative bytes":   {resources.Socket{Address: ok, ReadBytes: -1}, "ReadBytes"},
		"two ends":         {resources.Socket{Address: ok, ReadBytes: 1, ReadUntil: []byte("x")}, "ReadUntil"},
		"negative limit":   {resources.Socket{Address: ok, BodyMaxBytes: -1}, "BodyMaxBytes"},
		"above the limit":  {resources.Socket{Address: ok, BodyMaxBytes: 1, ReadBytes: 2}, "ReadBytes"},
		"datagram's end":   {resources.Socket{Address: "udp://peer:1", ReadBytes: 1}, "ReadBytes, ReadUntil"},
		"datagram's bytes": {resources.Socket{Address: "udp://peer:1", Send: make([]byte, 65508)}, "Send"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.socket.Spec()
			var invalid *resources.Invalid
			require.ErrorAs(t, err, &invalid)
			assert.Equal(t, "socket", invalid.Kind)
			assert.Equal(t, c.field, invalid.Field)
			assert.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestSocketIsPlainData(t *testing.T) {
	s := resources.Socket{Address: "tls://peer:1", TLS: &resources.TLS{ServerName: "x"}, Send: []byte{0}, HalfClose: true, ReadUntil: []byte("\n"), BodyMaxBytes: 9}
	text, err := json.Marshal(s)
	require.NoError(t, err)
	var back resources.Socket
	require.NoError(t, json.Unmarshal(text, &back))
	assert.Equal(t, s, back)
}

func TestSocketReadsToTheEnd(t *testing.T) {
	for _, scheme := range []string{"tcp", "unix", "tls"} {
		t.Run(scheme, func(t *testing.T) {
			resourcetest.NothingLeft(t)
			// The peer answers only when it has seen the end of what it was sent.
			p := newSocketPeer(t, scheme, func(c net.Conn) {
				all, _ := io.ReadAll(c)
				_, _ = c.Write(bytes.ToUpper(all))
			})
			r, end := socketDrive(t, p.socket(func(s *resources.Socket) { s.Send, s.HalfClose = []byte("hello"), true }), socketPlenty)
			require.NoError(t, end.Err)
			assert.Equal(t, "HELLO", string(r.Received))
			assert.EqualValues(t, 5, r.SentBytes)
			assert.EqualValues(t, 5, r.ReceivedBytes)
			if scheme != "unix" {
				assert.Equal(t, strings.TrimPrefix(p.address, scheme+"://"), r.RemoteAddr)
			}
		})
	}
}

func TestSocketWithoutHalfCloseLeavesThePeerWaiting(t *testing.T) {
	resourcetest.NothingLeft(t)
	p := newSocketPeer(t, "tcp", func(c net.Conn) { _, _ = io.ReadAll(c) })
	r := socketExpires(t, p.socket(func(s *resources.Socket) { s.Send = []byte("hello") }))
	assert.EqualValues(t, 5, r.SentBytes)
}

func TestSocketReadsUntil(t *testing.T) {
	for name, c := range map[string]struct{ parts, until, want string }{
		"a line":                {"220 hello\n250 more\n", "\n", "220 hello\n"},
		"across reads":          {"a\r|\nb|\r\n.\r|\n.|\r\nrest", "\r\n.\r\n", "a\r\nb\r\n.\r\n"},
		"at once":               {"||xx", "xx", "xx"},
		"one byte at a time":    {"a|a|b|a|a|a|c|x", "aaac", "aabaaac"},
		"with its own overlaps": {"aaa|ab", "aab", "aaaab"},
	} {
		t.Run(name, func(t *testing.T) {
			resourcetest.NothingLeft(t)
			p := newSocketPeer(t, "tcp", func(conn net.Conn) {
				for part := range strings.SplitSeq(c.parts, "|") {
					_, _ = conn.Write([]byte(part))
					// A read of its own for each part, as far as that can be had.
					socketYield(20)
				}
				socketSilent(conn)
			})
			for _, out := range []*bytes.Buffer{nil, {}} {
				s := p.socket(func(s *resources.Socket) { s.ReadUntil = []byte(c.until) })
				if out != nil {
					s.Out = out
				}
				r, end := socketDrive(t, s, socketPlenty)
				require.NoError(t, end.Err)
				assert.EqualValues(t, len(c.want), r.ReceivedBytes)
				if out == nil {
					assert.Equal(t, c.want, string(r.Received))
				} else {
					assert.Equal(t, c.want, out.String())
					assert.Nil(t, r.Received)
				}
			}
		})
	}
}

func TestSocketReadsBytes(t *testing.T) {
	resourcetest.NothingLeft(t)
	p := newSocketPeer(t, "tcp", func(c net.Conn) {
		_, _ = c.Write(bytes.Repeat([]byte("x"), 100_000))
		socketSilent(c)
	})
	r, end := socketDrive(t, p.socket(func(s *resources.Socket) { s.ReadBytes = 70_000 }), socketPlenty)
	require.NoError(t, end.Err)
	assert.Len(t, r.Received, 70_000)
}

func TestSocketAnswerThatEndsEarly(t *testing.T) {
	resourcetest.NothingLeft(t)
	p := newSocketPeer(t, "tcp", func(c net.Conn) { _, _ = c.Write([]byte("abc")) })
	for _, s := range []resources.Socket{
		p.socket(func(s *resources.Socket) { s.ReadBytes = 4 }),
		p.socket(func(s *resources.Socket) { s.ReadUntil = []byte("d") }),
	} {
		r, end := socketDrive(t, s, socketPlenty)
		assert.Nil(t, r, "a failure of its own has no result")
		assert.ErrorIs(t, end.Err, io.ErrUnexpectedEOF)
		assert.False(t, end.Aborted)
	}
}

func TestSocketHugeAnswerIsBounded(t *testing.T) {
	resourcetest.NothingLeft(t)
	p := newSocketPeer(t, "tcp", func(c net.Conn) {
		for {
			if _, err := c.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	})
	var tooLarge *resources.TooLargeError
	r, end := socketDrive(t, p.socket(func(s *resources.Socket) { s.BodyMaxBytes = 100_000 }), socketPlenty)
	require.ErrorAs(t, end.Err, &tooLarge)
	assert.Nil(t, r)
	assert.EqualValues(t, 100_000, tooLarge.MaxBytes)

	_, end = socketDrive(t, p.socket(), socketPlenty)
	require.ErrorAs(t, end.Err, &tooLarge)
	assert.EqualValues(t, 32<<20, tooLarge.MaxBytes)

	var out bytes.Buffer
	_, end = socketDrive(t, p.socket(func(s *resources.Socket) { s.BodyMaxBytes, s.Out = 100_000, &out }), socketPlenty)
	require.ErrorAs(t, end.Err, &tooLarge)
	assert.Equal(t, 100_000, out.Len())
}

func TestSocketAnswerOfExactlyTheLimit(t *testing.T) {
	resourcetest.NothingLeft(t)
	p := newSocketPeer(t, "tcp", func(c net.Conn) { _, _ = c.Write(make([]byte, 1000)) })
	r, end := socketDrive(t, p.socket(func(s *resources.Socket) { s.BodyMaxBytes = 1000 }), socketPlenty)
	require.NoError(t, end.Err)
	assert.Len(t, r.Received, 1000)
}

// Either side would block if it sent everything before it read.
func TestSocketSendsAndReceivesAtTheSameTime(t *testing.T) {
	resourcetest.NothingLeft(t)
	const size = 20 << 20
	p := newSocketPeer(t, "tcp", socketEcho)
	r, end := socketDrive(t, p.socket(func(s *resources.Socket) { s.Send, s.HalfClose = make([]byte, size), true }), socketPlenty)
	require.NoError(t, end.Err)
	assert.EqualValues(t, size, r.SentBytes)
	assert.EqualValues(t, size, r.ReceivedBytes)
}

func TestSocketExpiryKeepsWhatDrippedIn(t *testing.T) {
	resourcetest.NothingLeft(t)
	closed := make(chan time.Time, 1)
	p := newSocketPeer(t, "tcp", func(c net.Conn) {
		drip := time.NewTicker(20 * time.Millisecond)
		defer drip.Stop()
		go func() { // ends with the connection
			_, _ = c.Read(make([]byte, 1))
			closed <- time.Now()
		}()
		for range drip.C {
			if _, err := c.Write([]byte(".")); err != nil {
				return
			}
		}
	})
	due := time.Now().Add(socketLimit)
	r := socketExpires(t, p.socket())
	assert.NotEmpty(t, r.Received)
	assert.EqualValues(t, len(r.Received), r.ReceivedBytes)
	assert.NotEmpty(t, r.RemoteAddr)
	assert.Less(t, (<-closed).Sub(due), 100*time.Millisecond, "the peer sees the close")
}

func TestSocketPeerThatNeverReads(t *testing.T) {
	resourcetest.NothingLeft(t)
	stop := make(chan struct{})
	p := newSocketPeer(t, "tcp", func(net.Conn) { <-stop })
	t.Cleanup(func() { close(stop) })
	r := socketExpires(t, p.socket(func(s *resources.Socket) { s.Send = make([]byte, 64<<20) }))
	assert.Less(t, r.SentBytes, int64(64<<20))
}

func TestSocketMissingPath(t *testing.T) {
	resourcetest.NothingLeft(t)
	r, end := socketDrive(t, resources.Socket{Address: "unix://" + filepath.Join(t.TempDir(), "missing")}, socketPlenty)
	assert.Nil(t, r)
	assert.ErrorIs(t, end.Err, fs.ErrNotExist)
}

func TestSocketChecksThePeersCertificate(t *testing.T) {
	resourcetest.NothingLeft(t)
	p := newSocketPeer(t, "tls", socketEcho)
	s := p.socket()
	s.TLS = nil
	_, end := socketDrive(t, s, socketPlenty)
	var unknown x509.UnknownAuthorityError
	assert.ErrorAs(t, end.Err, &unknown)

	s.TLS = &resources.TLS{RootCAs: p.tls.RootCAs, ServerName: "other.test"}
	_, end = socketDrive(t, s, socketPlenty)
	var hostname x509.HostnameError
	assert.ErrorAs(t, end.Err, &hostname)
}

func TestSocketStreams(t *testing.T) {
	for _, scheme := range []string{"tcp", "unix", "tls"} {
		t.Run(scheme, func(t *testing.T) {
			resourcetest.NothingLeft(t)
			p := newSocketPeer(t, scheme, func(c net.Conn) {
				all, _ := io.ReadAll(c)
				_, _ = c.Write(bytes.ToUpper(all))
			})
			var out bytes.Buffer
			r, end := socketDrive(t, p.socket(func(s *resources.Socket) {
				s.Send, s.In, s.Out, s.HalfClose = []byte("begin "), strings.NewReader("and end"), &out, true
			}), socketPlenty)
			require.NoError(t, end.Err)
			assert.Equal(t, "BEGIN AND END", out.String(), "the end of In did not end the exchange")
			assert.Nil(t, r.Received)
			assert.EqualValues(t, 13, r.SentBytes)
			assert.EqualValues(t, 13, r.ReceivedBytes)
		})
	}
}

// The peer says good-bye while In, as a terminal would, has nothing to give.
func TestSocketIsNotHeldByABlockedIn(t *testing.T) {
	t.Run("that can be woken", func(t *testing.T) {
		resourcetest.NothingLeft(t)
		in, feed, err := os.Pipe()
		require.NoError(t, err)
		defer func() { _, _ = in.Close(), feed.Close() }()
		p := newSocketPeer(t, "tcp", func(c net.Conn) { _, _ = c.Write([]byte("bye")) })
		r, end := socketDrive(t, p.socket(func(s *resources.Socket) { s.In = in }), socketPlenty)
		require.NoError(t, end.Err)
		assert.Equal(t, "bye", string(r.Received))

		_, err = feed.Write([]byte("x"))
		require.NoError(t, err)
		n, err := in.Read(make([]byte, 1))
		assert.Equal(t, 1, n)
		assert.NoError(t, err, "In is as it was")
	})
	t.Run("that cannot", func(t *testing.T) {
		resourcetest.NothingLeft(t)
		in, feed := io.Pipe()
		defer feed.Close()
		p := newSocketPeer(t, "tcp", func(c net.Conn) { _, _ = c.Write([]byte("bye")) })
		r, end := socketDrive(t, p.socket(func(s *resources.Socket) { s.In = in }), socketPlenty)
		require.NoError(t, end.Err)
		assert.Equal(t, "bye", string(r.Received))
	})
	t.Run("at expiry", func(t *testing.T) {
		resourcetest.NothingLeft(t)
		in, feed := io.Pipe()
		defer feed.Close()
		p := newSocketPeer(t, "tcp", socketSilent)
		socketExpires(t, p.socket(func(s *resources.Socket) { s.In = in }))
	})
}

func TestSocketIsNotHeldByABlockedOut(t *testing.T) {
	resourcetest.NothingLeft(t)
	reader, out, err := os.Pipe()
	require.NoError(t, err)
	defer func() { _, _ = reader.Close(), out.Close() }()
	p := newSocketPeer(t, "tcp", func(c net.Conn) {
		_, _ = c.Write(make([]byte, 1<<20))
		socketSilent(c)
	})
	r := socketExpires(t, p.socket(func(s *resources.Socket) { s.Out = out }))
	assert.Positive(t, r.ReceivedBytes)
	assert.Less(t, r.ReceivedBytes, int64(1<<20))

	_, err = io.ReadFull(reader, make([]byte, r.ReceivedBytes))
	require.NoError(t, err)
	_, err = out.Write([]byte("x"))
	assert.NoError(t, err, "Out is as it was")
}

// A peer that has had enough may still answer.
func TestSocketAnswerBeforeTheEndOfIn(t *testing.T) {
	resourcetest.NothingLeft(t)
	p := newSocketPeer(t, "tcp", func(c net.Conn) {
		_, _ = io.ReadFull(c, make([]byte, 10))
		_, _ = c.Write([]byte("enough\n"))
		socketSilent(c)
	})
	endless := socketEndless{}
	r, end := socketDrive(t, p.socket(func(s *resources.Socket) { s.In, s.ReadUntil = endless, []byte("\n") }), socketPlenty)
	require.NoError(t, end.Err)
	assert.Equal(t, "enough\n", string(r.Received))
}

type socketEndless struct{}

func (socketEndless) Read(p []byte) (int, error) { return len(p), nil }

var errSocketBroken = errors.New("broken")

type socketBroken struct{}

func (socketBroken) Read([]byte) (int, error)  { return 0, errSocketBroken }
func (socketBroken) Write([]byte) (int, error) { return 0, errSocketBroken }

func TestSocketFailsWithItsStreams(t *testing.T) {
	resourcetest.NothingLeft(t)
	p := newSocketPeer(t, "tcp", func(c net.Conn) {
		_, _ = c.Write([]byte("hello"))
		socketSilent(c)
	})
	for name, s := range map[string]resources.Socket{
		"In":          p.socket(func(s *resources.Socket) { s.In = socketBroken{} }),
		"Out":         p.socket(func(s *resources.Socket) { s.Out = socketBroken{} }),
		"In, udp":     {Address: newDatagramPeer(t, func([]byte) []byte { return nil }), In: socketBroken{}},
		"In, bounded": {Address: p.address, In: io.MultiReader(strings.NewReader("x"), socketBroken{})},
	} {
		t.Run(name, func(t *testing.T) {
			r, end := socketDrive(t, s, socketPlenty)
			assert.ErrorIs(t, end.Err, errSocketBroken)
			assert.False(t, end.Aborted)
			assert.Nil(t, r)
		})
	}
}

func TestDatagramExchange(t *testing.T) {
	resourcetest.NothingLeft(t)
	address := newDatagramPeer(t, func(p []byte) []byte { return append([]byte("got "), p...) })
	for name, c := range map[string]struct {
		socket resources.Socket
		want   string
	}{
		"send":        {resources.Socket{Send: []byte("x")}, "got x"},
		"empty":       {resources.Socket{}, "got "},
		"send and in": {resources.Socket{Send: []byte("x"), In: strings.NewReader("yz"), HalfClose: true}, "got xyz"},
	} {
		t.Run(name, func(t *testing.T) {
			c.socket.Address = address
			r, end := socketDrive(t, c.socket, socketPlenty)
			require.NoError(t, end.Err)
			assert.Equal(t, c.want, string(r.Received))
		})
	}
}

func TestDatagramLimits(t *testing.T) {
	resourcetest.NothingLeft(t)
	address := newDatagramPeer(t, func([]byte) []byte { return make([]byte, 2000) })
	_, end := socketDrive(t, resources.Socket{Address: address, BodyMaxBytes: 1999}, socketPlenty)
	var tooLarge *resources.TooLargeError
	assert.ErrorAs(t, end.Err, &tooLarge)

	_, end = socketDrive(t, resources.Socket{Address: address, In: socketEndless{}}, socketPlenty)
	assert.ErrorContains(t, end.Err, "longer than a datagram")

	in, feed := io.Pipe()
	defer feed.Close()
	socketExpires(t, resources.Socket{Address: address, In: in})
}

func TestSocketReportsProgress(t *testing.T) {
	p := newSocketPeer(t, "tcp", socketEcho)
	var keeper resources.Keeper
	held := keeper.Begin(nil)
	began := keeper.Moved()
	_, err := p.socket(socketLine("hello\n")).Run(context.Background(), held)
	require.NoError(t, err)
	assert.True(t, keeper.Moved().After(began))
	assert.False(t, keeper.Opened().IsZero())
	assert.True(t, keeper.Seal(false))
	assert.Empty(t, keeper.Release(time.Second, time.Second).Left())
}

func TestSocketForceResetsTheConnection(t *testing.T) {
	resourcetest.NothingLeft(t)
	seen := make(chan error, 1)
	p := newSocketPeer(t, "tcp", func(c net.Conn) {
		_, err := c.Read(make([]byte, 1))
		seen <- err
	})
	ctx, cancel := context.WithCancel(t.Context())
	var keeper resources.Keeper
	held := keeper.Begin(nil)
	back := make(chan struct{})
	go func() { // waited for below
		defer close(back)
		_, _ = p.socket().Run(ctx, held)
	}()
	for keeper.Opened().IsZero() {
		socketYield(1)
	}
	cancel()
	require.NoError(t, resources.ForceFirst(held))
	<-back
	assert.ErrorIs(t, <-seen, syscall.ECONNRESET)
}
