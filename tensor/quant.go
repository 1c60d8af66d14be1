package tensor

import (
	"fmt"

	"github.com/hone-lm/hone/tensor/internal/kernel"
)

// Quantised is a matrix of quantised numbers that stay so in memory: a frozen weight is read in blocks and widened in registers or while a
// panel is packed, to exactly the numbers that Tensor.Widen gives. So everything computed with it has the bytes of the widened weight.
type Quantised = kernel.Quant

// QuantFormat is the storage format of a Quantised.
type QuantFormat = kernel.QuantFormat

// The formats, by their names in GGUF files.
const (
	Q8_0 = kernel.Q8_0
	Q4_0 = kernel.Q4_0
	Q4_1 = kernel.Q4_1
)

// NewQuantised returns a matrix of zeros in a format; SetRow fills it. cols must be a multiple of 32.
func NewQuantised(f QuantFormat, rows, cols int) *Quantised { return kernel.NewQuant(f, rows, cols) }

// NewQuantTable returns a frozen parameter [q.Rows][q.Cols] without Data: an embedding, or the vocabulary head.
func NewQuantTable(name string, q *Quantised) *Tensor {
	return &Tensor{Name: name, Rows: q.Rows, Cols: q.Cols, Quant: q}
}

// NewQuantLinear returns a frozen parameter [in][out] without Data, the weight of a Linear: files store those as [out][in], and so does q. With
// parts > 1 it is the weights of so many Linears one after another, [parts*in][out/parts], each of which QuantPart gives.
func NewQuantLinear(name string, q *Quantised, parts int) *Tensor {
	return &Tensor{Name: name, Rows: parts * q.Cols, Cols: q.Rows / parts, Quant: q, turned: true}
}

// QuantPart returns part i of n of the weights that NewQuantLinear made in n parts. Its rows must be a multiple of 16.
func (p *Tensor) QuantPart(i, n int) *Tensor {
	q, ok := p.Quant.Part(i*p.Cols, (i+1)*p.Cols)
	if !ok || p.Quant.Rows != n*p.Cols {
		panic(fmt.Sprintf("tensor: part %d of %d of %s", i, n, p.shape()))
	}
	return NewQuantLinear(p.Name, q, 1)
}

// Widen calls fn with all numbers of p in the order of Data, some rows at a time; what fn gets is overwritten by the next call.
func (p *Tensor) Widen(fn func([]float32)) {
	if p.Quant == nil {
		fn(p.Data)
		return
	}
	if parts := p.Quant.Rows / p.Cols; p.turned && parts > 1 {
		for i := range parts {
			p.QuantPart(i, parts).Widen(fn)
		}
		return
	}
	buf := make([]float32, 32*p.Cols) // rows of a Linear come in blocks
	for lo := 0; lo < p.Rows; lo += 32 {
		hi := min(lo+32, p.Rows)
		part := buf[:(hi-lo)*p.Cols]
		if p.turned {
			p.Quant.Columns(part, lo, hi)
		}
		for r := lo; r < hi && !p.turned; r++ {
			p.Quant.Row(part[(r-lo)*p.Cols:][:p.Cols], r)
		}
		fn(part)
	}
}

// Dequantise gives p its Data and drops the blocks.
func (p *Tensor) Dequantise() {
	if p.Quant == nil {
		return
	}
	data := make([]float32, 0, p.Rows*p.Cols)
	p.Widen(func(x []float32) { data = append(data, x...) })
	p.Data, p.Quant, p.turned = data, nil, false
}

// Bytes returns how much memory the values of a parameter take.
func (p *Tensor) Bytes() int64 {
	if p.Quant != nil {
		return p.Quant.Bytes()
	}
	return 4 * int64(p.Rows) * int64(p.Cols)
}

// checkQuant panics unless a quantised weight lies as the operation reads it.
func checkQuant(op string, w *Tensor, turned bool) {
	if w.turned != turned {
		panic(fmt.Sprintf("tensor: %s: %s is quantised for another operation", op, w.shape()))
	}
}

// timesQuant writes x w (+ out when acc) to out, w quantised.
func timesQuant(x, w, out *Tensor, acc bool) {
	checkQuant("Linear", w, true)
	kernel.GemmQuantNT(x.Rows, x.Data, x.Cols, w.Quant, out.Data, out.Cols, acc)
}

// quantTimes writes the gradient of out = x w by x (+ g when acc) to g, w quantised.
func quantTimes(out, w *Tensor, g []float32, acc bool) {
	checkQuant("Linear", w, true)
	kernel.GemmQuantNN(out.Rows, out.Grad, out.Cols, w.Quant, g, w.Rows, acc)
}

func gatherQuantPart(j *job, _, lo, hi int) {
	for r := lo; r < hi; r++ {
		j.quant.Row(j.dst[r*j.cols:(r+1)*j.cols], int(j.ids[r]))
	}
}
