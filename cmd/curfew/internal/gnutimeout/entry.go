//go:build unix

package gnutimeout

import (
	"syscall"
	_ "unsafe" // for go:linkname
)

// ignored is what this process was to do with each signal when it was started: 0 the usual,
// 1 nothing, as SIG_DFL and SIG_IGN of sigaction(2). blocked is its signal mask then, one
// bit a signal, the first for signal 1. A command inherits both, but before any Go code runs
// Go's runtime puts handlers in the place of what was ignored, all but SIGHUP and SIGINT,
// lets signals in that were blocked, and tells nobody what was there. It does keep it, in
// variables of its own: the former for handlers in C, the latter for new threads.
//
// Those variables are these. The linker refuses to let a package refer to what is private
// to the runtime, but where a variable has two definitions it takes the one with contents,
// and the runtime's have none; hence the 1 in each, in a place that the runtime leaves
// alone: signal 0, which is none, and the word after the longest mask. So this works with a
// plain go build and go install, and costs 1 kB.
//
// The price is that it rests on the names of private variables. Where a later Go gives them
// others, these stay as they are written here: nothing was ignored or blocked, and the
// command gets the usual effect of signals that were. The tests notice that. Where a later
// Go refuses to link it, delete the directives: the loss is the same. The variables must
// not be smaller than the runtime's; no system has more than 128 signals.
//
//go:linkname ignored runtime.fwdSig
var ignored = [129]uintptr{0: 1}

//go:linkname blocked runtime.initSigmask
var blocked = [5]uint32{4: 1}

// ignoredOnEntry reports whether sig was ignored when this process was started.
func ignoredOnEntry(sig syscall.Signal) bool {
	return 0 < sig && int(sig) < len(ignored) && ignored[sig] == 1
}

// blockedOnEntry reports whether sig was blocked when this process was started.
func blockedOnEntry(sig syscall.Signal) bool {
	n := int(sig) - 1
	return 0 <= n && n < 128 && blocked[n/32]>>(n%32)&1 != 0
}
