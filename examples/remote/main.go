// Remote has one process use resources in another: this one starts itself a second time
// as a node that serves fetches of one site alone, and asks it for a page, for a page that
// never comes, and for what is not allowed; then it kills it in the middle of a request.
//
//	go run ./examples/remote
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"curfew.example/actors/remote"
	"curfew.example/actors/remote/remotetest"
	"curfew.example/resources"
)

func main() {
	work := ask
	if os.Getenv(serving) != "" {
		work = serve
	}
	if err := work(); err != nil {
		log.Fatal(err)
	}
}

// ask is the process that wants something.
func ask() error {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hangs" {
			<-r.Context().Done()
		}
		_, _ = io.WriteString(w, "good morning")
	}))
	defer site.Close()

	authority, err := remotetest.NewAuthority()
	if err != nil {
		return err
	}
	mine, err1 := authority.Issue("127.0.0.1")
	its, err2 := authority.Issue("127.0.0.1")
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	other, address, err := startServer(told{its, strings.TrimPrefix(site.URL, "http://")})
	if err != nil {
		return err
	}
	defer func() { _ = other.Wait() }()
	defer func() { _ = other.Process.Kill() }()

	node, err := remote.Start(remote.Config{Listen: "127.0.0.1:0", TLS: mine})
	if err != nil {
		return err
	}
	defer node.Close()
	peer, err := node.Peer(address)
	if err != nil {
		return err
	}
	try := func(what, url string, limit time.Duration) {
		page, err := remote.Do(context.Background(), peer, resources.Fetch{URL: url}, remote.Options{Within: limit})
		if err != nil {
			fmt.Printf("%s: %v\n", what, err)
			return
		}
		fmt.Printf("%s: %q\n", what, page.Body)
	}
	try("page", site.URL, 2*time.Second)
	try("hangs", site.URL+"/hangs", 300*time.Millisecond)
	try("not allowed", "http://127.0.0.1:1/", 2*time.Second)
	start := time.Now()
	time.AfterFunc(300*time.Millisecond, func() { _ = other.Process.Kill() })
	try("killed", site.URL+"/hangs", 20*time.Second)
	fmt.Println("noticed at once:", time.Since(start) < 2*time.Second)
	return nil
}

// told is what the serving process has to know.
type told struct {
	TLS  resources.TLS
	Site string // host:port, all that may be fetched from
}

func (t told) write(to io.WriteCloser) error {
	return errors.Join(json.NewEncoder(to).Encode(t), to.Close())
}
