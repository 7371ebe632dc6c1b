package resources

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"mime"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// xmlrpcDecl matches an XML declaration (XML 1.0, production 23) in any charset that
// agrees with ASCII, and captures the encoding's name in its quotes.
var xmlrpcDecl = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^<\?xml\s+version\s*=\s*(?:"[\w.:-]+"|'[\w.:-]+')` +
		`(?:\s+encoding\s*=\s*("[A-Za-z][\w.-]*"|'[A-Za-z][\w.-]*'))?` +
		`(?:\s+standalone\s*=\s*(?:"(?:yes|no)"|'(?:yes|no)'))?\s*\?>`)
})

// xmlrpcUTF8 returns doc in UTF-8, without byte order mark and XML declaration. As in
// Python the document itself says its charset, by mark or declaration, and UTF-8 is the
// default; only for one that says nothing and is not UTF-8 are the Content-Type and
// then fallback asked. It grows no longer than bodyMax bytes by that.
func xmlrpcUTF8(doc []byte, contentType, fallback string, bodyMax int64) ([]byte, error) {
	if order := wideOrder(doc); order != nil {
		return fromUTF16(doc, order, bodyMax)
	}
	doc = bytes.TrimPrefix(doc, []byte("\xEF\xBB\xBF"))
	rest, label := cutDecl(doc)
	if label == "" && !utf8.Valid(rest) {
		label = fallback
		if _, params, err := mime.ParseMediaType(contentType); err == nil && params["charset"] != "" {
			label = params["charset"]
		}
	}
	return fromNarrow(rest, label, bodyMax)
}

// cutDecl takes the XML declaration off doc and returns the charset it names.
func cutDecl(doc []byte) (rest []byte, label string) {
	m := xmlrpcDecl().FindSubmatch(doc)
	if m == nil {
		return doc, "" // a malformed one is met again as a processing instruction, and refused
	}
	return doc[len(m[0]):], strings.Trim(string(m[1]), `"'`)
}

// fromNarrow decodes the charsets of single bytes, which are all that Python takes.
func fromNarrow(doc []byte, label string, bodyMax int64) ([]byte, error) {
	name := plainCharset(label)
	switch {
	case name == "" || name == "utf8":
		if !utf8.Valid(doc) {
			return nil, badAnswer("invalid UTF-8", ErrXMLRPCCharset)
		}
		return doc, nil
	case name == "usascii" || name == "ascii" || name == "utf": // "UTF-": of UTF-8, Python has the single bytes then
		if bytes.ContainsFunc(doc, func(r rune) bool { return r >= utf8.RuneSelf }) {
			return nil, badAnswer("a byte beyond ASCII", ErrXMLRPCCharset)
		}
		return doc, nil
	}
	set := singleByte(name)
	if set == nil {
		return nil, badAnswer(fmt.Sprintf("charset %.40q", label), ErrXMLRPCCharset)
	}
	out := utf8Writer{text: make([]byte, 0, len(doc)+highBytes(doc)), max: bodyMax}
	for _, b := range doc {
		r := set.DecodeByte(b)
		if r == utf8.RuneError {
			return nil, badAnswer("a byte that its charset does not have", ErrXMLRPCCharset)
		}
		if err := out.add(r); err != nil {
			return nil, err
		}
	}
	return out.text, nil
}

// highBytes counts what is not ASCII, and takes two bytes or more in UTF-8.
func highBytes(doc []byte) int {
	n := 0
	for _, b := range doc {
		n += int(b >> 7)
	}
	return n
}

// utf8Writer collects characters, up to a limit.
type utf8Writer struct {
	text []byte
	max  int64
}

func (w *utf8Writer) add(r rune) error {
	if int64(len(w.text)) >= w.max {
		return badAnswer("refused", ErrXMLRPCTooLong)
	}
	w.text = utf8.AppendRune(w.text, r)
	return nil
}

// plainCharset reduces a charset's label, or a charmap's name, to what they have in
// common: "ISO_8859-1", "ISO 8859-1" and "latin1" are one.
func plainCharset(label string) string {
	name := strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return unicode.ToLower(r)
		}
		return -1
	}, label)
	name = strings.Replace(name, "ibmcodepage", "cp", 1)
	switch {
	case name == "latin1" || name == "l1":
		return "iso88591"
	case strings.HasPrefix(name, "cp125"), name == "cp874":
		return "windows" + name[len("cp"):]
	case strings.HasPrefix(name, "ibm"):
		return "cp" + name[len("ibm"):]
	}
	return name
}

func singleByte(name string) *charmap.Charmap {
	for _, e := range charmap.All {
		if set, ok := e.(*charmap.Charmap); ok && plainCharset(set.String()) == name {
			return set
		}
	}
	return nil
}

// wideOrder tells UTF-16, and its byte order, by the mark or the first "<". It returns
// nil for anything else.
func wideOrder(doc []byte) binary.ByteOrder {
	if len(doc) < 2 {
		return nil
	}
	switch [2]byte(doc) {
	case [2]byte{0xFE, 0xFF}, [2]byte{0, '<'}:
		return binary.BigEndian
	case [2]byte{0xFF, 0xFE}, [2]byte{'<', 0}:
		return binary.LittleEndian
	}
	return nil
}

// fromUTF16 decodes strictly: half a character is an error, not U+FFFD.
func fromUTF16(doc []byte, order binary.ByteOrder, bodyMax int64) ([]byte, error) {
	broken := badAnswer("invalid UTF-16", ErrXMLRPCCharset)
	if len(doc)%2 != 0 {
		return nil, broken
	}
	out := utf8Writer{text: make([]byte, 0, len(doc)), max: bodyMax}
	for i := 0; i < len(doc); i += 2 {
		r := rune(order.Uint16(doc[i:]))
		if utf16.IsSurrogate(r) {
			if i += 2; i == len(doc) {
				return nil, broken
			}
			if r = utf16.DecodeRune(r, rune(order.Uint16(doc[i:]))); r == unicode.ReplacementChar {
				return nil, broken
			}
		}
		if err := out.add(r); err != nil {
			return nil, err
		}
	}
	rest, label := cutDecl(bytes.TrimPrefix(out.text, []byte("\uFEFF")))
	if name := plainCharset(label); name != "" && !strings.HasPrefix(name, "utf16") {
		return nil, badAnswer("UTF-16 that declares to be something else", ErrXMLRPCCharset)
	}
	return rest, nil
}
