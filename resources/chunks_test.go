package resources_test

import (
	"bytes"
	"math/rand/v2"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
)

// Answers are collected in pieces: whatever their length, they come as they were sent.
func TestLongAnswersComeAsTheyWereSent(t *testing.T) {
	resourcetest.NothingLeft(t)
	for _, size := range []int{0, 1, 511, 512, 513, 1 << 20, 1<<20 + 1, 5<<20 + 12345} {
		want := make([]byte, size)
		random := rand.NewChaCha8([32]byte{byte(size)})
		_, _ = random.Read(want)

		s := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/announced" {
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(want))
				return
			}
			_, _ = w.Write(want)
		}, false)
		for _, path := range []string{"/", "/announced"} {
			got := fetchWell(t, resources.Fetch{URL: s.URL + path}, nil)
			assert.True(t, bytes.Equal(want, got.Body), "%d bytes of %s", size, path)
		}

		p := newSocketPeer(t, "tcp", func(c net.Conn) { _, _ = c.Write(want) })
		got, end := socketDrive(t, p.socket(), socketPlenty)
		require.NoError(t, end.Err)
		assert.True(t, bytes.Equal(want, got.Received), "%d bytes of a socket", size)
	}
}
