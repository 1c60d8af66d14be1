package jinja

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Template is a parsed template, safe for concurrent use.
type Template struct{ body []stmt }

// Parse reads a template. Errors name the line.
func Parse(source string) (*Template, error) {
	body, err := parse(source)
	if err != nil {
		return nil, err
	}
	return &Template{body}, nil
}

// Span is a range of bytes of the rendered text.
type Span struct{ From, To int }

// Result is a rendering.
type Result struct {
	Text       string
	Generation []Span // what {% generation %} blocks wrote
	Lost       bool   // a generation block stood in a macro or a set block, so that its place in the text is not known
}

// Render executes the template. The context's names hide globals of the same name. now is the time of strftime_now.
func (t *Template) Render(context map[string]Value, now time.Time) (Result, error) {
	r := &run{out: &strings.Builder{}, globals: globals, filters: filters, now: now}
	err := r.exec(t.body, &scope{vars: map[string]Value{}, parent: &scope{vars: context}})
	if err != nil {
		return Result{}, err
	}
	return Result{r.out.String(), r.spans, r.lost}, nil
}

// Limits of one rendering: templates come from files, and a hostile one must end.
const (
	maxSteps  = 4_000_000
	maxText   = 64 << 20 // bytes of one string, and of all output
	maxItems  = 4 << 20  // of one list
	maxCalls  = 150      // macros within macros
	maxRange  = 100_000  // Jinja's sandbox
	tooLarge  = "OverflowError: a value grows beyond all bounds"
	tooLong   = "the template runs without end"
	noSandbox = "SecurityError: access to attribute '%s' of '%s' object is unsafe."
)

// run is one rendering.
type run struct {
	out      *strings.Builder
	globals  map[string]Value
	filters  map[string]filterFunc
	now      time.Time
	steps    int
	calls    int
	written  int
	captures int // macros and set blocks around this place
	spans    []Span
	lost     bool
}

// scope maps names to values; a for loop, a macro, a block of statements that is captured opens one.
type scope struct {
	vars   map[string]Value
	parent *scope
}

func (s *scope) child() *scope { return &scope{vars: map[string]Value{}, parent: s} }

func (s *scope) get(id string) (Value, bool) {
	for ; s != nil; s = s.parent {
		if v, ok := s.vars[id]; ok {
			return v, true
		}
	}
	return nil, false
}

// lineError says where an error came up.
type lineError struct {
	line int
	err  error
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %v", e.line, e.err) }
func (e *lineError) Unwrap() error { return e.err }

func at(line int, err error) error {
	var have *lineError
	if err == nil || errors.As(err, &have) || errors.Is(err, errBreak) || errors.Is(err, errContinue) {
		return err
	}
	return &lineError{line, err}
}

func (r *run) step() error {
	if r.steps++; r.steps > maxSteps {
		return errors.New(tooLong)
	}
	return nil
}

func (r *run) write(s string) error {
	if r.written += len(s); r.written > maxText {
		return errors.New(tooLarge)
	}
	r.out.WriteString(s)
	return nil
}

// capture returns what f writes.
func (r *run) capture(f func() error) (string, error) {
	out := r.out
	r.out = &strings.Builder{}
	r.captures++
	defer func() { r.out, r.captures = out, r.captures-1 }()
	err := f()
	return r.out.String(), err
}

func (r *run) exec(body []stmt, s *scope) error {
	for _, st := range body {
		if err := r.step(); err != nil {
			return err
		}
		if err := r.statement(st, s); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) statement(st stmt, s *scope) error {
	switch x := st.(type) {
	case *text:
		return r.write(x.s)
	case *print:
		v, err := r.eval(x.x, s)
		if err == nil {
			err = r.write(str(v))
		}
		return at(x.line, err)
	case *ifElse:
		for i, c := range x.conds {
			v, err := r.eval(c, s)
			if err != nil {
				return at(x.line, err)
			}
			if truthy(v) {
				return r.exec(x.bodies[i], s)
			}
		}
		if len(x.bodies) > len(x.conds) {
			return r.exec(x.bodies[len(x.conds)], s)
		}
		return nil
	case *forLoop:
		v, err := r.eval(x.in, s)
		if err == nil {
			err = r.loop(x, v, s, 0)
		}
		return at(x.line, err)
	case *set:
		v, err := r.eval(x.x, s)
		if err == nil {
			err = r.assign(x.target, v, s)
		}
		return at(x.line, err)
	case *macro:
		s.vars[x.id] = r.newMacro(x, s)
		return nil
	case *with:
		return at(x.line, r.with(x, s))
	case *generation:
		from := r.out.Len()
		err := r.exec(x.body, s)
		if r.captures > 0 {
			r.lost = true
		} else {
			r.spans = append(r.spans, Span{from, r.out.Len()})
		}
		return err
	case *block:
		return r.exec(x.body, s.child())
	case *jump:
		return x.err
	}
	return r.captured(st, s)
}

// captured executes the statements that first collect what their body writes.
func (r *run) captured(st stmt, s *scope) error {
	switch x := st.(type) {
	case *setBlock:
		out, err := r.capture(func() error { return r.exec(x.body, s.child()) })
		var v Value = out
		if err == nil && x.filter != nil {
			v, err = r.pipe(x.filter, out, s)
		}
		if err == nil {
			err = r.assign(x.target, v, s)
		}
		return at(x.line, err)
	case *filterBlock:
		out, err := r.capture(func() error { return r.exec(x.body, s.child()) })
		var v Value
		if err == nil {
			v, err = r.pipe(x.filter, out, s)
		}
		if err == nil {
			err = r.write(str(v))
		}
		return at(x.line, err)
	case *callBlock:
		c := x.call.(*call)
		fn, err := r.eval(c.fn, s)
		if err != nil {
			return at(x.line, err)
		}
		args, kw, err := r.arguments(&c.arguments, s)
		if err != nil {
			return at(x.line, err)
		}
		if kw == nil {
			kw = NewDict()
		}
		kw.set("caller", r.newMacro(&x.macro, s))
		v, err := r.call(fn, args, kw)
		if err == nil {
			err = r.write(str(v))
		}
		return at(x.line, err)
	}
	return fmt.Errorf("statement %T", st)
}

func (r *run) with(x *with, s *scope) error {
	inner := s.child()
	for i, target := range x.targets {
		v, err := r.eval(x.values[i], s)
		if err == nil {
			err = r.assign(target, v, inner)
		}
		if err != nil {
			return err
		}
	}
	return r.exec(x.body, inner)
}

func (r *run) assign(target expr, v Value, s *scope) error {
	switch t := target.(type) {
	case *name:
		s.vars[t.id] = v
		return nil
	case *attribute:
		o, err := r.eval(t.of, s)
		if err != nil {
			return err
		}
		ns, ok := o.(*Namespace)
		if !ok {
			return errors.New("TemplateRuntimeError: cannot assign attribute on non-namespace object")
		}
		ns.attrs.set(t.id, v)
		return nil
	case *array:
		items, err := iterate(v)
		if err != nil {
			return typeError("cannot unpack non-iterable %s object", typeName(v))
		}
		if len(items) != len(t.items) {
			return fmt.Errorf("ValueError: %d values for %d names", len(items), len(t.items))
		}
		for i, x := range t.items {
			if err := r.assign(x, items[i], s); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("cannot assign to %T", target)
}

// loop runs a for loop over v; depth counts the calls of a recursive one.
func (r *run) loop(f *forLoop, v Value, s *scope, depth int) error {
	items, err := iterate(v)
	if err != nil {
		return err
	}
	if f.cond != nil {
		var kept []Value
		for _, it := range items {
			inner := s.child()
			if err := r.assign(f.target, it, inner); err != nil {
				return err
			}
			ok, err := r.eval(f.cond, inner)
			if err != nil {
				return err
			}
			if truthy(ok) {
				kept = append(kept, it)
			}
		}
		items = kept
	}
	if len(items) == 0 {
		return r.exec(f.none, s.child())
	}
	state := &object{name: "LoopContext", attrs: map[string]Value{}}
	r.loopCalls(f, state, s, depth)
	for i, it := range items {
		if err := r.step(); err != nil {
			return err
		}
		r.steps += 8 // what an iteration costs
		loopAttrs(state.attrs, items, i, depth)
		inner := s.child()
		inner.vars["loop"] = state
		if err := r.assign(f.target, it, inner); err != nil {
			return err
		}
		if err := r.exec(f.body, inner); err == errBreak {
			break
		} else if err != nil && err != errContinue {
			return err
		}
	}
	return nil
}

func loopAttrs(a map[string]Value, items []Value, i, depth int) {
	n := len(items)
	a["index"], a["index0"] = int64(i+1), int64(i)
	a["revindex"], a["revindex0"] = int64(n-i), int64(n-i-1)
	a["first"], a["last"], a["length"] = i == 0, i == n-1, int64(n)
	a["depth"], a["depth0"] = int64(depth+1), int64(depth)
	a["previtem"], a["nextitem"] = undefined("there is no previous item"), undefined("there is no next item")
	if i > 0 {
		a["previtem"] = items[i-1]
	}
	if i < n-1 {
		a["nextitem"] = items[i+1]
	}
}

func (r *run) loopCalls(f *forLoop, state *object, s *scope, depth int) {
	state.attrs["cycle"] = &Func{"cycle", func(_ *run, args []Value, _ *Dict) (Value, error) {
		if len(args) == 0 {
			return nil, typeError("no items for cycling given")
		}
		return args[state.attrs["index0"].(int64)%int64(len(args))], nil
	}}
	var last Value = missing{}
	state.attrs["changed"] = &Func{"changed", func(_ *run, args []Value, _ *Dict) (Value, error) {
		now := tuple(args...)
		if _, first := last.(missing); !first && equal(last, now) {
			return false, nil
		}
		last = now
		return true, nil
	}}
	if f.recursive {
		state.call = &Func{"loop", func(r *run, args []Value, _ *Dict) (Value, error) {
			if len(args) != 1 {
				return nil, typeError("loop() takes 1 argument, got %d", len(args))
			}
			out, err := r.guarded(func() error { return r.loop(f, args[0], s, depth+1) })
			return out, err
		}}
	}
}

// guarded captures what f writes and bounds the depth of calls.
func (r *run) guarded(f func() error) (string, error) {
	if r.calls++; r.calls > maxCalls {
		return "", errors.New("RecursionError: macros call each other more than " + fmt.Sprint(maxCalls) + " deep")
	}
	defer func() { r.calls-- }()
	return r.capture(f)
}

func (r *run) newMacro(m *macro, s *scope) *Func {
	return &Func{m.id, func(r *run, args []Value, kw *Dict) (Value, error) {
		inner := s.child()
		if err := r.bind(m, inner, args, kw); err != nil {
			return nil, err
		}
		return r.guarded(func() error { return r.exec(m.body, inner) })
	}}
}

// bind gives a macro's parameters their values.
func (r *run) bind(m *macro, s *scope, args []Value, kw *Dict) error {
	rest := map[any]bool{}
	if kw != nil {
		for _, k := range kw.keys {
			rest[k] = true
		}
	}
	for i, id := range m.params {
		given, named := Value(nil), false
		if kw != nil {
			given, named = kw.get(id)
		}
		d := i - (len(m.params) - len(m.defaults))
		switch {
		case i < len(args):
			s.vars[id] = args[i]
			if named {
				return typeError("macro %s got multiple values for argument %s", m.id, id)
			}
		case named:
			s.vars[id] = given
			delete(rest, id)
		case d >= 0:
			v, err := r.eval(m.defaults[d], s)
			if err != nil {
				return err
			}
			s.vars[id] = v
		default:
			s.vars[id] = undefined("parameter '%s' was not provided", id)
		}
	}
	more := args[min(len(m.params), len(args)):]
	if m.varargs {
		s.vars["varargs"] = tuple(more...)
	} else if len(more) > 0 {
		return typeError("macro '%s' takes not more than %d argument(s)", m.id, len(m.params))
	}
	if m.caller && !rest["caller"] {
		s.vars["caller"] = undefined("No caller defined")
	}
	if rest["caller"] && m.caller {
		s.vars["caller"], _ = kw.get("caller")
		delete(rest, "caller")
	}
	return extraKeywords(m, s, kw, rest)
}

func extraKeywords(m *macro, s *scope, kw *Dict, rest map[any]bool) error {
	if !m.kwargs && len(rest) > 0 {
		for _, k := range kw.keys {
			if rest[k] {
				return typeError("macro '%s' takes no keyword argument '%v'", m.id, k)
			}
		}
	}
	if m.kwargs {
		d := NewDict()
		if kw != nil {
			for i, k := range kw.keys {
				if rest[k] {
					d.set(k, kw.vals[i])
				}
			}
		}
		s.vars["kwargs"] = d
	}
	return nil
}
