package resources_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/kolo/xmlrpc"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
)

type xmlrpcReply struct {
	ID      int    `xmlrpc:"id"`
	Name    string `xmlrpc:"name,omitempty"`
	Odd     string `xmlrpc:"a<b>&c"`
	Empty   string
	Ratio   float64
	Whole   float32
	Price   float64
	OK      bool
	Data    []byte
	Text    xmlrpc.Base64
	When    time.Time
	Ago     resources.XMLRPCDateTime
	Any     any
	None    *int
	Some    *string
	List    []string
	Deep    map[string][]*xmlrpcReply
	Bare    map[string]any
	Nothing []int
	Count   uint8
	Skipped string `xmlrpc:"-"`
	_       int
}

func xmlrpcFullAnswer() map[string]any {
	return map[string]any{
		"id": int64(7), "name": " spaces ", "a<b>&c": "\r\n]]>", "Empty": "", "Ratio": -1.5, "Whole": int64(3),
		"Price": resources.XMLRPCDecimal("9.99"), "OK": true, "Data": []byte("\x00\xff"), "Text": []byte("hi"),
		"When": time.Date(2024, 2, 29, 1, 2, 3, 4000, time.UTC), "Ago": resources.XMLRPCDateTime("long ago"),
		"Any": []any{"", []byte{1}, nil}, "None": nil, "Some": "", "List": []any{"a", "", "b"},
		"Deep":    map[string]any{"k": []any{map[string]any{"Data": []byte("x")}, nil}},
		"Bare":    map[string]any{"": "", "b": []byte{}, "n": nil, "i": int64(1)},
		"Nothing": []any{}, "Count": int64(255), "Skipped": "x", "unseen": int64(1), "unknown": map[string]any{"": "odd"},
	}
}

func TestXMLRPCReplyTakesTypedValues(t *testing.T) {
	got := xmlrpcReply{Skipped: "replaced", List: []string{"old"}}
	require.NoError(t, resources.FillXMLRPC(&got, xmlrpcFullAnswer()))
	empty := ""
	assert.Equal(t, xmlrpcReply{
		ID: 7, Name: " spaces ", Odd: "\r\n]]>", Ratio: -1.5, Whole: 3, Price: 9.99, OK: true, Data: []byte("\x00\xff"), Text: "aGk=",
		When: time.Date(2024, 2, 29, 1, 2, 3, 4000, time.UTC), Ago: "long ago", Any: []any{"", []byte{1}, nil}, Some: &empty,
		List: []string{"a", "", "b"}, Deep: map[string][]*xmlrpcReply{"k": {{Data: []byte("x")}, nil}},
		Bare: map[string]any{"": "", "b": []byte{}, "n": nil, "i": int64(1)}, Nothing: []int{}, Count: 255,
	}, got)
}

func TestXMLRPCReplyUntypedIsTheValueItself(t *testing.T) {
	var got any = "something else"
	require.NoError(t, resources.FillXMLRPC(&got, xmlrpcFullAnswer()))
	assert.Equal(t, xmlrpcFullAnswer(), got)
	require.NoError(t, resources.FillXMLRPC(&got, nil))
	assert.Nil(t, got)
	require.NoError(t, resources.FillXMLRPC(nil, "dropped"))
}

func TestXMLRPCReplyThatDoesNotFitIsNotTouched(t *testing.T) {
	type pair struct{ A, B int }
	tests := []struct {
		reply, value any
	}{
		{new(int), "text"},
		{new(string), int64(1)},
		{new(int8), int64(300)},
		{new(uint8), int64(300)},
		{new(uint), int64(-1)},
		{new(bool), int64(1)},
		{new(time.Time), "text"},
		{new(time.Time), map[string]any{}},
		{new(time.Time), resources.XMLRPCDateTime("long ago")},
		{new([]int), map[string]any{}},
		{new([]int), []any{int64(1), "x"}},
		{new([]byte), "text"},
		{new([2]int), []any{int64(1), int64(2)}},
		{new(map[string]int), []any{}},
		{new(map[int]int), map[string]any{"1": int64(1)}},
		{new(map[xmlrpcName]int), map[string]any{"a": int64(1)}},
		{new(map[string]int), map[string]any{"": int64(1)}},
		{new(fmt.Stringer), "text"},
		{new(xmlrpcSelf), int64(1)},
		{new(chan int), int64(1)},
		{new(func()), []any{}},
		{new(**int), int64(1)},
		{&pair{7, 8}, map[string]any{"A": int64(1), "B": "x"}},
		{&pair{7, 8}, []any{int64(1)}},
	}
	for _, tt := range tests {
		before := fmt.Sprintf("%#v", tt.reply)
		err := resources.FillXMLRPC(tt.reply, tt.value)
		var bad *resources.XMLRPCAnswerError
		if assert.ErrorAs(t, err, &bad, "%T of %T", tt.reply, tt.value) {
			assert.NotContains(t, err.Error(), "long ago")
		}
		assert.Equal(t, before, fmt.Sprintf("%#v", tt.reply))
	}
	partial := pair{7, 8}
	require.Error(t, resources.FillXMLRPC(&partial, map[string]any{"A": int64(1), "B": "x"}))
	assert.Equal(t, pair{7, 8}, partial)

	var mismatch xmlrpc.TypeMismatchError
	assert.ErrorAs(t, resources.FillXMLRPC(new(int), "text"), &mismatch, "kolo's own error is underneath")
}

func TestXMLRPCReplyHoldsLongLists(t *testing.T) {
	const n = 50_000
	doc := xmlrpcValue("<array><data>" + strings.Repeat("<value><int>7</int></value>", n) + "</data></array>")
	v, err := xmlrpcRead(doc)
	require.NoError(t, err)
	var got []int
	require.NoError(t, resources.FillXMLRPC(&got, v))
	assert.Len(t, got, n)
}
