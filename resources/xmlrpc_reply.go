package resources

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/kolo/xmlrpc"
)

var (
	anyType  = reflect.TypeFor[any]()
	timeType = reflect.TypeFor[time.Time]()
)

// checkReply refuses what nothing can be stored in, before the call is made.
func checkReply(reply any) error {
	v := reflect.ValueOf(reply)
	if reply == nil || v.Kind() == reflect.Pointer && !v.IsNil() {
		return nil
	}
	return &Invalid{Kind: "xmlrpc", Field: "reply", Why: "not a pointer that something can be stored in"}
}

// fillReply stores the value of an answer, as the gate makes it, in what reply points
// to, all of it or nothing. An *any takes the value itself. For anything typed kolo's
// decoder does the work, over a document that says only what it understands.
func fillReply(reply, value any) error {
	if reply == nil {
		return nil
	}
	if p, ok := reply.(*any); ok {
		*p = value
		return nil
	}
	// kolo cannot decode over elements that are there already, so into a fresh one.
	fresh := reflect.New(reflect.TypeOf(reply).Elem())
	if err := decodeTyped(fresh, value); err != nil {
		return badAnswer(fmt.Sprintf("does not fit %s", fresh.Type().Elem()), err)
	}
	reflect.ValueOf(reply).Elem().Set(fresh.Elem())
	return nil
}

// decodeTyped contains the panics by which kolo, and reflection, refuse odd targets.
func decodeTyped(target reflect.Value, value any) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &Panicked{Value: v, Stack: debug.Stack()}
		}
	}()
	var doc koloDoc
	doc.WriteString("<methodResponse><params><param>")
	if err := doc.value(target.Type().Elem(), value); err != nil {
		return err
	}
	doc.WriteString("</param></params></methodResponse>")
	if err := xmlrpc.Response(doc.Bytes()).Unmarshal(target.Interface()); err != nil {
		return err
	}
	return mend(target.Elem(), value)
}

// ours reports whether x goes into a place of type t without kolo, which loses empty
// strings and base64 in untyped places, knows no []byte, no unsigned integers, and
// pointers only as fields, and copies a long text five times. Its document has a nil
// there, which leaves the place alone, and mend fills it.
func ours(t reflect.Type, x any) bool {
	if t.Kind() == reflect.Pointer {
		return true
	}
	switch x.(type) {
	case string, XMLRPCDateTime, XMLRPCDecimal:
		if t.Kind() == reflect.String {
			return true
		}
	case []byte:
		if t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8 {
			return true
		}
	case int64:
		if reflect.Uint <= t.Kind() && t.Kind() <= reflect.Uint64 {
			return true
		}
	}
	return t.Kind() == reflect.Interface && t.NumMethod() == 0
}

// koloDoc is a document for kolo's decoder. What recurses here and in mend is bounded by
// the gate, and by the target's type.
type koloDoc struct{ bytes.Buffer }

// value writes x for a place of type t. Where the two do not fit it writes x as it is,
// and kolo says so.
func (d *koloDoc) value(t reflect.Type, x any) (err error) {
	if x == nil || ours(t, x) {
		d.WriteString("<value><nil/></value>")
		return nil
	}
	d.WriteString("<value>")
	switch x := x.(type) {
	case bool:
		d.scalar("boolean", strconv.FormatBool(x)) // which kolo understands
	case int64:
		d.scalar(intName(t), strconv.FormatInt(x, 10))
	case float64:
		d.scalar("double", strconv.FormatFloat(x, 'g', -1, 64))
	case XMLRPCDecimal:
		d.scalar(decimalName(t), string(x))
	case time.Time:
		d.scalar("dateTime.iso8601", x.Format("20060102T15:04:05.999999999Z07:00"))
	case []byte:
		d.scalar("base64", base64.StdEncoding.EncodeToString(x))
	case []any:
		err = d.array(t, x)
	case map[string]any:
		err = d.structure(t, x)
	default: // texts, for a place that is none: kolo only has to see that it is one
		d.scalar("string", "text")
	}
	d.WriteString("</value>")
	return err
}

func (d *koloDoc) scalar(name, text string) { fmt.Fprintf(d, "<%s>%s</%s>", name, text, name) }

// intName lets whole numbers into places for numbers with a fraction.
func intName(t reflect.Type) string {
	if isFloat(t) {
		return "double"
	}
	return "i8"
}

func decimalName(t reflect.Type) string {
	if isFloat(t) {
		return "double"
	}
	return "string"
}

func isFloat(t reflect.Type) bool { return t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64 }

func (d *koloDoc) array(t reflect.Type, vals []any) error {
	elem := anyType
	if t.Kind() == reflect.Slice {
		elem = t.Elem()
	}
	d.WriteString("<array><data>")
	for _, x := range vals {
		if err := d.value(elem, x); err != nil {
			return err
		}
	}
	d.WriteString("</data></array>")
	return nil
}

// structure leaves out members that the target has no field for.
func (d *koloDoc) structure(t reflect.Type, m map[string]any) error {
	if t == timeType {
		return errors.New("a struct is no time")
	}
	var fields map[string]int
	if t.Kind() == reflect.Struct {
		fields = xmlrpcFields(t)
	}
	d.WriteString("<struct>")
	for name, x := range m {
		elem := anyType
		switch t.Kind() {
		case reflect.Map:
			elem = t.Elem()
		case reflect.Struct:
			i, ok := fields[name]
			if !ok {
				continue
			}
			elem = t.Field(i).Type
		}
		if err := d.member(elem, name, x); err != nil {
			return err
		}
	}
	d.WriteString("</struct>")
	return nil
}

func (d *koloDoc) member(t reflect.Type, name string, x any) error {
	if name == "" { // kolo takes an empty name for an error
		if x == nil || ours(t, x) {
			return nil
		}
		return fmt.Errorf("a member without a name in a map of %s", t)
	}
	d.WriteString("<member><name>")
	d.WriteString(escapeXML(name))
	d.WriteString("</name>")
	err := d.value(t, x)
	d.WriteString("</member>")
	return err
}

// xmlrpcFields finds the fields of a struct that kolo sees, by their members' names.
func xmlrpcFields(t reflect.Type) map[string]int {
	fields := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		if name, _ := memberName(f); f.IsExported() && name != "-" {
			fields[name] = i
		}
	}
	return fields
}

// memberName reads kolo's tag: `xmlrpc:"name,omitempty"`, "-" for a field that is left out.
func memberName(f reflect.StructField) (name string, omitEmpty bool) {
	name, omitEmpty = strings.CutSuffix(f.Tag.Get("xmlrpc"), ",omitempty")
	if name == "" {
		name = f.Name
	}
	return name, omitEmpty
}

// mend puts into v, which kolo has filled from x, what kolo could not.
func mend(v reflect.Value, x any) error {
	if x == nil {
		v.SetZero()
		return nil
	}
	if ours(v.Type(), x) {
		return put(v, x)
	}
	switch x := x.(type) {
	case []any:
		if v.IsNil() { // kolo makes an empty array one that is not there
			v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		}
		for i, e := range x {
			if err := mend(v.Index(i), e); err != nil {
				return err
			}
		}
	case map[string]any:
		if v.Kind() == reflect.Map {
			return mendMap(v, x)
		}
		fields := xmlrpcFields(v.Type())
		for name, e := range x {
			i, ok := fields[name]
			if !ok {
				continue
			}
			if err := mend(v.Field(i), e); err != nil {
				return err
			}
		}
	}
	return nil
}

func mendMap(v reflect.Value, m map[string]any) error {
	for name, x := range m {
		key, e := reflect.ValueOf(name), reflect.New(v.Type().Elem()).Elem()
		if old := v.MapIndex(key); old.IsValid() {
			e.Set(old)
		}
		if err := mend(e, x); err != nil {
			return err
		}
		v.SetMapIndex(key, e)
	}
	return nil
}

// put stores x in a place that is ours.
func put(v reflect.Value, x any) error {
	switch {
	case v.Kind() == reflect.Pointer:
		return putPointer(v, x)
	case v.Kind() == reflect.Interface:
		v.Set(reflect.ValueOf(x))
	case v.Kind() == reflect.String:
		v.SetString(reflect.ValueOf(x).String())
	case v.Kind() == reflect.Slice:
		v.SetBytes(x.([]byte))
	case x.(int64) < 0 || v.OverflowUint(uint64(x.(int64))):
		return fmt.Errorf("%s does not hold the integer", v.Type())
	default:
		v.SetUint(uint64(x.(int64)))
	}
	return nil
}

// putPointer decodes what is behind a pointer by itself. One to another pointer is no
// target of kolo's, and could go on for ever.
func putPointer(v reflect.Value, x any) error {
	elem := v.Type().Elem()
	if elem.Kind() == reflect.Pointer {
		return fmt.Errorf("%s is a pointer to a pointer", v.Type())
	}
	p := reflect.New(elem)
	if err := decodeTyped(p, x); err != nil {
		return err
	}
	v.Set(p)
	return nil
}
