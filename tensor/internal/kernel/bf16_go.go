package kernel

import "math"

// A pair is two bf16 numbers in 32 bits, the one with the lower index along k in the lower half. dotPair is the arithmetic of the
// instruction VDPBF16PS, to the bit:
//
//	acc = round(acc + a1 b1);  acc = round(acc + a0 b0)
//
// The odd element comes first; each step rounds once, to nearest even, as a fused multiply-add does; subnormal numbers count as zero, as
// operands and as results, with their sign. roundPair is that of VCVTNE2PS2BF16: nearest even, subnormal numbers become zero, NaN stays NaN.

func roundBF16Go(x float32) uint32 {
	b := math.Float32bits(x)
	switch {
	case x != x:
		return b>>16 | 1<<6 // quiet
	case b<<1 < 1<<24:
		return b >> 16 & 0x8000
	}
	return (b + 0x7fff + (b >> 16 & 1)) >> 16
}

// pairOf rounds two neighbours along k.
func pairOf(even, odd float32) uint32 { return roundBF16Go(even) | roundBF16Go(odd)<<16 }

// dotPair returns acc with the products of two pairs added.
func dotPair(acc float32, a, b uint32) float32 {
	acc = addProduct(acc, math.Float32frombits(a&^0xffff), math.Float32frombits(b&^0xffff))
	return addProduct(acc, math.Float32frombits(a<<16), math.Float32frombits(b<<16))
}

// addProduct returns acc + x y rounded once. The product of two bf16 numbers is exact in float64; their sum is rounded there to odd (towards
// the neighbour whose last bit is 1, unless it is exact), so that the rounding to float32 which follows is that of the exact sum.
func addProduct(acc, x, y float32) float32 {
	p, c := float64(flush(x))*float64(flush(y)), float64(flush(acc))
	s := p + c
	if bits := math.Float64bits(s); bits&1 == 0 && s-s == 0 {
		back := s - p
		if lost := (p - (s - back)) + (c - back); lost != 0 { // Knuth's two-sum
			if (lost > 0) == (s > 0) {
				bits++
			} else {
				bits--
			}
			s = math.Float64frombits(bits)
		}
	}
	if abs := math.Abs(s); abs < 0x1p-126-0x1p-151 { // what rounds to 24 bits below the smallest normal number
		return float32(math.Copysign(0, s))
	} else if abs < 0x1p-126 {
		return float32(math.Copysign(0x1p-126, s))
	}
	return float32(s)
}

// flush returns x, or zero with its sign for a subnormal number.
func flush(x float32) float32 {
	if b := math.Float32bits(x); b<<1 < 1<<24 {
		return math.Float32frombits(b & (1 << 31))
	}
	return x
}

// multiplyPairsGo computes C[m][n] (+)= A B over k pairs, ascending. Row i of A begins at i/8*ats + i%8*rsa, its pairs are csa apart.
func multiplyPairsGo(m, n, k int, a []uint32, rsa, csa, ats int, b []uint32, ldb int, c []float32, ldc int, acc bool) {
	for i := range m {
		out := c[i*ldc : i*ldc+n]
		if !acc {
			clear(out)
		}
		at := i/gemmBF16.rows*ats + i%gemmBF16.rows*rsa
		for q := range k {
			x, row := a[at+q*csa], b[q*ldb:][:n]
			for j := range out {
				out[j] = dotPair(out[j], x, row[j])
			}
		}
	}
}

// roundRowGo rounds src to pairs, the last filled up with zero.
func roundRowGo(src []float32, dst []uint32) {
	for i := 0; i < len(src); i += 2 {
		odd := float32(0)
		if i+1 < len(src) {
			odd = src[i+1]
		}
		dst[i/2] = pairOf(src[i], odd)
	}
}

// interleaveGo makes pairs of rows 2q and 2q+1 of src, which has k rows of cols: column j of pair q goes to dst[q*ldd + j/8*half + j%8].
func interleaveGo(k, cols int, src []float32, lds int, dst []uint32, ldd, half int) {
	for q := 0; q < k; q += 2 {
		for j := range cols {
			odd := float32(0)
			if q+1 < k {
				odd = src[(q+1)*lds+j]
			}
			dst[q/2*ldd+j/8*half+j%8] = pairOf(src[q*lds+j], odd)
		}
	}
}
