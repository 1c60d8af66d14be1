package config

import (
	"reflect"
)

// KeyInfo describes one key for --help and the documents.
type KeyInfo struct {
	Path    string // "grpo.clip.low"
	Type    string // "int", "float", "bool", "text", "duration", "list of text", "map of float"
	Default string // as Marshal writes it on one line
	Help    string // the field's `help` tag
}

// Keys lists the keys of settings in the struct's order, with their present values as defaults. Sections are listed by their keys.
func Keys(cfg any) []KeyInfo {
	v := reflect.ValueOf(cfg)
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return nil
	}
	return keysOf(v, "")
}

func keysOf(v reflect.Value, prefix string) []KeyInfo {
	var out []KeyInfo
	for _, f := range fields(v.Type()) {
		path := join(prefix, f.name)
		child := v.FieldByIndex(f.index)
		for child.Kind() == reflect.Pointer && !child.IsNil() && isSection(child.Type().Elem()) {
			child = child.Elem()
		}
		if isSection(child.Type()) {
			out = append(out, keysOf(child, path)...)
			continue
		}
		text, err := inline(child)
		if err != nil {
			text = "?"
		}
		out = append(out, KeyInfo{Path: path, Type: typeName(f.typ), Default: text, Help: f.help})
	}
	return out
}
