package resources_test

import (
	"context"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
	"curfew.example/tests/peers"
	"curfew.example/timeoutpolicy"
)

// fetchSlack is how much later than a plain timer an end may come.
const fetchSlack = 50 * time.Millisecond

// fetchLong is a limit that is not meant to be reached.
const fetchLong = 10 * time.Second

// fetchPeer is a peer of the fault kit that ends with its test.
type fetchPeer struct{ *peers.Peer }

type peerConn = peers.Conn

// newFetchPeer starts a peer on listener, or on a loopback port of its own when that is
// nil. The test's end closes it and waits for all its goroutines.
func newFetchPeer(t testing.TB, listener net.Listener, script peers.Script) *fetchPeer {
	t.Helper()
	if listener == nil {
		var err error
		listener, err = net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
	}
	p := peers.Serve(listener, script)
	t.Cleanup(p.Close)
	return &fetchPeer{p}
}

// sawClose checks that the peer saw a close no later than slack after due.
func (p *fetchPeer) sawClose(t testing.TB, due time.Time, slack time.Duration) {
	t.Helper()
	select {
	case at := <-p.Closes:
		assert.LessOrEqual(t, at.Sub(due), slack, "the peer saw the close late")
	case <-time.After(5 * time.Second):
		assert.Fail(t, "the peer has not seen the close")
	}
}

// driveFetch runs f with limit.
func driveFetch(t testing.TB, f resources.Fetch, limit time.Duration, shelf *resources.Shelf) (*resources.Response, resourcetest.End) {
	t.Helper()
	end := resourcetest.Drive(t.Context(), resources.Of(f), timeoutpolicy.Budget{Limit: limit}, shelf)
	resp, _ := end.Value.(*resources.Response)
	return resp, end
}

// fetchWell runs f, which has to succeed.
func fetchWell(t testing.TB, f resources.Fetch, shelf *resources.Shelf) *resources.Response {
	t.Helper()
	resp, end := driveFetch(t, f, fetchLong, shelf)
	require.NoError(t, end.Err)
	require.False(t, end.Aborted)
	assert.Empty(t, end.Report.Left())
	return resp
}

// fetchFails runs f, which has to fail by itself.
func fetchFails(t testing.TB, f resources.Fetch, shelf *resources.Shelf) error {
	t.Helper()
	resp, end := driveFetch(t, f, fetchLong, shelf)
	require.Error(t, end.Err)
	assert.False(t, end.Aborted)
	assert.Nil(t, resp, "a plain error comes without a result")
	assert.Empty(t, end.Report.Left())
	return end.Err
}

// fetchExpires runs f, which has to expire on time with nothing left, and returns what
// there is of the result.
func fetchExpires(t testing.TB, f resources.Fetch, shelf *resources.Shelf, p *fetchPeer) *resources.Response {
	t.Helper()
	const limit = 150 * time.Millisecond
	plain := resourcetest.PlainTimer(limit)
	due := time.Now().Add(limit)
	resp, end := driveFetch(t, f, limit, shelf)
	late := time.Since(due)
	slack := max(0, <-plain) + fetchSlack
	// net may notice the deadline a moment before the context does.
	require.True(t, end.Aborted || late >= 0, "it was to expire: %v", end.Err)
	assert.LessOrEqual(t, late, slack)
	assert.True(t, end.Back)
	assert.Empty(t, end.Report.Left())
	assert.NoError(t, end.Report.Err)
	assert.ErrorIs(t, end.Err, context.DeadlineExceeded)
	if p != nil {
		p.sawClose(t, due.Add(max(0, late)), slack)
	}
	return resp
}

// countingServer is an httptest server that counts its connections.
type countingServer struct {
	*httptest.Server
	conns atomic.Int32
}

// newCountingServer starts a server over TLS, with HTTP/2, or plain.
func newCountingServer(t testing.TB, h http.HandlerFunc, overTLS bool) *countingServer {
	t.Helper()
	s := &countingServer{Server: httptest.NewUnstartedServer(h)}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that go in mid-handshake are what is tested
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			s.conns.Add(1)
		}
	}
	if s.EnableHTTP2 = overTLS; overTLS {
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

// trust is the TLS with which s is believed; nil where it is not needed.
func (s *countingServer) trust() *resources.TLS {
	if s.TLS == nil {
		return nil
	}
	return &resources.TLS{RootCAs: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})}
}

// newShelf is a shelf that is closed at the test's end.
func newShelf(t testing.TB) *resources.Shelf {
	t.Helper()
	s := &resources.Shelf{}
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	return s
}
