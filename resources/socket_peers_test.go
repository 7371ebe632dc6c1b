package resources_test

import (
	"crypto/tls"
	"encoding/pem"
	"io"
	"net"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/tests/peers"
)

// socketPeer is a peer of sockets. It ends with the test, which waits for all its
// goroutines.
type socketPeer struct {
	address string // as a Socket takes it
	tls     *resources.TLS
}

// newSocketPeer plays script on each connection to a new peer: scheme is tcp, unix or
// tls. The connection is closed when the script returns.
func newSocketPeer(t testing.TB, scheme string, script func(net.Conn)) *socketPeer {
	t.Helper()
	p := &socketPeer{}
	peer := peers.Serve(p.listen(t, scheme), func(c *peers.Conn) {
		defer c.Conn.Close()
		script(c.Conn)
	})
	t.Cleanup(peer.Close)
	return p
}

func (p *socketPeer) listen(t testing.TB, scheme string) net.Listener {
	t.Helper()
	network, address := "tcp", "127.0.0.1:0"
	if scheme == "unix" {
		network, address = "unix", filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	p.address = scheme + "://" + l.Addr().String()
	if scheme != "tls" {
		return l
	}
	config, roots := socketCertificate()
	p.tls = &resources.TLS{RootCAs: roots}
	return tls.NewListener(l, config)
}

// socket is a Socket to the peer.
func (p *socketPeer) socket(change ...func(*resources.Socket)) resources.Socket {
	s := resources.Socket{Address: p.address, TLS: p.tls}
	for _, c := range change {
		c(&s)
	}
	return s
}

// socketCertificate borrows httptest's certificate, which is for 127.0.0.1.
func socketCertificate() (*tls.Config, []byte) {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	return &tls.Config{Certificates: s.TLS.Certificates}, roots
}

// socketEcho sends back what it reads. The connection is hidden from io.Copy, which
// would else splice it through pipes of package net's.
func socketEcho(c net.Conn) {
	_, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c})
}

// socketSilent reads and says nothing, until the other side ends.
func socketSilent(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// newDatagramPeer answers each datagram with what answer makes of it; nil is silence.
func newDatagramPeer(t testing.TB, answer func([]byte) []byte) string {
	t.Helper()
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	serving.Go(func() { // ends with the listener
		buf := make([]byte, 1<<16)
		for {
			n, from, err := l.ReadFrom(buf)
			if err != nil {
				return
			}
			if a := answer(buf[:n]); a != nil {
				_, _ = l.WriteTo(a, from)
			}
		}
	})
	return "udp://" + l.LocalAddr().String()
}

// socketYield lets others run.
func socketYield(times int) {
	for range times {
		runtime.Gosched()
	}
}
