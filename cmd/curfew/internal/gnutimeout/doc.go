// Package gnutimeout is timeout(1) of GNU coreutils, as of 9.10: options, messages, exit
// codes, signals, and what the command inherits. It is written anew; nothing is taken
// from there but the behaviour.
//
// It is for a process that does nothing else: it makes the process the leader of a group,
// takes its signals, waits for its children, and may end it with a signal.
//
// # Beyond GNU
//
// When the time was over and the command has ended, its other descendants are killed, in
// whatever group or session they are; GNU's reaches the group only. It takes Linux, and is
// not done with --foreground, which says that children are not to be timed out, nor where
// the process had children before it became timeout (sh -c 'x & exec timeout 5 y'): an
// orphan of theirs could not be told from one of the command's. To that end the process
// adopts orphans while the command runs: until timeout ends, their parent is timeout and
// not init.
//
// # Short of GNU
//
// Go's runtime keeps a few signals for itself. SIGPROF is not passed on, nor is SIGURG
// with -s URG. The first real-time signal, 34, ends timeout, and with it the command,
// which gets its signal from the kernel. What was ignored on entry of SIGPROF, SIGSYS and
// those that processors raise, such as SIGSEGV, is not ignored in the command; what was
// blocked on entry is blocked in the command on Linux only. A standard stream that was
// closed on entry is the null device in the command.
package gnutimeout
