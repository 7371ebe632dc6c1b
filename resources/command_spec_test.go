package resources_test

import (
	"encoding/json"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
)

func TestCommandSpecNamesTheProgramOnly(t *testing.T) {
	spec, err := resources.Command{
		Path: "/opt/private/pg_dump", Args: []string{"--password=hunter2"}, Env: []string{"PW=hunter2"},
	}.Spec()
	require.NoError(t, err)
	assert.Equal(t, resources.Spec{Kind: "command", Target: "pg_dump", Endpoint: "pg_dump"}, spec)
}

func TestCommandSpecRefusesBadInput(t *testing.T) {
	for field, c := range map[string]resources.Command{
		"Path":           {},
		"Args":           {Path: "x", Args: []string{"secret\x00"}},
		"Dir":            {Path: "x", Dir: "secret\x00"},
		"Env":            {Path: "x", Env: []string{"secret"}},
		"OutputMaxBytes": {Path: "x", OutputMaxBytes: -1},
		"Ladder":         {Path: "x", Ladder: []resources.Step{{Signal: "secret"}}},
	} {
		_, err := c.Spec()
		var invalid *resources.Invalid
		require.ErrorAs(t, err, &invalid, field)
		assert.Equal(t, field, invalid.Field)
		assert.NotContains(t, err.Error(), "secret")
	}
	_, err := resources.Command{Path: "x\x00"}.Spec()
	assert.Error(t, err)
	_, err = resources.Command{Path: "x", Env: []string{"=x"}}.Spec()
	assert.Error(t, err)
	_, err = resources.Command{Path: "x", Ladder: []resources.Step{{Signal: "TERM", Wait: -1}}}.Spec()
	assert.Error(t, err)
}

func TestCommandIsPlainData(t *testing.T) {
	c := resources.Command{
		Path: "x", Args: []string{"a"}, Env: []string{"A=b"}, CleanEnv: true, Stdin: []byte("in"),
		Ladder: []resources.Step{{Signal: "TERM", Wait: time.Second}}, LeaveBackground: true, OutputMaxBytes: 9,
	}
	raw, err := json.Marshal(c)
	require.NoError(t, err)
	var back resources.Command
	require.NoError(t, json.Unmarshal(raw, &back))
	assert.Equal(t, c, back)
}

func TestParseSignalReadsNamesAndNumbers(t *testing.T) {
	for s, want := range map[string]syscall.Signal{
		"TERM": syscall.SIGTERM, "SIGTERM": syscall.SIGTERM, "term": syscall.SIGTERM, "sigkill": syscall.SIGKILL,
		"9": syscall.SIGKILL, "0": 0, "EXIT": 0, "35": 35,
	} {
		got, err := resources.ParseSignal(s)
		require.NoError(t, err, s)
		assert.Equal(t, want, got, s)
		again, err := resources.ParseSignal(resources.SignalName(got))
		require.NoError(t, err)
		assert.Equal(t, want, again, "what SignalName says of %s is read", s)
	}
	for _, s := range []string{"", "SIG", "NONE", "-1", "65", "RTMIN+99", "RTMIN1", "RTMAX+1", "RTMIN+", "1.5", "SIGSIGTERM"} {
		_, err := resources.ParseSignal(s)
		var invalid *resources.Invalid
		assert.ErrorAs(t, err, &invalid, s)
	}
}
