package config

import (
	"bytes"
	"encoding"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Marshal writes settings as YAML that Load reads back: every key, in the struct's order, maps by key. The same value gives the same bytes.
func Marshal(cfg any) ([]byte, error) {
	v := reflect.ValueOf(cfg)
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return nil, fmt.Errorf("config.Marshal: %T is not a struct", cfg)
	}
	w := &writer{}
	if err := w.section(v, 0); err != nil {
		return nil, err
	}
	return w.buf.Bytes(), nil
}

type writer struct{ buf bytes.Buffer }

func (w *writer) section(v reflect.Value, indent int) error {
	for _, f := range fields(v.Type()) {
		if err := w.entry(f.name, v.FieldByIndex(f.index), indent); err != nil {
			return err
		}
	}
	return nil
}

// entry writes one "name: value", the value on lines of its own where it has keys.
func (w *writer) entry(name string, v reflect.Value, indent int) error {
	for v.Kind() == reflect.Pointer && !v.IsNil() && !isText(v.Type()) {
		v = v.Elem()
	}
	pad := strings.Repeat(" ", indent)
	fmt.Fprintf(&w.buf, "%s%s:", pad, yamlString(name))
	switch {
	case isSection(v.Type()) && len(fields(v.Type())) > 0:
		w.buf.WriteByte('\n')
		return w.section(v, indent+2)
	case v.Kind() == reflect.Map && v.Len() > 0:
		w.buf.WriteByte('\n')
		for _, k := range sortedKeys(v) {
			if err := w.entry(k.String(), v.MapIndex(k), indent+2); err != nil {
				return err
			}
		}
		return nil
	case (v.Kind() == reflect.Slice || v.Kind() == reflect.Array) && v.Len() > 0 && hasKeys(v.Type().Elem()):
		w.buf.WriteByte('\n')
		for i := range v.Len() {
			if err := w.item(v.Index(i), indent+2); err != nil {
				return err
			}
		}
		return nil
	}
	s, err := inline(v)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Fprintf(&w.buf, " %s\n", s)
	return nil
}

// item writes one section of a list: its first key stands behind the dash.
func (w *writer) item(v reflect.Value, indent int) error {
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	sub := &writer{}
	if v.Kind() == reflect.Struct {
		if err := sub.section(v, indent+2); err != nil {
			return err
		}
	}
	text := sub.buf.Bytes()
	if len(text) == 0 {
		text = []byte(strings.Repeat(" ", indent+2) + "{}\n")
		if v.Kind() == reflect.Pointer {
			text = []byte(strings.Repeat(" ", indent+2) + "null\n")
		}
	}
	text[indent] = '-'
	w.buf.Write(text)
	return nil
}

func hasKeys(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return isSection(t)
}

// inline writes a value on one line.
func inline(v reflect.Value) (string, error) {
	t := v.Type()
	switch {
	case t == durationType:
		return time.Duration(v.Int()).String(), nil
	case isText(t):
		return inlineText(v)
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return "null", nil
		}
		return inline(v.Elem())
	case reflect.Bool:
		return strconv.FormatBool(v.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return strconv.FormatUint(v.Uint(), 10), nil
	case reflect.Float32, reflect.Float64:
		f := v.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return "", fmt.Errorf("%g is not a number that settings can hold", f)
		}
		return strconv.FormatFloat(f, 'g', -1, t.Bits()), nil
	case reflect.String:
		return yamlString(v.String()), nil
	case reflect.Slice, reflect.Array:
		parts := make([]string, v.Len())
		for i := range parts {
			s, err := inline(v.Index(i))
			if err != nil {
				return "", err
			}
			parts[i] = s
		}
		return "[" + strings.Join(parts, ", ") + "]", nil
	case reflect.Map:
		var parts []string
		for _, k := range sortedKeys(v) {
			s, err := inline(v.MapIndex(k))
			if err != nil {
				return "", err
			}
			parts = append(parts, yamlString(k.String())+": "+s)
		}
		return "{" + strings.Join(parts, ", ") + "}", nil
	case reflect.Struct:
		var parts []string
		for _, f := range fields(t) {
			s, err := inline(v.FieldByIndex(f.index))
			if err != nil {
				return "", err
			}
			parts = append(parts, yamlString(f.name)+": "+s)
		}
		return "{" + strings.Join(parts, ", ") + "}", nil
	}
	return "", fmt.Errorf("the type %s cannot be written as settings", t)
}

func inlineText(v reflect.Value) (string, error) {
	if !v.Type().Implements(textMarshaler) {
		p := reflect.New(v.Type())
		p.Elem().Set(v)
		v = p
	}
	m, ok := v.Interface().(encoding.TextMarshaler)
	if !ok {
		return "", fmt.Errorf("the type %s reads text but has no MarshalText", v.Type())
	}
	b, err := m.MarshalText()
	if err != nil {
		return "", err
	}
	return yamlString(string(b)), nil
}

// plainWord is text that is safe without quotes inside lists too and that no reader takes for a number, a boolean or null.
var plainWord = regexp.MustCompile(`^[A-Za-z_./][A-Za-z0-9_./@+-]*$`)

func yamlString(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n", ".inf", ".nan":
		return strconv.Quote(s)
	}
	if plainWord.MatchString(s) {
		n := &node{kind: scalar, text: s}
		if n.plainText() {
			return s
		}
	}
	return quoted(s)
}

// quoted writes a double-quoted YAML string; text that is not valid UTF-8 cannot be written in YAML and gets the replacement character.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r < ' ' || r >= 0x7f && r <= 0xa0:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r == 0x2028 || r == 0x2029 || r == 0xfeff:
			fmt.Fprintf(&b, `\u%04x`, r)
		case r == utf8.RuneError:
			b.WriteString("\ufffd")
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
