package kernel

// vecOps are the vector operations of one instruction set. All slices of a call have the same length unless said otherwise; sums are row sums
// (see the package comment); fma marks a product that is fused into the addition where the CPU can.
type vecOps struct {
	add, mul, mulAddTo func(dst, a, b []float32) // mulAddTo: dst = fma(a, b, dst)
	addTo              func(dst, a []float32)
	scale, axpy, div   func(dst, a []float32, s float32) // a*s; fma(s, a, dst); a/s
	dot                func(a, b []float32) float32
	sum, max           func(a []float32) float32 // max passes over NaN
	finite             func(a []float32) float32 // sum of a*0: zero when every element is finite
	sumSquares         func(a []float32) float64 // 16 lanes of float64

	expSum   func(dst, x []float32, scale, shift float32) float32
	expStats func(x []float32, scale, shift float32) (sumExp, sumExpT float32)
	headGrad func(dst, z []float32, scale, lse, a, b float32)

	// With d = x - mean:
	normSquares func(x []float32, mean float32) float32                  // sum of d*d
	normApply   func(dst, x, w []float32, mean, rstd float32)            // (d*rstd)*w
	normDot     func(w, dy, x []float32, mean float32) float32           // sum of fma(w*dy, d)
	normGradX   func(dx, x, w, dy []float32, mean, rstd, c1, c2 float32) // dx = fma(rstd, fma(-c2, d, fma(w, dy, -c1)), dx)
	normGradW   func(dw, x, dy []float32, mean, rstd float32)            // dw = fma(d*rstd, dy, dw)

	siluMul                func(dst, g, u []float32) // g*sigmoid(g)*u
	silu, gelu, tanh, relu func(dst, x []float32)    // gelu is the tanh form
	siluMulGrad            func(dg, du, g, u, dy []float32)
	siluGrad, geluGrad     func(dx, x, dy []float32) // the gradients add
	tanhGrad, reluGrad     func(dx, y, dy []float32)
	adamW                  func(p, g, m, v []float32, keep, scale, b1, b2, c2, root, eps, step float32) // b1 = 1 - beta1, b2 = beta2, c2 = 1 - beta2
	rope                   func(x, cos, sin []float32, heads, headDim int, sign float32)                // half = len(cos); sin is multiplied by sign

	// Attention over one page of 32 keys.
	//
	// attnProd: C[m][n] = A[m][k] B[k][n] by chains of fma with k ascending, started from 0 (mode 0), from C (1), or from C*corr[row] (2).
	// A's element (i, p) is a[i*rsa+p*csa].
	attnProd func(m, n, k int, a []float32, rsa, csa int, b []float32, ldb int, c []float32, ldc int, corr []float32, mode int)
	// attnLanes: the product with m = 1 of every lane: A begins at a[i*ra], C at c[i*rc], and B, that of lane first+i, at b[(first+i)/group*rb]; k > 0.
	// What lies next bytes behind B will be used soon.
	attnLanes func(first, lanes, group, n, k int, a []float32, ra int, b []float32, rb, ldb int, c []float32, rc int, corr []float32, mode, next int)
	// attnSoftmax: rows of s [rows][32] become p = exp(s*scale - m') over the first valid[r] keys (1..32), 0 beyond, m' = max(m, row's maximum);
	// corr = exp(m - m'), l = fma(l, corr, sum of p), m = m'. A row with valid 0 becomes zeros, with corr 1. Rows are those of corr.
	attnSoftmax func(s []float32, valid []int32, scale float32, m, l, corr []float32)
	// attnGrad: s becomes p = exp(s*scale - lse), dp becomes (p*(dp - d))*scale; both 0 beyond the first valid[r] keys. Rows are those of d.
	attnGrad func(s, dp []float32, valid []int32, scale float32, lse, d []float32)
}
