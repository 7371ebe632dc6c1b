//go:build unix

package resources_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"curfew.example/resources"
	"curfew.example/resources/resourcetest"
)

// sinkDir is a directory in which a file "out" has content "old".
func sinkDir(t *testing.T) (dir, path string) {
	t.Helper()
	dir = t.TempDir()
	path = filepath.Join(dir, "out")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o644))
	return dir, path
}

// holdsOnly checks that dir has one file "out" with the given content.
func holdsOnly(t *testing.T, dir, content string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	got, err := os.ReadFile(filepath.Join(dir, "out"))
	require.NoError(t, err)
	assert.Equal(t, content, string(got))
}

func TestSinkIsReplacedOnSuccess(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, strings.Repeat("new", 100_000))
	}, false)
	dir, path := sinkDir(t)
	resp := fetchWell(t, resources.Fetch{URL: s.URL, Sink: &resources.Sink{Path: path, Mode: 0o600}}, nil)
	assert.Nil(t, resp.Body)
	assert.EqualValues(t, 300_000, resp.BodyBytes)
	holdsOnly(t, dir, strings.Repeat("new", 100_000))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o600), info.Mode())
}

func TestSinkIsUntouchedByEveryOtherEnd(t *testing.T) {
	const half = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"
	for name, c := range map[string]struct {
		answer  string
		cut     bool
		expires bool
	}{
		"expiry":       {answer: half, expires: true},
		"cut":          {answer: half, cut: true},
		"too large":    {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n" + strings.Repeat("x", 64)},
		"error status": {answer: "HTTP/1.1 404 No\r\nContent-Length: 4\r\n\r\npage"},
	} {
		t.Run(name, func(t *testing.T) {
			resourcetest.NothingLeft(t)
			p := newFetchPeer(t, nil, func(pc *peerConn) {
				pc.Answer(c.answer)
				if c.cut {
					_ = pc.Close()
				}
			})
			dir, path := sinkDir(t)
			f := resources.Fetch{URL: p.HTTP(), Sink: &resources.Sink{Path: path}, BodyMaxBytes: 63}
			if c.expires || c.cut {
				f.BodyMaxBytes = 0
			}
			if c.expires {
				resp := fetchExpires(t, f, nil, p)
				assert.EqualValues(t, 4, resp.BodyBytes)
			} else {
				_, end := driveFetch(t, f, fetchLong, nil)
				assert.Error(t, end.Err)
			}
			holdsOnly(t, dir, "old")
		})
	}
}

func TestSinkThatCannotBeWrittenFailsBeforeAnyConnection(t *testing.T) {
	resourcetest.NothingLeft(t)
	p := newFetchPeer(t, nil, func(c *peerConn) {})
	dir, _ := sinkDir(t)
	for _, path := range []string{filepath.Join(dir, "none", "out"), dir} {
		fetchFails(t, resources.Fetch{URL: p.HTTP(), Sink: &resources.Sink{Path: path}}, nil)
	}
	assert.Zero(t, p.Accepted.Load())
	holdsOnly(t, dir, "old")
}

func TestSinkDoesNotReplaceWhatIsNoFile(t *testing.T) {
	resourcetest.NothingLeft(t)
	path := filepath.Join(t.TempDir(), "fifo")
	require.NoError(t, syscall.Mkfifo(path, 0o600))
	err := fetchFails(t, resources.Fetch{URL: "http://127.0.0.1:1", Sink: &resources.Sink{Path: path}}, nil)
	assert.ErrorContains(t, err, "not a regular file")
}

func TestSinkPassesTheModeOfAReplacedFileOn(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "new") }, false)
	_, path := sinkDir(t)
	for _, mode := range []fs.FileMode{0o600, 0o666, 0o755, 0o440} { // a private one above all
		require.NoError(t, os.Chmod(path, mode))
		fetchWell(t, resources.Fetch{URL: s.URL, Sink: &resources.Sink{Path: path}}, nil)
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, mode, info.Mode())
	}
}

func TestSinkDoesNotReplaceALinkThatLeadsNowhere(t *testing.T) {
	resourcetest.NothingLeft(t)
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink("nowhere", link))
	err := fetchFails(t, resources.Fetch{URL: "http://127.0.0.1:1", Sink: &resources.Sink{Path: link}}, nil)
	assert.ErrorContains(t, err, "leads nowhere")
}

func TestSinkFollowsALink(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "new") }, false)
	dir, path := sinkDir(t)
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(path, link))
	fetchWell(t, resources.Fetch{URL: s.URL, Sink: &resources.Sink{Path: link}}, nil)
	holdsOnly(t, dir, "new")
	_, err := os.Readlink(link)
	assert.NoError(t, err, "the link is still one")
}

func TestSinkWritesToADeviceAsItIs(t *testing.T) {
	resourcetest.NothingLeft(t)
	s := newCountingServer(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "new") }, false)
	resp := fetchWell(t, resources.Fetch{URL: s.URL, Sink: &resources.Sink{Path: os.DevNull}}, nil)
	assert.EqualValues(t, 3, resp.BodyBytes)
	info, err := os.Stat(os.DevNull)
	require.NoError(t, err)
	assert.NotZero(t, info.Mode()&fs.ModeCharDevice)
}
