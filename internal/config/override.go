package config

import (
	"fmt"
	"reflect"
	"strings"
)

// override sets one "a.b.c=value".
func (l *loader) override(root reflect.Value, arg string) error {
	at := "argument " + fmt.Sprintf("%q", arg)
	path, value, ok := strings.Cut(arg, "=")
	if !ok || path == "" {
		return fmt.Errorf("%s: expected key=value", at)
	}
	parts := strings.Split(path, ".")
	target, err := l.target(at, root.Type(), parts)
	if err != nil {
		return err
	}
	n, err := overrideValue(at, target, path, value)
	if err != nil {
		return err
	}
	for i := len(parts) - 1; i >= 0; i-- {
		n = &node{kind: mapping, at: at, pairs: []pair{{name: parts[i], at: at, value: n}}}
	}
	return l.set(root, "", n)
}

// target finds the type of the key that an override names.
func (l *loader) target(at string, t reflect.Type, parts []string) (reflect.Type, error) {
	for i, name := range parts {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		path := strings.Join(parts[:i], ".")
		switch {
		case isSection(t):
			f, ok := findField(fields(t), name)
			if !ok {
				return nil, l.unknown(at, path, name, fields(t))
			}
			t = f.typ
		case t.Kind() == reflect.Map || t.Kind() == reflect.Interface:
			if name == "" {
				return nil, fmt.Errorf("%s: a key is missing after %q", at, path)
			}
			if t.Kind() == reflect.Map {
				t = t.Elem()
			}
		default:
			return nil, fmt.Errorf("%s: %s is a %s and has no keys of its own", at, path, typeName(t))
		}
	}
	return t, nil
}

// overrideValue reads the value of an override. For text it is taken as it stands (C:\x, hub:foo, a # b), except that quotes around the
// whole are YAML quotes; everything else is YAML.
func overrideValue(at string, t reflect.Type, path, value string) (*node, error) {
	nullable := t.Kind() == reflect.Pointer
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	text := t.Kind() == reflect.String || isText(t)
	quoted := len(value) > 1 && (value[0] == '"' || value[0] == '\'') && value[len(value)-1] == value[0]
	raw := &node{kind: scalar, text: value, quoted: true, at: at}
	if text && !quoted && !(nullable && value == "null") {
		return raw, nil
	}
	n, err := parse("value", []byte(value))
	switch {
	case err != nil && (text || t.Kind() == reflect.Interface):
		return raw, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %s: %s: expected %s", at, path, quoteShort(value), typeName(t))
	case n == nil:
		return &node{kind: null, at: at}, nil
	case text && n.kind != scalar && n.kind != null:
		return raw, nil
	}
	n.moveTo(at)
	return n, nil
}

// moveTo gives a whole tree one place: inside an argument there are no lines to point at.
func (n *node) moveTo(at string) {
	n.at = at
	for _, item := range n.items {
		item.moveTo(at)
	}
	for i := range n.pairs {
		n.pairs[i].at = at
		n.pairs[i].value.moveTo(at)
	}
}
