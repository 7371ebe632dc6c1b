package main

import (
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// sample is what the process holds. Counts are -1 where they cannot be had.
type sample struct {
	descriptors, goroutines, children int
	heap, resident                    int // MB
}

// settled takes a sample when what is going has gone.
func settled() sample {
	time.Sleep(3 * time.Second)
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return sample{
		descriptors: entries("/proc/self/fd"),
		goroutines:  runtime.NumGoroutine(),
		children:    children(),
		heap:        int(m.HeapAlloc >> 20),
		resident:    resident(),
	}
}

func (s sample) row(name string) string {
	return fmt.Sprintf("| %s | %d | %d | %d | %d | %d |", name, s.descriptors, s.goroutines, s.children, s.heap, s.resident)
}

// grownFrom allows for idle connections that come and go, and for what the runtime keeps.
func (s sample) grownFrom(start sample) bool {
	return s.descriptors > start.descriptors+10 || s.goroutines > start.goroutines+10 ||
		s.children > start.children || s.heap > start.heap+20
}

func entries(dir string) int {
	e, err := os.ReadDir(dir)
	if err != nil {
		return -1
	}
	return len(e)
}

// children counts the processes whose parent is this one.
func children() int {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return -1
	}
	n := 0
	for _, t := range tasks {
		b, _ := os.ReadFile("/proc/self/task/" + t.Name() + "/children")
		n += len(strings.Fields(string(b)))
	}
	return n
}

func resident() int {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return -1
	}
	pages, _ := strconv.Atoi(strings.Fields(string(b))[1])
	return pages * os.Getpagesize() >> 20
}
