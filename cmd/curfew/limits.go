package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"curfew.example/cmd/curfew/internal/duration"
	"curfew.example/timeoutpolicy"
)

// limits are the flags that all requests have, as they were given.
type limits struct {
	timeout, stall, grace, force string
	report                       string
	quiet, verbose               bool
	output                       string
}

// add defines the flags.
func (l *limits) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&l.timeout, "timeout", "t", "", "the limit, `TIME` or none; without it $CURFEW_TIMEOUT")
	f.StringVar(&l.stall, "stall", "", "longest `TIME` without a byte moving")
	f.StringVarP(&l.grace, "grace", "k", "2s", "`TIME` to end before force is used; 0 is none")
	f.StringVar(&l.force, "force", "1s", "`TIME` to wait after force; 0 is none")
	f.StringVar(&l.report, "report", "", "write the receipt, as JSON, to `FILE`; - is stderr")
	f.BoolVarP(&l.quiet, "quiet", "q", false, "no progress, and no message but on wrong usage and leftovers")
	f.BoolVarP(&l.verbose, "verbose", "v", false, "say where the time went")
	f.StringVar(&l.output, "output", "text", "`FORM` of the result: text or json")
}

// json reports whether the result is wanted as JSON.
func (l *limits) json() bool { return l.output == "json" }

// policy is what the flags grant. Without a limit it grants none, and the request is
// refused, with a receipt.
func (l *limits) policy(getenv func(string) string) (timeoutpolicy.Policy, error) {
	if l.output != "text" && l.output != "json" {
		return nil, errors.New("--output: is neither text nor json")
	}
	limit, err := l.limit(getenv)
	if err != nil {
		return nil, err
	}
	stall, err := stallOf(l.stall)
	if err != nil {
		return nil, err
	}
	grace, err := waitOf("-k, --grace", l.grace)
	if err != nil {
		return nil, err
	}
	force, err := waitOf("--force", l.force)
	if err != nil {
		return nil, err
	}
	return timeoutpolicy.Compose(limit, timeoutpolicy.Stall(stall), timeoutpolicy.Grace(grace), timeoutpolicy.Force(force)), nil
}

// limit is the rule that grants the limit; nil when nobody says one.
func (l *limits) limit(getenv func(string) string) (timeoutpolicy.Policy, error) {
	from, text := "-t, --timeout", l.timeout
	if text == "" {
		from, text = "CURFEW_TIMEOUT", getenv("CURFEW_TIMEOUT")
	}
	switch text {
	case "":
		return nil, nil
	case "none":
		return timeoutpolicy.Fixed(timeoutpolicy.Unlimited), nil
	}
	d, err := parseTime(from, text)
	if errors.Is(err, duration.ErrZero) || errors.Is(err, duration.ErrNumber) {
		err = fmt.Errorf("%w; no limit is said as none", err)
	}
	if err != nil {
		return nil, err
	}
	return timeoutpolicy.Fixed(d), nil
}

func stallOf(text string) (time.Duration, error) {
	if text == "" || text == "none" {
		return 0, nil
	}
	return parseTime("--stall", text)
}

// waitOf is a wait of the release, for which zero has a meaning: none.
func waitOf(from, text string) (time.Duration, error) {
	d, err := parseTime(from, text)
	if errors.Is(err, duration.ErrZero) {
		return timeoutpolicy.None, nil
	}
	return d, err
}

// textMax is how much of a wrong text a message shows.
const textMax = 40

// parseTime reads a length of time; the error says where it stood and what it was.
func parseTime(from, text string) (time.Duration, error) {
	d, err := duration.Parse(text)
	if err == nil {
		return d, nil
	}
	shown := []rune(text)
	if len(shown) > textMax {
		shown = append(shown[:textMax], '…')
	}
	return 0, fmt.Errorf("%s: %q %w", from, string(shown), err)
}
