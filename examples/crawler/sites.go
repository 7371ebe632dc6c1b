package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"
)

// site is a web server to be crawled.
type site struct{ name, url string }

// openSites starts two web servers that are well, one that hangs, one that drips, and
// names one that is not there. A page is a list of links.
func openSites() (sites []site, stop func()) {
	var servers []*httptest.Server
	open := func(name string, h http.HandlerFunc) {
		s := httptest.NewServer(h)
		servers = append(servers, s)
		sites = append(sites, site{name, s.URL})
	}
	open("drips", drip)
	open("hangs", pages(map[string]string{"/": "/about /archive"}))
	open("absent", drip)
	servers[2].Close()
	open("news", pages(map[string]string{"/": "/today /sport", "/today": "/weather", "/sport": "", "/weather": ""}))
	open("wiki", pages(map[string]string{"/": "/go", "/go": "/actor", "/actor": "/deadline", "/deadline": ""}))
	return sites, func() {
		for _, s := range servers {
			s.Close()
		}
	}
}

// pages serves what is there, and hangs on what is not.
func pages(links map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, ok := links[r.URL.Path]
		if !ok {
			<-r.Context().Done()
			return
		}
		fmt.Fprint(w, body)
	}
}

// drip sends a byte now and then: never long enough ago to call it silent.
func drip(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
			fmt.Fprint(w, ".")
			_ = http.NewResponseController(w).Flush()
		}
	}
}
