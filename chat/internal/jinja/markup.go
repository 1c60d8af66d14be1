package jinja

// Markup is a text that counts as escaped (markupsafe.Markup): what is added to it is escaped first, even where autoescape is off as in
// chat templates. The filters safe, e and forceescape make it.
type Markup string

// plain returns v, of a Markup its text.
func plain(v Value) Value {
	if m, ok := v.(Markup); ok {
		return string(m)
	}
	return v
}

// escaped returns a text escaped as Markup's operators do it; other values as they are.
func escaped(v Value) Value {
	if s, ok := v.(string); ok {
		return escaper.Replace(s)
	}
	return plain(v)
}

// marked turns texts, and those in a list, into Markup.
func marked(v Value) Value {
	switch x := v.(type) {
	case string:
		return Markup(x)
	case *List:
		items := make([]Value, len(x.Items))
		for i, it := range x.Items {
			items[i] = marked(it)
		}
		return &List{Items: items, Tuple: x.Tuple}
	}
	return v
}

// markupOperator is a op b where one of the two is Markup.
func markupOperator(op string, a, b Value) (Value, error) {
	_, left := a.(Markup)
	switch {
	case op == "+":
		v, err := arithmetic(op, escaped(a), escaped(b))
		return marked(v), err
	case op == "%" && left:
		if l, ok := b.(*List); ok {
			args := &List{Tuple: l.Tuple}
			for _, it := range l.Items {
				args.Items = append(args.Items, escaped(it))
			}
			b = args
		}
		v, err := arithmetic(op, plain(a), escaped(b))
		return marked(v), err
	case op == "*":
		v, err := arithmetic(op, plain(a), plain(b))
		return marked(v), err
	}
	return arithmetic(op, plain(a), plain(b))
}

// markupMethod is a method of Markup: that of its text, of which the texts that go in are escaped and those that come out are Markup.
func markupMethod(m Markup, id string) body {
	f := textMethod(string(m), id)
	if f == nil {
		return nil
	}
	return func(args []Value, kw *Dict) (Value, error) {
		in := make([]Value, len(args))
		for i, a := range args {
			in[i] = plain(a)
			if id == "format" || id == "replace" && i == 1 {
				in[i] = escaped(a)
			}
		}
		if id == "format" && kw != nil {
			c := NewDict()
			for i, k := range kw.keys {
				c.set(k, escaped(kw.vals[i]))
			}
			kw = c
		}
		if id == "join" && len(in) == 1 {
			items, err := iterate(in[0])
			if err != nil {
				return nil, err
			}
			l := list(nil)
			for _, it := range items {
				l.Items = append(l.Items, escaped(it))
			}
			in[0] = l
		}
		v, err := f(in, kw)
		return marked(v), err
	}
}

// markupFilter applies a filter to Markup. Most see its text; the rest keep it Markup.
func markupFilter(id string, m Markup, f filterFunc, r *run, args []Value, kw *Dict) (Value, error) {
	switch id {
	case "e", "escape", "safe", "string", "default", "d":
		return m, nil
	case "format":
		in := tuple(args...)
		if kw != nil {
			return markupOperator("%", m, kw)
		}
		return markupOperator("%", m, in)
	}
	v, err := f(r, string(m), args, kw)
	switch id {
	case "upper", "lower", "capitalize", "trim", "center", "indent", "reverse":
		v = marked(v)
	}
	return v, err
}
