package remote

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"curfew.example/resources"
)

// Allow lists what peers may ask for. A kind whose list is empty is refused, so the zero
// value allows nothing. It is read only after Serve.
type Allow struct {
	// Fetch, Socket and XMLRPC hold patterns of endpoints, host:port in lower case, as
	// path.Match has them: "mirror.example:443", "*.example:80", `\[::1\]:80`. A name
	// is not looked up before it is matched. A unix socket is matched by its path (for
	// XMLRPC "unix:" and its path), which "*:*" does not match.
	Fetch, Socket, XMLRPC []string

	// Command holds programs, each as a request's Path has to be, to the letter.
	// Absolute paths are best: a bare name is looked up on this process's PATH.
	// Arguments are not looked at.
	Command []string

	// Env names the variables that a command may be given, Dirs the working
	// directories. Think of LD_PRELOAD.
	Env, Dirs []string
}

// check finds patterns that are none.
func (a Allow) check() error {
	for _, p := range slices.Concat(a.Fetch, a.Socket, a.XMLRPC) {
		if _, err := path.Match(p, ""); err != nil {
			return fmt.Errorf("allow %q: %w", p, err)
		}
	}
	return nil
}

// permit reports why kind may not be asked for: a bad one is *resources.Invalid, another
// ErrNotAllowed.
func (a Allow) permit(kind any) error {
	spec, err := erase(kind).Spec()
	if err != nil {
		return err
	}
	refused := fmt.Errorf("%s %s: %w", spec.Kind, spec.Target, ErrNotAllowed)
	switch k := kind.(type) {
	case resources.Fetch:
		if matchesAny(a.Fetch, spec.Endpoint) {
			return nil
		}
	case resources.Socket:
		if matchesAny(a.Socket, spec.Endpoint) {
			return nil
		}
	case XMLRPCCall:
		if matchesAny(a.XMLRPC, spec.Endpoint) {
			return nil
		}
	case resources.Command:
		if slices.Contains(a.Command, k.Path) {
			return a.permitCommand(k, spec)
		}
	}
	return refused
}

// permitCommand looks at what an allowed program is given.
func (a Allow) permitCommand(c resources.Command, spec resources.Spec) error {
	if c.Dir != "" && !slices.Contains(a.Dirs, c.Dir) {
		return fmt.Errorf("%s %s: this working directory is %w", spec.Kind, spec.Target, ErrNotAllowed)
	}
	for _, entry := range c.Env {
		if name, _, _ := strings.Cut(entry, "="); !slices.Contains(a.Env, name) {
			return fmt.Errorf("%s %s: a variable of its environment is %w", spec.Kind, spec.Target, ErrNotAllowed)
		}
	}
	return nil
}

func matchesAny(patterns []string, endpoint string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, _ := path.Match(p, endpoint) // patterns were checked
		return ok
	})
}
