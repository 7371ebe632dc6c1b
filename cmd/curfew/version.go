package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is what is known of the making of this program.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"` // since that revision
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

// readBuild reads what the Go tool has left in the program.
func readBuild() build {
	b := build{Version: "(devel)", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (a *app) versionCommand() *cobra.Command {
	output := ""
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Say which curfew this is",
		Example: "  curfew version\n  curfew version --output json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return errors.New("no arguments are wanted")
			}
			return sayVersion(cmd.OutOrStdout(), output)
		},
	}
	cmd.Flags().StringVar(&output, "output", "text", "`FORM` of the result: text or json")
	return cmd
}

// sayVersion writes the version in one of the forms of a result.
func sayVersion(w io.Writer, form string) error {
	b := readBuild()
	switch form {
	case "text":
		fmt.Fprintf(w, "curfew %s %s %s/%s\n", b.Version, b.Go, b.OS, b.Arch)
		return nil
	case "json":
		_ = json.NewEncoder(w).Encode(b) // run sees what could not be written
		return nil
	}
	return errors.New("--output: is neither text nor json")
}
