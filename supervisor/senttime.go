package supervisor

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// TimeoutHeader is the header in which a caller sends what it has left: gRPC's, one to
// eight digits and a unit of H, M, S, m (ms), u (µs) or n (ns). It is a length of time and
// never a clock time. See https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md.
const TimeoutHeader = "Grpc-Timeout"

// Inherit writes what ctx has left into h, of a request that is made in the course of
// another, for a server that minds it (Handler). Without a deadline it writes nothing. What
// is over already is sent as zero, and will be refused.
func Inherit(ctx context.Context, h http.Header) {
	if due, ok := ctx.Deadline(); ok {
		h.Set(TimeoutHeader, sentTime(time.Until(due)))
	}
}

// timeUnit is a unit of TimeoutHeader.
type timeUnit struct {
	name   string
	length time.Duration
}

// timeUnits are all there are, the finest first.
func timeUnits() [6]timeUnit {
	return [...]timeUnit{
		{"n", time.Nanosecond}, {"u", time.Microsecond}, {"m", time.Millisecond},
		{"S", time.Second}, {"M", time.Minute}, {"H", time.Hour},
	}
}

const sentMaxDigits = 8

// sentTime is d as it is sent: rounded down to the finest unit that it fits in.
func sentTime(d time.Duration) string {
	d = max(d, 0)
	for _, u := range timeUnits() {
		if text := strconv.FormatInt(int64(d/u.length), 10); len(text) <= sentMaxDigits {
			return text + u.name
		}
	}
	return "" // not reached: 292 years are three million hours
}

// errSentTime holds nothing of what was sent.
var errSentTime = errors.New(TimeoutHeader + ": is not a length of time: 1 to 8 digits and one of H, M, S, m, u, n")

// parseSentTime reads what sentTime and gRPC write.
func parseSentTime(s string) (time.Duration, error) {
	for _, u := range timeUnits() {
		digits, ok := strings.CutSuffix(s, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 32)
		if err != nil || len(digits) > sentMaxDigits {
			return 0, errSentTime
		}
		if u.length == time.Hour {
			n = min(n, uint64(1<<63-1)/uint64(time.Hour))
		}
		return time.Duration(n) * u.length, nil
	}
	return 0, errSentTime
}

// withSentTime is r's context, and ends when what its caller has left is over, if that was
// sent.
func withSentTime(r *http.Request) (context.Context, context.CancelFunc, error) {
	text := r.Header.Get(TimeoutHeader)
	if text == "" {
		return r.Context(), func() {}, nil
	}
	left, err := parseSentTime(text)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), left)
	return ctx, cancel, nil
}
