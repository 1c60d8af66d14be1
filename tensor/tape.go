package tensor

import (
	"fmt"

	"github.com/hone-lm/hone/tensor/internal/kernel"
	"github.com/hone-lm/hone/tensor/internal/par"
)

// Tape records operations and runs them backwards. It owns the memory of every tensor its operations return; that memory is reused by the next step, so a warm step allocates nothing.
// A tape belongs to one goroutine at a time; its operations use all processors.
type Tape struct {
	mem    arena
	record bool
	bf16   bool // products of linear layers round their operands
	nodes  []node
	blocks [][]Tensor // tensors are handed out from fixed blocks, so that pointers stay valid
	used   int        // tensors handed out since Reset
	job    job        // the parallel section now running
	cur    node       // the operation now running backwards
	attn   attnJob
	lists  attnLists
}

// node is one recorded operation with what its gradient needs.
type node struct {
	back                    func(*Tape, *node)
	out                     *Tensor
	x, y, z, a, b           *Tensor // inputs; their meaning is the operation's
	stat, pool              span    // arena ranges kept for Backward
	stats, pools            []float32
	ids                     []int32
	docs                    []Doc
	rope                    *RopeTable
	block                   Block
	kind                    pointKind
	heads, kvHeads, headDim int
	h, w                    int
	scale                   float32
}

// tensorBlock is how many Tensor structs are allocated together.
const tensorBlock = 256

// NewTape returns an empty tape that records.
func NewTape() *Tape { return &Tape{record: true} }

// Reset forgets all operations and tensors and starts a new step in the same memory.
func (t *Tape) Reset() {
	t.nodes = t.nodes[:0]
	t.used = 0
	t.mem.reset()
}

// Record switches recording on or off. Off means forward only: nothing is kept for Backward, and Release gives back every activation of its range.
func (t *Tape) Record(on bool) { t.record = on }

// Dry reports whether the tape only measures (Plan): its tensors have no Data.
func (t *Tape) Dry() bool { return t.mem.dry }

// Bytes returns the size of the tape's arena, in bytes: the most that any step so far has needed at one time.
func (t *Tape) Bytes() int64 { return 4 * int64(t.mem.peak) }

// Plan returns how many bytes of arena the forward and backward pass of fn need at most, exactly as a real run with the same shapes will use them, and lets the tape reserve them at its next step.
// fn runs on a dry tape on which operations check shapes and neither compute nor allocate (Data and GradOf are nil there). When fn does not call Backward itself and left something recorded, Plan calls it with the last result as the loss.
func (t *Tape) Plan(fn func(*Tape)) (bytes int64) {
	dry := &Tape{record: true, mem: arena{dry: true}}
	fn(dry)
	if n := len(dry.nodes); n > 0 {
		dry.GradOf(dry.nodes[n-1].out)
		dry.Backward()
	}
	t.mem.peak = max(t.mem.peak, dry.mem.peak)
	return dry.Bytes()
}

// New returns a tensor of the tape with undefined contents: an input, or scratch. No gradient flows through it.
func (t *Tape) New(rows, cols int) *Tensor {
	if rows < 0 || cols < 0 {
		panic(fmt.Sprintf("tensor: New: shape [%d %d]", rows, cols))
	}
	if t.used == len(t.blocks)*tensorBlock {
		t.blocks = append(t.blocks, make([]Tensor, tensorBlock))
	}
	x := &t.blocks[t.used/tensorBlock][t.used%tensorBlock]
	t.used++
	*x = Tensor{Rows: rows, Cols: cols, tape: t}
	x.data = t.mem.alloc(rows * cols)
	x.Data = t.mem.slice(x.data, rows*cols)
	return x
}

// Mark is a place in the order in which a tape's tensors were made.
type Mark int

// Mark returns the present place, for Release.
func (t *Tape) Mark() Mark { return Mark(t.used) }

// Release says that of all tensors made since the mark only those in keep (and older ones) will be read by later operations. The others' memory is given back at once, but for those whose values Backward reads again.
// A model calls it after each layer; without it a forward pass holds everything until Reset.
func (t *Tape) Release(m Mark, keep ...*Tensor) {
	for i := int(m); i < t.used; i++ {
		x := &t.blocks[i/tensorBlock][i%tensorBlock]
		if x.released || contains(keep, x) {
			continue
		}
		x.released = true
		if x.keep == 0 {
			t.dropData(x)
		}
	}
}

func contains(list []*Tensor, x *Tensor) bool {
	for _, k := range list {
		if k == x {
			return true
		}
	}
	return false
}

// GradOf returns the gradient buffer of x, [Rows][Cols], zeroed when it is new. Callers write the derivative of the loss there before Backward. It is nil for a frozen parameter and on a dry tape.
func (t *Tape) GradOf(x *Tensor) []float32 {
	g, fresh := t.gradRaw(x)
	if fresh {
		t.zero(g)
	}
	return g
}

// zero clears x, in parallel where it is large.
func (t *Tape) zero(x []float32) {
	if len(x) < 8*partWork {
		clear(x)
		return
	}
	t.job = job{dst: x}
	t.elements(len(x), pointCost, zeroPart)
}

func zeroPart(j *job, _, lo, hi int) { clear(j.dst[lo:hi]) }

// gradRaw is GradOf without zeroing; fresh says that the contents are undefined.
func (t *Tape) gradRaw(x *Tensor) (g []float32, fresh bool) {
	if x.tape == nil {
		return x.Grad, false
	}
	if x.grad.n == 0 {
		n := x.Rows * x.Cols
		x.grad = t.mem.alloc(n)
		x.Grad = t.mem.slice(x.grad, n)
		fresh = true
	}
	return x.Grad, fresh
}

// giveGrad adds the gradient of from, which is not needed after this, to that of x: by handing over the buffer when x has none yet.
func (t *Tape) giveGrad(x, from *Tensor) {
	if x.tape != nil && x.grad.n == 0 && from.grad.n != 0 {
		x.grad, x.Grad = from.grad, from.Grad
		from.grad, from.Grad = span{}, nil
		return
	}
	t.addGrad(x, from)
}

// addGrad adds the gradient of from to that of x, which has as many values.
func (t *Tape) addGrad(x, from *Tensor) {
	g, fresh := t.gradRaw(x)
	t.job = job{dst: g, a: from.Grad, fresh: fresh}
	t.elements(len(g), pointCost, addGradPart)
}

func addGradPart(j *job, _, lo, hi int) {
	if j.fresh {
		copy(j.dst[lo:hi], j.a[lo:hi])
		return
	}
	kernel.AddTo(j.dst[lo:hi], j.a[lo:hi])
}

// Backward runs the recorded operations in reverse, adding to the gradients of parameters. Seeds are written with GradOf beforehand.
// The values and the gradient of each result are given back right after its operation has run: read what you need of them before.
func (t *Tape) Backward() { t.backwardTo(0) }

func (t *Tape) backwardTo(base int) {
	for len(t.nodes) > base {
		i := len(t.nodes) - 1
		n := t.nodes[i] // a copy: Checkpoint records into the same slice
		t.nodes = t.nodes[:i]
		if n.out.grad.n != 0 { // otherwise nothing depends on it
			t.cur = n
			n.back(t, &t.cur)
		}
		t.mem.release(n.stat)
		t.mem.release(n.pool)
		t.dropGrad(n.out)
		t.dropData(n.out)
	}
}

// keepData notes that Backward reads the values of x again.
func keepData(x *Tensor) {
	if x != nil && x.tape != nil {
		x.keep++
	}
}

func (t *Tape) dropData(x *Tensor) {
	t.mem.release(x.data)
	x.data, x.Data = span{}, nil
}

func (t *Tape) dropGrad(x *Tensor) {
	t.mem.release(x.grad)
	x.grad, x.Grad = span{}, nil
}

// scratch returns n values of undefined contents; the caller releases the span.
func (t *Tape) scratch(n int) ([]float32, span) {
	s := t.mem.alloc(n)
	return t.mem.slice(s, n), s
}

// push records n if a gradient can reach any of its inputs, and reports whether it did.
func (t *Tape) push(n node) bool {
	n.out.need = n.x.wants() || n.y.wants() || n.z.wants() || n.a.wants() || n.b.wants()
	if !t.record || !n.out.need {
		return false
	}
	t.nodes = append(t.nodes, n)
	return true
}

// job is one parallel section: fn works on rows (or values, or columns) lo to hi. One struct of the tape serves all sections, so that none allocates.
type job struct {
	fn              func(j *job, part, lo, hi int)
	n, parts, align int
	block           int // > 0: part i is the i-th block of this many rows, whatever the number of workers
	dst, dst2       []float32
	a, b, c, d      []float32
	cols, rows      int
	ids             []int32
	rope            *RopeTable
	quant           *Quantised
	kind            pointKind
	heads, headDim  int
	h, w            int
	scale           float32
	fresh           bool
}

// Part runs part i.
func (j *job) Part(i int) {
	if j.block > 0 {
		lo := i * j.block
		j.fn(j, i, lo, min(j.n, lo+j.block))
		return
	}
	lo, hi := par.Split(j.n, j.parts, i, j.align)
	if lo < hi {
		j.fn(j, i, lo, hi)
	}
}

// A part should take some ten microseconds, or handing it over costs more than it saves. Costs are in units of one value added to another.
const (
	partWork  = 1 << 15
	pointCost = 1
	expCost   = 4
)

// elements runs fn over n values, split anywhere; cost is the work for one.
func (t *Tape) elements(n, cost int, fn func(j *job, part, lo, hi int)) { t.rowsOf(n, cost, 16, fn) }

// eachRow runs fn over n rows of the given work each.
func (t *Tape) eachRow(n, cost int, fn func(j *job, part, lo, hi int)) { t.rowsOf(n, cost, 1, fn) }

// eachColumn runs fn over the columns of a matrix, for sums down the rows: each column is added by one worker in the order of the rows.
func (t *Tape) eachColumn(rows, cols int, fn func(j *job, part, lo, hi int)) {
	t.rowsOf(cols, rows, 64, fn)
}

func (t *Tape) rowsOf(n, cost, align int, fn func(j *job, part, lo, hi int)) {
	if t.mem.dry || n == 0 {
		return
	}
	t.job.run(n, cost, align, fn)
}

func (j *job) run(n, cost, align int, fn func(j *job, part, lo, hi int)) {
	j.fn, j.n, j.align, j.block = fn, n, align, 0
	j.parts = max(1, min(n*cost/partWork, 2*par.Workers(), n))
	par.Do(j.parts, j)
}

// sumBlock is how many rows make one partial sum, where an operation sums over rows by partial sums. It is fixed, so that the result does not depend on the number of workers.
const sumBlock = 64

// eachBlock runs fn over blocks of sumBlock rows; part is the number of the block.
func (t *Tape) eachBlock(n int, fn func(j *job, part, lo, hi int)) {
	if t.mem.dry || n == 0 {
		return
	}
	t.job.fn, t.job.n, t.job.block = fn, n, sumBlock
	par.Do(blocks(n), &t.job)
}

func blocks(n int) int { return (n + sumBlock - 1) / sumBlock }

func (t *Tape) nn(m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	if !t.mem.dry {
		kernel.GemmNN(m, n, k, a, lda, b, ldb, c, ldc, acc)
	}
}

func (t *Tape) nt(m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	if !t.mem.dry {
		kernel.GemmNT(m, n, k, a, lda, b, ldb, c, ldc, acc)
	}
}

func (t *Tape) tn(m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	if !t.mem.dry {
		kernel.GemmTN(m, n, k, a, lda, b, ldb, c, ldc, acc)
	}
}
