package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
)

// bodyMaxBytes is the longest body unless --max-bytes says otherwise. It is a little less
// than 32 MiB, at which a buffer that doubles doubles once more, so that memory is bounded
// at less than 128 MB.
const bodyMaxBytes = 32_000_000

// fetchFlags are fetch's own flags, as they were given.
type fetchFlags struct {
	limits
	method    string
	headers   []string
	data      string
	file      string
	anyStatus bool
	maxBytes  int64
	ca        string
	hasData   bool
}

func (a *app) fetchCommand() *cobra.Command {
	f := &fetchFlags{}
	cmd := &cobra.Command{
		Use:   "fetch [flags] URL…",
		Short: "Fetch URLs over HTTP",
		Long: `Fetch makes one HTTP request for each URL and writes the bodies to standard output, byte
for byte. Several URLs are fetched at once and written in their order; the exit code is
the first that is not 0.

A status of 4xx or 5xx is a failure: the status goes to standard error, the body nowhere,
unless --any-status takes it for a success, or --output json shows it. When the time is over
in the middle of a body, what there is of it is written and the code is 124; with -o the
file is then left as it was.

The writing of the bodies counts, too: a reader who does not take them holds curfew until
the time is over, and for two seconds at least; the code is then 124.

With --output json each result is one line: status, proto, header, body (an object with
base64 where it is not UTF-8), body_bytes, partial, redirects.`,
		Example: `  curfew fetch -t 5 https://www.example.org/
  curfew fetch -t 10 -o page.html --max-bytes 1000000 https://www.example.org/
  curfew fetch -t 5 -X PUT -H 'Content-Type: application/json' -d @new.json http://localhost:8080/item
  curfew fetch -t 5 --report receipts.jsonl http://localhost:8080/a http://localhost:8080/b`,
		RunE: func(cmd *cobra.Command, urls []string) error {
			f.hasData = cmd.Flags().Changed("data")
			return a.fetch(cmd.Context(), f, urls)
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&f.method, "request", "X", "", "`METHOD`; GET, or POST with -d, unless given")
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "send `'NAME: VALUE'`; may be given more than once")
	flags.StringVarP(&f.data, "data", "d", "", "send `DATA`, or the content of a file: @FILE")
	flags.StringVarP(&f.file, "file", "o", "", "write the body to `FILE`, complete or not at all")
	flags.BoolVar(&f.anyStatus, "any-status", false, "take 4xx and 5xx for a success")
	flags.Int64Var(&f.maxBytes, "max-bytes", bodyMaxBytes, "longest body in bytes, `N`")
	flags.StringVar(&f.ca, "ca", "", "trust the authorities in `FILE`, in PEM, and no others")
	return cmd
}

// resource is the request that the flags ask for, without its URL.
func (f *fetchFlags) resource(urls []string) (resources.Fetch, error) {
	none := resources.Fetch{}
	switch {
	case len(urls) == 0:
		return none, errors.New("no URL is given")
	case f.file != "" && len(urls) > 1:
		return none, errors.New("-o, --file: there is one file, and more than one URL")
	case f.maxBytes <= 0:
		return none, errors.New("--max-bytes: is not more than 0")
	}
	header, err := parseHeaders(f.headers)
	if err != nil {
		return none, err
	}
	tls, err := trust(f.ca)
	if err != nil {
		return none, err
	}
	r := resources.Fetch{Method: f.method, Header: header, AnyStatus: f.anyStatus, BodyMaxBytes: f.maxBytes, TLS: tls}
	if f.file != "" && f.file != "-" {
		r.Sink = &resources.Sink{Path: f.file}
	}
	return r, f.addData(&r)
}

// addData sets the body.
func (f *fetchFlags) addData(r *resources.Fetch) error {
	if f.hasData && r.Method == "" {
		r.Method = http.MethodPost
	}
	name, isFile := strings.CutPrefix(f.data, "@")
	if !isFile {
		r.Body = []byte(f.data)
		return nil
	}
	r.BodyFile = name
	return readable(name)
}

// readable finds out before anything is asked for. What is no regular file is not opened:
// that may wait.
func readable(name string) error {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return fmt.Errorf("-d, --data: %w", err)
	case !info.Mode().IsRegular():
		return errors.New("-d, --data: is not a regular file")
	}
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("-d, --data: %w", err)
	}
	return file.Close()
}

// parseHeaders takes "Name: value" apart. A value may be a secret: no error shows it.
func parseHeaders(lines []string) (http.Header, error) {
	if len(lines) == 0 {
		return nil, nil
	}
	header := http.Header{}
	for i, line := range lines {
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, fmt.Errorf("-H, --header: number %d is not 'NAME: VALUE'", i+1)
		}
		header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	return header, nil
}

// caMaxBytes is the longest file of authorities that is read; the system's own have some
// 200 kB.
const caMaxBytes = 8 << 20

// trust reads the authorities to trust; without a file they are the system's.
func trust(file string) (*resources.TLS, error) {
	if file == "" {
		return nil, nil
	}
	info, err := os.Stat(file)
	switch {
	case err != nil:
		return nil, fmt.Errorf("--ca: %w", err)
	case !info.Mode().IsRegular() || info.Size() > caMaxBytes:
		return nil, errors.New("--ca: is not a regular file of a reasonable size")
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("--ca: %w", err)
	}
	if len(pem) == 0 {
		return nil, errors.New("--ca: the file is empty")
	}
	return &resources.TLS{RootCAs: pem}, nil
}

func (a *app) fetch(ctx context.Context, f *fetchFlags, urls []string) error {
	r, err := f.resource(urls)
	if err != nil {
		return err
	}
	j, err := a.begin(&f.limits)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	j.startProgress("fetch")
	code, read := codeDone, true
	for i, answer := range j.fetchAll(ctx, r, urls) {
		page := <-answer
		if len(urls) > 1 {
			page.name = fmt.Sprintf("URL %d", i+1)
		}
		j.report.add(page.receipt)
		j.progress.stop()
		read = read && j.deliver(ctx, page.done, func(out io.Writer) error { return f.write(out, page) })
		j.tell(page.done)
		if code == codeDone {
			code = page.code
		}
	}
	return exitWith(j.close(code))
}

// page is a fetch that has ended.
type page struct {
	*done
	response *resources.Response // nil when there was none
}

// fetchAll starts all fetches. Each answers on its own channel.
func (j *job) fetchAll(ctx context.Context, r resources.Fetch, urls []string) []chan *page {
	answers := make([]chan *page, len(urls))
	for i, u := range urls {
		answers[i] = make(chan *page, 1)
		r.URL = u
		// Ends with the request, which is bounded; fetch waits for its answer.
		go func(r resources.Fetch) {
			receipt := &actors.Receipt{}
			response, err := supervisor.Do(ctx, j.sup, r, supervisor.WithReceipt(receipt))
			answers[i] <- &page{ended("fetch", receipt, err), response}
		}(r)
	}
	return answers
}

// write writes what is wanted of a page on standard output.
func (f *fetchFlags) write(out io.Writer, p *page) error {
	if p.response == nil {
		return nil
	}
	if f.json() {
		return printJSON(out, responseJSON(p.response))
	}
	if _, refused := errors.AsType[*resources.StatusError](p.err); refused {
		return nil
	}
	_, err := out.Write(p.response.Body)
	return err
}

// fetchJSON is the result of fetch in JSON.
type fetchJSON struct {
	Status    int         `json:"status"`
	Proto     string      `json:"proto"`
	Header    http.Header `json:"header"`
	Body      *text       `json:"body"` // null when it went to a file
	BodyBytes int64       `json:"body_bytes"`
	Partial   bool        `json:"partial"`
	Redirects int         `json:"redirects"`
}

func responseJSON(r *resources.Response) *fetchJSON {
	f := &fetchJSON{
		Status: r.Status, Proto: r.Proto, Header: r.Header,
		BodyBytes: r.BodyBytes, Partial: r.Partial, Redirects: r.Redirects,
	}
	if r.Body != nil || r.BodyBytes == 0 {
		body := text(r.Body)
		f.Body = &body
	}
	return f
}
