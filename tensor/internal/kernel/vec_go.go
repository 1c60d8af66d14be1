package kernel

import "math"

// goVec is the plain Go implementation. float32(a*b) keeps compilers from fusing: where they may and where they may not differs by CPU.
var goVec = vecOps{
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
	mulAddTo: func(dst, a, b []float32) {
		for i := range dst {
			dst[i] += float32(a[i] * b[i])
		}
	},
	addTo: func(dst, a []float32) {
		for i := range dst {
			dst[i] += a[i]
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
	div: func(dst, a []float32, s float32) {
		for i := range dst {
			dst[i] = a[i] / s
		}
	},
	dot: func(a, b []float32) float32 {
		var l lanes
		for i := range a {
			l[i&15] += float32(a[i] * b[i])
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
			if v > m {
				m = v
			}
		}
		return m
	},
	finite: func(a []float32) float32 {
		var s float32
		for _, v := range a {
			s += v * 0
		}
		return s
	},
	sumSquares: sumSquaresGo,

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

	normSquares: func(x []float32, mean float32) float32 {
		var l lanes
		for i := range x {
			d := x[i] - mean
			l[i&15] += float32(d * d)
		}
		return l.tree()
	},
	normApply: func(dst, x, w []float32, mean, rstd float32) {
		for i := range dst {
			dst[i] = float32((x[i]-mean)*rstd) * w[i]
		}
	},
	normDot: func(w, dy, x []float32, mean float32) float32 {
		var l lanes
		for i := range w {
			l[i&15] += float32(float32(w[i]*dy[i]) * (x[i] - mean))
		}
		return l.tree()
	},
	normGradX: func(dx, x, w, dy []float32, mean, rstd, c1, c2 float32) {
		for i := range dx {
			t := float32(w[i]*dy[i]) - c1
			t -= float32(c2 * (x[i] - mean))
			dx[i] += float32(rstd * t)
		}
	},
	normGradW: func(dw, x, dy []float32, mean, rstd float32) {
		for i := range dw {
			dw[i] += float32(float32((x[i]-mean)*rstd) * dy[i])
		}
	},

	siluMul: func(dst, g, u []float32) {
		for i := range dst {
			dst[i] = float32(g[i]*sigmoid(g[i])) * u[i]
		}
	},
	siluMulGrad: func(dg, du, g, u, dy []float32) {
		for i := range dg {
			s := sigmoid(g[i])
			gs := g[i] * s
			a := dy[i] * u[i]
			du[i] += float32(dy[i] * gs)
			dg[i] += float32(a * (s + float32(gs*(1-s))))
		}
	},
	silu: func(dst, x []float32) {
		for i := range dst {
			dst[i] = x[i] * sigmoid(x[i])
		}
	},
	siluGrad: func(dx, x, dy []float32) {
		for i := range dx {
			s := sigmoid(x[i])
			dx[i] += float32(dy[i] * (s + float32(float32(x[i]*s)*(1-s))))
		}
	},
	gelu: func(dst, x []float32) {
		for i := range dst {
			dst[i] = x[i] * sigmoid(geluArg(x[i]))
		}
	},
	geluGrad: func(dx, x, dy []float32) {
		for i := range dx {
			s := sigmoid(geluArg(x[i]))
			slope := float32(float32(x[i]*x[i])*(3*geluCube)) + geluLin
			dx[i] += float32(dy[i] * (s + float32(float32(float32(x[i]*s)*(1-s))*slope)))
		}
	},
	tanh: func(dst, x []float32) {
		for i := range dst {
			dst[i] = tanh(x[i])
		}
	},
	tanhGrad: func(dx, y, dy []float32) {
		for i := range dx {
			dx[i] += float32(dy[i] * (1 - float32(y[i]*y[i])))
		}
	},
	relu: func(dst, x []float32) {
		for i := range dst {
			dst[i] = x[i]
			if x[i] < 0 {
				dst[i] = 0
			}
		}
	},
	reluGrad: func(dx, y, dy []float32) {
		for i := range dx {
			if y[i] > 0 {
				dx[i] += dy[i]
			}
		}
	},

	adamW: func(p, g, m, v []float32, keep, scale, b1, b2, c2, root, eps, step float32) {
		for i := range p {
			x := g[i] * scale
			m[i] += float32(b1 * (x - m[i]))
			v[i] = float32(b2*v[i]) + float32(float32(c2*x)*x)
			den := float32(math.Sqrt(float64(v[i])))/root + eps
			p[i] = float32(p[i]*keep) - float32(step*(m[i]/den))
		}
	},
	rope: func(x, cos, sin []float32, heads, headDim int, sign float32) {
		half := len(cos)
		for h := range heads {
			x1 := x[h*headDim:][:half]
			x2 := x[h*headDim+half:][:half]
			for i, c := range cos {
				a, b, s := x1[i], x2[i], sin[i]*sign
				x1[i] = float32(a*c) - float32(b*s)
				x2[i] = float32(b*c) + float32(a*s)
			}
		}
	},

	attnProd:    attnProdGo,
	attnLanes:   attnLanesGo,
	attnSoftmax: attnSoftmaxGo,
	attnGrad:    attnGradGo,
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
