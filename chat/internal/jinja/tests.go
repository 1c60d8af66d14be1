package jinja

import (
	"errors"
	"fmt"
	"math"

	"github.com/ncruces/go-strftime"
)

// test is `v is id(args)`.
func (r *run) test(id string, v Value, args []Value, kw *Dict) (bool, error) {
	if _, ok := v.(Markup); ok && id == "escaped" {
		return true, nil
	}
	v = plain(v)
	if f, ok := typeTests[id]; ok && len(args) == 0 && kw == nil {
		return f(v), nil
	}
	if rel, ok := relations[id]; ok && len(args) == 1 && kw == nil {
		return relation(rel, v, args[0])
	}
	switch {
	case (id == "odd" || id == "even") && len(args) == 0, id == "divisibleby" && len(args) == 1:
		by, want := Value(int64(2)), int64(0)
		if id == "odd" {
			want = 1
		}
		if len(args) == 1 {
			by = args[0]
		}
		m, err := arithmetic("%", v, by)
		return err == nil && equal(m, want), err
	case id == "sameas" && len(args) == 1:
		switch v.(type) {
		case nil, bool, int64, float64, string:
			return typeName(v) == typeName(args[0]) && equal(v, args[0]), nil
		}
		return v == args[0], nil
	case id == "filter" && len(args) == 0:
		_, ok := r.filters[str(v)]
		return ok, nil
	case id == "test" && len(args) == 0:
		return knownTest(str(v)), nil
	}
	if knownTest(id) {
		return false, typeError("test %q does not take these arguments", id)
	}
	return false, fmt.Errorf("TemplateAssertionError: No test named %q.", id)
}

func knownTest(id string) bool {
	if _, ok := typeTests[id]; ok {
		return true
	}
	if _, ok := relations[id]; ok {
		return true
	}
	switch id {
	case "odd", "even", "divisibleby", "sameas", "filter", "test":
		return true
	}
	return false
}

var relations = map[string]string{
	"eq": "==", "equalto": "==", "==": "==", "ne": "!=", "!=": "!=", "lt": "<", "lessthan": "<", "<": "<", "le": "<=", "<=": "<=",
	"gt": ">", "greaterthan": ">", ">": ">", "ge": ">=", ">=": ">=", "in": "in",
}

var typeTests = map[string]func(v Value) bool{
	"defined":   func(v Value) bool { _, ok := v.(*Undefined); return !ok },
	"undefined": func(v Value) bool { _, ok := v.(*Undefined); return ok },
	"none":      func(v Value) bool { return v == nil },
	"boolean":   func(v Value) bool { _, ok := v.(bool); return ok },
	"true":      func(v Value) bool { return v == true },
	"false":     func(v Value) bool { return v == false },
	"integer":   func(v Value) bool { _, ok := v.(int64); return ok || isBig(v) },
	"float":     func(v Value) bool { _, ok := v.(float64); return ok },
	"number":    func(v Value) bool { _, _, _, ok := number(v); return ok || isBig(v) },
	"string":    func(v Value) bool { _, ok := v.(string); return ok },
	"mapping":   func(v Value) bool { _, ok := v.(*Dict); return ok },
	"iterable": func(v Value) bool {
		switch v.(type) {
		case string, *List, *Dict, *Generator, *Undefined:
			return true
		}
		return false
	},
	"sequence": func(v Value) bool {
		switch v.(type) {
		case string, *List, *Dict, *Undefined: // whatever has a length and a subscript
			return true
		}
		return false
	},
	"callable": func(v Value) bool {
		switch x := v.(type) {
		case *Func, *Undefined:
			return true
		case *object:
			return x.call != nil
		}
		return false
	},
	"lower":   func(v Value) bool { return plainMethods["islower"](str(v)).(bool) },
	"upper":   func(v Value) bool { return plainMethods["isupper"](str(v)).(bool) },
	"escaped": func(Value) bool { return false },
}

// globals are the functions that every template sees.
var globals = map[string]Value{
	"range": &Func{"range", rangeOf},
	"dict": &Func{"dict", func(_ *run, args []Value, kw *Dict) (Value, error) {
		return newMapping("dict", args, kw)
	}},
	"namespace": &Func{"namespace", func(_ *run, args []Value, kw *Dict) (Value, error) {
		d, err := newMapping("namespace", args, kw)
		return &Namespace{d}, err
	}},
	"cycler": &Func{"cycler", newCycler},
	"joiner": &Func{"joiner", func(_ *run, args []Value, kw *Dict) (Value, error) {
		p, err := params("joiner", args, kw, "sep")
		sep, used := Value(", "), false
		if err == nil && given(p[0]) {
			sep = p[0]
		}
		return &object{name: "Joiner", attrs: map[string]Value{}, call: &Func{"joiner", func(*run, []Value, *Dict) (Value, error) {
			if !used {
				used = true
				return "", nil
			}
			return sep, nil
		}}}, err
	}},
	"raise_exception": &Func{"raise_exception", func(_ *run, args []Value, kw *Dict) (Value, error) {
		p, err := params("raise_exception", args, kw, "message")
		if err != nil {
			return nil, err
		}
		return nil, errors.New(str(p[0]))
	}},
	"strftime_now": &Func{"strftime_now", func(r *run, args []Value, kw *Dict) (Value, error) {
		f, err := texts("strftime_now", args, kw, 1, 1)
		if err != nil {
			return nil, err
		}
		return strftime.Format(f[0], r.now), nil
	}},
}

func rangeOf(_ *run, args []Value, kw *Dict) (Value, error) {
	if len(args) < 1 || len(args) > 3 || kw != nil {
		return nil, typeError("range expected 1 to 3 arguments, got %d", len(args))
	}
	var num [3]int64
	for i, a := range args {
		if u, ok := a.(*Undefined); ok {
			return nil, u.err()
		}
		_, n, isInt, ok := number(a)
		if !ok || !isInt {
			return nil, typeError("'%s' object cannot be interpreted as an integer", typeName(a))
		}
		num[i] = n
	}
	from, to, step := int64(0), num[0], int64(1)
	if len(args) > 1 {
		from, to = num[0], num[1]
	}
	if len(args) > 2 {
		step = num[2]
	}
	if step == 0 {
		return nil, errors.New("ValueError: range() arg 3 must not be zero")
	}
	if math.Abs(float64(to)-float64(from))/math.Abs(float64(step)) > maxRange {
		return nil, fmt.Errorf("OverflowError: Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", maxRange)
	}
	out := []Value{}
	for i := from; step > 0 && i < to || step < 0 && i > to; i += step {
		if out = append(out, i); len(out) > maxRange {
			break // i ran over the end of int64
		}
	}
	shown := fmt.Sprintf("range(%d, %d)", from, to)
	if step != 1 {
		shown = fmt.Sprintf("range(%d, %d, %d)", from, to, step)
	}
	return &List{Items: out, shown: shown}, nil
}

func newMapping(what string, args []Value, kw *Dict) (*Dict, error) {
	d := NewDict()
	if len(args) > 1 {
		return nil, typeError("%s expected at most 1 argument, got %d", what, len(args))
	}
	if len(args) == 1 {
		pairs := args[0]
		if from, ok := pairs.(*Dict); ok {
			pairs = list(from.items())
		}
		items, err := iterate(pairs)
		if err != nil {
			return nil, err
		}
		for _, it := range items {
			kv, err := iterate(it)
			if err != nil || len(kv) != 2 {
				return nil, typeError("%s: an element is not a pair", what)
			}
			if !d.set(kv[0], kv[1]) {
				return nil, typeError("unhashable type: '%s'", typeName(kv[0]))
			}
		}
	}
	if kw != nil {
		for i, k := range kw.keys {
			d.set(k, kw.vals[i])
		}
	}
	return d, nil
}

func newCycler(_ *run, args []Value, kw *Dict) (Value, error) {
	if len(args) == 0 || kw != nil {
		return nil, errors.New("RuntimeError: at least one item has to be provided")
	}
	c := &object{name: "Cycler", attrs: map[string]Value{"current": args[0]}}
	i := 0
	move := func(to int) Value {
		was := args[i]
		i = to % len(args)
		c.attrs["current"] = args[i]
		return was
	}
	c.attrs["next"] = &Func{"next", func(*run, []Value, *Dict) (Value, error) { return move(i + 1), nil }}
	c.attrs["reset"] = &Func{"reset", func(*run, []Value, *Dict) (Value, error) { move(0); return nil, nil }}
	return c, nil
}
