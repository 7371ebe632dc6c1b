package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
)

func TestExitCodes(t *testing.T) {
	left := []resources.Leftover{{What: "process x"}}
	start := func(err error) error { return &resources.StartError{Target: "x", Err: err} }
	for _, c := range []struct {
		want    int
		outcome actors.Outcome
		left    []resources.Leftover
		err     error
	}{
		{0, actors.Completed, nil, nil},
		{123, actors.Completed, left, &supervisor.Unreleased{}},
		{123, actors.Completed, left, nil},
		{123, actors.Completed, nil, errors.New("release failed")},
		{123, actors.Expired, left, nil},
		{123, actors.Failed, left, &resources.ExitError{Code: 3}},
		{124, actors.Expired, nil, errors.Join(errors.New("x"), &resources.ExitError{Code: 3})},
		{125, actors.Panicked, nil, &supervisor.Panicked{}},
		{125, actors.Undecided, nil, nil},
		{130, actors.Cancelled, nil, fmt.Errorf("cancelled: %w", &interrupted{syscall.SIGINT})},
		{143, actors.Cancelled, nil, &interrupted{syscall.SIGTERM}},
		{125, actors.Cancelled, nil, supervisor.ErrClosed},
		{2, actors.Refused, nil, fmt.Errorf("x: %w", supervisor.ErrNoLimit)},
		{2, actors.Refused, nil, &resources.Invalid{}},
		{69, actors.Refused, nil, supervisor.ErrOverloaded},
		{69, actors.Refused, nil, supervisor.ErrTooLate},
		{69, actors.Refused, nil, errors.New("the policy says no")},
		{125, actors.Refused, nil, supervisor.ErrClosed},
		{1, actors.Failed, nil, &resources.StatusError{Status: 500}},
		{1, actors.Failed, nil, &resources.Fault{Code: 1}},
		{1, actors.Failed, nil, syscall.ECONNREFUSED},
		{3, actors.Failed, nil, &resources.ExitError{Code: 3}},
		{137, actors.Failed, nil, &resources.ExitError{Code: -1, Signal: "KILL"}},
		{127, actors.Failed, nil, start(exec.ErrNotFound)},
		{127, actors.Failed, nil, start(fs.ErrNotExist)},
		{126, actors.Failed, nil, start(fs.ErrPermission)},
		{126, actors.Failed, nil, start(syscall.ENOEXEC)},
		{126, actors.Failed, nil, start(exec.ErrDot)},
		{125, actors.Failed, nil, start(syscall.EAGAIN)},
		{125, actors.Failed, nil, start(fmt.Errorf("%w: no guard", resources.ErrNotContained))},
	} {
		got := outcomeCode(&actors.Receipt{Outcome: c.outcome, Leftover: c.left}, c.err)
		assert.Equal(t, c.want, got, "%s: %v", c.outcome, c.err)
	}
}
