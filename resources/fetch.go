package resources

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Defaults for the zero values of Fetch's fields.
const (
	DefaultBodyMaxBytes   = 32 << 20
	DefaultHeaderMaxBytes = 64 << 10
	DefaultRedirectsMax   = 10
)

// Fetch is one HTTP exchange (RFC 9110), redirects included, over http or https. One
// deadline holds for all of it: look-up, dial, TLS, proxy, headers and body; when it
// is over every connection of the exchange is closed, and no dial, retry or redirect
// follows. The environment's proxies, .netrc and cookies play no part.
//
// It is plain data but for BodyFrom, and many goroutines may use one that has none.
// Only URL is required.
type Fetch struct {
	// URL is absolute. Userinfo in it becomes basic authentication, unless Header
	// has an Authorization. It is never shown in an error.
	URL string

	// Method is GET when empty, POST when there is a body. CONNECT is refused.
	Method string

	// Header is sent as it is. "Host" replaces the URL's. When it has no
	// Accept-Encoding, gzip is asked for and decoded; with one, the body is left as it
	// came. Authorization, Cookie and Host are not sent on to another origin.
	Header http.Header

	// At most one of Body, BodyFile and BodyFrom is the request's body. Body and
	// BodyFile, the path of a regular file, can be sent again after a redirect.
	Body     []byte
	BodyFile string

	// BodyFrom is read on a goroutine of its own, so that a Read that blocks holds
	// nobody: it is listed as a leftover until it comes back. It is closed in the end
	// if it is an io.Closer. It cannot be sent twice (a 307 or 308 is returned as it
	// is), nor to another process.
	BodyFrom io.Reader `json:"-"`

	// AnyStatus takes 4xx and 5xx for success; otherwise they are a *StatusError.
	AnyStatus bool

	BodyMaxBytes   int64 // of the decoded body; 0 is 32 MiB; with a Sink it holds too
	RawMaxBytes    int64 // of the body as it comes, before decoding; 0 is 32 MiB, or BodyMaxBytes where that is more
	HeaderMaxBytes int64 // of all response headers, 1xx ones included; 0 is 64 KiB
	RedirectsMax   int   // 0 is 10; negative: none followed, a 3xx is the result

	// Sink, if not nil, gets the body in place of Response.Body. The body of a
	// *StatusError never goes there.
	Sink *Sink

	TLS *TLS // nil is the system's authorities

	// Proxy is an http://, https:// or socks5:// URL, userinfo allowed. Empty is none.
	Proxy string

	// Unix is the path of a unix socket to dial in place of the URL's host and port.
	Unix string

	// NoReuse gives the exchange a connection of its own that is closed at the end.
	NoReuse bool

	// NoRetry puts no request on the wire twice. Without it GET, HEAD, OPTIONS, TRACE
	// and requests with an Idempotency-Key are sent again when a kept-alive connection
	// turns out to be dead (RFC 9110, 9.2.2). Any other is sent again only where not a
	// byte of it was written, or an HTTP/2 server said that it did not look at it.
	NoRetry bool
}

// Response is what a Fetch got. On an expiry it is what there is of it.
type Response struct {
	Status int    // 200 …
	Proto  string // "HTTP/1.1", "HTTP/2.0"
	Header http.Header

	// Body is the decoded body, nil when it went to a Sink.
	Body []byte

	BodyBytes int64 // length of the decoded body, wherever it went
	RawBytes  int64 // length of the body as it came, before decoding

	// Decoded says that gzip was undone; Content-Encoding and Content-Length are then
	// taken out of Header.
	Decoded bool

	// Partial says that the body was cut: time was out, or an error's body was broken
	// or longer than the limit.
	Partial bool

	// URL is the one that answered, after redirects, without userinfo. It may hold
	// secrets in its query: it is for the caller, not for logs.
	URL string

	Redirects int  // followed
	Reused    bool // the last connection had served an exchange before
}

// Spec checks the fields. Target is scheme://host:port, Endpoint host:port; with
// Unix they are unix:// and unix: with the socket's path.
func (f Fetch) Spec() (Spec, error) {
	p, err := f.plan()
	if err != nil {
		return Spec{}, err
	}
	return p.Spec()
}

// prepare is for Prepare.
func (f Fetch) prepare() (Spec, Use, error) {
	p, err := f.plan()
	if err != nil {
		return Spec{}, nil, err
	}
	spec, err := p.Spec()
	return spec, p, err
}

// Run makes the exchange. It returns a *StatusError with the Response for 4xx and 5xx,
// a *TooLargeError, ErrRedirects, or the network's own error: errors.Is finds
// syscall.ECONNREFUSED and the like. Errors hold no userinfo, path or query.
func (f Fetch) Run(ctx context.Context, held *Held) (*Response, error) {
	p, err := f.plan()
	if err != nil {
		return nil, err
	}
	return p.run(ctx, held)
}

// withEnd puts the end of ctx before an error that came of it, such as the use of a
// connection that was closed.
func withEnd(ctx context.Context, err error) error {
	end := context.Cause(ctx)
	if d, ok := ctx.Deadline(); ok && end == nil && !time.Now().Before(d) {
		// A dial notices its deadline by itself, a moment before the context does.
		end = context.DeadlineExceeded
	}
	if end == nil || errors.Is(err, end) {
		return err
	}
	return fmt.Errorf("%w: %w", end, err)
}

func (f Fetch) run(ctx context.Context, held *Held, p *fetchPlan) (*Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	sink, err := f.Sink.open(held)
	if err != nil {
		return nil, err
	}
	pool, err := f.pool(held.Shelf(), p)
	if err != nil {
		return nil, err
	}
	defer pool.done()

	x := &exchange{plan: p, pool: pool}
	use := &x.use
	use.begin(ctx, held, f.NoRetry)
	defer use.done()
	defer use.end()
	if err := x.follow(); err != nil {
		return nil, p.headersTooLarge(err)
	}
	defer x.got.response.Body.Close()
	resp, err := x.receive(sink)
	if err == nil {
		use.complete = true
		return resp, nil
	}
	// Runs before the body is closed, which would wait for a peer that stalls.
	use.end()
	return resp, err
}

// receive reads the body to where it belongs.
func (x *exchange) receive(sink *sinkFile) (*Response, error) {
	resp, p := x.got.describe(x.plan), x.plan
	failed := resp.Status >= 400 && !p.fetch.AnyStatus
	x.body.begin(&x.got, x.use.held, p)

	var err error
	if sink != nil && !failed {
		_, err = io.Copy(sink, &x.body)
	} else {
		resp.Body, err = readAll(&x.body, x.got.response.ContentLength)
	}
	x.body.account(resp)
	resp.Partial = err != nil

	switch {
	case failed:
		return resp, &StatusError{Status: resp.Status, Header: resp.Header, Body: resp.Body, Target: p.target, Err: unlessTooLarge(err)}
	case err != nil && x.use.parent.Err() != nil:
		return resp, err
	case err != nil:
		return nil, err
	case sink != nil:
		if err := sink.commit(); err != nil {
			return nil, err
		}
	}
	return resp, nil
}

// method is the one to send.
func (f Fetch) method() string {
	if f.hasBody() {
		return cmp.Or(f.Method, http.MethodPost)
	}
	return cmp.Or(f.Method, http.MethodGet)
}

func (f Fetch) hasBody() bool { return len(f.Body) > 0 || f.BodyFile != "" || f.BodyFrom != nil }

// withoutUser is u without userinfo and fragment, for the wire and for the caller.
func withoutUser(u *url.URL) *url.URL {
	if u.User == nil && u.Fragment == "" {
		return u
	}
	c := *u
	c.User, c.Fragment, c.RawFragment = nil, "", ""
	return &c
}
