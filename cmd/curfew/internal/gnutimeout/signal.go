//go:build unix

package gnutimeout

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// signalMax is the greatest number of a signal.
const signalMax = 64

// parseSignal reads a signal: a number, a name with or without SIG in either case, or 0
// or EXIT, which is sent to nobody. A number may be the status by which a shell or
// wait(2) tells of a signal: 137 is 9.
func parseSignal(s string) (syscall.Signal, bool) {
	if s != "" && s[0] >= '0' && s[0] <= '9' {
		n, err := strconv.ParseInt(s, 10, 32)
		if n >= 0xff {
			n &= 0xff
		} else {
			n &= 0x7f
		}
		return syscall.Signal(n), err == nil && n <= signalMax
	}
	upper := strings.ToUpper(s)
	if sig, ok := signalByName(upper); ok {
		return sig, true
	}
	after, found := strings.CutPrefix(upper, "SIG")
	if !found {
		return 0, false
	}
	if n, err := strconv.ParseUint(after, 10, 8); err == nil {
		return syscall.Signal(n), n <= signalMax
	}
	return signalByName(after)
}

// signalByName knows names without SIG, in capitals.
func signalByName(name string) (syscall.Signal, bool) {
	switch name {
	case "EXIT":
		return 0, true
	case "IOT":
		name = "ABRT"
	case "CLD":
		name = "CHLD"
	case "POLL":
		name = "IO"
	}
	if sig := unix.SignalNum("SIG" + name); sig != 0 {
		return sig, true
	}
	if offset, ok := strings.CutPrefix(name, "RTMIN"); ok {
		return realTime(rtMin, offset)
	}
	if offset, ok := strings.CutPrefix(name, "RTMAX"); ok {
		return realTime(rtMax, offset)
	}
	return 0, false
}

func realTime(base int, offset string) (syscall.Signal, bool) {
	if offset == "" {
		offset = "0"
	}
	n, err := strconv.Atoi(offset)
	sig := base + n
	return syscall.Signal(sig), err == nil && rtMin <= sig && sig <= rtMax
}

// signalName is the name of a signal without SIG, or its number.
func signalName(sig syscall.Signal) string {
	n := int(sig)
	name := unix.SignalName(sig)
	switch {
	case name == "SIGIO":
		return "POLL"
	case name != "":
		return strings.TrimPrefix(name, "SIG")
	case n < rtMin || n > rtMax:
		return strconv.Itoa(n)
	case n == rtMin:
		return "RTMIN"
	case n == rtMax:
		return "RTMAX"
	case n <= rtMin+(rtMax-rtMin)/2:
		return fmt.Sprintf("RTMIN%+d", n-rtMin)
	}
	return fmt.Sprintf("RTMAX%+d", n-rtMax)
}
