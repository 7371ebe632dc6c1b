package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"curfew.example/resources"
)

// parseArguments reads the arguments of a call. An error says which and why, and does not
// show it: it may be a secret.
func parseArguments(texts []string) ([]any, error) {
	args := make([]any, len(texts))
	for i, text := range texts {
		v, err := parseArgument(text)
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
		args[i] = v
	}
	return args, nil
}

func parseArgument(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, errors.New(`is not JSON (a text is quoted twice: '"text"')`)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("is more than one JSON value")
	}
	return numbers(v)
}

// numbers gives every number in v its type. The depth is bounded by the decoder.
func numbers(v any) (_ any, err error) {
	switch v := v.(type) {
	case json.Number:
		return number(v.String())
	case []any:
		for i := range v {
			if v[i], err = numbers(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for k := range v {
			if v[k], err = numbers(v[k]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

func number(s string) (any, error) {
	if !strings.ContainsAny(s, ".eE") {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return nil, errors.New("an integer is beyond 64 bits")
		}
		return n, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return nil, errors.New("a number is beyond the range of a double")
	}
	return f, nil
}

// resultJSON is a value of an answer as JSON.
func resultJSON(v any) json.RawMessage {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(jsonValue(v)); err != nil {
		// No value of an answer is of a type that JSON does not have.
		panic(err)
	}
	return json.RawMessage(b.String())
}

// jsonValue is v in types that encoding/json says in the way that is documented.
func jsonValue(v any) any {
	switch v := v.(type) {
	case float64:
		return double(v)
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case resources.XMLRPCDateTime:
		return string(v)
	case resources.XMLRPCDecimal:
		return string(v)
	case []any:
		for i := range v {
			v[i] = jsonValue(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = jsonValue(v[k])
		}
	}
	return v
}

// double is a number that is seen to be no integer, or a word for what is no number.
func double(f float64) any {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return json.Number(s)
}
