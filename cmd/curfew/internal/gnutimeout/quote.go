//go:build unix

package gnutimeout

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"
)

// quote puts s between the quotation marks of the locale, the way GNU programs do in their
// messages: what cannot be printed is escaped as in C.
func quote(s string) string {
	utf := isUTF8(os.Getenv)
	left, right := "'", "'"
	if utf {
		left, right = "‘", "’"
	}
	var b strings.Builder
	b.WriteString(left)
	for len(s) > 0 {
		r, size := rune(s[0]), 1
		if utf {
			r, size = utf8.DecodeRuneInString(s)
		}
		char := s[:size]
		s = s[size:]
		switch {
		case char == right || char == `\`:
			b.WriteString(`\` + char)
		case escapes[char] != "":
			b.WriteString(escapes[char])
		case size == 1 && (r < ' ' || r > '~'), !unicode.IsGraphic(r):
			for i := range len(char) {
				fmt.Fprintf(&b, `\%03o`, char[i])
			}
		default:
			b.WriteString(char)
		}
	}
	b.WriteString(right)
	return b.String()
}

var escapes = map[string]string{
	"\a": `\a`, "\b": `\b`, "\f": `\f`, "\n": `\n`, "\r": `\r`, "\t": `\t`, "\v": `\v`,
}

// isUTF8 reports whether the locale's characters are UTF-8, by its name alone: a locale
// that the system does not have is not seen to be missing.
func isUTF8(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale := getenv(name); locale != "" {
			_, charset, _ := strings.Cut(locale, ".")
			charset, _, _ = strings.Cut(charset, "@")
			return strings.EqualFold(strings.ReplaceAll(charset, "-", ""), "utf8")
		}
	}
	return false
}

// reason is the text of a system error as the C library has it: with a capital.
func reason(err error) string {
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return err.Error()
	}
	text := errno.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}
