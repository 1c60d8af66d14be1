package tensor

import (
	"runtime/debug"
	"sort"
)

// span is a range of the arena, in float32 values.
type span struct{ off, n int }

// arena hands out ranges of one slab. Ranges are laid out in a virtual space without end, best fit first, neighbours merged, so that a dry arena predicts the exact size of a real one.
// What does not fit into the slab yet is allocated aside; the slab grows to the peak as soon as the arena is idle, so a warm step allocates nothing.
type arena struct {
	slab  []float32
	free  []span // holes below top, by offset
	top   int    // everything from here on is free
	peak  int    // highest top so far
	dry   bool   // only measure
	spill int    // values allocated outside the slab since the last reset
}

// arenaAlign keeps every range on a cache line, which is also one AVX-512 register.
const arenaAlign = 16

func (a *arena) alloc(n int) span {
	n = max(arenaAlign, (n+arenaAlign-1)&^(arenaAlign-1))
	if a.top == 0 && a.peak > len(a.slab) && !a.dry {
		a.grow()
	}
	best := -1
	for i, f := range a.free {
		if f.n >= n && (best < 0 || f.n < a.free[best].n) {
			best = i
			if f.n == n {
				break
			}
		}
	}
	if best < 0 {
		s := span{a.top, n}
		a.top += n
		a.peak = max(a.peak, a.top)
		return s
	}
	s := span{a.free[best].off, n}
	if a.free[best].n == n {
		a.free = append(a.free[:best], a.free[best+1:]...)
	} else {
		a.free[best].off += n
		a.free[best].n -= n
	}
	return s
}

// grow makes the slab as large as the peak. A large old one goes first: beside the new one it would double what the process takes.
func (a *arena) grow() {
	if len(a.slab) > 1<<24 {
		a.slab = nil
		debug.FreeOSMemory()
	}
	a.slab = make([]float32, a.peak)
}

// slice returns the first n values of s; nil when dry. It must be called once for each alloc.
func (a *arena) slice(s span, n int) []float32 {
	if a.dry {
		return nil
	}
	if s.off+s.n <= len(a.slab) {
		return a.slab[s.off : s.off+n : s.off+n]
	}
	a.spill += s.n
	return make([]float32, n)
}

func (a *arena) release(s span) {
	if s.n == 0 {
		return
	}
	i := sort.Search(len(a.free), func(i int) bool { return a.free[i].off > s.off })
	if i > 0 && a.free[i-1].off+a.free[i-1].n == s.off { // merge with the hole before
		i--
		a.free[i].n += s.n
	} else {
		a.free = append(a.free, span{})
		copy(a.free[i+1:], a.free[i:])
		a.free[i] = s
	}
	if i+1 < len(a.free) && a.free[i].off+a.free[i].n == a.free[i+1].off { // and with the one after
		a.free[i].n += a.free[i+1].n
		a.free = append(a.free[:i+1], a.free[i+2:]...)
	}
	if last := a.free[len(a.free)-1]; last.off+last.n == a.top {
		a.top = last.off
		a.free = a.free[:len(a.free)-1]
	}
}

func (a *arena) reset() {
	a.free = a.free[:0]
	a.top, a.spill = 0, 0
}
