package resources_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"curfew.example/resources/guard"
)

// testChildEnv makes the test binary run one of testChildren in place of the tests, so
// that a child process in a test is the test binary itself.
const testChildEnv = "CURFEW_TEST_CHILD"

// testChildren are what a child process can be told to do, by name.
var testChildren = map[string]func(){
	"command-signals": commandChildSignals,
	"command-slow":    commandChildSlow,
	"command-deaf":    commandChildDeaf,
}

func TestMain(m *testing.M) {
	guard.Main()
	if name := os.Getenv(testChildEnv); name != "" {
		child := testChildren[name]
		if child == nil {
			child = systemChildren[name]
		}
		child()
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
