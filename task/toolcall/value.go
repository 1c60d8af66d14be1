// Package toolcall reads, writes and judges the calls of tools that models make: Python call lists such as
// [book(city="rome", days=2), rent(kind='bike')] and the JSON forms. Nothing is ever run as code, and every reader is bounded.
//
// Judgements are those of the Berkeley Function-Calling Leaderboard (BFCL v4, see Question.Judge), a graded match between two lists of
// calls (see Match), and an A to D rating that also takes unfinished texts (see Rate).
package toolcall

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/hone-lm/hone/internal/pyrepr"
)

// Value is what an argument may hold, with Python's types: nil (None), bool, int64, *big.Int (whole numbers beyond int64), float64, string,
// List, Tuple, *Dict.
type Value any

// List and Tuple are Python's sequences; they are never equal to each other.
type (
	List  []Value
	Tuple []Value
)

// Item is one entry of a Dict.
type Item struct{ Key, Value Value }

// Dict is a Python dictionary: items in the order in which their keys first came; 1, 1.0 and True are one key. The zero value and nil are
// empty; nil may not be written to.
type Dict struct {
	items []Item
	at    map[string]int // position by hash text
}

// NewDict makes a dictionary with string keys from key, value, key, value ...
func NewDict(pairs ...any) *Dict {
	d := &Dict{}
	for i := 0; i+1 < len(pairs); i += 2 {
		d.put(pairs[i].(string), pairs[i+1])
	}
	return d
}

// Items returns the items in order; the slice belongs to the dictionary.
func (d *Dict) Items() []Item {
	if d == nil {
		return nil
	}
	return d.items
}

// Len is the number of items.
func (d *Dict) Len() int { return len(d.Items()) }

// Get returns the value of a string key.
func (d *Dict) Get(key string) (Value, bool) { return d.lookup("s" + key) }

func (d *Dict) lookup(hash string) (Value, bool) {
	if d == nil {
		return nil, false
	}
	i, ok := d.at[hash]
	if !ok {
		return nil, false
	}
	return d.items[i].Value, true
}

// Set stores a value. Lists and dictionaries are no keys.
func (d *Dict) Set(key, value Value) error {
	hash, err := hashText(key)
	if err != nil {
		return err
	}
	if i, ok := d.at[hash]; ok {
		d.items[i].Value = value
		return nil
	}
	if d.at == nil {
		d.at = map[string]int{}
	}
	d.at[hash] = len(d.items)
	d.items = append(d.items, Item{key, value})
	return nil
}

func (d *Dict) put(key string, value Value) { _ = d.Set(key, value) } // a string is always a key

// hashText writes a key so that two keys have one text exactly if Python calls them equal.
func hashText(v Value) (string, error) {
	switch v := v.(type) {
	case nil:
		return "z", nil
	case string:
		return "s" + v, nil
	case Tuple:
		var b strings.Builder
		b.WriteByte('t')
		for _, x := range v {
			h, err := hashText(x)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(&b, "%d:%s", len(h), h)
		}
		return b.String(), nil
	}
	if n, ok := numberText(v); ok {
		return "n" + n, nil
	}
	return "", fmt.Errorf("a %s cannot be a dictionary key", kindOf(v))
}

// numberText writes a bool or number so that equal ones have equal texts.
func numberText(v Value) (string, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return "1", true
		}
		return "0", true
	case int64:
		return strconv.FormatInt(v, 10), true
	case *big.Int:
		return v.String(), true
	case float64:
		if v == math.Trunc(v) && !math.IsInf(v, 0) {
			n, _ := big.NewFloat(v).Int(nil)
			return n.String(), true
		}
		return strconv.FormatFloat(v, 'g', -1, 64), true
	}
	return "", false
}

// kind is the name of a Python type.
type kind string

const (
	noKind    kind = "" // no type is known
	kindNone  kind = "NoneType"
	kindBool  kind = "bool"
	kindInt   kind = "int"
	kindFloat kind = "float"
	kindStr   kind = "str"
	kindList  kind = "list"
	kindTuple kind = "tuple"
	kindDict  kind = "dict"
)

func kindOf(v Value) kind {
	switch v.(type) {
	case nil:
		return kindNone
	case bool:
		return kindBool
	case int64, *big.Int:
		return kindInt
	case float64:
		return kindFloat
	case string:
		return kindStr
	case List:
		return kindList
	case Tuple:
		return kindTuple
	case *Dict:
		return kindDict
	}
	return kind(fmt.Sprintf("%T", v))
}

// Equal is Python's ==: numbers compare by value (1 == 1.0 == True), dictionaries whatever their order, lists and tuples item by item.
func Equal(a, b Value) bool {
	if f, ok := a.(float64); ok && math.IsNaN(f) {
		return false
	}
	if x, ok := numberText(a); ok {
		y, ok := numberText(b)
		return ok && x == y
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case string:
		s, ok := b.(string)
		return ok && a == s
	case List:
		l, ok := b.(List)
		return ok && equalItems(a, l)
	case Tuple:
		t, ok := b.(Tuple)
		return ok && equalItems(a, t)
	case *Dict:
		d, ok := b.(*Dict)
		if !ok || a.Len() != d.Len() {
			return false
		}
		for hash, i := range a.at {
			if v, ok := d.lookup(hash); !ok || !Equal(a.items[i].Value, v) {
				return false
			}
		}
		return true
	}
	return false
}

func equalItems(a, b []Value) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// Repr writes a value as a Python literal that ParsePython reads back.
func Repr(v Value) string {
	var b strings.Builder
	writeRepr(&b, v)
	return b.String()
}

func writeRepr(b *strings.Builder, v Value) {
	switch v := v.(type) {
	case float64:
		b.WriteString(reprFloat(v))
	case List:
		b.WriteByte('[')
		reprItems(b, v)
		b.WriteByte(']')
	case Tuple:
		b.WriteByte('(')
		reprItems(b, v)
		if len(v) == 1 {
			b.WriteByte(',')
		}
		b.WriteByte(')')
	case *Dict:
		b.WriteByte('{')
		for i, it := range v.Items() {
			if i > 0 {
				b.WriteString(", ")
			}
			writeRepr(b, it.Key)
			b.WriteString(": ")
			writeRepr(b, it.Value)
		}
		b.WriteByte('}')
	default:
		scalar, ok := pyrepr.Scalar(v)
		if !ok {
			scalar = fmt.Sprint(v)
		}
		b.WriteString(scalar)
	}
}

func reprItems(b *strings.Builder, items []Value) {
	for i, v := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		writeRepr(b, v)
	}
}

// reprFloat is Python's; infinity is a literal that overflows, since Python has none for it.
func reprFloat(v float64) string {
	return strings.Replace(pyrepr.Float(v), "inf", "1e999", 1)
}
