package remote_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// Tests that start a node run in processes of their own (alone.Run). Each start of remote replaces
// gRPC's logger without a lock, which the race detector reports where goroutines of another node
// have ever used it: so one process has one node.
func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(childMain())
	}
	goleak.VerifyTestMain(m)
}
