package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// noise listens for what other processes take of the machine. Processor time of ours, of our
// peer and of our dead children is no noise; time stolen by a hypervisor is.
type noise struct {
	peer  *peer
	start processors
	own   time.Duration
}

// processors is what all processors together have done since they were started, in ticks
// of a hundredth of a second (proc_stat(5)). The zero value is "unknown".
type processors struct{ busy, total float64 }

const ticksPerSecond = 100 // USER_HZ, which is this on every Linux that Go runs on

func listenForNoise(p *peer) *noise {
	return &noise{peer: p, start: readProcessors(), own: ourTime(p)}
}

// stop returns the others' share of the machine, from 0 to 1; 0 where it is not known.
func (n *noise) stop() float64 {
	now, own := readProcessors(), ourTime(n.peer)-n.own
	total := now.total - n.start.total
	if total <= 0 {
		return 0
	}
	others := now.busy - n.start.busy - own.Seconds()*ticksPerSecond
	return max(0, others/total)
}

func ourTime(p *peer) time.Duration {
	used := processorTime(true)
	if p != nil {
		used += timeOf(p.pid())
	}
	return used
}

func readProcessors() (p processors) {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line)
	// cpu user nice system idle iowait irq softirq steal; guest time is within user.
	for i, f := range fields {
		if i == 0 || i > 8 {
			continue
		}
		v, _ := strconv.ParseFloat(f, 64)
		p.total += v
		if i != 4 && i != 5 {
			p.busy += v
		}
	}
	return p
}

// timeOf is the processor time of another process, 0 where it is not known.
func timeOf(pid int) time.Duration {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	// The name in the second field may hold anything, but its bracket is the last one.
	_, rest, ok := bytes.Cut(text[max(0, bytes.LastIndexByte(text, ')')):], []byte(") "))
	fields := strings.Fields(string(rest))
	if !ok || len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseInt(fields[11], 10, 64)
	system, _ := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * time.Second / ticksPerSecond
}
