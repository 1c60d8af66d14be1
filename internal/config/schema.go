package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// field is one key of a struct, embedded structs flattened in order.
type field struct {
	name  string
	help  string
	index []int
	typ   reflect.Type
}

var (
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	durationType    = reflect.TypeFor[time.Duration]()
)

// fields lists a struct's keys in order of declaration. Embedded structs come in the place where they are declared.
func fields(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		switch {
		case isInline(f):
			for _, sub := range fields(f.Type) {
				sub.index = append([]int{i}, sub.index...)
				out = append(out, sub)
			}
			continue
		case !f.IsExported() || name == "-":
			continue
		case name == "":
			name = strings.ToLower(f.Name)
		}
		out = append(out, field{name: name, help: f.Tag.Get("help"), index: []int{i}, typ: f.Type})
	}
	return out
}

// isInline reports whether a field's keys belong to the struct around it.
func isInline(f reflect.StructField) bool {
	name, opts, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	return f.Type.Kind() == reflect.Struct && (f.Anonymous && name == "" || opts == "inline")
}

// checkSchema refuses a struct in which one key stands for two fields, as two inline structs can bring about.
func checkSchema(t reflect.Type, path string) error {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Array || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if !isSection(t) || strings.Count(path, ".") > maxDepth {
		return nil
	}
	seen := map[string]bool{}
	for _, f := range fields(t) {
		if seen[f.name] {
			return fmt.Errorf("config: %s has two fields for the key %q: give one of them another yaml tag", t, join(path, f.name))
		}
		seen[f.name] = true
		if err := checkSchema(f.typ, join(path, f.name)); err != nil {
			return err
		}
	}
	return nil
}

func findField(fs []field, name string) (field, bool) {
	for _, f := range fs {
		if f.name == name {
			return f, true
		}
	}
	return field{}, false
}

func names(fs []field) []string {
	out := make([]string, len(fs))
	for i, f := range fs {
		out[i] = f.name
	}
	return out
}

// isText reports whether values of t are written as a scalar that t itself reads and writes.
func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(textUnmarshaler)
}

// isSection reports whether t is a struct of keys.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !isText(t)
}

// typeName is how help and errors call a type.
func typeName(t reflect.Type) string {
	switch {
	case t == durationType:
		return "duration"
	case isText(t):
		return "text"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Bool:
		return "bool"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "int"
	case reflect.Float32, reflect.Float64:
		return "float"
	case reflect.String:
		return "text"
	case reflect.Slice, reflect.Array:
		return "list of " + typeName(t.Elem())
	case reflect.Map:
		return "map of " + typeName(t.Elem())
	case reflect.Interface:
		return "any"
	}
	return "section"
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}
