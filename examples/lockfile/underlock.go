package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"curfew.example/resources"
)

// UnderLock does Work while it alone has the lock file at Path, which must be absolute.
type UnderLock struct {
	Path string
	Work func(context.Context) error
}

// Spec implements resources.Resource: bad input is found here, before anything is opened.
func (u UnderLock) Spec() (resources.Spec, error) {
	switch {
	case !filepath.IsAbs(u.Path):
		return resources.Spec{}, &resources.Invalid{Kind: "lock", Field: "Path", Why: "is not absolute"}
	case u.Work == nil:
		return resources.Spec{}, &resources.Invalid{Kind: "lock", Field: "Work", Why: "there is none"}
	}
	return resources.Spec{Kind: "lock", Target: filepath.Base(u.Path), Endpoint: u.Path}, nil
}

// Run implements resources.Resource. Its result is how long it waited for the lock.
func (u UnderLock) Run(ctx context.Context, held *resources.Held) (time.Duration, error) {
	start := time.Now()
	if err := u.create(ctx); err != nil {
		return 0, err
	}
	// Kept before anything can block: from here on it goes, whatever happens. The removal
	// waits until Work is back, and there is no Force: a lock that is taken from under its
	// holder is none. Work that does not come back is a leftover, and so is its lock.
	var working sync.Mutex
	err := held.Keep(&resources.Piece{What: "lock file", By: "remove", Close: func() error {
		working.Lock()
		defer working.Unlock()
		return os.Remove(u.Path)
	}})
	working.Lock()
	defer working.Unlock()
	if err := cmp.Or(err, ctx.Err()); err != nil {
		return 0, err // it has been removed, or is about to be
	}
	held.Opened()
	return time.Since(start), u.Work(ctx)
}

// create makes the file, and waits while there is one. When ctx has ended it makes none.
func (u UnderLock) create(ctx context.Context) error {
	for ctx.Err() == nil {
		file, err := os.OpenFile(u.Path, os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			return file.Close()
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond): // of another process's file nobody tells us
		}
	}
	return ctx.Err()
}
