package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
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

// unwritten says that the result could not be written, and returns the exit code. That
// nobody reads it any more is told as the signal tells other programs.
func (j *job) unwritten(err error) int {
	if errors.Is(err, syscall.EPIPE) {
		return codeSignal + int(syscall.SIGPIPE)
	}
	fmt.Fprintf(j.stderr, "curfew: write the result: %v\n", err)
	return codeInternal
}
