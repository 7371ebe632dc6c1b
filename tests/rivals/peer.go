package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// peerEnv marks the process that serves. It is this program once more, so that what a
// server takes is in nobody's figures.
const peerEnv = "CURFEW_RIVALS_PEER"

// peer is that process: an HTTP server and a socket that never answers. It ends when its
// standard input does.
type peer struct {
	http   string // host:port
	silent string // host:port
	cmd    *exec.Cmd
	stdin  io.Closer
}

func isPeer() bool { return os.Getenv(peerEnv) != "" }

func startPeer() (*peer, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &peer{cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), peerEnv+"=1")
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := fmt.Fscanln(bufio.NewReader(out), &p.http, &p.silent); err != nil {
		p.stop()
		return nil, fmt.Errorf("start the peer: %w", err)
	}
	return p, nil
}

// stop ends the process and waits for it.
func (p *peer) stop() {
	_ = p.stdin.Close()
	_ = p.cmd.Wait()
}

func (p *peer) pid() int               { return p.cmd.Process.Pid }
func (p *peer) url(path string) string { return "http://" + p.http + path }

// servePeer is the whole of the other process.
func servePeer() {
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/kib", serveKiB)
	mux.HandleFunc("/drip", serveDrip)
	mux.HandleFunc("/RPC2", serveXMLRPC)
	go func() { _ = http.Serve(web, mux) }() // both go on until the process ends
	go serveSilence(silent)
	fmt.Println(web.Addr(), silent.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
}

var kib = []byte(strings.Repeat("x", 1024))

func serveKiB(w http.ResponseWriter, _ *http.Request) {
	w.Header()["Date"] = nil
	_, _ = w.Write(kib)
}

// serveDrip sends a byte every ten milliseconds until the client goes away.
func serveDrip(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		_, _ = w.Write([]byte("."))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// serveSilence takes connections, reads them and says nothing.
func serveSilence(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() { // ends with the connection
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}()
	}
}

// slowCall is how long the method "slow" takes.
const slowCall = 20 * time.Millisecond

var methodCall = regexp.MustCompile(`(?s)<methodName>(\w+)</methodName>.*?<params>(.*)</params>`)

// serveXMLRPC knows three methods: echo, slow, which is echo after a while, and hang.
func serveXMLRPC(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	call := methodCall.FindSubmatch(body)
	if err != nil || call == nil {
		http.Error(w, "no call", http.StatusBadRequest)
		return
	}
	switch string(call[1]) {
	case "hang":
		<-r.Context().Done()
		return
	case "slow":
		time.Sleep(slowCall)
	}
	w.Header().Set("Content-Type", "text/xml")
	fmt.Fprintf(w, "<?xml version=\"1.0\"?><methodResponse><params>%s</params></methodResponse>", call[2])
}
