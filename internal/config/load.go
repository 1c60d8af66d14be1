package config

import (
	"encoding"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// Load reads settings into dst, a pointer to a struct that holds the defaults: first src, the YAML text of file (nil for none), then each
// override "a.b.c=value" over both. Override values are YAML, except that text needs no quotes whatever it holds.
//
// Sections, maps and pointers are merged key by key; lists are replaced whole. On an error dst is left as it was.
func Load(dst any, file string, src []byte, overrides []string) error {
	p := reflect.ValueOf(dst)
	if p.Kind() != reflect.Pointer || p.IsNil() || p.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("config.Load: dst is a %T, want a pointer to a struct", dst)
	}
	if err := checkSchema(p.Elem().Type(), ""); err != nil {
		return err
	}
	l := &loader{root: p.Elem().Type(), places: map[string]string{}}
	work := reflect.New(l.root).Elem()
	work.Set(p.Elem())
	if src != nil {
		n, err := parse(file, src)
		if err != nil {
			return err
		}
		if n != nil {
			if err := l.set(work, "", n); err != nil {
				return err
			}
		}
	}
	for _, o := range overrides {
		if err := l.override(work, o); err != nil {
			return err
		}
	}
	if err := l.validate(work.Addr(), ""); err != nil {
		return err
	}
	p.Elem().Set(work)
	return nil
}

// loader remembers where each key was given, for errors of Validate.
type loader struct {
	root   reflect.Type
	places map[string]string
}

// set stores n in v. Maps and pointers are copied before they are changed: the defaults in dst may be shared.
func (l *loader) set(v reflect.Value, path string, n *node) error {
	l.places[path] = n.at
	t := v.Type()
	if isText(t) {
		return l.setText(v, path, n)
	}
	switch t.Kind() {
	case reflect.Struct:
		return l.setStruct(v, path, n)
	case reflect.Pointer:
		if n.kind == null {
			v.SetZero()
			return nil
		}
		fresh := reflect.New(t.Elem())
		if !v.IsNil() {
			fresh.Elem().Set(v.Elem())
		}
		v.Set(fresh)
		return l.set(fresh.Elem(), path, n)
	case reflect.Map:
		return l.setMap(v, path, n)
	case reflect.Slice, reflect.Array:
		return l.setList(v, path, n)
	case reflect.Interface:
		if t.NumMethod() == 0 {
			value, err := n.generic()
			if err == nil {
				v.Set(reflect.Zero(t))
				if value != nil {
					v.Set(reflect.ValueOf(value))
				}
			}
			return err
		}
	}
	return l.setScalar(v, path, n)
}

func (l *loader) setStruct(v reflect.Value, path string, n *node) error {
	switch n.kind {
	case null: // a section whose keys are all commented out
		return nil
	case mapping:
	default:
		return wrongType(n, path, "a section of keys ("+strings.Join(names(fields(v.Type())), ", ")+")")
	}
	fs := fields(v.Type())
	for _, p := range n.pairs {
		f, ok := findField(fs, p.name)
		if !ok {
			return l.unknown(p.at, path, p.name, fs)
		}
		key := join(path, p.name)
		if err := l.set(v.FieldByIndex(f.index), key, p.value); err != nil {
			return err
		}
		l.places[key] = p.at
	}
	return nil
}

func (l *loader) setMap(v reflect.Value, path string, n *node) error {
	t := v.Type()
	if t.Key().Kind() != reflect.String {
		return fmt.Errorf("config: key %q: maps need string keys, not %s", path, t.Key())
	}
	switch n.kind {
	case null:
		return nil
	case mapping:
	default:
		return wrongType(n, path, "keys and values")
	}
	m := reflect.MakeMap(t)
	for _, k := range v.MapKeys() {
		m.SetMapIndex(k, v.MapIndex(k))
	}
	for _, p := range n.pairs {
		k := reflect.New(t.Key()).Elem()
		k.SetString(p.name)
		item := reflect.New(t.Elem()).Elem()
		if old := m.MapIndex(k); old.IsValid() {
			item.Set(old)
		}
		key := join(path, p.name)
		if err := l.set(item, key, p.value); err != nil {
			return err
		}
		l.places[key] = p.at
		m.SetMapIndex(k, item)
	}
	v.Set(m)
	return nil
}

func (l *loader) setList(v reflect.Value, path string, n *node) error {
	t := v.Type()
	if n.kind == null && t.Kind() == reflect.Slice {
		v.SetZero()
		return nil
	}
	if n.kind != list {
		return wrongType(n, path, "a list, such as [a, b]")
	}
	items := reflect.MakeSlice(reflect.SliceOf(t.Elem()), len(n.items), len(n.items))
	for i, item := range n.items {
		if err := l.set(items.Index(i), fmt.Sprintf("%s[%d]", path, i), item); err != nil {
			return err
		}
	}
	if t.Kind() == reflect.Slice {
		v.Set(items)
		return nil
	}
	if v.Len() != items.Len() {
		return wrongType(n, path, fmt.Sprintf("a list of %d values", v.Len()))
	}
	reflect.Copy(v, items)
	return nil
}

func (l *loader) setText(v reflect.Value, path string, n *node) error {
	if n.kind != scalar {
		return wrongType(n, path, "a value")
	}
	// A fresh value: UnmarshalText may write through pointers that the old value shares with the defaults.
	fresh := reflect.New(v.Type())
	if err := fresh.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.text)); err != nil {
		return fmt.Errorf("%s: %s: %w", n.at, path, err)
	}
	v.Set(fresh.Elem())
	return nil
}

// unknown says which key was meant: a near one on the same level, else one of that name elsewhere.
func (l *loader) unknown(at, path, name string, fs []field) error {
	key := join(path, name)
	if near := Nearest(name, names(fs)); near != "" {
		return fmt.Errorf("%s: unknown key %q: did you mean %q?", at, key, join(path, near))
	}
	for _, k := range keysOf(reflect.New(l.root).Elem(), "") {
		if k.Path == name || strings.HasSuffix(k.Path, "."+name) {
			return fmt.Errorf("%s: unknown key %q: did you mean %q?", at, key, k.Path)
		}
	}
	level := "at the top level"
	if path != "" {
		level = "in " + path
	}
	return fmt.Errorf("%s: unknown key %q: %s the keys are %s", at, key, level, strings.Join(names(fs), ", "))
}

func wrongType(n *node, path, want string) error {
	if path == "" {
		return fmt.Errorf("%s: expected %s, got %s", n.at, want, n.what())
	}
	return fmt.Errorf("%s: %s: expected %s, got %s", n.at, path, want, n.what())
}

// validate calls every Validate below v, inner sections first, and returns the first complaint with its key and place in front.
func (l *loader) validate(v reflect.Value, path string) error {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		if err := l.validate(v.Elem(), path); err != nil {
			return err
		}
		if !v.CanInterface() { // an embedded struct of a lower-case type: the same memory, without the mark
			v = reflect.NewAt(v.Type().Elem(), v.UnsafePointer())
		}
		if check, ok := v.Interface().(interface{ Validate() error }); ok && v.Elem().Kind() == reflect.Struct {
			return l.locate(path, check.Validate())
		}
	case reflect.Struct:
		// Embedded structs are asked themselves: an outer Validate hides theirs, and two of them hide each other.
		for i := range v.NumField() {
			if isInline(v.Type().Field(i)) {
				if err := l.validateChild(v.Field(i), path); err != nil {
					return err
				}
			}
		}
		for _, f := range fields(v.Type()) {
			if len(f.index) > 1 {
				continue
			}
			if err := l.validateChild(v.FieldByIndex(f.index), join(path, f.name)); err != nil {
				return err
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := l.validateChild(v.Index(i), fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
	case reflect.Map:
		for _, k := range sortedKeys(v) {
			item := reflect.New(v.Type().Elem())
			item.Elem().Set(v.MapIndex(k))
			if err := l.validateChild(item.Elem(), join(path, k.String())); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *loader) validateChild(v reflect.Value, path string) error {
	if v.Kind() == reflect.Struct && v.CanAddr() {
		v = v.Addr()
	}
	return l.validate(v, path)
}

// locate puts the key and the place where it was given in front of an error of Validate.
func (l *loader) locate(path string, err error) error {
	var fe *FieldError
	if !errors.As(err, &fe) {
		if err != nil && path != "" {
			return fmt.Errorf("%s: %s: %w", l.placeOf(path), path, err)
		}
		return err
	}
	key := path
	if fe.Field != "" {
		key = join(path, fe.Field)
	}
	if key == "" {
		return fe
	}
	return fmt.Errorf("%s: %s: %w", l.placeOf(key), key, &FieldError{Msg: fe.Msg})
}

// placeOf returns where a key was given: itself, else the nearest section around it, else nowhere.
func (l *loader) placeOf(key string) string {
	for k := key; k != ""; k = k[:max(0, strings.LastIndexAny(k, ".["))] {
		if at, ok := l.places[k]; ok {
			return at
		}
	}
	return "defaults"
}

func sortedKeys(m reflect.Value) []reflect.Value {
	byName := map[string]reflect.Value{}
	for _, k := range m.MapKeys() {
		byName[k.String()] = k
	}
	var out []reflect.Value
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		out = append(out, byName[name])
	}
	return out
}
