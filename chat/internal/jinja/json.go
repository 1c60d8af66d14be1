package jinja

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/hone-lm/hone/internal/pyrepr"
)

// FromJSON decodes one JSON value: objects keep their order, integers stay integers.
func FromJSON(raw []byte) (Value, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	v, err := decodeJSON(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON value")
	}
	return v, nil
}

const maxDepth = 200 // of values and of expressions

func decodeJSON(d *json.Decoder, depth int) (Value, error) {
	t, err := d.Token()
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	switch x := t.(type) {
	case json.Delim:
		if x == '{' {
			return decodeObject(d, depth)
		}
		l := list(nil)
		for d.More() {
			v, err := decodeJSON(d, depth+1)
			if err != nil {
				return nil, err
			}
			l.Items = append(l.Items, v)
		}
		_, err := d.Token()
		return l, err
	case json.Number:
		return fromNumber(string(x))
	}
	return t, nil
}

func decodeObject(d *json.Decoder, depth int) (Value, error) {
	o := NewDict()
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return nil, err
		}
		v, err := decodeJSON(d, depth+1)
		if err != nil {
			return nil, err
		}
		o.set(k, v)
	}
	_, err := d.Token()
	return o, err
}

func fromNumber(s string) (Value, error) {
	if !strings.ContainsAny(s, ".eE") {
		n, ok := parseBig(s)
		if !ok {
			return nil, fmt.Errorf("an integer of %d digits; at most %d are read", len(s), maxDigits)
		}
		return n, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		return nil, err
	}
	return f, nil // 1e999 is infinite, as in Python
}

// jsonWriter is json.dumps with the options that templates use.
type jsonWriter struct {
	b          strings.Builder
	ascii      bool
	sort       bool
	indent     *string // nil: one line
	item, name string  // separators
}

func (w *jsonWriter) value(v Value, depth int) error {
	if depth > maxDepth {
		return errors.New("tojson: nested too deep")
	}
	switch x := plain(v).(type) {
	case nil:
		w.b.WriteString("null")
	case bool:
		w.b.WriteString(strconv.FormatBool(x))
	case int64:
		w.b.WriteString(strconv.FormatInt(x, 10))
	case *big.Int:
		w.b.WriteString(x.String())
	case float64:
		w.b.WriteString(jsonFloat(x))
	case string:
		w.text(x)
	case *List:
		if x.shown != "" {
			return typeError("Object of type range is not JSON serializable")
		}
		return w.elements('[', ']', len(x.Items), depth, func(i int) error { return w.value(x.Items[i], depth+1) })
	case *Dict:
		return w.dict(x, depth)
	default:
		return typeError("Object of type %s is not JSON serializable", typeName(v))
	}
	return nil
}

func jsonFloat(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case math.IsNaN(f):
		return "NaN"
	}
	return pyrepr.Float(f)
}

func (w *jsonWriter) dict(d *Dict, depth int) error {
	order := make([]int, len(d.keys))
	for i := range order {
		order[i] = i
	}
	var err error
	if w.sort {
		slices.SortStableFunc(order, func(a, b int) int {
			c, e := compare(d.keys[a], d.keys[b], "<")
			if e != nil {
				err = e
			}
			return c
		})
	}
	if err != nil {
		return err
	}
	return w.elements('{', '}', len(order), depth, func(i int) error {
		switch k := plain(d.keys[order[i]]).(type) {
		case string:
			w.text(k)
		case nil:
			w.text("null")
		case bool:
			w.text(strconv.FormatBool(k))
		case int64:
			w.text(strconv.FormatInt(k, 10))
		case *big.Int:
			w.text(k.String())
		case float64:
			w.text(jsonFloat(k))
		default:
			return typeError("keys must be str, int, float, bool or None, not %s", typeName(k))
		}
		w.b.WriteString(w.name)
		return w.value(d.vals[order[i]], depth+1)
	})
}

func (w *jsonWriter) elements(open, end byte, n, depth int, each func(i int) error) error {
	w.b.WriteByte(open)
	for i := range n {
		if i > 0 {
			w.b.WriteString(w.item)
		}
		w.line(depth + 1)
		if err := each(i); err != nil {
			return err
		}
	}
	if n > 0 {
		w.line(depth)
	}
	w.b.WriteByte(end)
	return nil
}

func (w *jsonWriter) line(depth int) {
	if w.indent != nil {
		w.b.WriteByte('\n')
		w.b.WriteString(strings.Repeat(*w.indent, depth))
	}
}

func (w *jsonWriter) text(s string) {
	w.b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			w.b.WriteByte('\\')
			w.b.WriteRune(r)
		case r == '\n':
			w.b.WriteString(`\n`)
		case r == '\r':
			w.b.WriteString(`\r`)
		case r == '\t':
			w.b.WriteString(`\t`)
		case r == '\b':
			w.b.WriteString(`\b`)
		case r == '\f':
			w.b.WriteString(`\f`)
		case r < 0x20 || w.ascii && r > 0x7E && r < 0x10000 && r != 0x7F:
			fmt.Fprintf(&w.b, `\u%04x`, r)
		case w.ascii && r >= 0x10000:
			r -= 0x10000
			fmt.Fprintf(&w.b, `\u%04x\u%04x`, 0xD800+r>>10, 0xDC00+r&0x3FF)
		default:
			w.b.WriteRune(r)
		}
	}
	w.b.WriteByte('"')
}
