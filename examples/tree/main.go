// Tree is the crawler as a supervision tree: names are resolved, sites are fetched, pages
// are stored, rest-for-one: when the names fail, all that live on them start anew. A site
// that is slow is an expiry, which spends no restart; one that is broken is a crash.
//
//	go run ./examples/tree
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

type crawl struct {
	sup   *supervisor.Supervisor
	pages chan string
	fail  chan struct{} // makes the names fail, once
}

// names stands for a resolver's cache.
func (c *crawl) names(ctx context.Context) error {
	select {
	case <-c.fail:
		return errors.New("the cache is corrupt")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// fetcher gets one site's front page, again and again.
func (c *crawl) fetcher(s site) supervisor.Child {
	return supervisor.Child{Name: s.name, Service: supervisor.ServiceFunc(func(ctx context.Context) error {
		for {
			page, err := supervisor.Do(ctx, c.sup, resources.Fetch{URL: s.url})
			if err != nil {
				return err // what it is decides: an expiry, or a crash
			}
			c.pages <- string(page.Body)
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})}
}

func (c *crawl) store(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-c.pages:
		case <-ctx.Done():
		}
	}
	return context.Cause(ctx)
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}

func run() (err error) {
	sites, closeSites := openSites()
	defer closeSites()
	sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(300 * time.Millisecond)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sup.Close()) }()

	c := &crawl{sup: sup, pages: make(chan string, 16), fail: make(chan struct{})}
	fetchers := supervisor.Tree{Name: "fetchers", Intensity: 100}
	for _, s := range sites {
		fetchers.Children = append(fetchers.Children, c.fetcher(s))
	}
	tree, err := sup.Grow(context.Background(), supervisor.Tree{Name: "crawler", Strategy: supervisor.RestForOne, Children: []supervisor.Child{
		{Name: "names", Service: supervisor.ServiceFunc(c.names)},
		{Tree: &fetchers},
		{Name: "store", Service: supervisor.ServiceFunc(c.store)},
	}})
	if err != nil {
		return err
	}
	time.Sleep(1200 * time.Millisecond)
	fmt.Printf("after a while:\n%s", tree)
	close(c.fail)
	time.Sleep(50 * time.Millisecond)
	fmt.Printf("the names have failed, and take the rest along:\n%s", tree)
	fmt.Println("stopped:", tree.Stop(2*time.Second))
	return nil
}
