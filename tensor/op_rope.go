package tensor

import "github.com/hone-lm/hone/tensor/internal/kernel"

// Rope rotates the first table.Rot dimensions of every head: x [n][heads*headDim], pos [n] the position of each row. pos must stay unchanged until Backward.
func (t *Tape) Rope(x *Tensor, table *RopeTable, pos []int32, heads, headDim int) *Tensor {
	check("Rope", "x", x, len(pos), heads*headDim)
	checkIndex("Rope", "position", pos, table.Positions)
	if table.Rot > headDim {
		panic("tensor: Rope: more rotary dimensions than a head has")
	}
	out := t.New(x.Rows, x.Cols)
	t.push(node{back: ropeBack, out: out, x: x, ids: pos, rope: table, heads: heads, headDim: headDim})
	t.job = job{dst: out.Data, a: x.Data, ids: pos, rope: table, cols: x.Cols, heads: heads, headDim: headDim}
	t.eachRow(x.Rows, 2*x.Cols, ropePart)
	return out
}

func ropePart(j *job, _, lo, hi int) {
	half := j.rope.Rot / 2
	for r := lo; r < hi; r++ {
		row := j.dst[r*j.cols : (r+1)*j.cols]
		copy(row, j.a[r*j.cols:(r+1)*j.cols])
		at := int(j.ids[r]) * half
		kernel.Rope(row, j.rope.Cos[at:at+half], j.rope.Sin[at:at+half], j.heads, j.headDim, j.rope.Rot)
	}
}

// ropeBack turns the gradient back in place (it is not read again) and hands it on.
func ropeBack(t *Tape, n *node) {
	t.job = job{dst: n.out.Grad, ids: n.ids, rope: n.rope, cols: n.out.Cols, heads: n.heads, headDim: n.headDim}
	t.eachRow(n.out.Rows, 2*n.out.Cols, ropeBackPart)
	t.giveGrad(n.x, n.out)
}

func ropeBackPart(j *job, _, lo, hi int) {
	half := j.rope.Rot / 2
	for r := lo; r < hi; r++ {
		at := int(j.ids[r]) * half
		kernel.RopeGrad(j.dst[r*j.cols:(r+1)*j.cols], j.rope.Cos[at:at+half], j.rope.Sin[at:at+half], j.heads, j.headDim, j.rope.Rot)
	}
}
