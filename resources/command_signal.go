package resources

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
)

// signalMax is the greatest number of a signal.
const signalMax = 64

// ParseSignal reads a signal as kill(1) and timeout(1) do: a name with or without SIG, in
// either case ("TERM", "SIGTERM", "term"), on Linux a real-time signal ("RTMIN+1", "RTMAX-2"), or
// a number up to 64. "0" and "EXIT" are signal 0, which is sent to nobody. The error is
// an *Invalid for the field Signal.
func ParseSignal(s string) (syscall.Signal, error) {
	if n, err := strconv.ParseUint(s, 10, 8); err == nil && n <= signalMax {
		return syscall.Signal(n), nil
	}
	name := strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if name == "EXIT" {
		return 0, nil
	}
	if sig, ok := parseRealTime(name); ok {
		return sig, nil
	}
	if sig := signalNumber("SIG" + name); sig != 0 {
		return sig, nil
	}
	return 0, &Invalid{Kind: commandKind, Field: "Signal", Why: fmt.Sprintf("unknown signal %q", s)}
}

func parseRealTime(name string) (syscall.Signal, bool) {
	base, offset, found := rtMin, "", false
	if offset, found = strings.CutPrefix(name, "RTMIN"); !found {
		base = rtMax
		if offset, found = strings.CutPrefix(name, "RTMAX"); !found {
			return 0, false
		}
	}
	n := 0
	if offset != "" {
		var err error
		if n, err = strconv.Atoi(offset); err != nil || (offset[0] != '+' && offset[0] != '-') {
			return 0, false
		}
	}
	sig := base + n
	return syscall.Signal(sig), rtMin <= sig && sig <= rtMax
}

// SignalName names a signal without SIG: "TERM", "RTMIN+1". One without a name is its
// number. ParseSignal reads what it returns.
func SignalName(sig syscall.Signal) string {
	if name := signalName(sig); name != "" {
		return strings.TrimPrefix(name, "SIG")
	}
	if rtMin <= sig && sig <= rtMax {
		return fmt.Sprintf("RTMIN+%d", int(sig)-rtMin)
	}
	return strconv.Itoa(int(sig))
}
