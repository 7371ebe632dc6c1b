package actors_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// FuzzReceipt writes receipts of arbitrary names, texts and lengths of time in their JSON
// form, curfew.receipt/1: one line that is valid and reads back as what it was, but for
// bytes that are no UTF-8.
func FuzzReceipt(f *testing.F) {
	for _, s := range []string{"", "fetch", "http://host:80", "\"\\\n\r\t", "\u2028\x00\x7f", "\xff\xfe", "\U0001F600</script>", strings.Repeat("x", 1000)} {
		f.Add(s, "left: "+s, int64(1), uint8(3), uint8(2))
	}
	f.Add("x", "y", int64(math.MaxInt64), uint8(6), uint8(4))
	f.Add("x", "y", int64(math.MinInt64), uint8(0), uint8(0))
	f.Fuzz(func(t *testing.T, name, text string, ns int64, outcome, phase uint8) {
		d := time.Duration(ns)
		r := &actors.Receipt{
			Kind: name, Target: name, Outcome: actors.Outcome(outcome % 7), Phase: actors.Phase(phase % 5), Error: text,
			Budget: timeoutpolicy.Budget{Limit: d, Stall: -d, Grace: d / 2, Force: d / 3, GrantedBy: name},
			Used:   d, Lateness: d,
			Cleanup:  actors.Cleanup{Took: d, Mechanism: name, Released: []resources.Release{{What: name, How: text, Took: d, Err: errors.New(text)}, {What: text}}},
			Leftover: []resources.Leftover{{What: name, Why: text, PID: int(int32(ns)), Start: name, State: text}},
		}
		doc, err := json.Marshal(r)
		require.NoError(t, err)
		require.True(t, json.Valid(doc))
		require.NotContains(t, string(doc), "\n", "a receipt is a line")
		require.True(t, utf8.Valid(doc))

		dec := json.NewDecoder(bytes.NewReader(doc))
		dec.DisallowUnknownFields()
		var back actors.ReceiptFields
		require.NoError(t, dec.Decode(&back))
		require.Equal(t, actors.ReceiptSchema, back.Schema)
		require.Equal(t, valid(name), back.Target)
		require.Equal(t, valid(text), back.Leftover[0].Why)
		require.Equal(t, text == "", back.Error == nil)
		require.Equal(t, r.Outcome == actors.Expired, back.LatenessNS != nil)
		require.Equal(t, ns > 0 && d != timeoutpolicy.Unlimited, back.BudgetNS != nil, "null is unlimited, or none")

		again, err := json.Marshal(back)
		require.NoError(t, err)
		require.JSONEq(t, string(doc), string(again))
	})
}

// valid is s as JSON holds it: each byte that is no UTF-8 becomes U+FFFD.
func valid(s string) string { return string([]rune(s)) }
