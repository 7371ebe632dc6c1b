package supervisor

import (
	"bytes"
	"context"
	"errors"
	"io"

	"curfew.example/resources"
)

// Cmd is a command to be run under supervision, shaped like exec.Cmd: what is set up for
// the one runs as the other. It is used once, by one goroutine. resources.Command has
// more to set, and is what runs.
type Cmd struct {
	Path string   // the program; looked up on PATH when it has no slash
	Args []string // arguments without the program's own name, unlike exec.Cmd's
	Env  []string // NAME=value; nil is the caller's environment, else all the program gets
	Dir  string   // working directory; empty is the caller's

	// Stdin is what the program reads; nil is the null device. Unlike exec.Cmd's, one that is
	// an io.Closer and no *os.File is closed at the end, which brings a blocked Read back.
	Stdin io.Reader

	Stdout io.Writer // nil discards, as in exec.Cmd
	Stderr io.Writer // nil discards, as in exec.Cmd

	// Result is what became of the command, once it has been run.
	Result *resources.CommandResult

	sup *Supervisor
	ctx context.Context
}

// Command returns the command name with args, to be run under the budget that the policy
// grants, within ctx.
func (s *Supervisor) Command(ctx context.Context, name string, args ...string) *Cmd {
	return &Cmd{Path: name, Args: args, sup: s, ctx: ctx}
}

// Run runs the command and returns when all of it is gone: nil when it exited with 0,
// *resources.ExitError when it did not, or an error of Do.
func (c *Cmd) Run() error {
	if c.Stdout == nil {
		c.Stdout = io.Discard
	}
	if c.Stderr == nil {
		c.Stderr = io.Discard
	}
	return c.run()
}

// Output runs the command and returns its standard output, also what there is of it after
// an expiry; no more than resources.DefaultOutputMaxBytes of it. An *resources.ExitError
// carries the end of its standard error, if Stderr was not set.
func (c *Cmd) Output() ([]byte, error) {
	if c.Stdout != nil {
		return nil, errors.New("supervisor: Stdout already set")
	}
	err := c.run()
	if c.Result == nil {
		return nil, err
	}
	return c.Result.Stdout, err
}

// CombinedOutput runs the command and returns its standard output and standard error as
// they came, without a bound.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	if c.Stdout != nil || c.Stderr != nil {
		return nil, errors.New("supervisor: Stdout or Stderr already set")
	}
	var both bytes.Buffer
	c.Stdout, c.Stderr = &both, &both
	err := c.run()
	if c.Result == nil {
		// A runner that was left behind may still write.
		return nil, err
	}
	return both.Bytes(), err
}

func (c *Cmd) run() error {
	result, err := Do(c.ctx, c.sup, resources.Command{
		Path: c.Path, Args: c.Args, Dir: c.Dir,
		Env: c.Env, CleanEnv: c.Env != nil,
		StdinFrom: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr,
	})
	c.Result = result
	return err
}
