package tests

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/tests/peers"
	"curfew.example/timeoutpolicy"
)

// farServer is an HTTP/2 server behind a network that can go dead. It answers every
// request as both a page and an XML-RPC response, but for those to /slow, which hang.
type farServer struct {
	*peers.BlackHole
	trust *resources.TLS
	slow  chan struct{} // one for each request to /slow that has come
}

func newFarServer(t *testing.T) *farServer {
	t.Helper()
	far := &farServer{slow: make(chan struct{}, 64)}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/slow" {
			far.slow <- struct{}{}
			<-r.Context().Done()
			return
		}
		_, _ = io.WriteString(w, "<methodResponse><params><param><value>"+r.Proto+"</value></param></params></methodResponse>")
	}))
	s.EnableHTTP2, s.Config.ErrorLog = true, log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	far.trust = &resources.TLS{RootCAs: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})}
	hole, err := peers.NewBlackHole(s.Listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(hole.Close)
	far.BlackHole = hole
	return far
}

// exchange is one request to the server, of either kind.
type exchange func(ctx context.Context, options ...supervisor.Option) error

// exchanges are the two ways to speak to the server; the slow one hangs.
func (far *farServer) exchanges(t *testing.T, sup *supervisor.Supervisor, path string) map[string]exchange {
	session := open(t, sup, resources.XMLRPC{URL: far.HTTPS() + path, TLS: far.trust})
	return map[string]exchange{
		"fetch": func(ctx context.Context, options ...supervisor.Option) error {
			r, err := supervisor.Do(ctx, sup, resources.Fetch{URL: far.HTTPS() + path, TLS: far.trust}, options...)
			if err == nil && r.Proto != "HTTP/2.0" {
				return errors.New(r.Proto)
			}
			return err
		},
		"xmlrpc": func(ctx context.Context, options ...supervisor.Option) error {
			var proto string
			err := session.Call(supervisor.WithOptions(ctx, options...), "m", nil, &proto)
			if err == nil && proto != "HTTP/2.0" {
				return errors.New(proto)
			}
			return err
		},
	}
}

// After the network has gone dead under a warm HTTP/2 connection, one further request
// fails and no more, whether or not others wait on the connection; those wait on.
func TestDeadNetworkUnderHTTP2CostsOneFurtherRequest(t *testing.T) {
	for _, kind := range []string{"fetch", "xmlrpc"} {
		for name, neighbours := range map[string]int{"alone": 0, "with neighbours": 5} {
			t.Run(kind+", "+name, func(t *testing.T) {
				sup := realWorld(t, supervisor.WithPolicy(timeoutpolicy.Fixed(patience)))
				far := newFarServer(t)
				good, slow := far.exchanges(t, sup, "/")[kind], far.exchanges(t, sup, "/slow")[kind]
				require.NoError(t, good(t.Context()))
				require.NoError(t, good(t.Context()))
				require.EqualValues(t, 1, far.Accepted.Load(), "the connection is warm")

				ctx, cancel := context.WithCancelCause(t.Context())
				var waiting sync.WaitGroup
				for range neighbours {
					waiting.Go(func() { assert.ErrorIs(t, slow(ctx), errOuter) }) // waited for below
					receive(t, far.slow, "the neighbour")
				}
				far.Swallow()
				w := watch(hangLimit)
				err := good(t.Context(), supervisor.Within(hangLimit))
				w.stop(t)
				isExpired(t, err)
				for range 5 {
					require.NoError(t, good(t.Context(), supervisor.Within(patience/2)), "a second request fails")
				}
				assert.EqualValues(t, 2, far.Accepted.Load(), "one fresh connection serves them all")
				cancel(errOuter)
				waiting.Wait()
			})
		}
	}
}
