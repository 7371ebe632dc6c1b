// Package guard is the process that watches over one command, in place of the runtime,
// which may be killed, stopped or starved. It is the program itself, started anew:
//
//	func main() {
//		guard.Main() // returns at once, unless this process has been started as a guard
//		…
//	}
//
// The line has to be the first: before it the process is the program's, after it the guard's.
// A program without it has no guard, unless resources.Command.Guard names another program
// that has it, curfew for instance.
//
// # What a guard does
//
// It starts the command as its child, in a process group of the command's own (or in the
// runtime's, where the command is to keep the terminal), and is itself in another one, so
// that what the terminal sends to the foreground does not reach it. It is a child subreaper
// (PR_SET_CHILD_SUBREAPER, prctl(2)): a descendant whose parents have all gone becomes its
// child, whatever session it has put itself into.
//
// It signals the tree when the runtime says so. By itself, it kills the tree when the main
// process has ended, when the runtime has gone (the end-of-file of a pipe that nobody else
// holds open), and when the deadline and the grace after it are over, by its own clock; just
// after the deadline it climbs the ladder of signals too, if nobody else has. So a runtime
// that is stopped makes no life longer. The clock is CLOCK_MONOTONIC, which stands still
// while the machine is suspended.
//
// To kill, it writes to cgroup.kill if there is a cgroup, and kills its children until
// wait(2) says that there are none: that is the proof. It then reports what it has seen, and
// ends. What will not die keeps it there: it ends when that has ended.
//
// # Signals
//
// The signals INT, TERM, HUP and QUIT that somebody sends to a guard are passed on to the
// command's group, or to its main process where the group is the runtime's; USR1, USR2 and
// WINCH to the main process. A guard that is killed takes the main process with it
// (PR_SET_PDEATHSIG); the runtime ends the rest as far as it knows it.
//
// # Cost
//
// A guard is one program more to start and to end: on the machine of the README's figures, 4 ms
// on top of the command's own start, of which its program's beginning, before its first line,
// is 2. Linked dynamically, as Go does where there is cgo, that is 0.8 ms more.
//
// # Limits
//
// Guards exist on Linux. Work that was handed to another daemon (at, cron, systemd-run, a
// container engine) is no descendant and not reached. A descendant whose real user is
// another one cannot be signalled by a guard without privilege, unless there is a cgroup.
package guard
