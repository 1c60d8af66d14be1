package chat

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ardanlabs/jinja"
)

// ownFilter goes before the names of filters that replace the library's: it looks its own up first.
const ownFilter = "hone_"

type filter = func(args []jinja.Value, kwargs map[string]jinja.Value) (jinja.Value, error)

// filters follow Jinja 3.1 (src/jinja2/filters.py) where the library leaves out arguments or an order.
var filters = map[string]filter{
	"tojson": filterJSON, "dictsort": filterDictSort, "sort": filterSort, "indent": filterIndent,
	"default": filterDefault, "d": filterDefault,
}

// arg returns the argument at place i or of a name; the zero Value (undefined) if it is not given.
func arg(args []jinja.Value, kwargs map[string]jinja.Value, i int, name string) jinja.Value {
	if v, ok := kwargs[name]; ok {
		return v
	}
	if i < len(args) {
		return args[i]
	}
	return jinja.Undefined()
}

func filterDefault(args []jinja.Value, kwargs map[string]jinja.Value) (jinja.Value, error) {
	if args[0].IsUndefined() || arg(args, kwargs, 2, "boolean").IsTruthy() && !args[0].IsTruthy() {
		if v := arg(args, kwargs, 1, "default_value"); !v.IsUndefined() {
			return v, nil
		}
		return jinja.NewString(""), nil
	}
	return args[0], nil
}

func filterIndent(args []jinja.Value, kwargs map[string]jinja.Value) (jinja.Value, error) {
	pad := "    "
	switch w := arg(args, kwargs, 1, "width"); {
	case w.IsInt():
		if w.AsInt() > 1000 {
			return w, errors.New("indent: a width above 1000")
		}
		pad = strings.Repeat(" ", max(0, int(w.AsInt())))
	case w.IsString():
		pad = w.AsString()
	}
	if !args[0].IsString() {
		return args[0], errors.New("indent: not a text")
	}
	blank := arg(args, kwargs, 3, "blank").IsTruthy()
	// As in Jinja a newline goes to the end first, so that a last empty line is indented.
	lines := strings.Split(args[0].AsString(), "\n")
	for i, line := range lines {
		if i == 0 && arg(args, kwargs, 2, "first").IsTruthy() || i > 0 && (line != "" || blank) {
			lines[i] = pad + line
		}
	}
	return jinja.NewString(strings.Join(lines, "\n")), nil
}

// order compares values of one kind; texts without case unless sensitive.
func order(a, b jinja.Value, sensitive bool) (int, error) {
	switch {
	case a.Equals(b):
		return 0, nil
	case a.IsString() && b.IsString():
		x, y := a.AsString(), b.AsString()
		if !sensitive {
			x, y = strings.ToLower(x), strings.ToLower(y)
		}
		return cmp.Compare(x, y), nil
	case a.IsInt() && b.IsInt():
		return cmp.Compare(a.AsInt(), b.AsInt()), nil
	}
	x, okX := float(a)
	y, okY := float(b)
	if !okX || !okY {
		return 0, fmt.Errorf("sort: %s and %s have no order", a.String(), b.String())
	}
	return cmp.Compare(x, y), nil
}

func float(v jinja.Value) (float64, bool) {
	switch {
	case v.IsInt():
		return float64(v.AsInt()), true
	case v.IsFloat():
		return v.AsFloat(), true
	case v.IsBool() && v.AsBool():
		return 1, true
	}
	return 0, v.IsBool()
}

// sorted sorts stably by key; reverse keeps the order of equal items, as Python's sort does.
func sorted(items []jinja.Value, key func(jinja.Value) jinja.Value, sensitive, reverse bool) (jinja.Value, error) {
	items = slices.Clone(items)
	var failed error
	slices.SortStableFunc(items, func(a, b jinja.Value) int {
		c, err := order(key(a), key(b), sensitive)
		if err != nil {
			failed = err
		}
		if reverse {
			return -c
		}
		return c
	})
	return jinja.NewList(items), failed
}

func filterSort(args []jinja.Value, kwargs map[string]jinja.Value) (jinja.Value, error) {
	key := func(v jinja.Value) jinja.Value { return v }
	if attr := arg(args, kwargs, 3, "attribute"); attr.IsString() {
		key = func(v jinja.Value) jinja.Value {
			for part := range strings.SplitSeq(attr.AsString(), ".") {
				if !v.IsDict() {
					return jinja.Undefined()
				}
				v, _ = v.AsDict().Get(part)
			}
			return v
		}
	}
	var items []jinja.Value
	switch v := args[0]; {
	case v.IsList():
		items = v.AsList().Items
	case v.IsDict():
		for _, k := range v.AsDict().Keys {
			items = append(items, jinja.NewString(k))
		}
	default:
		return v, errors.New("sort: not a list")
	}
	return sorted(items, key, arg(args, kwargs, 2, "case_sensitive").IsTruthy(), arg(args, kwargs, 1, "reverse").IsTruthy())
}

func filterDictSort(args []jinja.Value, kwargs map[string]jinja.Value) (jinja.Value, error) {
	if !args[0].IsDict() {
		return args[0], errors.New("dictsort: not a dictionary")
	}
	place := 0
	if by := arg(args, kwargs, 2, "by"); by.IsString() && by.AsString() == "value" {
		place = 1
	}
	var items []jinja.Value
	for _, k := range args[0].AsDict().Keys {
		items = append(items, jinja.NewList([]jinja.Value{jinja.NewString(k), args[0].AsDict().Data[k]}))
	}
	key := func(v jinja.Value) jinja.Value { return v.AsList().Items[place] }
	return sorted(items, key, arg(args, kwargs, 1, "case_sensitive").IsTruthy(), arg(args, kwargs, 3, "reverse").IsTruthy())
}
