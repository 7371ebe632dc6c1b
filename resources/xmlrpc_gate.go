package resources

import (
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"
)

// Limits of the gate that nobody needs to move.
const (
	xmlrpcDepthMax    = 64                   // arrays and structs in one another
	xmlrpcElementsMax = 4*xmlrpcDepthMax + 8 // open elements: a struct's value takes three, answers with noise more
	xmlrpcTagMax      = 64 << 10             // bytes of one tag: the decoder keeps an attribute in 48
	xmlrpcCheckEvery  = 1 << 10              // tokens between looks at the context
)

// xmlrpcGate reads an answer once, within limits, into its value: nil, bool, int64,
// float64, string, []byte, time.Time, XMLRPCDateTime, XMLRPCDecimal, []any or
// map[string]any. It is the Unmarshaller of Python's xmlrpc.client (Lib/xmlrpc/client.py),
// step for step, so that a document which that reads has the same value here; it does
// not recurse, whatever the document. On top of it come the limits, the check of the
// root, and the refusal of a DTD. The zero value is not ready: itemsMax must be set.
type xmlrpcGate struct {
	itemsMax int

	open   []string // names of the open elements, as written
	rooted bool     // a root has been seen
	kind   string   // params, fault or methodName, whichever ended last
	stack  []any    // values of closed elements, not yet in an array or struct
	marks  []int    // where on the stack the open arrays and structs begin
	items  int      // values so far
	text   []byte   // since the last start tag, over CDATA and comments
	fresh  bool     // the last start tag was a value's, and nothing filled it yet
}

// read returns the value of the answer body: a *Fault is one. More than one
// param, or none, is a []any, as in Python. Errors are *XMLRPCAnswerError, or the cause
// of ctx when that ended.
func (x XMLRPC) read(ctx context.Context, body []byte, contentType string) (any, error) {
	doc, err := xmlrpcUTF8(body, contentType, x.Charset, x.bodyMax())
	if err != nil {
		return nil, err
	}
	g := &xmlrpcGate{itemsMax: x.itemsMax()}
	if err := g.read(ctx, doc); err != nil {
		return nil, err
	}
	return g.answer()
}

// read takes doc token by token. The decoder is not asked to match tags: its own stack
// of them would have no bound.
func (g *xmlrpcGate) read(ctx context.Context, doc []byte) error {
	src := &xmlrpcSource{doc: doc}
	dec := xml.NewDecoder(src)
	for n := 0; ; n++ {
		if n%xmlrpcCheckEvery == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		begin := dec.InputOffset()
		if err := src.token(begin); err != nil {
			return err
		}
		tok, err := dec.RawToken()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return malformed(err)
		}
		if halfCharacter(tok, doc[begin:dec.InputOffset()]) {
			return badAnswer("malformed XML: a reference to half a character", nil)
		}
		if err := g.take(tok); err != nil {
			return err
		}
	}
}

// surrogateRef matches references to UTF-16's surrogates, which are no characters.
var surrogateRef = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`&#(?:x0*[dD][89a-fA-F][0-9a-fA-F]{2}|0*(?:5529[6-9]|55[3-9][0-9]{2}|56[0-9]{3}|57[0-2][0-9]{2}|573[0-3][0-9]|5734[0-3]));`)
})

// halfCharacter reports whether tok, written raw, is a text with such a reference, in
// whose place the decoder puts U+FFFD.
func halfCharacter(tok xml.Token, raw []byte) bool {
	text, ok := tok.(xml.CharData)
	return ok && raw[0] != '<' && bytes.ContainsRune(text, utf8.RuneError) && surrogateRef().Match(raw)
}

// malformed wraps an error of the XML decoder's unless it is one of our own.
func malformed(err error) error {
	if own, ok := err.(*XMLRPCAnswerError); ok {
		return own
	}
	return badAnswer("malformed XML", err)
}

func (g *xmlrpcGate) take(tok xml.Token) error {
	switch t := tok.(type) {
	case xml.StartElement:
		return g.start(rawName(t.Name))
	case xml.EndElement:
		return g.end(rawName(t.Name))
	case xml.CharData:
		return g.data(t)
	case xml.ProcInst:
		if strings.EqualFold(t.Target, "xml") {
			return badAnswer("misplaced or malformed XML declaration", nil)
		}
	case xml.Directive:
		return badAnswer("refused", ErrXMLRPCDTD)
	}
	return nil
}

func rawName(n xml.Name) string {
	if n.Space == "" {
		return n.Local
	}
	return n.Space + ":" + n.Local
}

// localName takes the prefix off, as Python does, which does not care for what
// namespace it stands.
func localName(name string) string { return name[strings.LastIndexByte(name, ':')+1:] }

func (g *xmlrpcGate) start(name string) error {
	local := localName(name)
	if len(g.open) == 0 {
		if err := g.root(local); err != nil {
			return err
		}
	}
	if len(g.open) == xmlrpcElementsMax {
		return badAnswer("refused", ErrXMLRPCDepth)
	}
	g.open = append(g.open, name)
	if local == "array" || local == "struct" {
		if len(g.marks) == xmlrpcDepthMax {
			return badAnswer("refused", ErrXMLRPCDepth)
		}
		g.marks = append(g.marks, len(g.stack))
	}
	if g.fresh && !knownElement(local) {
		return badAnswer("unknown element in a value", nil)
	}
	g.text, g.fresh = g.text[:0], local == "value"
	return nil
}

func (g *xmlrpcGate) root(local string) error {
	if g.rooted {
		return badAnswer("a second root element", nil)
	}
	if local != "methodResponse" {
		return badAnswer("its root is not methodResponse", nil)
	}
	g.rooted = true
	return nil
}

func (g *xmlrpcGate) data(text []byte) error {
	if len(g.open) > 0 {
		g.text = append(g.text, text...)
		return nil
	}
	if len(bytes.Trim(text, " \t\r\n")) > 0 {
		return badAnswer("text outside the root element", nil)
	}
	return nil
}

func (g *xmlrpcGate) end(name string) error {
	last := len(g.open) - 1
	if last < 0 || g.open[last] != name {
		return badAnswer("an end tag that ends nothing", nil)
	}
	g.open = g.open[:last]
	fresh := g.fresh
	g.fresh = false
	switch local := localName(name); local {
	case "value":
		if fresh {
			return g.push(string(g.text))
		}
		return nil
	case "array":
		return g.endArray()
	case "struct":
		return g.endStruct()
	case "params", "fault", "methodName":
		g.kind = local
		return nil
	default:
		return g.endScalar(local)
	}
}

func (g *xmlrpcGate) endScalar(local string) error {
	if !knownElement(local) {
		return nil
	}
	v, err := xmlrpcScalar(local, string(g.text))
	if err != nil {
		return badAnswer(local, err)
	}
	return g.push(v)
}

func (g *xmlrpcGate) push(v any) error {
	if g.items++; g.items > g.itemsMax {
		return badAnswer("refused", ErrXMLRPCItems)
	}
	g.stack = append(g.stack, v)
	return nil
}

// pop takes off the stack what the array or struct that ends here holds. An array or
// struct counts as a value too, since an empty one takes room.
func (g *xmlrpcGate) pop() []any {
	mark := g.marks[len(g.marks)-1]
	g.marks = g.marks[:len(g.marks)-1]
	vals := append(make([]any, 0, len(g.stack)-mark), g.stack[mark:]...)
	clear(g.stack[mark:])
	g.stack = g.stack[:mark]
	return vals
}

func (g *xmlrpcGate) endArray() error { return g.push(g.pop()) }

func (g *xmlrpcGate) endStruct() error {
	vals := g.pop()
	if len(vals)%2 != 0 {
		return badAnswer("a member without a value", nil)
	}
	m := make(map[string]any, len(vals)/2)
	for i := 0; i < len(vals); i += 2 {
		name, ok := vals[i].(string)
		if !ok {
			return badAnswer("a member without a name", nil)
		}
		m[name] = vals[i+1]
	}
	return g.push(m)
}

// answer returns the value of the document, which has been read to its end.
func (g *xmlrpcGate) answer() (any, error) {
	switch {
	case !g.rooted:
		return nil, badAnswer("no root element", nil)
	case len(g.open) > 0:
		return nil, badAnswer("it ends too early", io.ErrUnexpectedEOF)
	case g.kind == "":
		return nil, badAnswer("neither params nor fault", nil)
	case g.kind == "fault":
		return g.fault()
	case len(g.stack) == 1:
		return g.stack[0], nil
	}
	return append([]any{}, g.stack...), nil
}

func (g *xmlrpcGate) fault() (any, error) {
	if len(g.stack) > 0 {
		if f, ok := xmlrpcFault(g.stack[0]); ok {
			return f, nil
		}
	}
	return nil, badAnswer("a fault without faultCode and faultString", nil)
}

// knownElement reports whether Python's Unmarshaller has a handler for local.
func knownElement(local string) bool {
	switch local {
	case "value", "array", "struct", "params", "fault", "methodName",
		"nil", "boolean", "i1", "i2", "i4", "i8", "int", "biginteger", "double", "float",
		"bigdecimal", "string", "name", "base64", "dateTime.iso8601":
		return true
	}
	return false
}

// xmlrpcSource feeds the decoder and stops it inside a tag that is too long: it would
// keep all of its attributes. Text, comments and CDATA may be as long as the document.
type xmlrpcSource struct {
	doc      []byte
	pos, end int
}

// token says where the next token begins. A DTD is refused before it is read.
func (s *xmlrpcSource) token(off int64) error {
	next := s.doc[off:]
	s.end = len(s.doc)
	switch {
	case len(next) < 2 || next[0] != '<':
	case next[1] == '!' && bytes.HasPrefix(next, []byte("<!DOCTYPE")):
		return badAnswer("refused", ErrXMLRPCDTD)
	case next[1] != '!':
		s.end = min(s.end, int(off)+xmlrpcTagMax)
	}
	return nil
}

// ReadByte is all that the decoder uses.
func (s *xmlrpcSource) ReadByte() (byte, error) {
	switch {
	case s.pos == len(s.doc):
		return 0, io.EOF
	case s.pos >= s.end:
		return 0, badAnswer("refused", ErrXMLRPCTag)
	}
	s.pos++
	return s.doc[s.pos-1], nil
}

// Read is there because a Reader must have it.
func (s *xmlrpcSource) Read([]byte) (int, error) {
	return 0, fmt.Errorf("xmlrpc: %w", io.ErrNoProgress)
}
