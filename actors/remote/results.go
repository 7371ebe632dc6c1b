package remote

import (
	"strings"
	"time"

	"curfew.example/actors/remote/curfewv1"
	"curfew.example/resources"
)

// valid makes text of ours fit for a protobuf string.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// encodeResult puts the value of a response into its message. Nothing is left out but
// values of kinds that no request could have asked for.
func encodeResult(m *curfewv1.Response, v any, of any) {
	switch v := v.(type) {
	case *resources.Response:
		if v != nil {
			m.Value = &curfewv1.Response_Fetch{Fetch: encodeResponse(v)}
		}
	case *resources.CommandResult:
		if v != nil {
			m.Value = &curfewv1.Response_Command{Command: encodeCommandResult(v)}
		}
	case *resources.SocketResult:
		if v != nil {
			m.Value = &curfewv1.Response_Socket{Socket: encodeSocketResult(v)}
		}
	default:
		if _, ok := of.(XMLRPCCall); ok && m.Error == nil {
			// A value of the gate's own: it has a form on the wire.
			value, _ := encodeValue(v)
			m.Value = &curfewv1.Response_Xmlrpc{Xmlrpc: value}
		}
	}
}

// decodeResult returns the value of a response, nil where it has none.
func decodeResult(m *curfewv1.Response) any {
	switch v := m.GetValue().(type) {
	case *curfewv1.Response_Fetch:
		return decodeResponse(v.Fetch)
	case *curfewv1.Response_Command:
		return decodeCommandResult(v.Command)
	case *curfewv1.Response_Socket:
		return decodeSocketResult(v.Socket)
	case *curfewv1.Response_Xmlrpc:
		return decodeValue(v.Xmlrpc)
	}
	return nil
}

func encodeResponse(r *resources.Response) *curfewv1.FetchResult {
	return &curfewv1.FetchResult{
		Status: int64(r.Status), Proto: valid(r.Proto), Header: encodeHeader(r.Header), Body: r.Body,
		BodyBytes: r.BodyBytes, RawBytes: r.RawBytes, Decoded: r.Decoded, Partial: r.Partial,
		Url: []byte(r.URL), Reused: r.Reused,
	}
}

func decodeResponse(m *curfewv1.FetchResult) *resources.Response {
	return &resources.Response{
		Status: int(m.GetStatus()), Proto: m.GetProto(), Header: decodeHeader(m.GetHeader()), Body: m.GetBody(),
		BodyBytes: m.GetBodyBytes(), RawBytes: m.GetRawBytes(), Decoded: m.GetDecoded(), Partial: m.GetPartial(),
		URL: string(m.GetUrl()), Reused: m.GetReused(),
	}
}

func encodeCommandResult(r *resources.CommandResult) *curfewv1.CommandResult {
	return &curfewv1.CommandResult{
		ExitCode: int64(r.ExitCode), Signal: valid(r.Signal), Pid: int64(r.PID),
		Stdout: r.Stdout, Stderr: r.Stderr, StdoutDropped: r.StdoutDropped, StderrDropped: r.StderrDropped,
		Truncated: r.Truncated, PipeHeld: r.PipeHeld, Mechanism: valid(r.Mechanism), Watchdog: valid(r.Watchdog),
		Seen: int64(r.Seen), Killed: int64(r.Killed), Left: int64(r.Left),
		TookNs: int64(r.Took), UserTimeNs: int64(r.UserTime), SystemTimeNs: int64(r.SystemTime), MaxRssBytes: r.MaxRSSBytes,
	}
}

func decodeCommandResult(m *curfewv1.CommandResult) *resources.CommandResult {
	return &resources.CommandResult{
		ExitCode: int(m.GetExitCode()), Signal: m.GetSignal(), PID: int(m.GetPid()),
		Stdout: m.GetStdout(), Stderr: m.GetStderr(), StdoutDropped: m.GetStdoutDropped(), StderrDropped: m.GetStderrDropped(),
		Truncated: m.GetTruncated(), PipeHeld: m.GetPipeHeld(), Mechanism: m.GetMechanism(), Watchdog: m.GetWatchdog(),
		Seen: int(m.GetSeen()), Killed: int(m.GetKilled()), Left: int(m.GetLeft()),
		Took: time.Duration(m.GetTookNs()), UserTime: time.Duration(m.GetUserTimeNs()), SystemTime: time.Duration(m.GetSystemTimeNs()),
		MaxRSSBytes: m.GetMaxRssBytes(),
	}
}

func encodeSocketResult(r *resources.SocketResult) *curfewv1.SocketResult {
	return &curfewv1.SocketResult{Received: r.Received, SentBytes: r.SentBytes, ReceivedBytes: r.ReceivedBytes, RemoteAddr: valid(r.RemoteAddr)}
}

func decodeSocketResult(m *curfewv1.SocketResult) *resources.SocketResult {
	return &resources.SocketResult{
		Received: m.GetReceived(), SentBytes: m.GetSentBytes(), ReceivedBytes: m.GetReceivedBytes(), RemoteAddr: m.GetRemoteAddr(),
	}
}
