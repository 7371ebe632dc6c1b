package resources

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// userAgent is sent where the caller has none.
const userAgent = "curfew"

// drainMaxBytes is what is read of a redirect's body to get its connection back.
const drainMaxBytes = 2 << 10

// exchange is a Fetch under way: hop after hop, each one round trip, then the body of the
// last. It is all that a run needs, in one allocation.
type exchange struct {
	plan  *fetchPlan
	pool  *fetchPool
	use   fetchUse
	first hop
	got   answer // once follow has returned
	body  bodyReader
}

// hop is one request of the chain.
type hop struct {
	method string
	url    *url.URL // without userinfo
	origin string   // scheme://host:port
	header http.Header
	body   bool // the fetch's body goes with it
	gzip   bool // gzip was asked for by us
}

// answer is the last response of the chain, its body not yet read.
type answer struct {
	*hop
	response  *http.Response
	redirects int
	reused    bool
}

func (a *answer) describe(p *fetchPlan) *Response {
	address := p.fetch.URL
	if a.url != p.url { // redirected, or without the userinfo it came with
		address = a.url.String()
	}
	return &Response{
		Status: a.response.StatusCode, Proto: a.response.Proto, Header: a.response.Header,
		URL: address, Redirects: a.redirects, Reused: a.reused,
	}
}

// follow makes the round trips until one answer is no redirect. net/http's Client is
// not used: it shows whole URLs in its errors, sends them on in Referer, and keeps
// credentials for subdomains.
func (x *exchange) follow() error {
	f, h := &x.plan.fetch, &x.first
	*h = newHop(f.method(), x.plan.url, x.plan.origin, f.Header, f.hasBody())
	for n := 0; ; n++ {
		resp, err := x.roundTrip(h)
		if err == io.EOF {
			return fmt.Errorf("the connection was closed before there was an answer: %w", err)
		}
		if err != nil {
			return err
		}
		next, err := h.redirect(resp, f)
		if err == nil && next == nil || x.plan.redirectsMax < 0 {
			x.got = answer{hop: h, response: resp, redirects: n, reused: x.use.reused}
			return nil
		}
		_, _ = io.CopyN(io.Discard, resp.Body, drainMaxBytes)
		_ = resp.Body.Close()
		if err != nil {
			return err
		}
		if n >= x.plan.redirectsMax {
			return fmt.Errorf("%w: more than %d", ErrRedirects, x.plan.redirectsMax)
		}
		h = next
	}
}

// attemptsMax bounds how often a round trip is made whose connection was lost before
// anything was written to it.
const attemptsMax = 3

// roundTrip makes one round trip, if the request has not ended.
func (x *exchange) roundTrip(h *hop) (*http.Response, error) {
	var lost error
	for range attemptsMax {
		if x.use.ctx.Err() != nil {
			return nil, context.Cause(x.use.ctx)
		}
		if err := x.nextHop(h); err != nil {
			return nil, err
		}
		req, err := x.request(h)
		if err != nil {
			return nil, err
		}
		resp, err := x.use.pool.transport.RoundTrip(req)
		if err == nil || !x.use.lost || h.body && x.plan.fetch.BodyFrom != nil {
			return resp, err
		}
		lost = err
		x.use.awaitDropped()
	}
	return nil, lost
}

// nextHop makes the use ready for h: through the exchange's pool, or one that stands in.
func (x *exchange) nextHop(h *hop) error {
	pool, err := x.plan.fetch.undoubted(x.pool, x.plan, h.origin)
	if err != nil {
		return err
	}
	if pool != x.pool {
		x.use.spares = append(x.use.spares, pool)
	}
	x.use.nextHop(pool, h.origin)
	return nil
}

func (x *exchange) request(h *hop) (*http.Request, error) {
	req := (&http.Request{
		Method: h.method, URL: h.url, Header: h.header, Host: h.header.Get("Host"),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(x.use.ctx)
	if !h.body {
		return req, nil
	}
	var err error
	if req.Body, req.ContentLength, err = x.openBody(); err != nil {
		return nil, err
	}
	if x.plan.fetch.BodyFrom == nil {
		req.GetBody = func() (io.ReadCloser, error) {
			body, _, err := x.openBody()
			return body, err
		}
	}
	return req, nil
}

// openBody opens the request's body for one attempt. Its length is -1 when unknown.
func (x *exchange) openBody() (io.ReadCloser, int64, error) {
	f := &x.plan.fetch
	switch {
	case f.BodyFrom != nil:
		body, err := newUpload(&x.use, f.BodyFrom)
		return body, -1, err
	case f.BodyFile != "":
		return openUploadFile(&x.use, f.BodyFile)
	}
	body := &movingReader{bytes.NewReader(f.Body), x.use.held}
	return io.NopCloser(body), int64(len(f.Body)), nil
}

// plainHeader is what a request sends whose caller says nothing. It is shared and never
// changed: net/http sends headers as they are, and a redirect changes a copy.
var plainHeader = http.Header{"User-Agent": {userAgent}, "Accept-Encoding": {"gzip"}}

// newHop completes the headers of a request: authentication from the URL, gzip, a name.
func newHop(method string, u *url.URL, origin string, header http.Header, body bool) hop {
	u = spaceless(u)
	h := hop{method: method, url: withoutUser(u), origin: origin, body: body}
	if len(header) == 0 && u.User == nil && method != http.MethodHead {
		h.header, h.gzip = plainHeader, true
		return h
	}
	if h.header = header.Clone(); h.header == nil {
		h.header = make(http.Header)
	}
	if u.User != nil && h.header.Get("Authorization") == "" {
		password, _ := u.User.Password()
		auth := &http.Request{Header: h.header}
		auth.SetBasicAuth(u.User.Username(), password)
	}
	if _, ok := h.header["User-Agent"]; !ok {
		h.header.Set("User-Agent", userAgent)
	}
	// As net/http does itself: not for HEAD, which some servers answer wrongly then,
	// nor for a range, of which a part cannot be decoded.
	if h.header.Get("Accept-Encoding") == "" && h.header.Get("Range") == "" && method != http.MethodHead {
		h.header.Set("Accept-Encoding", "gzip")
		h.gzip = true
	}
	return h
}

// spaceless is u without the spaces that net/url lets through in a query, as they are and
// into the request line, where each server makes of them what it likes.
func spaceless(u *url.URL) *url.URL {
	if !strings.Contains(u.RawQuery, " ") {
		return u
	}
	sent := *u
	sent.RawQuery = strings.ReplaceAll(u.RawQuery, " ", "%20")
	return &sent
}

// redirect returns the hop that resp asks for (RFC 9110, 15.4), nil when it asks for
// none or for one that cannot be made because the body cannot be sent again.
func (h *hop) redirect(resp *http.Response, f *Fetch) (*hop, error) {
	method, body, ok := h.redirected(resp.StatusCode)
	location := resp.Header.Get("Location")
	if !ok || location == "" || body && f.BodyFrom != nil {
		return nil, nil
	}
	to, err := h.url.Parse(location)
	if err != nil {
		return nil, errors.New("redirect: its Location is not a valid URL")
	}
	if to.Scheme != "http" && to.Scheme != "https" {
		return nil, fmt.Errorf("redirect to a scheme that is not http, https: %q", to.Scheme)
	}
	if why := checkHost(to); why != "" {
		return nil, errors.New("redirect: its Location " + why)
	}
	header := h.header.Clone()
	if h.gzip {
		header.Del("Accept-Encoding")
	}
	if h.body && !body {
		deleteAll(header, "Content-Type", "Content-Encoding", "Content-Language", "Content-Location", "Content-Length", "Transfer-Encoding")
	}
	if !sameOrigin(h.url, to) {
		deleteAll(header, "Authorization", "Cookie", "Cookie2", "Proxy-Authorization", "Www-Authenticate", "Host")
	}
	next := newHop(method, to, to.Scheme+"://"+hostPort(to), header, body)
	return &next, nil
}

// redirected says how a status changes the next request, if it is a redirect at all.
func (h *hop) redirected(status int) (method string, body, ok bool) {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound:
		if h.method != http.MethodPost {
			return h.method, h.body, true
		}
		return http.MethodGet, false, true
	case http.StatusSeeOther:
		if h.method == http.MethodHead {
			return h.method, false, true
		}
		return http.MethodGet, false, true
	case http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return h.method, h.body, true
	}
	return "", false, false
}

func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && hostPort(a) == hostPort(b)
}

func deleteAll(h http.Header, names ...string) {
	for _, n := range names {
		h.Del(n)
	}
}
