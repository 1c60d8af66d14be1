package kernel

import (
	"fmt"
	"unsafe"

	"github.com/hone-lm/hone/tensor/internal/par"
)

// Products of bfloat16 take float32 operands, round them to nearest even while they are packed, and give float32: see bf16_go.go for the
// arithmetic. They keep what holds for float32: one accumulator an output, k ascending (in pairs), so that neither the number of rows nor
// threads nor the blocking show. A panel of B is pairs [k/2][48].

var gemmBF16 = gemmOps{lanes: 16, rows: 8, pairs: true}

// blockPairs is the number of rows of pairs of a panel, which takes 36 KiB of the first cache. Blocks begin at even k.
const blockPairs = 192

// HasBF16 reports whether products of bf16 have an instruction here. Without one they are emulated, hundreds of times slower.
func HasBF16() bool { return active.bf16 }

// GemmBF16NN is GemmNN with both operands rounded to bf16.
func GemmBF16NN(m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	gemmPairs(formNN, m, n, k, a, lda, b, ldb, nil, c, ldc, acc)
}

// GemmBF16NT is GemmBF16NN with B stored as [n][k].
func GemmBF16NT(m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	gemmPairs(formNT, m, n, k, a, lda, b, ldb, nil, c, ldc, acc)
}

// GemmBF16TN is GemmBF16NN with A stored as [k][m].
func GemmBF16TN(m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	gemmPairs(formTN, m, n, k, a, lda, b, ldb, nil, c, ldc, acc)
}

// GemmBF16 is GemmBF16NN with a B that was packed before, to the same bytes.
func GemmBF16(m int, a []float32, lda int, b *BF16, c []float32, ldc int, acc bool) {
	gemmPairs(formNN, m, b.n, b.k, a, lda, nil, 0, b, c, ldc, acc)
}

func gemmPairs(f form, m, n, k int, a []float32, lda int, b []float32, ldb int, w *BF16, c []float32, ldc int, acc bool) {
	p := takeProduct()
	p.form, p.m, p.n, p.k, p.a, p.b, p.c, p.lda, p.ldb, p.ldc, p.acc = f, m, n, k, a, b, c, lda, ldb, ldc, acc
	p.pairs, p.weights = true, w
	p.run()
	giveProduct(p)
}

// An operand that several units use is packed before they begin, by all processors, unless it is larger than so many numbers: the room stays.
// Variables for tests.
var (
	mostRounded = 1 << 24 // of A
	mostPacked  = 1 << 23 // of B
)

// packsWithin reports whether units pack B.
func (p *product) packsWithin() bool {
	return p.pairs && p.weights == nil && p.n*p.k > mostPacked
}

// packBF16 packs what several units use.
func (p *product) packBF16() {
	if p.rowParts > 1 && p.weights == nil && !p.packsWithin() {
		p.own.pack(p.form, p.n, p.k, p.b, p.ldb)
		p.weights = &p.own
	}
	p.rounded.on = p.colParts > 1 && p.m*p.k <= mostRounded
	if p.rounded.on {
		p.rounded.fill(p)
	}
}

// roundedA is the whole of A, rounded. Row i of it begins at i/8*ats + i%8*rsa.
type roundedA struct {
	on            bool
	pairs         []uint32
	rsa, csa, ats int
	job           roundingA
}

// roundingA is the job that fills it, 48 rows a part.
type roundingA struct{ p *product }

func (r *roundedA) fill(p *product) {
	kp := (p.k + 1) / 2
	r.rsa, r.csa, r.ats = kp+padA, 1, gemmBF16.rows*(kp+padA)
	if p.form == formTN {
		r.rsa, r.csa, r.ats = 1, gemmBF16.rows, gemmBF16.rows*kp+padA
	}
	if size := (p.m+15)/16*2*r.ats + padA; cap(r.pairs) < size { // interleave writes sixteen rows of A at a time
		r.pairs = make([]uint32, size)
	}
	r.pairs = r.pairs[:cap(r.pairs)]
	r.job.p = p
	if parts := (p.m + panel - 1) / panel; p.m*p.k >= 1<<16 {
		par.Do(parts, &r.job)
	} else {
		for i := range parts {
			r.job.Part(i)
		}
	}
	r.job.p = nil
}

// Part rounds rows 48i to 48i+47.
func (j *roundingA) Part(i int) {
	p, r := j.p, &j.p.rounded
	lo, hi := i*panel, min((i+1)*panel, p.m)
	if p.form == formTN {
		interleave(p.k, hi-lo, p.a[lo:], p.lda, r.pairs[lo/gemmBF16.rows*r.ats:], r.csa, r.ats)
		return
	}
	for ; lo < hi; lo++ {
		roundRow(p.a[lo*p.lda:][:p.k], r.pairs[lo*r.rsa:])
	}
}

// partBF16 computes C[m0:m1][n0:n1].
func (p *product) partBF16(m0, m1, n0, n1 int) {
	buf := takeBuffers()
	rows := m1 - m0
	a, left := pairsOf(buf.a[:]), (p.k+1)/2
	for k0 := 0; left > 0; {
		kp := blockPairs
		if p.weights != nil && rows <= gemmBF16.rows { // few rows (decoding): each panel is read once, in one piece
			kp = len(a)/gemmBF16.rows - padA
		} else if left > kp && left < 2*kp {
			kp = (left + 1) / 2 // two halves instead of a whole block and a short one
		}
		kp = min(kp, left)
		p.blockBF16(buf, m0, m1, n0, n1, k0, kp)
		k0, left = k0+kp, left-kp
	}
	giveBuffers(buf)
}

// blockBF16 adds the products of kp pairs from pair k0 on.
func (p *product) blockBF16(buf *buffers, m0, m1, n0, n1, k0, kp int) {
	a, b := pairsOf(buf.a[:]), pairsOf(buf.b[:])
	kb := min(2*kp, p.k-2*k0) // rows of k, of which the last pair may have one
	rsa, csa, ats := kp+padA, 1, gemmBF16.rows*(kp+padA)
	if r := &p.rounded; r.on {
		rsa, csa, ats = r.rsa, r.csa, r.ats
		a = r.pairs[m0/gemmBF16.rows*ats+k0*csa:]
	} else if p.form == formTN {
		rsa, csa, ats = 1, gemmBF16.rows, gemmBF16.rows*kp+padA
		interleave(kb, m1-m0, p.a[2*k0*p.lda+m0:], p.lda, a, csa, ats)
	} else {
		for i := m0; i < m1; i++ {
			roundRow(p.a[i*p.lda+2*k0:][:kb], a[(i-m0)*rsa:])
		}
	}
	for j := n0; j < n1; j += panel {
		width := min(panel, n1-j)
		switch {
		case p.weights != nil:
			b = p.weights.panel(j, k0)
		case p.form == formNT:
			packNT(width, kb, p.b[j*p.ldb+2*k0:], p.ldb, b, buf.t[:])
		default:
			interleave(kb, width, p.b[2*k0*p.ldb+j:], p.ldb, b, panel, 8)
		}
		multiplyPairs(m1-m0, width, kp, a, rsa, csa, ats, b, panel, p.c[m0*p.ldc+j:], p.ldc, p.acc || k0 > 0)
	}
}

// packNT packs a panel from rows of B^T: width rows of kb <= 2 blockPairs numbers.
func packNT(width, kb int, src []float32, lds int, dst, room []uint32) {
	kp := (kb + 1) / 2
	for j := range width {
		roundRow(src[j*lds:][:kb], room[j*kp:])
	}
	Transpose(width, kp, floatsOf(room), kp, floatsOf(dst), panel)
}

// pairsOf and floatsOf look at the same memory as the other type; Transpose only moves what it is given.
func pairsOf(x []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

func floatsOf(x []uint32) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

// BF16 is a B of GemmBF16, rounded and packed: half the bytes, and no packing in the product.
type BF16 struct {
	n, k  int
	pairs []uint32 // [n/48][k/2][48], both quotients rounded up
	job   packing
}

// BF16Bytes returns the size of a packed matrix.
func BF16Bytes(n, k int) int64 { return 4 * panel * int64((n+panel-1)/panel) * int64((k+1)/2) }

// PackNN fills w from B stored as [k][n].
func (w *BF16) PackNN(n, k int, b []float32, ldb int) { w.pack(formNN, n, k, b, ldb) }

// PackNT fills w from B stored as [n][k].
func (w *BF16) PackNT(n, k int, b []float32, ldb int) { w.pack(formNT, n, k, b, ldb) }

func (w *BF16) pack(f form, n, k int, b []float32, ldb int) {
	if f == formNT {
		checkMatrix("B", n, k, b, ldb)
	} else {
		checkMatrix("B", k, n, b, ldb)
	}
	size := int(BF16Bytes(n, k) / 4)
	if cap(w.pairs) < size {
		w.pairs = make([]uint32, size)
	}
	w.pairs = w.pairs[:size]
	w.n, w.k = n, k
	w.job = packing{w, f, b, ldb}
	par.Do((n+panel-1)/panel, &w.job)
	w.job = packing{}
}

// check panics unless w is a matrix of n columns and k rows.
func (w *BF16) check(n, k int) {
	if n != w.n || k != w.k {
		panic(fmt.Sprintf("kernel: packed B is %d x %d, not %d x %d", w.k, w.n, k, n))
	}
}

// panel returns the panel that begins with column j, from pair k0 on.
func (w *BF16) panel(j, k0 int) []uint32 {
	kp := (w.k + 1) / 2
	return w.pairs[(j/panel*kp+k0)*panel : (j/panel+1)*kp*panel]
}

// packing is the job that packs a matrix, a panel a part.
type packing struct {
	w   *BF16
	f   form
	b   []float32
	ldb int
}

// Part packs panel i.
func (p *packing) Part(i int) {
	w, j := p.w, i*panel
	width := min(panel, w.n-j)
	if p.f != formNT {
		interleave(w.k, width, p.b[j:], p.ldb, w.panel(j, 0), panel, 8)
		return
	}
	buf := takeBuffers()
	for k0 := 0; k0 < w.k; k0 += 2 * blockPairs {
		packNT(width, min(2*blockPairs, w.k-k0), p.b[j*p.ldb+k0:], p.ldb, w.panel(j, k0/2), buf.t[:])
	}
	giveBuffers(buf)
}
