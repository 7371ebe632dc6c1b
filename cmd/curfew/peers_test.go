package main

import (
	"compress/gzip"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// startHTTP starts a server whose paths do what their names say.
func startHTTP(t *testing.T) string {
	return serve(t, httptest.NewServer(pages()))
}

func serve(t *testing.T, s *httptest.Server) string {
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s.URL
}

// startTLS starts the same with TLS, and writes its authority to a file.
func startTLS(t *testing.T) (url, caFile string) {
	s := httptest.NewUnstartedServer(pages())
	s.Config.ErrorLog = quietLog()
	s.StartTLS()
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, caFile, pemOf(s.Certificate()))
	return serve(t, s), caFile
}

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

func pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello\n") })
	mux.HandleFunc("/empty", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/bytes", func(w http.ResponseWriter, _ *http.Request) { w.Write(allBytes()) })
	mux.HandleFunc("/teapot", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, "short and stout\n")
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s X=%s body=%q\n", r.Method, r.Header.Get("X-Thing"), body)
	})
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/drip", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "first part\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { pour(w, 4<<20) })
	mux.HandleFunc("/bomb", serveBomb)
	mux.HandleFunc("/huge", func(w http.ResponseWriter, _ *http.Request) { pour(w, 1<<30) })
	mux.HandleFunc("/RPC2", serveRPC)
	return mux
}

func allBytes() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// pour writes n bytes, or as many as are wanted.
func pour(w io.Writer, n int) {
	part := make([]byte, 64<<10)
	for ; n > 0; n -= len(part) {
		if _, err := w.Write(part); err != nil {
			return
		}
	}
}

// serveBomb sends 1 MB that decode to 1 GB.
func serveBomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
	defer z.Close()
	pour(z, 1<<30)
}

// serveRPC answers each method with what its name says.
func serveRPC(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	user, password, _ := r.BasicAuth()
	method := between(string(body), "<methodName>", "</methodName>")
	w.Header().Set("Content-Type", "text/xml")
	reply := func(value string) {
		fmt.Fprintf(w, "<?xml version='1.0'?><methodResponse><params><param><value>%s</value></param></params></methodResponse>", value)
	}
	switch method {
	case "echo":
		reply(between(string(body), "<param><value>", "</value></param>"))
	case "whoami":
		reply("<string>" + user + ":" + password + "</string>")
	case "kinds":
		reply(`<array><data><value><int>7</int></value><value><double>1</double></value><value><boolean>1</boolean></value>` +
			`<value><base64>AAH/</base64></value><value><dateTime.iso8601>20240229T12:30:00</dateTime.iso8601></value>` +
			`<value><nil/></value><value><double>nan</double></value><value>&lt;b&gt;</value></data></array>`)
	case "fault":
		io.WriteString(w, "<?xml version='1.0'?><methodResponse><fault><value><struct>"+
			"<member><name>faultCode</name><value><int>4</int></value></member>"+
			"<member><name>faultString</name><value><string>too many parameters</string></value></member>"+
			"</struct></value></fault></methodResponse>")
	case "hang":
		<-r.Context().Done()
	case "broken":
		io.WriteString(w, "<methodResponse><params><param><value>")
	case "html":
		io.WriteString(w, "<html>no</html>")
	case "deep":
		reply(strings.Repeat("<array><data><value>", 400_000))
	case "wide":
		io.WriteString(w, "<?xml version='1.0'?><methodResponse><params><param><value><array><data>")
		for range 240_000 {
			if _, err := io.WriteString(w, "<value><int>1</int></value>"); err != nil {
				return
			}
		}
		io.WriteString(w, "</data></array></value></param></params></methodResponse>")
	case "large":
		reply("<string>" + strings.Repeat("x", 1<<20) + "</string>")
	case "huge":
		reply("<string>" + strings.Repeat("x", 15<<20) + "</string>")
	case "endless":
		io.WriteString(w, "<?xml version='1.0'?><methodResponse><params><param><value><string>")
		pour(w, 1<<30)
	}
}

func between(s, begin, end string) string {
	_, s, _ = strings.Cut(s, begin)
	s, _, _ = strings.Cut(s, end)
	return s
}

// startPeer listens, and has each connection handled.
func startPeer(t *testing.T, network, address string, handle func(net.Conn, <-chan struct{})) string {
	l, err := net.Listen(network, address)
	require.NoError(t, err)
	conns := &connections{over: make(chan struct{})}
	t.Cleanup(func() {
		l.Close()
		conns.closeAll()
	})
	conns.handlers.Go(func() { // waited for by closeAll
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.handle(c, handle)
		}
	})
	return l.Addr().String()
}

// upper answers in capitals once it has heard all.
func upper(c net.Conn, _ <-chan struct{}) {
	all, _ := io.ReadAll(c)
	io.WriteString(c, strings.ToUpper(string(all)))
}

// greeter speaks, and then says nothing more.
func greeter(c net.Conn, over <-chan struct{}) {
	io.WriteString(c, "welcome\n")
	<-over
}

// flood never stops.
func flood(c net.Conn, _ <-chan struct{}) { pour(c, math.MaxInt) }
