package supervisor_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/supervisor"
)

// failsToClose says at each Close that it failed.
type failsToClose struct {
	net.Conn
	closes atomic.Int64
}

func (f *failsToClose) Close() error { f.closes.Add(1); return errWork }

// A Close that returns an error has closed, as io.Closer's and net.Conn's do; what a second
// one does nobody knows.
func TestWhatAForeignCloseSaysIsHeardAndNoLeftover(t *testing.T) {
	for name, handOut := range map[string]func(*supervisor.Supervisor, *failsToClose) (io.Closer, error){
		"a connection": func(sup *supervisor.Supervisor, f *failsToClose) (io.Closer, error) {
			return sup.Conn(context.Background(), f)
		},
		"a body": func(sup *supervisor.Supervisor, f *failsToClose) (io.Closer, error) {
			resp, err := sup.Transport(roundTripper(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusOK, Body: f}, nil
			})).RoundTrip(httptest.NewRequest("GET", "http://127.0.0.1/", nil))
			return resp.Body, err
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
				ours, theirs := net.Pipe()
				defer theirs.Close()
				f := &failsToClose{Conn: ours}
				out, err := handOut(sup, f)
				require.NoError(t, err)
				err = out.Close()
				assert.ErrorIs(t, err, errWork)
				var unreleased *supervisor.Unreleased
				assert.NotErrorAs(t, err, &unreleased)
				assert.Empty(t, sup.Leftovers())
				time.Sleep(time.Minute)
				assert.EqualValues(t, 1, f.closes.Load())
			}, tenSeconds())
		})
	}
}

// A TLS connection waits 5 s for a peer that does not take its farewell.
func TestATLSConnectionWhosePeerTakesNoFarewellIsClosedBelowIt(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	config := server.TLS.Clone()
	server.Close()
	bubble(t, func(t *testing.T, sup *supervisor.Supervisor) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		go func() { _ = tls.Server(theirs, config).Handshake() }() // ends with the handshake below
		inner := tls.Client(ours, &tls.Config{InsecureSkipVerify: true, SessionTicketsDisabled: true, MaxVersion: tls.VersionTLS12})
		require.NoError(t, inner.Handshake())
		began := time.Now()
		c, err := sup.Conn(t.Context(), inner)
		require.NoError(t, err)
		_, err = c.Read(make([]byte, 1))
		var expired *supervisor.Expired
		require.ErrorAs(t, err, &expired)
		assert.Equal(t, 12*time.Second, time.Since(began), "the limit and Grace")
		assert.Empty(t, expired.Receipt.Leftover)
		assert.ErrorAs(t, c.Close(), &expired)
	}, tenSeconds())
}
