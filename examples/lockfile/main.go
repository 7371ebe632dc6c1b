// Lockfile is a kind of resource of one's own, in underlock.go: work that is done while a
// lock file is there. Whoever waits for the lock has a deadline, and so has who holds it;
// the file goes when the work has ended, however it ended. All that comes with the supervisor.
//
//	go run ./examples/lockfile
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"time"

	"curfew.example/supervisor"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "curfew-lockfile")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "build.lock")
	sup, err := supervisor.Start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sup.Close()) }()

	locked, slow := make(chan struct{}), make(chan error, 1)
	go func() { // ends with its request; waited for below
		_, err := supervisor.Do(ctx, sup, UnderLock{path, func(ctx context.Context) error {
			close(locked)
			<-ctx.Done()
			return ctx.Err()
		}}, supervisor.Within(500*time.Millisecond))
		slow <- err
	}()
	<-locked

	note := func(context.Context) error { return nil }
	_, err = supervisor.Do(ctx, sup, UnderLock{path, note}, supervisor.Within(100*time.Millisecond))
	fmt.Println("second:", err)
	waited, err := supervisor.Do(ctx, sup, UnderLock{path, note}, supervisor.Within(2*time.Second))
	fmt.Println("first:", <-slow)
	fmt.Printf("third: had the lock after %s, error: %v\n", waited.Round(10*time.Millisecond), err)

	_, err = supervisor.Do(ctx, sup, UnderLock{"not absolute", note}, supervisor.Within(time.Second))
	fmt.Println("fourth:", err)
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the lock file is still there: %w", cmp.Or(err, fs.ErrExist))
	}
	fmt.Println("the lock file is gone")
	return nil
}
