package remote_test

import (
	"errors"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"curfew.example/actors"
	"curfew.example/actors/remote"
	"curfew.example/actors/remote/curfewv1"
	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// room is a limit that lowers none of the limits below.
const room = 1 << 40

func TestKindsTravelWhole(t *testing.T) {
	tls := &resources.TLS{RootCAs: []byte("a"), Certificate: []byte("b"), Key: []byte("c"), ServerName: "d", InsecureSkipVerify: true}
	for _, kind := range []any{
		resources.Fetch{
			URL: "http://u:p@h/?q=\xff", Method: "PUT", Header: http.Header{"Host": {"x"}, "lower": {"\xff", ""}}, Body: []byte{0, 255}, AnyStatus: true,
			BodyMaxBytes: 1, RawMaxBytes: 2, HeaderMaxBytes: 3, RedirectsMax: -1, TLS: tls, NoReuse: true, NoRetry: true,
		},
		resources.Command{
			Path: "/bin/\xff", Args: []string{"", "\xfe"}, Dir: "/\xfd", Env: []string{"A=\xfc"}, CleanEnv: true, Stdin: []byte{1},
			OutputMaxBytes: 5, Ladder: []resources.Step{{Signal: "INT", Wait: time.Second}, {Signal: "TERM"}},
		},
		resources.Socket{Address: "tls://h:1", TLS: tls, Send: []byte{0}, HalfClose: true, ReadUntil: []byte("\n"), ReadBytes: 3, BodyMaxBytes: 7},
		remote.XMLRPCCall{
			Session: resources.XMLRPC{
				URL: "http://h", Path: "/RPC3", User: "u", Password: "p", Header: http.Header{"X": {"y"}}, TLS: tls,
				BodyMaxBytes: 9, ItemsMax: 10, Charset: "latin1", Strict: true,
			},
			Method: "m", Args: []any{nil, true, int64(-1), 1.5, "x\xff", []byte{0}, []any{}, map[string]any{"a": []any{nil}}},
		},
	} {
		req := &curfewv1.Request{}
		require.NoError(t, remote.EncodeUse(req, kind))
		text, err := proto.Marshal(req)
		require.NoError(t, err)
		var back curfewv1.Request
		require.NoError(t, proto.Unmarshal(text, &back))
		got, err := remote.DecodeUse(&back, room)
		require.NoError(t, err)
		assert.Equal(t, kind, got)
	}
	_, err := remote.DecodeUse(&curfewv1.Request{}, room)
	require.Error(t, err)
}

func TestLimitsOfBodiesAreLoweredToWhatFits(t *testing.T) {
	for _, limit := range []int64{0, 1 << 40} {
		req := &curfewv1.Request{}
		require.NoError(t, remote.EncodeUse(req, resources.Fetch{BodyMaxBytes: limit, HeaderMaxBytes: limit}))
		got, err := remote.DecodeUse(req, 80_000)
		require.NoError(t, err)
		assert.Equal(t, int64(80_000), got.(resources.Fetch).BodyMaxBytes)
		assert.Equal(t, int64(10_000), got.(resources.Fetch).HeaderMaxBytes)
	}
}

func TestValuesTravelWhole(t *testing.T) {
	zone := time.FixedZone("", -3600)
	for _, v := range []any{
		nil, true, int64(math.MinInt64), 0.1, math.Inf(1), "é\xff", []byte{0}, resources.XMLRPCDateTime("soon"), resources.XMLRPCDecimal("1.10"),
		time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC), []any{int64(1), []any{}}, map[string]any{"": nil, "\xff": map[string]any{}},
	} {
		m, err := remote.EncodeValue(v)
		require.NoError(t, err)
		assert.Equal(t, v, remote.DecodeValue(m))
	}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, zone)
	m, err := remote.EncodeValue(at)
	require.NoError(t, err)
	assert.Equal(t, at.Format(time.RFC3339), remote.DecodeValue(m).(time.Time).Format(time.RFC3339), "as its own clock shows it")

	seven := 7
	for from, to := range map[any]any{int8(3): int64(3), uint16(4): int64(4), float32(0.5): 0.5, &seven: int64(7)} {
		m, err := remote.EncodeValue(from)
		require.NoError(t, err)
		assert.Equal(t, to, remote.DecodeValue(m))
	}
	circle := []any{nil}
	circle[0] = circle
	for _, bad := range []any{circle, struct{}{}, uint64(math.MaxUint64), map[int]int{}, func() {}} {
		_, err := remote.EncodeValue(bad)
		require.Error(t, err)
	}
}

func TestReceiptsTravelWhole(t *testing.T) {
	r := &actors.Receipt{
		Kind: "fetch", Target: "http://h:80", Outcome: actors.Expired, Phase: actors.Stalled, Error: "late",
		Budget: timeoutpolicy.Budget{Limit: timeoutpolicy.Unlimited, Stall: 1, Grace: 2, Force: 3, GrantedBy: "fixed unlimited"},
		Used:   4, Lateness: 5, Phases: actors.Phases{Queued: 6, Opening: 7, Running: 8, Cleanup: 9},
		Cleanup:  actors.Cleanup{Took: 10, Mechanism: "close", Released: []resources.Release{{What: "w", How: "close", Took: 11, Err: errors.New("e")}}},
		Leftover: []resources.Leftover{{What: "x", Why: "y", PID: 12, Start: "13", State: "D"}},
	}
	got, err := remote.DecodeReceipt(remote.EncodeReceipt(r))
	require.NoError(t, err)
	assert.Equal(t, r, got)

	got, err = remote.DecodeReceipt(nil)
	require.NoError(t, err)
	assert.Nil(t, got)
	for _, bad := range []string{"{", `{"schema":"other"}`} {
		_, err = remote.DecodeReceipt([]byte(bad))
		require.Error(t, err)
	}
}

func TestAllowList(t *testing.T) {
	allow := remote.Allow{
		Fetch: []string{"*.example:443"}, Socket: []string{`\[::1\]:80`, "*:7"}, XMLRPC: []string{"unix:/run/s.sock"},
		Command: []string{"/bin/echo"}, Env: []string{"LANG"}, Dirs: []string{"/tmp"},
	}
	rpc := func(url string) remote.XMLRPCCall {
		return remote.XMLRPCCall{Session: resources.XMLRPC{URL: url}, Method: "m"}
	}
	for _, c := range []struct {
		kind any
		ok   bool
	}{
		{resources.Fetch{URL: "https://a.example/x"}, true},
		{resources.Fetch{URL: "https://A.EXAMPLE/x"}, true},
		{resources.Fetch{URL: "http://a.example/x"}, false},
		{resources.Fetch{URL: "https://a.example@evil.test/"}, false},
		{resources.Fetch{URL: "https://evil.test/a.example:443"}, false},
		{resources.Socket{Address: "tcp://[::1]:80"}, true},
		{resources.Socket{Address: "tcp://h:7"}, true},
		{resources.Socket{Address: "tcp://h:8"}, false},
		{resources.Socket{Address: "unix:///run/x:7"}, false},
		{rpc("unix:///run/s.sock"), true},
		{rpc("unix:///run/t.sock"), false},
		{rpc("http://a.example:443"), false},
		{resources.Command{Path: "/bin/echo", Args: []string{"x"}, Env: []string{"LANG=C"}, Dir: "/tmp"}, true},
		{resources.Command{Path: "echo"}, false},
		{resources.Command{Path: "/bin/../bin/echo"}, false},
		{resources.Command{Path: "/bin/echo", Env: []string{"LD_PRELOAD=/x"}}, false},
		{resources.Command{Path: "/bin/echo", Dir: "/"}, false},
	} {
		err := remote.Permit(allow, c.kind)
		if c.ok {
			require.NoError(t, err, "%+v", c.kind)
			continue
		}
		require.ErrorIs(t, err, remote.ErrNotAllowed, "%+v", c.kind)
		require.NotContains(t, err.Error(), "LD_PRELOAD")
	}
	var invalid *resources.Invalid
	require.ErrorAs(t, remote.Permit(allow, resources.Fetch{URL: "ftp://a.example"}), &invalid)
	require.ErrorIs(t, remote.Permit(remote.Allow{}, resources.Fetch{URL: "http://h"}), remote.ErrNotAllowed)
}

func TestGeneratedCodeIsWhatTheProtoSays(t *testing.T) {
	for _, program := range []string{"protoc", "sh", "go"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	dir := t.TempDir()
	out, err := exec.Command("sh", filepath.Join("curfewv1", "generate.sh"), dir).CombinedOutput()
	require.NoError(t, err, "%s", out)
	read := func(name string) string {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		var kept []string
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, "// \tprotoc ") { // whichever is installed
				kept = append(kept, line)
			}
		}
		return strings.Join(kept, "")
	}
	assert.Equal(t, read(filepath.Join(dir, "curfew.pb.go")), read(filepath.Join("curfewv1", "curfew.pb.go")), "run curfewv1/generate.sh")
}
