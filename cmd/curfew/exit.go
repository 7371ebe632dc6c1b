package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
)

// The exit codes. A command's own code, and 128 plus the number of a signal, come on top.
const (
	codeDone          = 0
	codeFailed        = 1
	codeUsage         = 2
	codeRefused       = 69 // EX_UNAVAILABLE of sysexits.h
	codeLeftover      = 123
	codeExpired       = 124
	codeInternal      = 125
	codeNotExecutable = 126
	codeNotFound      = 127
	codeSignal        = 128
)

// exit is the error of a command that has said all there is to say: its exit code.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// exitWith is what a command returns to cobra.
func exitWith(code int) error {
	if code == codeDone {
		return nil
	}
	return exit(code)
}

// interrupted is the cause of a request that a signal to curfew itself has ended.
type interrupted struct{ signal os.Signal }

func (e *interrupted) Error() string { return "signal: " + e.signal.String() }

// outcomeCode is the exit code of a request. What is left over comes first: whoever reads
// the code has to know that there is something to look after.
func outcomeCode(r *actors.Receipt, err error) int {
	if len(r.Leftover) > 0 {
		return codeLeftover
	}
	switch r.Outcome {
	case actors.Completed:
		return completedCode(err)
	case actors.Expired:
		return codeExpired
	case actors.Cancelled:
		return cancelledCode(err)
	case actors.Refused:
		return refusedCode(err)
	case actors.Failed:
		return failedCode(err)
	}
	return codeInternal
}

// completedCode: an error after a success is a release that failed.
func completedCode(err error) int {
	if err != nil {
		return codeLeftover
	}
	return codeDone
}

func cancelledCode(err error) int {
	e, ok := errors.AsType[*interrupted](err)
	if !ok {
		return codeInternal
	}
	if sig, ok := e.signal.(syscall.Signal); ok {
		return codeSignal + int(sig)
	}
	return codeFailed
}

func refusedCode(err error) int {
	_, invalid := errors.AsType[*resources.Invalid](err)
	switch {
	case invalid, errors.Is(err, supervisor.ErrNoLimit):
		return codeUsage
	case errors.Is(err, supervisor.ErrClosed):
		return codeInternal
	}
	return codeRefused
}

func failedCode(err error) int {
	if _, ok := errors.AsType[*resources.Invalid](err); ok {
		return codeUsage
	}
	if e, ok := errors.AsType[*resources.ExitError](err); ok {
		return commandCode(e)
	}
	if e, ok := errors.AsType[*resources.StartError](err); ok {
		return startCode(e)
	}
	return codeFailed
}

func commandCode(e *resources.ExitError) int {
	if e.Signal == "" {
		return e.Code
	}
	sig, err := resources.ParseSignal(e.Signal)
	if err != nil {
		return codeInternal
	}
	return codeSignal + int(sig)
}

// startCode tells the reasons apart as timeout(1) does: missing, short of what starting
// takes, and everything else that keeps a program from being executed.
func startCode(e *resources.StartError) int {
	switch {
	case errors.Is(e, context.Canceled), errors.Is(e, context.DeadlineExceeded), errors.Is(e, resources.ErrNotContained):
		return codeInternal
	case errors.Is(e, exec.ErrNotFound), errors.Is(e, fs.ErrNotExist):
		return codeNotFound
	case errors.Is(e, syscall.EAGAIN), errors.Is(e, syscall.ENOMEM), errors.Is(e, syscall.EMFILE), errors.Is(e, syscall.ENFILE):
		return codeInternal
	}
	return codeNotExecutable
}
