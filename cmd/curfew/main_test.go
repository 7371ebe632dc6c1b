//go:build unix

package main

import (
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"curfew.example/resources/guard"
)

// TestMain puts this test binary on the PATH under the name curfew, where it is curfew,
// and under the names of the programs that tests need beside it.
func TestMain(m *testing.M) {
	guard.Main()
	testscript.Main(leakChecked{m}, map[string]func(){"curfew": main, "measured": measured})
}

// leakChecked fails a run that leaves goroutines behind.
type leakChecked struct{ *testing.M }

func (m leakChecked) Run() int {
	quickStart() // no actor system has been made yet
	code := m.M.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
