package tests

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/tests/peers"
)

func TestFetchWhoseUploadIsNeverReadExpiresAndThePeerSeesIt(t *testing.T) {
	sup := realWorld(t)
	over := make(chan struct{})
	p := newPeer(t, func(*peerConn) { <-over }) // reads nothing until it is over
	const size = 64 << 20
	_, expired := expires(t, sup, resources.Fetch{URL: p.HTTP(), Body: bytes.Repeat([]byte("x"), size)}, hangLimit)
	assert.Equal(t, actors.Running, expired.Receipt.Phase)
	w := watch(0)
	close(over)
	p.sawClose(t, w.due, w.stop(t))
	assert.Less(t, p.Heard.Load(), int64(size), "it was not to be read")
}

// stuckReader is a body that gives nothing until it is let go, and cannot be closed.
type stuckReader struct{ let chan struct{} }

func (r stuckReader) Read([]byte) (int, error) {
	<-r.let
	return 0, io.EOF
}

func TestFetchWhoseUploadBlocksIsAnsweredWithinItsGraceAndNamesTheBody(t *testing.T) {
	sup := realWorld(t)
	p := newPeer(t, peers.Silent)
	body := stuckReader{make(chan struct{})}
	const grace, force = 100 * time.Millisecond, 50 * time.Millisecond
	require.NoError(t, sup.SetPolicy(brief(hangLimit, grace, force)))
	due := time.Now().Add(hangLimit)
	w := watch(hangLimit + grace + force)
	_, err := supervisor.Do(t.Context(), sup, resources.Fetch{URL: p.HTTP(), BodyFrom: body})
	allowed := w.stop(t)
	expired := isExpired(t, err)
	p.sawClose(t, due, allowed)
	require.Len(t, expired.Receipt.Leftover, 1)
	assert.Equal(t, "request body", expired.Receipt.Leftover[0].What)
	assert.Len(t, sup.Leftovers(), 1)
	close(body.let)
	eventually(t, func() bool { return len(sup.Leftovers()) == 0 }, "the leftover's end")
}

func TestFetchWhoseUploadCanBeClosedLeavesNothing(t *testing.T) {
	sup := realWorld(t)
	p := newPeer(t, peers.Silent)
	r, w := io.Pipe()
	due := time.Now().Add(hangLimit)
	expires(t, sup, resources.Fetch{URL: p.HTTP(), BodyFrom: r}, hangLimit)
	p.sawClose(t, due, time.Since(due)+slack)
	_, err := w.Write([]byte("x"))
	assert.ErrorIs(t, err, io.ErrClosedPipe, "whoever fills the body learns of the end")
}
