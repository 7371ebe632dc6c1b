package main

import (
	"path/filepath"

	"curfew.example/cmd/curfew/internal/gnutimeout"
)

// asTimeout is timeout(1), which this program is under that name: a symbolic link will do.
// It returns the exit code, and false when the name is another one. It comes before all
// else, as it needs none of the rest.
func asTimeout(args []string) (code int, is bool) {
	if len(args) == 0 || filepath.Base(args[0]) != "timeout" {
		return 0, false
	}
	return gnutimeout.Main(args, readBuild().Version), true
}
