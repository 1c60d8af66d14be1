package jinja

import (
	"fmt"
	"strconv"
	"strings"
)

// parser follows jinja2/parser.py function by function, so that precedence is Python's.
type parser struct {
	list  []lexeme
	at    int
	depth int
	loops int             // for loops around this place
	names map[string]bool // read inside the macro at hand; nil outside
}

func (p *parser) cur() lexeme { return p.list[p.at] }

func (p *parser) look() lexeme { return p.list[min(p.at+1, len(p.list)-1)] }

func (p *parser) next() lexeme {
	t := p.list[p.at]
	if t.kind != tEOF {
		p.at++
	}
	return t
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: %s", p.cur().line, fmt.Sprintf(format, args...))
}

func (p *parser) isOp(op string) bool { t := p.cur(); return t.kind == tOp && t.text == op }

func (p *parser) isName(id string) bool { t := p.cur(); return t.kind == tName && t.text == id }

func (p *parser) skipOp(op string) bool {
	if p.isOp(op) {
		p.at++
		return true
	}
	return false
}

func (p *parser) skipName(id string) bool {
	if p.isName(id) {
		p.at++
		return true
	}
	return false
}

func (p *parser) expectOp(op string) error {
	if !p.skipOp(op) {
		return p.errorf("expected %q, got %q", op, p.cur().text)
	}
	return nil
}

func (p *parser) expectName() (string, error) {
	if t := p.cur(); t.kind == tName {
		p.at++
		return t.text, nil
	}
	return "", p.errorf("expected a name, got %q", p.cur().text)
}

// deeper guards recursion: a template is data from a file.
func (p *parser) deeper() error {
	if p.depth++; p.depth > maxDepth {
		return p.errorf("nested more than %d deep", maxDepth)
	}
	return nil
}

func (p *parser) expression() (expr, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	x, err := p.or()
	for err == nil && p.skipName("if") {
		c := &choice{yes: x}
		if c.cond, err = p.or(); err != nil {
			return nil, err
		}
		if p.skipName("else") {
			c.no, err = p.expression()
		}
		x = c
	}
	return x, err
}

func (p *parser) or() (expr, error) {
	x, err := p.and()
	for err == nil && p.skipName("or") {
		l := &logic{or: true, a: x}
		l.b, err = p.and()
		x = l
	}
	return x, err
}

func (p *parser) and() (expr, error) {
	x, err := p.not()
	for err == nil && p.skipName("and") {
		l := &logic{a: x}
		l.b, err = p.not()
		x = l
	}
	return x, err
}

func (p *parser) not() (expr, error) {
	if p.isName("not") && !(p.look().kind == tName && p.look().text == "in") {
		p.at++
		if err := p.deeper(); err != nil {
			return nil, err
		}
		x, err := p.not()
		p.depth--
		return &unary{"not", x}, err
	}
	return p.comparison()
}

func (p *parser) comparison() (expr, error) {
	x, err := p.sum()
	if err != nil {
		return nil, err
	}
	c := &comparison{first: x}
	for {
		op := p.cur().text
		switch {
		case p.cur().kind == tOp && (op == "==" || op == "!=" || op == "<" || op == "<=" || op == ">" || op == ">="):
			p.at++
		case p.isName("in"):
			p.at++
		case p.isName("not") && p.look().kind == tName && p.look().text == "in":
			op = "not in"
			p.at += 2
		default:
			if len(c.ops) == 0 {
				return x, nil
			}
			return c, nil
		}
		y, err := p.sum()
		if err != nil {
			return nil, err
		}
		c.ops, c.rest = append(c.ops, op), append(c.rest, y)
	}
}

// level parses left-associative operators.
func (p *parser) level(operand func() (expr, error), ops ...string) (expr, error) {
	x, err := operand()
	for err == nil {
		op := p.cur().text
		if p.cur().kind != tOp || !strings.Contains(" "+strings.Join(ops, " ")+" ", " "+op+" ") {
			break
		}
		p.at++
		b := &binary{op: op, a: x}
		b.b, err = operand()
		x = b
	}
	return x, err
}

func (p *parser) sum() (expr, error) { return p.level(p.concat, "+", "-") }

func (p *parser) concat() (expr, error) {
	x, err := p.product()
	if err != nil || !p.isOp("~") {
		return x, err
	}
	c := &concat{parts: []expr{x}}
	for p.skipOp("~") {
		if x, err = p.product(); err != nil {
			return nil, err
		}
		c.parts = append(c.parts, x)
	}
	return c, nil
}

func (p *parser) product() (expr, error) { return p.level(p.power, "*", "/", "//", "%") }

func (p *parser) power() (expr, error) {
	return p.level(func() (expr, error) { return p.unary(true) }, "**")
}

// unary: a sign belongs to the operand before a filter sees it: -1|abs is (-1)|abs.
func (p *parser) unary(withFilter bool) (expr, error) {
	if err := p.deeper(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	var x expr
	var err error
	switch {
	case p.skipOp("-"):
		x, err = p.unary(false)
		x = &unary{"-", x}
	case p.skipOp("+"):
		x, err = p.unary(false)
		x = &unary{"+", x}
	default:
		x, err = p.primary()
	}
	if err == nil {
		x, err = p.postfix(x)
	}
	if err == nil && withFilter {
		x, err = p.filterExpr(x)
	}
	return x, err
}

func (p *parser) primary() (expr, error) {
	t := p.next()
	switch t.kind {
	case tName:
		switch t.text {
		case "true", "True":
			return &constant{true}, nil
		case "false", "False":
			return &constant{false}, nil
		case "none", "None":
			return &constant{nil}, nil
		}
		if p.names != nil {
			p.names[t.text] = true
		}
		return &name{t.text}, nil
	case tString:
		s := t.text
		for p.cur().kind == tString {
			s += p.next().text
		}
		return &constant{s}, nil
	case tInt:
		n, err := strconv.ParseInt(t.text, 0, 64)
		if err != nil {
			n, err = strconv.ParseInt(t.text, 10, 64) // 007 is no octal number here
		}
		if err != nil {
			return nil, p.errorf("integer %s does not fit into 64 bits", t.text)
		}
		return &constant{n}, nil
	case tFloat:
		f, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			return nil, p.errorf("%v", err)
		}
		return &constant{f}, nil
	case tOp:
		switch t.text {
		case "(":
			x, err := p.tuple(true, true)
			if err != nil {
				return nil, err
			}
			return x, p.expectOp(")")
		case "[":
			items, err := p.until("]")
			return &array{items: items}, err
		case "{":
			return p.dict()
		}
	}
	p.at = max(0, p.at-1)
	return nil, p.errorf("unexpected %q", t.text)
}

// until parses expressions with commas between them up to a closing bracket.
func (p *parser) until(end string) ([]expr, error) {
	var items []expr
	for !p.isOp(end) {
		if len(items) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
			if p.isOp(end) {
				break
			}
		}
		x, err := p.expression()
		if err != nil {
			return nil, err
		}
		items = append(items, x)
	}
	return items, p.expectOp(end)
}

func (p *parser) dict() (expr, error) {
	d := &dictionary{}
	for !p.isOp("}") {
		if len(d.keys) > 0 {
			if err := p.expectOp(","); err != nil {
				return nil, err
			}
			if p.isOp("}") {
				break
			}
		}
		k, err := p.expression()
		if err != nil {
			return nil, err
		}
		if err := p.expectOp(":"); err != nil {
			return nil, err
		}
		v, err := p.expression()
		if err != nil {
			return nil, err
		}
		d.keys, d.vals = append(d.keys, k), append(d.vals, v)
	}
	return d, p.expectOp("}")
}

// tuple parses a, b, c, or a single expression. choices: `x if y else z` is allowed. stop names end it.
func (p *parser) tuple(choices, parenthesised bool, stop ...string) (expr, error) {
	var items []expr
	isTuple := false
	for {
		if p.tupleEnd(stop) {
			break
		}
		parse := p.or
		if choices {
			parse = p.expression
		}
		x, err := parse()
		if err != nil {
			return nil, err
		}
		items = append(items, x)
		if !p.skipOp(",") {
			break
		}
		isTuple = true
	}
	if !isTuple && len(items) == 1 {
		return items[0], nil
	}
	if len(items) == 0 && !parenthesised {
		return nil, p.errorf("expected an expression, got %q", p.cur().text)
	}
	return &array{items: items, tuple: true}, nil
}

func (p *parser) tupleEnd(stop []string) bool {
	t := p.cur()
	if t.kind == tVarEnd || t.kind == tBlockEnd || t.kind == tEOF || p.isOp(")") {
		return true
	}
	for _, s := range stop {
		if p.isName(s) {
			return true
		}
	}
	return false
}

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
