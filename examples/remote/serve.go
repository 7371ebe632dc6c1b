package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"curfew.example/actors/remote"
	"curfew.example/supervisor"
	"curfew.example/timeoutpolicy"
)

// serving is set in the environment of the process that serves.
const serving = "CURFEW_EXAMPLE_SERVES"

// serve is the process that has the resources. It runs until it is killed.
func serve() error {
	var t told
	if err := json.NewDecoder(os.Stdin).Decode(&t); err != nil {
		return err
	}
	node, err := remote.Start(remote.Config{Listen: "127.0.0.1:0", TLS: t.TLS})
	if err != nil {
		return err
	}
	sup, err := supervisor.Start(supervisor.Under(node.System().Root), supervisor.WithPolicy(timeoutpolicy.Fixed(10*time.Second)))
	if err != nil {
		return err
	}
	if err := node.Serve(sup.PID(), remote.Allow{Fetch: []string{t.Site}}); err != nil {
		return err
	}
	fmt.Println(node.Address())
	select {}
}

// startServer starts this program again to serve, and returns where it does.
func startServer(t told) (*exec.Cmd, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), serving+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	err = t.write(in)
	if err == nil {
		var address string
		if address, err = bufio.NewReader(out).ReadString('\n'); err == nil {
			return cmd, strings.TrimSpace(address), nil
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return nil, "", err
}
