package kernel

import (
	"sync"

	"github.com/hone-lm/hone/tensor/internal/par"
)

// quantPanel is the width of a panel in products with quantised weights as they lie, [k][n]: whole blocks, and two panels of tiles.
const quantPanel = 2 * panel

// quantProduct is a product whose B are quantised weights. It has the bytes of the product with the widened weights.
type quantProduct struct {
	product // form is formNT or formNN, of B; its b is empty
	w       *Quant
	next    *quantProduct
}

// wideBuffer is where weights lie that are widened as they lie: a panel, and before it a slice whose columns are its rows.
type wideBuffer struct {
	slice [quantPanel * quantGroup]float32
	panel [blockK * quantPanel]float32
	next  *wideBuffer
}

// spareQuant holds what is not in use, as spare does.
var spareQuant struct {
	sync.Mutex
	products *quantProduct
	buffers  *wideBuffer
}

// GemmQuantNT computes C[m][n] = A[m][k] W^T, or C += A W^T when acc is set, with the bytes of GemmNT on the widened weights W [n][k].
func GemmQuantNT(m int, a []float32, lda int, w *Quant, c []float32, ldc int, acc bool) {
	gemmQuant(formNT, m, w.Rows, w.Cols, a, lda, w, c, ldc, acc)
}

// GemmQuantNN computes C[m][n] = A[m][k] W, or C += A W when acc is set, with the bytes of GemmNN on the widened weights W [k][n].
func GemmQuantNN(m int, a []float32, lda int, w *Quant, c []float32, ldc int, acc bool) {
	gemmQuant(formNN, m, w.Cols, w.Rows, a, lda, w, c, ldc, acc)
}

func gemmQuant(f form, m, n, k int, a []float32, lda int, w *Quant, c []float32, ldc int, acc bool) {
	if m <= 0 || n <= 0 {
		return
	}
	checkMatrix("C", m, n, c, ldc)
	if k <= 0 {
		multiply(m, n, 0, nil, 0, 0, 0, nil, 0, c, ldc, acc)
		return
	}
	checkMatrix("A", m, k, a, lda)
	p := takeQuantProduct()
	*p = quantProduct{product: product{form: f, m: m, n: n, k: k, a: a, c: c, lda: lda, ldc: ldc, acc: acc}, w: w}
	p.cut()
	if f == formNN { // units hold whole blocks
		if p.align == panel {
			p.align = quantPanel
		} else {
			p.align = quantBlock
		}
	}
	par.Do(p.rowParts*p.colParts, p)
	spareQuant.Lock()
	defer spareQuant.Unlock()
	*p = quantProduct{next: spareQuant.products}
	spareQuant.products = p
}

func takeQuantProduct() *quantProduct {
	spareQuant.Lock()
	defer spareQuant.Unlock()
	p := spareQuant.products
	if p == nil {
		return new(quantProduct)
	}
	spareQuant.products = p.next
	return p
}

func takeWide() *wideBuffer {
	spareQuant.Lock()
	defer spareQuant.Unlock()
	b := spareQuant.buffers
	if b == nil {
		return new(wideBuffer)
	}
	spareQuant.buffers = b.next
	return b
}

func giveWide(b *wideBuffer) {
	spareQuant.Lock()
	defer spareQuant.Unlock()
	b.next = spareQuant.buffers
	spareQuant.buffers = b
}

// Part computes one unit.
func (p *quantProduct) Part(i int) {
	m0, m1 := par.Split(p.m, p.rowParts, i%p.rowParts, 8)
	n0, n1 := par.Split(p.n, p.colParts, i/p.rowParts, p.align)
	if m0 >= m1 || n0 >= n1 {
		return
	}
	if p.form == formNT && m1-m0 <= quantInPlace() {
		multiplyQuant(m1-m0, n1-n0, p.k, p.a[m0*p.lda:], p.lda, p.w, n0, p.c[m0*p.ldc+n0:], p.ldc, p.acc)
		return
	}
	buf := takeBuffers()
	var wide *wideBuffer
	if p.form == formNN {
		wide = takeWide()
		defer giveWide(wide)
	}
	for k0 := 0; k0 < p.k; k0 += blockK {
		kb := min(blockK, p.k-k0)
		a, rsa, csa, ats := p.blockOfA(buf, m0, m1, k0, kb, n1-n0)
		if p.form == formNT {
			for j := n0; j < n1; j += panel {
				width := min(panel, n1-j)
				p.widenNT(buf.b[:], j, width, k0, kb)
				multiply(m1-m0, width, kb, a, rsa, csa, ats, buf.b[:], panel, p.c[m0*p.ldc+j:], p.ldc, p.acc || k0 > 0)
			}
			continue
		}
		for j := n0; j < n1; j += quantPanel {
			width := min(quantPanel, n1-j)
			p.widenNN(wide, j, width, k0, kb)
			multiply(m1-m0, width, kb, a, rsa, csa, ats, wide.panel[:], quantPanel, p.c[m0*p.ldc+j:], p.ldc, p.acc || k0 > 0)
		}
	}
	giveBuffers(buf)
}

// widenNT fills a panel with rows j to j+width of the weights, as columns.
func (p *quantProduct) widenNT(dst []float32, j, width, k0, kb int) {
	for x := 0; x < width; x += quantGroup {
		widenBlocks(p.w.Format, kb/quantBlock, p.w.group((j+x)/quantGroup, k0/quantBlock), dst[x:], panel)
	}
}

// widenNN fills a panel with columns j to j+width of rows k0 to k0+kb of the weights.
func (p *quantProduct) widenNN(buf *wideBuffer, j, width, k0, kb int) {
	for q := 0; q < kb; q += quantGroup {
		widenBlocks(p.w.Format, width/quantBlock, p.w.group((k0+q)/quantGroup, j/quantBlock), buf.slice[:], quantGroup)
		Transpose(width, min(quantGroup, kb-q), buf.slice[:], quantGroup, buf.panel[q*quantPanel:], quantPanel)
	}
}
