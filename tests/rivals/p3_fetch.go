package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"curfew.example/resources"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

const (
	netHTTP      = "net/http with a context"
	fetchLimit   = 10 * time.Second
	fetchThrough = 0.93
)

// fetch is P3: small answers over connections that are kept alive, where supervision
// weighs most.
func fetch() benchmark {
	return benchmark{"P3", "a fetch of 1 KiB over keep-alive loopback, 1, 16 and 256 at a time", func(s *suite) (*trial, error) {
		// As many at once as are asked for: the endpoint's default of 64 would make a queue of
		// the widest.
		sup, err := supervisor.Start(supervisor.WithPolicy(timeoutpolicy.Fixed(fetchLimit)),
			supervisor.WithLimits(supervisor.Limits{AtOnce: 256}))
		if err != nil {
			return nil, err
		}
		transport := &http.Transport{MaxIdleConns: 256, MaxIdleConnsPerHost: 256}
		client := &http.Client{Transport: transport}
		url := s.peer.url("/kib")
		ops := s.scale(20_000, 3_000)

		t := &trial{close: func() {
			_ = sup.Close()
			transport.CloseIdleConnections()
		}}
		for _, width := range [...]int{1, 16, 256} {
			ours, theirs := fmt.Sprintf("%s, %d", curfew, width), fmt.Sprintf("%s, %d", netHTTP, width)
			t.contenders = append(t.contenders,
				crowd(ours, width, ops, func(ctx context.Context, _ int) error {
					resp, err := supervisor.Do(ctx, sup, resources.Fetch{URL: url})
					if err != nil {
						return err
					}
					return wholeKiB(resp.Body)
				}),
				crowd(theirs, width, ops, func(ctx context.Context, _ int) error { return get(ctx, client, url, fetchLimit) }))
			t.goals = append(t.goals,
				ratio(rate, ours, theirs).noLess(fetchThrough, 0),
				ratio(allocs, ours, theirs).atMost(1.25, 0).gated(relative))
		}
		return t, nil
	}}
}

// get fetches a KiB as one does with net/http.
func get(ctx context.Context, client *http.Client, url string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return wholeKiB(body)
}

func wholeKiB(body []byte) error {
	if len(body) != 1024 {
		return fmt.Errorf("the body has %d bytes", len(body))
	}
	return nil
}
