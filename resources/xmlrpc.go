package resources

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strings"
)

// XMLRPC is a session with an XML-RPC server (http://xmlrpc.com/spec.md): it is opened
// once and serves calls, many at once, each with one HTTP exchange and a deadline of its
// own. A call that hangs holds up no other. No request is sent twice, and no redirect
// followed. It is plain data.
//
// An answer that Python's xmlrpc.client makes a value of has the same value here, its
// extension types included. The exceptions are errors: nesting beyond 64 arrays and
// structs, a DTD, an integer beyond 64 bits, a root that is not methodResponse, a struct
// with names that are no strings, a tag with two colons in its name or longer than 64 KiB,
// an answer beyond the limits below.
type XMLRPC struct {
	// URL of the server: http, https, or a unix socket as unix:///path/to.sock,
	// http+unix:///path/to.sock or http+unix://%2Fpath%2Fto.sock/RPC2. Userinfo in it
	// becomes basic authentication.
	URL string

	// Path is the HTTP path on a unix socket that the URL does not give, and for a
	// URL without any. Empty is /RPC2.
	Path string

	User, Password string // basic authentication, in place of the URL's

	Header http.Header // sent with each call
	TLS    *TLS        // nil is the system's authorities
	Proxy  string      // URL of a proxy; empty is none, the environment's are ignored

	// BodyMaxBytes is the most that an answer may have: on the wire, decoded, and in
	// UTF-8. It is the most text, too, that the arguments of a call may have. 0 is
	// 16 MiB.
	BodyMaxBytes int64

	// ItemsMax is the most values that an answer, or the arguments of a call, may
	// have: scalars, member names, arrays and structs each count. 0 is 262,144.
	ItemsMax int

	// Charset is that of answers that are not UTF-8 and do not say what they are,
	// neither themselves nor by Content-Type. Empty is none: an error. Known are
	// UTF-8, US-ASCII and the single-byte charsets, by their IANA names; UTF-16 tells
	// itself.
	Charset string

	// Strict refuses arguments which the specification does not have, as *Invalid:
	// nil, and integers beyond 32 bits. They are sent as nil and i8 otherwise.
	Strict bool

	// Shape says what system.multicall of the server returns: see MulticallShape.
	Shape MulticallShape
}

// Defaults for the zero values of XMLRPC's limits.
const (
	xmlrpcBodyMax  = 16 << 20
	xmlrpcItemsMax = 1 << 18
)

func (x XMLRPC) bodyMax() int64 { return cmp.Or(x.BodyMaxBytes, xmlrpcBodyMax) }
func (x XMLRPC) itemsMax() int  { return cmp.Or(x.ItemsMax, xmlrpcItemsMax) }

// Spec checks the fields. The endpoint is the server's, for all its users and paths.
func (x XMLRPC) Spec() (Spec, error) {
	f, err := x.fetch()
	if err != nil {
		return Spec{}, err
	}
	spec, err := f.Spec()
	if inv, ok := errors.AsType[*Invalid](err); ok {
		return Spec{}, &Invalid{Kind: "xmlrpc", Field: inv.Field, Why: inv.Why}
	}
	if err != nil {
		return Spec{}, err
	}
	spec.Kind = "xmlrpc"
	return spec, nil
}

// Open makes ready what the calls share. It connects to nothing: the connections are the
// calls' own, or those that the supervisor's requests share.
func (x XMLRPC) Open(_ context.Context, held *Held) (Fetch, error) {
	f, err := x.fetch()
	if err == nil {
		held.Opened()
	}
	return f, err
}

// Traits says that each call is an exchange of its own.
func (x XMLRPC) Traits() SessionTraits { return SessionTraits{AtOnce: -1, Separate: true} }

// Face returns the session's methods over c.
func (x XMLRPC) Face(c Caller[Fetch]) *XMLRPCSession { return &XMLRPCSession{conf: x, caller: c} }

// fetch is the exchange that all calls have in common.
func (x XMLRPC) fetch() (Fetch, error) {
	if err := x.check(); err != nil {
		return Fetch{}, err
	}
	to, err := x.address()
	if err != nil {
		return Fetch{}, err
	}
	header := x.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", "text/xml")
	}
	if to.auth != "" {
		header.Set("Authorization", to.auth)
	}
	return Fetch{
		URL: to.url, Unix: to.socket, Method: http.MethodPost, Header: header,
		TLS: x.TLS, Proxy: x.Proxy,
		BodyMaxBytes: x.bodyMax(), RawMaxBytes: x.bodyMax(),
		RedirectsMax: -1, NoRetry: true,
	}, nil
}

func (x XMLRPC) check() error {
	invalid := func(field, why string) error { return &Invalid{Kind: "xmlrpc", Field: field, Why: why} }
	name := plainCharset(x.Charset)
	switch {
	case x.BodyMaxBytes < 0:
		return invalid("BodyMaxBytes", "negative")
	case x.ItemsMax < 0:
		return invalid("ItemsMax", "negative")
	case x.Charset != "" && name != "utf8" && name != "usascii" && singleByte(name) == nil:
		return invalid("Charset", "unknown, or not of single bytes")
	case x.Shape != MulticallAsk && x.Shape != MulticallBoxed && x.Shape != MulticallBare:
		return invalid("Shape", "unknown")
	case x.Path != "" && !strings.HasPrefix(x.Path, "/"):
		return invalid("Path", "does not begin with a slash")
	}
	return nil
}

// XMLRPCSession is an open session: see XMLRPC. Many goroutines may use it.
type XMLRPCSession struct {
	conf   XMLRPC
	caller Caller[Fetch]
}

// Call calls method with args as its parameters, none when nil, and stores the result
// in reply: a pointer to an any, or to a typed value with kolo's struct tags
// (`xmlrpc:"name,omitempty"`); nil drops it. What reply points to is replaced as a
// whole, on the caller's goroutine and before Call returns, or not touched.
//
// An untyped result is nil, bool, int64, float64, string, []byte, time.Time,
// XMLRPCDateTime, XMLRPCDecimal, []any or map[string]any. Arguments that cannot be sent,
// and a reply that cannot be stored in, are *Invalid, and nothing was sent. A fault is
// *Fault, a status other than 200 *XMLRPCProtocolError, an answer that is no response or
// does not fit reply *XMLRPCAnswerError.
func (s *XMLRPCSession) Call(ctx context.Context, method string, args []any, reply any) error {
	if err := checkReply(reply); err != nil {
		return err
	}
	value, done, err := s.do(ctx, method, args)
	if !done {
		return err
	}
	if bad := fillReply(reply, value); bad != nil {
		return bad
	}
	return err
}

// Close ends the session. Calls under way end as cancelled.
func (s *XMLRPCSession) Close() error { return s.caller.Close() }
