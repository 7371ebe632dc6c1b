package resources_test

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// commandChildSignals says which signals it gets, and ends at HUP.
func commandChildSignals() {
	got := make(chan os.Signal, 8)
	signal.Notify(got, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	fmt.Println("ready")
	for s := range got {
		fmt.Println(s)
		if s == syscall.SIGHUP {
			os.Exit(7)
		}
	}
}

// commandChildSlow takes a while to end after TERM, and says when it has.
func commandChildSlow() {
	got := make(chan os.Signal, 1)
	signal.Notify(got, syscall.SIGTERM)
	fmt.Println("ready")
	<-got
	time.Sleep(150 * time.Millisecond)
	fmt.Println("bye")
}

// commandChildDeaf ignores all that can be ignored.
func commandChildDeaf() {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	fmt.Println("ready")
	time.Sleep(time.Minute)
}
