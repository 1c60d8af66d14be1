package arith

import (
	"math"
	"math/big"
)

// pyParser evaluates while it reads. An exception is a value (kind bad), because a branch that is not taken may hold one; a syntax error
// sets failed.
type pyParser struct {
	tokens []pyToken
	i      int
	depth  int
	failed bool
}

// op reports whether the next token is one of the operators, and takes it.
func (p *pyParser) op(choices ...string) (string, bool) {
	if p.i < len(p.tokens) && p.tokens[p.i].kind == 'o' {
		for _, c := range choices {
			if p.tokens[p.i].text == c {
				p.i++
				return c, true
			}
		}
	}
	return "", false
}

func (p *pyParser) fail() pyValue {
	p.failed = true
	return pyValue{}
}

func (p *pyParser) ternary() pyValue {
	if p.depth++; p.depth > maxNesting {
		return p.fail()
	}
	defer func() { p.depth-- }()
	v := p.or()
	if _, ok := p.op("if"); !ok || p.failed {
		return v
	}
	cond := p.or()
	if _, ok := p.op("else"); !ok {
		return p.fail()
	}
	other := p.ternary()
	on, ok := cond.bool()
	switch {
	case !ok:
		return pyValue{}
	case on:
		return v
	}
	return other
}

func (p *pyParser) or() pyValue {
	v := p.and()
	for {
		if _, ok := p.op("or"); !ok || p.failed {
			return v
		}
		w := p.and()
		if on, ok := v.bool(); !ok {
			v = pyValue{}
		} else if !on {
			v = w
		}
	}
}

func (p *pyParser) and() pyValue {
	v := p.not()
	for {
		if _, ok := p.op("and"); !ok || p.failed {
			return v
		}
		w := p.not()
		if on, ok := v.bool(); !ok {
			v = pyValue{}
		} else if on {
			v = w
		}
	}
}

func (p *pyParser) not() pyValue {
	negations := 0
	for {
		if _, ok := p.op("not"); !ok {
			break
		}
		negations++
	}
	v := p.comparison()
	for ; negations > 0; negations-- {
		on, ok := v.bool()
		if !ok {
			return pyValue{}
		}
		v = boolean(!on)
	}
	return v
}

// comparison chains: a < b < c is a < b and b < c.
func (p *pyParser) comparison() pyValue {
	left := p.binary(0)
	var result pyValue
	for first := true; ; first = false {
		op, ok := p.op("<", ">", "==", ">=", "<=", "!=", "is", "in", "not")
		if !ok || p.failed {
			if first {
				return left
			}
			return result
		}
		if op == "is" {
			if _, not := p.op("not"); not {
				op = "is not"
			}
		}
		if op == "not" {
			if _, in := p.op("in"); !in {
				return p.fail()
			}
			op = "not in"
		}
		right := p.binary(0)
		v := compare(op, left, right)
		if first {
			result = v
		} else if on, ok := result.bool(); !ok {
			result = pyValue{}
		} else if on {
			result = v
		}
		left = right
	}
}

// levels of the left-associative operators, loosest first.
var levels = [][]string{{"|"}, {"^"}, {"&"}, {"<<", ">>"}, {"+", "-"}, {"*", "/", "//", "%"}}

func (p *pyParser) binary(level int) pyValue {
	if level == len(levels) {
		return p.unary()
	}
	v := p.binary(level + 1)
	for {
		op, ok := p.op(levels[level]...)
		if !ok || p.failed {
			return v
		}
		v = binary(op, v, p.binary(level+1))
	}
}

func (p *pyParser) unary() pyValue {
	if p.depth++; p.depth > maxNesting {
		return p.fail()
	}
	defer func() { p.depth-- }()
	op, ok := p.op("+", "-", "~")
	if !ok {
		return p.power()
	}
	v := p.unary().number()
	switch {
	case v.kind == bad || v.kind == relation || v.kind == text:
		return pyValue{}
	case op == "+":
		return v
	case op == "-":
		return binary("*", exact(big.NewRat(-1, 1)), v)
	case v.isInt():
		return exact(new(big.Rat).SetInt(new(big.Int).Not(v.rat.Num())))
	}
	return pyValue{}
}

func (p *pyParser) power() pyValue {
	v := p.postfix()
	if _, ok := p.op("**"); ok && !p.failed {
		return binary("**", v, p.unary())
	}
	return v
}

func (p *pyParser) postfix() pyValue {
	v := p.atom()
	for !p.failed {
		if _, ok := p.op("!"); ok {
			step := int64(1)
			if _, twice := p.op("!"); twice {
				step = 2
			}
			v = factorial(v, step)
			continue
		}
		if _, ok := p.op("("); ok { // a number or a group is not callable: an exception, unless the syntax is wrong as well
			p.arguments()
			v = pyValue{}
			continue
		}
		break
	}
	return v
}

func (p *pyParser) atom() pyValue {
	if p.i >= len(p.tokens) {
		return p.fail()
	}
	t := p.tokens[p.i]
	switch t.kind {
	case 'v':
		p.i++
		return t.value
	case 's':
		v := pyValue{kind: text}
		for p.i < len(p.tokens) && p.tokens[p.i].kind == 's' { // neighbours are one string
			v.name += p.tokens[p.i].text[1:]
			p.i++
		}
		return v
	case 'n':
		p.i++
		if _, call := p.op("("); call {
			return pyCall(t.text, p.arguments())
		}
		return pyName(t.text)
	}
	if _, ok := p.op("("); ok {
		v := p.ternary()
		if _, closed := p.op(")"); !closed {
			return p.fail()
		}
		return v
	}
	return p.fail()
}

// arguments reads up to the closing parenthesis.
func (p *pyParser) arguments() []pyValue {
	var args []pyValue
	for !p.failed {
		if _, ok := p.op(")"); ok {
			return args
		}
		args = append(args, p.ternary())
		if _, ok := p.op(","); ok {
			continue
		}
		if _, ok := p.op(")"); !ok {
			p.failed = true
		}
		return args
	}
	return nil
}

func pyName(name string) pyValue {
	switch name {
	case "True", "False":
		return boolean(name == "True")
	case "true", "false":
		return pyValue{kind: relation, on: name == "true"}
	case "pi":
		return floating(math.Pi)
	case "E":
		return floating(math.E)
	case "oo":
		return floating(math.Inf(1))
	case "nan":
		return floating(math.NaN())
	case "zoo":
		return pyValue{kind: zoo}
	}
	return pyValue{kind: symbol, name: name}
}

// pyCall knows the functions of one or two numbers that a countdown answer might use.
func pyCall(name string, args []pyValue) pyValue {
	for i, a := range args {
		args[i] = a.number()
		if _, err := args[i].float(); err != nil || a.kind == text {
			return pyValue{}
		}
	}
	switch name {
	case "max", "Max", "min", "Min":
		return extreme(args, name == "max" || name == "Max")
	case "pow":
		if len(args) == 2 {
			return power(args[0], args[1])
		}
	case "Rational":
		if len(args) == 2 {
			return binary("/", args[0], args[1])
		}
	case "log":
		if len(args) == 2 {
			return binary("/", pyCall("log", args[:1]), pyCall("log", args[1:]))
		}
	}
	if len(args) != 1 {
		return pyValue{}
	}
	return unaryCall(name, args[0])
}

func extreme(args []pyValue, largest bool) pyValue {
	if len(args) == 0 {
		return pyValue{}
	}
	best := args[0]
	for _, a := range args[1:] {
		x, _ := a.float()
		y, _ := best.float()
		if largest == (x > y) && x != y {
			best = a
		}
	}
	return best
}

func unaryCall(name string, x pyValue) pyValue {
	f, _ := x.float()
	switch name {
	case "Integer", "Rational", "Float":
		return x
	case "sqrt":
		return power(x, exact(big.NewRat(1, 2)))
	case "cbrt":
		return power(x, exact(big.NewRat(1, 3)))
	case "abs", "Abs":
		if x.kind == rational {
			return exact(new(big.Rat).Abs(x.rat))
		}
		return floating(math.Abs(f))
	case "factorial":
		return factorial(x, 1)
	case "floor", "ceiling":
		if x.kind == rational {
			if name == "floor" {
				return exact(floor(x.rat))
			}
			up := floor(new(big.Rat).Neg(x.rat))
			return exact(up.Neg(up))
		}
		if name == "floor" {
			return floating(math.Floor(f))
		}
		return floating(math.Ceil(f))
	case "round":
		return floating(math.RoundToEven(f))
	case "exp":
		return floating(math.Exp(f))
	case "sin":
		return floating(math.Sin(f))
	case "cos":
		return floating(math.Cos(f))
	case "tan":
		return floating(math.Tan(f))
	case "log", "ln":
		switch {
		case f > 0:
			return floating(math.Log(f))
		case f == 0:
			return pyValue{kind: zoo}
		}
	}
	return pyValue{kind: symbol}
}
