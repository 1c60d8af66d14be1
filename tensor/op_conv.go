package tensor

import (
	"github.com/hone-lm/hone/tensor/internal/kernel"
)

// Conv3x3 is a 3x3 convolution with stride 1 and zero padding: x [batch*h*w][cin] (channels last), wt [9*cin][cout] with rows ordered (dy, dx, channel), b [1][cout] or nil; the result is [batch*h*w][cout].
func (t *Tape) Conv3x3(x, wt, b *Tensor, batch, h, w, cin, cout int) *Tensor {
	check("Conv3x3", "x", x, batch*h*w, cin)
	check("Conv3x3", "wt", wt, 9*cin, cout)
	out := t.New(x.Rows, cout)
	if b != nil {
		check("Conv3x3", "b", b, 1, cout)
		t.job = job{dst: out.Data, a: b.Data, cols: cout}
		t.eachRow(out.Rows, cout, fillRowsPart)
	}
	patches, s := t.patches(x, h, w)
	t.nn(x.Rows, cout, 9*cin, patches, 9*cin, wt.Data, cout, out.Data, cout, b != nil)
	t.mem.release(s)
	if t.push(node{back: convBack, out: out, x: x, y: wt, z: b, h: h, w: w}) {
		keepIf(x, wt.wants())
		keepIf(wt, x.wants())
	}
	return out
}

// patches lays out the 9 neighbours of every place: [rows][9*cols].
func (t *Tape) patches(x *Tensor, h, w int) ([]float32, span) {
	p, s := t.scratch(x.Rows * 9 * x.Cols)
	t.job = job{dst: p, a: x.Data, cols: x.Cols, h: h, w: w}
	t.eachRow(x.Rows, 9*x.Cols, patchPart)
	return p, s
}

// neighbour returns the row of the k-th of the 9 places around row r, or -1 outside the image.
func (j *job) neighbour(r, k int) int {
	y, x := r/j.w%j.h+k/3-1, r%j.w+k%3-1
	if y < 0 || y >= j.h || x < 0 || x >= j.w {
		return -1
	}
	return r + (k/3-1)*j.w + k%3 - 1
}

func patchPart(j *job, _, lo, hi int) {
	c := j.cols
	for r := lo; r < hi; r++ {
		for k := range 9 {
			dst := j.dst[(9*r+k)*c : (9*r+k+1)*c]
			if from := j.neighbour(r, k); from >= 0 {
				copy(dst, j.a[from*c:(from+1)*c])
			} else {
				clear(dst)
			}
		}
	}
}

func convBack(t *Tape, n *node) {
	x, wt, out := n.x, n.y, n.out
	cols := 9 * x.Cols
	if n.z.wants() {
		t.biasGrad(n.z, out)
	}
	if wt.wants() {
		p, s := t.patches(x, n.h, n.w)
		g, fresh := t.gradRaw(wt)
		t.tn(cols, wt.Cols, x.Rows, p, cols, out.Grad, out.Cols, g, wt.Cols, !fresh)
		t.mem.release(s)
	}
	if x.wants() {
		dp, s := t.scratch(x.Rows * cols)
		t.nt(x.Rows, cols, wt.Cols, out.Grad, out.Cols, wt.Data, wt.Cols, dp, cols, false)
		t.job = job{dst: t.GradOf(x), a: dp, cols: x.Cols, h: n.h, w: n.w}
		t.eachRow(x.Rows, 9*x.Cols, unpatchPart)
		t.mem.release(s)
	}
}

// unpatchPart gathers for every place what its neighbours' patches hold of it: the place is neighbour 8-k of its own neighbour k.
func unpatchPart(j *job, _, lo, hi int) {
	c := j.cols
	for r := lo; r < hi; r++ {
		for k := range 9 {
			if from := j.neighbour(r, k); from >= 0 {
				at := (9*from + 8 - k) * c
				kernel.AddTo(j.dst[r*c:(r+1)*c], j.a[at:at+c])
			}
		}
	}
}
