package resources

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/kolo/xmlrpc"
)

// encodeCall returns the request document of a call. Arguments are checked and brought
// into a form that kolo's encoder gets right; what has none is *Invalid.
//
//	bool                            boolean
//	integers                        int, i8 beyond 32 bits
//	floats                          double
//	string kinds                    string
//	[]byte, xmlrpc.Base64           base64
//	time.Time                       dateTime.iso8601, as its own clock shows it
//	slices, arrays                  array
//	maps with string keys           struct
//	structs                         struct, of exported fields, tagged as kolo has it
//	nil, nil pointers               nil
//	pointers, interfaces            what is in them
func (x XMLRPC) encodeCall(method string, args []any) ([]byte, error) {
	if why := checkText(method); why != "" || method == "" {
		return nil, &Invalid{Kind: "xmlrpc", Field: "method", Why: cmp.Or(why, "empty")}
	}
	e := &xmlrpcArgs{strict: x.Strict, items: x.itemsMax(), room: x.bodyMax()}
	ready := make([]any, len(args)) // not nil: kolo then writes params, as Python does, though there are none
	for i, arg := range args {
		v, err := e.value(reflect.ValueOf(arg), 0)
		if err != nil {
			return nil, &Invalid{Kind: "xmlrpc", Field: "args[" + strconv.Itoa(i) + "]", Why: err.Error()}
		}
		if v == nil {
			v = (*int)(nil) // kolo drops an untyped nil
		}
		ready[i] = v
	}
	doc, err := xmlrpc.EncodeMethodCall(escapeXML(method), ready...)
	if err != nil {
		return nil, &Invalid{Kind: "xmlrpc", Field: "args", Why: err.Error()}
	}
	return e.respell(doc), nil
}

// xmlrpcArgs is one pass over the arguments of one call.
type xmlrpcArgs struct {
	strict bool  // no extensions
	items  int   // values that may still come
	room   int64 // bytes of text that may still come
	nils   bool  // a nil was met
	wide   bool  // an integer beyond 32 bits was met
}

// value copies v, which lies in depth arrays and structs, into what kolo encodes rightly.
// The depth bounds cycles, items and room what branches: a few pointers can make a tree
// of any size.
func (e *xmlrpcArgs) value(v reflect.Value, depth int) (any, error) {
	for hops := 0; v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface; hops++ {
		if hops == xmlrpcDepthMax { // a pointer may point to itself
			return nil, ErrXMLRPCDepth
		}
		v = v.Elem()
	}
	if e.items--; e.items < 0 {
		return nil, ErrXMLRPCItems
	}
	if !v.IsValid() {
		return nil, e.nothing()
	}
	switch v.Kind() {
	case reflect.Bool:
		return v.Bool(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return e.integer(v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if v.Uint() > math.MaxInt64 {
			return nil, ErrXMLRPCIntRange
		}
		return e.integer(int64(v.Uint()))
	case reflect.Float32:
		return float32(v.Float()), nil // kolo writes the digits of a float32
	case reflect.Float64:
		return v.Float(), nil
	case reflect.String:
		return e.str(v)
	}
	return e.composite(v, depth)
}

func (e *xmlrpcArgs) nothing() error {
	if e.strict {
		return errors.New("nil, which strict XML-RPC does not have")
	}
	e.nils = true
	return nil
}

func (e *xmlrpcArgs) integer(n int64) (any, error) {
	if n == int64(int32(n)) {
		return n, nil
	}
	if e.strict {
		return nil, errors.New("an integer beyond 32 bits, which strict XML-RPC does not have")
	}
	e.wide = true
	return n, nil
}

func (e *xmlrpcArgs) str(v reflect.Value) (any, error) {
	s := v.String()
	if err := e.text(s); err != nil {
		return nil, err
	}
	if b, ok := v.Interface().(xmlrpc.Base64); ok {
		return b, nil
	}
	return s, nil
}

// text checks a text and counts it.
func (e *xmlrpcArgs) text(s string) error {
	if e.room -= int64(len(s)); e.room < 0 {
		return errors.New("more text than the session allows")
	}
	if why := checkText(s); why != "" {
		return errors.New(why)
	}
	return nil
}

// composite is value for what has a depth, and for the two values in the form of one.
func (e *xmlrpcArgs) composite(v reflect.Value, depth int) (any, error) {
	if v.Type() == timeType {
		return date(v.Interface().(time.Time))
	}
	if v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8 {
		return e.bytes(v.Bytes())
	}
	if depth++; depth > xmlrpcDepthMax {
		return nil, ErrXMLRPCDepth
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		return e.array(v, depth)
	case reflect.Map:
		return e.mapping(v, depth)
	case reflect.Struct:
		return e.structure(v, depth)
	}
	return nil, fmt.Errorf("a %s, which XML-RPC does not have", v.Kind())
}

func date(t time.Time) (any, error) {
	if t.Year() < 0 || t.Year() > 9999 {
		return nil, errors.New("a date beyond four digits of year")
	}
	return t, nil
}

func (e *xmlrpcArgs) bytes(b []byte) (any, error) {
	if e.room -= int64(len(b)); e.room < 0 {
		return nil, errors.New("more bytes than the session allows")
	}
	return xmlrpc.Base64(base64.StdEncoding.EncodeToString(b)), nil
}

func (e *xmlrpcArgs) array(v reflect.Value, depth int) (any, error) {
	vals := make([]any, 0, min(v.Len(), e.items+1))
	for i := range v.Len() {
		x, err := e.value(v.Index(i), depth)
		if err != nil {
			return nil, err
		}
		vals = append(vals, x)
	}
	return vals, nil
}

func (e *xmlrpcArgs) mapping(v reflect.Value, depth int) (any, error) {
	if v.Type().Key().Kind() != reflect.String {
		return nil, errors.New("a map whose keys are no strings")
	}
	m := make(map[string]any)
	for iter := v.MapRange(); iter.Next(); {
		if err := e.member(m, iter.Key().String(), iter.Value(), depth); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// structure takes the exported fields. An embedded struct is a member like others, by its
// type's name, as kolo has it; one whose type is not exported cannot be, and its fields
// would be lost in silence.
func (e *xmlrpcArgs) structure(v reflect.Value, depth int) (any, error) {
	m := make(map[string]any)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, omitEmpty := memberName(f)
		switch {
		case name == "-" || omitEmpty && v.Field(i).IsZero():
			continue
		case !f.IsExported() && f.Anonymous:
			return nil, fmt.Errorf("%s embeds %s, which is not exported", v.Type(), f.Name)
		case !f.IsExported():
			continue
		}
		if _, twice := m[escapeXML(name)]; twice {
			return nil, fmt.Errorf("%s has two fields for one member", v.Type())
		}
		if err := e.member(m, name, v.Field(i), depth); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// member adds a member under its escaped name: kolo writes names as they are.
func (e *xmlrpcArgs) member(m map[string]any, name string, v reflect.Value, depth int) error {
	if err := e.text(name); err != nil {
		return err
	}
	x, err := e.value(v, depth)
	if err != nil {
		return err
	}
	m[escapeXML(name)] = x
	return nil
}

var koloInt = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`<int>(-?[0-9]{10,})</int>`)
})

// respell corrects two spellings of kolo's: a nil is written as an empty string, and an
// integer of any size as int. All text is escaped, so the tags are kolo's own.
func (e *xmlrpcArgs) respell(doc []byte) []byte {
	if e.nils {
		doc = bytes.ReplaceAll(doc, []byte("<value/>"), []byte("<value><nil/></value>"))
	}
	if !e.wide {
		return doc
	}
	return koloInt().ReplaceAllFunc(doc, func(tag []byte) []byte {
		digits := string(koloInt().FindSubmatch(tag)[1])
		if _, err := strconv.ParseInt(digits, 10, 32); err == nil {
			return tag
		}
		return []byte("<i8>" + digits + "</i8>")
	})
}

// checkText says why s cannot be said in XML 1.0 (production 2), "" when it can. kolo
// would put U+FFFD where it cannot.
func checkText(s string) string {
	if !utf8.ValidString(s) {
		return "not valid UTF-8"
	}
	for _, r := range s {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF {
			return "holds a control character, which XML does not have"
		}
	}
	return ""
}

func escapeXML(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a Buffer does not fail
	return b.String()
}
