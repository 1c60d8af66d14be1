package tensor

import (
	"fmt"
	"math"

	"github.com/hone-lm/hone/tensor/internal/kernel"
)

// Softmax returns exp(x) / sum exp(x) for every row.
func (t *Tape) Softmax(x *Tensor) *Tensor {
	check("Softmax", "x", x, -1, -1)
	out := t.New(x.Rows, x.Cols)
	if t.push(node{back: softmaxBack, out: out, x: x}) {
		keepData(out)
	}
	t.job = job{dst: out.Data, a: x.Data, cols: x.Cols}
	t.eachRow(x.Rows, expCost*x.Cols, softmaxPart)
	return out
}

func softmaxPart(j *job, _, lo, hi int) {
	for r := lo; r < hi; r++ {
		softmaxRow(j.dst[r*j.cols:(r+1)*j.cols], j.a[r*j.cols:(r+1)*j.cols])
	}
}

func softmaxRow(dst, x []float32) {
	sum := kernel.ExpSum(dst, x, 1, kernel.Max(x))
	kernel.Scale(dst, dst, 1/sum)
}

func softmaxBack(t *Tape, n *node) {
	t.job = job{dst: t.GradOf(n.x), a: n.out.Data, b: n.out.Grad, cols: n.out.Cols}
	t.eachRow(n.out.Rows, 3*n.out.Cols, softmaxBackPart)
}

func softmaxBackPart(j *job, _, lo, hi int) { // dx += y dy - y (y . dy)
	for r := lo; r < hi; r++ {
		at, end := r*j.cols, (r+1)*j.cols
		y, dy, dx := j.a[at:end], j.b[at:end], j.dst[at:end]
		kernel.Axpy(dx, -kernel.Dot(y, dy), y)
		kernel.MulAddTo(dx, y, dy)
	}
}

// SumAll returns the sum of all values as [1][1], added in float64 in order.
func (t *Tape) SumAll(x *Tensor) *Tensor {
	check("SumAll", "x", x, -1, -1)
	out := t.New(1, 1)
	t.push(node{back: sumAllBack, out: out, x: x})
	if !t.mem.dry {
		sum := 0.0
		for _, v := range x.Data {
			sum += float64(v)
		}
		out.Data[0] = float32(sum)
	}
	return out
}

func sumAllBack(t *Tape, n *node) {
	g := t.GradOf(n.x)
	for i := range g {
		g[i] += n.out.Grad[0]
	}
}

// MeanRows returns the mean over every run of group rows: [x.Rows/group][x.Cols] (average pooling).
func (t *Tape) MeanRows(x *Tensor, group int) *Tensor {
	check("MeanRows", "x", x, -1, -1)
	if group <= 0 || x.Rows%group != 0 {
		panic(fmt.Sprintf("tensor: MeanRows: %d rows in groups of %d", x.Rows, group))
	}
	out := t.New(x.Rows/group, x.Cols)
	t.push(node{back: meanRowsBack, out: out, x: x, h: group})
	t.job = job{dst: out.Data, a: x.Data, cols: x.Cols, h: group}
	t.eachRow(out.Rows, group*x.Cols, meanRowsPart)
	return out
}

func meanRowsPart(j *job, _, lo, hi int) {
	for r := lo; r < hi; r++ {
		dst := j.dst[r*j.cols : (r+1)*j.cols]
		clear(dst)
		for i := r * j.h; i < (r+1)*j.h; i++ {
			kernel.AddTo(dst, j.a[i*j.cols:(i+1)*j.cols])
		}
		kernel.Scale(dst, dst, 1/float32(j.h))
	}
}

func meanRowsBack(t *Tape, n *node) {
	t.job = job{dst: t.GradOf(n.x), a: n.out.Grad, cols: n.x.Cols, h: n.h}
	t.eachRow(n.x.Rows, n.x.Cols, meanRowsBackPart)
}

func meanRowsBackPart(j *job, _, lo, hi int) {
	for r := lo; r < hi; r++ {
		g := r / j.h
		kernel.Axpy(j.dst[r*j.cols:(r+1)*j.cols], 1/float32(j.h), j.a[g*j.cols:(g+1)*j.cols])
	}
}

// MSE returns the mean of (x - target)^2 over all values as [1][1]; target has the layout of x and must stay unchanged until Backward.
func (t *Tape) MSE(x *Tensor, target []float32) *Tensor {
	check("MSE", "x", x, -1, -1)
	if len(target) != x.Rows*x.Cols {
		panic(fmt.Sprintf("tensor: MSE: %d targets for %s", len(target), x.shape()))
	}
	out := t.New(1, 1)
	if t.push(node{back: mseBack, out: out, x: x, stats: target}) {
		keepData(x)
	}
	if !t.mem.dry {
		sum := 0.0
		for i, v := range x.Data {
			d := float64(v) - float64(target[i])
			sum += d * d
		}
		out.Data[0] = float32(sum / float64(max(1, len(target))))
	}
	return out
}

func mseBack(t *Tape, n *node) {
	g := t.GradOf(n.x)
	for i := range g {
		g[i] += n.out.Grad[0] * 2 / float32(len(g)) * (n.x.Data[i] - n.stats[i])
	}
}

// SoftmaxCrossEntropy returns the mean over rows of -log softmax(x)[target] as [1][1], x [n][classes]. A row with a negative target is left out. For small networks: a language model uses Head, which never holds all logits.
func (t *Tape) SoftmaxCrossEntropy(x *Tensor, target []int32) *Tensor {
	check("SoftmaxCrossEntropy", "x", x, len(target), -1)
	counted := 0
	for i, c := range target {
		if int(c) >= x.Cols {
			panic(fmt.Sprintf("tensor: SoftmaxCrossEntropy: target %d in row %d, of %d classes", c, i, x.Cols))
		}
		if c >= 0 {
			counted++
		}
	}
	out := t.New(1, 1)
	if t.push(node{back: crossEntropyBack, out: out, x: x, ids: target, h: max(1, counted)}) {
		keepData(x)
	}
	if !t.mem.dry {
		sum := 0.0
		for r, c := range target {
			if c >= 0 {
				row := x.Row(r)
				sum += RowStats(row, 1).LSE64() - float64(row[c])
			}
		}
		out.Data[0] = float32(sum / float64(max(1, counted)))
	}
	return out
}

func crossEntropyBack(t *Tape, n *node) {
	p, s := t.scratch(n.x.Cols)
	g := t.GradOf(n.x)
	for r, c := range n.ids {
		if c < 0 || t.mem.dry {
			continue
		}
		softmaxRow(p, n.x.Row(r))
		p[c]--
		kernel.Axpy(g[r*n.x.Cols:(r+1)*n.x.Cols], n.out.Grad[0]/float32(n.h), p)
	}
	t.mem.release(s)
}

// isFinite reports whether x is neither infinite nor NaN.
func isFinite(x float64) bool { return !math.IsInf(x, 0) && !math.IsNaN(x) }
