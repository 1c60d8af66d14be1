package toolcall

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hone-lm/hone/internal/pyrepr"
)

// DecodeJSON reads one JSON value as Python's json does: numbers with a point or an exponent are floats, others whole numbers; objects keep
// their order, and a later value of a key wins. Errors are *SyntaxError.
func DecodeJSON(text string) (Value, error) {
	if len(text) > maxJSON {
		return nil, syntaxError(text, 0, "a JSON text of %d bytes: at most %d are read", len(text), maxJSON)
	}
	if !utf8.ValidString(text) {
		return nil, syntaxError(text, 0, "the text is not UTF-8")
	}
	d := &jsonReader{text: text, dec: json.NewDecoder(strings.NewReader(text))}
	d.dec.UseNumber()
	v, err := d.value(0)
	if err != nil {
		return nil, err
	}
	end := d.dec.InputOffset()
	if _, err := d.dec.Token(); err != io.EOF {
		return nil, syntaxError(text, int(end), "something stands behind the JSON value")
	}
	return v, nil
}

const maxJSON = 16 << 20 // bytes: whole conversations and schema lists, too

type jsonReader struct {
	text string
	dec  *json.Decoder
}

func (d *jsonReader) fail(format string, args ...any) error {
	return syntaxError(d.text, int(d.dec.InputOffset()), format, args...)
}

func (d *jsonReader) token() (json.Token, error) {
	t, err := d.dec.Token()
	var bad *json.SyntaxError
	switch {
	case err == nil:
		return t, nil
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, syntaxError(d.text, len(d.text), "the JSON value is not complete")
	case errors.As(err, &bad):
		return nil, syntaxError(d.text, int(bad.Offset)-1, "no JSON: %v", err)
	}
	return nil, d.fail("no JSON: %v", err)
}

func (d *jsonReader) value(depth int) (Value, error) {
	t, err := d.token()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, d.fail("brackets are nested more than %d deep", maxDepth)
	}
	switch t := t.(type) {
	case json.Number:
		return d.number(string(t))
	case json.Delim:
		if t == '[' {
			return d.list(depth)
		}
		return d.object(depth)
	case bool:
		return t, nil
	case string:
		return t, nil
	}
	return nil, nil // null
}

func (d *jsonReader) list(depth int) (Value, error) {
	l := List{}
	for d.dec.More() {
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
	_, err := d.token()
	return l, err
}

func (d *jsonReader) object(depth int) (Value, error) {
	o := &Dict{}
	for d.dec.More() {
		key, err := d.token()
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok {
			return nil, d.fail("the name of a member should be a text")
		}
		v, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		o.put(name, v)
	}
	_, err := d.token()
	return o, err
}

func (d *jsonReader) number(s string) (Value, error) {
	if strings.ContainsAny(s, ".eE") {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil && !math.IsInf(v, 0) {
			return nil, d.fail("%.40q is no number", s)
		}
		return v, nil
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok || len(s) > maxDigits {
		return nil, d.fail("a number with %d digits: at most %d are read", len(s), maxDigits)
	}
	return whole(n), nil
}

// EncodeJSON writes a value as JSON in one line, in the order of its keys; tuples become lists. Numbers that are not finite and keys that
// are no strings have no JSON and are errors.
func EncodeJSON(v Value) (string, error) {
	var b bytes.Buffer
	if err := writeJSON(&b, v); err != nil {
		return "", err
	}
	return b.String(), nil
}

func writeJSON(b *bytes.Buffer, v Value) error {
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case bool:
		b.WriteString(strconv.FormatBool(v))
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case *big.Int:
		b.WriteString(v.String())
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return fmt.Errorf("%v has no JSON", v)
		}
		b.WriteString(pyrepr.Float(v))
	case string:
		enc := json.NewEncoder(b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v); err != nil {
			return err
		}
		b.Truncate(b.Len() - 1) // the encoder's line feed
	case List:
		return writeItems(b, v)
	case Tuple:
		return writeItems(b, v)
	case *Dict:
		return writeObject(b, v)
	default:
		return fmt.Errorf("a %T has no JSON", v)
	}
	return nil
}

func writeItems(b *bytes.Buffer, items []Value) error {
	b.WriteByte('[')
	for i, v := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		if err := writeJSON(b, v); err != nil {
			return err
		}
	}
	b.WriteByte(']')
	return nil
}

func writeObject(b *bytes.Buffer, d *Dict) error {
	b.WriteByte('{')
	for i, it := range d.Items() {
		if i > 0 {
			b.WriteString(", ")
		}
		key, ok := it.Key.(string)
		if !ok {
			return fmt.Errorf("the key %s is no string and has no JSON", Repr(it.Key))
		}
		if err := writeJSON(b, key); err != nil {
			return err
		}
		b.WriteString(": ")
		if err := writeJSON(b, it.Value); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

// ParseJSON reads calls in JSON: {"name": ..., "arguments": {...}} (also with "function" for the name and "parameters" for the arguments, with the
// arguments as a JSON text, or wrapped as {"type": "function", "function": {...}}), {name: {parameter: value}}, or a list of such.
func ParseJSON(text string) ([]Call, error) {
	if len(text) > MaxLength {
		return nil, syntaxError(text, 0, "a text of %d bytes: at most %d are read", len(text), MaxLength)
	}
	v, err := DecodeJSON(text)
	if err != nil {
		return nil, err
	}
	list, ok := v.(List)
	if !ok {
		list = List{v}
	}
	if len(list) > maxCalls {
		return nil, syntaxError(text, 0, "more than %d calls", maxCalls)
	}
	calls := make([]Call, len(list))
	for i, item := range list {
		if calls[i], err = callOf(item); err != nil {
			return nil, syntaxError(text, 0, "call %d: %v", i+1, err)
		}
	}
	return calls, nil
}

// callOf reads one call object.
func callOf(v Value) (Call, error) {
	d, ok := v.(*Dict)
	if !ok {
		return Call{}, fmt.Errorf("a %s, but a call is an object with name and arguments", kindOf(v))
	}
	if f, ok := d.Get("function"); ok {
		if inner, ok := f.(*Dict); ok {
			d = inner
		}
	}
	name, named := first(d, "name", "function")
	args, has := first(d, "arguments", "parameters")
	if !named && d.Len() == 1 {
		name, args, has = d.items[0].Key, d.items[0].Value, true
	}
	s, ok := name.(string)
	if !ok || s == "" {
		return Call{}, errors.New(`no name: a call is {"name": ..., "arguments": {...}}`)
	}
	if !has || args == nil {
		return Call{Name: s, Args: &Dict{}}, nil
	}
	if text, ok := args.(string); ok {
		var err error
		if args, err = DecodeJSON(text); err != nil {
			return Call{}, fmt.Errorf("the arguments of %s: %w", s, err)
		}
	}
	a, ok := args.(*Dict)
	if !ok {
		return Call{}, fmt.Errorf("the arguments of %s are a %s; want an object", s, kindOf(args))
	}
	return Call{Name: s, Args: a}, nil
}

// first returns the value of the first key that is there.
func first(d *Dict, keys ...string) (Value, bool) {
	for _, k := range keys {
		if v, ok := d.Get(k); ok {
			return v, true
		}
	}
	return nil, false
}
