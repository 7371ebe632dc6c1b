package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"slices"
	"syscall"

	"curfew.example/actors"
	"curfew.example/actors/remote/curfewv1"
	"curfew.example/resources"
	"curfew.example/timeoutpolicy"
)

// ErrNotAllowed says that the peer does not serve what was asked for: it is not on its
// list. Nothing was started.
var ErrNotAllowed = errors.New("not allowed to remote peers")

// ErrPeerLost says that the link to a peer broke, or never came to be, while a request was
// under way. Whether it was done there is not known; the peer stops it when it notices.
var ErrPeerLost = errors.New("the link to the peer is lost")

// ErrNoAnswer says that a peer did not answer within the deadline and the grace. It is a
// context.DeadlineExceeded. The peer was told to stop, if it hears that.
var ErrNoAnswer = fmt.Errorf("the peer did not answer in time: %w", context.DeadlineExceeded)

// ErrTooLarge says that a request, or a result, is larger than a message may be.
var ErrTooLarge = errors.New("larger than a message may be")

// Error is an error that a peer answered with. errors.Is and errors.As find in it what
// they would have found there, as far as that travels: the errors of packages actors,
// timeoutpolicy and resources, ends of contexts, and the common ones of the network, of
// files and of programs.
type Error struct {
	Peer string // its address
	Text string // what the error said there

	found []error
}

// Error says what went wrong, and where.
func (e *Error) Error() string { return "peer " + e.Peer + ": " + e.Text }

// Unwrap returns what was found in the peer's error.
func (e *Error) Unwrap() []error { return e.found }

// coded is an error that travels as a code.
type coded struct {
	code curfewv1.Code
	err  error
}

// codedErrors lists the errors that travel as codes.
func codedErrors() []coded {
	return []coded{
		{curfewv1.Code_CODE_NOT_ALLOWED, ErrNotAllowed},
		{curfewv1.Code_CODE_NO_LIMIT, timeoutpolicy.ErrNoLimit},
		{curfewv1.Code_CODE_TOO_LATE, timeoutpolicy.ErrTooLate},
		{curfewv1.Code_CODE_OVERLOADED, actors.ErrOverloaded},
		{curfewv1.Code_CODE_BREAKER_OPEN, actors.ErrBreakerOpen},
		{curfewv1.Code_CODE_CLOSED, actors.ErrClosed},
		{curfewv1.Code_CODE_DUPLICATE_ID, actors.ErrDuplicateID},
		{curfewv1.Code_CODE_DEADLINE_EXCEEDED, context.DeadlineExceeded},
		{curfewv1.Code_CODE_CANCELED, context.Canceled},
		{curfewv1.Code_CODE_RESULT_TOO_LARGE, ErrTooLarge},
		{curfewv1.Code_CODE_CONNECTION_REFUSED, syscall.ECONNREFUSED},
		{curfewv1.Code_CODE_CONNECTION_RESET, syscall.ECONNRESET},
		{curfewv1.Code_CODE_BROKEN_PIPE, syscall.EPIPE},
		{curfewv1.Code_CODE_HOST_UNREACHABLE, syscall.EHOSTUNREACH},
		{curfewv1.Code_CODE_NETWORK_UNREACHABLE, syscall.ENETUNREACH},
		{curfewv1.Code_CODE_UNEXPECTED_EOF, io.ErrUnexpectedEOF},
		{curfewv1.Code_CODE_NOT_EXIST, fs.ErrNotExist},
		{curfewv1.Code_CODE_PERMISSION, fs.ErrPermission},
		{curfewv1.Code_CODE_NOT_FOUND, exec.ErrNotFound},
	}
}

// encodeError makes a message of an error. Texts of errors hold no secrets: that is a
// rule for those who make them.
func encodeError(err error) *curfewv1.Error {
	if err == nil {
		return nil
	}
	m := &curfewv1.Error{Text: valid(err.Error())}
	for _, c := range codedErrors() {
		if errors.Is(err, c.err) {
			m.Codes = append(m.Codes, c.code)
		}
	}
	encodeDetails(m, err)
	return m
}

func encodeDetails(m *curfewv1.Error, err error) {
	if e, ok := errors.AsType[*resources.Invalid](err); ok {
		m.Invalid = &curfewv1.Error_Invalid{Kind: valid(e.Kind), Field: valid(e.Field), Why: valid(e.Why)}
	}
	if e, ok := errors.AsType[*resources.ExitError](err); ok {
		m.Exit = &curfewv1.Error_Exit{Target: valid(e.Target), Code: int64(e.Code), Signal: valid(e.Signal), Stderr: e.Stderr}
	}
	if e, ok := errors.AsType[*resources.StatusError](err); ok {
		m.Status = &curfewv1.Error_Status{Target: valid(e.Target)}
	}
	if e, ok := errors.AsType[*resources.Fault](err); ok {
		raw, _ := encodeValue(e.Raw)
		m.Fault = &curfewv1.Error_Fault{Code: int64(e.Code), Text: []byte(e.String), Raw: raw}
	}
	if e, ok := errors.AsType[*resources.XMLRPCProtocolError](err); ok {
		m.Protocol = &curfewv1.Error_Protocol{Status: int64(e.Status), Header: encodeHeader(e.Header), Body: e.Body}
	}
	if e, ok := errors.AsType[*resources.TooLargeError](err); ok {
		m.TooLarge = &curfewv1.Error_TooLarge{What: valid(e.What), MaxBytes: e.MaxBytes, Target: valid(e.Target)}
	}
	if e, ok := errors.AsType[*resources.StartError](err); ok {
		m.StartTarget = valid(e.Target)
	}
	if e, ok := errors.AsType[*resources.Panicked](err); ok {
		m.Panic = valid(e.Error())
	}
}

// decodeError makes an error of a peer's answer, nil where there is none.
func decodeError(peer string, m *curfewv1.Error, value any, receipt *actors.Receipt) error {
	if m == nil {
		return nil
	}
	e := &Error{Peer: peer, Text: m.GetText()}
	if err := ended(receipt, m.GetText()); err != nil {
		e.found = append(e.found, err)
	}
	e.found = append(e.found, decodeDetails(m, value)...)
	for _, c := range codedErrors() {
		if slices.Contains(m.GetCodes(), c.code) {
			e.found = append(e.found, c.err)
		}
	}
	return e
}

// ended is the error of an outcome that is no plain failure.
func ended(receipt *actors.Receipt, text string) error {
	switch {
	case receipt == nil:
		return nil
	case receipt.Outcome == actors.Expired:
		return &actors.ExpiredError{Receipt: receipt}
	case receipt.Outcome == actors.Cancelled:
		return &actors.CancelledError{Receipt: receipt, Cause: errors.New(text)}
	case receipt.Outcome == actors.Completed:
		// An error beside a success is about what would not go.
		return &actors.UnreleasedError{Receipt: receipt, Cleanup: &resources.LeftoverError{Left: receipt.Leftover}}
	}
	return nil
}

func decodeDetails(m *curfewv1.Error, value any) []error {
	var found []error
	if d := m.GetInvalid(); d != nil {
		found = append(found, &resources.Invalid{Kind: d.GetKind(), Field: d.GetField(), Why: d.GetWhy()})
	}
	if d := m.GetExit(); d != nil {
		found = append(found, &resources.ExitError{Target: d.GetTarget(), Code: int(d.GetCode()), Signal: d.GetSignal(), Stderr: d.GetStderr()})
	}
	if r, ok := value.(*resources.Response); ok && m.GetStatus() != nil {
		found = append(found, &resources.StatusError{Status: r.Status, Header: r.Header, Body: r.Body, Target: m.GetStatus().GetTarget()})
	}
	if d := m.GetFault(); d != nil {
		raw, _ := decodeValue(d.GetRaw()).(map[string]any)
		found = append(found, &resources.Fault{Code: int(d.GetCode()), String: string(d.GetText()), Raw: raw})
	}
	if d := m.GetProtocol(); d != nil {
		found = append(found, &resources.XMLRPCProtocolError{Status: int(d.GetStatus()), Header: decodeHeader(d.GetHeader()), Body: d.GetBody()})
	}
	if d := m.GetTooLarge(); d != nil {
		found = append(found, &resources.TooLargeError{What: d.GetWhat(), MaxBytes: d.GetMaxBytes(), Target: d.GetTarget()})
	}
	if m.GetStartTarget() != "" {
		found = append(found, &resources.StartError{Target: m.GetStartTarget(), Err: errors.New(m.GetText())})
	}
	if m.GetPanic() != "" {
		found = append(found, &resources.Panicked{Value: m.GetPanic()})
	}
	return found
}
