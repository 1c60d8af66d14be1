package tensor

import "github.com/hone-lm/hone/tensor/internal/kernel"

// With bf16 the products of linear layers and of the vocabulary head round both operands to bf16 and add in float32; everything else, the
// products of low-rank adapters included, and what is stored, stays float32. A product's bytes are the same whether its weights were rounded in it or beforehand (PackBF16), so sampling and
// training agree to the bit there, too.

// HasBF16 reports whether this CPU and build multiply bf16 in hardware; without that, products of bf16 are right but hundreds of times slower.
func HasBF16() bool { return kernel.HasBF16() }

// BF16 switches the products of linear layers to bf16 or back to float32.
func (t *Tape) BF16(on bool) { t.bf16 = on }

// packed is the rounded copy of a parameter, laid out for one of its products.
type packed struct {
	kernel.BF16
	fresh bool
	head  bool // laid out for Head
}

// PackBF16 rounds a weight of Linear beforehand: for products of few rows, which only read it, and for weights that do not change. Call
// StaleBF16 when the weight changes. Nothing is done while the copy is up to date.
func (p *Tensor) PackBF16() { p.packBF16(false) }

// PackHeadBF16 is PackBF16 for the weight of a Head.
func (p *Tensor) PackHeadBF16() { p.packBF16(true) }

func (p *Tensor) packBF16(head bool) {
	w := p.sharedBF16()
	if w.fresh && w.head == head {
		return
	}
	if head {
		w.PackNT(p.Rows, p.Cols, p.Data, p.Cols)
	} else {
		w.PackNN(p.Cols, p.Rows, p.Data, p.Cols)
	}
	w.fresh, w.head = true, head
}

// StaleBF16 says that the weight has changed: its rounded copy is not used until it is made again, in the same memory.
func (p *Tensor) StaleBF16() {
	if p.packed != nil {
		p.packed.fresh = false
	}
}

// ShareBF16 lets p, whose Data is that of q, have the rounded copy of q, now and later.
func (p *Tensor) ShareBF16(q *Tensor) { p.packed = q.sharedBF16() }

func (p *Tensor) sharedBF16() *packed {
	if p.packed == nil {
		p.packed = &packed{}
	}
	return p.packed
}

// BF16Bytes returns the memory that the rounded copy of a weight [rows][cols] takes.
func BF16Bytes(rows, cols int) int64 { return kernel.BF16Bytes(cols, rows) }

// rounded returns the copy to multiply with, nil without an up-to-date one.
func (p *Tensor) rounded(head bool) *kernel.BF16 {
	if p.packed == nil || !p.packed.fresh || p.packed.head != head {
		return nil
	}
	return &p.packed.BF16
}

// times computes out = x w, or out += x w.
func (t *Tape) times(x, w, out *Tensor, acc bool) {
	switch b := w.rounded(false); {
	case t.mem.dry:
	case w.Quant != nil:
		timesQuant(x, w, out, acc)
	case !t.bf16:
		kernel.GemmNN(x.Rows, w.Cols, x.Cols, x.Data, x.Cols, w.Data, w.Cols, out.Data, out.Cols, acc)
	case b != nil:
		kernel.GemmBF16(x.Rows, x.Data, x.Cols, b, out.Data, out.Cols, acc)
	default:
		kernel.GemmBF16NN(x.Rows, w.Cols, x.Cols, x.Data, x.Cols, w.Data, w.Cols, out.Data, out.Cols, acc)
	}
}

// gradTimes computes g = x^T dout, or adds it: the gradient of the weight of out = x w.
func (t *Tape) gradTimes(x, out *Tensor, g []float32, acc bool) {
	if t.mem.dry {
		return
	}
	product := kernel.GemmTN
	if t.bf16 {
		product = kernel.GemmBF16TN
	}
	product(x.Cols, out.Cols, x.Rows, x.Data, x.Cols, out.Grad, out.Cols, g, out.Cols, acc)
}

// timesGrad computes g = dout w^T, or adds it: the gradient of x of out = x w.
func (t *Tape) timesGrad(out, w *Tensor, g []float32, acc bool) {
	if t.mem.dry {
		return
	}
	if w.Quant != nil {
		quantTimes(out, w, g, acc)
		return
	}
	product := kernel.GemmNT
	if t.bf16 {
		product = kernel.GemmBF16NT
	}
	product(out.Rows, w.Rows, w.Cols, out.Grad, out.Cols, w.Data, w.Cols, g, w.Rows, acc)
}

// headLogits is the product of Head.Logits.
func (h *Head) headLogits(dst, hidden []float32, n int) {
	v, d := h.W.Rows, h.W.Cols
	b := h.W.rounded(true)
	switch {
	case h.W.Quant != nil:
		kernel.GemmQuantNT(n, hidden, d, h.W.Quant, dst, v, false)
	case !h.BF16:
		kernel.GemmNT(n, v, d, hidden, d, h.W.Data, d, dst, v, false)
	case b != nil:
		kernel.GemmBF16(n, hidden, d, b, dst, v, false)
	default:
		kernel.GemmBF16NT(n, v, d, hidden, d, h.W.Data, d, dst, v, false)
	}
}

// headGradW adds to the gradient of W what n rows of derivatives by logits give.
func (h *Head) headGradW(n int) {
	v, d, product := h.W.Rows, h.W.Cols, kernel.GemmTN
	if h.BF16 {
		product = kernel.GemmBF16TN
	}
	product(v, d, n, h.logits, v, h.hidden, d, h.W.Grad, d, true)
}

// headGradHidden fills dHidden from n rows of derivatives by logits.
func (h *Head) headGradHidden(n int) {
	v, d, product := h.W.Rows, h.W.Cols, kernel.GemmNN
	if h.W.Quant != nil {
		kernel.GemmQuantNN(n, h.logits, v, h.W.Quant, h.dHidden, d, false)
		return
	}
	if h.BF16 {
		product = kernel.GemmBF16NN
	}
	product(n, d, v, h.logits, v, h.W.Data, d, h.dHidden, d, false)
}
