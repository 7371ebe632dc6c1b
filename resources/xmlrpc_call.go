package resources

import (
	"context"
	"errors"
	"net/http"
)

// xmlrpcSnippet is how much of the body of a refusal is kept, in bytes.
const xmlrpcSnippet = 4 << 10

// xmlrpcAnswer wraps the value of an answer on its way from the runner to the caller: a
// value may be nil, and an answer is there or not.
type xmlrpcAnswer struct{ value any }

// do makes one call under the supervisor. done says that there is a value, even with an
// error: the exchange was complete, and its release was not.
func (s *XMLRPCSession) do(ctx context.Context, method string, args []any) (value any, done bool, err error) {
	body, err := s.conf.encodeCall(method, args)
	if err != nil {
		return nil, false, err
	}
	v, err := s.caller.Do(ctx, func(ctx context.Context, f Fetch, held *Held) (any, error) {
		f.Body = body
		v, err := s.conf.exchange(ctx, f, held)
		if err != nil {
			return nil, err
		}
		return &xmlrpcAnswer{v}, nil
	})
	if a, ok := v.(*xmlrpcAnswer); ok && a != nil {
		return a.value, true, err
	}
	return nil, false, err
}

// exchange posts the call and reads the answer's value.
func (x XMLRPC) exchange(ctx context.Context, f Fetch, held *Held) (any, error) {
	resp, err := f.Run(ctx, held)
	if refused, ok := errors.AsType[*StatusError](err); ok {
		return nil, protocolError(refused.Status, refused.Header, refused.Body)
	}
	if err != nil {
		return nil, err
	}
	if resp.Status != http.StatusOK {
		return nil, protocolError(resp.Status, resp.Header, resp.Body)
	}
	v, err := x.read(ctx, resp.Body, resp.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	if f, ok := v.(*Fault); ok {
		return nil, f
	}
	return v, nil
}

func protocolError(status int, header http.Header, body []byte) error {
	return &XMLRPCProtocolError{Status: status, Header: header, Body: body[:min(len(body), xmlrpcSnippet)]}
}
