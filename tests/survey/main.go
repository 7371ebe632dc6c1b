//go:build linux

// Survey shows what wrappers leave of one tree of seven processes when its time is over, as a
// table in Markdown. It builds curfew, and asks those of the others that are installed.
//
//	go run ./tests/survey
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cookie marks the processes of a tree in their environment.
const cookie = "CURFEW_SURVEY"

// tree is a shell with a child, one that ignores TERM and has a child of its own, and three
// that have left for sessions of their own: one holds the pipes, one has closed them, one
// is stopped.
const tree = `
sleep 300 &
sh -c 'trap "" TERM; sleep 300 & exec sleep 300' &
(setsid sleep 300 &)
(setsid sleep 300 </dev/null >/dev/null 2>&1 &)
(setsid sh -c 'kill -STOP $$; sleep 300' &)
wait
`

// wrapper is one way to run the tree for half a second, and to give it another 0.2 s.
type wrapper struct {
	name  string
	needs string // the program that it needs
	args  []string
	run   func(ctx context.Context, env []string) // in place of args
}

func wrappers(curfew string) []wrapper {
	exec := func(how string) wrapper {
		return wrapper{
			name: "curfew exec, " + how, needs: curfew,
			args: []string{curfew, "exec", "-q", "-t", "0.5", "-k", "0.2", "--contain", how, "sh", "-c", tree},
		}
	}
	const python = "import subprocess, sys\ntry: subprocess.run(['sh', '-c', sys.argv[1]], timeout=0.5)\nexcept subprocess.TimeoutExpired: pass"
	return []wrapper{
		{name: "GNU timeout -k", needs: "timeout", args: []string{"timeout", "-k", ".2", ".5", "sh", "-c", tree}},
		{name: "GNU timeout --foreground", needs: "timeout", args: []string{"timeout", "--foreground", "-k", ".2", ".5", "sh", "-c", tree}},
		{name: "Go os/exec CommandContext, WaitDelay", needs: "sh", run: commandContext},
		{name: "Python subprocess.run(timeout)", needs: "python3", args: []string{"python3", "-c", python, tree}},
		{name: "timeout, setsid -w", needs: "setsid", args: []string{"timeout", "-k", ".2", ".5", "setsid", "-w", "sh", "-c", tree}},
		{name: "timeout, tini -s -g", needs: "tini", args: []string{"timeout", "-k", ".2", ".5", "tini", "-s", "-g", "--", "sh", "-c", tree}},
		exec("group"),
		exec("guard"),
		exec("cgroup+guard"),
		exec("namespace+guard"),
	}
}

func commandContext(ctx context.Context, env []string) {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", tree)
	cmd.Env, cmd.WaitDelay = env, 200*time.Millisecond
	cmd.Stdout = io.MultiWriter(io.Discard)
	_ = cmd.Run()
}

func main() {
	dir, err := os.MkdirTemp("", "survey")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	curfew := filepath.Join(dir, "curfew")
	if out, err := exec.Command("go", "build", "-o", curfew, "curfew.example/cmd/curfew").CombinedOutput(); err != nil {
		log.Fatalf("build curfew: %v\n%s", err, out)
	}
	fmt.Printf("Limit 0.5 s, grace 0.2 s; %d cores, user %d, %s.\n\n", runtime.NumCPU(), os.Getuid(), runtime.Version())
	fmt.Println("| Wrapper | Returns after | Left of 7 |")
	fmt.Println("|---|---|---|")
	for _, w := range wrappers(curfew) {
		fmt.Println(w.row())
	}
}

// row runs the tree under the wrapper, and clears away what that has left.
func (w wrapper) row() string {
	if _, err := exec.LookPath(w.needs); err != nil {
		return fmt.Sprintf("| %s | not installed | |", w.name)
	}
	mark := cookie + "=" + strconv.FormatInt(time.Now().UnixNano(), 36)
	env := append(os.Environ(), mark)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	start := time.Now()
	if w.run != nil {
		w.run(ctx, env)
	} else {
		cmd := exec.CommandContext(ctx, w.args[0], w.args[1:]...)
		cmd.Env = env
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // timeout kills its group
		if err := cmd.Run(); cmd.ProcessState == nil {
			return fmt.Sprintf("| %s | does not start: %v | |", w.name, err)
		}
		// Its own codes: nothing was run, of which nothing is left.
		if code := cmd.ProcessState.ExitCode(); slices.Contains([]int{1, 2, 125, 126, 127}, code) {
			return fmt.Sprintf("| %s | not to be had here (code %d) | |", w.name, code)
		}
	}
	took := time.Since(start)
	time.Sleep(200 * time.Millisecond) // what is dying is not left
	left := marked(mark)
	for _, pid := range left {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return fmt.Sprintf("| %s | %.2f s | %d |", w.name, took.Seconds(), len(left))
}

// marked lists the living processes with that mark in their environment.
func marked(mark string) []int {
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	var pids []int
	for _, f := range environs {
		env, err := os.ReadFile(f)
		if err != nil || !bytes.Contains(env, []byte(mark)) {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(filepath.Dir(f), "stat"))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}
