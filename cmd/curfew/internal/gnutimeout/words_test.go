//go:build unix

package gnutimeout_test

import (
	"math"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"curfew.example/cmd/curfew/internal/gnutimeout"
)

func TestIntervalsAreThoseOfStrtod(t *testing.T) {
	huge := strings.Repeat("9", 400)
	for s, want := range map[string]time.Duration{
		"0": 0, "-0": 0, "0d": 0, "0e5": 0, ".0": 0, "0x0": 0,
		"5": 5 * time.Second, "5s": 5 * time.Second, "2m": 2 * time.Minute, "1h": time.Hour, "1d": 24 * time.Hour,
		"1.": time.Second, ".5": time.Second / 2, "+1": time.Second, " \t1": time.Second, "1e1": 10 * time.Second,
		"1E+1m": 10 * time.Minute, "0x10": 16 * time.Second, "0X.8p1": time.Second, "0x1p3h": 8 * time.Hour,
		"1e-10000": 1, "1e-12": 1, "0x1p-10000": 1,
		"inf": math.MaxInt64, "Infinity": math.MaxInt64, "infd": math.MaxInt64, "1e400": math.MaxInt64,
		"9223372036854775808d": math.MaxInt64, huge: math.MaxInt64,
	} {
		got, err := gnutimeout.Interval(s)
		assert.NoError(t, err, s)
		assert.Equal(t, want, got, s)
	}
	for _, s := range []string{
		"", " ", "s", "x", "-1", " -0.1", "-1e-10000", "-inf", "nan", "NAN", "42D", "1ms", "1h30m", "1 ", "1s ",
		"1e", "1e+", "0x", "0xp1", ".", "-.", "1_0", "--1", "1,5",
	} {
		_, err := gnutimeout.Interval(s)
		assert.ErrorContains(t, err, "invalid time interval", s)
	}
}

func FuzzInterval(f *testing.F) {
	for _, seed := range []string{"5", "-0", ".5d", "1e-10000", "0x1p-4h", "-inf", "nan", "1.5s", "1e400m", "0x", "+.e1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := gnutimeout.Interval(text)
		if err != nil {
			assert.ErrorContains(t, err, "invalid time interval")
			assert.Zero(t, got)
			return
		}
		assert.GreaterOrEqual(t, got, time.Duration(0))
		// Only what is written as zero is no limit: what is too short is not.
		number, _, _ := strings.Cut(strings.ToLower(text), "e")
		if strings.ContainsAny(number, "123456789") && !strings.Contains(number, "x") {
			assert.Positive(t, got)
		}
	})
}

func TestSignalsHaveNamesAndNumbers(t *testing.T) {
	for s, want := range map[string]syscall.Signal{
		"TERM": syscall.SIGTERM, "term": syscall.SIGTERM, "SIGTERM": syscall.SIGTERM, "sigterm": syscall.SIGTERM,
		"15": 15, "0": 0, "EXIT": 0, "137": 9, "265": 9, "SIG9": 9,
		"IOT": syscall.SIGABRT, "CLD": syscall.SIGCHLD, "POLL": syscall.SIGIO,
	} {
		got, ok := gnutimeout.ParseSignal(s)
		assert.True(t, ok, s)
		assert.Equal(t, want, got, s)
	}
	for _, s := range []string{"", "SIG", "SIGSIGTERM", "NOPE", "-1", "+1", "100", "1x", "99999999999"} {
		_, ok := gnutimeout.ParseSignal(s)
		assert.False(t, ok, s)
	}
	assert.Equal(t, "KILL", gnutimeout.SignalName(syscall.SIGKILL))
	assert.Equal(t, "POLL", gnutimeout.SignalName(syscall.SIGIO))
	assert.Equal(t, "0", gnutimeout.SignalName(0))
}

func TestWordsAreQuotedAsTheLocaleHasIt(t *testing.T) {
	t.Setenv("LC_ALL", "C")
	assert.Equal(t, `'a\n\tb\'c\\\303\251\001'`, gnutimeout.Quote("a\n\tb'c\\é\x01"))
	t.Setenv("LC_ALL", "C.UTF-8")
	assert.Equal(t, `‘a\n\tb'c‘é\’\001\377’`, gnutimeout.Quote("a\n\tb'c‘é’\x01\xff"))

	locale := func(pairs ...string) bool {
		return gnutimeout.IsUTF8(func(name string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1]
				}
			}
			return ""
		})
	}
	assert.False(t, locale())
	assert.True(t, locale("LANG", "de_DE.utf8@euro"))
	assert.False(t, locale("LANG", "de_DE.UTF-8", "LC_CTYPE", "de_DE.ISO-8859-1"))
	assert.True(t, locale("LC_ALL", "C.UTF-8", "LC_CTYPE", "C"))
}

func TestOptionsAreThoseOfGetopt(t *testing.T) {
	t.Setenv("LC_ALL", "C")
	for _, line := range []string{
		"5 x -y", "-- 5 x -y", "-fpv 5 x -y", "-k5 5 x -y", "-k 5 5 x -y", "-fk5 5 x -y", "--kill-after=5 5 x -y",
		"--kill-after 5 5 x -y", "--k 5 5 x -y", "--fore --pre --verb --sig=HUP 5 x -y", "-sHUP -s 9 5 x -y",
	} {
		command, message := gnutimeout.Parse(strings.Fields(line)...)
		assert.Equal(t, []string{"x", "-y"}, command, line)
		assert.Empty(t, message, line)
	}
	for line, want := range map[string]string{
		"":              "",
		"5":             "",
		"-x 5 x":        "invalid option -- 'x'",
		"-fx 5 x":       "invalid option -- 'x'",
		"-k":            "option requires an argument -- 'k'",
		"--kill-after":  "option '--kill-after' requires an argument",
		"--foo=1 5 x":   "unrecognized option '--foo'",
		"--fore=1 5 x":  "option '--foreground' doesn't allow an argument",
		"--ver 5 x":     "option '--ver' is ambiguous; possibilities: '--verbose' '--version'",
		"-s nope 5 x":   "'nope': invalid signal",
		"-k nope 5 x":   "invalid time interval 'nope'",
		"nope x":        "invalid time interval 'nope'",
		"-1 x y":        "invalid option -- '1'",
		"-k nope --foo": "invalid time interval 'nope'",
	} {
		command, message := gnutimeout.Parse(strings.Fields(line)...)
		assert.Nil(t, command, line)
		assert.Equal(t, want, message, line)
	}
}
