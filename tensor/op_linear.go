package tensor

import "github.com/hone-lm/hone/tensor/internal/kernel"

// Embedding returns the rows ids of table: [len(ids)][table.Cols]. ids must stay unchanged until Backward.
func (t *Tape) Embedding(table *Tensor, ids []int32) *Tensor {
	return t.gather("Embedding", table, ids)
}

// Gather returns the given rows of x; a row may occur several times.
func (t *Tape) Gather(x *Tensor, rows []int32) *Tensor { return t.gather("Gather", x, rows) }

func (t *Tape) gather(op string, table *Tensor, ids []int32) *Tensor {
	check(op, "table", table, -1, -1)
	checkIndex(op, "row", ids, table.Rows)
	out := t.New(len(ids), table.Cols)
	t.push(node{back: gatherBack, out: out, x: table, ids: ids})
	t.job = job{dst: out.Data, a: table.Data, quant: table.Quant, cols: table.Cols, ids: ids}
	if table.Quant != nil {
		checkQuant(op, table, false)
		t.eachRow(len(ids), 8*table.Cols, gatherQuantPart)
	} else {
		t.eachRow(len(ids), table.Cols, gatherPart)
	}
	return out
}

func gatherPart(j *job, _, lo, hi int) {
	for r := lo; r < hi; r++ {
		from := int(j.ids[r]) * j.cols
		copy(j.dst[r*j.cols:(r+1)*j.cols], j.a[from:from+j.cols])
	}
}

func gatherBack(t *Tape, n *node) {
	g := t.GradOf(n.x)
	t.job = job{dst: g, a: n.out.Grad, cols: n.out.Cols, ids: n.ids}
	t.eachColumn(len(n.ids), n.out.Cols, scatterPart)
}

func scatterPart(j *job, _, lo, hi int) { // rows ascending within each column
	for r, id := range j.ids {
		to := int(id) * j.cols
		kernel.AddTo(j.dst[to+lo:to+hi], j.a[r*j.cols+lo:r*j.cols+hi])
	}
}

// Linear returns x w + b: x [n][in], w [in][out], b [1][out] or nil.
func (t *Tape) Linear(x, w, b *Tensor) *Tensor {
	out := t.linear("Linear", x, w, b)
	if t.push(node{back: linearBack, out: out, x: x, y: w, z: b}) {
		keepIf(x, w.wants())
		keepIf(w, x.wants())
	}
	return out
}

// MatMul returns a b: a [n][k], b [k][m]. Gradients flow to both.
func (t *Tape) MatMul(a, b *Tensor) *Tensor { return t.Linear(a, b, nil) }

func (t *Tape) linear(op string, x, w, b *Tensor) *Tensor {
	check(op, "x", x, -1, -1)
	check(op, "w", w, x.Cols, -1)
	out := t.New(x.Rows, w.Cols)
	if b != nil {
		check(op, "b", b, 1, w.Cols)
		t.job = job{dst: out.Data, a: b.Data, cols: out.Cols}
		t.eachRow(out.Rows, out.Cols, fillRowsPart)
	}
	t.times(x, w, out, b != nil)
	return out
}

func keepIf(x *Tensor, yes bool) {
	if yes {
		keepData(x)
	}
}

func fillRowsPart(j *job, _, lo, hi int) {
	for r := lo; r < hi; r++ {
		copy(j.dst[r*j.cols:(r+1)*j.cols], j.a)
	}
}

func linearBack(t *Tape, n *node) {
	x, w, out := n.x, n.y, n.out
	if n.z.wants() {
		t.biasGrad(n.z, out)
	}
	if w.wants() {
		g, fresh := t.gradRaw(w)
		t.gradTimes(x, out, g, !fresh)
	}
	if x.wants() {
		g, fresh := t.gradRaw(x)
		t.timesGrad(out, w, g, !fresh)
	}
}

// biasGrad adds the column sums of out's gradient to that of b.
func (t *Tape) biasGrad(b, out *Tensor) {
	t.job = job{dst: t.GradOf(b), a: out.Grad, cols: out.Cols, rows: out.Rows}
	t.eachColumn(out.Rows, out.Cols, columnSumPart)
}

func columnSumPart(j *job, _, lo, hi int) {
	for r := range j.rows {
		kernel.AddTo(j.dst[lo:hi], j.a[r*j.cols+lo:r*j.cols+hi])
	}
}

// AddBias returns x with b [1][x.Cols] added to every row.
func (t *Tape) AddBias(x, b *Tensor) *Tensor {
	check("AddBias", "x", x, -1, -1)
	check("AddBias", "b", b, 1, x.Cols)
	out := t.New(x.Rows, x.Cols)
	t.push(node{back: addBiasBack, out: out, x: x, z: b})
	t.job = job{dst: out.Data, a: x.Data, b: b.Data, cols: x.Cols}
	t.eachRow(x.Rows, x.Cols, addBiasPart)
	return out
}

func addBiasPart(j *job, _, lo, hi int) {
	for r := lo; r < hi; r++ {
		kernel.Add(j.dst[r*j.cols:(r+1)*j.cols], j.a[r*j.cols:(r+1)*j.cols], j.b)
	}
}

func addBiasBack(t *Tape, n *node) {
	if n.z.wants() {
		t.biasGrad(n.z, n.out)
	}
	if n.x.wants() {
		t.giveGrad(n.x, n.out)
	}
}

// LinearLoRA returns x w + b + scale (x a) bb: w [in][out], b [1][out] or nil, a [in][r], bb [r][out]. The adapter stays unmerged, so that it can be switched off and its sum continues the one of x w.
func (t *Tape) LinearLoRA(x, w, b, a, bb *Tensor, scale float32) *Tensor {
	check("LinearLoRA", "a", a, x.Cols, -1)
	check("LinearLoRA", "bb", bb, a.Cols, w.Cols)
	out := t.linear("LinearLoRA", x, w, b)
	r := a.Cols
	h, hs := t.scratch(x.Rows * r) // scale (x a)
	t.nn(x.Rows, r, x.Cols, x.Data, x.Cols, a.Data, r, h, r, false)
	t.scaleInPlace(h, scale)
	t.nn(x.Rows, bb.Cols, r, h, r, bb.Data, bb.Cols, out.Data, out.Cols, true)
	if !t.push(node{back: loraBack, out: out, x: x, y: w, z: b, a: a, b: bb, stat: hs, stats: h, scale: scale}) {
		t.mem.release(hs)
		return out
	}
	keepIf(x, w.wants() || a.wants())
	keepIf(w, x.wants())
	return out
}

func (t *Tape) scaleInPlace(x []float32, s float32) {
	t.job = job{dst: x, a: x, scale: s}
	t.elements(len(x), pointCost, scalePart)
}

func scalePart(j *job, _, lo, hi int) { kernel.Scale(j.dst[lo:hi], j.a[lo:hi], j.scale) }

func loraBack(t *Tape, n *node) {
	x, a, bb, out := n.x, n.a, n.b, n.out
	linearBack(t, n)
	r := a.Cols
	if bb.wants() {
		g, fresh := t.gradRaw(bb)
		t.tn(r, bb.Cols, x.Rows, n.stats, r, out.Grad, out.Cols, g, bb.Cols, !fresh)
	}
	if !a.wants() && !x.wants() {
		return
	}
	dh, s := t.scratch(x.Rows * r)
	t.nt(x.Rows, r, bb.Cols, out.Grad, out.Cols, bb.Data, bb.Cols, dh, r, false)
	t.scaleInPlace(dh, n.scale)
	if a.wants() {
		g, fresh := t.gradRaw(a)
		t.tn(a.Rows, r, x.Rows, x.Data, x.Cols, dh, r, g, r, !fresh)
	}
	if x.wants() {
		g, fresh := t.gradRaw(x)
		t.nt(x.Rows, x.Cols, r, dh, r, a.Data, r, g, x.Cols, !fresh)
	}
	t.mem.release(s)
}
