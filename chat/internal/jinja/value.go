// Package jinja renders chat templates as Python's Jinja 3.1 does in the environment of Hugging Face transformers: immutable sandbox,
// trim_blocks, lstrip_blocks, loop controls, tojson without HTML escaping, raise_exception, strftime_now and generation blocks.
//
// It exists because templates lean on Python to the letter (True and None in print, TypeErrors that end a rendering, tuples, generators
// that are always true, precedence of unary minus): what a template does not find here is an error, never a guess.
package jinja

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Value is a value of the template language: nil (None), bool, int64, *big.Int (beyond 64 bits), float64, string, Markup, *List, *Dict,
// *Undefined, *Namespace, *Func, *Generator or *object.
type Value any

// List is a list or a tuple.
type List struct {
	Items []Value
	Tuple bool
	names []string // of the items of a named tuple
	shown string   // how a range prints; "" for lists and tuples
}

// Dict keeps its keys in the order in which they were set.
type Dict struct {
	keys  []Value
	vals  []Value
	index map[any]int
}

// Undefined is what a missing name or attribute gives: empty in print, an error in almost everything else.
type Undefined struct{ why string }

// Namespace is the one kind of object whose attributes a template may set.
type Namespace struct{ attrs *Dict }

// Func is a function, a macro or a bound method.
type Func struct {
	name string
	call func(r *run, args []Value, kw *Dict) (Value, error)
}

// Generator is the result of a lazy filter: always true, without a length, empty once it was walked.
type Generator struct {
	items []Value
	view  string // a view of a dictionary by its name in print: has a length and can be walked again
}

// object has attributes, and may be called: loop, cycler.
type object struct {
	name  string
	attrs map[string]Value
	call  *Func
}

func tuple(v ...Value) *List { return &List{Items: v, Tuple: true} }
func list(v []Value) *List   { return &List{Items: v} }

func undefined(format string, args ...any) *Undefined {
	return &Undefined{fmt.Sprintf(format, args...)}
}

func (u *Undefined) err() error { return errors.New("UndefinedError: " + u.why) }

func typeError(format string, args ...any) error {
	return fmt.Errorf("TypeError: "+format, args...)
}

// NewDict returns an empty dictionary.
func NewDict() *Dict { return &Dict{index: map[any]int{}} }

// Set enters or changes a string key.
func (d *Dict) Set(key string, v Value) { d.set(key, v) }

// Strings returns the values under string keys as a map.
func (d *Dict) Strings() map[string]Value {
	m := make(map[string]Value, len(d.keys))
	for i, k := range d.keys {
		if id, ok := k.(string); ok {
			m[id] = d.vals[i]
		}
	}
	return m
}

// Len returns the number of keys.
func (d *Dict) Len() int { return len(d.keys) }

// hash turns a key into a comparable one; numbers that Python holds equal are one key.
func hash(v Value) (any, bool) {
	switch x := plain(v).(type) {
	case bool:
		if x {
			return int64(1), true
		}
		return int64(0), true
	case *big.Int:
		return "\x00int" + x.String(), true
	case float64:
		if x == math.Trunc(x) && math.Abs(x) < 1<<62 {
			return int64(x), true
		}
		return x, true
	case nil, int64, string:
		return x, true
	case *List:
		if x.Tuple {
			return "\x00tuple" + repr(x), true
		}
	case *Undefined:
		return Undefined{}, true // all are equal
	}
	return nil, false
}

func (d *Dict) get(key Value) (Value, bool) {
	h, ok := hash(key)
	if !ok {
		return nil, false
	}
	i, ok := d.index[h]
	if !ok {
		return nil, false
	}
	return d.vals[i], true
}

func (d *Dict) set(key, v Value) bool {
	h, ok := hash(key)
	if !ok {
		return false
	}
	if i, ok := d.index[h]; ok {
		d.vals[i] = v
		return true
	}
	d.index[h] = len(d.keys)
	d.keys, d.vals = append(d.keys, key), append(d.vals, v)
	return true
}

func (d *Dict) items() []Value {
	out := make([]Value, len(d.keys))
	for i, k := range d.keys {
		out[i] = tuple(k, d.vals[i])
	}
	return out
}

func typeName(v Value) string {
	switch x := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case Markup:
		return "Markup"
	case *Dict:
		return "dict"
	case *List:
		switch {
		case x.Tuple:
			return "tuple"
		case x.shown != "":
			return "range"
		}
		return "list"
	case *Generator:
		return "generator"
	case *Undefined:
		return "Undefined"
	case *Namespace:
		return "Namespace"
	case *Func:
		return "function"
	case *object:
		return x.name
	}
	return fmt.Sprintf("%T", v)
}

func truthy(v Value) bool {
	switch x := v.(type) {
	case nil, *Undefined:
		return false
	case bool:
		return x
	case int64:
		return x != 0
	case float64:
		return x != 0
	case string:
		return x != ""
	case Markup:
		return x != ""
	case *List:
		return len(x.Items) > 0
	case *Dict:
		return len(x.keys) > 0
	case *Generator:
		return x.view == "" || len(x.items) > 0
	}
	return true
}

// number returns v as a float, and as an integer where it is one. A bool is a number in Python.
func number(v Value) (f float64, i int64, isInt, ok bool) {
	switch x := v.(type) {
	case bool:
		if x {
			i = 1
		}
		return float64(i), i, true, true
	case int64:
		return float64(x), x, true, true
	case float64:
		return x, 0, false, true
	}
	return 0, 0, false, false
}

func equal(a, b Value) bool {
	a, b = plain(a), plain(b)
	if isBig(a) || isBig(b) {
		c, ok := compareBig(a, b)
		return ok && c == 0
	}
	if fa, ia, intA, ok := number(a); ok {
		fb, ib, intB, ok := number(b)
		if intA && intB {
			return ok && ia == ib
		}
		return ok && fa == fb
	}
	switch x := a.(type) {
	case nil:
		return b == nil
	case string:
		y, ok := b.(string)
		return ok && x == y
	case *Undefined:
		_, ok := b.(*Undefined)
		return ok
	case *List:
		y, ok := b.(*List)
		return ok && x.Tuple == y.Tuple && (x.shown == "") == (y.shown == "") && slices.EqualFunc(x.Items, y.Items, equal)
	case *Dict:
		y, ok := b.(*Dict)
		if !ok || len(x.keys) != len(y.keys) {
			return false
		}
		for i, k := range x.keys {
			if v, ok := y.get(k); !ok || !equal(x.vals[i], v) {
				return false
			}
		}
		return true
	}
	return a == b // pointers
}

// compare orders numbers, strings and lists.
func compare(a, b Value, op string) (int, error) {
	a, b = plain(a), plain(b)
	if isBig(a) || isBig(b) {
		if c, ok := compareBig(a, b); ok {
			return c, nil
		}
	}
	if fa, ia, intA, ok := number(a); ok {
		if fb, ib, intB, ok := number(b); ok {
			if intA && intB {
				return cmp(ia, ib), nil
			}
			return cmp(fa, fb), nil
		}
	}
	if x, ok := a.(string); ok {
		if y, ok := b.(string); ok {
			return strings.Compare(x, y), nil
		}
	}
	if x, ok := a.(*List); ok {
		if y, ok := b.(*List); ok && x.Tuple == y.Tuple {
			for i := range min(len(x.Items), len(y.Items)) {
				if !equal(x.Items[i], y.Items[i]) {
					return compare(x.Items[i], y.Items[i], op)
				}
			}
			return len(x.Items) - len(y.Items), nil
		}
	}
	for _, v := range []Value{a, b} {
		if u, ok := v.(*Undefined); ok {
			return 0, u.err()
		}
	}
	return 0, typeError("'%s' not supported between instances of '%s' and '%s'", op, typeName(a), typeName(b))
}

func cmp[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// iterate returns the items that a for loop walks.
func iterate(v Value) ([]Value, error) {
	switch x := plain(v).(type) {
	case *List:
		return x.Items, nil
	case *Dict:
		return x.keys, nil
	case *Undefined:
		return nil, nil
	case *Generator:
		items := x.items
		if x.view == "" {
			x.items = nil
		}
		return items, nil
	case string:
		out := make([]Value, 0, utf8.RuneCountInString(x))
		for _, r := range x {
			out = append(out, string(r))
		}
		return out, nil
	}
	return nil, typeError("'%s' object is not iterable", typeName(v))
}

func length(v Value) (int, error) {
	switch x := plain(v).(type) {
	case *List:
		return len(x.Items), nil
	case *Dict:
		return len(x.keys), nil
	case *Undefined:
		return 0, nil
	case string:
		return utf8.RuneCountInString(x), nil
	case *Generator:
		if x.view != "" {
			return len(x.items), nil
		}
	}
	return 0, typeError("object of type '%s' has no len()", typeName(v))
}

// contains is `item in container`.
func contains(container, item Value) (bool, error) {
	item = plain(item)
	switch x := plain(container).(type) {
	case string:
		s, ok := item.(string)
		if u, isUndefined := item.(*Undefined); isUndefined {
			return false, u.err()
		}
		if !ok {
			return false, typeError("'in <string>' requires string as left operand, not %s", typeName(item))
		}
		return strings.Contains(x, s), nil
	case *Dict:
		if _, ok := hash(item); !ok && typeName(item) != "Undefined" {
			return false, typeError("unhashable type: '%s'", typeName(item))
		}
		_, ok := x.get(item)
		return ok, nil
	}
	items, err := iterate(container)
	if err != nil {
		return false, typeError("argument of type '%s' is not iterable", typeName(container))
	}
	return slices.ContainsFunc(items, func(v Value) bool { return equal(v, item) }), nil
}

// isSpace is white space as Python's str methods see it.
func isSpace(r rune) bool { return unicode.IsSpace(r) || 0x1C <= r && r <= 0x1F }
