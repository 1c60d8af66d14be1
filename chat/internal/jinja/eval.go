package jinja

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

func (r *run) eval(e expr, s *scope) (Value, error) {
	if err := r.step(); err != nil {
		return nil, err
	}
	switch x := e.(type) {
	case *constant:
		return x.v, nil
	case *name:
		if v, ok := s.get(x.id); ok {
			return v, nil
		}
		if v, ok := r.globals[x.id]; ok {
			return v, nil
		}
		return undefined("'%s' is undefined", x.id), nil
	case *array:
		items, err := r.all(x.items, s)
		return &List{Items: items, Tuple: x.tuple}, err
	case *dictionary:
		return r.dictionary(x, s)
	case *attribute:
		of, err := r.eval(x.of, s)
		if err != nil {
			return nil, err
		}
		return getattr(of, x.id)
	case *item:
		return r.item(x, s)
	case *unary:
		return r.unary(x, s)
	case *binary:
		a, err := r.eval(x.a, s)
		if err != nil {
			return nil, err
		}
		b, err := r.eval(x.b, s)
		if err != nil {
			return nil, err
		}
		return arithmetic(x.op, a, b)
	case *logic:
		a, err := r.eval(x.a, s)
		if err != nil || truthy(a) == x.or {
			return a, err
		}
		return r.eval(x.b, s)
	case *concat:
		return r.concat(x, s)
	case *comparison:
		return r.comparison(x, s)
	}
	return r.applied(e, s)
}

// applied evaluates what applies something: an inline if, a call, a filter, a test.
func (r *run) applied(e expr, s *scope) (Value, error) {
	switch x := e.(type) {
	case *choice:
		c, err := r.eval(x.cond, s)
		switch {
		case err != nil:
			return nil, err
		case truthy(c):
			return r.eval(x.yes, s)
		case x.no != nil:
			return r.eval(x.no, s)
		}
		return undefined("the inline if-expression evaluated to false and no else section was defined."), nil
	case *call:
		fn, err := r.eval(x.fn, s)
		if err != nil {
			return nil, err
		}
		args, kw, err := r.arguments(&x.arguments, s)
		if err != nil {
			return nil, err
		}
		return r.call(fn, args, kw)
	case *filter:
		of, err := r.eval(x.of, s)
		if err != nil {
			return nil, err
		}
		return r.filter(x, of, s)
	case *test:
		of, err := r.eval(x.of, s)
		if err != nil {
			return nil, err
		}
		args, kw, err := r.arguments(&x.arguments, s)
		if err != nil {
			return nil, err
		}
		ok, err := r.test(x.id, of, args, kw)
		return ok, at(x.line, err)
	}
	return nil, fmt.Errorf("expression %T", e)
}

func (r *run) all(list []expr, s *scope) ([]Value, error) {
	out := make([]Value, len(list))
	for i, x := range list {
		v, err := r.eval(x, s)
		if err != nil {
			return nil, err
		}
		out[i] = v
	}
	return out, nil
}

func (r *run) dictionary(x *dictionary, s *scope) (Value, error) {
	d := NewDict()
	for i := range x.keys {
		k, err := r.eval(x.keys[i], s)
		if err != nil {
			return nil, err
		}
		v, err := r.eval(x.vals[i], s)
		if err != nil {
			return nil, err
		}
		if !d.set(k, v) {
			return nil, typeError("unhashable type: '%s'", typeName(k))
		}
	}
	return d, nil
}

// arguments evaluates the arguments of a call; kw is nil if there are no named ones.
func (r *run) arguments(a *arguments, s *scope) (args []Value, kw *Dict, err error) {
	if args, err = r.all(a.args, s); err != nil {
		return nil, nil, err
	}
	if a.star != nil {
		v, err := r.eval(a.star, s)
		if err != nil {
			return nil, nil, err
		}
		more, err := iterate(v)
		if err != nil {
			return nil, nil, err
		}
		args = append(args, more...)
	}
	if len(a.names) > 0 || a.starred != nil {
		kw = NewDict()
	}
	for i, id := range a.names {
		v, err := r.eval(a.kwargs[i], s)
		if err != nil {
			return nil, nil, err
		}
		kw.set(id, v)
	}
	if a.starred != nil {
		v, err := r.eval(a.starred, s)
		if err != nil {
			return nil, nil, err
		}
		d, ok := v.(*Dict)
		if !ok {
			return nil, nil, typeError("argument after ** must be a mapping, not %s", typeName(v))
		}
		for i, k := range d.keys {
			kw.set(k, d.vals[i])
		}
	}
	return args, kw, nil
}

func (r *run) call(fn Value, args []Value, kw *Dict) (Value, error) {
	switch f := fn.(type) {
	case *Func:
		return f.call(r, args, kw)
	case *object:
		if f.call != nil {
			return f.call.call(r, args, kw)
		}
	case *Undefined:
		return nil, f.err()
	}
	return nil, typeError("'%s' object is not callable", typeName(fn))
}

// filter applies one filter to a value.
func (r *run) filter(f *filter, of Value, s *scope) (Value, error) {
	args, kw, err := r.arguments(&f.arguments, s)
	if err != nil {
		return nil, err
	}
	v, err := r.apply(f.id, of, args, kw)
	return v, at(f.line, err)
}

func (r *run) apply(id string, of Value, args []Value, kw *Dict) (Value, error) {
	fn, ok := r.filters[id]
	if !ok {
		return nil, fmt.Errorf("TemplateAssertionError: No filter named %q.", id)
	}
	var v Value
	var err error
	if m, ok := of.(Markup); ok {
		v, err = markupFilter(id, m, fn, r, args, kw)
	} else {
		v, err = fn(r, of, args, kw)
	}
	if err != nil {
		return nil, err
	}
	return v, bounded(v)
}

// pipe applies the filters of a block to its text.
func (r *run) pipe(e expr, of Value, s *scope) (Value, error) {
	f := e.(*filter)
	if f.of != nil {
		var err error
		if of, err = r.pipe(f.of, of, s); err != nil {
			return nil, err
		}
	}
	return r.filter(f, of, s)
}

func (r *run) unary(x *unary, s *scope) (Value, error) {
	v, err := r.eval(x.x, s)
	if err != nil {
		return nil, err
	}
	if x.op == "not" {
		return !truthy(v), nil
	}
	if u, ok := v.(*Undefined); ok {
		return nil, u.err()
	}
	f, i, isInt, ok := number(v)
	switch {
	case !ok:
		return nil, typeError("bad operand type for unary %s: '%s'", x.op, typeName(v))
	case isInt && x.op == "-":
		return -i, nil
	case isInt:
		return i, nil
	case x.op == "-":
		return -f, nil
	}
	return f, nil
}

func (r *run) concat(x *concat, s *scope) (Value, error) {
	var b strings.Builder
	for _, p := range x.parts {
		v, err := r.eval(p, s)
		if err != nil {
			return nil, err
		}
		b.WriteString(str(v))
	}
	v := b.String()
	return v, bounded(v)
}

func (r *run) comparison(x *comparison, s *scope) (Value, error) {
	a, err := r.eval(x.first, s)
	if err != nil {
		return nil, err
	}
	for i, op := range x.ops {
		b, err := r.eval(x.rest[i], s)
		if err != nil {
			return nil, err
		}
		ok, err := relation(op, a, b)
		if err != nil || !ok {
			return false, err
		}
		a = b
	}
	return true, nil
}

func relation(op string, a, b Value) (bool, error) {
	switch op {
	case "==":
		return equal(a, b), nil
	case "!=":
		return !equal(a, b), nil
	case "in":
		return contains(b, a)
	case "not in":
		ok, err := contains(b, a)
		return !ok, err
	}
	c, err := compare(a, b, op)
	switch op {
	case "<":
		return c < 0, err
	case "<=":
		return c <= 0, err
	case ">":
		return c > 0, err
	}
	return c >= 0, err
}

// bounded refuses values that a hostile template has blown up.
func bounded(v Value) error {
	switch x := plain(v).(type) {
	case string:
		if len(x) > maxText {
			return errors.New(tooLarge)
		}
	case *List:
		if len(x.Items) > maxItems {
			return errors.New(tooLarge)
		}
	}
	return nil
}

func (r *run) item(x *item, s *scope) (Value, error) {
	of, err := r.eval(x.of, s)
	if err != nil {
		return nil, err
	}
	if cut, ok := x.key.(*slice); ok {
		parts := [3]Value{}
		for i, e := range [3]expr{cut.from, cut.to, cut.step} {
			if e != nil {
				if parts[i], err = r.eval(e, s); err != nil {
					return nil, err
				}
			}
		}
		if m, ok := of.(Markup); ok {
			v, err := cutValue(string(m), parts)
			return marked(v), err
		}
		return cutValue(of, parts)
	}
	key, err := r.eval(x.key, s)
	if err != nil {
		return nil, err
	}
	return getitem(of, key)
}

// getitem is of[key].
func getitem(of, key Value) (Value, error) {
	switch x := of.(type) {
	case *Undefined:
		return nil, x.err()
	case Markup:
		if _, isText := key.(string); !isText {
			v, err := getitem(string(x), key)
			return marked(v), err
		}
	case *Dict:
		if v, ok := x.get(key); ok {
			return v, nil
		}
	case *Namespace, *object:
		if id, ok := key.(string); ok {
			return getattr(of, id)
		}
	case *List, string:
		if _, i, isInt, ok := number(key); ok && isInt {
			if v, ok := element(of, i); ok {
				return v, nil
			}
		}
	}
	if id, ok := key.(string); ok {
		if m := method(of, id); m != nil {
			return m, nil
		}
		return undefined("'%s object' has no attribute '%s'", typeName(of), id), nil
	}
	return undefined("%s object has no element %s", typeName(of), repr(key)), nil
}

func element(of Value, i int64) (Value, bool) {
	if l, ok := of.(*List); ok {
		if i < 0 {
			i += int64(len(l.Items))
		}
		if i < 0 || i >= int64(len(l.Items)) {
			return nil, false
		}
		return l.Items[i], true
	}
	s := of.(string)
	if i < 0 {
		i += int64(utf8.RuneCountInString(s))
	}
	for _, r := range s {
		if i == 0 {
			return string(r), true
		}
		i--
	}
	return nil, false
}

// getattr is of.id: a method first, then the key of a dictionary.
func getattr(of Value, id string) (Value, error) {
	switch x := of.(type) {
	case *Undefined:
		return nil, x.err()
	case *Namespace:
		if v, ok := x.attrs.get(id); ok {
			return v, nil
		}
	case *List:
		if i := slices.Index(x.names, id); i >= 0 {
			return x.Items[i], nil
		}
	case *object:
		if v, ok := x.attrs[id]; ok {
			return v, nil
		}
	}
	if m := method(of, id); m != nil {
		return m, nil
	}
	if d, ok := of.(*Dict); ok {
		if v, ok := d.get(id); ok {
			return v, nil
		}
	}
	return undefined("'%s object' has no attribute '%s'", typeName(of), id), nil
}
