package actors

import (
	"bytes"
	"fmt"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"

	"curfew.example/resources"
)

// straggler is a child that was given up and has not gone. The goroutine or actor it waits
// for calls leave; until then the reaper has it on its books.
type straggler struct {
	path  string
	kind  string // "service" or "actor"
	run   string // the label of its goroutine: see stacksByRun
	asked time.Time
	given time.Duration // what it was given to stop
	left  chan struct{} // closed by leave

	mu   sync.Mutex
	then []func() // called by leave, on its goroutine
}

func newStraggler(path, kind, run string, asked, until time.Time) *straggler {
	return &straggler{path: path, kind: kind, run: run, asked: asked, given: until.Sub(asked), left: make(chan struct{})}
}

// leave says that it has gone at last. It is called once.
func (s *straggler) leave() {
	s.mu.Lock()
	close(s.left)
	then := s.then
	s.then = nil
	s.mu.Unlock()
	for _, f := range then {
		f()
	}
}

// gone reports whether it has.
func (s *straggler) gone() bool {
	select {
	case <-s.left:
		return true
	default:
		return false
	}
}

// whenGone calls f once all have gone, on the goroutine of the last.
func whenGone(all []*straggler, f func()) {
	var mu sync.Mutex
	open := len(all)
	one := func() {
		mu.Lock()
		open--
		last := open == 0
		mu.Unlock()
		if last {
			f()
		}
	}
	for _, s := range all {
		s.mu.Lock()
		late := s.gone()
		if !late {
			s.then = append(s.then, one)
		}
		s.mu.Unlock()
		if late {
			one()
		}
	}
}

// why says what is known without its stack.
func (s *straggler) why() string {
	if s.kind == "actor" {
		return fmt.Sprintf("the actor has not stopped within %s", round(s.given))
	}
	return fmt.Sprintf("Serve has not returned within %s", round(s.given))
}

// remains is its line in the reaper's book.
func (s *straggler) remains() resources.Remains {
	return resources.Remains{Left: []resources.Leftover{{What: s.kind + " " + s.path, Why: s.why()}}, Gone: s.left}
}

// StopError says which children of a tree did not stop in time. They stay on the books
// (Leftovers) until they go.
type StopError struct {
	Path  string        // of the tree, or the child, that was stopped
	Took  time.Duration // the stop
	Stuck []Stuck       // in the order they were given up
}

// Stuck is one child that did not stop in time.
type Stuck struct {
	Path  string        // names from the top of the tree, with "/" between
	Kind  string        // "service" or "actor"
	For   time.Duration // since it was asked to stop
	Why   string
	Stack string // of its goroutine, as the goroutine profile has it; empty where it could not be found
}

// Error names them.
func (e *StopError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d not stopped after %s: ", e.Path, len(e.Stuck), round(e.Took))
	for i, s := range e.Stuck {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(s.Path)
	}
	return b.String()
}

// Format adds the reasons and stacks for %+v.
func (e *StopError) Format(f fmt.State, verb rune) {
	fmt.Fprint(f, e.Error())
	if verb != 'v' || !f.Flag('+') {
		return
	}
	for _, s := range e.Stuck {
		fmt.Fprintf(f, "\n\n%s: %s, asked %s ago\n%s", s.Path, s.Why, round(s.For), s.Stack)
	}
}

// stopError reports those that have not gone, with their stacks; nil when all have.
func stopError(path string, took time.Duration, left []*straggler) error {
	still := stillThere(left)
	if len(still) == 0 {
		return nil
	}
	e := &StopError{Path: path, Took: took}
	stacks := stacksByRun()
	for _, s := range still {
		e.Stuck = append(e.Stuck, Stuck{Path: s.path, Kind: s.kind, For: time.Since(s.asked), Why: s.why(), Stack: stacks[s.run]})
	}
	return e
}

// The labels that the goroutines of children carry in profiles. Goroutines started by them
// inherit them.
const (
	labelPath = "curfew_child"
	labelRun  = "curfew_run" // tells one run of a child from another
)

// stacksByRun takes a goroutine profile and finds the stacks of those that work for
// children. It costs microseconds a goroutine and stops the world for less.
func stacksByRun() map[string]string {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return nil
	}
	stacks := make(map[string]string)
	for block := range strings.SplitSeq(profile.String(), "\n\n") {
		if run := labelIn(block, labelRun); run != "" && strings.Contains(block, markFrame) {
			stacks[run] = tidy(block)
		}
	}
	return stacks
}

// markFrame is how the profile names worksFor.
const markFrame = "actors.worksFor"

// labelIn reads a label from a block of the profile: # labels: {"key":"value", …}.
func labelIn(block, key string) string {
	_, after, found := strings.Cut(block, `"`+key+`":`)
	if !found {
		return ""
	}
	quoted, _ := strconv.QuotedPrefix(after)
	value, _ := strconv.Unquote(quoted)
	return value
}

// tidy keeps the frames: function, file and line.
func tidy(block string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(block, "\n") {
		if frame, ok := strings.CutPrefix(line, "#\t"); ok {
			_, frame, _ = strings.Cut(frame, "\t") // without the address
			b.WriteString(strings.ReplaceAll(frame, "\t", "  "))
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// worksFor calls f in a frame that stacksByRun knows: of the goroutines that carry a
// child's labels, inherited ones among them, this is the child's own.
//
//go:noinline
func worksFor(f func()) { f() }
