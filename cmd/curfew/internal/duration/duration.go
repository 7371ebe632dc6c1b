// Package duration reads lengths of time as people write them on a command line: Go's way
// ("1.5s", "2m", "1h30m") and GNU's ("5", "0.5", "1d", "2h", "1e3").
package duration

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// Why a text is no length of time. Parse returns one of these as it is.
var (
	ErrSyntax   = errors.New("is not a length of time: 5, 0.5, 1.5s, 2m, 1h30m and 1d are")
	ErrNegative = errors.New("is negative")
	ErrZero     = errors.New("is zero")
	ErrNumber   = errors.New("is not a finite number")
)

// Max is the longest length of time that Parse returns, some 292 years: longer ones are cut
// to it. It is one nanosecond less than the longest time.Duration, which stands for
// "unlimited" elsewhere and has to be said in another way.
const Max = time.Duration(math.MaxInt64 - 1)

var units = map[string]time.Duration{
	"ns": time.Nanosecond,
	"us": time.Microsecond, "µs": time.Microsecond, "μs": time.Microsecond, // micro sign, and mu
	"ms": time.Millisecond,
	"s":  time.Second,
	"m":  time.Minute,
	"h":  time.Hour,
	"d":  24 * time.Hour,
}

// Parse reads a length of time: numbers with units, added up, or one number alone, which
// is seconds. Numbers may have a fraction and a decimal exponent. What is not zero as it is
// written, but less than a nanosecond, is one nanosecond. Zero, negative and not finite
// values are errors of their own, so that the caller can give zero a meaning.
func Parse(s string) (time.Duration, error) {
	rest, negative := cutSign(s)
	if isWord(rest) {
		return 0, ErrNumber
	}
	sum, zero := 0.0, true
	for alone := true; rest != "" || alone; alone = false {
		number, unit, after, ok := cut(rest)
		if !ok || (unit == 0 && (!alone || after != "")) {
			return 0, ErrSyntax
		}
		if unit == 0 {
			unit = time.Second
		}
		value, err := strconv.ParseFloat(number, 64)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return 0, ErrSyntax
		}
		sum += value * float64(unit)
		zero = zero && isZero(number)
		rest = after
	}
	switch {
	case negative:
		return 0, ErrNegative
	case zero:
		return 0, ErrZero
	}
	return fit(sum), nil
}

// fit rounds nanoseconds, which are more than zero, to what a Duration holds.
func fit(ns float64) time.Duration {
	if ns >= float64(Max) {
		return Max
	}
	return max(1, time.Duration(math.Round(ns)))
}

func cutSign(s string) (rest string, negative bool) {
	if rest, ok := strings.CutPrefix(s, "-"); ok {
		return rest, true
	}
	return strings.TrimPrefix(s, "+"), false
}

// isWord reports whether s is one of the words of strtod(3) that are no finite number.
func isWord(s string) bool {
	switch strings.ToLower(s) {
	case "inf", "infinity", "nan":
		return true
	}
	return false
}

// cut takes a number and its unit off the front of s; unit is zero when there is none.
func cut(s string) (number string, unit time.Duration, rest string, ok bool) {
	end, ok := numberEnd(s)
	if !ok {
		return "", 0, "", false
	}
	number, rest = s[:end], s[end:]
	name := rest[:wordEnd(rest)]
	unit, known := units[name]
	if name != "" && !known {
		return "", 0, "", false
	}
	return number, unit, rest[len(name):], true
}

// numberEnd is where the decimal number at the front of s ends.
func numberEnd(s string) (end int, ok bool) {
	whole := digits(s)
	end = whole
	fraction := 0
	if end < len(s) && s[end] == '.' {
		fraction = digits(s[end+1:])
		end += 1 + fraction
	}
	if whole+fraction == 0 {
		return 0, false
	}
	return end + exponent(s[end:]), true
}

// exponent is the length of the exponent at the front of s; 0 when there is none.
func exponent(s string) int {
	if s == "" || (s[0] != 'e' && s[0] != 'E') {
		return 0
	}
	n := 1
	if n < len(s) && (s[n] == '+' || s[n] == '-') {
		n++
	}
	d := digits(s[n:])
	if d == 0 {
		return 0
	}
	return n + d
}

func digits(s string) int {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return i
		}
	}
	return len(s)
}

// wordEnd is where the letters at the front of s end.
func wordEnd(s string) int {
	if i := strings.IndexAny(s, "0123456789.+-"); i >= 0 {
		return i
	}
	return len(s)
}

// isZero reports whether every digit before the exponent is zero: a value that is too
// small for a float is not.
func isZero(number string) bool {
	mantissa, _, _ := strings.Cut(strings.ToLower(number), "e")
	return strings.Trim(mantissa, "0.") == ""
}
