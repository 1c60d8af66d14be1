package jinja

import "errors"

var (
	errBreak    = errors.New("break outside of a loop")
	errContinue = errors.New("continue outside of a loop")
)

func parse(source string) ([]stmt, error) {
	list, err := lex(source)
	if err != nil {
		return nil, err
	}
	p := &parser{list: list}
	body, err := p.body()
	if err == nil && p.cur().kind != tEOF {
		err = p.errorf("unexpected %q", p.cur().text)
	}
	return body, err
}

// body parses statements up to a block tag with one of the names in ends, which it leaves to the caller, or to the end of the source.
func (p *parser) body(ends ...string) ([]stmt, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	var out []stmt
	for {
		t := p.cur()
		switch t.kind {
		case tEOF:
			if len(ends) > 0 {
				return nil, p.errorf("the template ends where %q is expected", ends[len(ends)-1])
			}
			return out, nil
		case tData:
			p.at++
			out = append(out, &text{t.text})
		case tVarBegin:
			p.at++
			x, err := p.tuple(true, false)
			if err != nil {
				return nil, err
			}
			if p.next().kind != tVarEnd {
				p.at--
				return nil, p.errorf("expected }}, got %q", p.cur().text)
			}
			out = append(out, &print{x, t.line})
		case tBlockBegin:
			p.at++
			for _, e := range ends {
				if p.isName(e) {
					return out, nil
				}
			}
			s, err := p.statement()
			if err != nil {
				return nil, err
			}
			out = append(out, s)
		default:
			return nil, p.errorf("unexpected %q", t.text)
		}
	}
}

func (p *parser) statement() (stmt, error) {
	line := p.cur().line
	id, err := p.expectName()
	if err != nil {
		return nil, err
	}
	switch id {
	case "if":
		return p.ifElse(line)
	case "for":
		return p.forLoop(line)
	case "set":
		return p.set(line)
	case "macro":
		m := &macro{line: line}
		if m.id, err = p.expectName(); err != nil {
			return nil, err
		}
		return m, p.macro(m, "endmacro")
	case "call":
		return p.callBlock(line)
	case "filter":
		b := &filterBlock{line: line}
		if b.filter, err = p.filter(nil, true); err != nil {
			return nil, err
		}
		b.body, err = p.enclosed("endfilter")
		return b, err
	case "with":
		return p.with(line)
	case "generation":
		g := &generation{}
		g.body, err = p.enclosed("endgeneration")
		return g, err
	case "block":
		if _, err := p.expectName(); err != nil {
			return nil, err
		}
		b := &block{}
		if b.body, err = p.enclosedOpen("endblock"); err == nil {
			if p.cur().kind == tName { // endblock may repeat the name
				p.at++
			}
			err = p.blockEnd()
		}
		return b, err
	case "break", "continue":
		if p.loops == 0 {
			return nil, p.errorf("%s outside of a loop", id)
		}
		j := &jump{errBreak}
		if id == "continue" {
			j.err = errContinue
		}
		return j, p.blockEnd()
	}
	p.at--
	return nil, p.errorf("unknown tag %q", id)
}

func (p *parser) blockEnd() error {
	if p.cur().kind != tBlockEnd {
		return p.errorf("expected %%}, got %q", p.cur().text)
	}
	p.at++
	return nil
}

// enclosed parses %} body {% end %}.
func (p *parser) enclosed(end string) ([]stmt, error) {
	body, err := p.enclosedOpen(end)
	if err != nil {
		return nil, err
	}
	return body, p.blockEnd()
}

func (p *parser) enclosedOpen(end string) ([]stmt, error) {
	if err := p.blockEnd(); err != nil {
		return nil, err
	}
	body, err := p.body(end)
	if err != nil {
		return nil, err
	}
	p.at++ // the name
	return body, nil
}

func (p *parser) ifElse(line int) (stmt, error) {
	s := &ifElse{line: line}
	for {
		cond, err := p.tuple(false, false)
		if err != nil {
			return nil, err
		}
		if err := p.blockEnd(); err != nil {
			return nil, err
		}
		body, err := p.body("elif", "else", "endif")
		if err != nil {
			return nil, err
		}
		s.conds, s.bodies = append(s.conds, cond), append(s.bodies, body)
		switch p.next().text {
		case "elif":
			continue
		case "else":
			body, err := p.enclosed("endif")
			s.bodies = append(s.bodies, body)
			return s, err
		}
		return s, p.blockEnd()
	}
}

func (p *parser) forLoop(line int) (stmt, error) {
	f := &forLoop{line: line}
	var err error
	if f.target, err = p.target(false, "in"); err != nil {
		return nil, err
	}
	if !p.skipName("in") {
		return nil, p.errorf("expected in, got %q", p.cur().text)
	}
	if f.in, err = p.tuple(false, false, "recursive"); err != nil {
		return nil, err
	}
	if p.skipName("if") {
		if f.cond, err = p.expression(); err != nil {
			return nil, err
		}
	}
	f.recursive = p.skipName("recursive")
	if err := p.blockEnd(); err != nil {
		return nil, err
	}
	p.loops++
	f.body, err = p.body("endfor", "else")
	p.loops--
	if err != nil {
		return nil, err
	}
	if p.next().text == "else" {
		f.none, err = p.enclosed("endfor")
		return f, err
	}
	return f, p.blockEnd()
}

// target parses what a for loop or a set assigns to.
func (p *parser) target(namespaces bool, stop ...string) (expr, error) {
	if namespaces && p.cur().kind == tName && p.look().kind == tOp && p.look().text == "." {
		ns := p.next().text
		p.at++
		id, err := p.expectName()
		if p.names != nil {
			p.names[ns] = true
		}
		return &attribute{&name{ns}, id}, err
	}
	a := &array{tuple: true}
	single := true
	for !p.tupleEnd(stop) && !p.isOp("=") {
		var x expr
		if p.skipOp("(") {
			var err error
			if x, err = p.target(false, stop...); err != nil {
				return nil, err
			}
			if err := p.expectOp(")"); err != nil {
				return nil, err
			}
		} else {
			id, err := p.expectName()
			if err != nil {
				return nil, err
			}
			switch id {
			case "true", "false", "none", "True", "False", "None":
				return nil, p.errorf("cannot assign to %s", id)
			}
			x = &name{id}
		}
		a.items = append(a.items, x)
		if !p.skipOp(",") {
			break
		}
		single = false
	}
	if len(a.items) == 0 {
		return nil, p.errorf("expected a name, got %q", p.cur().text)
	}
	if single && len(a.items) == 1 {
		return a.items[0], nil
	}
	return a, nil
}

func (p *parser) set(line int) (stmt, error) {
	target, err := p.target(true)
	if err != nil {
		return nil, err
	}
	if p.skipOp("=") {
		x, err := p.tuple(true, false)
		if err != nil {
			return nil, err
		}
		return &set{target, x, line}, p.blockEnd()
	}
	b := &setBlock{target: target, line: line}
	if b.filter, err = p.filter(nil, false); err != nil {
		return nil, err
	}
	b.body, err = p.enclosed("endset")
	return b, err
}

func (p *parser) with(line int) (stmt, error) {
	w := &with{line: line}
	for p.cur().kind != tBlockEnd {
		if len(w.targets) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
		}
		target, err := p.target(false)
		if err != nil {
			return nil, err
		}
		if err := p.expectOp("="); err != nil {
			return nil, err
		}
		x, err := p.expression()
		if err != nil {
			return nil, err
		}
		w.targets, w.values = append(w.targets, target), append(w.values, x)
	}
	var err error
	w.body, err = p.enclosed("endwith")
	return w, err
}

// macro parses the signature and the body.
func (p *parser) macro(m *macro, end string) error {
	outer, loops := p.names, p.loops
	p.names, p.loops = map[string]bool{}, 0
	defer func() {
		for id := range p.names {
			if outer != nil {
				outer[id] = true
			}
		}
		p.names, p.loops = outer, loops
	}()
	err := p.signature(m)
	if err != nil {
		return err
	}
	if m.body, err = p.enclosed(end); err == nil {
		m.varargs, m.kwargs, m.caller = p.names["varargs"], p.names["kwargs"], p.names["caller"]
	}
	return err
}

func (p *parser) signature(m *macro) error {
	if err := p.expectOp("("); err != nil {
		return err
	}
	for !p.isOp(")") {
		if len(m.params) > 0 {
			if err := p.expectOp(","); err != nil {
				return err
			}
			if p.isOp(")") {
				break
			}
		}
		id, err := p.expectName()
		if err != nil {
			return err
		}
		m.params = append(m.params, id)
		if p.skipOp("=") {
			x, err := p.expression()
			if err != nil {
				return err
			}
			m.defaults = append(m.defaults, x)
		} else if len(m.defaults) > 0 {
			return p.errorf("parameter %s has no default and follows one that has", id)
		}
	}
	return p.expectOp(")")
}

func (p *parser) callBlock(line int) (stmt, error) {
	c := &callBlock{macro: macro{id: "caller", line: line}}
	if p.isOp("(") {
		if err := p.signature(&c.macro); err != nil {
			return nil, err
		}
	}
	x, err := p.expression()
	if err != nil {
		return nil, err
	}
	if _, ok := x.(*call); !ok {
		return nil, p.errorf("expected a call")
	}
	c.call = x
	loops := p.loops
	p.loops = 0
	c.body, err = p.enclosed("endcall")
	p.loops = loops
	return c, err
}
