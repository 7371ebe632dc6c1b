package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"time"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

const osExec = "os/exec CommandContext"

// subprocess is P4: a program that does nothing, with both outputs kept.
func subprocess() benchmark {
	return benchmark{"P4", "`true` as a subprocess, both outputs kept, under a limit of 10 s", func(s *suite) (*trial, error) {
		const limit = 10 * time.Second
		path, err := exec.LookPath("true")
		if err != nil {
			return nil, err
		}
		sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(limit)))
		if err != nil {
			return nil, err
		}
		ops := s.scale(300, 60)
		t := &trial{roundsMin: 9, close: func() { _ = sup.Close() }}
		for _, way := range containments() {
			result, err := supervisor.Do(context.Background(), sup, way.of(path))
			if err != nil {
				t.notes = append(t.notes, fmt.Sprintf("**%s was not measured:** %v", way.name, err))
				continue
			}
			t.notes = append(t.notes, fmt.Sprintf("%s: mechanism %s, watchdog %s", way.name, result.Mechanism, result.Watchdog))
			t.contenders = append(t.contenders, forks(way.name, ops, func(ctx context.Context) error {
				_, err := supervisor.Do(ctx, sup, way.of(path))
				return err
			}))
			t.goals = append(t.goals, way.goal)
		}
		t.contenders = append(t.contenders, forks(osExec, ops, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			var stdout, stderr bytes.Buffer
			cmd := exec.CommandContext(ctx, path)
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			return cmd.Run()
		}))
		return t, nil
	}}
}

// containment is one way for Curfew to run a program.
type containment struct {
	name string
	of   func(path string) resources.Command
	goal goal
}

// containments lists the ways to run a program: by its group as os/exec could, and those
// that hold a whole tree.
func containments() []containment {
	contained := func(how string) func(string) resources.Command {
		return func(path string) resources.Command { return resources.Command{Path: path, Containment: how} }
	}
	const guarded, cgrouped, both = curfew + ", guard", curfew + ", cgroup", curfew + ", cgroup+guard"
	return []containment{
		{curfew, contained("group"), ratio(wall, curfew, osExec).atMost(1.05, 0)},
		{guarded, contained("guard"), over(wall, guarded, osExec, nanoseconds).atMost(float64(5*time.Millisecond), 0)},
		{cgrouped, contained("cgroup"), ratio(wall, cgrouped, osExec).atMost(1.3, 0)},
		{both, contained("cgroup+guard"), over(wall, both, osExec, nanoseconds).atMost(float64(5*time.Millisecond), 0)},
	}
}

// forks is loop for work that is done by child processes.
func forks(name string, ops int, op func(context.Context) error) contender {
	return contender{name, func(ctx context.Context) (readings, error) {
		m := startMeter(true)
		for range ops {
			if err := op(ctx); err != nil {
				return nil, err
			}
		}
		return m.each(ops), nil
	}}
}
