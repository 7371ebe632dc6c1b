package remote

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"

	"curfew.example/actors/remote/curfewv1"
	"curfew.example/resources"
)

// XMLRPCCall is one call on an XML-RPC session of its own: a session does not travel, a
// call does. It is plain data and may be run here too. Session's Proxy and Shape do not
// travel.
//
// Its result is what XMLRPCSession.Call stores in an any. Arguments are those of Call
// without structs: maps with string keys in their place.
type XMLRPCCall struct {
	Session resources.XMLRPC
	Method  string
	Args    []any
}

// Spec checks the session's fields and describes the call.
func (x XMLRPCCall) Spec() (resources.Spec, error) {
	if x.Method == "" {
		return resources.Spec{}, &resources.Invalid{Kind: "xmlrpc", Field: "method", Why: "empty"}
	}
	return x.Session.Spec()
}

// Run makes the call. Errors are those of XMLRPCSession.Call.
func (x XMLRPCCall) Run(ctx context.Context, held *resources.Held) (any, error) {
	fetch, err := x.Session.Open(ctx, held)
	if err != nil {
		return nil, err
	}
	var value any
	err = x.Session.Face(&once{fetch, held}).Call(ctx, x.Method, x.Args, &value)
	return value, err
}

// once has a session's call run within the request that is under way.
type once struct {
	fetch resources.Fetch
	held  *resources.Held
}

// Do implements resources.Caller.
func (o *once) Do(ctx context.Context, call func(context.Context, resources.Fetch, *resources.Held) (any, error)) (any, error) {
	return call(ctx, o.fetch, o.held)
}

// Close implements resources.Caller.
func (o *once) Close() error { return nil }

func encodeCall(x XMLRPCCall) (*curfewv1.XmlRpcCall, error) {
	s := x.Session
	if err := stays("xmlrpc", field{"Proxy", s.Proxy != ""}, field{"Shape", s.Shape != ""}); err != nil {
		return nil, err
	}
	m := &curfewv1.XmlRpcCall{
		Url: []byte(s.URL), Path: []byte(s.Path), User: []byte(s.User), Password: []byte(s.Password),
		Header: encodeHeader(s.Header), Tls: encodeTLS(s.TLS), BodyMaxBytes: s.BodyMaxBytes, ItemsMax: int64(s.ItemsMax),
		Charset: s.Charset, Strict: s.Strict, Method: x.Method,
	}
	for i, arg := range x.Args {
		v, err := encodeValue(arg)
		if err != nil {
			return nil, &resources.Invalid{Kind: "xmlrpc", Field: fmt.Sprintf("args[%d]", i), Why: err.Error()}
		}
		m.Args = append(m.Args, v)
	}
	return m, nil
}

// xmlrpcBodyMax is what XMLRPC.BodyMaxBytes is by default.
const xmlrpcBodyMax = 16 << 20

func decodeCall(m *curfewv1.XmlRpcCall, max int64) XMLRPCCall {
	x := XMLRPCCall{
		Session: resources.XMLRPC{
			URL: string(m.GetUrl()), Path: string(m.GetPath()), User: string(m.GetUser()), Password: string(m.GetPassword()),
			Header: decodeHeader(m.GetHeader()), TLS: decodeTLS(m.GetTls()),
			BodyMaxBytes: within(m.GetBodyMaxBytes(), xmlrpcBodyMax, max), ItemsMax: int(min(m.GetItemsMax(), math.MaxInt32)),
			Charset: m.GetCharset(), Strict: m.GetStrict(),
		},
		Method: m.GetMethod(),
	}
	for _, arg := range m.GetArgs() {
		x.Args = append(x.Args, decodeValue(arg))
	}
	return x
}

// depthMax is how deep arrays and structs may be nested, as in an answer.
const depthMax = 64

var (
	errDepth  = errors.New("nested too deeply")
	errNoForm = errors.New("has no form in XML-RPC that travels")
)

func encodeValue(v any) (*curfewv1.Value, error) { return encodeAny(v, 0) }

// encodeAny takes the types that have one form; others are looked into.
func encodeAny(v any, depth int) (*curfewv1.Value, error) {
	if depth > depthMax {
		return nil, errDepth
	}
	switch v := v.(type) {
	case nil:
		return &curfewv1.Value{}, nil
	case []byte:
		return &curfewv1.Value{Kind: &curfewv1.Value_Binary{Binary: v}}, nil
	case time.Time:
		_, offset := v.Zone()
		return &curfewv1.Value{Kind: &curfewv1.Value_Time{Time: &curfewv1.Value_DateTime{
			UnixS: v.Unix(), Ns: int32(v.Nanosecond()), OffsetS: int32(offset),
		}}}, nil
	case resources.XMLRPCDateTime:
		return &curfewv1.Value{Kind: &curfewv1.Value_DateText{DateText: valid(string(v))}}, nil
	case resources.XMLRPCDecimal:
		return &curfewv1.Value{Kind: &curfewv1.Value_Decimal{Decimal: valid(string(v))}}, nil
	}
	return encodeReflected(reflect.ValueOf(v), depth)
}

func encodeReflected(v reflect.Value, depth int) (*curfewv1.Value, error) {
	switch v.Kind() {
	case reflect.Bool:
		return &curfewv1.Value{Kind: &curfewv1.Value_Boolean{Boolean: v.Bool()}}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return &curfewv1.Value{Kind: &curfewv1.Value_Integer{Integer: v.Int()}}, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if v.Uint() <= math.MaxInt64 {
			return &curfewv1.Value{Kind: &curfewv1.Value_Integer{Integer: int64(v.Uint())}}, nil
		}
	case reflect.Float32, reflect.Float64:
		return &curfewv1.Value{Kind: &curfewv1.Value_Number{Number: v.Float()}}, nil
	case reflect.String:
		return &curfewv1.Value{Kind: &curfewv1.Value_Text{Text: []byte(v.String())}}, nil
	case reflect.Pointer:
		if v.IsNil() {
			return &curfewv1.Value{}, nil
		}
		return encodeAny(v.Elem().Interface(), depth+1) // a cycle of pointers has no end
	case reflect.Slice, reflect.Array:
		return encodeArray(v, depth)
	case reflect.Map:
		return encodeMap(v, depth)
	}
	return nil, errNoForm
}

func encodeArray(v reflect.Value, depth int) (*curfewv1.Value, error) {
	a := &curfewv1.Value_Array{}
	for i := range v.Len() {
		item, err := encodeAny(v.Index(i).Interface(), depth+1)
		if err != nil {
			return nil, err
		}
		a.Items = append(a.Items, item)
	}
	return &curfewv1.Value{Kind: &curfewv1.Value_Array_{Array: a}}, nil
}

func encodeMap(v reflect.Value, depth int) (*curfewv1.Value, error) {
	if v.Type().Key().Kind() != reflect.String {
		return nil, errNoForm
	}
	s := &curfewv1.Value_Struct{}
	for each := v.MapRange(); each.Next(); {
		value, err := encodeAny(each.Value().Interface(), depth+1)
		if err != nil {
			return nil, err
		}
		s.Members = append(s.Members, &curfewv1.Value_Member{Name: []byte(each.Key().String()), Value: value})
	}
	return &curfewv1.Value{Kind: &curfewv1.Value_Struct_{Struct: s}}, nil
}

// decodeValue returns what XMLRPCSession.Call would have.
func decodeValue(m *curfewv1.Value) any {
	switch v := m.GetKind().(type) {
	case *curfewv1.Value_Boolean:
		return v.Boolean
	case *curfewv1.Value_Integer:
		return v.Integer
	case *curfewv1.Value_Number:
		return v.Number
	case *curfewv1.Value_Text:
		return string(v.Text)
	case *curfewv1.Value_Binary:
		return v.Binary
	case *curfewv1.Value_Time:
		return decodeTime(v.Time)
	case *curfewv1.Value_DateText:
		return resources.XMLRPCDateTime(v.DateText)
	case *curfewv1.Value_Decimal:
		return resources.XMLRPCDecimal(v.Decimal)
	case *curfewv1.Value_Array_:
		items := make([]any, 0, len(v.Array.GetItems()))
		for _, item := range v.Array.GetItems() {
			items = append(items, decodeValue(item))
		}
		return items
	case *curfewv1.Value_Struct_:
		members := make(map[string]any, len(v.Struct.GetMembers()))
		for _, member := range v.Struct.GetMembers() {
			members[string(member.GetName())] = decodeValue(member.GetValue())
		}
		return members
	}
	return nil
}

func decodeTime(m *curfewv1.Value_DateTime) time.Time {
	t := time.Unix(m.GetUnixS(), int64(m.GetNs())).UTC()
	if m.GetOffsetS() != 0 {
		t = t.In(time.FixedZone("", int(m.GetOffsetS())))
	}
	return t
}
