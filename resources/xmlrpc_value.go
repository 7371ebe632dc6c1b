package resources

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

// XMLRPCDateTime is a dateTime.iso8601 whose text is no date that can be told: as in
// Python the text is kept, without the space around it. Other dates are time.Time.
type XMLRPCDateTime string

// XMLRPCDecimal is a bigdecimal (an extension of Apache's): the text of a decimal
// number of any size, in ASCII, without space around it. It may be Infinity or NaN.
type XMLRPCDecimal string

var errScalar = errors.New("not of its type")

// xmlrpcScalar returns the value of a scalar element by its local name, from its text.
// It takes and refuses what Python's xmlrpc.client does, number syntax included.
func xmlrpcScalar(name, text string) (any, error) {
	switch name {
	case "nil":
		return nil, nil
	case "string", "name":
		return text, nil
	case "boolean":
		return xmlrpcBool(text)
	case "int", "i1", "i2", "i4", "i8", "biginteger":
		return xmlrpcInt(text)
	case "double", "float":
		return xmlrpcFloat(text)
	case "bigdecimal":
		return xmlrpcDecimal(text)
	case "base64":
		return xmlrpcBase64(text)
	case "dateTime.iso8601":
		return xmlrpcDate(strings.TrimSpace(text)), nil
	}
	return nil, errScalar
}

func xmlrpcBool(text string) (bool, error) {
	if text != "0" && text != "1" {
		return false, errScalar
	}
	return text == "1", nil
}

func xmlrpcInt(text string) (int64, error) {
	s, ok := asciiNumber(text)
	if !ok {
		return 0, errScalar
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return 0, ErrXMLRPCIntRange
	}
	if err != nil {
		return 0, errScalar
	}
	return n, nil
}

func xmlrpcFloat(text string) (float64, error) {
	s, ok := asciiNumber(text)
	if !ok {
		return 0, errScalar
	}
	switch strings.ToLower(strings.TrimLeft(s, "+-")) {
	case "nan":
		if len(s) > len("+nan") {
			return 0, errScalar
		}
		return math.NaN(), nil
	case "inf", "infinity":
	default:
		if strings.Trim(s, "0123456789+-.eE") != "" {
			return 0, errScalar // Go's hexadecimal numbers
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, errScalar
	}
	return f, nil // beyond the range it is an infinity, as in Python
}

var decimalText = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^[+-]?(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf(?:inity)?|s?nan[0-9]*)$`)
})

func xmlrpcDecimal(text string) (XMLRPCDecimal, error) {
	s := strings.Map(asciiDigit, strings.ReplaceAll(strings.TrimSpace(text), "_", ""))
	if !decimalText().MatchString(s) {
		return "", errScalar
	}
	return XMLRPCDecimal(s), nil
}

// asciiNumber undoes what Python's int and float allow round a number: space at both
// ends, digits of other scripts, and single underscores between digits.
func asciiNumber(text string) (string, bool) {
	s := strings.Map(asciiDigit, strings.TrimSpace(text))
	if !strings.Contains(s, "_") {
		return s, s != ""
	}
	for i := range len(s) {
		if s[i] == '_' && (i == 0 || i == len(s)-1 || !isDigit(s[i-1]) || !isDigit(s[i+1])) {
			return "", false
		}
	}
	return strings.ReplaceAll(s, "_", ""), true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// asciiDigit maps a decimal digit of any script to ASCII's. Unicode has them in runs of
// ten from zero to nine, and each of its ranges begins with a zero.
func asciiDigit(r rune) rune {
	if r < unicode.MaxASCII || !unicode.Is(unicode.Nd, r) {
		return r
	}
	for _, t := range unicode.Nd.R16 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return '0' + (r-rune(t.Lo))%10
		}
	}
	for _, t := range unicode.Nd.R32 {
		if rune(t.Lo) <= r && r <= rune(t.Hi) {
			return '0' + (r-rune(t.Lo))%10
		}
	}
	return r
}

// xmlrpcDates are the spellings seen in the wild. Parse takes fractions of a second
// after each of them.
var xmlrpcDates = []string{
	"20060102T15:04:05", "20060102T15:04:05Z0700", "20060102T15:04:05Z07:00",
	"2006-01-02T15:04:05", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07:00",
	"20060102T150405", "20060102T150405Z0700", "20060102T150405Z07:00",
}

// xmlrpcDate returns a time.Time, in UTC when text names no zone, or an XMLRPCDateTime.
func xmlrpcDate(text string) any {
	for _, layout := range xmlrpcDates {
		if t, err := time.Parse(layout, text); err == nil {
			return t
		}
	}
	return XMLRPCDateTime(text)
}

// xmlrpcBase64 decodes as Python's binascii does when it is not strict: characters of
// other alphabets are skipped, and what follows a completed padding is not looked at.
func xmlrpcBase64(text string) ([]byte, error) {
	out := make([]byte, 0, len(text)/4*3)
	var bits uint32
	quad, pads := 0, 0 // characters in the current group of four, padding after them
	for i := range len(text) {
		c := text[i]
		if c >= 0x80 {
			return nil, errScalar
		}
		if c == '=' {
			if pads++; quad >= 2 && quad+pads >= 4 {
				return out, nil
			}
			continue
		}
		six, ok := base64Digit(c)
		if !ok {
			continue
		}
		pads = 0
		bits = bits<<6 | six
		if quad > 0 {
			out = append(out, byte(bits>>(6-2*quad)))
		}
		quad = (quad + 1) % 4
	}
	if quad != 0 {
		return nil, errScalar
	}
	return out, nil
}

func base64Digit(c byte) (uint32, bool) {
	switch {
	case 'A' <= c && c <= 'Z':
		return uint32(c - 'A'), true
	case 'a' <= c && c <= 'z':
		return uint32(c-'a') + 26, true
	case isDigit(c):
		return uint32(c-'0') + 52, true
	case c == '+':
		return 62, true
	case c == '/':
		return 63, true
	}
	return 0, false
}
