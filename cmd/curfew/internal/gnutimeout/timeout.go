//go:build unix

package gnutimeout

import (
	"fmt"
	"io"
	"os"
)

// The exit codes that are not the command's.
const (
	codeTimedOut     = 124
	codeFailed       = 125
	codeCannotInvoke = 126
	codeNotFound     = 127
	codeSignal       = 128 // plus its number
)

// Main is the program. args are those of the process, its name first, which stands before
// every message. version is what --version says. It returns the exit code, or ends the
// process with the signal that ended the command. It is called once, by main, as it
// changes what belongs to the whole process.
func Main(args []string, version string) int {
	name := args[0]
	asked, err := parse(args[1:])
	if err != nil {
		if text := err.Error(); text != "" {
			fmt.Fprintf(os.Stderr, "%s: %s\n", name, text)
		}
		fmt.Fprintf(os.Stderr, "Try '%s --help' for more information.\n", name)
		return codeFailed
	}
	switch {
	case asked.help:
		return show(name, fmt.Sprintf(helpText, name))
	case asked.version:
		return show(name, fmt.Sprintf("timeout (Curfew) %s\n", version))
	}
	return newJob(name, asked).run()
}

// show writes what was asked for on standard output.
func show(name, text string) int {
	if _, err := io.WriteString(os.Stdout, text); err != nil {
		fmt.Fprintf(os.Stderr, "%s: write error: %s\n", name, reason(err))
		return codeFailed
	}
	return 0
}

const helpText = `Usage: %s [OPTION]... DURATION COMMAND [ARG]...
Run COMMAND, and end it if it still runs after DURATION.

Mandatory arguments to long options are mandatory for short options too.
  -f, --foreground
         leave COMMAND in this process group, so that it may read from
         the terminal and gets the terminal's signals; then only COMMAND
         is timed out, not its children
  -k, --kill-after=DURATION
         send KILL as well, if COMMAND still runs this long after
         it was sent the first signal
  -p, --preserve-status
         exit with the status of COMMAND even when its time was over
  -s, --signal=SIGNAL
         the signal to send when the time is over, TERM by default;
         a name, such as 'HUP', or a number
  -v, --verbose
         say on standard error which signals are sent
      --help        display this help and exit
      --version     output version information and exit

DURATION is a number, which may have a fraction and a suffix: 's' for seconds
(the default), 'm' for minutes, 'h' for hours, 'd' for days. 0 is no limit.

A COMMAND that ignores the signal is waited for, unless --kill-after is given.
When COMMAND has ended after its time was over, what it has left behind is
killed, except with --foreground.

Exit status:
  124  if the time was over, and --preserve-status is not given
  125  if timeout itself fails
  126  if COMMAND is found but cannot be invoked
  127  if COMMAND cannot be found
  137  if COMMAND, or timeout itself, is sent the KILL (9) signal (128+9)
  -    the exit status of COMMAND otherwise
`
