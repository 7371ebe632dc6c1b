package tests

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/tests/peers"
)

// peer is a peer of the fault kit that ends with its test.
type peer struct{ *peers.Peer }

type peerConn = peers.Conn

// newPeer starts a peer on a loopback port. The test's end closes it and waits for all
// its goroutines.
func newPeer(t testing.TB, script peers.Script) *peer {
	t.Helper()
	p, err := peers.Listen(script)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return &peer{p}
}

// sawClose checks that the peer saw a close, and when: not much after due.
func (p *peer) sawClose(t testing.TB, due time.Time, allowed time.Duration) {
	t.Helper()
	at := receive(t, p.Closes, "the peer's sight of the close")
	assert.LessOrEqual(t, at.Sub(due), allowed, "the peer saw the close late")
}
