package kernel

import (
	"os"
	"syscall"
	"testing"
	"unsafe"
)

// guarded returns a copy of x behind which, and before which, lies a page that must not be touched: atEnd says which side is flush.
func guarded(t *testing.T, x []float32, atEnd bool) []float32 {
	page := os.Getpagesize()
	size := (4*len(x) + page - 1) / page * page
	mem, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Skipf("mmap: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(mem) })
	for _, guard := range [][]byte{mem[:page], mem[page+size:]} {
		if err := syscall.Mprotect(guard, syscall.PROT_NONE); err != nil {
			t.Skipf("mprotect: %v", err)
		}
	}
	from := page
	if atEnd {
		from = page + size - 4*len(x)
	}
	y := unsafe.Slice((*float32)(unsafe.Pointer(&mem[from])), len(x))
	copy(y, x)
	return y
}

// Operands lie flush against pages that cannot be read or written, on either side.
func TestGemmStaysInBounds(t *testing.T) {
	for _, atEnd := range []bool{true, false} {
		eachLevel(t, func(t *testing.T) {
			for _, form := range append(forms[:len(forms):len(forms)], bf16Forms...) {
				for _, s := range [][3]int{{1, 1, 1}, {1, 193, 65}, {2, 130, 9}, {3, 127, 5}, {4, 97, 7}, {7, 47, 17}, {8, 48, 16}, {9, 49, 33}, {17, 33, 31}, {65, 65, 65}} {
					o := makeOperands(s[0], s[1], s[2], form.ta, form.tb, s[0]%3)
					want := o.run(form.f, true)
					got := guarded(t, o.c, atEnd)
					form.f(o.m, o.n, o.k, guarded(t, o.a, atEnd), o.lda, guarded(t, o.b, atEnd), o.ldb, got, o.ldc, true)
					if !equal(got, want) {
						t.Errorf("%s %v: other bytes beside a guard page", form.name, s)
					}
				}
			}
			for _, s := range [][2]int{{1, 1}, {16, 16}, {17, 31}, {24, 40}} {
				src, dst := guarded(t, random(6, s[0]*s[1]), atEnd), guarded(t, make([]float32, s[0]*s[1]), atEnd)
				Transpose(s[0], s[1], src, s[1], dst, s[0])
			}
		})
	}
}

func TestAttnTokenStaysInBounds(t *testing.T) {
	for _, atEnd := range []bool{true, false} {
		eachLevel(t, func(t *testing.T) {
			for _, c := range tokenCases() {
				want := c.byHead()
				c.q = guarded(t, c.q, atEnd)
				for j := range c.pages {
					c.pages[j] = guarded(t, c.pages[j], atEnd)
				}
				if got := guarded(t, make([]float32, len(want)), atEnd); !equal(c.run(new(AttnScratch), got), want) {
					t.Errorf("%d heads of %d: other bytes beside a guard page", c.heads, c.headDim)
				}
			}
		})
	}
}

// guardedQuant returns w with its blocks flush against such pages.
func guardedQuant(t *testing.T, w *Quant, atEnd bool) *Quant {
	words := unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(w.data))), len(w.data)/4)
	g := *w
	g.data = unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(guarded(t, words, atEnd)))), len(w.data))
	return &g
}

func TestGemmQuantStaysInBounds(t *testing.T) {
	for _, atEnd := range []bool{true, false} {
		eachLevel(t, func(t *testing.T) {
			for _, q := range quantFormats {
				for _, s := range [][3]int{{1, 1, 32}, {1, 130, 64}, {2, 47, 32}, {3, 80, 96}, {4, 65, 32}, {5, 17, 64}, {9, 33, 288}} {
					w, wide := randomQuant(8, q.f, s[1], s[2])
					g := guardedQuant(t, w, atEnd)
					for _, nt := range []bool{true, false} {
						n, k, plain, f := s[1], s[2], GemmNT, GemmQuantNT
						if !nt {
							n, k, plain, f = s[2], s[1], GemmNN, GemmQuantNN
						}
						a, c := random(1, s[0]*k), random(2, s[0]*n)
						got := guarded(t, c, atEnd)
						f(s[0], guarded(t, a, atEnd), k, g, got, n, true)
						plain(s[0], n, k, a, k, wide, s[2], c, n, true)
						if !equal(got, c) {
							t.Errorf("%s NT %v %v: other bytes beside a guard page", q.name, nt, s)
						}
					}
				}
			}
		})
	}
}
