// Rivals measures Curfew beside what one would use in its place: everything interleaved in
// one run of one process, several rounds, medians with their spread, as a Markdown table.
//
// In its own directory:
//
//	CGO_ENABLED=0 go run . -out rivals.md # the figures: a quiet machine with 24 GB, half an hour
//	go run . -short -gate              # what CI runs: fails on allocations and on same-run ratios
//	go run . -only P1,P7 -rounds 9
//
// Without cgo, as the README has curfew installed: the dynamic linker adds 0.8 ms to each start
// of this program as a guard. -short needs no such care.
//
// Servers that the work talks to, and the curfew program itself, are built and started before
// the first clock is read. CPU time and allocations are the process's own; a server's are not
// among them. A round in which other processes took more than -noise of the machine is thrown
// away and made again.
//
// It runs on Linux; elsewhere it may build, and says of what it cannot count that it is absent.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"strings"
	"syscall"

	"curfew.example/resources/guard"
)

func main() {
	guard.Main()
	if isPeer() {
		servePeer()
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "rivals:", err)
		os.Exit(1)
	}
}

// errGate says that the gate is shut: what CI must not let pass.
var errGate = errors.New("the gate is shut")

// run measures and writes the table to stdout, or to the file of -out; how it gets on goes to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s := &suite{progress: stderr}
	flags := flag.NewFlagSet("rivals", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&s.short, "short", false, "less of everything: for CI, not for figures")
	flags.IntVar(&s.rounds, "rounds", 0, "rounds that count of each benchmark, nine at least where they differ a lot (default 7, with -short 3)")
	flags.Float64Var(&s.noiseMax, "noise", 0.10, "share of the machine that others may take in a round; 1 takes every round")
	flags.StringVar(&s.curfew, "curfew", "", "path of a curfew program that is built already (default: built from ../..)")
	only := flags.String("only", "", "ids of the benchmarks to run, as P1,P7 (default all)")
	out := flags.String("out", "", "file for the table, beside standard output")
	flags.StringVar(&s.turns, "turns", "", "take only the contenders whose name begins so: for profiles, as the goals are then not measured")
	profile := flags.String("cpuprofile", "", "file for a profile of the measuring")
	gate := flags.Bool("gate", false, "exit with 1 when allocations or same-run ratios are beyond their floors")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unknown argument %q", flags.Arg(0))
	}
	chosen, err := choose(benchmarks(), *only)
	if err != nil {
		return err
	}
	if s.rounds <= 0 {
		s.rounds = 7
		if s.short {
			s.rounds = 3
		}
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	defer s.close()
	stopProfile, err := startProfile(*profile)
	if err != nil {
		return err
	}
	results, runErr := s.run(ctx, chosen)
	if err := stopProfile(); err != nil {
		return err
	}
	text := report(machine(), s, results)
	if _, err := io.WriteString(stdout, text); err != nil {
		return err
	}
	if *out != "" {
		if err := os.WriteFile(*out, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if runErr != nil {
		return runErr
	}
	if shut := shutGates(results); *gate && len(shut) > 0 {
		return fmt.Errorf("%w:\n  %s", errGate, strings.Join(shut, "\n  "))
	}
	return nil
}

// startProfile profiles the processor time of this process; an empty path is no profile.
func startProfile(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// benchmarks is the table, in its order.
func benchmarks() []benchmark {
	return []benchmark{
		function(), sessionRequest(), fetch(), subprocess(), commandLine(), xmlRPC(),
		latePrecision(), stubborn(), nothingLeft(), scaling(),
		outstanding(), // last: a process that has had millions of goroutines is no longer as the others found it
	}
}

// choose picks the benchmarks that only names; empty is all.
func choose(all []benchmark, only string) ([]benchmark, error) {
	if only == "" {
		return all, nil
	}
	var chosen []benchmark
	for id := range strings.SplitSeq(only, ",") {
		found := false
		for _, b := range all {
			if strings.EqualFold(b.id, strings.TrimSpace(id)) {
				chosen, found = append(chosen, b), true
			}
		}
		if !found {
			return nil, fmt.Errorf("-only: there is no benchmark %q", id)
		}
	}
	return chosen, nil
}
