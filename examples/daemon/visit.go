package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"syscall"
	"time"
)

// backends are what the daemon makes its pages of.
type backends struct {
	good, hung *httptest.Server
	arrived    chan struct{} // a token for each request at the one that hangs
}

func openBackends() *backends {
	arrived := make(chan struct{}, 100)
	return &backends{
		good: httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "headlines")
		})),
		hung: httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			arrived <- struct{}{}
			<-r.Context().Done()
		})),
		arrived: arrived,
	}
}

func (b *backends) Close() {
	b.good.Close()
	b.hung.Close()
}

// visit asks for three pages. While the last is under way it does what an init system
// does to end a daemon.
func visit(url string, arrived <-chan struct{}) error {
	for n := range 3 {
		start, page := time.Now(), make(chan string)
		go func() { page <- get(url) }() // waited for below
		select {
		case <-arrived: // at the backend that hangs
		case text := <-page:
			return fmt.Errorf("page %d came too soon: %s", n+1, text)
		}
		if n == 2 {
			fmt.Println("SIGTERM, with a page under way")
			self, err := os.FindProcess(os.Getpid())
			if err := errors.Join(err, self.Signal(syscall.SIGTERM)); err != nil {
				return err
			}
		}
		fmt.Printf("page %d: %s after %s\n", n+1, <-page, time.Since(start).Round(time.Millisecond))
	}
	return nil
}

func get(url string) string {
	resp, err := http.Get(url)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}
