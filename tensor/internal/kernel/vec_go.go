package kernel

import "math"

// goOps is the plain Go implementation. float32(a*b) keeps compilers from fusing: where they may and where they may not would differ by CPU.
var goOps = ops{
	name: "go",
	add: func(dst, a, b []float32) {
		for i := range dst {
			dst[i] = a[i] + b[i]
		}
	},
	mul: func(dst, a, b []float32) {
		for i := range dst {
			dst[i] = a[i] * b[i]
		}
	},
	addTo: func(dst, a []float32) {
		for i := range dst {
			dst[i] += a[i]
		}
	},
	mulAddTo: func(dst, a, b []float32) {
		for i := range dst {
			dst[i] += float32(a[i] * b[i])
		}
	},
	scale: func(dst, a []float32, s float32) {
		for i := range dst {
			dst[i] = a[i] * s
		}
	},
	axpy: func(dst, a []float32, s float32) {
		for i := range dst {
			dst[i] += float32(a[i] * s)
		}
	},
	dot: func(a, b []float32) float32 {
		var l lanes
		for i := range a {
			l[i&15] += float32(a[i] * b[i])
		}
		return l.tree()
	},
	dot3: func(a, b, c []float32) float32 {
		var l lanes
		for i := range a {
			l[i&15] += float32(float32(a[i]*b[i]) * c[i])
		}
		return l.tree()
	},
	sum: func(a []float32) float32 {
		var l lanes
		for i := range a {
			l[i&15] += a[i]
		}
		return l.tree()
	},
	max: func(a []float32) float32 {
		m := float32(math.Inf(-1))
		for _, v := range a {
			m = max(m, v)
		}
		return m
	},
	sumSquares: sumSquaresGo,
	finite: func(a []float32) float32 {
		var s float32
		for _, v := range a {
			s += v * 0
		}
		return s
	},
	expSum: func(dst, x []float32, scale, shift float32) float32 {
		var l lanes
		for i := range dst {
			dst[i] = exp(float32(x[i]*scale) - shift)
			l[i&15] += dst[i]
		}
		return l.tree()
	},
	expStats: func(x []float32, scale, shift float32) (float32, float32) {
		var l, lt lanes
		for i := range x {
			t := float32(x[i]*scale) - shift
			e := exp(t)
			l[i&15] += e
			lt[i&15] += float32(e * max(t, expLow))
		}
		return l.tree(), lt.tree()
	},
	headGrad: func(dst, z []float32, scale, lse, a, b float32) {
		for i := range dst {
			t := float32(z[i]*scale) - lse
			dst[i] = exp(t) * (float32(b*max(t, expLow)) + a)
		}
	},
	scaleMul: func(dst, x, w []float32, s float32) {
		for i := range dst {
			dst[i] = float32(x[i]*s) * w[i]
		}
	},
	rmsGradX: func(dx, x, w, dy []float32, rstd, c float32) {
		for i := range dx {
			dx[i] += float32(float32(dy[i]*w[i])*rstd) - float32(x[i]*c)
		}
	},
	mulScaleAddTo: func(dst, a, b []float32, s float32) {
		for i := range dst {
			dst[i] += float32(a[i] * float32(b[i]*s))
		}
	},
	siluMul: func(dst, g, u []float32) {
		for i := range dst {
			dst[i] = float32(g[i]/(1+exp(-g[i]))) * u[i]
		}
	},
	siluMulGrad: func(dg, du, g, u, dy []float32) {
		for i := range dg {
			s := 1 / (1 + exp(-g[i]))
			gs := g[i] * s
			du[i] += float32(dy[i] * gs)
			dg[i] += float32(float32(dy[i]*u[i]) * (float32(gs*(1-s)) + s))
		}
	},
	rope: func(x1, x2, cos, sin []float32) {
		for i := range cos {
			a, b := x1[i], x2[i]
			x1[i] = float32(a*cos[i]) - float32(b*sin[i])
			x2[i] = float32(b*cos[i]) + float32(a*sin[i])
		}
	},
	attnGrad: func(p, dp []float32, scale, lse, d float32) {
		for i := range p {
			p[i] = exp(float32(p[i]*scale) - lse)
			dp[i] = float32(p[i]*(dp[i]-d)) * scale
		}
	},
	adamW: adamWGo,
	gemm:  gemmOps{lanes: 16, maxRow: 8, maxVec: 3, tile: tileGo},
}

// lanes are the 16 partial sums of a row.
type lanes [16]float32

func (l *lanes) tree() float32 {
	for w := 8; w > 0; w /= 2 {
		for i := range w {
			l[i] += l[i+w]
		}
	}
	return l[0]
}

func sumSquaresGo(a []float32) float64 {
	var l [16]float64
	for i, v := range a {
		l[i&15] += float64(v) * float64(v)
	}
	for w := 8; w > 0; w /= 2 {
		for i := range w {
			l[i] += l[i+w]
		}
	}
	return l[0]
}

// Constants of exp: e^x = 2^n e^r with n = round(x log2 e), |r| <= ln2/2, and a polynomial for e^r (Cephes expf). Below expLow the result is 0.
const (
	expLow   = -88.0
	expHigh  = 88.8
	log2e    = 1.44269504088896341
	ln2High  = 0.693359375
	ln2Low   = -2.12194440e-4
	expMagic = 12582912 // 1.5 * 2^23: adding it rounds to the nearest integer
	expC0    = 1.9875691500e-4
	expC1    = 1.3981999507e-3
	expC2    = 8.3334519073e-3
	expC3    = 4.1665795894e-2
	expC4    = 1.6666665459e-1
	expC5    = 5.0000001201e-1
)

func exp(x float32) float32 {
	if x != x {
		return x
	}
	x = min(max(x, expLow), expHigh)
	shifted := float32(x*log2e) + expMagic
	n := shifted - expMagic
	r := x - float32(n*ln2High)
	r -= float32(n * ln2Low)
	p := float32(expC0*r) + expC1
	p = float32(p*r) + expC2
	p = float32(p*r) + expC3
	p = float32(p*r) + expC4
	p = float32(p*r) + expC5
	p = float32(p*float32(r*r)) + r
	p++
	return p * math.Float32frombits(uint32(int32(n)+127)<<23)
}

func adamWGo(p, g, m, v []float32, c *AdamCoef) {
	keep, b1, b2 := 1-float32(c.LR*c.Decay), 1-c.Beta1, 1-c.Beta2
	step, root := c.LR/c.Bias1, float32(math.Sqrt(float64(c.Bias2)))
	for i := range p {
		x := g[i] * c.Scale
		m[i] = float32(c.Beta1*m[i]) + float32(b1*x)
		v[i] = float32(c.Beta2*v[i]) + float32(b2*float32(x*x))
		den := float32(math.Sqrt(float64(v[i])))/root + c.Eps
		p[i] = float32(p[i]*keep) - float32(step*(m[i]/den))
	}
}
