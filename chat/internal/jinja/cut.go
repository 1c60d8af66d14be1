package jinja

import (
	"errors"
	"strings"
)

// cutValue is a slice of a list, a tuple or a text.
func cutValue(of Value, parts [3]Value) (Value, error) {
	if u, ok := of.(*Undefined); ok {
		return nil, u.err()
	}
	var items []Value
	switch of.(type) {
	case string, *List:
		items, _ = iterate(of)
	default:
		return nil, typeError("'%s' object is not subscriptable", typeName(of))
	}
	var num [3]int64
	for i, p := range parts {
		_, n, isInt, ok := number(p)
		if p != nil && (!ok || !isInt) {
			return nil, typeError("slice indices must be integers or None")
		}
		num[i] = n
	}
	step := num[2]
	if parts[2] == nil {
		step = 1
	}
	if step == 0 {
		return nil, errors.New("ValueError: slice step cannot be zero")
	}
	n := int64(len(items))
	lo, hi := int64(0), n // bounds of from and to
	if step < 0 {
		lo, hi = -1, n-1
	}
	place := func(given Value, v, standard int64) int64 {
		if given == nil {
			return standard
		}
		if v < 0 {
			v += n
		}
		return max(lo, min(hi, v))
	}
	from, to := place(parts[0], num[0], lo), place(parts[1], num[1], hi)
	if step < 0 {
		from, to = place(parts[0], num[0], hi), place(parts[1], num[1], lo)
	}
	var out []Value
	for i := from; step > 0 && i < to || step < 0 && i > to; i += step {
		out = append(out, items[i])
		if step > n || step < -n {
			break
		}
	}
	if l, ok := of.(*List); ok {
		return &List{Items: out, Tuple: l.Tuple}, nil
	}
	var b strings.Builder
	for _, c := range out {
		b.WriteString(c.(string))
	}
	return b.String(), nil
}
