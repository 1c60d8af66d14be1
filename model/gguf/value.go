package gguf

type kind uint8

const (
	kInt kind = iota + 1
	kBigUint
	kFloat
	kBool
	kString
	kArray
)

// Value is one metadata value. The getters report false when the value is of another kind; integer and float widths do not matter.
type Value struct {
	kind    kind
	elem    uint32
	i       int64
	u       uint64
	f       float64
	s       string
	ints    []int64 // of integers and bools
	floats  []float64
	strings []string
	arrays  []Value
}

// String returns a string value.
func (v Value) String() (string, bool) { return v.s, v.kind == kString }

// Uint returns a non-negative integer value.
func (v Value) Uint() (uint64, bool) {
	if v.kind == kBigUint {
		return v.u, true
	}
	return uint64(v.i), v.kind == kInt && v.i >= 0
}

// Int returns an integer value.
func (v Value) Int() (int64, bool) { return v.i, v.kind == kInt }

// Float returns a float value, or an integer as a float.
func (v Value) Float() (float64, bool) {
	switch v.kind {
	case kInt:
		return float64(v.i), true
	case kBigUint:
		return float64(v.u), true
	}
	return v.f, v.kind == kFloat
}

// Bool returns a bool value.
func (v Value) Bool() (bool, bool) { return v.i != 0, v.kind == kBool }

// Strings returns an array of strings. The slice is shared; do not change it.
func (v Value) Strings() ([]string, bool) {
	return v.strings, v.kind == kArray && v.elem == tString
}

// Ints returns an array of integers (any width). The slice is shared; do not change it.
func (v Value) Ints() ([]int64, bool) {
	switch v.elem {
	case tFloat32, tFloat64, tBool, tString, tArray:
		return nil, false
	}
	return v.ints, v.kind == kArray
}

// Floats returns an array of floats. The slice is shared; do not change it.
func (v Value) Floats() ([]float64, bool) {
	return v.floats, v.kind == kArray && (v.elem == tFloat32 || v.elem == tFloat64)
}

// Bools returns an array of bools.
func (v Value) Bools() ([]bool, bool) {
	if v.kind != kArray || v.elem != tBool {
		return nil, false
	}
	b := make([]bool, len(v.ints))
	for i, x := range v.ints {
		b[i] = x != 0
	}
	return b, true
}

// Arrays returns an array of arrays.
func (v Value) Arrays() ([]Value, bool) { return v.arrays, v.kind == kArray && v.elem == tArray }
