// Package half widens and rounds the two 16-bit float formats of model files.
package half

import "math"

// F16 widens an IEEE 754 binary16 value; every binary16 value is exact in float32 (NaN payloads are kept).
func F16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h>>10) & 0x1f
	man := uint32(h & 0x3ff)
	switch exp {
	case 0: // zero and subnormals: man * 2^-24, exact in float32
		v := float32(man) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | man<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
}

// BF16 widens a bfloat16 value: it is the upper half of a float32.
func BF16(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }

// ToBF16 rounds to bfloat16, nearest even, as PyTorch does; NaN stays NaN.
func ToBF16(f float32) uint16 {
	u := math.Float32bits(f)
	if f != f {
		return uint16(u>>16) | 0x40 // a payload in the lower half alone would become infinity
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}
