package kernel

import (
	"math"
	"testing"
)

// unary is an operation dst = f(x) and its gradient, which adds slope(x)*dy to dx.
func unary(name string, run func(dst, x []float32), grad func(dx, x, dy []float32), f, slope func(x float64) float64) []vectorOp {
	return []vectorOp{
		{name, func(in [5][]float32) []float32 {
			d, same := clone(in[0]), clone(in[1])
			run(d, in[1])
			run(same, same)
			return append(d, same...)
		}, func(in [5][]float64) []float64 {
			y := each(len(in[0]), func(i int) float64 { return f(in[1][i]) })
			return append(y, y...)
		}, 1e-6},
		{name + "Grad", func(in [5][]float32) []float32 { d := clone(in[0]); grad(d, in[1], in[2]); return d }, func(in [5][]float64) []float64 {
			return each(len(in[0]), func(i int) float64 { return in[0][i] + slope(in[1][i])*in[2][i] })
		}, 1e-6},
	}
}

func moreVectorOps() []vectorOp {
	geluZ := func(x float64) float64 { return math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x) }
	ops := unary("SiLU", SiLU, SiLUGrad, func(x float64) float64 { return x * sig(x) }, func(x float64) float64 { return sig(x) * (1 + x*(1-sig(x))) })
	ops = append(ops, unary("GELUTanh", GELUTanh, GELUTanhGrad, func(x float64) float64 { return x / 2 * (1 + math.Tanh(geluZ(x))) }, func(x float64) float64 {
		t := math.Tanh(geluZ(x))
		return (1+t)/2 + x/2*(1-t*t)*math.Sqrt(2/math.Pi)*(1+3*0.044715*x*x)
	})...)
	ops = append(ops, unary("GELUErf", GELUErf, GELUErfGrad, func(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) }, func(x float64) float64 {
		return (1+math.Erf(x/math.Sqrt2))/2 + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	})...)
	ops = append(ops, unary("Tanh", Tanh, TanhGrad, math.Tanh, func(y float64) float64 { return 1 - y*y })...)
	ops = append(ops, unary("ReLU", ReLU, ReLUGrad, func(x float64) float64 { return max(x, 0) }, func(y float64) float64 {
		if y > 0 {
			return 1
		}
		return 0
	})...)
	return append(ops, layerOps()...)
}

// moments returns the mean and 1/sqrt(variance + 1e-5).
func moments(x []float64) (mean, r float64) {
	n := float64(len(x))
	mean = total(len(x), func(i int) float64 { return x[i] })[0] / n
	return mean, 1 / math.Sqrt(total(len(x), func(i int) float64 { return (x[i] - mean) * (x[i] - mean) })[0]/n+1e-5)
}

func layerOps() []vectorOp {
	const tol = 2e-6
	return []vectorOp{
		{"LayerNorm", func(in [5][]float32) []float32 {
			d := clone(in[1]) // in place
			mean, r := LayerNorm(d, d, in[2], in[3], 1e-5)
			plain := clone(in[0])
			LayerNorm(plain, in[1], in[2], nil, 1e-5)
			return append(append(d, plain...), mean, r)
		}, func(in [5][]float64) []float64 {
			mean, r := moments(in[1])
			plain := each(len(in[0]), func(i int) float64 { return (in[1][i] - mean) * r * in[2][i] })
			return append(append(each(len(plain), func(i int) float64 { return plain[i] + in[3][i] }), plain...), mean, r)
		}, tol},
		{"LayerNormGrad", func(in [5][]float32) []float32 {
			dx, dw, db := clone(in[0]), clone(in[1]), clone(in[1])
			mean, r := moments(wide(in[2]))
			LayerNormGrad(dx, dw, db, in[2], in[3], in[4], float32(mean), float32(r))
			alone := clone(in[1])
			LayerNormGrad(nil, nil, alone, in[2], in[3], in[4], float32(mean), float32(r))
			return append(append(append(dx, dw...), db...), alone...)
		}, func(in [5][]float64) []float64 {
			mean, r := moments(in[2])
			n := len(in[0])
			x := func(i int) float64 { return (in[2][i] - mean) * r }
			g := func(i int) float64 { return in[3][i] * in[4][i] }
			s := total(n, g)[0] / float64(n)
			sx := total(n, func(i int) float64 { return g(i) * x(i) })[0] / float64(n)
			out := each(n, func(i int) float64 { return in[0][i] + r*(g(i)-s-x(i)*sx) })
			out = append(out, each(n, func(i int) float64 { return in[1][i] + in[4][i]*x(i) })...)
			db := each(n, func(i int) float64 { return in[1][i] + in[4][i] })
			return append(append(out, db...), db...)
		}, 1e-4},
		{"RopeGrad", func(in [5][]float32) []float32 { // three heads, the last two dimensions of each not turned; forward and back is the length of cos, sin
			n := len(in[0])
			dim := 2*n + 2
			x := clone(make([]float32, 3*dim))
			for i := range x {
				x[i] = in[i%3][i%n]
			}
			y := clone(x)
			Rope(y, in[3], in[4], 3, dim, 2*n)
			RopeGrad(y, in[3], in[4], 3, dim, 2*n)
			return y
		}, func(in [5][]float64) []float64 {
			n := len(in[0])
			dim := 2*n + 2
			return each(3*dim, func(i int) float64 {
				f := 1.0
				if at := i % dim; at < 2*n {
					f = in[3][at%n]*in[3][at%n] + in[4][at%n]*in[4][at%n]
				}
				return in[i%3][i%n] * f
			})
		}, 1e-5},
	}
}

// ulps returns the distance of got from want in units of the last place of want as float32.
func ulps(got float32, want float64) float64 {
	w := float32(want)
	_, e := math.Frexp(float64(w))
	return math.Abs(float64(got)-want) / math.Ldexp(1, max(e-24, -149))
}

// The functions stay within a few units of the last place over their whole range; the figures are logged.
func TestAccuracy(t *testing.T) {
	inf := math.Inf(1)
	for _, c := range []struct {
		name   string
		lo, hi float64
		limit  float64
		run    func(dst, x []float32)
		want   func(x float64) float64
	}{
		{"exp", expLow + 1e-4, expHigh, 1.2, func(dst, x []float32) { ExpSum(dst, x, 1, 0) }, math.Exp},
		{"tanh", -20, 20, 2.5, Tanh, math.Tanh},
		{"silu", -80, 80, 4, SiLU, func(x float64) float64 { return x * sig(x) }},
		{"sigmoid", -80, 80, 3, func(dst, x []float32) {
			for i, v := range x {
				dst[i] = -v
			}
			ExpSum(dst, dst, 1, 0)
			for i, v := range dst {
				dst[i] = 1 / (1 + v)
			}
		}, sig},
	} {
		const n = 1 << 16
		x, y := make([]float32, n), make([]float32, n)
		for i := range x {
			x[i] = float32(c.lo + (c.hi-c.lo)*(float64(i)+0.37)/n)
			if i%4 == 0 { // also close to 0
				x[i] *= 0.01
			}
		}
		for _, level := range Levels() {
			restore, _ := ForceLevel(level)
			c.run(y, x)
			worst, at := 0.0, float32(0)
			for i, v := range x {
				if u := ulps(y[i], c.want(float64(v))); !(u <= worst) {
					worst, at = u, v
				}
			}
			t.Logf("%s on %s: at most %.2f ulp, at %g", c.name, level, worst, at)
			if !(worst <= c.limit) {
				t.Errorf("%s on %s: %.2f ulp at %g", c.name, level, worst, at)
			}
			ends := []float32{float32(inf), float32(-inf), float32(math.NaN())}
			c.run(ends, []float32{float32(inf), float32(-inf), float32(math.NaN())})
			if ends[2] == ends[2] {
				t.Errorf("%s on %s: NaN gives %g", c.name, level, ends[2])
			}
			restore()
		}
	}
}

func TestVectorsAllocateNothing(t *testing.T) {
	for _, op := range benchOps() {
		for _, level := range Levels() {
			restore, _ := ForceLevel(level)
			if n := testing.AllocsPerRun(3, op.run); n != 0 {
				t.Errorf("%s on %s: %g allocations", op.name, level, n)
			}
			restore()
		}
	}
}

// Empty slices are allowed everywhere.
func TestVectorsEmpty(t *testing.T) {
	for _, level := range Levels() {
		restore, _ := ForceLevel(level)
		var e []float32
		Add(e, e, e)
		SiLUMulGrad(e, e, e, e, e)
		AdamW(e, e, e, e, AdamCoef{Bias1: 1, Bias2: 1})
		Rope(e, e, e, 0, 4, 0)
		Rope([]float32{1, 2}, e, e, 1, 2, 0)
		if s, m := Sum(e)+Dot(e, e)+float32(SumSquares(e))+ExpSum(e, e, 1, 0), Max(e); s != 0 || m != float32(math.Inf(-1)) || !AllFinite(e) {
			t.Errorf("%s: sums of nothing are %g, the maximum %g", level, s, m)
		}
		nan := float32(math.NaN())
		if m := Max([]float32{nan, -3, nan, -2}); m != -2 {
			t.Errorf("%s: maximum beside NaN is %g", level, m)
		}
		if y := []float32{nan, -1, 2}; true {
			ReLU(y, y)
			if y[0] == y[0] || y[1] != 0 || y[2] != 2 {
				t.Errorf("%s: ReLU gives %v", level, y)
			}
		}
		restore()
	}
}
