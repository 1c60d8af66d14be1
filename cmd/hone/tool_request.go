package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hone-lm/hone/internal/config"
)

// decodeRequest reads one request object into req, a pointer to a struct with json tags. Stricter than encoding/json: names are compared
// with case, an unknown or repeated field is an error, and so is a missing one unless its tag says omitempty. null is accepted for
// pointers only.
func decodeRequest(line []byte, req any) error {
	if len(bytes.TrimSpace(line)) == 0 {
		return errors.New("the line is empty: write one JSON object a line")
	}
	if !utf8.Valid(line) {
		return errors.New("the line is not UTF-8: write text as UTF-8, binary data as base64")
	}
	known, err := requestFields(req)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	err = eachField(line, func(name string, raw json.RawMessage) error {
		field, ok := known[name]
		switch {
		case !ok:
			return unknownField(name, known)
		case seen[name]:
			return fmt.Errorf("field %q is given twice: keep one", name)
		}
		seen[name] = true
		if string(raw) == "null" && field.value.Kind() != reflect.Pointer && field.value.Type() != reflect.TypeFor[json.RawMessage]() {
			return fmt.Errorf("field %q is null: %s", name, wanted(field.value.Type()))
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(field.value.Addr().Interface()); err != nil {
			return explainValue(name, field.value.Type(), err)
		}
		if lostNull(field.value.Type(), raw) {
			return fmt.Errorf("field %q: a null stands where a value is needed: give every number", name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range known.names() {
		if known[name].required && !seen[name] {
			return fmt.Errorf("field %q is missing: the request has the fields %s", name, strings.Join(known.names(), ", "))
		}
	}
	return nil
}

// lostNull reports whether well-formed JSON has a null where the type has no place for one: encoding/json would read it as 0 or "".
func lostNull(t reflect.Type, raw []byte) bool {
	if !bytes.Contains(raw, []byte("null")) || t == reflect.TypeFor[json.RawMessage]() {
		return false
	}
	if string(raw) == "null" {
		return t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface
	}
	switch t.Kind() {
	case reflect.Pointer:
		return lostNull(t.Elem(), raw)
	case reflect.Slice, reflect.Array:
		var items []json.RawMessage
		if json.Unmarshal(raw, &items) != nil {
			return false
		}
		return slices.ContainsFunc(items, func(item json.RawMessage) bool { return lostNull(t.Elem(), item) })
	case reflect.Struct:
		var fields map[string]json.RawMessage
		if json.Unmarshal(raw, &fields) != nil {
			return false
		}
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			if v, ok := fields[name]; ok && lostNull(t.Field(i).Type, v) {
				return true
			}
		}
	}
	return false
}

type requestField struct {
	order    int
	required bool
	value    reflect.Value
}

type requestFieldSet map[string]requestField

func (s requestFieldSet) names() []string {
	out := make([]string, len(s))
	for name, f := range s {
		out[f.order] = name
	}
	return out
}

func requestFields(req any) (requestFieldSet, error) {
	v := reflect.ValueOf(req)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("decodeRequest: %T is not a pointer to a struct", req)
	}
	set := requestFieldSet{}
	for i := range v.Elem().NumField() {
		name, opts, _ := strings.Cut(v.Elem().Type().Field(i).Tag.Get("json"), ",")
		set[name] = requestField{order: i, required: opts != "omitempty", value: v.Elem().Field(i)}
	}
	return set, nil
}

// eachField calls fn for the fields of one JSON object, in their order.
func eachField(line []byte, fn func(name string, raw json.RawMessage) error) error {
	dec := json.NewDecoder(bytes.NewReader(line))
	t, err := dec.Token()
	if err != nil {
		return notJSON(err)
	}
	if t != json.Delim('{') {
		return errors.New("the line is not a JSON object: write {...}")
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return notJSON(err)
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return notJSON(err)
		}
		if err := fn(key.(string), raw); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return notJSON(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something follows the JSON object: write one object a line")
	}
	return nil
}

func notJSON(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("not JSON: the line ends before the object does")
	}
	return fmt.Errorf("not JSON: %w", err)
}

func unknownField(name string, known requestFieldSet) error {
	if near := config.Nearest(name, known.names()); near != "" {
		return fmt.Errorf("unknown field %q: did you mean %q?", name, near)
	}
	return fmt.Errorf("unknown field %q: the request has the fields %s", name, strings.Join(known.names(), ", "))
}

func explainValue(name string, t reflect.Type, err error) error {
	var te *json.UnmarshalTypeError
	if errors.As(err, &te) {
		place := name
		if te.Field != "" {
			place += "." + te.Field
		}
		return fmt.Errorf("field %q holds a %s: %s", place, te.Value, wanted(te.Type))
	}
	return fmt.Errorf("field %q: %w", name, err)
}

// wanted says what a field expects, in JSON's words.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.String:
		return "expected a string"
	case reflect.Bool:
		return "expected true or false"
	case reflect.Int32:
		return "expected a token id (a whole number below 2^31)"
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return "expected a whole number"
	case reflect.Float64, reflect.Float32:
		return "expected a number"
	case reflect.Slice:
		return "expected a list"
	}
	return "expected an object"
}
