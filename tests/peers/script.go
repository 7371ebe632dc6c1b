package peers

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"time"
)

// DripEvery is how often a dripping script says something: often enough to keep any
// limit on a single read from running out.
const DripEvery = 10 * time.Millisecond

// Silent takes connections and says nothing.
func Silent(*Conn) {}

// ResetAtOnce resets before anything was said.
func ResetAtOnce(c *Conn) { c.Reset() }

// HalfCloseAtOnce says that it has nothing to say, and listens.
func HalfCloseAtOnce(c *Conn) { c.HalfClose() }

// Garbage speaks no protocol that anybody knows.
func Garbage(c *Conn) { c.Say("\x00\xff what is this\r\n\r\n") }

// Says says s and goes on with then.
func Says(s string, then Script) Script {
	return func(c *Conn) {
		c.Say(s)
		then(c)
	}
}

// Answers reads an HTTP/1 request, says s and goes on with then.
func Answers(s string, then Script) Script {
	return func(c *Conn) {
		c.Answer(s)
		then(c)
	}
}

// Hears goes on with then once there are n bytes to read, which it leaves there.
func Hears(n int, then Script) Script {
	return func(c *Conn) {
		_, _ = c.In.Peek(n)
		then(c)
	}
}

// Drips says s again and again, slowly.
func Drips(s string) Script { return func(c *Conn) { c.Drip(s, DripEvery) } }

// Floods says s again and again, as fast as it is taken.
func Floods(s string) Script {
	s = strings.Repeat(s, max(1, 4096/len(s)))
	return func(c *Conn) { c.Flood(s) }
}

// Redirects sends every request on to where it came from.
func Redirects(c *Conn) {
	for {
		if req, _ := c.Request(); req == nil {
			return
		}
		c.Say("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")
	}
}

// Zipped is an HTTP/1 answer whose body has been compressed.
func Zipped(body io.Reader) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = io.Copy(z, body)
	_ = z.Close()
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", b.Len(), b.String())
}

// Repeated reads as s again and again, size bytes of it.
func Repeated(s string, size int64) io.Reader {
	return io.LimitReader(&repeated{text: s}, size)
}

type repeated struct {
	text string
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.text[r.at:])
	for n < len(p) {
		n += copy(p[n:], r.text)
	}
	r.at = (r.at + n) % len(r.text)
	return n, nil
}
