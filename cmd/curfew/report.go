package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"time"

	"curfew.example/actors"
	"curfew.example/resources"
)

// reportLimit bounds the writing of a report into a pipe that nobody empties.
const reportLimit = 2 * time.Second

// report is where receipts go, one a line. A nil report takes them and drops them. One
// goroutine uses it.
type report struct {
	to   io.Writer
	file *os.File // nil when it is somebody else's
	err  error    // the first
}

// openReport opens the file before anything is started, so that a receipt is not lost. A
// name of "-" is standard error, an empty one is no report.
func openReport(name string, stderr io.Writer) (*report, error) {
	switch name {
	case "":
		return nil, nil
	case "-":
		return &report{to: stderr}, nil
	}
	// A named pipe that nobody reads is an error and not a wait.
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|nonBlocking, 0o666)
	if err != nil {
		return nil, errors.New("--report: " + err.Error())
	}
	return &report{to: f, file: f}, nil
}

// add writes one receipt.
func (r *report) add(receipt any) {
	if r == nil || r.err != nil {
		return
	}
	line, err := json.Marshal(receipt)
	if err == nil {
		if r.file != nil {
			_ = r.file.SetWriteDeadline(time.Now().Add(reportLimit)) // files have none, and need none
		}
		_, err = r.to.Write(append(line, '\n'))
	}
	r.err = err
}

// close closes the file and returns the first error.
func (r *report) close() error {
	if r == nil {
		return nil
	}
	if r.file != nil {
		r.err = errors.Join(r.err, r.file.Close())
	}
	return r.err
}

// execReceipt is the receipt of exec: the common one and what became of the processes.
type execReceipt struct {
	actors.ReceiptFields
	Exit      *exitFields   `json:"exit"` // null when nothing was started, or it has not ended
	Processes processFields `json:"processes"`
}

type exitFields struct {
	Code   *int    `json:"code"`   // null when it was ended by a signal
	Signal *string `json:"signal"` // without SIG; null when it exited
}

type processFields struct {
	Seen   int `json:"seen"`
	Killed int `json:"killed"`
	Left   int `json:"left"`

	Mechanism *string `json:"mechanism"` // how they were reached; null when nothing was started
	Watchdog  *string `json:"watchdog"`  // who would have ended them without curfew: "guard", or "runtime", which is nobody
}

// receiptOf adds what r, which may be nil, says to the receipt.
func receiptOf(receipt *actors.Receipt, r *resources.CommandResult) *execReceipt {
	x := &execReceipt{ReceiptFields: receipt.Fields()}
	if r == nil {
		return x
	}
	x.Processes = processFields{Seen: r.Seen, Killed: r.Killed, Left: r.Left, Mechanism: &r.Mechanism, Watchdog: &r.Watchdog}
	switch {
	case r.Signal != "":
		x.Exit = &exitFields{Signal: &r.Signal}
	case r.ExitCode >= 0:
		x.Exit = &exitFields{Code: &r.ExitCode}
	}
	return x
}
