//go:build unix

package gnutimeout

import (
	"syscall"
	"time"
)

func Interval(s string) (time.Duration, error)    { return interval(s) }
func ParseSignal(s string) (syscall.Signal, bool) { return parseSignal(s) }
func SignalName(sig syscall.Signal) string        { return signalName(sig) }
func Quote(s string) string                       { return quote(s) }
func IsUTF8(getenv func(string) string) bool      { return isUTF8(getenv) }

// Parse returns the command and the error's text.
func Parse(args ...string) (command []string, message string) {
	o, err := parse(args)
	if err != nil {
		return nil, err.Error()
	}
	return o.command, ""
}
