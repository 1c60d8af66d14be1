package local

import (
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/tensor"
)

// pages shares out the pages of one key-value cache and finds what earlier sequences left there. A page that is full is remembered under its
// tokens and the page before it, which stands for all tokens before them; so the remembered pages form a tree of prefixes. A row's keys and values
// have the same bytes whatever ran beside it, so a page found again holds what computing it again would give.
//
// A page is free, or held by running sequences, or idle: remembered and held by nobody. When memory runs out the page that has been idle for
// longest is forgotten. A sequence lets go of its last page first, so no page is forgotten before those that continue it.
type pages struct {
	kv    *tensor.KV // grows one page at a time up to limit
	limit int
	info  []page // of every page of kv
	free  []int32
	index map[pageKey]int32
	idle  struct {
		first, last int32 // the first has been idle for longest; nobody when there is none
		n           int
	}
	owed int // pages that running sequences have been promised and not taken yet
}

// pageKey says what a full page holds: its tokens, after those of the page before.
type pageKey struct {
	before int32 // nobody: the sequence begins here
	tokens [tensor.PageTokens]int32
}

type page struct {
	key        pageKey
	remembered bool // under key
	holders    int32
	prev, next int32 // neighbours among the idle
}

// nobody stands for no page.
const nobody = -1

func newPages(c *model.Config, limit int) *pages {
	s := &pages{kv: tensor.NewKV(c.Layers, c.KVHeads, c.HeadDim, 0), limit: limit, index: map[pageKey]int32{}}
	s.idle.first, s.idle.last = nobody, nobody
	return s
}

// pagesOf returns how many pages so many positions take.
func pagesOf(positions int) int { return (positions + tensor.PageTokens - 1) / tensor.PageTokens }

// spare is how many pages can be promised.
func (s *pages) spare() int { return s.limit - len(s.info) + len(s.free) + s.idle.n - s.owed }

// take returns a page that nobody knows, held once. The caller has been promised one.
func (s *pages) take() int32 {
	var n int32
	switch {
	case len(s.free) > 0:
		n = s.free[len(s.free)-1]
		s.free = s.free[:len(s.free)-1]
	case len(s.info) < s.limit:
		n = int32(len(s.info))
		s.kv.Grow(1)
		s.info = append(s.info, page{})
	default:
		n = s.idle.first
		s.wake(n)
		s.forgetPage(n)
	}
	s.info[n].holders = 1
	s.owed--
	return n
}

// find holds the page remembered under the key.
func (s *pages) find(key *pageKey) (int32, bool) {
	n, ok := s.index[*key]
	if ok {
		s.hold(n)
	}
	return n, ok
}

func (s *pages) hold(n int32) {
	if s.info[n].holders == 0 {
		s.wake(n)
	}
	s.info[n].holders++
}

// letGo gives a page up; when it was the last to hold it the page is idle, or free when it is not remembered.
func (s *pages) letGo(n int32) {
	p := &s.info[n]
	p.holders--
	switch {
	case p.holders > 0:
	case p.remembered:
		s.rest(n)
	default:
		s.free = append(s.free, n)
	}
}

// remember enters a page that is full and not remembered yet under the key. Where another page holds the same already that one is returned, held, and this one is let go.
func (s *pages) remember(n int32, key *pageKey) int32 {
	if other, ok := s.find(key); ok {
		s.letGo(n)
		return other
	}
	s.info[n].key, s.info[n].remembered = *key, true
	s.index[*key] = n
	return n
}

func (s *pages) forgetPage(n int32) {
	delete(s.index, s.info[n].key)
	s.info[n].remembered = false
}

// forget makes every page free: the weights have changed. Nothing may be held.
func (s *pages) forget() {
	clear(s.index)
	s.free = s.free[:0]
	for n := len(s.info) - 1; n >= 0; n-- {
		s.info[n] = page{}
		s.free = append(s.free, int32(n))
	}
	s.idle.first, s.idle.last, s.idle.n, s.owed = nobody, nobody, 0, 0
}

// rest puts a page behind all idle ones.
func (s *pages) rest(n int32) {
	p := &s.info[n]
	p.prev, p.next = s.idle.last, nobody
	if p.prev == nobody {
		s.idle.first = n
	} else {
		s.info[p.prev].next = n
	}
	s.idle.last = n
	s.idle.n++
}

// wake takes a page out of the idle ones.
func (s *pages) wake(n int32) {
	p := &s.info[n]
	if p.prev == nobody {
		s.idle.first = p.next
	} else {
		s.info[p.prev].next = p.next
	}
	if p.next == nobody {
		s.idle.last = p.prev
	} else {
		s.info[p.next].prev = p.prev
	}
	s.idle.n--
}
