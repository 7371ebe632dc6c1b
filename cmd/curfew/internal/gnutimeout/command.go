//go:build unix

package gnutimeout

import (
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// defaultPath is where programs are looked for without $PATH.
const defaultPath = "/bin:/usr/bin"

// start starts a command as fork(2) and execvp(3) do: found along $PATH, tried again when
// it may not be executed in one place, given to the shell when it is a script that does
// not say by what. exec.LookPath is no substitute, as it has other errors. All
// descriptors that came from outside are passed on.
func start(argv []string, attr *syscall.SysProcAttr) (pid int, err error) {
	denied := false
	for _, path := range candidates(argv[0]) {
		pid, err = startAt(path, argv, attr)
		switch err {
		case syscall.EACCES:
			denied = true
		case syscall.ENOENT, syscall.ENOTDIR, syscall.ESTALE, syscall.ENODEV, syscall.ETIMEDOUT:
			if path == argv[0] {
				return 0, err
			}
		default:
			return pid, err
		}
	}
	if denied {
		return 0, syscall.EACCES
	}
	return 0, syscall.ENOENT
}

func candidates(name string) []string {
	switch {
	case name == "":
		return nil
	case strings.Contains(name, "/"):
		return []string{name}
	}
	path, ok := os.LookupEnv("PATH")
	if !ok {
		path = defaultPath
	}
	var list []string
	for dir := range strings.SplitSeq(path, ":") {
		if dir == "" {
			dir = "."
		}
		list = append(list, dir+"/"+name)
	}
	return list
}

func startAt(path string, argv []string, attr *syscall.SysProcAttr) (int, error) {
	if err := unix.Access(path, unix.X_OK); err != nil { // cheaper than a process to find out
		return 0, err
	}
	p := &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: attr}
	pid, err := syscall.ForkExec(path, argv, p)
	if err == syscall.ENOEXEC {
		const shell = "/bin/sh"
		pid, err = syscall.ForkExec(shell, append([]string{shell, path}, argv[1:]...), p)
	}
	return pid, err
}
