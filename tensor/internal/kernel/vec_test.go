package kernel

import (
	"fmt"
	"math"
	"testing"
)

// vectorOp runs one operation on inputs of n elements and returns everything it wrote or returned, with the float64 reference.
type vectorOp struct {
	name string
	run  func(in [5][]float32) []float32
	ref  func(in [5][]float64) []float64
	tol  float64 // relative to 1 + |reference|, or to the sum of absolute terms for sums
}

func each(n int, f func(i int) float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = f(i)
	}
	return out
}

func total(n int, f func(i int) float64) []float64 {
	s := 0.0
	for i := range n {
		s += f(i)
	}
	return []float64{s}
}

func sig(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func vectorOps() []vectorOp {
	return append(moreVectorOps(), []vectorOp{
		{"Add", func(in [5][]float32) []float32 { d := clone(in[0]); Add(d, in[1], in[2]); return d }, func(in [5][]float64) []float64 {
			return each(len(in[0]), func(i int) float64 { return in[1][i] + in[2][i] })
		}, 1e-6},
		{"AddTo", func(in [5][]float32) []float32 { d := clone(in[0]); AddTo(d, in[1]); return d }, func(in [5][]float64) []float64 {
			return each(len(in[0]), func(i int) float64 { return in[0][i] + in[1][i] })
		}, 1e-6},
		{"Mul", func(in [5][]float32) []float32 { d := clone(in[0]); Mul(d, in[1], in[2]); return d }, func(in [5][]float64) []float64 {
			return each(len(in[0]), func(i int) float64 { return in[1][i] * in[2][i] })
		}, 1e-6},
		{"MulAddTo", func(in [5][]float32) []float32 { d := clone(in[0]); MulAddTo(d, in[1], in[2]); return d }, func(in [5][]float64) []float64 {
			return each(len(in[0]), func(i int) float64 { return in[0][i] + in[1][i]*in[2][i] })
		}, 1e-6},
		{"Scale", func(in [5][]float32) []float32 { d := clone(in[0]); Scale(d, in[1], 0.3); return d }, func(in [5][]float64) []float64 {
			return each(len(in[0]), func(i int) float64 { return in[1][i] * 0.3 })
		}, 1e-6},
		{"Axpy", func(in [5][]float32) []float32 { d := clone(in[0]); Axpy(d, 0.3, in[1]); return d }, func(in [5][]float64) []float64 {
			return each(len(in[0]), func(i int) float64 { return in[0][i] + in[1][i]*0.3 })
		}, 1e-6},
		{"Dot", func(in [5][]float32) []float32 { return []float32{Dot(in[0], in[1])} }, func(in [5][]float64) []float64 {
			return total(len(in[0]), func(i int) float64 { return in[0][i] * in[1][i] })
		}, 1e-4},
		{"Sum", func(in [5][]float32) []float32 { return []float32{Sum(in[0])} }, func(in [5][]float64) []float64 { return total(len(in[0]), func(i int) float64 { return in[0][i] }) }, 1e-4},
		{"SumSquares", func(in [5][]float32) []float32 { return []float32{float32(SumSquares(in[0]))} }, func(in [5][]float64) []float64 {
			return total(len(in[0]), func(i int) float64 { return in[0][i] * in[0][i] })
		}, 1e-6},
		{"Max", func(in [5][]float32) []float32 {
			d := clone(in[0])
			for i := range d {
				d[i] -= 100
			}
			return []float32{max(Max(d), -1000)}
		}, func(in [5][]float64) []float64 {
			m := -1000.0
			for _, v := range in[0] {
				m = math.Max(m, float64(float32(v)-100))
			}
			return []float64{m}
		}, 1e-6},
		{"ExpSum", func(in [5][]float32) []float32 { d := clone(in[0]); s := ExpSum(d, d, 1.7, 0.4); return append(d, s) }, func(in [5][]float64) []float64 {
			e := each(len(in[0]), func(i int) float64 { return math.Exp(in[0][i]*1.7 - 0.4) })
			return append(e, total(len(e), func(i int) float64 { return e[i] })...)
		}, 2e-6},
		{"ExpStats", func(in [5][]float32) []float32 { a, b := ExpStats(in[0], 1.7, 0.4); return []float32{a, b} }, func(in [5][]float64) []float64 {
			t := func(i int) float64 { return in[0][i]*1.7 - 0.4 }
			return append(total(len(in[0]), func(i int) float64 { return math.Exp(t(i)) }), total(len(in[0]), func(i int) float64 { return math.Exp(t(i)) * t(i) })...)
		}, 1e-5},
		{"HeadGrad", func(in [5][]float32) []float32 { d := clone(in[0]); HeadGrad(d, d, 1.7, 0.4, 0.2, 0.1); return d }, func(in [5][]float64) []float64 {
			return each(len(in[0]), func(i int) float64 { t := in[0][i]*1.7 - 0.4; return math.Exp(t) * (0.2 + 0.1*t) })
		}, 2e-6},
		{"RMSNorm", func(in [5][]float32) []float32 {
			d := clone(in[0])
			r := RMSNorm(d, in[1], in[2], 1e-5)
			return append(d, r)
		}, func(in [5][]float64) []float64 {
			r := rstd(in[1])
			return append(each(len(in[0]), func(i int) float64 { return in[1][i] * r * in[2][i] }), r)
		}, 2e-6},
		{"RMSNormGrad", func(in [5][]float32) []float32 {
			dx, dw := clone(in[0]), clone(in[1])
			if len(dx) == 0 {
				return nil
			}
			RMSNormGrad(dx, dw, in[2], in[3], in[4], float32(rstd(wide(in[2]))))
			return append(dx, dw...)
		}, func(in [5][]float64) []float64 {
			r, n := rstd(in[2]), float64(len(in[0]))
			c := total(len(in[0]), func(i int) float64 { return in[2][i] * in[3][i] * in[4][i] })[0]
			return append(each(len(in[0]), func(i int) float64 { return in[0][i] + in[4][i]*in[3][i]*r - in[2][i]*c*r*r*r/n }),
				each(len(in[0]), func(i int) float64 { return in[1][i] + in[4][i]*in[2][i]*r })...)
		}, 1e-4},
		{"SiLUMul", func(in [5][]float32) []float32 { d := clone(in[0]); SiLUMul(d, in[1], in[2]); return d }, func(in [5][]float64) []float64 {
			return each(len(in[0]), func(i int) float64 { return in[1][i] * sig(in[1][i]) * in[2][i] })
		}, 2e-6},
		{"SiLUMulGrad", func(in [5][]float32) []float32 {
			dg, du := clone(in[0]), clone(in[1])
			SiLUMulGrad(dg, du, in[2], in[3], in[4])
			return append(dg, du...)
		}, func(in [5][]float64) []float64 {
			return append(each(len(in[0]), func(i int) float64 { g := in[2][i]; s := sig(g); return in[0][i] + in[4][i]*in[3][i]*s*(1+g*(1-s)) }),
				each(len(in[0]), func(i int) float64 { g := in[2][i]; return in[1][i] + in[4][i]*g*sig(g) })...)
		}, 3e-6},
		{"Rope", func(in [5][]float32) []float32 {
			n := len(in[0])
			x := append(clone(in[0]), in[1]...)
			Rope(x, in[2], in[3], 1, 2*n, 2*n)
			return x
		}, func(in [5][]float64) []float64 {
			return append(each(len(in[0]), func(i int) float64 { return in[0][i]*in[2][i] - in[1][i]*in[3][i] }),
				each(len(in[0]), func(i int) float64 { return in[1][i]*in[2][i] + in[0][i]*in[3][i] })...)
		}, 2e-6},
		{"AdamW", func(in [5][]float32) []float32 {
			p, m, v := clone(in[0]), clone(in[2]), clone(in[3])
			for i := range v {
				v[i] *= v[i]
			}
			AdamW(p, in[1], m, v, AdamCoef{LR: 0.01, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, Decay: 0.1, Scale: 0.5, Bias1: 0.3, Bias2: 0.2})
			return append(append(p, m...), v...)
		}, func(in [5][]float64) []float64 {
			m := each(len(in[0]), func(i int) float64 { return 0.9*in[2][i] + 0.1*0.5*in[1][i] })
			v := each(len(in[0]), func(i int) float64 { return 0.99*in[3][i]*in[3][i] + 0.01*0.25*in[1][i]*in[1][i] })
			p := each(len(in[0]), func(i int) float64 {
				return in[0][i]*(1-0.001) - 0.01/0.3*m[i]/(math.Sqrt(v[i])/math.Sqrt(0.2)+1e-8)
			})
			return append(append(p, m...), v...)
		}, 1e-5},
	}...)
}

// guards are the copies that an operation may write to, each between two strips that nothing may write to.
var guards [][]float32

const (
	guardStrip = 19 // odd, so that slices are not aligned
	guardValue = -12345.5
)

// clone copies x into guarded memory.
func clone(x []float32) []float32 {
	g := make([]float32, len(x)+2*guardStrip)
	for i := range g {
		g[i] = guardValue
	}
	copy(g[guardStrip:], x)
	guards = append(guards, g)
	return g[guardStrip : guardStrip+len(x) : guardStrip+len(x)]
}

func checkGuards() string {
	defer func() { guards = nil }()
	for _, g := range guards {
		for i := range guardStrip {
			if g[i] != guardValue || g[len(g)-1-i] != guardValue {
				return "wrote outside a slice"
			}
		}
	}
	return ""
}

func rstd(x []float64) float64 {
	return 1 / math.Sqrt(total(len(x), func(i int) float64 { return x[i] * x[i] })[0]/float64(len(x))+1e-5)
}

func wide(x []float32) []float64 {
	return each(len(x), func(i int) float64 { return float64(x[i]) })
}

func TestVectorOps(t *testing.T) {
	for _, op := range vectorOps() {
		for _, n := range []int{1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 257, 1000} {
			var in [5][]float32
			var in64 [5][]float64
			for i := range in {
				in[i] = random(uint64(10+i), n)
				in64[i] = wide(in[i])
			}
			want := op.ref(in64)
			var first []float32
			for _, level := range Levels() {
				restore, _ := ForceLevel(level)
				got := op.run(in)
				restore()
				if bad := checkGuards(); bad != "" {
					t.Errorf("%s %s n=%d: %s", level, op.name, n, bad)
				}
				if bad := mismatch(got, want, op.tol); bad != "" {
					t.Errorf("%s %s n=%d: %s", level, op.name, n, bad)
				}
				got2 := append([]float32(nil), got...)
				got2[n/2%len(got2)] += 1e-2 * (1 + float32(math.Abs(float64(got2[n/2%len(got2)]))))
				if mismatch(got2, want, op.tol) == "" {
					t.Fatalf("%s: a wrong element passed", op.name)
				}
				if level == "go" {
					continue
				}
				if first == nil {
					first = got
				} else if !equal(first, got) {
					t.Errorf("%s n=%d: %s differs from %s", op.name, n, level, Levels()[0])
				}
			}
		}
	}
}

func mismatch(got []float32, want []float64, tol float64) string {
	for i := range want {
		if d := math.Abs(float64(got[i]) - want[i]); !(d <= tol*(1+math.Abs(want[i]))) {
			return fmt.Sprintf("element %d is %g, want %g", i, got[i], want[i])
		}
	}
	return ""
}

func TestExp(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, level := range Levels() {
		restore, _ := ForceLevel(level)
		worst := 0.0
		for x := float32(-87); x < 88; x += 0.00371 {
			got := [1]float32{x}
			ExpSum(got[:], got[:], 1, 0)
			want := math.Exp(float64(x))
			worst = math.Max(worst, math.Abs(float64(got[0])-want)/want)
		}
		if worst > 2.4e-7 { // two units in the last place
			t.Errorf("%s: exp is off by %g", level, worst)
		}
		got := [5]float32{-inf, -89, -1e30, inf, float32(math.NaN())}
		ExpSum(got[:], got[:], 1, 0)
		if got[0] != 0 || got[1] != 0 || got[2] != 0 || got[3] != inf || got[4] == got[4] {
			t.Errorf("%s: exp at the ends: %v", level, got)
		}
		for n := range 40 {
			x := make([]float32, n)
			if !AllFinite(x) {
				t.Errorf("%s: %d zeros are not finite", level, n)
			}
			for i := range x {
				for _, v := range []float32{inf, -inf, float32(math.NaN())} {
					x[i] = v
					if AllFinite(x) {
						t.Errorf("%s: %g at %d of %d passed", level, v, i, n)
					}
				}
				x[i] = 0
			}
		}
		restore()
	}
}
