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
