package tensor

import "github.com/hone-lm/hone/tensor/internal/kernel"

// pointKind names an operation on single values.
type pointKind uint8

const (
	pointAdd pointKind = iota
	pointMul
	pointScale
	pointTanh
	pointReLU
	pointSiLU
	pointGELUTanh
	pointGELUErf
	pointSwiGLU
)

// Add returns a + b, of one shape.
func (t *Tape) Add(a, b *Tensor) *Tensor { return t.point("Add", pointAdd, a, b, 0) }

// Mul returns the product value by value, of one shape.
func (t *Tape) Mul(a, b *Tensor) *Tensor { return t.point("Mul", pointMul, a, b, 0) }

// Scale returns s x.
func (t *Tape) Scale(x *Tensor, s float32) *Tensor { return t.point("Scale", pointScale, x, nil, s) }

// Tanh returns tanh x.
func (t *Tape) Tanh(x *Tensor) *Tensor { return t.point("Tanh", pointTanh, x, nil, 0) }

// ReLU returns max(x, 0).
func (t *Tape) ReLU(x *Tensor) *Tensor { return t.point("ReLU", pointReLU, x, nil, 0) }

// SiLU returns x sigmoid(x).
func (t *Tape) SiLU(x *Tensor) *Tensor { return t.point("SiLU", pointSiLU, x, nil, 0) }

// GELU returns x Phi(x): exact by erf, or the tanh approximation that GPT-2 uses.
func (t *Tape) GELU(x *Tensor, tanh bool) *Tensor {
	if tanh {
		return t.point("GELU", pointGELUTanh, x, nil, 0)
	}
	return t.point("GELU", pointGELUErf, x, nil, 0)
}

// SwiGLU returns SiLU(gate) up.
func (t *Tape) SwiGLU(gate, up *Tensor) *Tensor {
	return t.point("SwiGLU", pointSwiGLU, gate, up, 0)
}

func (t *Tape) point(op string, kind pointKind, x, y *Tensor, scale float32) *Tensor {
	check(op, "x", x, -1, -1)
	if y != nil {
		check(op, "y", y, x.Rows, x.Cols)
	}
	out := t.New(x.Rows, x.Cols)
	if t.push(node{back: pointBack, out: out, x: x, y: y, kind: kind, scale: scale}) {
		switch kind {
		case pointAdd, pointScale:
		case pointTanh, pointReLU:
			keepData(out)
		default:
			keepData(x)
			keepData(y)
		}
	}
	t.job = job{dst: out.Data, a: x.Data, kind: kind, scale: scale}
	if y != nil {
		t.job.b = y.Data
	}
	t.elements(len(out.Data), kind.cost(), pointPart)
	return out
}

func (k pointKind) cost() int {
	if k >= pointTanh && k != pointReLU {
		return expCost
	}
	return pointCost
}

func pointPart(j *job, _, lo, hi int) {
	dst, a := j.dst[lo:hi], j.a[lo:hi]
	switch j.kind {
	case pointAdd:
		kernel.Add(dst, a, j.b[lo:hi])
	case pointMul:
		kernel.Mul(dst, a, j.b[lo:hi])
	case pointScale:
		kernel.Scale(dst, a, j.scale)
	case pointTanh:
		kernel.Tanh(dst, a)
	case pointReLU:
		kernel.ReLU(dst, a)
	case pointSiLU:
		kernel.SiLU(dst, a)
	case pointGELUTanh:
		kernel.GELUTanh(dst, a)
	case pointGELUErf:
		kernel.GELUErf(dst, a)
	case pointSwiGLU:
		kernel.SiLUMul(dst, a, j.b[lo:hi])
	}
}

func pointBack(t *Tape, n *node) {
	switch n.kind {
	case pointAdd:
		addBack(t, n)
	case pointMul:
		mulBack(t, n)
	case pointSwiGLU:
		swigluBack(t, n)
	default:
		t.job = job{dst: t.GradOf(n.x), c: n.out.Grad, kind: n.kind, scale: n.scale}
		t.job.a = n.x.Data
		if n.kind == pointTanh || n.kind == pointReLU {
			t.job.a = n.out.Data
		}
		t.elements(n.x.Rows*n.x.Cols, n.kind.cost(), unaryBackPart)
	}
}

func unaryBackPart(j *job, _, lo, hi int) {
	dx, dy := j.dst[lo:hi], j.c[lo:hi]
	switch j.kind {
	case pointScale:
		kernel.Axpy(dx, j.scale, dy)
	case pointTanh:
		kernel.TanhGrad(dx, j.a[lo:hi], dy)
	case pointReLU:
		kernel.ReLUGrad(dx, j.a[lo:hi], dy)
	case pointSiLU:
		kernel.SiLUGrad(dx, j.a[lo:hi], dy)
	case pointGELUTanh:
		kernel.GELUTanhGrad(dx, j.a[lo:hi], dy)
	case pointGELUErf:
		kernel.GELUErfGrad(dx, j.a[lo:hi], dy)
	}
}

func addBack(t *Tape, n *node) {
	if n.y.wants() {
		t.addGrad(n.y, n.out)
	}
	if n.x.wants() {
		t.giveGrad(n.x, n.out)
	}
}

func mulBack(t *Tape, n *node) {
	if n.x.wants() {
		t.job = job{dst: t.GradOf(n.x), a: n.y.Data, b: n.out.Grad}
		t.elements(n.x.Rows*n.x.Cols, pointCost, mulAddPart)
	}
	if n.y.wants() {
		t.job = job{dst: t.GradOf(n.y), a: n.x.Data, b: n.out.Grad}
		t.elements(n.x.Rows*n.x.Cols, pointCost, mulAddPart)
	}
}

func mulAddPart(j *job, _, lo, hi int) { kernel.MulAddTo(j.dst[lo:hi], j.a[lo:hi], j.b[lo:hi]) }

// swigluBack computes both gradients in one pass; where only one is wanted the other goes to scratch.
func swigluBack(t *Tape, n *node) {
	count := n.x.Rows * n.x.Cols
	var s span
	dst := [2][]float32{}
	for i, x := range [2]*Tensor{n.x, n.y} {
		if x.wants() {
			dst[i] = t.GradOf(x)
			continue
		}
		dst[i], s = t.scratch(count)
		t.zero(dst[i])
	}
	t.job = job{dst: dst[0], dst2: dst[1], a: n.x.Data, b: n.y.Data, c: n.out.Grad}
	t.elements(count, expCost, swigluBackPart)
	t.mem.release(s)
}

func swigluBackPart(j *job, _, lo, hi int) {
	kernel.SiLUMulGrad(j.dst[lo:hi], j.dst2[lo:hi], j.a[lo:hi], j.b[lo:hi], j.c[lo:hi])
}
