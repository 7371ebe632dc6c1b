package tests

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "curfew.example"

// proto is the actor framework.
const proto = "github.com/asynkron/protoactor-go"

// golist is what of go list -json is used here.
type golist struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
}

// list asks go list about packages of this module.
func list(t *testing.T, patterns ...string) []golist {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-e", "-json=ImportPath,Standard,Imports,Deps"}, patterns...)...)
	cmd.Dir = ".."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("the program go is not here")
	}
	require.NoError(t, err)
	var all []golist
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p golist
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		all = append(all, p)
	}
}

// rule forbids packages to depend on others, directly or not.
type rule struct {
	who    []string // packages of this module; "/..." at the end means those below too
	never  []string // import paths; "/..." as above
	except []string // what is allowed all the same
	direct bool     // only what they import themselves counts
	why    string
}

// rules is the table of who may import whom.
var rules = []rule{
	{
		who: []string{"timeoutpolicy"}, never: []string{module + "/..."}, except: []string{module + "/timeoutpolicy"},
		why: "rules are values that anybody can use, test and send; what they know of us they are told in the ask",
	},
	{
		who: []string{"timeoutpolicy"}, never: []string{"net/...", "os/exec", "os/signal", "database/sql/..."}, except: []string{"net/netip", "net/url"},
		why: "a rule decides; what has to be asked of the outside world comes in through Func",
	},
	{
		// Only directly: package fmt imports os.
		who: []string{"timeoutpolicy"}, never: []string{"os/...", "io/...", "syscall", "golang.org/x/sys/...", "unsafe", "reflect"}, direct: true,
		why: "a rule is pure: what it grants follows from what it is asked",
	},
	{
		who: []string{"timeoutpolicy", "resources/..."}, never: []string{proto + "/..."},
		why: "a kind of resource is tested, and reused, without actors",
	},
	{
		who: []string{"resources"}, never: []string{module + "/..."},
		except: []string{module + "/resources", module + "/resources/guard", module + "/resources/internal/...", module + "/timeoutpolicy"},
		why:    "a kind knows neither who runs it nor who asked for it",
	},
	{
		who: []string{"resources"}, never: []string{"github.com/stretchr/testify/...", "go.uber.org/goleak", "testing"},
		why: "the conformance suite lives in resourcetest so that programs do not carry it",
	},
	{
		who: []string{"actors"}, never: []string{module + "/supervisor", module + "/cmd/...", module + "/examples/..."},
		why: "the front door is built on the actors, not the other way round",
	},
	{
		who: []string{"supervisor"}, never: []string{module + "/cmd/...", module + "/examples/..."},
		why: "a library does not import a program",
	},
	{
		who: []string{"supervisor", "actors", "resources", "timeoutpolicy"}, never: []string{module + "/resources/resourcetest", module + "/tests/...", "github.com/stretchr/testify/...", "go.uber.org/goleak", "pgregory.net/rapid", "testing"},
		why: "what is for tests stays with the tests",
	},
	{
		who: []string{"supervisor", "actors", "resources", "timeoutpolicy"}, never: []string{
			proto + "/remote", proto + "/cluster/...", proto + "/persistence/...", "google.golang.org/grpc/...", "go.etcd.io/...", "github.com/hashicorp/...",
			"modernc.org/...", "github.com/jackc/...", "github.com/spf13/...", "charm.land/...", "github.com/chromedp/...", "github.com/goccy/...",
			"go.opentelemetry.io/otel/exporters/otlp/...",
		},
		why: "heavy things live in leaf packages that only a main imports",
	},
	{
		who: []string{"supervisor", "actors", "resources", "timeoutpolicy", "cmd/..."}, never: []string{"net/http/httptest", "net/http/pprof"},
		why: "their init registers handlers or flags in every program",
	},
}

// rivals are libraries that do a part of what this one does: the benchmarks that measure
// against them have a module of their own.
var rivals = []string{
	"github.com/failsafe-go/failsafe-go", "github.com/thejerf/suture", "github.com/jackc/puddle", "github.com/oklog/run",
	"github.com/sourcegraph/conc", "github.com/tochemey/goakt", "github.com/ergo-services/ergo",
	"github.com/anthdm/hollywood", "github.com/vladopajic/go-actor", "github.com/slok/goresilience", "github.com/eapache/go-resiliency",
	"github.com/afex/hystrix-go", "github.com/alitto/pond", "github.com/panjf2000/ants",
}

func TestImportTable(t *testing.T) {
	for _, r := range rules {
		for _, who := range r.who {
			for _, p := range list(t, "./"+who) {
				for _, dep := range r.counted(p) {
					if matches(dep, r.never) && !matches(dep, r.except) {
						t.Errorf("%s depends on %s: %s", p.ImportPath, dep, r.why)
					}
				}
			}
		}
	}
}

func (r rule) counted(p golist) []string {
	if r.direct {
		return p.Imports
	}
	return p.Deps
}

// matches reports whether path is one of patterns.
func matches(path string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if below, ok := strings.CutSuffix(p, "/..."); ok {
			return path == below || strings.HasPrefix(path, below+"/")
		}
		return path == p
	})
}

func TestImportTableHoldsForThePackagesThatAreThere(t *testing.T) {
	for _, name := range []string{"timeoutpolicy", "resources", "resources/resourcetest", "actors", "supervisor"} {
		all := list(t, "./"+name)
		require.Len(t, all, 1)
		require.NotEmpty(t, all[0].Deps, "%s: a table about an empty package proves nothing", name)
	}
}

func TestSupervisorIsTheOnlyWayFromProgramsToActors(t *testing.T) {
	// cmd may use actors' types, which are part of the surface, but never the framework.
	for _, p := range list(t, "./cmd/...", "./examples/...") {
		if !strings.HasPrefix(p.ImportPath, module+"/cmd") {
			continue // an example may show how to live inside an actor system
		}
		for _, dep := range p.Imports {
			if matches(dep, []string{proto + "/..."}) {
				t.Errorf("%s imports %s: the command line works through the front door", p.ImportPath, dep)
			}
		}
	}
}

func TestRivalsAreNoDependencies(t *testing.T) {
	text, err := os.ReadFile("../go.mod")
	require.NoError(t, err)
	for _, rival := range rivals {
		if strings.Contains(string(text), rival+" ") || strings.Contains(string(text), rival+"/") {
			t.Errorf("go.mod requires %s: what is measured against is not built on", rival)
		}
	}
}

// packageVariables lists the variables that packages of this module declare at the top
// level, as package.name; their tests are left out.
func packageVariables(t *testing.T, packages ...string) []string {
	t.Helper()
	var all []string
	for _, name := range packages {
		files, err := filepath.Glob(filepath.Join("..", name, "*.go"))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, path := range files {
			if !strings.HasSuffix(path, "_test.go") {
				all = append(all, variablesOf(t, name, path)...)
			}
		}
	}
	return all
}

func variablesOf(t *testing.T, pkg, path string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	require.NoError(t, err)
	var all []string
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR {
			continue
		}
		for _, spec := range gen.Specs {
			for _, id := range spec.(*ast.ValueSpec).Names {
				all = append(all, pkg+"."+id.Name)
			}
		}
	}
	return all
}
