package resources

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

const fetchKind = "fetch"

// fetchPlan is a Fetch whose fields have been checked and parsed.
type fetchPlan struct {
	fetch    Fetch
	url      *url.URL
	origin   string   // scheme://host:port of url
	proxy    *url.URL // nil is none
	target   string   // for errors
	endpoint string

	bodyMax, rawMax, headerMax int64
	redirectsMax               int
}

// Spec implements Use.
func (p *fetchPlan) Spec() (Spec, error) {
	return Spec{Kind: fetchKind, Target: p.target, Endpoint: p.endpoint}, nil
}

// Run implements Use.
func (p *fetchPlan) Run(ctx context.Context, held *Held) (any, error) {
	v, err := p.run(ctx, held)
	return v, err
}

func (p *fetchPlan) run(ctx context.Context, held *Held) (*Response, error) {
	deepen(false)
	resp, err := p.fetch.run(ctx, held, p)
	if err != nil && !isFetchError(err) {
		err = fmt.Errorf("fetch %s: %w", p.target, withEnd(ctx, err))
	}
	return resp, err
}

// plan checks every field. What it returns as Why never quotes the input, which may
// hold secrets where one does not look for them.
func (f Fetch) plan() (*fetchPlan, error) {
	u, err := parseAddress("URL", f.URL, "http", "https")
	if err != nil {
		return nil, err
	}
	if err := cmp.Or(f.checkRequest(), f.checkBody(), f.checkLimits(), f.checkRoute(), f.Sink.check()); err != nil {
		return nil, err
	}
	p := &fetchPlan{fetch: f, url: u}
	if f.Proxy != "" {
		if p.proxy, err = parseAddress("Proxy", f.Proxy, "http", "https", "socks5", "socks5h"); err != nil {
			return nil, err
		}
	}
	p.endpoint = hostPort(u)
	p.origin = u.Scheme + "://" + p.endpoint
	p.target = p.origin
	if f.Unix != "" {
		p.endpoint, p.target = "unix:"+f.Unix, "unix://"+f.Unix
	}
	p.bodyMax = cmp.Or(f.BodyMaxBytes, DefaultBodyMaxBytes)
	p.rawMax = cmp.Or(f.RawMaxBytes, max(p.bodyMax, DefaultBodyMaxBytes))
	p.headerMax = cmp.Or(f.HeaderMaxBytes, DefaultHeaderMaxBytes)
	p.redirectsMax = cmp.Or(f.RedirectsMax, DefaultRedirectsMax)
	return p, nil
}

func (f Fetch) checkRequest() error {
	if m := f.method(); !validToken(m) {
		return &Invalid{fetchKind, "Method", "is no HTTP method"}
	} else if m == http.MethodConnect {
		return &Invalid{fetchKind, "Method", "CONNECT is no fetch"}
	}
	for name, values := range f.Header {
		if !httpguts.ValidHeaderFieldName(name) {
			return &Invalid{fetchKind, "Header", "holds a name that is no header name"}
		}
		for _, v := range values {
			if !httpguts.ValidHeaderFieldValue(v) {
				return &Invalid{fetchKind, "Header", "the value of " + name + " holds characters that are not allowed"}
			}
		}
	}
	if h := f.Header.Get("Host"); !httpguts.ValidHostHeader(h) {
		return &Invalid{fetchKind, "Header", "the value of Host is no host"}
	}
	return nil
}

func (f Fetch) checkBody() error {
	n := 0
	for _, given := range []bool{len(f.Body) > 0, f.BodyFile != "", f.BodyFrom != nil} {
		if given {
			n++
		}
	}
	if n > 1 {
		return &Invalid{fetchKind, "Body", "more than one of Body, BodyFile and BodyFrom is given"}
	}
	return nil
}

func (f Fetch) checkLimits() error {
	limits := []struct {
		field string
		bytes int64
	}{{"BodyMaxBytes", f.BodyMaxBytes}, {"RawMaxBytes", f.RawMaxBytes}, {"HeaderMaxBytes", f.HeaderMaxBytes}}
	for _, l := range limits {
		if l.bytes < 0 {
			return &Invalid{fetchKind, l.field, "is negative"}
		}
	}
	return nil
}

func (f Fetch) checkRoute() error {
	if f.Unix != "" && f.Proxy != "" {
		return &Invalid{fetchKind, "Proxy", "cannot be used with Unix"}
	}
	if f.TLS == nil {
		return nil
	}
	_, err := f.TLS.config(fetchKind)
	return err
}

// parseAddress parses an absolute URL with one of the schemes and a host.
func parseAddress(field, s string, schemes ...string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, &Invalid{fetchKind, field, "is not a valid URL"}
	}
	if !slices.Contains(schemes, u.Scheme) {
		return nil, &Invalid{fetchKind, field, "its scheme is not " + strings.Join(schemes, ", ")}
	}
	if err := checkHost(u); err != "" {
		return nil, &Invalid{fetchKind, field, err}
	}
	return u, nil
}

// checkHost says what is wrong with the host and port of u, if anything.
func checkHost(u *url.URL) string {
	if u.Hostname() == "" {
		return "has no host"
	}
	// An address of IPv6 stands in brackets: net/url is lenient where it knows no scheme.
	if !httpguts.ValidHostHeader(u.Host) || strings.Contains(u.Hostname(), ":") && u.Host[0] != '[' {
		return "its host is not valid"
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return "its port is not between 1 and 65535"
		}
	}
	return ""
}

// hostPort is host:port of an http or https URL in lower case, the scheme's own port where it has none.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port != "" && u.Host == strings.ToLower(u.Host) {
		return u.Host
	}
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// validToken reports whether s is a token of RFC 9110, 5.6.2.
func validToken(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 || !httpguts.IsTokenRune(rune(s[i])) {
			return false
		}
	}
	return s != ""
}
