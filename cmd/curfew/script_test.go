//go:build unix

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
)

// TestScripts runs curfew as a whole process, as the scripts in testdata/script say. Beside
// testscript's own commands they have
//
//	exits CODE COMMAND [ARG…]       runs it, and checks its exit code
//	takes FROM TO CODE COMMAND …    and how long it takes
//	alive FILE                      as an exits' command: is the process whose number FILE has there?
//	receipt FILE PATH=VALUE…        checks fields of the receipts in FILE, line 1 unless
//	                                the path begins with N: ; PATH= is null, PATH=* is anything else
func TestScripts(t *testing.T) {
	tools := t.TempDir()
	writeFile(t, filepath.Join(tools, "alive"), []byte(alive))
	require.NoError(t, os.Chmod(filepath.Join(tools, "alive"), 0o700))
	page := startHTTP(t)
	upperAt := startPeer(t, "tcp", "127.0.0.1:0", upper)
	greeterAt := startPeer(t, "tcp", "127.0.0.1:0", greeter)
	floodAt := startPeer(t, "tcp", "127.0.0.1:0", flood)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", os.Getenv("GORACE"))
			e.Setenv("PAGE", page)
			e.Setenv("PATH", e.Getenv("PATH")+":"+tools)
			e.Setenv("UPPER", upperAt)
			e.Setenv("GREETER", greeterAt)
			e.Setenv("FLOOD", floodAt)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "takes": takes, "receipt": checkReceipt,
		},
	})
}

// alive fails when the process has gone; a zombie has.
const alive = `#!/bin/sh
test -s "$1" || exit 99
kill -0 "$(cat "$1")" 2>/dev/null || exit 1
case "$(ps -o stat= -p "$(cat "$1")")" in ""|Z*) exit 1;; esac
`

// exits is the script command of that name.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG…]")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if want, err := strconv.Atoi(args[0]); err != nil || code != want {
		ts.Fatalf("exit code %d, not %s", code, args[0])
	}
}

// takes is the script command of that name.
func takes(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 4 {
		ts.Fatalf("usage: takes FROM TO CODE COMMAND [ARG…]")
	}
	from, err := time.ParseDuration(args[0])
	ts.Check(err)
	to, err := time.ParseDuration(args[1])
	ts.Check(err)
	start := time.Now()
	exits(ts, neg, args[2:])
	if took := time.Since(start); took < from || took > to {
		ts.Fatalf("took %s", took)
	}
}

// checkReceipt is the script command "receipt".
func checkReceipt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: receipt FILE PATH=VALUE…")
	}
	lines := strings.Split(strings.TrimSuffix(ts.ReadFile(args[0]), "\n"), "\n")
	for _, check := range args[1:] {
		path, want, ok := strings.Cut(check, "=")
		if !ok {
			ts.Fatalf("%s is not PATH=VALUE", check)
		}
		line := 1
		if n, rest, ok := strings.Cut(path, ":"); ok {
			line, _ = strconv.Atoi(n)
			path = rest
		}
		if line > len(lines) {
			ts.Fatalf("there are %d receipts", len(lines))
		}
		var receipt any
		ts.Check(json.Unmarshal([]byte(lines[line-1]), &receipt))
		got, there := field(receipt, path)
		if !there || (want == "*" && got == "") || (want != "*" && got != want) {
			ts.Fatalf("%s is %q (there: %t), not %q", path, got, there, want)
		}
	}
}

// field follows a dotted path and says what is there: null is empty, a list its length.
func field(v any, path string) (string, bool) {
	for _, name := range strings.Split(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return "", false
		}
		if v, ok = m[name]; !ok {
			return "", false
		}
	}
	switch v := v.(type) {
	case nil:
		return "", true
	case []any:
		return strconv.Itoa(len(v)), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	}
	return fmt.Sprint(v), true
}
