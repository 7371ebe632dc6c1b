package guard_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources/guard"
)

func FuzzReadWord(f *testing.F) {
	for _, s := range []string{
		`{"started":{"pid":42,"cgroup":true}}`, `{"failed":{"errno":2}}`,
		`{"exited":{"code":-1,"signal":9,"user_ns":1,"system_ns":1,"max_rss_bytes":1}}`,
		`{"gone":{"seen":3,"killed":2}}`, `{}`, `null`, `{"gone":{"seen":-1}}`, "\x00", strings.Repeat("[", 2000),
	} {
		f.Add([]byte(s + "\n"))
	}
	f.Fuzz(func(t *testing.T, foreign []byte) {
		r := guard.NewReader(bytes.NewReader(foreign))
		for {
			w, err := guard.ReadWord(r)
			if err != nil {
				return
			}
			if w.Started != nil {
				assert.Greater(t, w.Started.PID, 1)
			}
			if w.Gone != nil {
				assert.LessOrEqual(t, w.Gone.Killed, w.Gone.Seen)
			}
			if w.Exited != nil {
				assert.NotEqual(t, w.Exited.Signal != 0, w.Exited.Code != -1)
			}
		}
	})
}

func TestWordsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, line := range []string{
		"", "{}", "null", "[]", `{"started":{"pid":1}}`, `{"started":{"pid":-7}}`,
		`{"started":{"pid":7},"gone":{}}`, `{"failed":{"errno":0}}`, `{"exited":{"code":0,"signal":65}}`,
		`{"exited":{"code":256}}`, `{"gone":{"seen":1,"killed":2}}`, `{"gone":{"seen":1}}` + strings.Repeat(" ", 2000),
	} {
		_, err := guard.ParseWord([]byte(line))
		assert.Error(t, err, line)
	}
	w, err := guard.ParseWord([]byte(`{"gone":{"seen":3,"killed":2}}`))
	require.NoError(t, err)
	assert.Equal(t, guard.Word{Gone: &guard.Gone{Seen: 3, Killed: 2}}, w)
}
