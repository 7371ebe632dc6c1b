//go:build unix

package gnutimeout_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"curfew.example/cmd/curfew/internal/gnutimeout"
)

// TestMain makes this test binary timeout where it is started under that name.
func TestMain(m *testing.M) {
	if os.Args[0] == "timeout" {
		os.Exit(gnutimeout.Main(os.Args, "test"))
	}
	goleak.VerifyTestMain(m)
}
