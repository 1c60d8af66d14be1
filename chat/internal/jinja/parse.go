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
		if n, err := strconv.ParseInt(t.text, 0, 64); err == nil {
			return &constant{n}, nil
		}
		n, ok := parseBig(t.text) // 007 is no octal number here
		if !ok {
			return nil, p.errorf("integer %.40s cannot be read", t.text)
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
