//go:build unix

package gnutimeout

import (
	"fmt"
	"strings"
	"syscall"
	"time"
)

// options are what the command line asks for.
type options struct {
	foreground bool
	killAfter  time.Duration // 0 is never
	preserve   bool
	signal     syscall.Signal
	verbose    bool
	help       bool
	version    bool
	limit      time.Duration // 0 is none
	command    []string
}

// usageError is why a command line is none. An empty one is not explained.
type usageError string

func (e usageError) Error() string { return string(e) }

func usagef(format string, args ...any) error { return usageError(fmt.Sprintf(format, args...)) }

// option is one in its long form; short is 0 where there is none.
type option struct {
	long     string
	short    byte
	argument bool
	set      func(o *options, value string) error
}

// table lists the options in the order in which getopt_long(3) names them.
func table() []option {
	return []option{
		{"foreground", 'f', false, func(o *options, _ string) error { o.foreground = true; return nil }},
		{"kill-after", 'k', true, setKillAfter},
		{"preserve-status", 'p', false, func(o *options, _ string) error { o.preserve = true; return nil }},
		{"signal", 's', true, setSignal},
		{"verbose", 'v', false, func(o *options, _ string) error { o.verbose = true; return nil }},
		{"help", 0, false, func(o *options, _ string) error { o.help = true; return nil }},
		{"version", 0, false, func(o *options, _ string) error { o.version = true; return nil }},
	}
}

func setKillAfter(o *options, value string) (err error) {
	o.killAfter, err = interval(value)
	return err
}

func setSignal(o *options, value string) error {
	sig, ok := parseSignal(value)
	if !ok {
		return usagef("%s: invalid signal", quote(value))
	}
	o.signal = sig
	return nil
}

// parse reads a command line without the program's name, as getopt_long(3) does for a
// program whose options end at the first operand. What comes after a help or version
// option is not looked at.
func parse(args []string) (*options, error) {
	o := &options{signal: syscall.SIGTERM}
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		word := args[0]
		args = args[1:]
		if word == "--" {
			break
		}
		var err error
		if long, ok := strings.CutPrefix(word, "--"); ok {
			args, err = o.long(long, args)
		} else {
			args, err = o.short(word[1:], args)
		}
		if err != nil || o.help || o.version {
			return o, err
		}
	}
	if len(args) < 2 {
		return nil, usageError("")
	}
	o.command = args[1:]
	var err error
	o.limit, err = interval(args[0])
	return o, err
}

// long takes the option in word, which may be abbreviated, and its argument, which may be
// the first of rest. It returns what is left of rest.
func (o *options) long(word string, rest []string) ([]string, error) {
	name, value, given := strings.Cut(word, "=")
	opt, err := find(name)
	switch {
	case err != nil:
		return nil, err
	case !opt.argument && given:
		return nil, usagef("option '--%s' doesn't allow an argument", opt.long)
	case opt.argument && !given:
		if len(rest) == 0 {
			return nil, usagef("option '--%s' requires an argument", opt.long)
		}
		value, rest = rest[0], rest[1:]
	}
	return rest, opt.set(o, value)
}

// find finds an option by its name or the beginning of it.
func find(name string) (option, error) {
	var matches []option
	var names strings.Builder
	for _, opt := range table() {
		if opt.long == name {
			return opt, nil
		}
		if strings.HasPrefix(opt.long, name) {
			matches = append(matches, opt)
			fmt.Fprintf(&names, " '--%s'", opt.long)
		}
	}
	switch len(matches) {
	case 0:
		return option{}, usagef("unrecognized option '--%s'", name)
	case 1:
		return matches[0], nil
	}
	return option{}, usagef("option '--%s' is ambiguous; possibilities:%s", name, names.String())
}

// short takes the options in letters. The argument of one is the rest of them, or the
// first of rest. It returns what is left of rest.
func (o *options) short(letters string, rest []string) ([]string, error) {
	for letters != "" {
		letter := letters[0]
		letters = letters[1:]
		opt, ok := findShort(letter)
		if !ok {
			return nil, usagef("invalid option -- '%c'", letter)
		}
		value := ""
		if opt.argument {
			if value, letters = letters, ""; value == "" {
				if len(rest) == 0 {
					return nil, usagef("option requires an argument -- '%c'", letter)
				}
				value, rest = rest[0], rest[1:]
			}
		}
		if err := opt.set(o, value); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

func findShort(letter byte) (option, bool) {
	for _, opt := range table() {
		if opt.short != 0 && opt.short == letter {
			return opt, true
		}
	}
	return option{}, false
}
