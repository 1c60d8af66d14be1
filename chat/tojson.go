package chat

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/ardanlabs/jinja"
)

// jsonStyle is how Python's json.dumps lays out a value.
type jsonStyle struct {
	item, key       string // separators
	indent          string // one level; "" with lines false: all on one line
	lines           bool
	ascii, sortKeys bool
}

// filterJSON is tojson as transformers defines it: tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False).
func filterJSON(args []jinja.Value, kwargs map[string]jinja.Value) (jinja.Value, error) {
	s := jsonStyle{item: ", ", key: ": "}
	s.ascii, s.sortKeys = arg(args, kwargs, 1, "ensure_ascii").IsTruthy(), arg(args, kwargs, 4, "sort_keys").IsTruthy()
	switch v := arg(args, kwargs, 2, "indent"); {
	case v.IsInt():
		if v.AsInt() > 1000 {
			return v, errors.New("tojson: an indent above 1000")
		}
		s.item, s.lines, s.indent = ",", true, strings.Repeat(" ", max(0, int(v.AsInt())))
	case v.IsString():
		s.item, s.lines, s.indent = ",", true, v.AsString()
	}
	if v := arg(args, kwargs, 3, "separators"); v.IsList() {
		sep := v.AsList().Items
		if len(sep) != 2 || !sep[0].IsString() || !sep[1].IsString() {
			return v, errors.New("tojson: separators are two texts")
		}
		s.item, s.key = sep[0].AsString(), sep[1].AsString()
	}
	var b strings.Builder
	err := s.write(&b, args[0], 0)
	return jinja.NewString(b.String()), err
}

func (s *jsonStyle) write(b *strings.Builder, v jinja.Value, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("tojson: nested deeper than %d levels", maxDepth)
	}
	switch {
	case v.IsNone():
		b.WriteString("null")
	case v.IsBool():
		b.WriteString(strconv.FormatBool(v.AsBool()))
	case v.IsInt():
		b.WriteString(strconv.FormatInt(v.AsInt(), 10))
	case v.IsFloat():
		b.WriteString(pythonFloat(v.AsFloat()))
	case v.IsString():
		s.text(b, v.AsString())
	case v.IsList():
		items := v.AsList().Items
		return s.group(b, "[]", len(items), depth, func(i int) error { return s.write(b, items[i], depth+1) })
	case v.IsDict():
		d := v.AsDict()
		keys := d.Keys
		if s.sortKeys {
			keys = slices.Sorted(slices.Values(keys))
		}
		return s.group(b, "{}", len(keys), depth, func(i int) error {
			s.text(b, keys[i])
			b.WriteString(s.key)
			return s.write(b, d.Data[keys[i]], depth+1)
		})
	default:
		return errors.New("tojson: a value that is undefined or a function cannot be written as JSON")
	}
	return nil
}

// group writes n members between a pair of brackets.
func (s *jsonStyle) group(b *strings.Builder, brackets string, n, depth int, member func(int) error) error {
	newline := func(depth int) {
		if s.lines && n > 0 {
			b.WriteByte('\n')
			b.WriteString(strings.Repeat(s.indent, depth))
		}
	}
	b.WriteByte(brackets[0])
	for i := range n {
		if i > 0 {
			b.WriteString(s.item)
		}
		newline(depth + 1)
		if err := member(i); err != nil {
			return err
		}
	}
	newline(depth)
	b.WriteByte(brackets[1])
	return nil
}

var jsonEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}

func (s *jsonStyle) text(b *strings.Builder, text string) {
	b.WriteByte('"')
	for _, r := range text {
		switch short, ok := jsonEscapes[r]; {
		case ok:
			b.WriteString(short)
		case r < 0x20 || s.ascii && r >= utf8.RuneSelf-1 && r <= 0xFFFF && r != 0x7F:
			fmt.Fprintf(b, `\u%04x`, r)
		case s.ascii && r > 0xFFFF:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(b, `\u%04x\u%04x`, hi, lo)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
}

// pythonFloat writes f as Python's repr does: the shortest digits, with an exponent below 1e-4 and from 1e16 on.
func pythonFloat(f float64) string {
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
