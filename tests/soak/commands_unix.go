//go:build unix

package main

import "curfew.example/resources"

// commands are process trees that end, hang, fork and ignore their signals.
func commands() []fault {
	sh := func(script string) resources.Command {
		return resources.Command{Path: "sh", Args: []string{"-c", script}}
	}
	return []fault{
		use("command", sh("echo done")),
		use("command fails", sh("exit 3")),
		use("command hangs", sh("echo begun; sleep 60")),
		use("command ignores TERM", sh("trap '' TERM; sleep 60 & wait; sleep 60")),
		use("command leaves a child", sh("sleep 60 & echo done")),
		use("command floods", sh("yes")),
		use("command is not there", resources.Command{Path: "no-such-program"}),
	}
}
