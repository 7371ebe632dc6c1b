package resources_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
)

// ownCertificate makes a certificate that signs itself, and its key, in PEM.
func ownCertificate(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
}

func TestFetchShowsItsOwnCertificate(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, len(r.TLS.PeerCertificates))
	}, true)
	s.TLS.ClientAuth = tls.RequestClientCert
	shelf := newShelf(t)
	with := s.trust()
	with.Certificate, with.Key = ownCertificate(t)
	for range 2 {
		assert.Equal(t, "0", string(fetchWell(t, resources.Fetch{URL: s.URL, TLS: s.trust()}, shelf).Body))
		assert.Equal(t, "1", string(fetchWell(t, resources.Fetch{URL: s.URL, TLS: with}, shelf).Body))
	}
	assert.EqualValues(t, 2, s.conns.Load(), "one connection for each identity, and never the other's")
}

func TestFetchThroughAProxyOverTLS(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := newHTTP2Server(t)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}})
	require.NoError(t, err)
	p := newFetchPeer(t, listener, func(c *peerConn) {
		req, _ := c.Request()
		if req == nil {
			return
		}
		if req.Method != http.MethodConnect {
			c.Say("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nproxied")
			return
		}
		c.Tunnel(req.Host)
	})
	shelf := newShelf(t)
	f := resources.Fetch{URL: s.URL, TLS: s.trust(), Proxy: "https://" + p.Addr}
	assert.Equal(t, "HTTP/2.0", string(fetchWell(t, f, shelf).Body))
	hang := f
	hang.URL += "/hang"
	fetchExpires(t, hang, shelf, nil)
	f.URL = "http://target.invalid/"
	assert.Equal(t, "proxied", string(fetchWell(t, f, shelf).Body))
}

// Behind a proxy, HTTP/2 connections change hands while their first users expire.
func TestManyFetchesShareConnectionsBehindAProxy(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := newHTTP2Server(t)
	s.came, s.left = make(chan string, 1000), make(chan string, 1000)
	p := newFetchPeer(t, nil, func(c *peerConn) {
		if req, _ := c.Request(); req != nil {
			c.Tunnel(req.Host)
		}
	})
	shelf := newShelf(t)
	var running sync.WaitGroup
	for i := range 32 {
		running.Go(func() { // waited for below
			f := resources.Fetch{URL: s.URL, TLS: s.trust(), Proxy: p.HTTP()}
			for range 4 {
				if i%2 == 0 {
					hang := f
					hang.URL += "/hang"
					_, end := driveFetch(t, hang, time.Duration(i+5)*2*time.Millisecond, shelf)
					assert.Error(t, end.Err)
					assert.Empty(t, end.Report.Left())
					continue
				}
				_, end := driveFetch(t, f, 2*fetchLong, shelf)
				assert.NoError(t, end.Err)
			}
		})
	}
	running.Wait()
}
