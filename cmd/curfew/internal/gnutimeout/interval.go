//go:build unix

package gnutimeout

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// interval reads a length of time: a number as strtod(3) reads it in the C locale, and one
// letter for the unit. It is not what the other commands take (internal/duration): infinity
// and hexadecimal numbers are lengths of time here, 1h30m is none. What is too long is cut
// to some 292 years; what is not zero as it is written is a nanosecond at least.
func interval(s string) (time.Duration, error) {
	number, rest, ok := strtod(s)
	unit, known := suffix(rest)
	if !ok || !known || number.negative() {
		return 0, usagef("invalid time interval %s", quote(s))
	}
	ns := math.Ceil(number.value * float64(unit))
	switch {
	case number.zero:
		return 0, nil
	case ns >= math.MaxInt64:
		return math.MaxInt64, nil
	}
	return max(1, time.Duration(ns)), nil
}

func suffix(s string) (time.Duration, bool) {
	switch s {
	case "", "s":
		return time.Second, true
	case "m":
		return time.Minute, true
	case "h":
		return time.Hour, true
	case "d":
		return 24 * time.Hour, true
	}
	return 0, false
}

// number is a floating point number as it is written: a value that is too small for a
// float64 is 0 and yet not zero.
type number struct {
	value float64
	minus bool
	zero  bool
}

// negative reports whether n is less than zero; minus zero is not.
func (n number) negative() bool { return n.minus && !n.zero }

// strtod takes the longest number off the front of s, white space before it included. No
// length of time is not a number, so NaN is none here.
func strtod(s string) (n number, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t\n\v\f\r")
	if s != "" && (s[0] == '+' || s[0] == '-') {
		n.minus = s[0] == '-'
		s = s[1:]
	}
	for _, word := range []string{"infinity", "inf"} {
		if len(s) >= len(word) && strings.EqualFold(s[:len(word)], word) {
			n.value = math.Inf(1)
			return n, s[len(word):], true
		}
	}
	prefix, digits, exponent := "", "0123456789", "e"
	if len(s) > 1 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		prefix, digits, exponent = "0x", "0123456789abcdefABCDEF", "p"
	}
	body := s[len(prefix):]
	end, ok := mantissa(body, digits)
	if !ok {
		return n, s, false
	}
	n.zero = strings.Trim(body[:end], "0.") == ""
	power := exponentLength(body[end:], exponent)
	literal := prefix + body[:end+power]
	if prefix != "" && power == 0 {
		literal += "p0" // strconv wants one
	}
	// The form is right, so the error is that of the range, which makes it infinite.
	n.value, _ = strconv.ParseFloat(literal, 64)
	return n, body[end+power:], true
}

// mantissa is the length of digits with a point among them at the front of s.
func mantissa(s, digits string) (length int, ok bool) {
	whole := span(s, digits)
	if whole == len(s) || s[whole] != '.' {
		return whole, whole > 0
	}
	fraction := span(s[whole+1:], digits)
	return whole + 1 + fraction, whole+fraction > 0
}

// exponentLength is the length of the exponent at the front of s; 0 when there is none.
func exponentLength(s, letter string) int {
	if s == "" || !strings.EqualFold(s[:1], letter) {
		return 0
	}
	sign := 0
	if len(s) > 1 && (s[1] == '+' || s[1] == '-') {
		sign = 1
	}
	digits := span(s[1+sign:], "0123456789")
	if digits == 0 {
		return 0
	}
	return 1 + sign + digits
}

// span is the length of the front of s that consists of bytes in set.
func span(s, set string) int {
	for i := range len(s) {
		if strings.IndexByte(set, s[i]) < 0 {
			return i
		}
	}
	return len(s)
}
