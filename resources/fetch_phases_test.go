package resources_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
	"curfew.example/timeoutpolicy"
)

// acceptsConnect plays a proxy up to the point where the tunnel stands.
func acceptsConnect(c *peerConn) {
	_, _ = c.Request()
	c.Say("HTTP/1.1 200 go on\r\n\r\n")
}

func TestFetchExpiresOnTimeInEveryPhase(t *testing.T) {
	resourcetest.NothingLeft(t) // of all together: they run beside each other
	const drip = 10 * time.Millisecond
	for name, phase := range map[string]struct {
		script func(*peerConn)
		fetch  func(addr string) resources.Fetch
	}{
		"no answer": {script: func(c *peerConn) {}},
		"TLS silent": {
			script: func(c *peerConn) {},
			fetch:  func(addr string) resources.Fetch { return resources.Fetch{URL: "https://" + addr} },
		},
		"TLS drips": {
			script: func(c *peerConn) { c.Say("\x16\x03\x03\x40\x00"); c.Drip("\x02", drip) },
			fetch:  func(addr string) resources.Fetch { return resources.Fetch{URL: "https://" + addr} },
		},
		"CONNECT silent": {
			script: func(c *peerConn) {},
			fetch: func(addr string) resources.Fetch {
				return resources.Fetch{URL: "https://target.invalid", Proxy: "http://" + addr}
			},
		},
		"CONNECT drips": {
			script: func(c *peerConn) { c.Answer("HTTP/1.1 200 go on\r\nX: "); c.Drip("x", drip) },
			fetch: func(addr string) resources.Fetch {
				return resources.Fetch{URL: "https://target.invalid", Proxy: "http://" + addr}
			},
		},
		"CONNECT, then TLS silent": {
			script: acceptsConnect,
			fetch: func(addr string) resources.Fetch {
				return resources.Fetch{URL: "https://target.invalid", Proxy: "http://" + addr}
			},
		},
		"TLS to the proxy silent": {
			script: func(c *peerConn) {},
			fetch: func(addr string) resources.Fetch {
				return resources.Fetch{URL: "http://target.invalid", Proxy: "https://" + addr}
			},
		},
		"SOCKS silent": {
			script: func(c *peerConn) {},
			fetch: func(addr string) resources.Fetch {
				return resources.Fetch{URL: "http://target.invalid", Proxy: "socks5://" + addr}
			},
		},
		"headers drip": {script: func(c *peerConn) { c.Answer("HTTP/1.1 200 OK\r\nX: "); c.Drip("x", drip) }},
		"103 drips":    {script: func(c *peerConn) { _, _ = c.Request(); c.Drip("HTTP/1.1 103 Early Hints\r\n\r\n", drip) }},
		"body drips": {script: func(c *peerConn) {
			c.Answer("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
			c.Drip("x", drip)
		}},
		"body stalls": {script: func(c *peerConn) { c.Answer("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhello") }},
		"chunks drip": {script: func(c *peerConn) {
			c.Answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			c.Drip("1\r\nx\r\n", drip)
		}},
		"100 never comes": {
			script: func(c *peerConn) {},
			fetch: func(addr string) resources.Fetch {
				return resources.Fetch{URL: "http://" + addr, Body: []byte("x"), Header: http.Header{"Expect": {"100-continue"}}}
			},
		},
		"redirected for ever": {script: func(c *peerConn) {
			for {
				if req, _ := c.Request(); req == nil {
					return
				}
				c.Say("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")
			}
		}, fetch: func(addr string) resources.Fetch {
			return resources.Fetch{URL: "http://" + addr, RedirectsMax: 1 << 30}
		}},
	} {
		for _, shared := range []string{"shared", "private"} {
			t.Run(name+"/"+shared, func(t *testing.T) {
				if name != "redirected for ever" { // all the others do is wait
					t.Parallel()
				}
				p := newFetchPeer(t, nil, phase.script)
				f := resources.Fetch{URL: p.HTTP()}
				if phase.fetch != nil {
					f = phase.fetch(p.Addr)
				}
				var shelf *resources.Shelf
				if shared == "shared" {
					shelf = newShelf(t)
				}
				fetchExpires(t, f, shelf, p)
			})
		}
	}
}

func TestFetchExpiresBehindAServerThatNeverAccepts(t *testing.T) {
	resourcetest.NothingLeft(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()

	fetchExpires(t, resources.Fetch{URL: "http://" + listener.Addr().String() + "/late"}, nil, nil)

	conn, err := listener.Accept()
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
	all, err := io.ReadAll(conn)
	assert.NoError(t, err, "the request, and then the end of it")
	assert.True(t, strings.HasPrefix(string(all), "GET /late HTTP/1.1\r\n"))
}

func TestExpiredFetchReturnsWhatThereIsOfTheBody(t *testing.T) {
	resourcetest.NothingLeft(t)
	p := newFetchPeer(t, nil, func(c *peerConn) {
		c.Answer("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nX-Kind: partial\r\n\r\nhello")
	})
	resp := fetchExpires(t, resources.Fetch{URL: p.HTTP()}, nil, p)
	require.NotNil(t, resp)
	assert.Equal(t, 200, resp.Status)
	assert.Equal(t, "partial", resp.Header.Get("X-Kind"))
	assert.Equal(t, "hello", string(resp.Body))
	assert.True(t, resp.Partial)
}

func TestFetchWhoseUploadIsNeverReadExpiresAndResets(t *testing.T) {
	resourcetest.NothingLeft(t)
	over := make(chan struct{})
	p := newFetchPeer(t, nil, func(c *peerConn) { <-over })
	body := bytes.Repeat([]byte("x"), 64<<20)
	fetchExpires(t, resources.Fetch{URL: p.HTTP(), Body: body}, nil, nil)
	close(over)
	p.sawClose(t, time.Now(), fetchSlack)
	assert.Less(t, p.Heard.Load(), int64(len(body)), "it was not to be read")
}

// blockedReader gives nothing until it is let go.
type blockedReader struct{ let chan struct{} }

func (r blockedReader) Read([]byte) (int, error) {
	<-r.let
	return 0, io.EOF
}

func TestBlockedUploadBodyDoesNotHoldTheCallerAndIsNamed(t *testing.T) {
	for _, proto := range []string{"HTTP/1", "HTTP/2"} {
		t.Run(proto, func(t *testing.T) {
			resourcetest.NothingLeft(t)
			release := make(chan struct{})
			s := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				<-release
			}, proto == "HTTP/2")
			t.Cleanup(func() { close(release) })

			const limit, grace, force = 150 * time.Millisecond, 60 * time.Millisecond, 40 * time.Millisecond
			source := blockedReader{make(chan struct{})}
			end := resourcetest.Drive(t.Context(), resources.Of(resources.Fetch{URL: s.URL, TLS: s.trust(), BodyFrom: source}),
				timeoutpolicy.Budget{Limit: limit, Grace: grace, Force: force}, nil)
			assert.ErrorIs(t, end.Err, context.DeadlineExceeded)
			assert.True(t, end.Back, "the runner is not held by the body")
			assert.LessOrEqual(t, end.Late, grace+force+fetchSlack)
			require.Len(t, end.Report.Remains, 1)
			assert.Equal(t, "request body", end.Report.Left()[0].What)

			close(source.let)
			select {
			case <-end.Report.Remains[0].Gone:
			case <-time.After(5 * time.Second):
				assert.Fail(t, "the body is let go and still on the books")
			}
		})
	}
}

func TestBlockedUploadBodyThatCanBeClosedIsClosed(t *testing.T) {
	resourcetest.NothingLeft(t)
	p := newFetchPeer(t, nil, func(c *peerConn) {})
	r, w := io.Pipe()
	defer w.Close()
	fetchExpires(t, resources.Fetch{URL: p.HTTP(), BodyFrom: r}, nil, p)
	_, err := w.Write([]byte("x"))
	assert.ErrorIs(t, err, io.ErrClosedPipe)
}

// panickingReader is a request body with a bug.
type panickingReader struct{}

func (panickingReader) Read([]byte) (int, error) { panic("bug") }

func TestPanickingUploadBodyIsAnError(t *testing.T) {
	resourcetest.NothingLeft(t)
	p := newFetchPeer(t, nil, func(c *peerConn) {})
	err := fetchFails(t, resources.Fetch{URL: p.HTTP(), BodyFrom: panickingReader{}}, nil)
	var panicked *resources.Panicked
	require.ErrorAs(t, err, &panicked)
	assert.Equal(t, "bug", panicked.Value)
}

func TestFetchCancelledIsClosedAtOnce(t *testing.T) {
	resourcetest.NothingLeft(t)
	ctx, cancel := context.WithCancel(t.Context())
	p := newFetchPeer(t, nil, func(c *peerConn) {
		_, _ = c.Request()
		cancel()
	})
	end := resourcetest.Drive(ctx, resources.Of(resources.Fetch{URL: p.HTTP()}), timeoutpolicy.Budget{Limit: time.Minute}, nil)
	assert.ErrorIs(t, end.Err, context.Canceled)
	p.sawClose(t, time.Now(), fetchSlack)
}

func TestBytesThatMoveAreProgress(t *testing.T) {
	resourcetest.NothingLeft(t)
	p := newFetchPeer(t, nil, func(c *peerConn) {
		c.Answer("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
		c.Drip("x", 5*time.Millisecond)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	var keeper resources.Keeper
	_, err := resources.Fetch{URL: p.HTTP()}.Run(ctx, keeper.Begin(nil))
	require.Error(t, err)
	assert.False(t, keeper.Opened().IsZero())
	assert.Less(t, time.Since(keeper.Moved()), 100*time.Millisecond)
	keeper.Seal(true)
	assert.Empty(t, keeper.Release(time.Second, time.Second).Left())
}
