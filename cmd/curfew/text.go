package main

import (
	"encoding/json"
	"unicode/utf8"
)

// text is bytes from outside in a JSON result: a string where they are valid UTF-8, and
// else an object with one member, {"base64": "…"}.
type text []byte

// MarshalJSON implements json.Marshaler.
func (t text) MarshalJSON() ([]byte, error) {
	if utf8.Valid(t) {
		return json.Marshal(string(t))
	}
	return json.Marshal(struct {
		Base64 []byte `json:"base64"`
	}{t})
}
