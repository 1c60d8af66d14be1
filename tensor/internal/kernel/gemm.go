package kernel

import (
	"fmt"
	"sync"

	"github.com/hone-lm/hone/tensor/internal/par"
)

// Blocking. A panel of B (blockK rows of panel columns) is packed once and used by all rows of a block of A; an output's chain continues from
// the stored C in the next K block, so none of these numbers shows in a result.
const (
	panel      = 48        // columns of a packed panel of B
	blockK     = 256       // rows of a packed panel
	blockM     = 512       // rows of A whose block stays in the second cache
	blockN     = 960       // columns between two packings of A
	padA       = 16        // floats between packed rows or slices of A, so that they do not fall on the same cache sets
	packA      = 4 * panel // columns from which A is packed
	splitFlops = 1 << 20   // below this, handing over costs more than it saves
)

type form uint8

const (
	formNN form = iota
	formNT
	formTN
)

// product is one call, cut into units of rows and columns: a job for par, kept so that a call allocates nothing.
type product struct {
	form               form
	m, n, k            int
	a, b, c            []float32
	lda, ldb, ldc      int
	acc                bool
	rowParts, colParts int
	align              int // column boundaries of units are multiples of this
	pairs              bool
	weights            *BF16 // B, rounded and packed beforehand; nil = b
	own                BF16  // room for weights that are packed for this product
	rounded            roundedA
	next               *product
}

// buffers are one worker's packing space.
type buffers struct {
	a    [blockM * (blockK + padA)]float32
	b    [blockK * panel]float32
	t    [blockPairs * panel]uint32 // rows of B^T before they are transposed
	next *buffers
}

// spare holds the products and buffers that are not in use. Not a sync.Pool: the garbage collector empties those.
var spare struct {
	sync.Mutex
	products *product
	buffers  *buffers
}

func takeProduct() *product {
	spare.Lock()
	defer spare.Unlock()
	p := spare.products
	if p == nil {
		return new(product)
	}
	spare.products = p.next
	return p
}

func giveProduct(p *product) {
	spare.Lock()
	defer spare.Unlock()
	*p = product{next: spare.products, own: p.own, rounded: p.rounded}
	spare.products = p
}

func takeBuffers() *buffers {
	spare.Lock()
	defer spare.Unlock()
	b := spare.buffers
	if b == nil {
		return new(buffers)
	}
	spare.buffers = b.next
	return b
}

func giveBuffers(b *buffers) {
	spare.Lock()
	defer spare.Unlock()
	b.next = spare.buffers
	spare.buffers = b
}

// GemmNN computes C[m][n] = A[m][k] B[k][n], or C += A B when acc is set. lda, ldb and ldc are the distances between rows in elements. It
// works on several processors above about a million operations; neither that nor m shows in a result.
func GemmNN(m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	gemm(formNN, m, n, k, a, lda, b, ldb, c, ldc, acc)
}

// GemmNT is GemmNN with B stored as [n][k].
func GemmNT(m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	gemm(formNT, m, n, k, a, lda, b, ldb, c, ldc, acc)
}

// GemmTN is GemmNN with A stored as [k][m].
func GemmTN(m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	gemm(formTN, m, n, k, a, lda, b, ldb, c, ldc, acc)
}

func gemm(f form, m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	p := takeProduct()
	p.form, p.m, p.n, p.k, p.a, p.b, p.c, p.lda, p.ldb, p.ldc, p.acc = f, m, n, k, a, b, c, lda, ldb, ldc, acc
	p.run()
	giveProduct(p)
}

// run checks the operands and computes the product.
func (p *product) run() {
	if p.m <= 0 || p.n <= 0 {
		return
	}
	checkMatrix("C", p.m, p.n, p.c, p.ldc)
	if p.k <= 0 {
		multiply(p.m, p.n, 0, nil, 0, 0, 0, nil, 0, p.c, p.ldc, p.acc)
		return
	}
	if p.form == formTN {
		checkMatrix("A", p.k, p.m, p.a, p.lda)
	} else {
		checkMatrix("A", p.m, p.k, p.a, p.lda)
	}
	switch {
	case p.weights != nil:
		p.weights.check(p.n, p.k)
	case p.form == formNT:
		checkMatrix("B", p.n, p.k, p.b, p.ldb)
	default:
		checkMatrix("B", p.k, p.n, p.b, p.ldb)
	}
	p.cut()
	if p.pairs {
		p.packBF16()
	}
	par.Do(p.rowParts*p.colParts, p)
}

// checkMatrix panics unless x holds rows x cols elements: assembly does not check.
func checkMatrix(name string, rows, cols int, x []float32, ld int) {
	if ld < cols && rows > 1 || len(x) < (rows-1)*ld+cols {
		panic(fmt.Sprintf("kernel: %s of %d x %d with rows %d apart does not lie in %d elements", name, rows, cols, ld, len(x)))
	}
}

// cut chooses the units: blocks that suit the caches, and some more than there are workers, so that a disturbed worker does not delay all.
func (p *product) cut() {
	p.align = panel
	p.rowParts, p.colParts = (p.m+blockM-1)/blockM, (p.n+blockN-1)/blockN
	workers, flops := par.Workers(), 2*p.m*p.n*p.k
	if workers == 1 || flops < splitFlops {
		return
	}
	want := workers
	switch {
	case p.packsWithin(): // every further split of rows packs B again
		want = 2 * workers
	case flops > 32*splitFlops:
		want = 4 * workers
	}
	for p.rowParts*p.colParts < want {
		switch rows, cols := p.m/p.rowParts, p.n/p.colParts; {
		case p.packsWithin() && cols >= 2*panel:
			p.colParts++
		case cols >= 8*panel:
			p.colParts++
		case rows >= 128:
			p.rowParts++
		case cols >= 2*panel:
			p.colParts++
		case rows >= 16:
			p.rowParts++
		case cols >= 32 && !p.pairs:
			p.colParts++
			p.align = 16
		default:
			return
		}
	}
}

// Part computes one unit.
func (p *product) Part(i int) {
	m0, m1 := par.Split(p.m, p.rowParts, i%p.rowParts, 8)
	n0, n1 := par.Split(p.n, p.colParts, i/p.rowParts, p.align)
	if m0 >= m1 || n0 >= n1 {
		return
	}
	if p.pairs {
		p.partBF16(m0, m1, n0, n1)
		return
	}
	if p.form == formNN && m1-m0 <= active.gemm.nn || p.form == formTN && m1-m0 <= active.gemm.rows {
		p.inPlace(m0, m1, n0, n1)
		return
	}
	if p.form == formNT && p.fewForNT(m1-m0) {
		p.inRegisters(m0, m1, n0, n1)
		return
	}
	p.blocks(m0, m1, n0, n1, 0)
}

// blocks computes C[m0:m1][n0:n1] from packed panels, from step k0 of K on.
func (p *product) blocks(m0, m1, n0, n1, k0 int) {
	if n0 == n1 || k0 == p.k {
		return
	}
	buf := takeBuffers()
	for ; k0 < p.k; k0 += blockK {
		p.block(buf, m0, m1, n0, n1, k0, min(k0+blockK, p.k))
	}
	giveBuffers(buf)
}

// wholeRows is up to how many rows of A all of K is worked through at once: nothing of B is used twice then.
const wholeRows = 2

// inPlace serves few rows (decoding): a panel would be used too little to pay for packing.
func (p *product) inPlace(m0, m1, n0, n1 int) {
	if m1-m0 == 1 && p.form == formNN && active.gemm.lanes > 1 {
		p.row(m0, n0, n1)
		return
	}
	a, rsa, csa := p.a[m0*p.lda:], p.lda, 1
	if p.form == formTN {
		a, rsa, csa = p.a[m0:], 1, p.lda
	}
	step := active.gemm.nnBlock
	if m1-m0 <= wholeRows {
		step = p.k
	}
	for k0 := 0; k0 < p.k; k0 += step {
		multiply(m1-m0, n1-n0, min(step, p.k-k0), a[k0*csa:], rsa, csa, active.gemm.rows*rsa, p.b[k0*p.ldb+n0:], p.ldb, p.c[m0*p.ldc+n0:], p.ldc, p.acc || k0 > 0)
	}
}

// Multiples that multiplyRow works in.
const (
	rowColumns = 16
	rowSteps   = 8 // of K
)

// row serves row i alone: one stream of decoding, which waits for memory only.
func (p *product) row(i, n0, n1 int) {
	whole, k := n1-(n1-n0)%rowColumns, p.k/rowSteps*rowSteps
	a, c := p.a[i*p.lda:], p.c[i*p.ldc:]
	if whole > n0 && k > 0 {
		multiplyRow(whole-n0, k, a, p.b[n0:], p.ldb, c[n0:], p.acc)
	}
	if whole > n0 && k < p.k {
		multiply(1, whole-n0, p.k-k, a[k:], 0, 1, 0, p.b[k*p.ldb+n0:], p.ldb, c[n0:], p.ldc, p.acc || k > 0)
	}
	if whole < n1 {
		multiply(1, n1-whole, p.k, a, 0, 1, 0, p.b[whole:], p.ldb, c[whole:], p.ldc, p.acc)
	}
}

// Multiples that multiplyNT works in.
const (
	ntColumns = 16 // of C
	ntSteps   = 4  // of K
)

// ntFew is up to how many rows a B that lies transposed is always transposed in registers.
const ntFew = 2

// fewForNT says whether to transpose B in registers for so many rows. They read a line of B in four steps, and between those lines of 15 more rows,
// which drive it out of the first cache where the distance of rows puts all of them in the same places.
func (p *product) fewForNT(rows int) bool {
	return rows <= min(active.gemm.nt, ntFew) || rows <= active.gemm.nt && p.ldb%512 != 0
}

// inRegisters serves few rows by a B that lies transposed (the vocabulary's head in decoding): to transpose it into memory first costs more than
// to multiply. What is not a whole multiple is left to panels.
func (p *product) inRegisters(m0, m1, n0, n1 int) {
	whole, k := n1-(n1-n0)%ntColumns, p.k/ntSteps*ntSteps
	if whole > n0 && k > 0 {
		multiplyNT(m1-m0, whole-n0, k, p.a[m0*p.lda:], p.lda, p.b[n0*p.ldb:], p.ldb, p.c[m0*p.ldc+n0:], p.ldc, p.acc)
	}
	p.blocks(m0, m1, n0, whole, k)
	p.blocks(m0, m1, whole, n1, 0)
}

// block adds the products of one K block to C[m0:m1][n0:n1].
func (p *product) block(buf *buffers, m0, m1, n0, n1, k0, k1 int) {
	kb := k1 - k0
	a, rsa, csa, ats := p.blockOfA(buf, m0, m1, k0, kb, n1-n0)
	for j := n0; j < n1; j += panel {
		width := min(panel, n1-j)
		if p.form == formNT {
			Transpose(width, kb, p.b[j*p.ldb+k0:], p.ldb, buf.b[:], panel)
		} else {
			packRows(kb, width, p.b[k0*p.ldb+j:], p.ldb, buf.b[:])
		}
		multiply(m1-m0, width, kb, a, rsa, csa, ats, buf.b[:], panel, p.c[m0*p.ldc+j:], p.ldc, p.acc || k0 > 0)
	}
}

// blockOfA returns A[m0:m1][k0:k0+kb] with the distances between rows, columns and tiles: packed where it is used often enough.
func (p *product) blockOfA(buf *buffers, m0, m1, k0, kb, cols int) (a []float32, rsa, csa, ats int) {
	rows := active.gemm.rows
	switch {
	case p.form == formTN && cols < packA:
		return p.a[k0*p.lda+m0:], 1, p.lda, rows
	case p.form == formTN:
		p.slicesOfA(buf, m0, m1, k0, kb)
		return buf.a[:], 1, rows, rows*kb + padA
	case cols < packA || m1-m0 <= rows:
		return p.a[m0*p.lda+k0:], p.lda, 1, rows * p.lda
	}
	ld := kb + padA
	for i := m0; i < m1; i++ {
		copy(buf.a[(i-m0)*ld:(i-m0)*ld+kb], p.a[i*p.lda+k0:])
	}
	return buf.a[:], ld, 1, rows * ld
}

// slicesOfA packs a transposed A as slices [kb][rows] with padA floats between them, rows being those of a tile.
func (p *product) slicesOfA(buf *buffers, m0, m1, k0, kb int) {
	rows := active.gemm.rows
	for q := range kb {
		src := p.a[(k0+q)*p.lda+m0 : (k0+q)*p.lda+m1]
		dst := buf.a[q*rows:]
		for ; len(src) >= rows; src = src[rows:] {
			if rows == 8 {
				*(*[8]float32)(dst) = [8]float32(src)
			} else {
				*(*[4]float32)(dst) = [4]float32(src)
			}
			dst = dst[min(rows*kb+padA, len(dst)):]
		}
		copy(dst, src)
	}
}

// packRows copies k rows of src to rows of a panel.
func packRows(k, width int, src []float32, lds int, dst []float32) {
	if width == panel && packWhole(k, src, lds, dst) {
		return
	}
	for q := range k {
		copy(dst[q*panel:q*panel+width], src[q*lds:])
	}
}

// Small computes C[m][n] = A B, or C += A B when acc is set, in this goroutine and without packing; A's element (i, q) is a[i*rsa+q*csa]. It
// is meant for the blocks of attention and right for any size, with the same bytes as GemmNN.
func Small(m, n, k int, a []float32, rsa, csa int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	if m <= 0 || n <= 0 {
		return
	}
	if k > 0 {
		checkMatrix("B", k, n, b, ldb)
		if need := (m-1)*rsa + (k-1)*csa + 1; len(a) < need {
			panic(fmt.Sprintf("kernel: A of %d x %d reaches %d elements of %d", m, k, need, len(a)))
		}
	}
	checkMatrix("C", m, n, c, ldc)
	multiply(m, n, max(k, 0), a, rsa, csa, active.gemm.rows*rsa, b, ldb, c, ldc, acc)
}
