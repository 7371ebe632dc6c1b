package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"

	"github.com/spf13/cobra"

	"curfew.example/actors"
	"curfew.example/resources"
	"curfew.example/supervisor"
)

// xmlrpcFlags are xmlrpc's own flags, as they were given.
type xmlrpcFlags struct {
	limits
	user string
	ca   string
}

func (a *app) xmlrpcCommand() *cobra.Command {
	f := &xmlrpcFlags{}
	cmd := &cobra.Command{
		Use:   "xmlrpc [flags] URL METHOD [JSON…]",
		Short: "Call a method of an XML-RPC server",
		Long: `Xmlrpc calls a method with arguments in JSON and writes its result as JSON.

URL is http, https, or a unix socket: unix:///PATH. In arguments a number without a
fraction or an exponent is an integer, of at most 64 bits; any other is a double; null is
nil. In results bytes are a base64 string, dates are RFC 3339 text (UTC where the server
names no zone) or the server's own text where that is no date, big decimals are text, and a
double that JSON cannot say is "NaN", "Infinity" or "-Infinity"; a double always has a
fraction or an exponent.

A fault has exit code 1 and its text goes to standard error; with --output json it is the
result: {"fault": {"code", "string"}}, beside {"result": …} otherwise.

The password comes from $CURFEW_PASSWORD or the URL.`,
		Example: `  curfew xmlrpc -t 5 http://localhost:9001/RPC2 system.listMethods
  curfew xmlrpc -t 5 http://localhost:8000 add 1 2
  CURFEW_PASSWORD=… curfew xmlrpc -t 5 --user bob unix:///run/supervisor.sock supervisor.getState
  curfew xmlrpc -t 5 http://localhost:8000 echo '"text"' '[1, 2.0]' '{"key": null}'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return errors.New("a URL and a METHOD are wanted")
			}
			return a.xmlrpc(cmd.Context(), f, args[0], args[1], args[2:])
		},
	}
	f.add(cmd)
	cmd.Flags().SetInterspersed(false) // an argument may be a negative number
	cmd.Flags().StringVar(&f.user, "user", "", "`USER` for basic authentication, in place of the URL's")
	cmd.Flags().StringVar(&f.ca, "ca", "", "trust the authorities in `FILE`, in PEM, and no others")
	return cmd
}

// session is the session that the flags ask for.
func (f *xmlrpcFlags) session(a *app, address string) (resources.XMLRPC, error) {
	tls, err := trust(f.ca)
	s := resources.XMLRPC{URL: address, TLS: tls}
	user, password := f.user, ""
	// The URL may be one that only the session can read; then it has no userinfo of use.
	if u, err := url.Parse(address); err == nil && u.User != nil {
		if user == "" {
			user = u.User.Username()
		}
		password, _ = u.User.Password()
	}
	if p := a.getenv("CURFEW_PASSWORD"); p != "" {
		password = p
	}
	if user != "" { // a password is not sent to servers that nobody wants to log in to
		s.User, s.Password = user, password
	}
	return s, err
}

func (a *app) xmlrpc(ctx context.Context, f *xmlrpcFlags, address, method string, texts []string) error {
	args, err := parseArguments(texts)
	if err != nil {
		return err
	}
	session, err := f.session(a, address)
	if err != nil {
		return err
	}
	j, err := a.begin(&f.limits)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	j.startProgress("xmlrpc")

	d, value := j.call(ctx, session, method, args)
	j.report.add(d.receipt)
	j.progress.stop()
	j.deliver(ctx, d, func(out io.Writer) error { return f.write(out, d, value) })
	j.tell(d)
	return exitWith(j.close(d.code))
}

// call opens the session and makes the call. The receipt is the call's, or that of an
// opening that failed.
func (j *job) call(ctx context.Context, session resources.XMLRPC, method string, args []any) (*done, any) {
	receipt := &actors.Receipt{}
	s, err := supervisor.Open(ctx, j.sup, session, supervisor.WithReceipt(receipt))
	if err != nil {
		return ended("xmlrpc", receipt, err), nil
	}
	defer s.Close()
	opened := *receipt
	*receipt = actors.Receipt{}
	var value any
	err = s.Call(supervisor.WithOptions(ctx, supervisor.WithReceipt(receipt)), method, args, &value)
	if receipt.Kind == "" {
		// The call could not be put into words: nobody was asked for anything.
		*receipt = actors.Receipt{Kind: opened.Kind, Target: opened.Target, Outcome: actors.Refused, Budget: opened.Budget, Error: err.Error()}
	}
	return ended("xmlrpc", receipt, err), value
}

// write writes the result, or with --output json a fault.
func (f *xmlrpcFlags) write(out io.Writer, d *done, value any) error {
	fault, faulty := errors.AsType[*resources.Fault](d.err)
	switch {
	case f.json() && faulty:
		return printJSON(out, map[string]any{"fault": faultJSON{fault.Code, fault.String}})
	case d.receipt.Outcome != actors.Completed:
		return nil
	case f.json():
		return printJSON(out, map[string]json.RawMessage{"result": resultJSON(value)})
	}
	return printJSON(out, resultJSON(value))
}

type faultJSON struct {
	Code   int    `json:"code"`
	String string `json:"string"`
}
