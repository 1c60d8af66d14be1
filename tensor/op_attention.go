package tensor

import (
	"fmt"
	"sync/atomic"

	"github.com/hone-lm/hone/tensor/internal/kernel"
	"github.com/hone-lm/hone/tensor/internal/par"
)

// PageTokens is how many positions one page of keys and values holds. It is also the block of the attention recurrence, counted from the start of a document, which is what makes cached and packed attention agree to the bit.
const PageTokens = 32

// Doc is one document of a packed batch: rows From to To-1. Rows attend to the same document's rows up to themselves.
//
// A document may begin as an earlier one does (the answers to one prompt): its first Shared positions are then those of the latest document before it that shares nothing, its trunk, and are not repeated. Its rows are positions Shared, Shared+1 ... and give the bytes of the document written out.
type Doc struct{ From, To, Shared int }

// attnShape is what every part of an attention call needs to know.
type attnShape struct {
	heads, kvHeads, headDim, group int
	stride, kvStride               int // values in a row of q and of k
	page                           int // values in a page of one key head: keys [headDim][32], then values [32][headDim]
	scale                          float32
}

func newAttnShape(op string, q, k, v *Tensor, heads, kvHeads, headDim int, scale float32) attnShape {
	if kvHeads <= 0 || heads%kvHeads != 0 || headDim <= 0 {
		panic(fmt.Sprintf("tensor: %s: %d heads, %d key heads of %d", op, heads, kvHeads, headDim))
	}
	check(op, "q", q, -1, heads*headDim)
	check(op, "k", k, q.Rows, kvHeads*headDim)
	check(op, "v", v, q.Rows, kvHeads*headDim)
	return attnShape{heads, kvHeads, headDim, heads / kvHeads, heads * headDim, kvHeads * headDim, 2 * PageTokens * headDim, scale}
}

// attnSeg is a run of query rows that share their pages.
type attnSeg struct {
	lo, hi, page, pages, lens int
	shared, trunk             int // Doc.Shared, and the segment whose positions those are
}

// attnItem is one unit of work: rows lo to hi of a segment, for one key head, or for kvs of them where a segment of the cache has but one row.
type attnItem struct{ seg, kv, kvs, lo, hi int }

// attnLists are the work lists of one attention call, reused.
type attnLists struct {
	segs  []attnSeg
	items []attnItem
	pages []int   // numbers in the pool or the cache
	lens  []int32 // keys that a row sees
	keys  int     // their sum
}

func (l *attnLists) reset() {
	l.segs, l.items, l.pages, l.lens, l.keys = l.segs[:0], l.items[:0], l.pages[:0], l.lens[:0], 0
}

// attnRows is how many query rows of a document one unit of forward work takes.
const attnRows = 64

// addItems adds the work of a segment, cut at positions that are multiples of block.
func (l *attnLists) addItems(seg, kvHeads, block int) {
	s := l.segs[seg]
	for kv := range kvHeads {
		for lo := s.lo; lo < s.hi; {
			hi := min(s.hi, lo+block-(s.shared+lo-s.lo)%block)
			l.items = append(l.items, attnItem{seg, kv, 1, lo, hi})
			lo = hi
		}
	}
}

// addBlocks adds the forward work of packed documents.
func (l *attnLists) addBlocks(kvHeads int) {
	for i := range l.segs {
		l.addItems(i, kvHeads, attnRows)
	}
}

// addFamilies adds backward work: a document with all that share its beginning at a time, since dK and dV add the query rows in order. Rows are those of the trunk.
func (l *attnLists) addFamilies(kvHeads int) {
	for i, s := range l.segs {
		for kv := range kvHeads {
			if s.shared == 0 {
				l.items = append(l.items, attnItem{i, kv, 1, s.lo, s.hi})
			}
		}
	}
}

// family returns the segments of a trunk and of those that share its beginning.
func (l *attnLists) family(trunk int) []attnSeg {
	end := trunk + 1
	for end < len(l.segs) && l.segs[end].shared > 0 {
		end++
	}
	return l.segs[trunk:end]
}

// packed lays the documents into pages and returns the number of pages and of rows covered; the work is to be added. Full pages of a shared beginning are the trunk's; a document has a copy of the page in which it leaves the trunk.
func (l *attnLists) packed(docs []Doc, rows int) (pages, covered int) {
	l.reset()
	last, trunk := 0, -1
	for i, d := range docs {
		if d.From < last || d.To < d.From || d.To > rows {
			panic(fmt.Sprintf("tensor: Attention: document %d is [%d, %d) after row %d of %d: documents must be in order and inside the batch", i, d.From, d.To, last, rows))
		}
		last = d.To
		n := d.To - d.From
		if d.Shared == 0 {
			trunk = len(l.segs)
		}
		if n == 0 {
			continue
		}
		if d.Shared != 0 && (d.Shared < 0 || trunk < 0 || trunk == len(l.segs) || d.Shared > l.segs[trunk].hi-l.segs[trunk].lo) {
			panic(fmt.Sprintf("tensor: Attention: document %d shares %d positions: there is no document before it that shares nothing and has so many", i, d.Shared))
		}
		s := attnSeg{d.From, d.To, len(l.pages), (d.Shared + n + PageTokens - 1) / PageTokens, len(l.lens), d.Shared, trunk}
		full := d.Shared / PageTokens
		for j := range full {
			l.pages = append(l.pages, l.pages[l.segs[trunk].page+j])
		}
		for range s.pages - full {
			l.pages = append(l.pages, pages)
			pages++
		}
		for j := range n {
			l.lens = append(l.lens, int32(d.Shared+j+1))
		}
		l.segs = append(l.segs, s)
		l.keys += n*d.Shared + n*(n+1)/2
		covered += n
	}
	return pages, covered
}

// attnJob is the parallel section of attention: workers draw units of work, each with a scratch of its own.
type attnJob struct {
	attnShape
	*attnLists
	fn               func(j *attnJob, s *attnScratch, it attnItem)
	next             atomic.Int64
	scratch          []*attnScratch
	q, k, v, out     []float32
	dOut, dq, dk, dv []float32
	pool, dpool      []float32 // [key head][page]
	cache            *KV       // where the pages lie instead
	layer            int       // of the cache
	lse              []float32
	head             int // values of the pool for one key head
	rows             int
	fresh            bool // dk and dv are undefined yet
}

// attnScratch is the working space of one goroutine.
type attnScratch struct {
	kernel.AttnScratch
	pages, dpages [][]float32
}

// pageOf returns a page of one key head.
func (j *attnJob) pageOf(kv, number int) []float32 {
	if j.cache != nil {
		return j.cache.page(number, j.layer, kv, 1)
	}
	at := kv*j.head + number*j.page
	return j.pool[at : at+j.page]
}

// pagesOf lists the pages of a segment for one key head; dpagesOf where their gradients gather.
func (j *attnJob) pagesOf(scratch *attnScratch, s attnSeg, kv int) [][]float32 {
	scratch.pages = scratch.pages[:0]
	for _, n := range j.attnLists.pages[s.page : s.page+s.pages] {
		scratch.pages = append(scratch.pages, j.pageOf(kv, n))
	}
	return scratch.pages
}

func (j *attnJob) dpagesOf(scratch *attnScratch, s attnSeg, kv int) [][]float32 {
	scratch.dpages = scratch.dpages[:0]
	for _, n := range j.attnLists.pages[s.page : s.page+s.pages] {
		at := kv*j.head + n*j.page
		scratch.dpages = append(scratch.dpages, j.dpool[at:at+j.page])
	}
	return scratch.dpages
}

// Part draws units until none is left.
func (j *attnJob) Part(i int) {
	for {
		n := int(j.next.Add(1)) - 1
		if n >= len(j.items) {
			return
		}
		j.fn(j, j.scratch[i], j.items[n])
	}
}

// run works through the items; work is their cost, as for partWork.
func (j *attnJob) run(work int, fn func(j *attnJob, s *attnScratch, it attnItem)) {
	parts := min(par.Workers(), len(j.items), 1+work/partWork)
	for len(j.scratch) < parts {
		j.scratch = append(j.scratch, new(attnScratch))
	}
	j.fn = fn
	j.next.Store(0)
	par.Do(parts, j)
}

// Attention is causal grouped-query attention over packed documents: q [n][heads*headDim], k and v [n][kvHeads*headDim], scores multiplied by scale. Rows outside every document give zero. docs must stay unchanged until Backward.
func (t *Tape) Attention(q, k, v *Tensor, docs []Doc, heads, kvHeads, headDim int, scale float32) *Tensor {
	sh := newAttnShape("Attention", q, k, v, heads, kvHeads, headDim, scale)
	pages, covered := t.lists.packed(docs, q.Rows)
	t.lists.addBlocks(kvHeads)
	out := t.New(q.Rows, q.Cols)
	pool, poolSpan := t.scratch(pages * sh.page * kvHeads)
	lse, lseSpan := t.scratch(q.Rows * heads)
	pushed := t.push(node{back: attentionBack, out: out, x: q, y: k, z: v, docs: docs, pool: poolSpan, pools: pool, stat: lseSpan, stats: lse,
		heads: heads, kvHeads: kvHeads, headDim: headDim, scale: scale})
	if !t.mem.dry {
		if covered < q.Rows {
			t.zero(out.Data)
		}
		j := &t.attn
		j.set(sh, &t.lists, pool, pages, q.Rows)
		j.q, j.k, j.v, j.out, j.lse = q.Data, k.Data, v.Data, out.Data, lse
		j.run(q.Rows*sh.kvStride*2, fillPages)
		j.run(j.work(), attend)
	}
	if !pushed {
		t.mem.release(poolSpan)
		t.mem.release(lseSpan)
		return out
	}
	keepData(q)
	keepData(out)
	return out
}

func (j *attnJob) set(sh attnShape, l *attnLists, pool []float32, pages, rows int) {
	j.attnShape, j.attnLists, j.pool, j.head, j.rows, j.cache = sh, l, pool, pages*sh.page, rows, nil
}

// work estimates the cost of the scores and the weighted sums.
func (j *attnJob) work() int { return j.keys * j.stride / 4 }

// fillPages lays the keys and values of the item's rows into their pages, and in front of a document's first those of the trunk that stand in the same page. Items begin on a page's first row or on the first of their document: attnRows is a multiple of PageTokens.
func fillPages(j *attnJob, _ *attnScratch, it attnItem) {
	s := j.segs[it.seg]
	if n := s.shared % PageTokens; n > 0 && it.lo == s.lo {
		j.lay(s, it.kv, s.shared-n, j.segs[s.trunk].lo+s.shared-n, n)
	}
	for lo := it.lo; lo < it.hi; {
		pos := s.shared + lo - s.lo
		n := min(PageTokens-pos%PageTokens, it.hi-lo)
		j.lay(s, it.kv, pos, lo, n)
		lo += n
	}
}

// lay puts the keys and values of n rows from row on at positions from pos on, all in one page of the segment.
func (j *attnJob) lay(s attnSeg, kv, pos, row, n int) {
	page, slot := j.pageOf(kv, j.attnLists.pages[s.page+pos/PageTokens]), pos%PageTokens
	from := row*j.kvStride + kv*j.headDim
	kernel.Transpose(n, j.headDim, j.k[from:], j.kvStride, page[slot:], PageTokens)
	vals := page[(PageTokens+slot)*j.headDim:]
	for r := range n {
		copy(vals[r*j.headDim:(r+1)*j.headDim], j.v[from+r*j.kvStride:])
	}
}

// attend runs the kernel for the query heads of one key head.
func attend(j *attnJob, scratch *attnScratch, it attnItem) {
	s := j.segs[it.seg]
	if j.cache != nil && s.hi-s.lo == 1 {
		j.attendToken(scratch, it)
		return
	}
	pages := j.pagesOf(scratch, s, it.kv)
	first := it.kv * j.group
	lens := j.lens[s.lens+it.lo-s.lo : s.lens+it.hi-s.lo]
	for h := first; h < first+j.group; h++ {
		at := it.lo*j.stride + h*j.headDim
		kernel.AttnForward(&scratch.AttnScratch, it.hi-it.lo, j.q[at:], j.stride, lens, pages, j.headDim, j.scale, j.out[at:], j.stride, j.lseOf(h, it.lo, it.hi-it.lo))
	}
}

// attendToken runs the kernel for one token of the cache and the query heads of some key heads, whose pages lie side by side.
func (j *attnJob) attendToken(scratch *attnScratch, it attnItem) {
	s := j.segs[it.seg]
	scratch.pages = scratch.pages[:0]
	for _, n := range j.attnLists.pages[s.page : s.page+s.pages] {
		scratch.pages = append(scratch.pages, j.cache.page(n, j.layer, it.kv, it.kvs))
	}
	at := it.lo*j.stride + it.kv*j.group*j.headDim
	kernel.AttnToken(&scratch.AttnScratch, it.kvs*j.group, j.group, j.q[at:], int(j.lens[s.lens]), scratch.pages, j.headDim, j.scale, j.out[at:])
}

// lseOf returns where the log-sum-exp of n rows of a head goes: [head][row].
func (j *attnJob) lseOf(head, row, n int) []float32 {
	if j.lse == nil {
		return nil
	}
	return j.lse[head*j.rows+row : head*j.rows+row+n]
}

func attentionBack(t *Tape, n *node) {
	q, k, v := n.x, n.y, n.z
	sh := newAttnShape("Attention", q, q, q, n.heads, n.heads, n.headDim, n.scale)
	sh.kvHeads, sh.group, sh.kvStride = n.kvHeads, n.heads/n.kvHeads, n.kvHeads*n.headDim
	pages, covered := t.lists.packed(n.docs, q.Rows)
	t.lists.addFamilies(sh.kvHeads)
	size := pages * sh.page * sh.kvHeads
	dpool, poolSpan := t.scratch(size)
	t.zero(dpool)
	dq, dqSpan := t.gradOrScratch(q)
	dk, freshK, dkSpan := t.gradOrScratchRaw(k)
	dv, freshV, dvSpan := t.gradOrScratchRaw(v)
	if freshK != freshV || covered < q.Rows {
		t.clearIf(freshK, dk)
		t.clearIf(freshV, dv)
		freshK = false
	}
	if !t.mem.dry {
		j := &t.attn
		j.set(sh, &t.lists, n.pools, pages, q.Rows)
		j.q, j.out, j.dOut, j.lse = q.Data, n.out.Data, n.out.Grad, n.stats
		j.dq, j.dk, j.dv, j.dpool, j.fresh = dq, dk, dv, dpool, freshK
		j.run(3*j.work(), attendBack)
	}
	t.mem.release(poolSpan)
	t.mem.release(dqSpan)
	t.mem.release(dkSpan)
	t.mem.release(dvSpan)
}

func (t *Tape) clearIf(yes bool, x []float32) {
	if yes {
		t.zero(x)
	}
}

// gradOrScratch returns the gradient of x, or zeroed scratch (to be released) where none is wanted.
func (t *Tape) gradOrScratch(x *Tensor) ([]float32, span) {
	g, fresh, s := t.gradOrScratchRaw(x)
	t.clearIf(fresh, g)
	return g, s
}

func (t *Tape) gradOrScratchRaw(x *Tensor) (g []float32, fresh bool, s span) {
	if x.wants() {
		g, fresh = t.gradRaw(x)
		return g, fresh, span{}
	}
	g, s = t.scratch(x.Rows * x.Cols)
	return g, true, s
}

func attendBack(j *attnJob, scratch *attnScratch, it attnItem) {
	family := j.family(it.seg)
	for h := it.kv * j.group; h < (it.kv+1)*j.group; h++ {
		for _, s := range family {
			rows, at := s.hi-s.lo, s.lo*j.stride+h*j.headDim
			kernel.AttnBackward(&scratch.AttnScratch, rows, j.q[at:], j.stride, j.lens[s.lens:s.lens+rows], j.pagesOf(scratch, s, it.kv), j.headDim, j.scale, j.out[at:], j.dOut[at:], j.stride,
				j.lseOf(h, s.lo, rows), j.dq[at:], j.stride, j.dpagesOf(scratch, s, it.kv))
		}
	}
	for i := range family { // the trunk last: it takes what the others gathered in their copies of its page
		s := family[(i+1)%len(family)]
		dpages := j.dpagesOf(scratch, s, it.kv)
		for r := s.lo; r < s.hi; r++ {
			pos := s.shared + r - s.lo
			page := dpages[pos/PageTokens]
			slot := pos % PageTokens * j.headDim
			at := r*j.kvStride + it.kv*j.headDim
			j.put(j.dk[at:at+j.headDim], page[slot:slot+j.headDim])
			slot += PageTokens * j.headDim
			j.put(j.dv[at:at+j.headDim], page[slot:slot+j.headDim])
		}
		if n := s.shared % PageTokens; n > 0 {
			number := s.shared / PageTokens
			copied, half := dpages[number], PageTokens*j.headDim
			own := j.dpagesOf(scratch, family[0], it.kv)[number]
			kernel.AddTo(own[:n*j.headDim], copied[:n*j.headDim])
			kernel.AddTo(own[half:half+n*j.headDim], copied[half:half+n*j.headDim])
		}
	}
}

func (j *attnJob) put(dst, src []float32) {
	if j.fresh {
		copy(dst, src)
		return
	}
	kernel.AddTo(dst, src)
}
