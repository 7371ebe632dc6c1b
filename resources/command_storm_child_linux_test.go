package resources_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"curfew.example/resources"
	"curfew.example/resources/guard"
	"curfew.example/resources/resourcetest"
	"curfew.example/timeoutpolicy"
)

// systemChildren are children that this system alone can be.
var systemChildren = map[string]func(){
	"contain-storm":   containStorm,
	"contain-runtime": containRuntime,
	"contain-burn":    containBurn,
	"contain-nowhere": containNowhere,
}

// containStorm is a tree of processes in sessions of their own that ignore TERM; one in
// eight is stopped, one in two holds no pipe but standard output. When they are up it says
// "ready", and there are two more unless containNodes is set: one that forks, leaves and sets up a session anew every
// 0.3 ms, and one that starts a child every 2 ms. All hold standard output open. They are made
// with fork(2), which this program does not survive as a Go program: what follows it are system
// calls and nothing else.
func containStorm() {
	signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	nodes, few := strconv.Atoi(os.Getenv(containNodes))
	if few != nil {
		nodes = stormNodes
	}
	// Each holds up until it is what it becomes.
	up, hold, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	makeNode(hold.Fd())
	for i := range nodes {
		if rawFork() == 0 {
			rawNode(i)
		}
	}
	_ = hold.Close()
	_, _ = io.Copy(io.Discard, up)
	if few != nil {
		if rawFork() == 0 {
			rawHopper()
		}
		if rawFork() == 0 {
			rawSpawner()
		}
	}
	fmt.Println("ready")
	for {
		rawSleep(999999999) // until it is killed
	}
}

// node is what a node becomes, for execve(2): its file, arguments and environment; and what it
// closes by that.
var node struct {
	hold      uintptr
	path      *byte
	args, env []*byte
}

// makeNode makes it before the first fork.
func makeNode(hold uintptr) {
	path, err := exec.LookPath("sleep")
	if err != nil {
		panic(err)
	}
	pointers := func(strings ...string) []*byte {
		var all []*byte
		for _, s := range strings {
			p, err := syscall.BytePtrFromString(s)
			if err != nil {
				panic(err)
			}
			all = append(all, p)
		}
		return append(all, nil)
	}
	node.hold, node.path = hold, pointers(path)[0]
	node.args, node.env = pointers("sleep", "1000"), pointers(os.Environ()...)
}

//go:nosplit
//go:norace
func rawFork() uintptr {
	pid, _, _ := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	return pid
}

//go:nosplit
//go:norace
func rawSleep(ns int64) {
	ts := [2]int64{0, ns}
	syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&ts)), 0, 0)
}

//go:nosplit
//go:norace
func rawNode(i int) {
	syscall.RawSyscall(syscall.SYS_SETSID, 0, 0, 0)
	if i%3 == 0 && rawFork() != 0 {
		// Every third is an orphan.
		syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
	}
	if i%2 == 0 {
		syscall.RawSyscall(syscall.SYS_CLOSE, 2, 0, 0)
	}
	if i%8 == 0 {
		syscall.RawSyscall(syscall.SYS_CLOSE, node.hold, 0, 0)
		pid, _, _ := syscall.RawSyscall(syscall.SYS_GETPID, 0, 0, 0)
		syscall.RawSyscall(syscall.SYS_KILL, pid, uintptr(syscall.SIGSTOP), 0)
	}
	syscall.RawSyscall(syscall.SYS_EXECVE, uintptr(unsafe.Pointer(node.path)),
		uintptr(unsafe.Pointer(&node.args[0])), uintptr(unsafe.Pointer(&node.env[0])))
	for {
		rawSleep(999999999)
	}
}

//go:nosplit
//go:norace
func rawHopper() {
	for {
		rawSleep(300000)
		if rawFork() != 0 {
			syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
		}
		syscall.RawSyscall(syscall.SYS_SETSID, 0, 0, 0)
	}
}

// rawSpawner keeps to a few hundred children, so that a machine survives a test that fails.
//
//go:nosplit
//go:norace
func rawSpawner() {
	for range 500 {
		rawSleep(2000000)
		if rawFork() == 0 {
			syscall.RawSyscall(syscall.SYS_SETSID, 0, 0, 0)
			for {
				rawSleep(999999999)
			}
		}
	}
	for {
		rawSleep(999999999)
	}
}

// containBurn keeps a core busy until its input ends, at the latest with whoever started it.
func containBurn() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	for n := uint64(1); n != 0; n += 2 { // odd numbers, for ever
		_ = n
	}
}

// containNowhere asks for a namespace where none can be made any more, and says what that is.
func containNowhere() {
	if err := os.WriteFile("/proc/sys/user/max_pid_namespaces", []byte("0"), 0); err != nil {
		panic(err)
	}
	c := resources.Command{Path: "true", Containment: "namespace+guard"}
	end := resourcetest.Drive(context.Background(), resources.Of(c), commandBudget, nil)
	fmt.Println(errors.Is(end.Err, resources.ErrNotContained), end.Err)
}

// containRuntime is a runtime with twenty trees, one of them a small storm. Its standard
// output is what all of them hold.
func containRuntime() {
	how, cookie := os.Getenv("HOW"), os.Getenv(containCookie)
	limit, _ := time.ParseDuration(os.Getenv("LIMIT"))
	fmt.Println(guard.Now())
	up := make(chan os.Signal, 1)
	signal.Notify(up, syscall.SIGUSR1)
	// Ends when all are up, or with the process: after it the trees alone hold the pipe.
	go func() {
		<-up
		if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
			_ = syscall.Dup3(int(null.Fd()), 1, 0)
		}
	}()
	var running sync.WaitGroup
	for range 20 {
		c := containChild("contain-storm", cookie, containNodes+"=5")
		c.Containment, c.Stdout = how, os.Stdout
		running.Go(func() {
			end := resourcetest.Drive(context.Background(), resources.Of(c), timeoutpolicy.Budget{Limit: limit, Grace: stoppedGrace}, nil)
			if end.Err != nil && !end.Aborted {
				fmt.Println("failed:", end.Err)
			}
		})
	}
	running.Wait()
}
