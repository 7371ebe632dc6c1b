package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"time"

	"curfew.example/resources"
	"curfew.example/supervisor"
)

// faults lists every way for every kind.
func faults(p *peers) []fault {
	all := []fault{
		use("func returns", resources.Func(func(context.Context) (int, error) { return 1, nil })),
		use("func fails", resources.Func(func(context.Context) (int, error) { return 0, io.ErrUnexpectedEOF })),
		use("func panics", resources.Func(func(context.Context) (int, error) { panic("soak") })),
		use("func waits for its context", resources.Func(func(ctx context.Context) (int, error) { <-ctx.Done(); return 0, ctx.Err() })),
		use("func is deaf for a while", resources.Func(deaf)),
		{"func ended by its clean-up", cleanup},

		use("fetch", resources.Fetch{URL: p.web.URL + "/ok"}),
		use("fetch, no answer", resources.Fetch{URL: p.web.URL + "/hang"}),
		use("fetch, body drips", resources.Fetch{URL: p.web.URL + "/drip"}),
		use("fetch, connection reset", resources.Fetch{URL: p.web.URL + "/reset"}),
		use("fetch, 500", resources.Fetch{URL: p.web.URL + "/missing"}),
		use("fetch, too large", resources.Fetch{URL: p.web.URL + "/large", BodyMaxBytes: 1 << 10}),
		use("fetch, redirect loop", resources.Fetch{URL: p.web.URL + "/loop"}),
		use("fetch over TLS, silent", resources.Fetch{URL: "https://" + p.silent.Addr().String()}),
		use("fetch, refused", resources.Fetch{URL: "http://127.0.0.1:1/"}),

		use("socket", resources.Socket{Address: p.echo.Addr().String(), Send: []byte("hello"), HalfClose: true}),
		use("socket, silent", resources.Socket{Address: p.silent.Addr().String()}),
		use("socket, TLS silent", resources.Socket{Address: "tls://" + p.silent.Addr().String()}),

		{"xmlrpc", p.xmlrpc("ok")},
		{"xmlrpc, no answer", p.xmlrpc("hang")},
		{"xmlrpc, nonsense", p.xmlrpc("nonsense")},
	}
	return append(all, commands()...)
}

// deaf ignores its context for longer than the clean-up waits, and then comes back.
func deaf(context.Context) (int, error) {
	time.Sleep(limit + grace + force + 100*time.Millisecond)
	return 0, nil
}

// cleanup is a read that only the close of its connection ends.
func cleanup(ctx context.Context, sup *supervisor.Supervisor) error {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	defer ours.Close()
	_, err := supervisor.Do(ctx, sup, resources.Func(func(context.Context) (int, error) {
		return ours.Read(make([]byte, 1))
	}).Cleanup(ours.Close))
	return err
}

// peers are the other sides.
type peers struct {
	web          *httptest.Server
	silent, echo net.Listener
}

func listen() (*peers, error) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go serve(silent, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }) // until the listener closes
	go serve(echo, func(c net.Conn) { _, _ = io.Copy(c, c) })
	return &peers{web: httptest.NewServer(http.HandlerFunc(answer)), silent: silent, echo: echo}, nil
}

func (p *peers) close() {
	_ = p.silent.Close()
	_ = p.echo.Close()
	p.web.CloseClientConnections()
	p.web.Close()
}

func serve(l net.Listener, talk func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() { // ends with its connection
			defer c.Close()
			talk(c)
		}()
	}
}

// answer is a web server that misbehaves by path.
func answer(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/ok":
		_, _ = io.WriteString(w, "good morning")
	case "/hang":
		_, _ = io.Copy(io.Discard, r.Body) // before it net/http does not look whether the client is there
		<-r.Context().Done()
	case "/drip":
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, ".")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	case "/reset":
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		}
	case "/large":
		_, _ = w.Write(make([]byte, 1<<16))
	case "/loop":
		http.Redirect(w, r, "/loop", http.StatusFound)
	case "/RPC2/ok":
		w.Header().Set("Content-Type", "text/xml")
		fmt.Fprint(w, `<methodResponse><params><param><value><int>42</int></value></param></params></methodResponse>`)
	case "/RPC2/nonsense":
		fmt.Fprint(w, `<html><body>no XML-RPC here</body></html>`)
	default:
		http.Error(w, "broken", http.StatusInternalServerError)
	}
}

// xmlrpc opens a session, calls once and closes it.
func (p *peers) xmlrpc(path string) func(context.Context, *supervisor.Supervisor) error {
	at := p.web.URL + "/RPC2/" + path
	if path == "hang" {
		at = p.web.URL + "/hang"
	}
	return func(ctx context.Context, sup *supervisor.Supervisor) error {
		sess, err := supervisor.Open(ctx, sup, resources.XMLRPC{URL: at})
		if err != nil {
			return err
		}
		var n int
		err = sess.Call(ctx, "echo", nil, &n)
		return errors.Join(err, sess.Close())
	}
}
