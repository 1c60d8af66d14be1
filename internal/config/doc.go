// Package config reads settings: strict YAML over a Go struct that already holds the defaults, then key=value arguments over both.
//
// Strict means: a key that the struct does not have, a key given twice, a value of another type or outside its range is an error that
// names the file, line and column (or the argument), what was expected and, for a misspelt key, the one that was probably meant.
//
// A field takes the name in its `yaml` tag (its lower-case name without one); an embedded struct's fields are inline. Supported are
// structs, pointers to them, booleans, integers, floats, strings, time.Duration, types with UnmarshalText, and lists and string-keyed
// maps of those. A struct with a method Validate() error is checked after everything is read; see FieldError.
package config

import (
	"fmt"
	"slices"
	"strings"
)

// FieldError is what a Validate method returns for a bad value: Load puts the place and the full key in front. Field is the key inside the
// validated struct ("lr", or "clip.low" for something deeper); empty means the struct as a whole.
type FieldError struct {
	Field string
	Msg   string
}

func (e *FieldError) Error() string {
	if e.Field == "" {
		return e.Msg
	}
	return e.Field + ": " + e.Msg
}

// Errorf returns a FieldError with a formatted message.
func Errorf(field, format string, args ...any) error {
	return &FieldError{Field: field, Msg: fmt.Sprintf(format, args...)}
}

// OneOf returns nil when value is among the choices, else a FieldError that lists them and names the nearest.
func OneOf[S ~string](field string, value S, choices ...S) error {
	if slices.Contains(choices, value) {
		return nil
	}
	names := make([]string, len(choices))
	for i, c := range choices {
		names[i] = string(c)
	}
	hint := ""
	if n := Nearest(string(value), names); n != "" {
		hint = fmt.Sprintf("; did you mean %q?", n)
	}
	return Errorf(field, "%q is not one of %s%s", string(value), strings.Join(names, ", "), hint)
}
