package resources_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
)

// xmlrpcValue wraps what stands in a value element into a whole answer.
func xmlrpcValue(inner string) string {
	return "<?xml version='1.0'?>\n<methodResponse><params><param><value>" + inner + "</value></param></params></methodResponse>"
}

func xmlrpcRead(doc string) (any, error) {
	return resources.ReadXMLRPC(context.Background(), resources.XMLRPC{}, []byte(doc), "text/xml")
}

func TestXMLRPCGateReadsEveryType(t *testing.T) {
	at := func(s string) time.Time {
		d, err := time.Parse(time.RFC3339Nano, s)
		require.NoError(t, err)
		return d
	}
	tests := []struct {
		inner string
		want  any
	}{
		{"plain", "plain"},
		{"  spaces kept  ", "  spaces kept  "},
		{"", ""},
		{"<string/>", ""},
		{"<string></string>", ""},
		{"<string> a\n b </string>", " a\n b "},
		{"<string>a<![CDATA[b<c>]]>d</string>", "ab<c>d"},
		{"a<![CDATA[b<c>]]>d", "ab<c>d"},
		{"a<!-- no -->b", "ab"},
		{"<string>a<?pi no?>b</string>", "ab"},
		{"<string>&lt;&#65;&#x42;&amp;&quot;&apos;&gt;</string>", `<AB&"'>`},
		{"<string>a&#13;\r\nb</string>", "a\r\nb"},
		{"<string>\u00e9\U0001F600</string>", "\u00e9\U0001F600"},
		{"<int>1<!-- x -->2</int>", int64(12)},
		{"<int> 5\n</int>", int64(5)},
		{"<int>+1_000</int>", int64(1000)},
		{"<int>\u0664\u0662</int>", int64(42)},
		{"<int>\U0001D7DC</int>", int64(4)},
		{"<i1>-1</i1>", int64(-1)},
		{"<i2>2</i2>", int64(2)},
		{"<i4>007</i4>", int64(7)},
		{"<i8>9223372036854775807</i8>", int64(math.MaxInt64)},
		{"<biginteger>-9223372036854775808</biginteger>", int64(math.MinInt64)},
		{"<ex:i8 xmlns:ex='http://ws.apache.org/xmlrpc/namespaces/extensions'>8</ex:i8>", int64(8)},
		{"<ex:nil/>", nil},
		{"<nil/>", nil},
		{"<nil>text</nil>", nil},
		{"<boolean>1</boolean>", true},
		{"<boolean>0</boolean>", false},
		{"<double>-1.5e3</double>", -1500.0},
		{"<double> 3 </double>", 3.0},
		{"<float>.5</float>", .5},
		{"<double>1e999</double>", math.Inf(1)},
		{"<double>-Infinity</double>", math.Inf(-1)},
		{"<bigdecimal> 1_0.50 </bigdecimal>", resources.XMLRPCDecimal("10.50")},
		{"<base64>\naGVs\n bG8=\n</base64>", []byte("hello")},
		{"<base64/>", []byte{}},
		{"<base64>aGVsbG8=aGVsbG8=</base64>", []byte("hello")},
		{"<dateTime.iso8601>20240229T12:30:59</dateTime.iso8601>", at("2024-02-29T12:30:59Z")},
		{"<dateTime.iso8601> 20240229T123059 </dateTime.iso8601>", at("2024-02-29T12:30:59Z")},
		{"<dateTime.iso8601>2024-02-29T12:30:59.25Z</dateTime.iso8601>", at("2024-02-29T12:30:59.25Z")},
		{"<dateTime.iso8601>20240229T12:30:59+0200</dateTime.iso8601>", at("2024-02-29T12:30:59+02:00")},
		{"<dateTime.iso8601> 20240229T25:00:00 </dateTime.iso8601>", resources.XMLRPCDateTime("20240229T25:00:00")},
		{"<array><data/></array>", []any{}},
		{"<array><data>\n<value>a</value> <value><int>1</int></value></data></array>", []any{"a", int64(1)}},
		{"<array><value>no data</value></array>", []any{"no data"}},
		{"<struct/>", map[string]any{}},
		{"<struct><member><name>a</name><value><nil/></value></member></struct>", map[string]any{"a": nil}},
		{"<struct><member><name> a </name><value/></member></struct>", map[string]any{" a ": ""}},
		{"<struct><member><name/><value>x</value></member></struct>", map[string]any{"": "x"}},
		{"<struct><member><name>a</name><value>1</value></member><member><name>a</name><value>2</value></member></struct>", map[string]any{"a": "2"}},
		{"<struct><member><value>v</value><name>n</name></member></struct>", map[string]any{"v": "n"}},
	}
	for _, tt := range tests {
		got, err := xmlrpcRead(xmlrpcValue(tt.inner))
		if !assert.NoError(t, err, tt.inner) {
			continue
		}
		if want, ok := tt.want.(time.Time); ok {
			assert.True(t, want.Equal(got.(time.Time)), "%s: %v", tt.inner, got)
			continue
		}
		assert.Equal(t, tt.want, got, tt.inner)
	}
	nan, err := xmlrpcRead(xmlrpcValue("<double>-NaN</double>"))
	require.NoError(t, err)
	assert.True(t, math.IsNaN(nan.(float64)))
}

func TestXMLRPCGateRefuses(t *testing.T) {
	whole := func(s string) string { return "<methodResponse>" + s + "</methodResponse>" }
	tests := []struct {
		doc  string
		is   error // found in the error; nil is any *XMLRPCAnswerError
		what string
	}{
		{xmlrpcValue("<i8>9223372036854775808</i8>"), resources.ErrXMLRPCIntRange, "integer of 65 bits"},
		{xmlrpcValue("<i8>-" + strings.Repeat("9", 5000) + "</i8>"), resources.ErrXMLRPCIntRange, "integer of 5000 digits"},
		{"<!DOCTYPE x><methodResponse/>", resources.ErrXMLRPCDTD, "DTD"},
		{"<?xml version='1.0'?>\n<!-- c --><!DOCTYPE x [<!ENTITY a 'b'><!ENTITY c '&a;&a;'>]>" + whole("<params/>"), resources.ErrXMLRPCDTD, "entities"},
		{"<!DOCTYPE unterminated [", resources.ErrXMLRPCDTD, "DTD that is cut"},
		{"<!ELEMENT x>" + whole("<params/>"), resources.ErrXMLRPCDTD, "markup declaration"},
		{"<html><value>page</value></html>", nil, "HTML page with a value"},
		{"<html><body><p>502</body></html>", nil, "HTML page"},
		{"<methodCall><params><param><value>x</value></param></params></methodCall>", nil, "a call"},
		{"", nil, "nothing"},
		{" \n", nil, "space"},
		{"<?xml version='1.0'?>", nil, "declaration only"},
		{"plain text", nil, "text"},
		{whole(""), nil, "neither params nor fault"},
		{whole("<params>") + whole(""), nil, "crossed tags"},
		{whole("<params/>") + whole("<params/>"), nil, "two roots"},
		{whole("<params/>") + "x", nil, "text after the root"},
		{"x" + whole("<params/>"), nil, "text before the root"},
		{" <?xml version='1.0'?>" + whole("<params/>"), nil, "late declaration"},
		{"<?xml encoding='utf-8'?>" + whole("<params/>"), nil, "declaration without version"},
		{whole("<params>")[:20], nil, "cut in a tag"},
		{"<methodResponse><params><param><value>cut", nil, "cut in a value"},
		{xmlrpcValue("<b>bold</b>"), nil, "unknown element in a value"},
		{xmlrpcValue("<int>x</int>"), nil, "int of a letter"},
		{xmlrpcValue("<int/>"), nil, "empty int"},
		{xmlrpcValue("<int>1__0</int>"), nil, "two underscores"},
		{xmlrpcValue("<int>0x10</int>"), nil, "hexadecimal int"},
		{xmlrpcValue("<double>0x1p-2</double>"), nil, "hexadecimal double"},
		{xmlrpcValue("<double/>"), nil, "empty double"},
		{xmlrpcValue("<boolean>true</boolean>"), nil, "word for a boolean"},
		{xmlrpcValue("<boolean> 1 </boolean>"), nil, "boolean with space"},
		{xmlrpcValue("<base64>YQ</base64>"), nil, "base64 without padding"},
		{xmlrpcValue("<base64>\u00e9</base64>"), nil, "base64 beyond ASCII"},
		{xmlrpcValue("<bigdecimal>one</bigdecimal>"), nil, "bigdecimal of letters"},
		{xmlrpcValue("<struct><member><name>a</name></member></struct>"), nil, "member without a value"},
		{xmlrpcValue("<struct><member><name>a</name></member><member><name>b</name><value>1</value></member></struct>"), nil, "member without a value before another"},
		{xmlrpcValue("<struct><member><value><int>1</int></value><value>x</value></member></struct>"), nil, "member named by a number"},
		{xmlrpcValue("&undeclared;"), nil, "undeclared entity"},
		{xmlrpcValue("a\x01b"), nil, "control character"},
		{xmlrpcValue("a&#1;b"), nil, "control character by reference"},
		{xmlrpcValue("a\xffb"), resources.ErrXMLRPCCharset, "invalid UTF-8"},
		{whole("<fault><value>text</value></fault>"), nil, "fault that is no struct"},
		{whole("<fault/>"), nil, "fault of nothing"},
		{whole("<fault><value><struct><member><name>faultString</name><value>x</value></member></struct></value></fault>"), nil, "fault without a code"},
		{"<methodResponse " + strings.Repeat("a='' ", 1<<15) + "/>", resources.ErrXMLRPCTag, "tag of 160 KB"},
	}
	for _, tt := range tests {
		got, err := xmlrpcRead(tt.doc)
		var bad *resources.XMLRPCAnswerError
		if assert.ErrorAs(t, err, &bad, tt.what) && tt.is != nil {
			assert.ErrorIs(t, err, tt.is, tt.what)
		}
		assert.Nil(t, got, tt.what)
	}
}

func TestXMLRPCGateReadsParamsAsPythonDoes(t *testing.T) {
	none, err := xmlrpcRead("<methodResponse><params/></methodResponse>")
	require.NoError(t, err)
	assert.Equal(t, []any{}, none)

	two, err := xmlrpcRead("<a:methodResponse><params><param><value>a</value></param><param><value><i4>2</i4></value></param></params></a:methodResponse>")
	require.NoError(t, err)
	assert.Equal(t, []any{"a", int64(2)}, two)
}

func TestXMLRPCGateReadsFaults(t *testing.T) {
	doc := func(code string) string {
		return "<methodResponse><fault><value><struct><member><name>faultCode</name><value>" + code + "</value></member>" +
			"<member><name>faultString</name><value>a <![CDATA[<fault>]]></value></member></struct></value></fault></methodResponse>"
	}
	for code, want := range map[string]int{"<int>4</int>": 4, "7": 7, "<double>3</double>": 3, "ERR": 0, "<nil/>": 0} {
		got, err := xmlrpcRead(doc(code))
		require.NoError(t, err, code)
		fault, ok := got.(*resources.Fault)
		require.True(t, ok, code)
		assert.Equal(t, want, fault.Code, code)
		assert.Equal(t, "a <fault>", fault.String)
		assert.Len(t, fault.Raw, 2)
	}
	text, err := xmlrpcRead(xmlrpcValue("<![CDATA[<fault>no</fault>]]>"))
	require.NoError(t, err)
	assert.Equal(t, "<fault>no</fault>", text)
}

func TestXMLRPCGateReadsCharsets(t *testing.T) {
	decl := func(charset, text string) []byte {
		return []byte("<?xml version='1.0' encoding='" + charset + "'?><methodResponse><params><param><value>" + text + "</value></param></params></methodResponse>")
	}
	bare := func(text string) []byte { return []byte(xmlrpcValue(text)[len("<?xml version='1.0'?>\n"):]) }
	tests := []struct {
		what, contentType, charset string
		doc                        []byte
		want                       string // empty is an error
	}{
		{"declared Latin-1", "", "", decl("ISO-8859-1", "caf\xe9\x85"), "caf\u00e9\u0085"},
		{"declared Windows-1252", "", "", decl("windows-1252", "\x80"), "\u20ac"},
		{"alias", "", "", decl("cp1251", "\xcf"), "\u041f"},
		{"KOI8-R", "", "", decl("koi8-r", "\xf0"), "\u041f"},
		{"ASCII", "", "", decl("us-ascii", "plain"), "plain"},
		{"ASCII with more", "", "", decl("US-ASCII", "\xe9"), ""},
		{"a byte that Latin-3 does not have", "", "", decl("iso-8859-3", "\xa5"), ""},
		{"unknown", "", "", decl("klingon", "x"), ""},
		{"many bytes a character, as Python", "", "", decl("shift_jis", "x"), ""},
		{"UTF-8 with a mark", "", "", append([]byte("\xef\xbb\xbf"), bare("\u00e9")...), "\u00e9"},
		{"declaration beats Content-Type", "text/xml; charset=utf-8", "", decl("iso-8859-1", "\xe9"), "\u00e9"},
		{"UTF-8 beats Content-Type, as Python", "text/xml; charset=iso-8859-1", "", bare("\u00e9"), "\u00e9"},
		{"Content-Type", `text/xml; charset="iso-8859-1"`, "", bare("\xe9"), "\u00e9"},
		{"the session's charset", "text/xml", "latin1", bare("\xe9"), "\u00e9"},
		{"none", "text/xml", "", bare("\xe9"), ""},
		{"UTF-16 that is not", "", "", decl("utf-16", "x"), ""},
		{"UTF-16LE with a mark", "", "", xmlrpcUTF16("\ufeff"+string(decl("UTF-16", "\u00e9\U0001F600")), false), "\u00e9\U0001F600"},
		{"UTF-16BE with a mark", "", "", xmlrpcUTF16("\ufeff"+string(bare("\u00e9\U0001F600")), true), "\u00e9\U0001F600"},
		{"UTF-16LE without a mark", "", "", xmlrpcUTF16(string(decl("utf-16", "x\ufffd")), false), "x\ufffd"},
		{"UTF-16 that says UTF-8", "", "", xmlrpcUTF16("\ufeff"+string(decl("utf-8", "x")), false), ""},
		{"half a character", "", "", xmlrpcUTF16("\ufeff"+string(bare("x")), true)[:41], ""},
		{"half a pair", "", "", append(xmlrpcUTF16("\ufeff<a>", false), 0x3d, 0xd8, 'x', 0), ""},
	}
	for _, tt := range tests {
		got, err := resources.ReadXMLRPC(t.Context(), resources.XMLRPC{Charset: tt.charset}, tt.doc, tt.contentType)
		if tt.want == "" {
			assert.ErrorIs(t, err, resources.ErrXMLRPCCharset, tt.what)
			continue
		}
		assert.NoError(t, err, tt.what)
		assert.Equal(t, tt.want, got, tt.what)
	}
}

func xmlrpcUTF16(s string, big bool) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		if big {
			out = append(out, byte(u>>8), byte(u))
		} else {
			out = append(out, byte(u), byte(u>>8))
		}
	}
	return out
}

func xmlrpcNested(n int) string {
	return xmlrpcValue(strings.Repeat("<array><data><value>", n) + "x" + strings.Repeat("</value></data></array>", n))
}

func TestXMLRPCGateBoundsDepth(t *testing.T) {
	got, err := xmlrpcRead(xmlrpcNested(64))
	require.NoError(t, err)
	for range 64 {
		got = got.([]any)[0]
	}
	assert.Equal(t, "x", got)

	structs := strings.Repeat("<struct><member><name>n</name><value>", 64) + "x" + strings.Repeat("</value></member></struct>", 64)
	_, err = xmlrpcRead(xmlrpcValue(structs))
	require.NoError(t, err)

	for what, doc := range map[string]string{
		"65 arrays":                      xmlrpcNested(65),
		"400,000 arrays":                 xmlrpcNested(400_000),
		"400,000 arrays, never closed":   "<methodResponse>" + strings.Repeat("<array>", 400_000),
		"400,000 unknown elements":       "<methodResponse>" + strings.Repeat("<a>", 400_000),
		"400,000 values in one another":  "<methodResponse>" + strings.Repeat("<value>", 400_000),
		"400,000 empty structs deep":     "<methodResponse>" + strings.Repeat("<struct>", 400_000),
		"400,000 structs, well-formed":   xmlrpcValue(strings.Repeat("<struct><member><name/><value>", 400_000) + strings.Repeat("</value></member></struct>", 400_000)),
		"400,000 params in one another ": "<methodResponse>" + strings.Repeat("<params>", 400_000),
	} {
		_, err := xmlrpcRead(doc)
		assert.ErrorIs(t, err, resources.ErrXMLRPCDepth, what)
	}
}

func TestXMLRPCGateBoundsItems(t *testing.T) {
	doc := xmlrpcValue("<array><data>" + strings.Repeat("<value/>", 9) + "</data></array>")
	_, err := resources.ReadXMLRPC(t.Context(), resources.XMLRPC{ItemsMax: 10}, []byte(doc), "")
	assert.NoError(t, err)
	_, err = resources.ReadXMLRPC(t.Context(), resources.XMLRPC{ItemsMax: 9}, []byte(doc), "")
	assert.ErrorIs(t, err, resources.ErrXMLRPCItems)
}

func TestXMLRPCGateStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cancel(why)
	_, err := resources.ReadXMLRPC(ctx, resources.XMLRPC{}, []byte(xmlrpcValue("x")), "")
	assert.ErrorIs(t, err, why)
}

// The documents are the worst of their kinds, at a quarter of the default limits, so that
// the default stays within four times the bound: 128 MB, body included. What is measured
// is the heap at its highest, garbage that was not collected yet included.
func TestXMLRPCGateMemoryIsBounded(t *testing.T) {
	part := 4 // of the defaults
	if raceEnabled {
		part = 16 // what a byte costs is the same, and the detector takes its time for each
	}
	size, bound := 16<<20/part, 128<<20/part
	limits := resources.XMLRPC{BodyMaxBytes: int64(size), ItemsMax: 1 << 18 / part}
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	for what, doc := range map[string]func() string{
		"one text":                func() string { return xmlrpcValue(fill("x")) },
		"text in small sections":  func() string { return xmlrpcValue(fill("a<![CDATA[&]]>")) },
		"empty values":            func() string { return "<methodResponse>" + fill("<value/>") },
		"integers":                func() string { return "<methodResponse>" + fill("<value><i8>123456789012</i8></value>") },
		"structs of one":          func() string { return "<methodResponse>" + fill("<struct><name/><value/></struct>") },
		"attributes of one tag":   func() string { return "<methodResponse " + fill("a='' ") },
		"attributes of many tags": func() string { return "<methodResponse>" + fill("<x "+strings.Repeat("a='' ", 12_000)+"/>") },
		"open elements":           func() string { return fill("<value>") },
		"one comment":             func() string { return "<!--" + fill("x") },
		"one instruction":         func() string { return "<?pi " + fill("x") },
		"one name":                func() string { return "<" + fill("x") },
		"one DTD":                 func() string { return "<!DOCTYPE " + fill("<!ENTITY a 'b'>") },
		"UTF-16": func() string {
			return string(xmlrpcUTF16("\ufeff"+xmlrpcValue(strings.Repeat("\u4e2d", size/2-200)), false))
		},
		"UTF-16 at the limit": func() string {
			return string(xmlrpcUTF16("\ufeff"+xmlrpcValue(strings.Repeat("\u4e2d", size/3-200)), false))
		},
		"Latin-1": func() string { return "<?xml version='1.0' encoding='latin1'?>" + fill("\xe9") },
		"Latin-1 at the limit": func() string {
			return strings.Replace(xmlrpcValue(strings.Repeat("\xe9", size/2-200)), "'1.0'", "'1.0' encoding='latin1'", 1)
		},
	} {
		body := []byte(doc())
		peak := xmlrpcPeak(t, func() { _, _ = resources.ReadXMLRPC(t.Context(), limits, body, "") })
		t.Logf("%s: %d MB beside the body", what, peak>>20)
		assert.Less(t, peak, uint64(bound-len(body)), what)
	}
}

// xmlrpcPeak runs f and returns by how much the heap grew at its highest.
func xmlrpcPeak(t *testing.T, f func()) uint64 {
	t.Helper()
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	done, peak := make(chan struct{}), make(chan uint64)
	go func() { // ends with f: its peak is received below
		most := before.HeapAlloc
		for {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
			select {
			case <-done:
				peak <- most
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	f()
	close(done)
	return <-peak - before.HeapAlloc
}

// FuzzGate looks for documents that panic, break a limit, or give a value that cannot go
// through kolo's decoder into what it is.
func FuzzGate(f *testing.F) {
	for _, inner := range []string{
		"plain", "<int>1<!-- x -->2</int>", "<string>a<![CDATA[b<c>]]>d</string>", "<base64>aGVsbG8=</base64>",
		"<dateTime.iso8601>20240229T12:30:59</dateTime.iso8601>", "<bigdecimal>1.50</bigdecimal>", "<ex:nil/>",
		"<array><data><value><boolean>1</boolean></value><value/></data></array>",
		"<struct><member><name>a&#13;</name><value><double>-1e400</double></value></member></struct>",
	} {
		f.Add([]byte(xmlrpcValue(inner)), "text/xml")
	}
	f.Add([]byte("<methodResponse><fault><value><struct><member><name>faultCode</name><value>7</value></member><member><name>faultString</name><value/></member></struct></value></fault></methodResponse>"), "")
	f.Add([]byte("<?xml version='1.0' encoding='iso-8859-1'?><methodResponse><params><param><value>\xe9</value></param></params></methodResponse>"), "")
	f.Add(xmlrpcUTF16("\ufeff"+xmlrpcValue("x"), false), "")
	f.Add([]byte("<methodResponse>\xe9"), "text/xml; charset=koi8-r")
	f.Add([]byte("<!DOCTYPE a [<!ENTITY b 'c'>]><methodResponse/>"), "")
	f.Add([]byte(xmlrpcNested(65)), "")
	for _, doc := range xmlrpcByHand() {
		f.Add([]byte(doc), "text/xml")
	}
	f.Fuzz(func(t *testing.T, doc []byte, contentType string) {
		v, err := resources.ReadXMLRPC(t.Context(), resources.XMLRPC{ItemsMax: 1000}, bytes.Clone(doc), contentType)
		if err != nil {
			var bad *resources.XMLRPCAnswerError
			if !errors.As(err, &bad) || v != nil {
				t.Fatalf("%v with %v", err, v)
			}
			return
		}
		if fault, ok := v.(*resources.Fault); ok {
			v = fault.Raw
		}
		if d := xmlrpcDepth(v); d > 64 {
			t.Fatalf("depth %d", d)
		}
		xmlrpcThroughKolo(t, v)
	})
}

func xmlrpcDepth(v any) int {
	deepest := 0
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			deepest = max(deepest, xmlrpcDepth(e))
		}
		return deepest + 1
	case map[string]any:
		for _, e := range v {
			deepest = max(deepest, xmlrpcDepth(e))
		}
		return deepest + 1
	}
	return 0
}

// xmlrpcThroughKolo stores v in a target of its own type: the same must come out.
func xmlrpcThroughKolo(t *testing.T, v any) {
	t.Helper()
	var err error
	var got any
	switch want := v.(type) {
	case map[string]any:
		var p map[string]any
		err, got = resources.FillXMLRPC(&p, want), p
	case []any:
		var p []any
		err, got = resources.FillXMLRPC(&p, want), p
	case string:
		var p string
		err, got = resources.FillXMLRPC(&p, want), p
	case int64:
		var p int64
		err, got = resources.FillXMLRPC(&p, want), p
	case float64:
		var p float64
		err, got = resources.FillXMLRPC(&p, want), p
	case []byte:
		var p []byte
		err, got = resources.FillXMLRPC(&p, want), p
	case time.Time:
		var p time.Time
		if err := resources.FillXMLRPC(&p, want); err != nil || !p.Equal(want) {
			t.Fatalf("%v became %v", want, p)
		}
		return
	default:
		return
	}
	if err != nil || fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", v) {
		t.Fatalf("%#v became %#v: %v", v, got, err)
	}
}
