package main

import (
	"context"
	"os/exec"
	"time"
)

const (
	curfewExec = "curfew exec -t 5 --contain group true"
	guardExec  = "curfew exec -t 5 true" // with a guard, and a cgroup where there is one
	gnuTimeout = "timeout 5 true"
)

// commandLine is P5: a program from start to exit, under the command line.
func commandLine() benchmark {
	return benchmark{"P5", "`true` under the command line, start to exit", func(s *suite) (*trial, error) {
		if s.noCLI != nil {
			return nil, s.noCLI
		}
		ops := s.scale(200, 40)
		t := &trial{contenders: []contender{
			shell(curfewExec, ops, s.curfew, "exec", "-t", "5", "--contain", "group", "true"),
			shell(guardExec, ops, s.curfew, "exec", "-t", "5", "true"),
			shell("true", ops, "true"),
		}}
		if path, err := exec.LookPath("timeout"); err != nil {
			t.notes = append(t.notes, "**GNU timeout is absent: it was not measured.**")
		} else {
			t.contenders = append(t.contenders, shell(gnuTimeout, ops, path, "5", "true"))
			t.goals = append(t.goals,
				over(wall, curfewExec, gnuTimeout, nanoseconds).atMost(float64(6*time.Millisecond), float64(8*time.Millisecond)),
				over(wall, guardExec, gnuTimeout, nanoseconds).atMost(float64(12*time.Millisecond), 0))
		}
		return t, nil
	}}
}

// shell runs a program again and again. Allocations are left out: they would be those of
// package os/exec.
func shell(name string, ops int, program string, args ...string) contender {
	c := forks(name, ops, func(ctx context.Context) error { return exec.CommandContext(ctx, program, args...).Run() })
	return contender{name, func(ctx context.Context) (readings, error) {
		got, err := c.run(ctx)
		return got[:min(2, len(got))], err
	}}
}
