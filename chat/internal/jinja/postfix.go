package jinja

import "strconv"

func (p *parser) postfix(x expr) (expr, error) {
	for {
		var err error
		switch {
		case p.isOp(".") || p.isOp("["):
			x, err = p.subscript(x)
		case p.isOp("("):
			x, err = p.call(x)
		default:
			return x, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *parser) filterExpr(x expr) (expr, error) {
	for {
		var err error
		switch {
		case p.isOp("|"):
			x, err = p.filter(x, false)
		case p.isName("is"):
			x, err = p.test(x)
		case p.isOp("("):
			x, err = p.call(x)
		default:
			return x, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

func (p *parser) subscript(x expr) (expr, error) {
	if p.skipOp(".") {
		switch t := p.next(); t.kind {
		case tName:
			return &attribute{x, t.text}, nil
		case tInt:
			n, err := strconv.ParseInt(t.text, 10, 64)
			if err != nil {
				return nil, p.errorf("index %s", t.text)
			}
			return &item{x, &constant{n}}, nil
		}
		return nil, p.errorf("expected a name or a number after the dot")
	}
	p.at++ // [
	var parts []expr
	for !p.isOp("]") {
		if len(parts) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
		}
		part, err := p.subscribed()
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	p.at++
	switch len(parts) {
	case 0:
		return nil, p.errorf("an empty subscript")
	case 1:
		return &item{x, parts[0]}, nil
	}
	return &item{x, &array{items: parts, tuple: true}}, nil
}

func (p *parser) subscribed() (expr, error) {
	var parts [3]expr
	n := 0
	for !p.isOp("]") && !p.isOp(",") {
		if p.skipOp(":") {
			if n++; n > 2 {
				return nil, p.errorf("a slice has at most three parts")
			}
			continue
		}
		if parts[n] != nil {
			return nil, p.errorf("expected \"]\", got %q", p.cur().text)
		}
		var err error
		if parts[n], err = p.expression(); err != nil {
			return nil, err
		}
	}
	if n == 0 {
		return parts[0], nil
	}
	return &slice{parts[0], parts[1], parts[2]}, nil
}

func (p *parser) call(fn expr) (expr, error) {
	a, err := p.arguments()
	return &call{fn, a}, err
}

func (p *parser) arguments() (a arguments, err error) {
	if err := p.expectOp("("); err != nil {
		return a, err
	}
	for first := true; !p.isOp(")"); first = false {
		if !first {
			if err := p.expectOp(","); err != nil {
				return a, err
			}
			if p.isOp(")") {
				break
			}
		}
		switch {
		case p.skipOp("*"):
			a.star, err = p.expression()
		case p.skipOp("**"):
			a.starred, err = p.expression()
		case p.cur().kind == tName && p.look().kind == tOp && p.look().text == "=":
			a.names = append(a.names, p.next().text)
			p.at++
			var x expr
			x, err = p.expression()
			a.kwargs = append(a.kwargs, x)
		default:
			if len(a.names) > 0 || a.starred != nil {
				return a, p.errorf("a positional argument after a named one")
			}
			var x expr
			x, err = p.expression()
			a.args = append(a.args, x)
		}
		if err != nil {
			return a, err
		}
	}
	return a, p.expectOp(")")
}

// filter parses |name(args) and all that follow; bare: the bar before the first is left out.
func (p *parser) filter(x expr, bare bool) (expr, error) {
	for bare || p.skipOp("|") {
		bare = false
		f := &filter{of: x, line: p.cur().line}
		var err error
		if f.id, err = p.dotted(); err != nil {
			return nil, err
		}
		if p.isOp("(") {
			if f.arguments, err = p.arguments(); err != nil {
				return nil, err
			}
		}
		x = f
	}
	return x, nil
}

func (p *parser) dotted() (string, error) {
	id, err := p.expectName()
	for err == nil && p.skipOp(".") {
		var more string
		more, err = p.expectName()
		id += "." + more
	}
	return id, err
}

func (p *parser) test(x expr) (expr, error) {
	p.at++ // is
	negated := p.skipName("not")
	t := &test{of: x, line: p.cur().line}
	var err error
	if t.id, err = p.dotted(); err != nil {
		return nil, err
	}
	c := p.cur()
	switch {
	case p.isOp("("):
		t.arguments, err = p.arguments()
	case c.kind == tString, c.kind == tInt, c.kind == tFloat, p.isOp("["), p.isOp("{"),
		c.kind == tName && c.text != "else" && c.text != "or" && c.text != "and":
		if c.text == "is" && c.kind == tName {
			return nil, p.errorf("tests cannot be chained with is")
		}
		var arg expr
		if arg, err = p.primary(); err == nil {
			arg, err = p.postfix(arg)
		}
		t.args = []expr{arg}
	}
	if err != nil {
		return nil, err
	}
	if negated {
		return &unary{"not", t}, nil
	}
	return t, nil
}
