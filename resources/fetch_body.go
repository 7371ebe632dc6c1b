package resources

import (
	"compress/gzip"
	"io"
	"net/http"
	"strings"
)

// firstGrowMaxBytes bounds what a peer's Content-Length alone can make us allocate.
const firstGrowMaxBytes = 1 << 20

// bodyReader reads a response's body, decoded, within its limits. Both sides of the
// decoder are counted, so that a small body that decodes to a huge one stops at the
// limit, with no more in memory than that.
type bodyReader struct {
	body         movingReader
	raw, decoded meter
	gzip         *gzip.Reader // nil until the first byte is wanted, and where nothing is decoded
	header       http.Header
	decode       bool
	tooLong      bool // the peer said beforehand that it is
}

// begin makes the reader ready for the body of got.
func (b *bodyReader) begin(got *answer, held *Held, p *fetchPlan) {
	resp := got.response
	b.body, b.header = movingReader{resp.Body, held}, resp.Header
	b.decode = got.gzip && strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip")
	rawMax, what := p.rawMax, "body before decoding"
	if !b.decode {
		rawMax, what = min(p.rawMax, p.bodyMax), "body"
	}
	b.raw = meter{from: &b.body, max: rawMax, what: what, target: p.target}
	b.decoded = meter{from: &b.raw, max: p.bodyMax, what: "body", target: p.target}
	b.tooLong = got.method != http.MethodHead && resp.ContentLength > rawMax && resp.StatusCode < 400
}

func (b *bodyReader) Read(p []byte) (int, error) {
	if b.tooLong {
		return 0, b.raw.tooLarge()
	}
	if b.decode && b.gzip == nil {
		if err := b.start(); err != nil {
			return 0, err
		}
	}
	return b.decoded.Read(p)
}

// start puts the decoder between the two meters. A body of no bytes at all, as that of
// a 304, is at its end already and no broken gzip.
func (b *bodyReader) start() error {
	z, err := gzip.NewReader(&b.raw)
	if err != nil {
		return err
	}
	b.gzip, b.decoded.from = z, z
	return nil
}

// account writes down what was read.
func (b *bodyReader) account(r *Response) {
	r.BodyBytes, r.RawBytes, r.Decoded = b.decoded.n, b.raw.n, b.gzip != nil
	if r.Decoded {
		deleteAll(b.header, "Content-Encoding", "Content-Length")
	}
}

// readAll reads r to its end and returns what it got, also on an error. length is what
// the peer announced, or negative.
func readAll(r io.Reader, length int64) ([]byte, error) {
	var got chunks
	if length > 0 {
		got.last = make([]byte, 0, min(length, firstGrowMaxBytes)+1) // the end is read, too
	}
	for {
		n, err := r.Read(got.room())
		got.last = got.last[:len(got.last)+n]
		if err == io.EOF {
			return got.join(), nil
		}
		if err != nil {
			return got.join(), err
		}
	}
}

// meter counts what is read through it and returns a *TooLargeError once it is more than
// max.
type meter struct {
	from   io.Reader
	n, max int64
	what   string // it counts
	target string // it comes from
}

func (m *meter) tooLarge() error {
	return &TooLargeError{What: m.what, MaxBytes: m.max, Target: m.target}
}

func (m *meter) Read(p []byte) (int, error) {
	// One byte more than is allowed tells a body of exactly max from a longer one.
	if room := m.max - m.n; int64(len(p))-1 > room {
		p = p[:room+1]
	}
	n, err := m.from.Read(p)
	if m.n+int64(n) > m.max {
		n = int(m.max - m.n)
		m.n = m.max
		return n, m.tooLarge()
	}
	m.n += int64(n)
	return n, err
}

// movingReader tells held of each byte that moves.
type movingReader struct {
	io.Reader
	held *Held
}

func (r *movingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if n > 0 {
		r.held.Progress()
	}
	return n, err
}
