package resources_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/kolo/xmlrpc"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
)

type (
	xmlrpcName  string
	XMLRPCInner struct{ N int }
	xmlrpcInner struct{ N int }
	xmlrpcLoop  struct{ Next *xmlrpcLoop }
	xmlrpcSelf  *xmlrpcSelf
	xmlrpcArg   struct {
		ID       int    `xmlrpc:"id"`
		Markup   string `xmlrpc:"a<b>&c"`
		Gone     string `xmlrpc:"gone,omitempty"`
		Kept     string `xmlrpc:"kept,omitempty"`
		Left     string `xmlrpc:"-"`
		Plain    *bool
		_        chan int // as a private field would be, it is left out
		Anything any
	}
)

func TestXMLRPCArgumentsArriveInPython(t *testing.T) {
	python := startXMLRPCOracle(t)
	yes, at := true, time.Date(2024, 2, 29, 1, 2, 3, 0, time.FixedZone("", 7200))
	var nilMap map[string]int
	var nilPointer *int
	tests := []struct {
		arg  any
		want string // as the oracle tags it
	}{
		{nil, `["nil"]`},
		{nilPointer, `["nil"]`},
		{true, `["bool",true]`},
		{math.MaxInt32, `["int","2147483647"]`},
		{math.MinInt32, `["int","-2147483648"]`},
		{int64(math.MaxInt32 + 1), `["int","2147483648"]`},
		{int64(math.MinInt64), `["int","-9223372036854775808"]`},
		{uint64(math.MaxInt64), `["int","9223372036854775807"]`},
		{uint8(200), `["int","200"]`},
		{1.5, `["float","3ff8000000000000"]`},
		{float32(0.1), `["float","3fb999999999999a"]`},
		{1e300, `["float","7e37e43c8800759c"]`},
		{math.Inf(1), `["float","7ff0000000000000"]`},
		{math.NaN(), `["float","nan"]`},
		{"", `["str",""]`},
		{" a<b>&c]]>\r\n\t\u00e9\U0001F600 ", `["str"," a<b>&c]]>\r\n\té😀 "]`},
		{"<value/><int>99999999999</int>", `["str","<value/><int>99999999999</int>"]`},
		{xmlrpcName("named"), `["str","named"]`},
		{[]byte("\x00\xff"), `["bytes","00ff"]`},
		{[]byte{}, `["bytes",""]`},
		{xmlrpc.Base64("aGk="), `["bytes","6869"]`},
		{at, `["date","20240229T01:02:03"]`},
		{&at, `["date","20240229T01:02:03"]`},
		{[2]int{1, 2}, `["list",["int","1"],["int","2"]]`},
		{[]string{"a"}, `["list",["str","a"]]`},
		{[]any{nil, nilPointer, []any{}}, `["list",["nil"],["nil"],["list"]]`},
		{nilMap, `["dict",{}]`},
		{map[xmlrpcName]any{"a<b>&\"": nil, "": "", "x": int64(1) << 40}, `["dict",{"":["str",""],"a<b>&\"":["nil"],"x":["int","1099511627776"]}]`},
		{xmlrpcArg{ID: 1, Markup: "m", Kept: "k", Plain: &yes}, `["dict",{"Anything":["nil"],"Plain":["bool",true],"a<b>&c":["str","m"],"id":["int","1"],"kept":["str","k"]}]`},
		{&struct{ XMLRPCInner }{XMLRPCInner{3}}, `["dict",{"XMLRPCInner":["dict",{"N":["int","3"]}]}]`},
		{new(any), `["nil"]`},
	}
	for _, tt := range tests {
		doc, err := resources.EncodeXMLRPC(resources.XMLRPC{}, "m", []any{tt.arg})
		require.NoError(t, err, "%#v", tt.arg)
		got, err := json.Marshal(python.loads(t, doc))
		require.NoError(t, err)
		assert.JSONEq(t, tt.want, string(got), "%s", doc)
	}
	for _, args := range [][]any{nil, {}} {
		doc, err := resources.EncodeXMLRPC(resources.XMLRPC{}, "m", args)
		require.NoError(t, err)
		assert.Equal(t, []any{"list"}, python.loads(t, doc), "no parameters")
	}
	doc, err := resources.EncodeXMLRPC(resources.XMLRPC{}, "m", []any{1, nil, "x", []any{int64(1) << 62}})
	require.NoError(t, err)
	assert.Len(t, python.loads(t, doc), 5, "four parameters")
	assert.Contains(t, string(doc), "<int>1</int>")
	assert.Contains(t, string(doc), "<i8>4611686018427387904</i8>")
}

func TestXMLRPCMethodNameIsEscaped(t *testing.T) {
	doc, err := resources.EncodeXMLRPC(resources.XMLRPC{}, "a</methodName><x>&", nil)
	require.NoError(t, err)
	assert.Contains(t, string(doc), "<methodName>a&lt;/methodName&gt;&lt;x&gt;&amp;</methodName>")
}

func TestXMLRPCArgumentsAreRefused(t *testing.T) {
	deep := any("x")
	for range 65 {
		deep = []any{deep}
	}
	loop := &xmlrpcLoop{}
	loop.Next = loop
	var self xmlrpcSelf
	self = &self
	list := []any{nil}
	list[0] = list
	double := any([]any{"x"})
	for range 60 {
		double = []any{double, double}
	}
	for what, arg := range map[string]any{
		"func":                      func() {},
		"channel":                   make(chan int),
		"complex":                   1i,
		"uintptr":                   uintptr(1),
		"65 bits":                   uint64(math.MaxInt64) + 1,
		"map with numbers for keys": map[int]string{},
		"embedded private struct":   struct{ xmlrpcInner }{},
		"two fields for one member": struct {
			A int `xmlrpc:"B"`
			B int
		}{},
		"control character":        "a\x00b",
		"invalid UTF-8":            "a\xffb",
		"noncharacter":             "\uffff",
		"control character in key": map[string]int{"\x1b": 1},
		"control character in tag": struct {
			A int "xmlrpc:\"a\x01\""
		}{},
		"year 10000":               time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		"65 arrays":                deep,
		"cycle of structs":         loop,
		"pointer to itself":        self,
		"list in itself":           list,
		"tree without end":         double,
		"more text than allowed":   strings.Repeat("x", 16<<20+1),
		"more bytes than allowed":  make([]byte, 16<<20+1),
		"more values than allowed": make([]bool, 1<<18),
	} {
		_, err := resources.EncodeXMLRPC(resources.XMLRPC{}, "m", []any{1, arg})
		var invalid *resources.Invalid
		if assert.ErrorAs(t, err, &invalid, what) {
			assert.Equal(t, "args[1]", invalid.Field, what)
		}
	}
	for _, method := range []string{"", "a\x00", "\xff"} {
		_, err := resources.EncodeXMLRPC(resources.XMLRPC{}, method, nil)
		var invalid *resources.Invalid
		assert.ErrorAs(t, err, &invalid)
	}
	_, err := resources.EncodeXMLRPC(resources.XMLRPC{}, "m", []any{deep.([]any)[0]})
	assert.NoError(t, err, "64 arrays")
}

func TestXMLRPCStrictRefusesExtensions(t *testing.T) {
	strict := resources.XMLRPC{Strict: true}
	for _, arg := range []any{nil, []any{nil}, int64(math.MaxInt32 + 1), uint32(math.MaxUint32), struct{ P *int }{}} {
		_, err := resources.EncodeXMLRPC(strict, "m", []any{arg})
		var invalid *resources.Invalid
		assert.ErrorAs(t, err, &invalid, "%#v", arg)
	}
	doc, err := resources.EncodeXMLRPC(strict, "m", []any{math.MinInt32})
	require.NoError(t, err)
	assert.True(t, bytes.Contains(doc, []byte("<int>-2147483648</int>")))
}
