package arith

import (
	"math"
	"math/big"
	"slices"
)

// binary applies an arithmetic operator as SymPy does.
func binary(op string, x, y pyValue) pyValue {
	if (x.kind == truth) != (y.kind == truth) && (op == "/" || op == "//" || x.kind == floats || y.kind == floats) {
		return pyValue{} // SymPy takes a bool for an Integer in sums and products, and nowhere else
	}
	x, y = x.number(), y.number()
	for _, v := range []pyValue{x, y} {
		if v.kind == bad || v.kind == relation || v.kind == text {
			return pyValue{}
		}
	}
	if slices.Contains([]string{"+", "-", "*", "/", "//", "%"}, op) && (x.isNaN() || y.isNaN()) {
		return floating(math.NaN())
	}
	switch op {
	case "//", "%":
		return floorDivide(op, x, y)
	case "**":
		return power(x, y)
	case "&", "|", "^", "<<", ">>":
		return bits(op, x, y)
	}
	switch {
	case x.kind == symbol || y.kind == symbol:
		return symbolic(op, x, y)
	case x.kind == zoo || y.kind == zoo:
		return infinite(op, x, y)
	case op == "/" && (y.isZero() || y.kind == floats && y.f == 0):
		if f, _ := x.float(); f == 0 || math.IsNaN(f) {
			return floating(math.NaN())
		}
		return pyValue{kind: zoo}
	case x.kind == rational && y.kind == rational:
		r, err := Apply(op[0], x.rat, y.rat)
		if err != nil {
			return pyValue{}
		}
		return exact(r)
	case op == "*" && (x.isZero() && !y.isInf() || y.isZero() && !x.isInf()):
		return exact(new(big.Rat))
	}
	a, _ := x.float()
	b, _ := y.float()
	switch op {
	case "+":
		return floating(a + b)
	case "-":
		return floating(a - b)
	case "*":
		return floating(a * b)
	}
	return floating(a / b)
}

// symbolic knows the few ways in which a symbol vanishes; any other result holds it still and is no number.
func symbolic(op string, x, y pyValue) pyValue {
	same := x.kind == symbol && y.kind == symbol && x.name != "" && x.name == y.name
	switch {
	case op == "*" && (x.isZero() || y.isZero()), op == "/" && x.isZero(), op == "-" && same:
		return exact(new(big.Rat))
	case op == "/" && same:
		return exact(big.NewRat(1, 1))
	}
	return pyValue{kind: symbol}
}

func infinite(op string, x, y pyValue) pyValue {
	switch {
	case op == "*" && (x.isZero() || y.isZero()), x.kind == zoo && y.kind == zoo && op != "*":
		return floating(math.NaN())
	case op == "/" && y.kind == zoo && !x.isInf():
		return exact(new(big.Rat))
	}
	return pyValue{kind: zoo}
}

func floorDivide(op string, x, y pyValue) pyValue {
	if x.kind == rational && y.kind == rational {
		if y.isZero() {
			return pyValue{}
		}
		q := floor(new(big.Rat).Quo(x.rat, y.rat))
		if op == "//" {
			return exact(q)
		}
		return exact(new(big.Rat).Sub(x.rat, q.Mul(q, y.rat)))
	}
	a, err1 := x.float()
	b, err2 := y.float()
	switch {
	case y.isZero():
		return pyValue{}
	case err1 != nil || err2 != nil || b == 0:
		return pyValue{kind: symbol}
	}
	q := math.Floor(a / b)
	if op == "//" {
		return floating(q)
	}
	return floating(a - q*b)
}

func floor(r *big.Rat) *big.Rat {
	q, _ := new(big.Int).DivMod(r.Num(), r.Denom(), new(big.Int)) // Euclidean; the denominator is positive, so this is the floor
	return new(big.Rat).SetInt(q)
}

// power is x**y. Exact for whole exponents of moderate size, a float otherwise; roots of negative numbers are complex and thus no number.
func power(x, y pyValue) pyValue {
	if y.isZero() {
		return exact(big.NewRat(1, 1))
	}
	if x.isZero() && y.kind == rational {
		if y.rat.Sign() < 0 {
			return pyValue{kind: zoo}
		}
		return x
	}
	if x.kind == rational && y.isInt() && y.rat.Num().IsInt64() {
		n := y.rat.Num().Int64()
		size := float64(max(x.rat.Num().BitLen(), x.rat.Denom().BitLen()))
		if math.Abs(float64(n))*size <= maxBits {
			e := big.NewInt(max(n, -n))
			r := new(big.Rat).SetFrac(new(big.Int).Exp(x.rat.Num(), e, nil), new(big.Int).Exp(x.rat.Denom(), e, nil))
			if n < 0 {
				r.Inv(r)
			}
			return exact(r)
		}
	}
	a, err1 := x.float()
	b, err2 := y.float()
	if err1 != nil || err2 != nil {
		if x.kind == zoo || y.kind == zoo {
			return pyValue{kind: zoo}
		}
		return pyValue{kind: symbol}
	}
	f := math.Pow(a, b)
	if math.IsNaN(f) && !math.IsNaN(a) && !math.IsNaN(b) {
		return pyValue{kind: symbol} // complex
	}
	return floating(f)
}

// bits are Python's integer operators. Symbols make SymPy's logic of them, which is no number either.
func bits(op string, x, y pyValue) pyValue {
	if !x.isInt() || !y.isInt() {
		return pyValue{}
	}
	a, b, z := x.rat.Num(), y.rat.Num(), new(big.Int)
	switch op {
	case "&":
		z.And(a, b)
	case "|":
		z.Or(a, b)
	case "^":
		z.Xor(a, b)
	default:
		if !b.IsInt64() || b.Int64() < 0 || b.Int64() > maxBits {
			return pyValue{}
		}
		if op == "<<" {
			z.Lsh(a, uint(b.Int64()))
		} else {
			z.Rsh(a, uint(b.Int64()))
		}
	}
	return exact(new(big.Rat).SetInt(z))
}

// factorial is SymPy's n!, or n!! with step 2.
func factorial(x pyValue, step int64) pyValue {
	const largest = 3000 // 3000! has 9131 digits
	if x.kind == truth || x.kind == bad || x.kind == text {
		return pyValue{}
	}
	if x.isInt() {
		n := x.rat.Num()
		switch {
		case n.Sign() < 0:
			return pyValue{kind: zoo}
		case !n.IsInt64() || n.Int64() > largest:
			return floating(math.Inf(1))
		}
		z := big.NewInt(1)
		for k := n.Int64(); k > 1; k -= step {
			z.Mul(z, big.NewInt(k))
		}
		return exact(new(big.Rat).SetInt(z))
	}
	if f, err := x.float(); err == nil && step == 1 {
		return floating(math.Gamma(f + 1))
	}
	return pyValue{kind: symbol}
}

// compare is one comparison. Equality is structural in SymPy: a Float never equals an Integer.
func compare(op string, x, y pyValue) pyValue {
	if x.kind == bad || y.kind == bad {
		return pyValue{}
	}
	switch op {
	case "==", "is":
		return boolean(same(x, y))
	case "!=", "is not":
		return boolean(!same(x, y))
	case "in", "not in":
		return pyValue{}
	}
	x, y = x.number(), y.number()
	if x.kind == text || y.kind == text {
		return pyValue{}
	}
	a, err1 := x.float()
	b, err2 := y.float()
	if err1 != nil || err2 != nil {
		return pyValue{kind: relation, name: "undecided"}
	}
	on := a < b
	switch op {
	case ">":
		on = a > b
	case "<=":
		on = a <= b
	case ">=":
		on = a >= b
	}
	return pyValue{kind: relation, on: on}
}

func same(x, y pyValue) bool {
	if x.kind != y.kind {
		return false
	}
	switch x.kind {
	case rational:
		return x.rat.Cmp(y.rat) == 0
	case floats:
		return x.f == y.f
	case truth, relation:
		return x.on == y.on
	}
	return x.name == y.name && (x.name != "" || x.kind != symbol)
}
