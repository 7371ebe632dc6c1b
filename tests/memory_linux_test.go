package tests

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/tests/peers"
	"curfew.example/timeoutpolicy"
)

// memoryMaxBytes is what no answer may make a program use that has the library in it, all
// that the program is included.
const memoryMaxBytes = 128 << 20

// detectorTimes is how much more the race detector may make of it.
const detectorTimes = 4

// bomb is the worst of a kind of answer: as large as it gets within the default limits of
// bytes, or much larger.
type bomb struct {
	unit   string // repeated
	head   string // before it
	tail   string // after it
	size   int64
	zipped bool
	raced  bool // for the race detector too
}

// bombs are answers to an XML-RPC call.
var bombs = map[string]bomb{
	"a long text":              {head: rpcHead, unit: "x", tail: rpcTail, size: 15 << 20},
	"a long text, zipped":      {head: rpcHead, unit: "x", tail: rpcTail, size: 15 << 20, zipped: true},
	"text in small sections":   {head: rpcHead, unit: "a<![CDATA[&]]>", size: 15 << 20},
	"empty values":             {head: rpcList, unit: "<value/>", tail: rpcListTail, size: 15 << 20},
	"integers":                 {head: rpcList, unit: "<value><i8>123456789012</i8></value>", size: 15 << 20},
	"structs of one":           {head: rpcList, unit: "<value><struct><member><name/><value/></member></struct></value>", size: 15 << 20, raced: true},
	"open arrays":              {head: rpcHead, unit: "<array><data><value>", size: 15 << 20},
	"attributes":               {head: "<methodResponse ", unit: "a='' ", size: 15 << 20},
	"many attributes":          {head: "<methodResponse>", unit: "<x " + strings.Repeat("a='' ", 12_000) + "/>", size: 15 << 20},
	"one comment":              {head: "<!--", unit: "x", size: 15 << 20},
	"a DTD":                    {head: "<!DOCTYPE a [", unit: "<!ENTITY a 'b'>", size: 15 << 20},
	"Latin-1":                  {head: "<?xml version='1.0' encoding='latin1'?>" + rpcHead, unit: "\xe9", size: 15 << 20},
	"half as much Latin-1":     {head: "<?xml version='1.0' encoding='latin1'?>" + rpcHead, unit: "\xe9", size: 15 << 19, raced: true},
	"as many values as fit":    {head: rpcList, unit: "<value><i8>123456789012</i8></value>", tail: rpcListTail, size: 36 * (1<<18 - 2)},
	"as long as a page may be": {head: rpcHead, unit: "x", size: 31 << 20},
	"a gzip bomb":              {head: rpcHead, unit: "x", size: 1 << 30, zipped: true, raced: true},
	"no end":                   {head: rpcHead, unit: "x", size: 1 << 40},
}

const (
	rpcHead = "<methodResponse><params><param><value>"
	rpcTail = "</value></param></params></methodResponse>"

	rpcList     = rpcHead + "<array><data>"
	rpcListTail = "</data></array>" + rpcTail
)

func (b bomb) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	out := io.Writer(w)
	if b.zipped {
		w.Header().Set("Content-Encoding", "gzip")
		z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
		defer z.Close()
		out = z
	}
	_, _ = io.WriteString(out, b.head)
	_, _ = io.Copy(out, peers.Repeated(b.unit, b.size))
	_, _ = io.WriteString(out, b.tail)
}

// The worst answers, each to a process of its own that does nothing else, and whose most
// memory is what the kernel says it was. To the race detector, under which all of this is slow,
// a few are enough: the ways they take are the same.
func TestNoAnswerTakesMoreThan128MB(t *testing.T) {
	program, err := os.Executable()
	require.NoError(t, err)
	most := int64(memoryMaxBytes)
	if raceDetector {
		most *= detectorTimes
	}
	for name, b := range bombs {
		if raceDetector && !b.raced {
			continue
		}
		for _, kind := range []string{"fetch", "xmlrpc", "socket"} {
			if kind == "socket" && b.zipped {
				continue
			}
			t.Run(kind+", "+name, func(t *testing.T) {
				var asked atomic.Bool
				s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					asked.Store(true)
					b.ServeHTTP(w, r)
				}))
				defer s.Close()
				defer s.CloseClientConnections()
				// A child's figure begins with that of its parent, which must not be this one.
				cmd := exec.CommandContext(t.Context(), program, "-test.run=^$")
				cmd.Env = append(os.Environ(), childEnv+"=measured", memoryEnv+"="+kind+" "+s.Listener.Addr().String())
				var said bytes.Buffer
				cmd.Stderr = &said
				out, err := cmd.Output()
				require.NoError(t, err, said.String())
				var used int64
				_, err = fmt.Sscan(string(out), &used)
				require.NoError(t, err)
				t.Logf("%d MB: %s", used>>20, strings.TrimSpace(said.String()))
				assert.Less(t, used, most)
				assert.True(t, asked.Load(), "it has got an answer")
			})
		}
	}
}

// memoryEnv tells a child by what kind it is to ask whom.
const memoryEnv = "CURFEW_TESTS_MEMORY"

// measuredChild runs a child that makes the request, and says the most memory it had.
func measuredChild() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(self, "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"=memory")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return err
	}
	fmt.Println(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10)
	return nil
}

// memoryChild makes one request. Whether it fails is the request's affair.
func memoryChild() error {
	kind, addr, _ := strings.Cut(os.Getenv(memoryEnv), " ")
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(6 * patience)))
	if err != nil {
		return err
	}
	defer sup.Close()
	ctx := context.Background()
	switch kind {
	case "fetch":
		_, err = supervisor.Do(ctx, sup, resources.Fetch{URL: "http://" + addr})
	case "socket":
		_, err = supervisor.Do(ctx, sup, resources.Socket{Address: addr, Send: []byte("GET / HTTP/1.0\r\n\r\n")})
	case "xmlrpc":
		var session *resources.XMLRPCSession
		if session, err = supervisor.Open(ctx, sup, resources.XMLRPC{URL: "http://" + addr}); err != nil {
			return err
		}
		var reply any
		err = session.Call(ctx, "m", nil, &reply)
	}
	if _, expired := errors.AsType[*supervisor.Expired](err); expired {
		return err
	}
	fmt.Fprintln(os.Stderr, "ended with:", err)
	return nil
}
