package config

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

func (l *loader) setScalar(v reflect.Value, path string, n *node) error {
	t := v.Type()
	if t == durationType {
		d, err := time.ParseDuration(n.text)
		if n.kind != scalar || err != nil {
			return wrongType(n, path, "a duration, such as 90s or 1h30m")
		}
		v.SetInt(int64(d))
		return nil
	}
	switch t.Kind() {
	case reflect.Bool:
		b, ok := n.bool()
		if !ok {
			return wrongType(n, path, "true or false")
		}
		v.SetBool(b)
	case reflect.String:
		if n.kind != scalar || !n.quoted && !n.plainText() {
			return wrongType(n, path, "text (put it in quotes if that is what is meant)")
		}
		v.SetString(n.text)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, err := strconv.ParseInt(n.whole(), 10, t.Bits())
		if err != nil {
			return wrongNumber(n, path, err, "a whole number", fmt.Sprintf("%d to %d", int64(-1)<<(t.Bits()-1), int64(1)<<(t.Bits()-1)-1))
		}
		v.SetInt(i)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		u, err := strconv.ParseUint(n.whole(), 10, t.Bits())
		if err != nil {
			return wrongNumber(n, path, err, "a whole number from 0", fmt.Sprintf("0 to %d", uint64(math.MaxUint64)>>(64-t.Bits())))
		}
		v.SetUint(u)
	case reflect.Float32, reflect.Float64:
		f, err := n.float(t.Bits())
		if err != nil {
			return wrongNumber(n, path, err, "a number", "what a float can hold")
		}
		v.SetFloat(f)
	default:
		return fmt.Errorf("config: key %q has the type %s, which settings cannot hold", path, t)
	}
	return nil
}

func wrongNumber(n *node, path string, err error, want, limits string) error {
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%s: %s: %s is out of range: %s", n.at, path, quoteShort(n.text), limits)
	}
	return wrongType(n, path, want)
}

func (n *node) bool() (value, ok bool) {
	if n.kind != scalar || n.quoted {
		return false, false
	}
	switch n.text {
	case "true", "True", "TRUE":
		return true, true
	case "false", "False", "FALSE":
		return false, true
	}
	return false, false
}

// plainText reports whether an unquoted scalar is text in YAML, not a number or a boolean.
func (n *node) plainText() bool {
	_, isBool := n.bool()
	_, err := n.float(64)
	return !isBool && err != nil && !errors.Is(err, strconv.ErrRange)
}

// whole returns a scalar as digits; 1e6 counts as a whole number. What is not a number comes back as it is, for the parser to refuse.
func (n *node) whole() string {
	if n.kind != scalar || n.quoted {
		return ""
	}
	if strings.ContainsAny(n.text, "eE.") {
		if f, err := n.float(64); err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return strconv.FormatInt(int64(f), 10)
		}
	}
	return n.text
}

// float reads a decimal number; hexadecimal, infinite and undefined values are not numbers in settings.
func (n *node) float(bits int) (float64, error) {
	if n.kind != scalar || n.quoted || strings.Trim(n.text, "0123456789+-.eE") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(n.text, bits)
}

// generic reads a node for a field of type any.
func (n *node) generic() (any, error) {
	switch n.kind {
	case null:
		return nil, nil
	case list:
		out := make([]any, len(n.items))
		for i, item := range n.items {
			v, err := item.generic()
			if err != nil {
				return nil, err
			}
			out[i] = v
		}
		return out, nil
	case mapping:
		out := map[string]any{}
		for _, p := range n.pairs {
			v, err := p.value.generic()
			if err != nil {
				return nil, err
			}
			out[p.name] = v
		}
		return out, nil
	}
	if b, ok := n.bool(); ok {
		return b, nil
	}
	if i, err := strconv.ParseInt(n.whole(), 10, 64); err == nil {
		return i, nil
	}
	f, err := n.float(64)
	switch {
	case err == nil:
		return f, nil
	case errors.Is(err, strconv.ErrRange):
		return nil, fmt.Errorf("%s: %s is out of range", n.at, quoteShort(n.text))
	}
	return n.text, nil
}
