package resourcetest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
)

var errPlain = errors.New("plain")

// pipe is the smallest kind that blocks outside Go: it reads one byte from a pipe that
// hang keeps empty.
type pipe struct {
	hang bool
	bad  bool
	fail bool
}

func (p pipe) Spec() (resources.Spec, error) {
	if p.bad {
		return resources.Spec{}, &resources.Invalid{Kind: "pipe", Field: "bad", Why: "is set"}
	}
	return resources.Spec{Kind: "pipe", Target: "pipe", Endpoint: "pipe"}, nil
}

func (p pipe) Run(ctx context.Context, held *resources.Held) (byte, error) {
	if p.fail {
		return 0, fmt.Errorf("pipe: %w", errPlain)
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	for _, end := range []*os.File{r, w} {
		if err := held.Keep(&resources.Piece{What: "end of a pipe", Close: end.Close}); err != nil {
			return 0, errors.Join(err, r.Close(), w.Close())
		}
	}
	held.Opened()
	if !p.hang {
		if _, err := w.Write([]byte{'x'}); err != nil {
			return 0, err
		}
	}
	var one [1]byte
	_, err = r.Read(one[:])
	return one[0], err
}

func TestSuitePassesForAKindThatIsRight(t *testing.T) {
	use := func(p pipe) func(testing.TB) resources.Use {
		return func(testing.TB) resources.Use { return resources.Of(p) }
	}
	resourcetest.Suite(t, resourcetest.Kind{
		Name:      "pipe",
		Good:      use(pipe{}),
		Hang:      use(pipe{hang: true}),
		Fail:      use(pipe{fail: true}),
		FailsWith: errPlain,
		Bad:       []resources.Use{resources.Of(pipe{bad: true})},
		Check:     func(t testing.TB, v any) { assert.Equal(t, byte('x'), v) },
	})
}

// witness is a test that is watched: it keeps its clean-ups and its complaints.
type witness struct {
	testing.TB
	cleanups   []func()
	complaints []string
}

func (w *witness) Helper()          {}
func (w *witness) Cleanup(f func()) { w.cleanups = append(w.cleanups, f) }
func (w *witness) Errorf(format string, args ...any) {
	w.complaints = append(w.complaints, fmt.Sprintf(format, args...))
}

// left runs what NothingLeft watches and returns what it complains of.
func left(t *testing.T, during func()) string {
	w := &witness{TB: t}
	resourcetest.NothingLeft(w)
	during()
	for _, f := range w.cleanups {
		f()
	}
	return strings.Join(w.complaints, "; ")
}

func TestNothingLeftIsQuietWhereNothingIs(t *testing.T) {
	assert.Empty(t, left(t, func() {}))
}

func TestNothingLeftNamesAGoroutine(t *testing.T) {
	stop := make(chan struct{})
	said := left(t, func() { go func() { <-stop }() }) // ended below
	close(stop)
	assert.Contains(t, said, "goroutines are left")
}

func TestNothingLeftNamesADescriptor(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("descriptors are counted on Linux alone")
	}
	var f *os.File
	said := left(t, func() {
		var err error
		f, err = os.Open(os.DevNull)
		require.NoError(t, err)
	})
	require.NoError(t, f.Close())
	assert.Regexp(t, `left open: descriptor \d+ \(/dev/null\)`, said)
}

func TestNothingLeftNamesAChild(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("children are counted on Linux alone")
	}
	program, err := exec.LookPath("sleep")
	if err != nil {
		t.Skip("there is no program called sleep")
	}
	var child *exec.Cmd
	said := left(t, func() {
		child = exec.Command(program, "60")
		require.NoError(t, child.Start())
	})
	require.NoError(t, child.Process.Kill())
	assert.Error(t, child.Wait(), "it was killed")
	assert.Regexp(t, `process \d+ \(sleep, state S\)`, said)
}

func TestPlainTimerTellsItsLateness(t *testing.T) {
	late := <-resourcetest.PlainTimer(10 * time.Millisecond)
	assert.GreaterOrEqual(t, late, time.Duration(0))
	assert.Less(t, late, 5*time.Second)
}
