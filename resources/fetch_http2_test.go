package resources_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
	"curfew.example/tests/peers"
)

// http2Server answers / at once, /hang never, and /slow when release is closed. It tells
// of each /hang and /slow that has come, and of each that its client gave up.
type http2Server struct {
	*countingServer
	came, left chan string
	release    chan struct{}
}

func newHTTP2Server(t *testing.T) *http2Server {
	s := &http2Server{came: make(chan string, 64), left: make(chan string, 64), release: make(chan struct{})}
	s.countingServer = newCountingServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			s.came <- r.URL.Path
			release := s.release
			if r.URL.Path == "/hang" {
				release = nil
			}
			select {
			case <-r.Context().Done():
				s.left <- r.URL.Path
				return
			case <-release:
			}
		}
		fmt.Fprint(w, r.Proto)
	}, true)
	return s
}

// awaits receives want from c.
func awaits(t *testing.T, c <-chan string, want string) {
	t.Helper()
	select {
	case got := <-c:
		require.Equal(t, want, got)
	case <-time.After(5 * time.Second):
		require.Fail(t, "has not come", want)
	}
}

func TestExpiredHTTP2StreamLeavesItsNeighboursAlone(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := newHTTP2Server(t)
	shelf := newShelf(t)
	fetch := func(path string) resources.Fetch { return resources.Fetch{URL: s.URL + path, TLS: s.trust()} }

	assert.Equal(t, "HTTP/2.0", string(fetchWell(t, fetch("/"), shelf).Body))
	var neighbour sync.WaitGroup
	neighbour.Go(func() { // waited for below
		resp, end := driveFetch(t, fetch("/slow"), fetchLong, shelf)
		if assert.NoError(t, end.Err) {
			assert.Equal(t, "HTTP/2.0", string(resp.Body))
		}
	})
	awaits(t, s.came, "/slow")
	for range 3 {
		fetchExpires(t, fetch("/hang"), shelf, nil)
		awaits(t, s.came, "/hang")
		awaits(t, s.left, "/hang")
	}
	assert.True(t, fetchWell(t, fetch("/"), shelf).Reused)
	close(s.release)
	neighbour.Wait()
	// net/http asks for a sign of life with one reset, and no more until an answer comes:
	// the silence after the next cannot be told from a dead network's.
	assert.LessOrEqual(t, s.conns.Load(), int32(2), "many in doubt cost one connection")
}

func TestHTTP2ConnectionDialledByAnExpiredFetchServesOthers(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := newHTTP2Server(t)
	shelf := newShelf(t)
	fetch := func(path string) resources.Fetch { return resources.Fetch{URL: s.URL + path, TLS: s.trust()} }
	fetchExpires(t, fetch("/hang"), shelf, nil)
	assert.True(t, fetchWell(t, fetch("/"), shelf).Reused)
	assert.EqualValues(t, 1, s.conns.Load())
}

func TestPrivateHTTP2ConnectionIsClosedAtTheEnd(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := newHTTP2Server(t)
	fetchExpires(t, resources.Fetch{URL: s.URL + "/hang", TLS: s.trust()}, nil, nil)
	awaits(t, s.left, "/hang")
	assert.Equal(t, "HTTP/2.0", fetchWell(t, resources.Fetch{URL: s.URL, TLS: s.trust(), NoReuse: true}, newShelf(t)).Proto)
}

// newBlackHole starts a network to addr that can go dead.
func newBlackHole(t *testing.T, addr string) *peers.BlackHole {
	t.Helper()
	b, err := peers.NewBlackHole(addr)
	require.NoError(t, err)
	t.Cleanup(b.Close)
	return b
}

func TestBlackHoledHTTP2ConnectionCostsOneFetch(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := newHTTP2Server(t)
	hole := newBlackHole(t, s.Listener.Addr().String())
	shelf := newShelf(t)
	f := resources.Fetch{URL: hole.HTTPS(), TLS: s.trust()}
	assert.Equal(t, "HTTP/2.0", fetchWell(t, f, shelf).Proto)
	assert.True(t, fetchWell(t, f, shelf).Reused)

	hole.Swallow()
	fetchExpires(t, f, shelf, nil)
	assert.False(t, fetchWell(t, f, shelf).Reused)
	assert.EqualValues(t, 2, hole.Accepted.Load())
}

// The neighbours may only be slow: they are not cut, and no newcomer is put beside them.
func TestBlackHoledHTTP2ConnectionWithNeighboursCostsOneFetch(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := newHTTP2Server(t)
	hole := newBlackHole(t, s.Listener.Addr().String())
	shelf := newShelf(t)
	f := resources.Fetch{URL: hole.HTTPS(), TLS: s.trust()}
	assert.Equal(t, "HTTP/2.0", fetchWell(t, f, shelf).Proto)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	slow := f
	slow.URL += "/slow"
	var neighbours sync.WaitGroup
	for range 3 {
		neighbours.Go(func() { // waited for below
			assert.ErrorIs(t, cancellable(t, ctx, slow, shelf).Err, context.Canceled)
		})
		awaits(t, s.came, "/slow")
	}
	hole.Swallow()
	fetchExpires(t, f, shelf, nil)
	assert.False(t, fetchWell(t, f, shelf).Reused)
	for range 3 {
		assert.True(t, fetchWell(t, f, shelf).Reused, "what stands in is kept, too")
	}
	assert.EqualValues(t, 2, hole.Accepted.Load())

	// The network may fail again before the first connection has been given up.
	slow.URL = f.URL + "/hang"
	neighbours.Go(func() { // waited for below
		assert.ErrorIs(t, cancellable(t, ctx, slow, shelf).Err, context.Canceled)
	})
	awaits(t, s.came, "/hang")
	hole.Swallow()
	fetchExpires(t, f, shelf, nil)
	for range 2 {
		assert.False(t, fetchWell(t, f, shelf).Reused, "each has a connection of its own")
	}
	cancel()
	neighbours.Wait()
	assert.False(t, fetchWell(t, f, newShelf(t)).Reused)
}

func TestManyFetchesShareConnections(t *testing.T) {
	for name, overTLS := range map[string]bool{"HTTP/1": false, "HTTP/2": true} {
		t.Run(name, func(t *testing.T) {
			resourcetest.NothingLeft(t)
			s := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/hang" {
					<-r.Context().Done()
				}
				fmt.Fprint(w, "hello")
			}, overTLS)
			shelf := newShelf(t)
			var running sync.WaitGroup
			for i := range 64 {
				running.Go(func() { // waited for below
					for range 5 {
						if i%4 == 0 {
							_, end := driveFetch(t, resources.Fetch{URL: s.URL + "/hang", TLS: s.trust()}, 20*time.Millisecond, shelf)
							assert.Error(t, end.Err)
							assert.Empty(t, end.Report.Left())
							continue
						}
						resp, end := driveFetch(t, resources.Fetch{URL: s.URL, TLS: s.trust()}, 20*time.Second, shelf)
						if assert.NoError(t, end.Err) {
							assert.Equal(t, "hello", string(resp.Body))
						}
					}
				})
			}
			running.Wait()
		})
	}
}
