package toolcall

import (
	"errors"
	"math"
	"math/big"
	"strings"
)

// value reads sums of products of signed numbers, as models write them for values that are to be worked out (2*60), or any other value.
func (p *parser) value() (Value, error) { return p.chain([]string{"+", "-"}, p.product) }

func (p *parser) product() (Value, error) {
	return p.chain([]string{"//", "*", "/", "%"}, p.signed)
}

// chain reads operands joined by operators of one rank, from left to right.
func (p *parser) chain(ops []string, operand func() (Value, error)) (Value, error) {
	x, err := operand()
	for err == nil {
		p.space()
		at, op := p.at, ""
		for _, o := range ops {
			if strings.HasPrefix(p.s[p.at:], o) && !strings.HasPrefix(p.s[p.at:], "**") {
				op = o
				break
			}
		}
		if op == "" {
			return x, nil
		}
		p.take(op)
		y, err := operand()
		if err != nil {
			return nil, err
		}
		if x, err = apply(op, x, y); err != nil {
			return nil, p.fail(at, "%v", err)
		}
	}
	return x, err
}

func (p *parser) signed() (Value, error) {
	at := p.at
	sign := p.byte()
	if sign != '-' && sign != '+' {
		return p.power()
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	p.take(string(sign))
	v, err := p.signed()
	if err != nil {
		return nil, err
	}
	f, float := v.(float64)
	switch {
	case float && sign == '-':
		v = -f
	case sign == '-':
		v, err = apply("-", int64(0), v)
	default:
		v, err = apply("+", int64(0), v)
	}
	if err != nil {
		return nil, p.fail(at, "%v", err)
	}
	return v, nil
}

func (p *parser) power() (Value, error) {
	x, err := p.atom()
	if err != nil {
		return nil, err
	}
	p.space()
	at := p.at
	if !p.take("**") {
		return x, nil
	}
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	y, err := p.signed()
	if err != nil {
		return nil, err
	}
	if x, err = apply("**", x, y); err != nil {
		return nil, p.fail(at, "%v", err)
	}
	return x, nil
}

var (
	errOperands = errors.New("arithmetic is read on numbers only (+ - * / // % **): write the value itself")
	errSize     = errors.New("the number that this gives is too large to write out")
	errZero     = errors.New("a division by zero")
)

// apply is Python's arithmetic on numbers, and + on strings.
func apply(op string, x, y Value) (Value, error) {
	if s, ok := x.(string); ok && op == "+" {
		if t, ok := y.(string); ok {
			return s + t, nil
		}
	}
	a, whole1 := integer(x)
	b, whole2 := integer(y)
	if whole1 && whole2 {
		return applyWhole(op, a, b)
	}
	f, ok1 := asFloat(x)
	g, ok2 := asFloat(y)
	if !ok1 || !ok2 {
		return nil, errOperands
	}
	switch op {
	case "+":
		return f + g, nil
	case "-":
		return f - g, nil
	case "*":
		return f * g, nil
	case "/":
		if g == 0 {
			return nil, errZero
		}
		return f / g, nil
	}
	return nil, errors.New("// % and ** are read on whole numbers only: write the value itself")
}

// integer returns bools and whole numbers.
func integer(v Value) (*big.Int, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return big.NewInt(1), true
		}
		return big.NewInt(0), true
	case int64:
		return big.NewInt(v), true
	case *big.Int:
		return v, true
	}
	return nil, false
}

func asFloat(v Value) (float64, bool) {
	if f, ok := v.(float64); ok {
		return f, true
	}
	n, ok := integer(v)
	if !ok {
		return 0, false
	}
	f, _ := new(big.Float).SetInt(n).Float64()
	return f, !math.IsInf(f, 0) // Python refuses to convert it
}

func applyWhole(op string, a, b *big.Int) (Value, error) {
	n := new(big.Int)
	switch op {
	case "+":
		n.Add(a, b)
	case "-":
		n.Sub(a, b)
	case "*":
		n.Mul(a, b)
	case "**":
		if b.Sign() < 0 || a.BitLen() > 1 && (!b.IsInt64() || b.Int64() > maxBits/int64(a.BitLen()-1)) {
			return nil, errSize
		}
		n.Exp(a, b, nil)
	default:
		if b.Sign() == 0 {
			return nil, errZero
		}
		if op == "/" {
			f, _ := new(big.Rat).SetFrac(a, b).Float64()
			if math.IsInf(f, 0) {
				return nil, errSize
			}
			return f, nil
		}
		// Python rounds towards minus infinity, so the remainder has the divisor's sign.
		rest := new(big.Int)
		n.QuoRem(a, b, rest)
		if rest.Sign() != 0 && (rest.Sign() < 0) != (b.Sign() < 0) {
			n.Sub(n, big.NewInt(1))
			rest.Add(rest, b)
		}
		if op == "%" {
			n = rest
		}
	}
	if n.BitLen() > maxBits {
		return nil, errSize
	}
	return whole(n), nil
}
