package remote

import (
	"fmt"
	"time"

	"curfew.example/actors/remote/curfewv1"
	"curfew.example/resources"
)

// encodeUse puts a kind into a request. What does not travel is *resources.Invalid.
func encodeUse(req *curfewv1.Request, use any) error {
	var stay error
	switch k := use.(type) {
	case resources.Fetch:
		stay = staysFetch(k)
		req.Use = &curfewv1.Request_Fetch{Fetch: encodeFetch(k)}
	case resources.Command:
		stay = staysCommand(k)
		req.Use = &curfewv1.Request_Command{Command: encodeCommand(k)}
	case resources.Socket:
		stay = staysSocket(k)
		req.Use = &curfewv1.Request_Socket{Socket: encodeSocket(k)}
	case XMLRPCCall:
		call, err := encodeCall(k)
		if err != nil {
			return err
		}
		req.Use = &curfewv1.Request_Xmlrpc{Xmlrpc: call}
	default:
		return &resources.Invalid{Kind: "request", Field: "Use", Why: fmt.Sprintf("a %T cannot be sent to another process", use)}
	}
	return stay
}

// decodeUse makes a kind of a request; bodies and outputs are limited to max bytes. The
// error says that it holds none that is known here.
func decodeUse(req *curfewv1.Request, max int64) (any, error) {
	switch u := req.GetUse().(type) {
	case *curfewv1.Request_Fetch:
		return decodeFetch(u.Fetch, max), nil
	case *curfewv1.Request_Command:
		return decodeCommand(u.Command, max), nil
	case *curfewv1.Request_Socket:
		return decodeSocket(u.Socket, max), nil
	case *curfewv1.Request_Xmlrpc:
		return decodeCall(u.Xmlrpc, max), nil
	}
	return nil, &resources.Invalid{Kind: "request", Field: "Use", Why: "is none that is known here"}
}

// erase makes a Use of what decodeUse returned.
func erase(kind any) resources.Use {
	switch k := kind.(type) {
	case resources.Fetch:
		return resources.Of(k)
	case resources.Command:
		return resources.Of(k)
	case resources.Socket:
		return resources.Of(k)
	case XMLRPCCall:
		return resources.Of(k)
	}
	return nil
}

// stays returns the error for the first field that is set and cannot travel.
func stays(kind string, fields ...field) error {
	for _, f := range fields {
		if f.set {
			return &resources.Invalid{Kind: kind, Field: f.name, Why: "cannot be sent to another process"}
		}
	}
	return nil
}

type field struct {
	name string
	set  bool
}

func staysFetch(f resources.Fetch) error {
	return stays("fetch", field{"BodyFile", f.BodyFile != ""}, field{"BodyFrom", f.BodyFrom != nil}, field{"Sink", f.Sink != nil},
		field{"Proxy", f.Proxy != ""}, field{"Unix", f.Unix != ""}, field{"RedirectsMax", f.RedirectsMax > 0})
}

func staysCommand(c resources.Command) error {
	return stays("command", field{"StdinFrom", c.StdinFrom != nil}, field{"Stdout", c.Stdout != nil}, field{"Stderr", c.Stderr != nil},
		field{"LeaveBackground", c.LeaveBackground}, field{"Foreground", c.Foreground})
}

func staysSocket(s resources.Socket) error {
	return stays("socket", field{"In", s.In != nil}, field{"Out", s.Out != nil})
}

func encodeFetch(f resources.Fetch) *curfewv1.Fetch {
	return &curfewv1.Fetch{
		Url: []byte(f.URL), Method: f.Method, Header: encodeHeader(f.Header), Body: f.Body, AnyStatus: f.AnyStatus,
		BodyMaxBytes: f.BodyMaxBytes, RawMaxBytes: f.RawMaxBytes, HeaderMaxBytes: f.HeaderMaxBytes,
		Tls: encodeTLS(f.TLS), NoReuse: f.NoReuse, NoRetry: f.NoRetry,
	}
}

func decodeFetch(f *curfewv1.Fetch, max int64) resources.Fetch {
	return resources.Fetch{
		URL: string(f.GetUrl()), Method: f.GetMethod(), Header: decodeHeader(f.GetHeader()), Body: f.GetBody(), AnyStatus: f.GetAnyStatus(),
		BodyMaxBytes: within(f.GetBodyMaxBytes(), resources.DefaultBodyMaxBytes, max), RawMaxBytes: f.GetRawMaxBytes(),
		HeaderMaxBytes: within(f.GetHeaderMaxBytes(), resources.DefaultHeaderMaxBytes, max/8),
		RedirectsMax:   -1,
		TLS:            decodeTLS(f.GetTls()), NoReuse: f.GetNoReuse(), NoRetry: f.GetNoRetry(),
	}
}

func encodeCommand(c resources.Command) *curfewv1.Command {
	m := &curfewv1.Command{
		Path: []byte(c.Path), Args: encodeTexts(c.Args), Dir: []byte(c.Dir), Env: encodeTexts(c.Env), CleanEnv: c.CleanEnv,
		Stdin: c.Stdin, OutputMaxBytes: c.OutputMaxBytes,
	}
	for _, s := range c.Ladder {
		m.Ladder = append(m.Ladder, &curfewv1.Step{Signal: s.Signal, WaitNs: int64(s.Wait)})
	}
	return m
}

func decodeCommand(m *curfewv1.Command, max int64) resources.Command {
	c := resources.Command{
		Path: string(m.GetPath()), Args: decodeTexts(m.GetArgs()), Dir: string(m.GetDir()), Env: decodeTexts(m.GetEnv()), CleanEnv: m.GetCleanEnv(),
		Stdin: m.GetStdin(), OutputMaxBytes: within(m.GetOutputMaxBytes(), resources.DefaultOutputMaxBytes, max/2),
	}
	for _, s := range m.GetLadder() {
		c.Ladder = append(c.Ladder, resources.Step{Signal: s.GetSignal(), Wait: time.Duration(s.GetWaitNs())})
	}
	return c
}

func encodeSocket(s resources.Socket) *curfewv1.Socket {
	return &curfewv1.Socket{
		Address: []byte(s.Address), Tls: encodeTLS(s.TLS), Send: s.Send, HalfClose: s.HalfClose,
		ReadBytes: s.ReadBytes, ReadUntil: s.ReadUntil, BodyMaxBytes: s.BodyMaxBytes,
	}
}

func decodeSocket(m *curfewv1.Socket, max int64) resources.Socket {
	return resources.Socket{
		Address: string(m.GetAddress()), TLS: decodeTLS(m.GetTls()), Send: m.GetSend(), HalfClose: m.GetHalfClose(),
		ReadBytes: m.GetReadBytes(), ReadUntil: m.GetReadUntil(), BodyMaxBytes: within(m.GetBodyMaxBytes(), max, max),
	}
}

// within lowers a limit, 0 of which is the given default, to max. What is negative stays:
// it is refused by the kind itself.
func within(limit, byDefault, max int64) int64 {
	if limit == 0 {
		limit = byDefault
	}
	return min(limit, max)
}

func encodeTLS(t *resources.TLS) *curfewv1.Tls {
	if t == nil {
		return nil
	}
	return &curfewv1.Tls{RootCas: t.RootCAs, Certificate: t.Certificate, Key: t.Key, ServerName: t.ServerName, InsecureSkipVerify: t.InsecureSkipVerify}
}

func decodeTLS(m *curfewv1.Tls) *resources.TLS {
	if m == nil {
		return nil
	}
	return &resources.TLS{
		RootCAs: m.GetRootCas(), Certificate: m.GetCertificate(), Key: m.GetKey(),
		ServerName: m.GetServerName(), InsecureSkipVerify: m.GetInsecureSkipVerify(),
	}
}

func encodeHeader(h map[string][]string) []*curfewv1.Header {
	var all []*curfewv1.Header
	for name, values := range h {
		all = append(all, &curfewv1.Header{Name: valid(name), Values: encodeTexts(values)})
	}
	return all
}

// decodeHeader keeps names as they are: they are canonical on the way back, and the
// caller's own on the way there.
func decodeHeader(all []*curfewv1.Header) map[string][]string {
	if len(all) == 0 {
		return nil
	}
	h := make(map[string][]string, len(all))
	for _, m := range all {
		h[m.GetName()] = append(h[m.GetName()], decodeTexts(m.GetValues())...)
	}
	return h
}

func encodeTexts(texts []string) [][]byte {
	var all [][]byte
	for _, s := range texts {
		all = append(all, []byte(s))
	}
	return all
}

func decodeTexts(all [][]byte) []string {
	var texts []string
	for _, b := range all {
		texts = append(texts, string(b))
	}
	return texts
}
