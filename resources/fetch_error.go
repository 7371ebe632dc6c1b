package resources

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// ErrRedirects is found in the error of a Fetch that was sent on more often than its
// RedirectsMax.
var ErrRedirects = errors.New("too many redirects")

// errSentAgain ends an exchange that may not go on the wire twice.
var errSentAgain = errors.New("the connection was lost after the request had been sent; it is not sent again")

// StatusError is the error of a Fetch that was answered with 4xx or 5xx. It comes with
// the *Response.
type StatusError struct {
	Status int
	Header http.Header
	Body   []byte // what was read of it, at most the Fetch's BodyMaxBytes
	Target string // scheme://host:port
	Err    error  // what broke the reading of the body, if anything
}

func (e *StatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("fetch %s: %d %s", e.Target, e.Status, http.StatusText(e.Status)))
}

func (e *StatusError) Unwrap() error { return e.Err }

// TooLargeError says that more came than was allowed. What was read is dropped.
type TooLargeError struct {
	What     string // "body", "body before decoding" or "headers"
	MaxBytes int64  // the limit that was passed
	Target   string // scheme://host:port
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("fetch %s: %s larger than %d bytes", e.Target, e.What, e.MaxBytes)
}

// isFetchError reports whether err says by itself which fetch it is about.
func isFetchError(err error) bool {
	switch err.(type) {
	case *StatusError, *TooLargeError, *Invalid:
		return true
	}
	return false
}

// unlessTooLarge drops the error of a body that was cut on purpose.
func unlessTooLarge(err error) error {
	if _, ok := errors.AsType[*TooLargeError](err); ok {
		return nil
	}
	return err
}

// headersTooLarge gives net/http's two untyped errors about long headers (HTTP/1 and
// HTTP/2) a type, and leaves others alone.
func (p *fetchPlan) headersTooLarge(err error) error {
	s := err.Error()
	if strings.Contains(s, "server response headers exceeded") || strings.Contains(s, "response header list larger than") {
		return &TooLargeError{What: "headers", MaxBytes: p.headerMax, Target: p.target}
	}
	return err
}
