package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// belongings is what this process has of what a request may leave behind.
type belongings struct{ descriptors, goroutines, children int }

// ownedBy counts; children are processes whose environment holds the mark, whoever's they
// are by now. It is 0 where there is no /proc.
func ownedBy(mark string) belongings {
	return belongings{
		descriptors: len(globbed("/proc/self/fd/*")),
		goroutines:  runtime.NumGoroutine(),
		children:    len(marked(mark)),
	}
}

func (b belongings) minus(before belongings) belongings {
	return belongings{b.descriptors - before.descriptors, b.goroutines - before.goroutines, b.children - before.children}
}

func (b belongings) none() bool { return b.descriptors <= 0 && b.goroutines <= 0 && b.children <= 0 }

func globbed(pattern string) []string {
	names, _ := filepath.Glob(pattern) // the one error is a bad pattern
	return names
}

// marked lists the processes whose environment holds mark. Zombies have none: they are
// listed when they are ours to reap.
func marked(mark string) (pids []int) {
	for _, name := range globbed("/proc/[0-9]*/environ") {
		env, err := os.ReadFile(name)
		if err != nil || !bytes.Contains(env, []byte(mark)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}

// sweep ends what a rival has left of processes, so that it does not burden those who come
// after it.
func sweep(mark string) {
	for _, pid := range marked(mark) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// settle waits until what is left over before is gone, no longer than a bound.
func settle(before belongings, mark string, bound time.Duration) {
	end := time.Now().Add(bound)
	for !ownedBy(mark).minus(before).none() && time.Now().Before(end) {
		time.Sleep(50 * time.Millisecond)
	}
}

// blackHole is a listener whose queue is full: the kernel drops what would connect, and
// connect(2) hangs.
type blackHole struct {
	address string
	fd      int
	filling []net.Conn
}

func openBlackHole() (*blackHole, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return nil, fmt.Errorf("black hole: %w", err)
	}
	syscall.CloseOnExec(fd)
	h := &blackHole{fd: fd}
	if err := h.fill(); err != nil {
		h.close()
		return nil, fmt.Errorf("black hole: %w", err)
	}
	return h, nil
}

func (h *blackHole) fill() error {
	if err := syscall.Bind(h.fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return err
	}
	if err := syscall.Listen(h.fd, 0); err != nil {
		return err
	}
	name, err := syscall.Getsockname(h.fd)
	if err != nil {
		return err
	}
	h.address = fmt.Sprintf("127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port)
	for range 16 {
		conn, err := net.DialTimeout("tcp", h.address, 100*time.Millisecond)
		if err != nil {
			return nil // full
		}
		h.filling = append(h.filling, conn)
	}
	return errors.New("the kernel takes any number of connections here")
}

// close has what still tries to connect refused.
func (h *blackHole) close() {
	for _, c := range h.filling {
		_ = c.Close()
	}
	_ = syscall.Close(h.fd)
}
