package duration_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/cmd/curfew/internal/duration"
)

func TestGoAndGNUSpellingsAreRead(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"5":         5 * time.Second,
		"+5":        5 * time.Second,
		"0.5":       500 * time.Millisecond,
		".5":        500 * time.Millisecond,
		"5.":        5 * time.Second,
		"1.1":       1100 * time.Millisecond,
		"1d":        24 * time.Hour,
		"2h":        2 * time.Hour,
		"1e3":       1000 * time.Second,
		"1E3":       1000 * time.Second,
		"1e3ms":     time.Second,
		"1e-3":      time.Millisecond,
		"1.5s":      1500 * time.Millisecond,
		"2m":        2 * time.Minute,
		"1h30m":     90 * time.Minute,
		"1d12h":     36 * time.Hour,
		"250ms":     250 * time.Millisecond,
		"7us":       7 * time.Microsecond,
		"7µs":       7 * time.Microsecond,
		"7μs":       7 * time.Microsecond,
		"1ns":       1,
		"0s1ns":     1,
		"00005":     5 * time.Second,
		"0.0000001": 100,
	} {
		got, err := duration.Parse(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
}

func TestOverflowIsCutAndUnderflowRoundedUp(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"1e-10000":                   1,
		"0.1ns":                      1,
		"1e-400d":                    1,
		"9223372036.854775807":       duration.Max,
		"9223372037":                 duration.Max,
		"1e10000":                    duration.Max,
		"1e308d":                     duration.Max,
		strings.Repeat("9", 400):     duration.Max,
		"1e99999999999999999999":     duration.Max,
		"300d1e300h" + "1e-999999ns": duration.Max,
	} {
		got, err := duration.Parse(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
}

func TestWhatIsNoLengthOfTimeIsAnError(t *testing.T) {
	for text, want := range map[string]error{
		"":          duration.ErrSyntax,
		" ":         duration.ErrSyntax,
		" 5":        duration.ErrSyntax,
		"5 ":        duration.ErrSyntax,
		"5x":        duration.ErrSyntax,
		"s":         duration.ErrSyntax,
		".":         duration.ErrSyntax,
		".s":        duration.ErrSyntax,
		"e3":        duration.ErrSyntax,
		"1e":        duration.ErrSyntax,
		"1e+":       duration.ErrSyntax,
		"5s5":       duration.ErrSyntax,
		"5 s":       duration.ErrSyntax,
		"1.2.3":     duration.ErrSyntax,
		"1_000":     duration.ErrSyntax,
		"0x10":      duration.ErrSyntax,
		"--5":       duration.ErrSyntax,
		"1s-2s":     duration.ErrSyntax,
		"none":      duration.ErrSyntax,
		"٣":         duration.ErrSyntax,
		"5\x00":     duration.ErrSyntax,
		"-5":        duration.ErrNegative,
		"-1e-10000": duration.ErrNegative,
		"-0":        duration.ErrNegative,
		"-1h30m":    duration.ErrNegative,
		"0":         duration.ErrZero,
		"0.000":     duration.ErrZero,
		"0e9":       duration.ErrZero,
		"0h0m":      duration.ErrZero,
		"NaN":       duration.ErrNumber,
		"inf":       duration.ErrNumber,
		"-Infinity": duration.ErrNumber,
	} {
		got, err := duration.Parse(text)
		assert.Equal(t, want, err, "%q", text)
		assert.Zero(t, got, "%q", text)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"5", "1h30m", "1e-10000", "-1", "0", "1d", "nan", "1.5s", "1e10000", "7µs", "5s5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := duration.Parse(text)
		if err != nil {
			require.Zero(t, got)
			return
		}
		require.Positive(t, got)
		require.LessOrEqual(t, got, duration.Max)
		// What Go reads too, it reads as the same, but for rounding.
		if theirs, err := time.ParseDuration(text); err == nil && theirs > 0 && theirs < 1000*time.Hour {
			require.InDelta(t, float64(theirs), float64(got), float64(len(text)), text) // a part of a nanosecond each
		}
	})
}
