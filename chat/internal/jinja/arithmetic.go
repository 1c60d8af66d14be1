package jinja

import (
	"errors"
	"math"
	"strings"
)

// arithmetic is a op b for + - * / // % **.
func arithmetic(op string, a, b Value) (Value, error) {
	_, markA := a.(Markup)
	_, markB := b.(Markup)
	if markA || markB {
		return markupOperator(op, a, b)
	}
	for _, v := range []Value{a, b} {
		if u, ok := v.(*Undefined); ok && !(op == "%" && typeName(a) == "str") {
			return nil, u.err()
		}
	}
	if v, ok, err := sequence(op, a, b); ok || err != nil {
		if err == nil {
			err = bounded(v)
		}
		return v, err
	}
	if isBig(a) || isBig(b) {
		return nil, errOverflow
	}
	fa, ia, intA, okA := number(a)
	fb, ib, intB, okB := number(b)
	if !okA || !okB {
		if _, ok := a.(string); ok && op == "+" {
			return nil, typeError("can only concatenate str (not \"%s\") to str", typeName(b))
		}
		return nil, typeError("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(a), typeName(b))
	}
	if (op == "/" || op == "//" || op == "%") && fb == 0 || op == "**" && fa == 0 && fb < 0 {
		return nil, errors.New("ZeroDivisionError: division by zero")
	}
	if intA && intB && op != "/" && !(op == "**" && ib < 0) {
		return integers(op, ia, ib)
	}
	switch op {
	case "+":
		return fa + fb, nil
	case "-":
		return fa - fb, nil
	case "*":
		return fa * fb, nil
	case "/":
		return fa / fb, nil
	case "//", "%":
		q, m := floorMod(fa, fb)
		if op == "%" {
			return m, nil
		}
		return q, nil
	}
	p := math.Pow(fa, fb)
	if math.IsInf(p, 0) && !math.IsInf(fa, 0) && !math.IsInf(fb, 0) {
		return nil, errors.New("OverflowError: numerical result out of range")
	}
	return p, nil
}

// floorMod is CPython's float_divmod for b != 0: the quotient comes from the exact remainder, so that 1 // 0.1 is 9.
func floorMod(a, b float64) (q, m float64) {
	m = math.Mod(a, b)
	q = (a - m) / b
	if m == 0 {
		m = math.Copysign(0, b)
	} else if (m < 0) != (b < 0) {
		m, q = m+b, q-1
	}
	if q == 0 {
		return math.Copysign(0, a/b), m
	}
	if f := math.Floor(q); q-f <= 0.5 {
		return f, m
	}
	return math.Floor(q) + 1, m
}

// sequence is arithmetic on texts and lists: joined, repeated, formatted.
func sequence(op string, a, b Value) (Value, bool, error) {
	if s, ok := a.(string); ok && op == "%" {
		v, err := percent(s, b)
		return v, true, err
	}
	if op == "+" {
		if x, ok := a.(string); ok {
			if y, ok := b.(string); ok {
				return x + y, true, nil
			}
		}
		x, okX := a.(*List)
		y, okY := b.(*List)
		if okX && okY && x.Tuple == y.Tuple && x.shown+y.shown == "" {
			return &List{Items: append(append([]Value{}, x.Items...), y.Items...), Tuple: x.Tuple}, true, nil
		}
	}
	if op != "*" {
		return nil, false, nil
	}
	if _, n, isInt, ok := number(a); ok && isInt {
		if _, _, _, ok := number(b); !ok {
			return repeat(b, n)
		}
		return nil, false, nil
	}
	if _, n, isInt, ok := number(b); ok && isInt {
		return repeat(a, n)
	}
	return nil, false, nil
}

func repeat(v Value, n int64) (Value, bool, error) {
	n = max(n, 0)
	switch x := v.(type) {
	case string:
		if n*int64(len(x)) > maxText || n > maxText {
			return nil, false, errors.New(tooLarge)
		}
		return strings.Repeat(x, int(n)), true, nil
	case *List:
		if x.shown != "" {
			return nil, false, nil
		}
		if n > maxItems || n*int64(len(x.Items)) > maxItems {
			return nil, false, errors.New(tooLarge)
		}
		out := &List{Tuple: x.Tuple}
		for range n {
			out.Items = append(out.Items, x.Items...)
		}
		return out, true, nil
	}
	return nil, false, nil
}

var errOverflow = errors.New("OverflowError: arithmetic beyond 64 bits is not built")

func integers(op string, a, b int64) (Value, error) {
	switch op {
	case "+":
		if c := a + b; (c > a) == (b > 0) {
			return c, nil
		}
	case "-":
		if c := a - b; (c < a) == (b > 0) {
			return c, nil
		}
	case "*":
		if a == 0 || b == 0 {
			return int64(0), nil
		}
		if c := a * b; c/b == a && !(a == -1 && b == math.MinInt64) && !(b == -1 && a == math.MinInt64) {
			return c, nil
		}
	case "//", "%":
		if b == -1 && a == math.MinInt64 {
			return nil, errOverflow
		}
		q, m := a/b, a%b
		if m != 0 && (m < 0) != (b < 0) {
			q, m = q-1, m+b
		}
		if op == "%" {
			return m, nil
		}
		return q, nil
	case "**":
		out := Value(int64(1))
		for range min(b, 64) {
			var err error
			if out, err = integers("*", out.(int64), a); err != nil {
				return nil, err
			}
		}
		if b <= 64 || a == 0 || a == 1 {
			return out, nil
		}
		if a == -1 {
			return 1 - 2*(b%2), nil
		}
	}
	return nil, errOverflow
}
