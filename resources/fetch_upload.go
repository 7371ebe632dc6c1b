package resources

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"syscall"
)

// errUploadOver is what a request body says when nobody wants more of it.
var errUploadOver = errors.New("the request body is not wanted any more")

// upload is a request body whose source may block. Its Read does not: net/http waits
// for a body's Read without regard to the request's end (golang/go#78555), so the
// source is read on a goroutine of its own, through a pipe that breaks with the
// request. What stays behind in the source's Read is a piece of the use.
type upload struct {
	*io.PipeReader
	held   *Held
	unhook func() bool // takes the breaking of the pipe off the request's context

	begin       sync.Once     // the reading, or the decision that there is none
	done        chan struct{} // closed when nobody reads the source
	closeSource func()
}

// newUpload starts to read source, and closes it in the end if it is an io.Closer.
func newUpload(use *fetchUse, source io.Reader) (*upload, error) {
	r, w := io.Pipe()
	u := &upload{PipeReader: r, held: use.held, done: make(chan struct{})}
	u.closeSource = sync.OnceFunc(func() {
		if c, ok := source.(io.Closer); ok {
			_ = c.Close()
		}
	})
	u.unhook = context.AfterFunc(use.ctx, func() { _ = r.CloseWithError(context.Cause(use.ctx)) })

	// Before any connection of this request: pieces go last in first out, and this
	// one may take long.
	piece := &Piece{What: "request body", Close: u.letGo}
	if err := use.held.Keep(piece); err != nil {
		return nil, err
	}
	u.begin.Do(func() {
		// It ends when the source does, or at its next step after the pipe was
		// broken. letGo waits for it, on behalf of the use.
		go Guard(func() error {
			defer u.closeSource()
			_, err := io.Copy(w, source)
			return err
		}, func(err error) {
			_ = w.CloseWithError(err)
			close(u.done)
			use.held.Drop(piece)
		})
	})
	return u, nil
}

// openUploadFile opens a regular file as a request body and returns its length.
func openUploadFile(use *fetchUse, path string) (io.ReadCloser, int64, error) {
	// Opening a FIFO would block until somebody writes, and nothing could end that.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("request body %s: not a regular file", path)
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	if info.Size() == 0 {
		// A body of length 0 would be taken for one of unknown length.
		return http.NoBody, 0, f.Close()
	}
	u, err := newUpload(use, f)
	if err != nil {
		return nil, 0, err
	}
	return u, info.Size(), nil
}

func (u *upload) Read(p []byte) (int, error) {
	n, err := u.PipeReader.Read(p)
	if n > 0 {
		u.held.Progress()
	}
	return n, err
}

// Close is net/http's, when it wants no more. It does not wait.
func (u *upload) Close() error {
	u.unhook()
	return u.PipeReader.CloseWithError(errUploadOver)
}

// letGo breaks the pipe, closes the source, which may bring a blocked Read back, and
// waits until nobody reads it.
func (u *upload) letGo() error {
	u.begin.Do(func() { close(u.done) })
	_ = u.Close()
	u.closeSource()
	<-u.done
	return nil
}
