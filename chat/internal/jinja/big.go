package jinja

import (
	"math"
	"math/big"
)

// Integers beyond 64 bits come from JSON and from large floats. They are printed, compared and passed on; arithmetic with them is refused.

const maxDigits = 4300 // of an integer in a text, as in CPython

// bigOf returns an integer of any size.
func bigOf(v Value) (*big.Int, bool) {
	switch x := v.(type) {
	case *big.Int:
		return x, true
	case bool, int64:
		_, i, _, _ := number(v)
		return big.NewInt(i), true
	}
	return nil, false
}

// shrink returns a *big.Int, or an int64 where that is enough.
func shrink(n *big.Int) Value {
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

// bigFrom truncates a finite float.
func bigFrom(f float64) Value {
	n, _ := big.NewFloat(f).Int(nil)
	return shrink(n)
}

// parseBig reads a decimal integer.
func parseBig(s string) (Value, bool) {
	if len(s) > maxDigits {
		return nil, false
	}
	n, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return nil, false
	}
	return shrink(n), true
}

// compareBig orders two numbers of which one is beyond 64 bits; ok is false if one is no number.
func compareBig(a, b Value) (c int, ok bool) {
	x, okX := bigOf(a)
	y, okY := bigOf(b)
	if okX && okY {
		return x.Cmp(y), true
	}
	exact := func(v Value, n *big.Int, isInt bool) *big.Float {
		if isInt {
			return new(big.Float).SetInt(n)
		}
		if f, isFloat := v.(float64); isFloat && !math.IsNaN(f) {
			return big.NewFloat(f)
		}
		return nil
	}
	fx, fy := exact(a, x, okX), exact(b, y, okY)
	if fx == nil || fy == nil {
		return 0, false
	}
	return fx.Cmp(fy), true
}

func isBig(v Value) bool { _, ok := v.(*big.Int); return ok }
