package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
)

// site is a web server to be crawled.
type site struct{ name, url string }

// openSites starts a web server that is well and one that hangs, and names one that is not
// there.
func openSites() (sites []site, stop func()) {
	well := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "news") }))
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	gone := httptest.NewServer(nil)
	gone.Close()
	return []site{{"well", well.URL}, {"slow", slow.URL}, {"broken", gone.URL}}, func() {
		well.Close()
		slow.Close()
	}
}
