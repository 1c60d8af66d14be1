package tensor

import (
	"fmt"

	"github.com/hone-lm/hone/tensor/internal/kernel"
)

// KV is a paged cache of keys and values for decoding: each page holds PageTokens positions of every layer and key head. Pages lie in memory of their own, so that the cache grows without moving any.
type KV struct {
	Layers, KVHeads, HeadDim, Pages int

	data [][]float32 // of each page [layer][key head]: keys [HeadDim][32], then values [32][HeadDim]
}

// NewKV returns a cache of the given number of pages.
func NewKV(layers, kvHeads, headDim, pages int) *KV {
	c := &KV{Layers: layers, KVHeads: kvHeads, HeadDim: headDim}
	c.Grow(pages)
	return c
}

// Grow adds n pages behind those that are there.
func (c *KV) Grow(n int) {
	for range n {
		c.data = append(c.data, make([]float32, c.PageBytes()/4))
	}
	c.Pages += n
}

// PageBytes returns the size of one page: 4 * 2 * PageTokens * layers * kvHeads * headDim.
func (c *KV) PageBytes() int64 { return 4 * int64(c.Layers*c.KVHeads) * int64(2*PageTokens*c.HeadDim) }

// Bytes returns the size of the cache.
func (c *KV) Bytes() int64 { return int64(c.Pages) * c.PageBytes() }

// page returns one layer of a page, n key heads from kvHead on.
func (c *KV) page(number, layer, kvHead, n int) []float32 {
	size := 2 * PageTokens * c.HeadDim
	at := (layer*c.KVHeads + kvHead) * size
	return c.data[number][at : at+n*size]
}

// CopyPage copies page src to page dst in all layers: a sample that continues a shared prompt gets a copy of its last, partly filled page.
func (c *KV) CopyPage(dst, src int) { copy(c.data[dst], c.data[src]) }

// CachedRow is one token in a step of decoding or prefill: its position in its document and the document's pages, which reach at least to that position.
type CachedRow struct {
	Pages []int32
	Pos   int32
}

// AttentionCached puts the keys and values of every row into the row's page slot of the layer, then lets each row attend to positions 0 to Pos of its pages. It has no gradient.
// q [n][heads*headDim], k and v [n][kvHeads*headDim]. A row's result has the bytes that Attention gives for the same document. Consecutive rows with the same Pages slice are worked on together.
func (t *Tape) AttentionCached(q, k, v *Tensor, kv *KV, layer int, rows []CachedRow, heads, kvHeads, headDim int, scale float32) *Tensor {
	sh := newAttnShape("AttentionCached", q, k, v, heads, kvHeads, headDim, scale)
	if kv.KVHeads != kvHeads || kv.HeadDim != headDim || layer < 0 || layer >= kv.Layers || len(rows) != q.Rows {
		panic(fmt.Sprintf("tensor: AttentionCached: layer %d, %d rows, %d key heads of %d; the cache has %d layers, %d key heads of %d, and q has %d rows",
			layer, len(rows), kvHeads, headDim, kv.Layers, kv.KVHeads, kv.HeadDim, q.Rows))
	}
	t.lists.cached(rows, sh, kv.Pages)
	out := t.New(q.Rows, q.Cols)
	if t.mem.dry {
		return out
	}
	j := &t.attn
	j.set(sh, &t.lists, nil, kv.Pages, q.Rows)
	j.cache, j.layer = kv, layer
	j.q, j.k, j.v, j.out, j.lse = q.Data, k.Data, v.Data, out.Data, nil
	j.run(q.Rows*sh.kvStride*4, putRows)
	j.run(j.work(), attend)
	return out
}

// cached groups consecutive rows that share their pages.
func (l *attnLists) cached(rows []CachedRow, sh attnShape, pages int) {
	l.reset()
	for lo := 0; lo < len(rows); {
		list, need := rows[lo].Pages, int32(0)
		hi := lo
		for hi < len(rows) && samePages(rows[hi].Pages, list) {
			need = max(need, rows[hi].Pos/PageTokens+1)
			if rows[hi].Pos < 0 || int(need) > len(list) {
				panic(fmt.Sprintf("tensor: AttentionCached: row %d at position %d has %d pages", hi, rows[hi].Pos, len(list)))
			}
			hi++
		}
		s := attnSeg{lo: lo, hi: hi, page: len(l.pages), pages: int(need), lens: len(l.lens)}
		for _, p := range list[:need] {
			if p < 0 || int(p) >= pages {
				panic(fmt.Sprintf("tensor: AttentionCached: row %d names page %d of %d", lo, p, pages))
			}
			l.pages = append(l.pages, int(p))
		}
		for r := lo; r < hi; r++ {
			l.lens = append(l.lens, rows[r].Pos+1)
			l.keys += int(rows[r].Pos) + 1
		}
		l.segs = append(l.segs, s)
		if hi-lo == 1 {
			l.addToken(len(l.segs)-1, sh)
		} else {
			l.addItems(len(l.segs)-1, sh.kvHeads, attnRows)
		}
		lo = hi
	}
}

// tokenHeads is how many query heads of a single row one unit of work takes at least, if there are so many: the lanes of the kernel.
const tokenHeads = 4

// addToken adds the work of a segment of one row.
func (l *attnLists) addToken(seg int, sh attnShape) {
	step := (tokenHeads + sh.group - 1) / sh.group
	for kv := 0; kv < sh.kvHeads; kv += step {
		l.items = append(l.items, attnItem{seg: seg, kv: kv, kvs: min(step, sh.kvHeads-kv), lo: l.segs[seg].lo, hi: l.segs[seg].hi})
	}
}

func samePages(a, b []int32) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// putRows writes the item's keys and values into the cache.
func putRows(j *attnJob, _ *attnScratch, it attnItem) {
	s := j.segs[it.seg]
	for r := it.lo; r < it.hi; r++ {
		pos := int(j.lens[s.lens+r-s.lo]) - 1
		for kv := it.kv; kv < it.kv+it.kvs; kv++ {
			page, from := j.pageOf(kv, j.attnLists.pages[s.page+pos/PageTokens]), r*j.kvStride+kv*j.headDim
			kernel.PutK(page, pos%PageTokens, j.headDim, j.k[from:from+j.headDim])
			kernel.PutV(page, pos%PageTokens, j.headDim, j.v[from:from+j.headDim])
		}
	}
}
