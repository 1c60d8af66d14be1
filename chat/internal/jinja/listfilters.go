package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// getter reads an attribute by a path like "a.b.0"; without one it returns the value itself. standard stands in for a missing one.
func getter(path, standard Value) (func(Value) (Value, error), error) {
	if !given(path) || path == nil {
		return func(v Value) (Value, error) { return v, nil }, nil
	}
	var keys []Value
	switch x := path.(type) {
	case int64:
		keys = []Value{x}
	case string:
		for _, part := range strings.Split(x, ".") {
			if n, err := strconv.ParseInt(part, 10, 64); err == nil {
				keys = append(keys, n)
			} else {
				keys = append(keys, part)
			}
		}
	default:
		return nil, typeError("an attribute is named by a string or a number, not %s", typeName(path))
	}
	return func(v Value) (Value, error) {
		for _, k := range keys {
			var err error
			if v, err = lookup(v, k); err != nil {
				return nil, err
			}
			if _, ok := v.(*Undefined); ok && standard != nil && given(standard) {
				v = standard
			}
		}
		return v, nil
	}, nil
}

// lookup is getitem that also finds attributes of loop, namespace and the like.
func lookup(v, k Value) (Value, error) {
	switch v.(type) {
	case *object, *Namespace:
		return getattr(v, str(k))
	}
	if l, ok := v.(*List); ok && l.names != nil {
		if i := slices.Index(l.names, str(k)); i >= 0 {
			return l.Items[i], nil
		}
	}
	return getitem(v, k)
}

// fold makes texts equal whatever their case.
func fold(v Value, caseSensitive bool) Value {
	if s, ok := v.(string); ok && !caseSensitive {
		return strings.ToLower(s)
	}
	return v
}

// sorted orders items by keys, stably; reversed keeps equal items in order too, as Python does.
func sorted(items, keys []Value, reversed bool) ([]Value, error) {
	order := make([]int, len(items))
	for i := range order {
		order[i] = i
	}
	var failed error
	slices.SortStableFunc(order, func(a, b int) int {
		c, err := compare(keys[a], keys[b], "<")
		if err != nil {
			failed = err
		}
		if reversed {
			return -c
		}
		return c
	})
	out := make([]Value, len(items))
	for i, k := range order {
		out[i] = items[k]
	}
	return out, failed
}

func sortFilter(v Value, p []Value) (Value, error) {
	items, err := iterate(v)
	if err != nil {
		return nil, err
	}
	var gets []func(Value) (Value, error)
	paths := []Value{p[2]}
	if s, ok := p[2].(string); ok && strings.Contains(s, ",") {
		paths = toValues(strings.Split(s, ","))
	}
	for _, path := range paths {
		get, err := getter(path, nil)
		if err != nil {
			return nil, err
		}
		gets = append(gets, get)
	}
	keys := make([]Value, len(items))
	for i, it := range items {
		var key []Value
		for _, get := range gets {
			k, err := get(it)
			if err != nil {
				return nil, err
			}
			key = append(key, fold(k, flag(p[1], false)))
		}
		keys[i] = tuple(key...)
	}
	out, err := sorted(items, keys, flag(p[0], false))
	return list(out), err
}

func dictsort(v Value, p []Value) (Value, error) {
	d, ok := v.(*Dict)
	if !ok {
		return nil, typeError("'%s' object has no items", typeName(v))
	}
	by := "key"
	if given(p[1]) {
		by = str(p[1])
	}
	if by != "key" && by != "value" {
		return nil, errors.New(`FilterArgumentError: You can only sort by either "key" or "value"`)
	}
	items := d.items()
	keys := make([]Value, len(items))
	for i := range items {
		keys[i] = d.keys[i]
		if by == "value" {
			keys[i] = d.vals[i]
		}
		keys[i] = fold(keys[i], flag(p[0], false))
	}
	out, err := sorted(items, keys, flag(p[2], false))
	return list(out), err
}

func unique(v Value, p []Value) (Value, error) {
	items, err := iterate(v)
	if err != nil {
		return nil, err
	}
	get, err := getter(p[1], nil)
	if err != nil {
		return nil, err
	}
	seen := NewDict()
	out := []Value{}
	for _, it := range items {
		k, err := get(it)
		if err != nil {
			return nil, err
		}
		k = fold(k, flag(p[0], false))
		if _, ok := seen.get(k); ok {
			continue
		}
		if !seen.set(k, nil) {
			return nil, typeError("unhashable type: '%s'", typeName(k))
		}
		out = append(out, it)
	}
	return &Generator{items: out}, nil
}

func extreme(v Value, p []Value, sign int) (Value, error) {
	items, err := iterate(v)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return undefined("No aggregated item, sequence was empty."), nil
	}
	get, err := getter(p[1], nil)
	if err != nil {
		return nil, err
	}
	var best, bestKey Value
	for i, it := range items {
		k, err := get(it)
		if err != nil {
			return nil, err
		}
		k = fold(k, flag(p[0], false))
		c := 1
		if i > 0 {
			if c, err = compare(k, bestKey, "<"); err != nil {
				return nil, err
			}
			c *= sign
		}
		if c > 0 {
			best, bestKey = it, k
		}
	}
	return best, nil
}

func sum(v Value, p []Value) (Value, error) {
	items, err := iterate(v)
	if err != nil {
		return nil, err
	}
	get, err := getter(p[0], nil)
	if err != nil {
		return nil, err
	}
	total := Value(int64(0))
	if given(p[1]) {
		total = p[1]
	}
	for _, it := range items {
		if it, err = get(it); err != nil {
			return nil, err
		}
		if total, err = arithmetic("+", total, it); err != nil {
			return nil, err
		}
	}
	return total, nil
}

func groupby(v Value, p []Value) (Value, error) {
	items, err := iterate(v)
	if err != nil {
		return nil, err
	}
	get, err := getter(p[0], p[1])
	if err != nil {
		return nil, err
	}
	keys := make([]Value, len(items))
	pairs := make([]Value, len(items))
	for i, it := range items {
		k, err := get(it)
		if err != nil {
			return nil, err
		}
		keys[i] = fold(k, flag(p[2], false))
		pairs[i] = tuple(keys[i], it, k)
	}
	if pairs, err = sorted(pairs, keys, false); err != nil {
		return nil, err
	}
	out := list([]Value{})
	var members *List
	var now Value
	for i, pair := range pairs {
		t := pair.(*List).Items
		if i == 0 || !equal(t[0], now) {
			now, members = t[0], list(nil)
			group := tuple(t[2], members)
			group.names = []string{"grouper", "list"}
			out.Items = append(out.Items, group)
		}
		members.Items = append(members.Items, t[1])
	}
	return out, nil
}

func batch(v Value, p []Value) (Value, error) {
	items, err := iterate(v)
	if err != nil {
		return nil, err
	}
	n, err := integer("batch", p[0])
	if err != nil || n < 1 {
		return nil, typeError("batch: linecount has to be a positive integer")
	}
	out := []Value{}
	for len(items) > 0 {
		k := min(n, len(items))
		row := slices.Clone(items[:k])
		items = items[k:]
		if given(p[1]) && p[1] != nil && k < n {
			if n > maxItems {
				return nil, errors.New(tooLarge)
			}
			for len(row) < n {
				row = append(row, p[1])
			}
		}
		out = append(out, list(row))
	}
	return &Generator{items: out}, nil
}

func sliceFilter(v Value, p []Value) (Value, error) {
	items, err := iterate(v)
	if err != nil {
		return nil, err
	}
	n, err := integer("slice", p[0])
	if err != nil || n < 1 || n > maxItems {
		return nil, typeError("slice: slices has to be a positive integer")
	}
	out := []Value{}
	size, more, at := len(items)/n, len(items)%n, 0
	for i := range n {
		k := size
		if i < more {
			k++
		}
		row := slices.Clone(items[at : at+k])
		at += k
		if given(p[1]) && p[1] != nil && i >= more && more > 0 {
			row = append(row, p[1])
		}
		out = append(out, list(row))
	}
	return &Generator{items: out}, nil
}

// mapFilter is map(attribute=...) or map("filter", arguments ...).
func mapFilter(r *run, v Value, args []Value, kw *Dict) (Value, error) {
	if !truthy(v) { // None too: Jinja looks no further
		return &Generator{}, nil
	}
	items, err := iterate(v)
	if err != nil {
		return nil, err
	}
	out := make([]Value, len(items))
	if len(args) == 0 {
		p, err := params("map", nil, kw, "attribute", "default")
		if err != nil {
			return nil, err
		}
		if !given(p[0]) {
			return nil, errors.New("FilterArgumentError: map requires a filter argument")
		}
		get, err := getter(p[0], p[1])
		if err != nil {
			return nil, err
		}
		for i, it := range items {
			if out[i], err = get(it); err != nil {
				return nil, err
			}
		}
		return &Generator{items: out}, nil
	}
	for i, it := range items {
		if err := r.step(); err != nil {
			return nil, err
		}
		if out[i], err = r.apply(str(args[0]), it, args[1:], kw); err != nil {
			return nil, err
		}
	}
	return &Generator{items: out}, nil
}

// choose is select, reject, selectattr and rejectattr.
func choose(r *run, v Value, args []Value, kw *Dict, byAttr, want bool) (Value, error) {
	if !truthy(v) {
		return &Generator{}, nil
	}
	items, err := iterate(v)
	if err != nil {
		return nil, err
	}
	get := func(v Value) (Value, error) { return v, nil }
	if byAttr {
		if len(args) == 0 {
			return nil, errors.New("FilterArgumentError: Missing parameter for attribute name")
		}
		if get, err = getter(args[0], nil); err != nil {
			return nil, err
		}
		args = args[1:]
	}
	out := []Value{}
	for _, it := range items {
		if err := r.step(); err != nil {
			return nil, err
		}
		k, err := get(it)
		if err != nil {
			return nil, err
		}
		ok := truthy(k)
		if len(args) > 0 {
			id, isText := args[0].(string)
			if !isText {
				return nil, fmt.Errorf("TemplateAssertionError: No test named %s.", repr(args[0]))
			}
			if ok, err = r.test(id, k, args[1:], kw); err != nil {
				return nil, err
			}
		}
		if ok == want {
			out = append(out, it)
		}
	}
	return &Generator{items: out}, nil
}
