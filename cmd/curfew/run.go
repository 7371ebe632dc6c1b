package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// memoryLimitBytes is where the garbage collector begins to work hard: the largest body or
// answer that is accepted by default is to be had in less than 128 MB.
const memoryLimitBytes = 64 << 20

// app is one invocation of curfew: everything that its commands read and write.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	says           io.Writer // stderr, for what curfew itself says
	getenv         func(string) string
}

// run is curfew as a function. args are without the program's own name. Streams that are
// *os.File are handed to a command as they are. It returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) (code int) {
	says := &speech{newHandover(stderr)}
	defer says.out.close()
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, says: says, getenv: getenv}
	defer func() {
		if v := recover(); v != nil {
			// What was passed to panic may hold anything, a secret too.
			fmt.Fprintf(says, "curfew: internal error (%T): this is a bug\n", v)
			code = codeInternal
		}
	}()
	debug.SetMemoryLimit(memoryLimitBytes)
	defer deafToPipes()()
	root := a.root()
	root.SetArgs(append([]string{}, args...)) // never nil, which to cobra means those of the process
	root.SetIn(stdin)
	texts := &remembered{to: stdout} // help and the like: cobra drops errors
	root.SetOut(texts)
	root.SetErr(says)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil && texts.err != nil {
		return a.unwritten(texts.err)
	}
	return a.finish(cmd, err)
}

// finish turns what cobra returns into an exit code. Every error that is not an exit is
// one of usage: commands say everything else themselves.
func (a *app) finish(cmd *cobra.Command, err error) int {
	if err == nil {
		return codeDone
	}
	if code, ok := errors.AsType[exit](err); ok {
		return int(code)
	}
	fmt.Fprintf(a.says, "%s: %s\nTry '%s --help'.\n", strings.ReplaceAll(cmd.CommandPath(), " ", ": "), usageText(err), cmd.CommandPath())
	return codeUsage
}

// usageText is err without what may be a secret: arguments that stand where flags do.
func usageText(err error) string {
	if e, ok := errors.AsType[*pflag.NotExistError](err); ok {
		if e.GetSpecifiedShortnames() == "" {
			return "unknown flag --" + plainWord(e.GetSpecifiedName())
		}
		return "unknown flag -" + plainWord(e.GetSpecifiedName())
	}
	return err.Error()
}

// plainWord is s if it looks like a word that belongs on a command line, and dots if not.
func plainWord(s string) string {
	strange := func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' }
	if s == "" || len(s) > plainMax || strings.ContainsFunc(s, strange) {
		return "…"
	}
	return s
}

// plainMax is the length of the longest word that is taken for one.
const plainMax = 20

// root is the command without a name of its own, with all others under it.
func (a *app) root() *cobra.Command {
	version := false
	root := &cobra.Command{
		Use:   "curfew",
		Short: "Run commands and make requests that end on time",
		Long: `Curfew runs a command, fetches a URL, talks to a socket or calls an XML-RPC method under
a time limit. When the time is over it ends what it started, and proves it: when curfew
returns, the socket is closed and the processes are dead, or the exit code is 123 and the
message names what is left.

Lengths of time are Go's (1.5s, 2m, 1h30m) or GNU's (5, 0.5, 1d, 1e3).

Exit codes:
    0  done
    1  the operation failed: refused connection, status 4xx or 5xx, fault
    2  usage: bad, zero or negative length of time, no limit, bad URL, no command
   69  refused by policy, load or breaker
  123  something is left over, even after a success
  124  the time was over
  125  curfew itself failed
  126  the command was found and cannot be executed
  127  the command was not found
128+n  ended by signal n; exec otherwise ends with the command's own code`,
		Example: `  curfew exec -t 30 make test
  curfew fetch -t 5 https://www.example.org/
  echo PING | curfew dial -t 2 localhost:6379`,
		Args: a.noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if version {
				return sayVersion(cmd.OutOrStdout(), "text")
			}
			return errors.New("no command is given")
		},
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.Flags().BoolVar(&version, "version", false, "say which curfew this is, as the command does")
	root.AddCommand(a.execCommand(), a.fetchCommand(), a.dialCommand(), a.xmlrpcCommand(), a.versionCommand())
	return root
}

// noSuchCommand is reached with arguments only when the first is no command's name.
func (a *app) noSuchCommand(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("unknown command %q", plainWord(args[0]))
}
