package guard

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Plan is what a guard is told before it starts the command. Names and arguments are bytes,
// as they need not be UTF-8.
type Plan struct {
	Path []byte
	Args [][]byte // with the program's own name
	Env  [][]byte
	Dir  []byte // empty is the guard's

	Group  int    // the process group to join; 0 is one of its own
	Cgroup []byte // directory of the cgroup to start it in; empty is none

	Namespace bool // a PID namespace of its own
	Leave     bool // what is left when the main process has ended by itself is left alone
	Limits    Limits

	DeadlineNS int64 // on CLOCK_MONOTONIC; 0 is none
	GraceNS    int64 // from the deadline, or the first signal of the ladder, to the kill
	Ladder     []Rung
}

// Rung is one signal of a ladder and the wait after it.
type Rung struct {
	Signal int
	WaitNS int64
}

// Limits are resource limits of each process: see getrlimit(2). Zero is as it was.
type Limits struct {
	MemoryBytes uint64 // RLIMIT_AS
	Files       uint64 // RLIMIT_NOFILE
	CPUSeconds  uint64 // RLIMIT_CPU
	Processes   uint64 // RLIMIT_NPROC
}

// Word is one message of a guard to its runtime: one of its fields is set.
type Word struct {
	Started *Started `json:"started,omitempty"`
	Failed  *Failed  `json:"failed,omitempty"`
	Exited  *Exited  `json:"exited,omitempty"`
	Gone    *Gone    `json:"gone,omitempty"`
}

// Started says that the command runs.
type Started struct {
	PID    int  `json:"pid"`
	Cgroup bool `json:"cgroup"` // it is in the cgroup
}

// Failed says that the command could not be started.
type Failed struct {
	Errno       int  `json:"errno"`
	NoNamespace bool `json:"no_namespace,omitempty"` // that was to be had first: the command was not tried
}

// Exited says how the main process has ended, and what it and those it waited for used.
type Exited struct {
	Code        int   `json:"code"`   // -1 when it was ended by a signal
	Signal      int   `json:"signal"` // 0 when it exited
	UserNS      int64 `json:"user_ns"`
	SystemNS    int64 `json:"system_ns"`
	MaxRSSBytes int64 `json:"max_rss_bytes"`
}

// Gone says that nothing is left, or that the rest is left alone. It is the last word.
type Gone struct {
	Seen   int `json:"seen"`
	Killed int `json:"killed"`
}

// wordMax bounds a message in bytes, its end of line included.
const wordMax = 1 << 10

// signalMax is the greatest number of a signal.
const signalMax = 64

var errBadWord = errors.New("unreadable word of the guard")

// ReadWord reads the next message. What it reads comes from another process and is believed
// no further than it makes sense. io.EOF is the end.
func ReadWord(r *bufio.Reader) (Word, error) {
	line, err := r.ReadSlice('\n')
	switch {
	case err == io.EOF && len(line) == 0:
		return Word{}, io.EOF
	case err == io.EOF || errors.Is(err, bufio.ErrBufferFull):
		return Word{}, errBadWord
	case err != nil:
		return Word{}, err
	}
	return ParseWord(line)
}

// NewReader returns a reader for ReadWord, which takes no longer message than there can be.
func NewReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, wordMax) }

// ParseWord makes a message of one line.
func ParseWord(line []byte) (Word, error) {
	var w Word
	if len(line) > wordMax {
		return Word{}, errBadWord
	}
	if err := json.Unmarshal(line, &w); err != nil {
		return Word{}, fmt.Errorf("%w: %w", errBadWord, err)
	}
	if !w.sane() {
		return Word{}, errBadWord
	}
	return w, nil
}

func (w Word) sane() bool {
	set, ok := 0, true
	if s := w.Started; s != nil {
		set, ok = set+1, ok && s.PID > 1
	}
	if f := w.Failed; f != nil {
		set, ok = set+1, ok && f.Errno > 0 && f.Errno < 1<<12
	}
	if e := w.Exited; e != nil {
		bySignal := e.Code == -1 && e.Signal > 0 && e.Signal <= signalMax
		byExit := e.Signal == 0 && e.Code >= 0 && e.Code <= 255
		set, ok = set+1, ok && (bySignal || byExit) && e.UserNS >= 0 && e.SystemNS >= 0 && e.MaxRSSBytes >= 0
	}
	if g := w.Gone; g != nil {
		set, ok = set+1, ok && g.Seen >= 0 && g.Killed >= 0 && g.Killed <= g.Seen
	}
	return set == 1 && ok
}

// encode makes a line of v, a Plan or a Word. Both hold nothing that could not be encoded.
func encode(v any) []byte {
	line, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return append(line, '\n')
}

// Encode is what a guard reads on its control pipe, before the numbers of signals, a byte each.
func (p *Plan) Encode() []byte { return encode(p) }

func readPlan(r *bufio.Reader) (*Plan, error) {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	p := &Plan{}
	return p, json.Unmarshal(line, p)
}

// Bytes turns strings into what a Plan holds.
func Bytes(list []string) [][]byte {
	all := make([][]byte, len(list))
	for i, s := range list {
		all[i] = []byte(s)
	}
	return all
}

func texts(list [][]byte) []string {
	all := make([]string, len(list))
	for i, b := range list {
		all[i] = string(b)
	}
	return all
}
