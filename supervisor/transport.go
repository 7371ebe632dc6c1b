package supervisor

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"

	"curfew.example/resources"
)

// Transport returns a RoundTripper that runs each exchange of base as a request of kind
// "http": the budget holds from the call until the response's body has been read to its
// end or closed, and at expiry the exchange is cancelled and both bodies closed: that of
// the request possibly while it is being read, which is what brings a blocked Read back. What
// is read of both, and written to a connection that was switched to another protocol, counts
// as progress for the budget's Stall. A nil base is http.DefaultTransport. Errors are those of
// Do; many goroutines may use it.
//
// Dials are base's own: a net/http Transport finishes a dial whose request has ended, up to
// its own limits. resources.Fetch ties its dials to the request.
func (s *Supervisor) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{s, base}
}

type transport struct {
	sup  *Supervisor
	base http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil {
		closeBody(req)
		return nil, &Invalid{Kind: "http", Field: "URL", Why: "is nil"}
	}
	spec := resources.Spec{Kind: "http", Target: req.URL.Scheme + "://" + req.URL.Host, Endpoint: req.URL.Host}
	var taken atomic.Bool // the request's body: by the exchange, or by us
	var whole *onceCloser // the response's body
	resp, l, err := last(req.Context(), t.sup, spec, func(ctx context.Context, held *resources.Held) (*http.Response, error) {
		if taken.Swap(true) {
			return nil, resources.ErrSealed // answered for before it came to run
		}
		sent, err := sending(req.WithContext(ctx), held)
		if err != nil {
			return nil, err
		}
		resp, err := t.base.RoundTrip(sent)
		if err != nil {
			return nil, err
		}
		if resp.Body == nil {
			resp.Body = http.NoBody // http.Client forgives it
		}
		whole = &onceCloser{Closer: resp.Body}
		err = held.Keep(&resources.Piece{What: "response body", Close: whole.release})
		return resp, err
	})
	if err != nil {
		if !taken.Swap(true) {
			closeBody(req) // a RoundTripper closes it, even when it sends nothing
		}
		return nil, err
	}
	resp.Request = req
	if resp.Body == http.NoBody {
		_ = l.end() // as read to its end: not everybody closes it; Close says what went wrong
	}
	resp.Body = supervisedBody(resp.Body, whole, l)
	return resp, nil
}

// CloseIdleConnections is what http.Client's calls: it closes those of base, if that has any.
func (t *transport) CloseIdleConnections() {
	if base, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// sending has the body of req closed when the exchange is cut short: net/http waits for a
// Read of it that is under way (golang/go#78555). So it does of one that base gets from
// GetBody, to send the request once more.
func sending(req *http.Request, held *resources.Held) (_ *http.Request, err error) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, nil
	}
	if again := req.GetBody; again != nil {
		req.GetBody = func() (io.ReadCloser, error) {
			body, err := again()
			if err != nil {
				return nil, err
			}
			return uploading(body, held)
		}
	}
	req.Body, err = uploading(req.Body, held)
	return req, err
}

func uploading(body io.ReadCloser, held *resources.Held) (io.ReadCloser, error) {
	out := &upload{moving{body, held}, &onceCloser{Closer: body}}
	if err := held.OnAbort(&resources.Piece{What: "request body", Close: out.Close}); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return out, nil
}

// upload is the body of a request, which may be closed by many and is closed once.
type upload struct {
	moving
	*onceCloser
}

// moving counts what is read as progress.
type moving struct {
	io.Reader
	held *resources.Held
}

// Read implements io.Reader.
func (m moving) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if n > 0 {
		m.held.Progress()
	}
	return n, err
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// body is a response's body whose request lasts until its end.
type body struct {
	io.Reader
	whole *onceCloser
	last  *lasting[*http.Response]
}

// writableBody is the body of a 101 Switching Protocols, which is written to as well.
type writableBody struct {
	body
	io.Writer
}

func supervisedBody(inner io.ReadCloser, whole *onceCloser, l *lasting[*http.Response]) io.ReadCloser {
	b := body{inner, whole, l}
	if w, ok := inner.(io.Writer); ok {
		return writableBody{b, w}
	}
	return b
}

// Write implements io.Writer.
func (b writableBody) Write(p []byte) (int, error) {
	n, err := b.Writer.Write(p)
	if n > 0 {
		b.last.held.Progress()
	}
	return n, b.last.why(err)
}

// Read implements io.Reader.
func (b body) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if n > 0 {
		b.last.held.Progress()
	}
	if err == nil {
		return n, nil
	}
	if !errors.Is(err, io.EOF) {
		err = b.last.why(err)
	}
	_ = b.last.end() // there is no more to read; Close says what went wrong
	return n, err
}

// Close implements io.Closer: it ends the request, and returns its error when the body was
// cut off by a limit or would not go, or else what base's body said when it was closed.
func (b body) Close() error {
	if err := b.last.end(); err != nil {
		return err
	}
	return b.whole.Close()
}
