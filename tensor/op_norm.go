package tensor

import "github.com/hone-lm/hone/tensor/internal/kernel"

// RMSNorm returns x / sqrt(mean(x^2) + eps) * w for every row: x [n][d], w [1][d].
func (t *Tape) RMSNorm(x, w *Tensor, eps float32) *Tensor {
	check("RMSNorm", "x", x, -1, -1)
	check("RMSNorm", "w", w, 1, x.Cols)
	return t.norm(x, w, nil, x.Rows, rmsPart, rmsBack, eps)
}

// RMSNormHeads normalises every head of every row by itself (the query and key norm of Qwen3): x [n][heads*d], w [1][d].
func (t *Tape) RMSNormHeads(x, w *Tensor, heads int, eps float32) *Tensor {
	check("RMSNormHeads", "w", w, 1, -1)
	check("RMSNormHeads", "x", x, -1, heads*w.Cols)
	return t.norm(x, w, nil, x.Rows*heads, rmsPart, rmsBack, eps)
}

// LayerNorm returns (x - mean) / sqrt(variance + eps) * w + b for every row: x [n][d], w and b [1][d], b may be nil.
func (t *Tape) LayerNorm(x, w, b *Tensor, eps float32) *Tensor {
	check("LayerNorm", "x", x, -1, -1)
	check("LayerNorm", "w", w, 1, x.Cols)
	if b != nil {
		check("LayerNorm", "b", b, 1, x.Cols)
	}
	return t.norm(x, w, b, x.Rows, layerPart, layerBack, eps)
}

// norm runs a norm over rows of w.Cols values and keeps two numbers a row: [rstd, mean].
func (t *Tape) norm(x, w, b *Tensor, rows int, part func(*job, int, int, int), back func(*Tape, *node), eps float32) *Tensor {
	out := t.New(x.Rows, x.Cols)
	stats, s := t.scratch(2 * rows)
	t.job = job{dst: out.Data, dst2: stats, a: x.Data, b: w.Data, cols: w.Cols, scale: eps}
	if b != nil {
		t.job.c = b.Data
	}
	t.eachRow(rows, 2*w.Cols, part)
	if !t.push(node{back: back, out: out, x: x, y: w, z: b, stat: s, stats: stats, heads: rows}) {
		t.mem.release(s)
		return out
	}
	keepData(x)
	return out
}

func rmsPart(j *job, _, lo, hi int) {
	c := j.cols
	for r := lo; r < hi; r++ {
		j.dst2[2*r] = kernel.RMSNorm(j.dst[r*c:(r+1)*c], j.a[r*c:(r+1)*c], j.b, j.scale)
	}
}

func layerPart(j *job, _, lo, hi int) {
	c := j.cols
	for r := lo; r < hi; r++ {
		mean, rstd := kernel.LayerNorm(j.dst[r*c:(r+1)*c], j.a[r*c:(r+1)*c], j.b, j.c, j.scale)
		j.dst2[2*r], j.dst2[2*r+1] = rstd, mean
	}
}

func rmsBack(t *Tape, n *node)   { t.normBack(n, rmsBackPart) }
func layerBack(t *Tape, n *node) { t.normBack(n, layerBackPart) }

// normBack sums the gradients of weight and bias over blocks of rows, then over the blocks in order.
func (t *Tape) normBack(n *node, part func(*job, int, int, int)) {
	rows, cols := n.heads, n.y.Cols
	j := job{a: n.x.Data, b: n.y.Data, c: n.out.Grad, d: n.stats, cols: cols}
	if n.x.wants() {
		j.dst = t.GradOf(n.x)
	}
	var part1 span // partial sums: [block][dw, db][cols]
	if n.y.wants() || n.z.wants() {
		size := blocks(rows) * 2 * cols
		j.dst2, part1 = t.scratch(size)
		clear(j.dst2)
	}
	t.job = j
	t.eachBlock(rows, part)
	if n.y.wants() {
		t.addBlocks(t.GradOf(n.y), j.dst2, rows, 0)
	}
	if n.z.wants() {
		t.addBlocks(t.GradOf(n.z), j.dst2, rows, 1)
	}
	t.mem.release(part1)
}

// addBlocks adds the partial sums of the given kind (0: weight, 1: bias) to g in the order of the blocks.
func (t *Tape) addBlocks(g, partial []float32, rows, kind int) {
	for b := 0; b < blocks(rows) && partial != nil; b++ {
		at := (2*b + kind) * len(g)
		kernel.AddTo(g, partial[at:at+len(g)])
	}
}

func rmsBackPart(j *job, part, lo, hi int) {
	c := j.cols
	dw, _ := j.partial(part)
	for r := lo; r < hi; r++ {
		kernel.RMSNormGrad(rowOf(j.dst, r, c), dw, j.a[r*c:(r+1)*c], j.b, j.c[r*c:(r+1)*c], j.d[2*r])
	}
}

func layerBackPart(j *job, part, lo, hi int) {
	c := j.cols
	dw, db := j.partial(part)
	for r := lo; r < hi; r++ {
		kernel.LayerNormGrad(rowOf(j.dst, r, c), dw, db, j.a[r*c:(r+1)*c], j.b, j.c[r*c:(r+1)*c], j.d[2*r+1], j.d[2*r])
	}
}

// partial returns the block's sums for weight and bias; nil when neither is trained.
func (j *job) partial(block int) (dw, db []float32) {
	if j.dst2 == nil {
		return nil, nil
	}
	at := j.dst2[2*block*j.cols : 2*(block+1)*j.cols]
	return at[:j.cols], at[j.cols:]
}

// rowOf returns row r, or nil of nil.
func rowOf(x []float32, r, cols int) []float32 {
	if x == nil {
		return nil
	}
	return x[r*cols : (r+1)*cols]
}
