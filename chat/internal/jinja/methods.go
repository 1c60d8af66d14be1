package jinja

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// missing stands for an argument that was not given.
type missing struct{}

func given(v Value) bool { _, no := v.(missing); return !no }

// params puts arguments in the order of names; what was not given is missing{}.
func params(what string, args []Value, kw *Dict, names ...string) ([]Value, error) {
	if len(args) > len(names) {
		return nil, typeError("%s() takes at most %d arguments (%d given)", what, len(names), len(args))
	}
	out := make([]Value, len(names))
	for i := range out {
		out[i] = missing{}
		if i < len(args) {
			out[i] = args[i]
		}
	}
	if kw == nil {
		return out, nil
	}
	for k, key := range kw.keys {
		i := slices.Index(names, str(key))
		if i < 0 {
			return nil, typeError("%s() got an unexpected keyword argument '%s'", what, str(key))
		}
		if i < len(args) {
			return nil, typeError("%s() got multiple values for argument '%s'", what, names[i])
		}
		out[i] = kw.vals[k]
	}
	return out, nil
}

// texts returns the arguments as texts.
func texts(what string, args []Value, kw *Dict, least, most int) ([]string, error) {
	if kw != nil && kw.Len() > 0 {
		return nil, typeError("%s() takes no keyword arguments", what)
	}
	if len(args) < least || len(args) > most {
		return nil, typeError("%s() takes from %d to %d arguments (%d given)", what, least, most, len(args))
	}
	out := make([]string, len(args))
	for i, a := range args {
		s, ok := plain(a).(string)
		if !ok {
			return nil, typeError("%s(): argument %d must be str, not %s", what, i+1, typeName(a))
		}
		out[i] = s
	}
	return out, nil
}

func integer(what string, v Value) (int, error) {
	_, i, isInt, ok := number(v)
	if !ok || !isInt {
		return 0, typeError("%s: '%s' object cannot be interpreted as an integer", what, typeName(v))
	}
	return int(max(-1<<40, min(1<<40, i))), nil
}

type body = func(args []Value, kw *Dict) (Value, error)

// method returns a method of a built-in type, nil if there is none.
func method(of Value, id string) Value {
	var f body
	switch x := of.(type) {
	case string:
		f = textMethod(x, id)
	case Markup:
		f = markupMethod(x, id)
	case *Dict:
		f = dictMethod(x, id)
	case *List:
		f = listMethod(x, id)
	case float64:
		if id == "is_integer" {
			f = func([]Value, *Dict) (Value, error) { return x == math.Trunc(x) && !math.IsInf(x, 0), nil }
		}
	}
	if f == nil {
		return nil
	}
	return &Func{id, func(_ *run, args []Value, kw *Dict) (Value, error) {
		v, err := f(args, kw)
		if err == nil {
			err = bounded(v)
		}
		return v, err
	}}
}

func unsafe(of Value, id string) body {
	return func([]Value, *Dict) (Value, error) { return nil, fmt.Errorf(noSandbox, id, typeName(of)) }
}

func dictMethod(d *Dict, id string) body {
	switch id {
	case "items":
		return func([]Value, *Dict) (Value, error) { return &Generator{d.items(), "dict_items"}, nil }
	case "keys":
		return func([]Value, *Dict) (Value, error) { return &Generator{slices.Clone(d.keys), "dict_keys"}, nil }
	case "values":
		return func([]Value, *Dict) (Value, error) { return &Generator{slices.Clone(d.vals), "dict_values"}, nil }
	case "get":
		return func(args []Value, kw *Dict) (Value, error) {
			if len(args) < 1 || len(args) > 2 || kw != nil {
				return nil, typeError("get expected 1 or 2 arguments, got %d", len(args))
			}
			if v, ok := d.get(args[0]); ok {
				return v, nil
			}
			if len(args) == 2 {
				return args[1], nil
			}
			return nil, nil
		}
	case "copy":
		return func([]Value, *Dict) (Value, error) {
			c := NewDict()
			for i, k := range d.keys {
				c.set(k, d.vals[i])
			}
			return c, nil
		}
	case "clear", "pop", "popitem", "setdefault", "update":
		return unsafe(d, id)
	}
	return nil
}

func listMethod(l *List, id string) body {
	switch id {
	case "index", "count":
		return func(args []Value, kw *Dict) (Value, error) {
			if len(args) != 1 || kw != nil {
				return nil, typeError("%s() takes exactly one argument (%d given)", id, len(args))
			}
			n := int64(0)
			for i, v := range l.Items {
				if equal(v, args[0]) {
					if n++; id == "index" {
						return int64(i), nil
					}
				}
			}
			if id == "index" {
				return nil, fmt.Errorf("ValueError: %s is not in list", repr(args[0]))
			}
			return n, nil
		}
	case "copy":
		if !l.Tuple && l.shown == "" {
			return func([]Value, *Dict) (Value, error) { return list(slices.Clone(l.Items)), nil }
		}
	case "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort":
		if !l.Tuple && l.shown == "" {
			return unsafe(l, id)
		}
	}
	return nil
}

// textMethod finds a method of str: first those that turn a text into another one or into a truth, then those with arguments.
func textMethod(s, id string) body {
	if f, ok := plainMethods[id]; ok {
		return func(args []Value, kw *Dict) (Value, error) {
			if len(args) > 0 || kw != nil {
				return nil, typeError("str.%s() takes no arguments (%d given)", id, len(args))
			}
			return f(s), nil
		}
	}
	switch id {
	case "strip", "lstrip", "rstrip":
		return func(args []Value, kw *Dict) (Value, error) { return strip(s, id, args, kw) }
	case "startswith", "endswith":
		return func(args []Value, kw *Dict) (Value, error) { return affix(s, id, args, kw) }
	case "split", "rsplit":
		return func(args []Value, kw *Dict) (Value, error) { return split(s, id, args, kw) }
	case "replace":
		return func(args []Value, kw *Dict) (Value, error) { return replace(s, args, kw) }
	case "find", "rfind", "index", "rindex", "count":
		return func(args []Value, kw *Dict) (Value, error) { return search(s, id, args, kw) }
	case "removeprefix", "removesuffix", "partition", "rpartition":
		return func(args []Value, kw *Dict) (Value, error) { return parts(s, id, args, kw) }
	case "splitlines":
		return func(args []Value, kw *Dict) (Value, error) {
			p, err := params(id, args, kw, "keepends")
			if err != nil {
				return nil, err
			}
			return list(toValues(splitLines(s, given(p[0]) && truthy(p[0])))), nil
		}
	case "join":
		return func(args []Value, kw *Dict) (Value, error) {
			if len(args) != 1 || kw != nil {
				return nil, typeError("str.join() takes exactly one argument (%d given)", len(args))
			}
			items, err := iterate(args[0])
			if err != nil {
				return nil, err
			}
			list, err := texts("join", items, nil, 0, len(items))
			return strings.Join(list, s), err
		}
	case "ljust", "rjust", "center", "zfill":
		return func(args []Value, kw *Dict) (Value, error) { return pad(s, id, args, kw) }
	case "format":
		return func(args []Value, kw *Dict) (Value, error) { return format(s, args, kw) }
	}
	return nil
}

func toValues(list []string) []Value {
	out := make([]Value, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

func strip(s, id string, args []Value, kw *Dict) (Value, error) {
	if len(args) == 1 && args[0] == nil {
		args = nil
	}
	chars, err := texts(id, args, kw, 0, 1)
	if err != nil {
		return nil, err
	}
	in := isSpace
	if len(chars) == 1 {
		in = func(r rune) bool { return strings.ContainsRune(chars[0], r) }
	}
	if id != "rstrip" {
		s = strings.TrimLeftFunc(s, in)
	}
	if id != "lstrip" {
		s = strings.TrimRightFunc(s, in)
	}
	return s, nil
}

func affix(s, id string, args []Value, kw *Dict) (Value, error) {
	s, args, _, ok, err := window(s, args)
	if err != nil || !ok {
		return false, err
	}
	if len(args) == 1 {
		if l, ok := args[0].(*List); ok && l.Tuple {
			args = l.Items
			if len(args) == 0 {
				return false, nil
			}
		}
	}
	list, err := texts(id, args, kw, 1, max(1, len(args)))
	if err != nil {
		return nil, err
	}
	return slices.ContainsFunc(list, func(a string) bool {
		if id == "startswith" {
			return strings.HasPrefix(s, a)
		}
		return strings.HasSuffix(s, a)
	}), nil
}

func split(s, id string, args []Value, kw *Dict) (Value, error) {
	p, err := params(id, args, kw, "sep", "maxsplit")
	if err != nil {
		return nil, err
	}
	most := -1
	if given(p[1]) {
		if most, err = integer(id, p[1]); err != nil {
			return nil, err
		}
	}
	if !given(p[0]) || p[0] == nil {
		return list(toValues(fields(s, most, id == "rsplit"))), nil
	}
	sep, ok := plain(p[0]).(string)
	switch {
	case !ok:
		return nil, typeError("must be str or None, not %s", typeName(p[0]))
	case sep == "":
		return nil, errors.New("ValueError: empty separator")
	case most < 0:
		return list(toValues(strings.Split(s, sep))), nil
	case id == "split":
		return list(toValues(strings.SplitN(s, sep, most+1))), nil
	}
	all := strings.Split(s, sep)
	if head := len(all) - most; head > 1 {
		all = append([]string{strings.Join(all[:head], sep)}, all[head:]...)
	}
	return list(toValues(all)), nil
}

// fields splits at runs of white space, at most so many times (negative: any).
func fields(s string, most int, fromRight bool) []string {
	out := []string{}
	for ; ; most-- {
		s = strings.TrimLeftFunc(s, isSpace)
		if fromRight {
			s = strings.TrimRightFunc(s, isSpace)
		}
		i := strings.IndexFunc(s, isSpace)
		if fromRight {
			i = strings.LastIndexFunc(s, isSpace)
		}
		if s == "" {
			break
		}
		if i < 0 || most == 0 {
			out = append(out, s)
			break
		}
		if !fromRight {
			out, s = append(out, s[:i]), s[i:]
			continue
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		out, s = append(out, s[i+n:]), s[:i]
	}
	if fromRight {
		slices.Reverse(out)
	}
	return out
}

func replace(s string, args []Value, kw *Dict) (Value, error) {
	n := -1
	if len(args) == 3 {
		var err error
		if n, err = integer("replace", args[2]); err != nil {
			return nil, err
		}
		args = args[:2]
	}
	list, err := texts("replace", args, kw, 2, 2)
	if err != nil {
		return nil, err
	}
	hits := int64(strings.Count(s, list[0]))
	if n >= 0 {
		hits = min(hits, int64(n))
	}
	if int64(len(s))+hits*int64(len(list[1])) > maxText {
		return nil, errors.New(tooLarge)
	}
	return strings.Replace(s, list[0], list[1], n), nil
}

func search(s, id string, args []Value, kw *Dict) (Value, error) {
	s, args, before, ok, err := window(s, args)
	if err != nil {
		return nil, err
	}
	list, err := texts(id, args, kw, 1, 1)
	if err != nil {
		return nil, err
	}
	if id == "count" {
		if !ok {
			return int64(0), nil
		}
		return int64(strings.Count(s, list[0])), nil
	}
	i := strings.Index(s, list[0])
	if id[0] == 'r' {
		i = strings.LastIndex(s, list[0])
	}
	if !ok {
		i = -1
	}
	if i < 0 && strings.HasSuffix(id, "index") {
		return nil, errors.New("ValueError: substring not found")
	}
	if i >= 0 {
		i = before + utf8.RuneCountInString(s[:i])
	}
	return int64(i), nil
}

// window cuts s to the part that the second and third argument, if given, say as start and end, and leaves the first argument. before is the
// number of characters cut off in front; ok is false where start lies behind the end, so that not even the empty text is found.
func window(s string, args []Value) (part string, rest []Value, before int, ok bool, err error) {
	if len(args) < 2 || len(args) > 3 {
		return s, args, 0, true, nil
	}
	n := utf8.RuneCountInString(s)
	bounds := [2]int{0, n}
	for i, a := range args[1:] {
		if a == nil {
			continue
		}
		v, err := integer("slice index", a)
		if err != nil {
			return "", nil, 0, false, err
		}
		if v < 0 {
			v = max(0, v+n)
		}
		bounds[i] = v
	}
	from, to := bounds[0], min(bounds[1], n)
	if from > to {
		return "", args[:1], 0, false, nil
	}
	return string([]rune(s)[from:to]), args[:1], from, true, nil
}

func parts(s, id string, args []Value, kw *Dict) (Value, error) {
	list, err := texts(id, args, kw, 1, 1)
	if err != nil {
		return nil, err
	}
	sep := list[0]
	switch id {
	case "removeprefix":
		return strings.TrimPrefix(s, sep), nil
	case "removesuffix":
		return strings.TrimSuffix(s, sep), nil
	}
	if sep == "" {
		return nil, errors.New("ValueError: empty separator")
	}
	i := strings.Index(s, sep)
	if id == "rpartition" {
		i = strings.LastIndex(s, sep)
	}
	switch {
	case i >= 0:
		return tuple(s[:i], sep, s[i+len(sep):]), nil
	case id == "rpartition":
		return tuple("", "", s), nil
	}
	return tuple(s, "", ""), nil
}

// splitLines cuts at the line boundaries of str.splitlines.
func splitLines(s string, keep bool) []string {
	out := []string{}
	from := 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		end := i
		i += n
		switch r {
		case '\r':
			if i < len(s) && s[i] == '\n' {
				i++
			}
		case '\n', '\v', '\f', 0x1C, 0x1D, 0x1E, 0x85, 0x2028, 0x2029:
		default:
			continue
		}
		if keep {
			end = i
		}
		out = append(out, s[from:end])
		from = i
	}
	if from < len(s) {
		out = append(out, s[from:])
	}
	return out
}
