package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources/resourcetest"
)

// slack is how late an answer may come beside a plain timer.
const slack = 50 * time.Millisecond

func TestWrongUsageIsSaidWithCode2(t *testing.T) {
	dir := t.TempDir()
	notPEM := filepath.Join(dir, "not.pem")
	writeFile(t, notPEM, []byte("no certificate"))
	for _, c := range []struct {
		args string
		says string
	}{
		{"", "no command is given"},
		{"frobnicate", `unknown command "frobnicate"`},
		{"--frobnicate", "unknown flag --frobnicate"},
		{"exec", "no command is given"},
		{"exec -t 5", "no command is given"},
		{"exec -t 5 --", "no command is given"},
		{"exec true", "no limit: give -t"},
		{"fetch http://127.0.0.1:1/", "no limit: give -t"},
		{"dial 127.0.0.1:1", "no limit: give -t"},
		{"xmlrpc http://127.0.0.1:1/ m", "no limit: give -t"},
		{"exec -t 0 true", `-t, --timeout: "0" is zero`},
		{"exec -t -5 true", `-t, --timeout: "-5" is negative`},
		{"exec -t -1e-10000 true", "is negative"},
		{"exec -t 5x true", `"5x" is not a length of time`},
		{"exec -t nan true", "is not a finite number"},
		{"exec -t inf true", "no limit is said as none"},
		{"exec -t 5 -k none true", "-k, --grace"},
		{"exec -t 5 --force -1 true", "--force"},
		{"exec -t 5 --stall 0 true", "--stall"},
		{"exec -t 5 -s NOSUCH true", `-s, --signal: "NOSUCH" is no signal`},
		{"exec -t 5 --output xml true", "--output"},
		{"exec -t 5 --report /no/such/directory/r.json true", "--report"},
		{"fetch -t 5", "no URL is given"},
		{"fetch -t 5 ftp://127.0.0.1/x", "fetch: URL"},
		{"fetch -t 5 127.0.0.1:80", "fetch: URL"},
		{"fetch -t 5 http://", "fetch: URL"},
		{"fetch -t 5 http://[::1", "fetch: URL"},
		{"fetch -t 5 http://127.0.0.1:99999/", "fetch: URL"},
		{"fetch -t 5 http://127.0.0.1:1/%zz", "fetch: URL"},
		{"fetch -t 5 -X B@D http://127.0.0.1:1/", "Method"},
		{"fetch -t 5 -H nocolon http://127.0.0.1:1/", "-H, --header: number 1"},
		{"fetch -t 5 -d @/no/such/file http://127.0.0.1:1/", "-d, --data"},
		{"fetch -t 5 -d @" + dir + " http://127.0.0.1:1/", "-d, --data"},
		{"fetch -t 5 --ca /no/such/file http://127.0.0.1:1/", "--ca"},
		{"fetch -t 5 --ca " + notPEM + " https://127.0.0.1:1/", "no certificate in PEM"},
		{"fetch -t 5 --max-bytes -1 http://127.0.0.1:1/", "--max-bytes"},
		{"fetch -t 5 --max-bytes 0 http://127.0.0.1:1/", "--max-bytes"},
		{"fetch -t 5 --max-bytes many http://127.0.0.1:1/", "--max-bytes"},
		{"fetch -t 5 -o " + dir + "/x http://127.0.0.1:1/ http://127.0.0.1:1/", "-o, --file"},
		{"dial -t 5", "one ADDRESS"},
		{"dial -t 5 a:1 b:2", "one ADDRESS"},
		{"dial -t 5 sctp://127.0.0.1:1", "socket: Address"},
		{"dial -t 5 127.0.0.1", "socket: Address"},
		{"dial -t 5 127.0.0.1:0", "socket: Address"},
		{"dial -t 5 unix://relative", "socket: Address"},
		{"xmlrpc -t 5 http://127.0.0.1:1/", "a URL and a METHOD"},
		{"xmlrpc -t 5 ftp://127.0.0.1/ m", "xmlrpc: URL"},
		{"xmlrpc -t 5 http://127.0.0.1:1/ m text", "argument 1: is not JSON"},
		{"xmlrpc -t 5 http://127.0.0.1:1/ m 1 [1", "argument 2: is not JSON"},
		{"xmlrpc -t 5 http://127.0.0.1:1/ m 1,2", "argument 1: is more than one"},
		{"xmlrpc -t 5 http://127.0.0.1:1/ m 9223372036854775808", "beyond 64 bits"},
		{"xmlrpc -t 5 http://127.0.0.1:1/ m [1e999]", "beyond the range of a double"},
		{"xmlrpc -t 5 http://127.0.0.1:1/ m " + strings.Repeat("[", 400_000), "argument 1: is not JSON"},
		{"xmlrpc -t 5 http://127.0.0.1:1/ m " + strings.Repeat("[", 100) + strings.Repeat("]", 100), "nested too deeply"},
		{"version extra", "no arguments"},
	} {
		name := c.args
		if len(name) > 60 {
			name = name[:60]
		}
		t.Run(name, func(t *testing.T) {
			r := call(t, nil, "", strings.Fields(c.args)...)
			assert.Equal(t, codeUsage, r.code)
			assert.Contains(t, r.stderr, c.says)
			assert.True(t, strings.HasPrefix(r.stderr, "curfew: "), r.stderr)
			assert.Empty(t, r.stdout)
			assert.Less(t, len(r.stderr), 500)
		})
	}
}

func TestDataThatCannotBeReadIsWrongUsage(t *testing.T) {
	file := filepath.Join(t.TempDir(), "data")
	writeFile(t, file, []byte("data"))
	require.NoError(t, os.Chmod(file, 0))
	if f, err := os.Open(file); err == nil {
		f.Close()
		t.Skip("SKIPPED: this user reads every file")
	}
	r := call(t, nil, "", "fetch", "-t", "5", "-d", "@"+file, "http://127.0.0.1:1/")
	assert.Equal(t, codeUsage, r.code)
	assert.Contains(t, r.stderr, "-d, --data")
}

func TestNoSecretComesOut(t *testing.T) {
	const secret = "hunter2"
	report := filepath.Join(t.TempDir(), "report.json")
	page := startHTTP(t)
	host := strings.TrimPrefix(page, "http://")
	for _, args := range [][]string{
		{"http://u:" + secret + "@127.0.0.1:1/"},
		{secret},
		{"fetch", "-p" + secret, "-t", "1", "x"},
		{"fetch", "--" + secret + "2=" + secret, "x"},
		{"fetch", "-t", "5", "-H", secret, "http://127.0.0.1:1/"},
		{"fetch", "-t", "5", "-H", "A: " + secret + "\n", "http://127.0.0.1:1/\x00" + secret},
		{"fetch", "-t", "5", "-v", "http://u:" + secret + "@127.0.0.1:1/" + secret + "?q=" + secret},
		{"fetch", "-t", "0.05", "-v", "http://u:" + secret + "@" + host + "/hang?q=" + secret},
		{"fetch", "-t", "5", "-v", "http://u:" + secret + "@" + host + "/teapot?q=" + secret},
		{"fetch", "-t", "5", "ftp://u:" + secret + "@127.0.0.1:1/"},
		{"fetch", "-t", "5", "http://u:" + secret + "@[::1/"},
		{"dial", "-t", "5", "u:" + secret + "@127.0.0.1:1"},
		{"xmlrpc", "-t", "5", "http://u:" + secret + "@127.0.0.1:1/" + secret, "login", `"` + secret + `"`},
		{"xmlrpc", "-t", "5", "http://127.0.0.1:1/", "login", secret},
		{"xmlrpc", "-t", "0.05", "-v", "http://u:" + secret + "@" + host, "hang", `"` + secret + `"`},
	} {
		args := args
		if len(args) > 2 && args[1] == "-t" {
			args = append([]string{args[0], "--report", report}, args[1:]...)
		}
		r := call(t, map[string]string{"CURFEW_PASSWORD": secret}, "", args...)
		assert.NotZero(t, r.code)
		assert.NotContains(t, strings.ReplaceAll(r.stderr, "unknown flag --"+secret, ""), secret, "%q", args)
		assert.NotContains(t, r.stdout, secret)
		written, _ := os.ReadFile(report)
		assert.NotContains(t, string(written), secret)
	}
}

func TestHelpIsThereForEachCommand(t *testing.T) {
	for _, name := range []string{"exec", "fetch", "dial", "xmlrpc", "version"} {
		r := call(t, nil, "", name, "--help")
		assert.Zero(t, r.code)
		assert.Contains(t, r.stdout, "Examples:\n")
		assert.Contains(t, r.stdout, "curfew "+name)
		assert.Empty(t, r.stderr)
	}
	r := call(t, nil, "", "--help")
	assert.Zero(t, r.code)
	assert.Contains(t, r.stdout, "Exit codes:")
}

func TestVersion(t *testing.T) {
	r := call(t, nil, "", "version")
	assert.Zero(t, r.code)
	assert.Regexp(t, `^curfew \S+ go1\.\S+ \w+/\w+\n$`, r.stdout)

	r = call(t, nil, "", "version", "--output", "json")
	var b build
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &b))
	assert.NotEmpty(t, b.Version)
	assert.NotEmpty(t, b.Arch)
}

func TestFetchWritesTheBodyByteForByte(t *testing.T) {
	resourcetest.NothingLeft(t)
	page := startHTTP(t)
	r := call(t, nil, "", "fetch", "-t", "5", page+"/bytes")
	assert.Equal(t, ran{stdout: string(allBytes())}, r)

	r = call(t, map[string]string{"CURFEW_TIMEOUT": "5s"}, "", "fetch", page+"/empty")
	assert.Equal(t, ran{}, r, "the limit comes from the environment")
}

func TestFetchSendsWhatItIsTold(t *testing.T) {
	page := startHTTP(t)
	file := filepath.Join(t.TempDir(), "body")
	writeFile(t, file, []byte("from a file"))
	for want, args := range map[string][]string{
		"GET X= body=\"\"\n":              nil,
		"PUT X=a:b body=\"\"\n":           {"-X", "PUT", "-H", "X-Thing: a:b"},
		"POST X= body=\"data\"\n":         {"-d", "data"},
		"POST X= body=\"\"\n":             {"-d", ""},
		"PATCH X= body=\"from a file\"\n": {"-X", "PATCH", "-d", "@" + file},
	} {
		r := call(t, nil, "", append(append([]string{"fetch", "-t", "5"}, args...), page+"/echo")...)
		assert.Equal(t, ran{stdout: want}, r)
	}
}

func TestFetchTakes4xxForAFailure(t *testing.T) {
	page := startHTTP(t)
	r := call(t, nil, "", "fetch", "-t", "5", page+"/teapot")
	assert.Equal(t, codeFailed, r.code)
	assert.Empty(t, r.stdout)
	assert.Contains(t, r.stderr, "418")

	r = call(t, nil, "", "fetch", "-t", "5", "-q", page+"/teapot")
	assert.Equal(t, ran{code: codeFailed}, r)

	r = call(t, nil, "", "fetch", "-t", "5", "--any-status", page+"/teapot")
	assert.Equal(t, ran{stdout: "short and stout\n"}, r)

	r = call(t, nil, "", "fetch", "-t", "5", "--output", "json", page+"/teapot")
	assert.Equal(t, codeFailed, r.code)
	assert.Contains(t, r.stdout, `"status":418`)
	assert.Contains(t, r.stdout, `"body":"short and stout\n"`)
}

func TestFetchOfSeveralRunsAtOnceInOrder(t *testing.T) {
	resourcetest.NothingLeft(t)
	page := startHTTP(t)
	report := filepath.Join(t.TempDir(), "report.jsonl")
	start := time.Now()
	r := call(t, nil, "", "fetch", "-t", "0.3", "--report", report,
		page+"/hello", page+"/drip", page+"/teapot", page+"/hang", page+"/hello")
	took := time.Since(start)
	assert.Equal(t, codeExpired, r.code, "the first that is not 0")
	assert.Equal(t, "hello\nfirst part\nhello\n", r.stdout)
	assert.Contains(t, r.stderr, "URL 2: fetch")
	assert.Contains(t, r.stderr, "URL 3: fetch")
	assert.Less(t, took, 600*time.Millisecond, "one after the other they would take longer")

	var outcomes []string
	for _, receipt := range readReceipts(t, report) {
		outcomes = append(outcomes, receipt["outcome"].(string))
	}
	assert.Equal(t, []string{"completed", "expired", "failed", "expired", "completed"}, outcomes)
}

func TestFetchEndsOnTimeWithWhatThereIs(t *testing.T) {
	resourcetest.NothingLeft(t)
	page := startHTTP(t)
	const limit = 200 * time.Millisecond
	plain := resourcetest.PlainTimer(limit)
	report := filepath.Join(t.TempDir(), "report.json")
	r := call(t, nil, "", "fetch", "-t", "200ms", "--report", report, page+"/drip")
	assert.Equal(t, codeExpired, r.code)
	assert.Equal(t, "first part\n", r.stdout)
	assert.Contains(t, r.stderr, "timeout exceeded")
	assertOnTime(t, readReceipts(t, report)[0], limit, <-plain)
}

func TestFetchStallEndsASilentBody(t *testing.T) {
	page := startHTTP(t)
	report := filepath.Join(t.TempDir(), "report.json")
	r := call(t, nil, "", "fetch", "-t", "none", "--stall", "0.1", "--report", report, page+"/drip")
	assert.Equal(t, codeExpired, r.code)
	receipt := readReceipts(t, report)[0]
	assert.Equal(t, "stalled", receipt["phase"])
	assert.Nil(t, receipt["budget_ns"], "no limit was said aloud")
}

func TestFetchIntoAFileIsAllOrNothing(t *testing.T) {
	page := startHTTP(t)
	file := filepath.Join(t.TempDir(), "page")
	r := call(t, nil, "", "fetch", "-t", "5", "-o", file, page+"/hello")
	assert.Equal(t, ran{}, r)
	for _, path := range []string{"/drip", "/teapot"} {
		r = call(t, nil, "", "fetch", "-t", "0.1", "-q", "-o", file, page+path)
		assert.NotZero(t, r.code)
		assert.Empty(t, r.stdout)
	}
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "hello\n", string(content))
	entries, err := os.ReadDir(filepath.Dir(file))
	require.NoError(t, err)
	assert.Len(t, entries, 1)
}

func TestFetchTrustsTheGivenAuthority(t *testing.T) {
	page, ca := startTLS(t)
	r := call(t, nil, "", "fetch", "-t", "5", "--ca", ca, page+"/hello")
	assert.Equal(t, ran{stdout: "hello\n"}, r)
	r = call(t, nil, "", "fetch", "-t", "5", page+"/hello")
	assert.Equal(t, codeFailed, r.code)
	assert.Contains(t, r.stderr, "certificate")
}

func TestFetchThatIsRefused(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report.json")
	r := call(t, nil, "", "fetch", "-t", "5", "--report", report, "http://127.0.0.1:1/")
	assert.Equal(t, codeFailed, r.code)
	assert.Contains(t, r.stderr, "connection refused")
	receipt := readReceipts(t, report)[0]
	assert.Equal(t, "failed", receipt["outcome"])
	assert.Equal(t, "http://127.0.0.1:1", receipt["target"])
	assert.Contains(t, receipt["error"], "connection refused")
}

func TestReceiptIsWrittenOfWhatWasRefused(t *testing.T) {
	report := filepath.Join(t.TempDir(), "report.json")
	for _, args := range [][]string{
		{"fetch", "-t", "5", "ftp://h/"},
		{"fetch", "http://h/"},
		{"xmlrpc", "-t", "5", "http://h/", "m", strings.Repeat("[", 100) + strings.Repeat("]", 100)},
	} {
		r := call(t, nil, "", append([]string{args[0], "--report", report}, args[1:]...)...)
		assert.Equal(t, codeUsage, r.code)
		receipt := readReceipts(t, report)[0]
		assert.Equal(t, "refused", receipt["outcome"])
		assert.Equal(t, args[0], receipt["kind"])
		assert.NotEmpty(t, receipt["error"])
	}
	r := call(t, nil, "", "fetch", "-t", "5", "--report", "-", "ftp://h/")
	assert.Contains(t, r.stderr, `{"schema":"curfew.receipt/1","kind":"fetch"`)
}

func TestReceiptThatCannotBeWrittenIsAFailureOfOurs(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full")
	}
	page := startHTTP(t)
	r := call(t, nil, "", "fetch", "-t", "5", "--report", "/dev/full", page+"/hello")
	assert.Equal(t, codeInternal, r.code)
	assert.Equal(t, "hello\n", r.stdout)
	assert.Contains(t, r.stderr, "--report")
}

// full is a writer that takes nothing.
type full struct{ err error }

func (f full) Write([]byte) (int, error) { return 0, f.err }

func TestTextThatCannotBeWrittenIsAFailureOfOurs(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"version", "--output", "json"}, {"help"}, {"exec", "--help"}} {
		for err, code := range map[error]int{syscall.ENOSPC: codeInternal, syscall.EPIPE: codeSignal + int(syscall.SIGPIPE)} {
			var stderr strings.Builder
			got := run(t.Context(), args, strings.NewReader(""), full{err}, &stderr, func(string) string { return "" })
			assert.Equal(t, code, got, "%q: %v", args, err)
			assert.NotContains(t, stderr.String(), "Try", "%q is no wrong usage", args)
		}
	}
}

func TestVerboseSaysWhereTheTimeWent(t *testing.T) {
	page := startHTTP(t)
	r := call(t, nil, "", "fetch", "-t", "5", "-v", page+"/hello")
	assert.Regexp(t, `^curfew: fetch http://127\.0\.0\.1:\d+: completed in \S+ \(.*running \S+\), limit fixed 5s`, r.stderr)
}

func TestDialSendsHalfClosesAndReceives(t *testing.T) {
	resourcetest.NothingLeft(t)
	address := startPeer(t, "tcp", "127.0.0.1:0", upper)
	r := call(t, nil, "hello\n", "dial", "-t", "5", address)
	assert.Equal(t, ran{stdout: "HELLO\n"}, r)

	r = call(t, nil, "hello\n", "dial", "-t", "5", "--output", "json", "tcp://"+address)
	assert.Zero(t, r.code)
	assert.JSONEq(t, `{"received":"HELLO\n","received_bytes":6,"sent_bytes":6,"remote_addr":"`+address+`"}`, r.stdout)

	path := startPeer(t, "unix", filepath.Join(t.TempDir(), "s"), upper)
	r = call(t, nil, "unix", "dial", "-t", "5", "unix://"+path)
	assert.Equal(t, ran{stdout: "UNIX"}, r)
}

func TestDialEndsOnTimeWithWhatThereIs(t *testing.T) {
	resourcetest.NothingLeft(t)
	address := startPeer(t, "tcp", "127.0.0.1:0", greeter)
	const limit = 200 * time.Millisecond
	plain := resourcetest.PlainTimer(limit)
	report := filepath.Join(t.TempDir(), "report.json")
	r := call(t, nil, "x", "dial", "-t", "0.2", "--report", report, address)
	assert.Equal(t, codeExpired, r.code)
	assert.Equal(t, "welcome\n", r.stdout)
	assertOnTime(t, readReceipts(t, report)[0], limit, <-plain)
}

func TestDialFailures(t *testing.T) {
	r := call(t, nil, "", "dial", "-t", "5", "127.0.0.1:1")
	assert.Equal(t, codeFailed, r.code)
	assert.Contains(t, r.stderr, "connection refused")
	r = call(t, nil, "", "dial", "-t", "5", "unix:///no/such/socket")
	assert.Equal(t, codeFailed, r.code)
	assert.Contains(t, r.stderr, "no such file")
}

func TestXMLRPCSaysValuesInJSON(t *testing.T) {
	resourcetest.NothingLeft(t)
	page := startHTTP(t)
	r := call(t, nil, "", "xmlrpc", "-t", "5", page, "kinds")
	assert.Equal(t, ran{stdout: `[7,1.0,true,"AAH/","2024-02-29T12:30:00Z",null,"NaN","<b>"]` + "\n"}, r)

	for arg, want := range map[string]string{
		`7`: `7`, `-9223372036854775808`: `-9223372036854775808`, `1.0`: `1.0`, `2.5e-3`: `0.0025`, `1e3`: `1000.0`, `"t&<x>é"`: `"t&<x>é"`,
		`true`: `true`, `null`: `null`, `[1,[],{}]`: `[1,[],{}]`, `{"a":{"b":[null]}}`: `{"a":{"b":[null]}}`,
	} {
		r = call(t, nil, "", "xmlrpc", "-t", "5", page+"/RPC2", "echo", arg)
		assert.Equal(t, ran{stdout: want + "\n"}, r)
	}
	r = call(t, nil, "", "xmlrpc", "-t", "5", "--output", "json", page, "echo", "1")
	assert.Equal(t, ran{stdout: `{"result":1}` + "\n"}, r)
}

func TestXMLRPCFault(t *testing.T) {
	page := startHTTP(t)
	r := call(t, nil, "", "xmlrpc", "-t", "5", page, "fault")
	assert.Equal(t, codeFailed, r.code)
	assert.Empty(t, r.stdout)
	assert.Contains(t, r.stderr, "fault 4: too many parameters")

	r = call(t, nil, "", "xmlrpc", "-t", "5", "-q", "--output", "json", page, "fault")
	assert.Equal(t, ran{code: codeFailed, stdout: `{"fault":{"code":4,"string":"too many parameters"}}` + "\n"}, r)
}

func TestXMLRPCLogin(t *testing.T) {
	page := startHTTP(t)
	withUser := strings.Replace(page, "http://", "http://url:urlpass@", 1)
	for _, c := range []struct {
		password, url, user, want string
	}{
		{"", page, "", ":"},
		{"secret", page, "", ":"},
		{"secret", page, "bob", "bob:secret"},
		{"", withUser, "", "url:urlpass"},
		{"secret", withUser, "", "url:secret"},
		{"secret", withUser, "bob", "bob:secret"},
	} {
		r := call(t, map[string]string{"CURFEW_PASSWORD": c.password}, "", "xmlrpc", "-t", "5", "--user", c.user, c.url, "whoami")
		assert.Equal(t, ran{stdout: `"` + c.want + `"` + "\n"}, r)
	}
}

func TestXMLRPCEndsOnTime(t *testing.T) {
	resourcetest.NothingLeft(t)
	page := startHTTP(t)
	const limit = 200 * time.Millisecond
	plain := resourcetest.PlainTimer(limit)
	report := filepath.Join(t.TempDir(), "report.json")
	r := call(t, nil, "", "xmlrpc", "-t", "0.2", "--report", report, page, "hang")
	assert.Equal(t, codeExpired, r.code)
	assert.Empty(t, r.stdout)
	assertOnTime(t, readReceipts(t, report)[0], limit, <-plain)
}

func TestXMLRPCBadAnswers(t *testing.T) {
	page := startHTTP(t)
	for method, says := range map[string]string{
		"broken":  "xmlrpc answer",
		"html":    "xmlrpc answer",
		"deep":    "nested too deeply",
		"endless": "larger than",
		"none":    "xmlrpc answer", // an empty body
	} {
		r := call(t, nil, "", "xmlrpc", "-t", "20", page, method)
		assert.Equal(t, codeFailed, r.code, method)
		assert.Contains(t, r.stderr, says, method)
		assert.Empty(t, r.stdout)
	}
	r := call(t, nil, "", "xmlrpc", "-t", "5", page+"/teapot", "m")
	assert.Equal(t, codeFailed, r.code)
	assert.Contains(t, r.stderr, "418")
}

// assertOnTime checks that an expired request was answered at its limit, or as little
// after it as a plain timer was late.
func assertOnTime(t *testing.T, receipt map[string]any, limit, plain time.Duration) {
	t.Helper()
	late := time.Duration(receipt["lateness_ns"].(float64))
	used := time.Duration(receipt["used_ns"].(float64))
	assert.GreaterOrEqual(t, used, limit)
	assert.InDelta(t, used-limit, late, float64(time.Millisecond))
	assert.Less(t, late-plain, slack)
}

// readReceipts reads a report.
func readReceipts(t *testing.T, file string) []map[string]any {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(string(content), "\n"), "%q", content)
	var all []map[string]any
	for line := range strings.Lines(string(content)) {
		var r map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &r))
		require.Equal(t, "curfew.receipt/1", r["schema"])
		all = append(all, r)
	}
	return all
}
