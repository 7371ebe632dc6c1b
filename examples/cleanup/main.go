// Cleanup puts a function of one's own under a deadline. No context reaches a Read that
// blocks: what ends it is the clean-up, which closes the connection under it. The clean-up
// runs when, and only when, the time is over.
//
//	go run ./examples/cleanup
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"curfew.example/resources"
	"curfew.example/supervisor"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) (err error) {
	sup, err := supervisor.Start()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sup.Close()) }()

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	go talk(listener) // ends with its one connection
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		return err
	}

	lines := bufio.NewReader(conn)
	readLine := resources.Func(func(context.Context) (string, error) {
		line, err := lines.ReadString('\n')
		if err != nil {
			fmt.Println("the read ends:", err)
		}
		return line, err
	}).Named("read a line").Cleanup(func() error {
		fmt.Println("clean-up: closing the connection")
		return conn.Close()
	})

	// No policy was given, so each call has to say its limit.
	line, err := supervisor.Do(ctx, sup, readLine, supervisor.Within(500*time.Millisecond))
	if err != nil {
		return err
	}
	fmt.Printf("in time: %q\n", line)

	line, err = supervisor.Do(ctx, sup, readLine, supervisor.Within(500*time.Millisecond))
	expired, ok := errors.AsType[*supervisor.Expired](err)
	if !ok {
		return fmt.Errorf("the second line: want an expiry, got %w", err)
	}
	fmt.Println("too late:", expired)
	fmt.Printf("  what had come by then: %q\n", line)
	return nil
}

// talk says a line and a half, and then nothing until the other side has gone.
func talk(listener net.Listener) {
	conn, err := listener.Accept()
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "a whole line\nhalf a li")
	_, _ = io.Copy(io.Discard, conn)
}
