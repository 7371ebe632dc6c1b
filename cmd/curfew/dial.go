package main

import (
	"context"
	"errors"
	"io"

	"github.com/spf13/cobra"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
)

// dialFlags are dial's own flags, as they were given.
type dialFlags struct {
	limits
	ca string
}

func (a *app) dialCommand() *cobra.Command {
	f := &dialFlags{}
	cmd := &cobra.Command{
		Use:   "dial [flags] ADDRESS",
		Short: "Connect standard input and output to a socket",
		Long: `Dial sends standard input to a peer, says when that has ended (half-close), and writes
what the peer sends to standard output until the peer has ended too, or the time is over.

ADDRESS is tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT, unix:///PATH, or HOST:PORT,
which is tcp. Over udp all of standard input is one datagram, and one is the answer.

With --output json the answer is kept, up to 32 MiB, and the result is one line: received
(an object with base64 where it is not UTF-8), received_bytes, sent_bytes, remote_addr.`,
		Example: `  printf 'HEAD / HTTP/1.0\r\n\r\n' | curfew dial -t 5 localhost:80
  curfew dial -t 1m --stall 10s --ca own.pem tls://localhost:8443 <request >answer
  echo version | curfew dial -t 1 unix:///run/thing.sock`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("one ADDRESS is wanted")
			}
			return a.dial(cmd.Context(), f, args[0])
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.ca, "ca", "", "trust the authorities in `FILE`, in PEM, and no others; for tls")
	return cmd
}

func (a *app) dial(ctx context.Context, f *dialFlags, address string) error {
	tls, err := trust(f.ca)
	if err != nil {
		return err
	}
	j, err := a.begin(&f.limits)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	socket := resources.Socket{Address: address, TLS: tls, HalfClose: true, In: a.stdin}
	out := newHandover(a.stdout)
	defer out.close()
	if !f.json() {
		socket.Out = out
	}
	if f.json() || !isTerminal(isFile(a.stdout)) {
		j.startProgress("dial")
	}
	receipt := &actors.Receipt{}
	result, err := supervisor.Do(ctx, j.sup, socket, supervisor.WithReceipt(receipt))
	d := ended("socket", receipt, err)
	j.report.add(receipt)
	j.progress.stop()

	broken := out.failed()
	if f.json() && result != nil {
		j.deliver(ctx, d, func(out io.Writer) error {
			return printJSON(out, socketJSON{text(result.Received), result.ReceivedBytes, result.SentBytes, result.RemoteAddr})
		})
	}
	if broken != nil && d.code != codeLeftover {
		d.code, d.err = j.unwritten(broken), nil
	}
	j.tell(d)
	return exitWith(j.close(d.code))
}

// socketJSON is the result of dial in JSON.
type socketJSON struct {
	Received      text   `json:"received"`
	ReceivedBytes int64  `json:"received_bytes"`
	SentBytes     int64  `json:"sent_bytes"`
	RemoteAddr    string `json:"remote_addr"`
}
