package resources

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// Why an answer was refused although a lenient reader would take it: found with
// errors.Is in an *XMLRPCAnswerError.
var (
	ErrXMLRPCDepth    = errors.New("nested too deeply")                       // beyond 64 arrays and structs
	ErrXMLRPCDTD      = errors.New("a document type declaration")             // DTDs and their entities are never read
	ErrXMLRPCIntRange = errors.New("an integer beyond 64 bits")               // Python's integers have no such limit
	ErrXMLRPCItems    = errors.New("more values than the session allows")     // XMLRPC.ItemsMax
	ErrXMLRPCTooLong  = errors.New("longer than the session allows")          // once it is UTF-8: XMLRPC.BodyMaxBytes
	ErrXMLRPCTag      = errors.New("a tag longer than 64 KiB")                // attributes without end
	ErrXMLRPCCharset  = errors.New("a charset that is unknown or misapplied") // or bytes that are none of it
)

// Fault is the error a server answers a call with. The exchange as such went well.
type Fault struct {
	Code   int            // faultCode; 0 when it is no integer
	String string         // faultString
	Raw    map[string]any // the whole fault as it was sent
}

func (f *Fault) Error() string { return fmt.Sprintf("xmlrpc fault %d: %s", f.Code, f.String) }

// XMLRPCProtocolError is an answer with a status other than 200: XML-RPC has no other.
type XMLRPCProtocolError struct {
	Status int
	Header http.Header
	Body   []byte // its first 4 KiB
}

func (e *XMLRPCProtocolError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("xmlrpc: HTTP status %d %s", e.Status, http.StatusText(e.Status)))
}

// XMLRPCAnswerError is an answer that is no XML-RPC response, or one beyond the limits.
// Nothing of it has been stored in the reply.
type XMLRPCAnswerError struct {
	Why string // never a value of the answer
	Err error  // what is underneath, often one of the ErrXMLRPC… values; may be nil
}

func (e *XMLRPCAnswerError) Error() string {
	if e.Err == nil {
		return "xmlrpc answer: " + e.Why
	}
	return fmt.Sprintf("xmlrpc answer: %s: %v", e.Why, e.Err)
}

func (e *XMLRPCAnswerError) Unwrap() error { return e.Err }

// badAnswer says why an answer is refused; err may be nil.
func badAnswer(why string, err error) error { return &XMLRPCAnswerError{Why: why, Err: err} }

// xmlrpcFault makes a Fault of the value that a fault element, or a failed call of a
// multicall, holds. Like Python it insists on both members and tolerates others.
func xmlrpcFault(v any) (*Fault, bool) {
	m, _ := v.(map[string]any)
	code, hasCode := m["faultCode"]
	text, hasText := m["faultString"]
	if !hasCode || !hasText {
		return nil, false
	}
	f := &Fault{Code: faultCode(code), Raw: m}
	if text != nil {
		f.String = fmt.Sprint(text)
	}
	return f, true
}

// faultCode takes codes as servers send them: integers, and integers in disguise.
func faultCode(v any) int {
	switch v := v.(type) {
	case int64:
		return int(v)
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return int(v)
		}
	case string:
		if n, err := strconv.Atoi(strings.TrimSpace(v)); err == nil {
			return n
		}
	}
	return 0
}
