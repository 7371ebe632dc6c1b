//go:build !unix

package gnutimeout

import (
	"fmt"
	"os"
)

// Main says that there is no timeout here. It returns the exit code, 125.
func Main(args []string, version string) int {
	fmt.Fprintf(os.Stderr, "%s: needs a Unix system\n", args[0])
	return 125
}
