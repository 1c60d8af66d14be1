package token

import (
	"container/heap"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"sync/atomic"
)

// bpe is byte-level byte-pair encoding. Pieces of the text begin as single bytes; as long as there is a pair of neighbours in the list
// of merges, the one that stands first in the list (of several equal ones the leftmost) is replaced by the merged token.
type bpe struct {
	vocab
	byteID       [256]int32       // -1 where the vocabulary lacks the byte: it is left out, as the reference implementations do, or becomes unk
	unkByte      int32            // what a byte outside the vocabulary becomes, -1: nothing
	fuseUnk      bool             // neighbouring unknown bytes become one unk
	merges       map[uint64]merge // pair of ids -> what it becomes
	ignoreMerges bool             // a piece that is a token is taken whole, even if no merges lead to it
	norms        []normaliser
	splits       []splitter
	chars        *charMode // nil: the vocabulary is one of bytes
	prefixSpace  bool      // a space goes before every stretch of text that does not begin with one
	begin, end   []int32
	cache        cache
}

type merge struct{ rank, id int32 }

func pair(a, b int32) uint64 { return uint64(uint32(a))<<32 | uint64(uint32(b)) }

func (t *bpe) SpecialDefault() bool { return true }

func (t *bpe) Encode(text string, o EncodeOptions) []int32 {
	e := encoder{t: t, special: o.Special, joined: o.Joined, ids: make([]int32, 0, len(text)/3+8)}
	e.encode(text, o.AddSpecial)
	return e.ids
}

func (t *bpe) EncodeOffsets(text string, o EncodeOptions) ([]int32, [][2]int) {
	e := encoder{t: t, special: o.Special, joined: o.Joined, offsets: true, spans: []span{}}
	e.encode(text, o.AddSpecial)
	out := make([][2]int, len(e.spans))
	for i, sp := range e.spans {
		out[i] = [2]int{sp.from, sp.to}
	}
	return e.ids, out
}

// span is a range of bytes, [from, to).
type span struct{ from, to int }

// encoder is the state of one call.
type encoder struct {
	t       *bpe
	special bool
	joined  bool
	offsets bool
	ids     []int32
	spans   []span
	base    int    // of the stretch, in the text
	a, b    []span // pieces before and after a splitter
}

func (e *encoder) encode(text string, addSpecial bool) {
	if addSpecial {
		e.fixed(e.t.begin, 0)
	}
	at := 0
	for look := 0; ; {
		a, sp, next := e.t.added.next(text, look, at, e.special)
		if a == nil {
			break
		}
		e.stretch(text[at:max(at, sp.from)], at)
		e.put(a.id, sp)
		at, look = sp.to, next
	}
	e.stretch(text[at:], at)
	if addSpecial {
		e.fixed(e.t.end, len(text))
	}
	last := 0
	for i := range e.spans { // tokens within the white space that another has stripped have no bytes of their own
		sp := &e.spans[i]
		sp.from = max(sp.from, last)
		sp.to = max(sp.to, sp.from)
		last = sp.to
	}
}

func (e *encoder) fixed(ids []int32, at int) {
	for _, id := range ids {
		e.put(id, span{at, at})
	}
}

func (e *encoder) put(id int32, sp span) {
	e.ids = append(e.ids, id)
	if e.offsets {
		e.spans = append(e.spans, sp)
	}
}

// stretch encodes text between added tokens; it begins at byte base of the whole.
func (e *encoder) stretch(s string, base int) {
	if s == "" {
		return
	}
	first := len(e.spans)
	e.base = base
	s, at := normalised(s, e.t.norms, e.joined && base == 0)
	if m := e.t.addedN; m != nil {
		from := 0
		for look := 0; ; {
			a, sp, next := m.next(s, look, from, e.special)
			if a == nil {
				break
			}
			e.words(s[from:max(from, sp.from)], from)
			e.put(a.id, sp)
			from, look = sp.to, next
		}
		e.words(s[from:], from)
	} else {
		e.words(s, 0)
	}
	for i := first; i < len(e.spans); i++ { // from offsets in the normalised stretch to those in the text
		sp := &e.spans[i]
		if at != nil {
			sp.from, sp.to = at[sp.from], at[sp.to]
		}
		sp.from, sp.to = sp.from+base, sp.to+base
	}
}

func (e *encoder) words(s string, base int) {
	if s == "" {
		return
	}
	first, start := len(e.spans), base
	var at []int // offsets before the rewriting; nil: there was none
	joined := e.joined && e.base+base == 0
	if c := e.t.chars; c != nil && c.rewrite {
		s, at = marked(s, !joined && c.prefix.before(s, e.base+base == 0))
	} else if e.t.prefixSpace && !joined && s[0] != ' ' {
		s, base = " "+s, base-1
	}
	pieces := append(e.a[:0], span{0, len(s)})
	spare := e.b
	for _, split := range e.t.splits {
		spare = spare[:0]
		for _, p := range pieces {
			spare = split(s, p, spare)
		}
		pieces, spare = spare, pieces
	}
	e.a, e.b = pieces, spare
	for _, p := range pieces {
		n := len(e.ids)
		e.ids = e.t.piece(e.ids, s[p.from:p.to])
		if e.offsets {
			e.place(n, p, s)
		}
	}
	for i := first; i < len(e.spans); i++ {
		if at != nil {
			e.spans[i] = span{at[e.spans[i].from], at[e.spans[i].to]}
		}
		e.spans[i].from, e.spans[i].to = max(start, e.spans[i].from+base), max(start, e.spans[i].to+base)
	}
}

// place gives the ids from n on their bytes within a piece. Bytes that no token stands for go to the token before them.
func (e *encoder) place(n int, p span, s string) {
	at := p.from
	for _, id := range e.ids[n:] {
		to := min(at+e.t.sizeOf(id, s[at:p.to]), p.to)
		e.spans = append(e.spans, span{at, to})
		at = to
	}
	if n < len(e.ids) {
		e.spans[len(e.spans)-1].to = p.to
	}
}

// piece appends the ids of one piece.
func (t *bpe) piece(ids []int32, s string) []int32 {
	if len(s) > maxCached {
		return t.merge(ids, s)
	}
	slot := t.cache.slot(s)
	if e := slot.Load(); e != nil && e.piece == s {
		return append(ids, e.ids...)
	}
	n := len(ids)
	ids = t.merge(ids, s)
	slot.Store(&cached{strings.Clone(s), append([]int32(nil), ids[n:]...)})
	return ids
}

// cache remembers the ids of short pieces. A slot holds the piece that came last; readers never wait.
type cache struct {
	seed  maphash.Seed
	slots []atomic.Pointer[cached]
}

type cached struct {
	piece string
	ids   []int32
}

const (
	maxCached  = 128 // bytes
	cacheSlots = 1 << 15
)

func newCache() cache {
	return cache{maphash.MakeSeed(), make([]atomic.Pointer[cached], cacheSlots)}
}

func (c *cache) slot(s string) *atomic.Pointer[cached] {
	return &c.slots[maphash.String(c.seed, s)%cacheSlots]
}

// node is a token of a piece while it is merged: a list linked both ways, -1 at its ends.
type node struct {
	id         int32
	prev, next int32
}

// candidate is a merge of the node at pos with its successor. It is out of date once one of the two has changed.
type candidate struct {
	rank, pos int32
	pair      uint64
	id        int32
}

type candidates []candidate

func (h candidates) Len() int { return len(h) }
func (h candidates) Less(i, j int) bool {
	return h[i].rank < h[j].rank || h[i].rank == h[j].rank && h[i].pos < h[j].pos
}
func (h candidates) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *candidates) Push(x any)   { *h = append(*h, x.(candidate)) }
func (h *candidates) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// work is scratch space of merge.
type work struct {
	nodes []node
	ids   []int32
	ranks []merge
	heap  candidates
}

var workPool = sync.Pool{New: func() any { return new(work) }}

func (t *bpe) merge(ids []int32, s string) []int32 {
	if t.ignoreMerges {
		if id, ok := t.plain[s]; ok {
			return append(ids, id)
		}
	}
	w := workPool.Get().(*work)
	defer workPool.Put(w)
	if t.chars != nil {
		w.ids = t.chars.symbols(w.ids[:0], s)
	} else {
		w.ids = t.symbols(w.ids[:0], s)
	}
	switch {
	case len(w.ids) < 2:
	case len(w.ids) <= 64:
		t.mergeShort(w)
	default:
		t.mergeLong(w)
	}
	if t.chars != nil {
		return t.expand(ids, w.ids)
	}
	return append(ids, w.ids...)
}

// symbols appends the ids of the single bytes of s.
func (t *bpe) symbols(ids []int32, s string) []int32 {
	fused := false
	for i := range len(s) {
		id := t.byteID[s[i]]
		if id < 0 {
			if t.unkByte >= 0 && !(fused && t.fuseUnk) {
				ids = append(ids, t.unkByte)
			}
			fused = true
			continue
		}
		fused = false
		ids = append(ids, id)
	}
	return ids
}

const noRank = 1<<31 - 1

// gone is the id of a node that was merged into the one before it.
const gone = -1

func (t *bpe) look(a, b int32) merge {
	if m, ok := t.merges[pair(a, b)]; ok {
		return m
	}
	return merge{rank: noRank}
}

// mergeShort looks through all pairs for each merge: quadratic, and the fastest for words.
func (t *bpe) mergeShort(w *work) {
	ids := w.ids
	ranks := w.ranks[:0] // [i]: merge of ids[i] and ids[i+1]
	for i := range len(ids) - 1 {
		ranks = append(ranks, t.look(ids[i], ids[i+1]))
	}
	for {
		best := merge{rank: noRank}
		at := 0
		for i, m := range ranks {
			if m.rank < best.rank {
				best, at = m, i
			}
		}
		if best.rank == noRank {
			break
		}
		ids[at] = best.id
		ids = append(ids[:at+1], ids[at+2:]...)
		ranks = append(ranks[:at], ranks[at+1:]...)
		if at > 0 {
			ranks[at-1] = t.look(ids[at-1], ids[at])
		}
		if at < len(ranks) {
			ranks[at] = t.look(ids[at], ids[at+1])
		}
	}
	w.ids, w.ranks = ids, ranks
}

// mergeLong keeps the candidates in a heap: n log n, for a page without a blank.
func (t *bpe) mergeLong(w *work) {
	n := int32(len(w.ids))
	nodes, h := w.nodes[:0], w.heap[:0]
	for i, id := range w.ids {
		nodes = append(nodes, node{id, int32(i) - 1, int32(i) + 1})
	}
	nodes[n-1].next = -1
	candidateAt := func(i int32) (candidate, bool) {
		if i < 0 || nodes[i].next < 0 {
			return candidate{}, false
		}
		p := pair(nodes[i].id, nodes[nodes[i].next].id)
		m, ok := t.merges[p]
		return candidate{m.rank, i, p, m.id}, ok
	}
	for i := range n {
		if c, ok := candidateAt(i); ok {
			h = append(h, c)
		}
	}
	heap.Init(&h)
	for len(h) > 0 {
		c := heap.Pop(&h).(candidate)
		left := &nodes[c.pos]
		if left.id == gone || left.next < 0 || pair(left.id, nodes[left.next].id) != c.pair {
			continue
		}
		right := &nodes[left.next]
		left.id, left.next, right.id = c.id, right.next, gone
		if left.next >= 0 {
			nodes[left.next].prev = c.pos
		}
		for _, i := range [2]int32{left.prev, c.pos} {
			if next, ok := candidateAt(i); ok {
				heap.Push(&h, next)
			}
		}
	}
	w.ids = w.ids[:0]
	for i := int32(0); i >= 0; i = nodes[i].next {
		w.ids = append(w.ids, nodes[i].id)
	}
	w.nodes, w.heap = nodes, h
}

// reserve makes room for the ids of a vocabulary.
func (t *bpe) reserve(tokens map[string]int32) error {
	limit, size := maxID(len(tokens)), 0
	for text, id := range tokens {
		if id < 0 || int(id) > limit {
			return fmt.Errorf("vocab: token %s has id %d, far outside a vocabulary of %d", quote(text), id, len(tokens))
		}
		size = max(size, int(id)+1)
	}
	t.setSize(size)
	return nil
}

// setVocab enters the ordinary tokens of a vocabulary of bytes (as vocabularies write them) and the merges.
func (t *bpe) setVocab(tokens map[string]int32, pairs [][2]string) error {
	if err := t.reserve(tokens); err != nil {
		return err
	}
	t.plain = make(map[string]int32, len(tokens))
	for text, id := range tokens {
		if t.bytes[id] != nil {
			return fmt.Errorf("vocab: id %d belongs to two tokens, one of them %s", id, quote(text))
		}
		b, ok := fromByteLevel(text)
		if !ok {
			t.bytes[id] = []byte(text) // only an added token can stand for it
			continue
		}
		t.bytes[id] = b
		t.plain[string(b)] = id
	}
	for b := range t.byteID {
		t.byteID[b] = -1
		if id, ok := t.plain[string([]byte{byte(b)})]; ok {
			t.byteID[b] = id
		}
	}
	t.cache = newCache()
	return t.setMerges(tokens, pairs)
}

// setMerges enters the merges, which are checked against the vocabulary.
func (t *bpe) setMerges(tokens map[string]int32, pairs [][2]string) error {
	t.merges = make(map[uint64]merge, len(pairs))
	for i, p := range pairs {
		a, okA := tokens[p[0]]
		b, okB := tokens[p[1]]
		id, ok := tokens[p[0]+p[1]]
		if !okA || !okB || !ok {
			return fmt.Errorf("merges[%d]: %s + %s: the parts or the result are not in the vocabulary; the two do not belong together", i, quote(p[0]), quote(p[1]))
		}
		t.merges[pair(a, b)] = merge{int32(i), id}
	}
	return nil
}
