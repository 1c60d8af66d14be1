package kernel

import (
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/tensor/internal/par"
)

func random(key uint64, n int) []float32 {
	k := rng.New(key, "kernel test")
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(k.Normal(uint64(i)))
	}
	return x
}

type gemmFunc = func(m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool)

type gemmForm struct {
	name   string
	f      gemmFunc
	ta, tb bool
}

var forms = []gemmForm{{"NN", GemmNN, false, false}, {"NT", GemmNT, false, true}, {"TN", GemmTN, true, false}}

// smallNN and smallTN give Small the form of a product.
func smallNN(m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	Small(m, n, k, a, lda, 1, b, ldb, c, ldc, acc)
}

func smallTN(m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	Small(m, n, k, a, 1, lda, b, ldb, c, ldc, acc)
}

// operands are matrices with gaps between the rows; the slices end with the last element.
type operands struct {
	m, n, k       int
	ta, tb        bool
	a, b, c       []float32
	lda, ldb, ldc int
}

func makeOperands(m, n, k int, ta, tb bool, gap int) operands {
	ar, ac, br, bc := m, k, k, n
	if ta {
		ar, ac = k, m
	}
	if tb {
		br, bc = n, k
	}
	o := operands{m: m, n: n, k: k, ta: ta, tb: tb, lda: ac + gap, ldb: bc + gap, ldc: n + gap}
	o.a = random(1, max(0, (ar-1)*o.lda+ac))
	o.b = random(2, max(0, (br-1)*o.ldb+bc))
	o.c = random(3, (m-1)*o.ldc+n)
	return o
}

// run returns what f makes of a copy of C.
func (o operands) run(f gemmFunc, acc bool) []float32 {
	got := append([]float32(nil), o.c...)
	f(o.m, o.n, o.k, o.a, o.lda, o.b, o.ldb, got, o.ldc, acc)
	return got
}

// runRows is run in steps of some rows, which must not show.
func (o operands) runRows(f gemmFunc, step int) []float32 {
	got := append([]float32(nil), o.c...)
	for i := 0; i < o.m; i += step {
		a := o.a[min(i*o.lda, len(o.a)):]
		if o.ta {
			a = o.a[i:]
		}
		f(min(step, o.m-i), o.n, o.k, a, o.lda, o.b, o.ldb, got[i*o.ldc:], o.ldc, true)
	}
	return got
}

// worst is the largest error of got against float64, relative to the sum of absolute products; it is infinite if a gap of C changed.
func (o operands) worst(acc bool, got []float32) float64 {
	worst := 0.0
	for i, was := range o.c {
		if i%o.ldc >= o.n && got[i] != was {
			return math.Inf(1)
		}
	}
	for i := range o.m {
		for j := range o.n {
			sum, size := 0.0, 1e-30
			if acc {
				sum = float64(o.c[i*o.ldc+j])
				size += math.Abs(sum)
			}
			for q := range o.k {
				x, y := i*o.lda+q, q*o.ldb+j
				if o.ta {
					x = q*o.lda + i
				}
				if o.tb {
					y = j*o.ldb + q
				}
				p := float64(o.a[x]) * float64(o.b[y])
				sum += p
				size += math.Abs(p)
			}
			if e := math.Abs(sum-float64(got[i*o.ldc+j])) / size; !(e <= worst) {
				worst = e // a NaN too
			}
		}
	}
	return worst
}

const tolerance = 2e-6 // for chains of some hundred steps, relative to the sum of absolute products

// gemmShapes are m, n, k around the edges of tiles, panels and blocks.
func gemmShapes() [][3]int {
	shapes := [][3]int{{2, 3, 0}, {1, 1, 1}, {8, 48, 256}, {16, 96, 257}, {530, 500, 70}, {9, 1000, 33}, {65, 100, 513}, {513, 49, 17}}
	sizes := []int{1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 47, 48, 49, 63, 65, 97, 257}
	each := 6
	if testing.Short() {
		each = 1
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, m := range sizes {
		for range each {
			shapes = append(shapes, [3]int{m, sizes[r.IntN(len(sizes))], sizes[r.IntN(len(sizes))]})
		}
	}
	return shapes
}

// eachLevel runs f with every implementation that this machine and build have.
func eachLevel(t *testing.T, f func(t *testing.T)) {
	for _, level := range Levels() {
		t.Run(level, func(t *testing.T) {
			restore, ok := ForceLevel(level)
			if !ok {
				t.Fatal("level is listed but cannot be forced")
			}
			defer restore()
			f(t)
		})
	}
}

func TestGemmAgainstFloat64(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, form := range forms {
			for i, s := range gemmShapes() {
				o := makeOperands(s[0], s[1], s[2], form.ta, form.tb, i%4)
				acc := i%2 == 1
				if w := o.worst(acc, o.run(form.f, acc)); !(w <= tolerance) {
					t.Errorf("%s %v acc %v: relative error %g", form.name, s, acc, w)
				}
				if form.tb {
					continue
				}
				small := smallNN
				if form.ta {
					small = smallTN
				}
				if !equal(o.run(small, acc), o.run(form.f, acc)) {
					t.Errorf("%s %v: Small has other bytes", form.name, s)
				}
			}
		}
	})
}

// The comparison above must see a wrong element, a skipped step of K, a C that was not loaded, and a write between rows.
func TestGemmCheckSeesFaults(t *testing.T) {
	o := makeOperands(9, 50, 31, false, false, 2)
	short, fresh := o, o
	short.k--
	faults := map[string][]float32{"element": o.run(GemmNN, true), "short": short.run(GemmNN, true), "fresh": fresh.run(GemmNN, false), "gap": o.run(GemmNN, true)}
	faults["element"][len(o.c)-1] += 0.001
	faults["gap"][o.n] = 0
	for name, got := range faults {
		if w := o.worst(true, got); w <= tolerance {
			t.Errorf("fault %q passed with %g", name, w)
		}
	}
}

// A row's bytes depend neither on the rows beside it, nor on threads, nor on AVX2 against AVX-512.
func TestGemmBytes(t *testing.T) {
	shapes, steps := [][3]int{{105, 119, 301}, {5, 1999, 300}, {1030, 100, 259}}, []int{19, 3, 1}
	if testing.Short() {
		shapes, steps = shapes[:1], steps[:1]
	}
	for _, form := range forms {
		for _, s := range shapes {
			o := makeOperands(s[0], s[1], s[2], form.ta, form.tb, 1)
			old := runtime.GOMAXPROCS(1)
			best := o.run(form.f, true)
			eachLevel(t, func(t *testing.T) {
				runtime.GOMAXPROCS(1)
				one := o.run(form.f, true)
				if Level() != "go" && !equal(one, best) {
					t.Errorf("%s %v: differs from %s", form.name, s, Levels()[0])
				}
				for _, step := range steps {
					if !equal(o.runRows(form.f, step), one) {
						t.Errorf("%s %v: rows in steps of %d differ from the whole", form.name, s, step)
					}
				}
				for _, threads := range []int{2, 5} {
					runtime.GOMAXPROCS(threads)
					before := par.Sections()
					if !equal(o.run(form.f, true), one) {
						t.Errorf("%s %v: differs on %d threads", form.name, s, threads)
					}
					if par.Sections() == before {
						t.Errorf("%s %v: nothing ran in parallel", form.name, s)
					}
				}
				// The comparison must see the last bit of one element.
				one[len(one)/2] = math.Nextafter32(one[len(one)/2], 9)
				if equal(o.run(form.f, true), one) {
					t.Error("one wrong bit passed")
				}
			})
			runtime.GOMAXPROCS(old)
		}
	}
}

func equal(a, b []float32) bool {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

func TestTranspose(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, s := range [][2]int{{1, 1}, {8, 8}, {16, 16}, {17, 33}, {48, 100}, {100, 16}, {9, 65}, {24, 7}, {7, 24}, {40, 31}} {
			rows, cols := s[0], s[1]
			lds, ldd := cols+3, rows+2
			src, dst := random(4, (rows-1)*lds+cols), random(5, (cols-1)*ldd+rows)
			was := append([]float32(nil), dst...)
			Transpose(rows, cols, src, lds, dst, ldd)
			for at := range dst {
				want := was[at]
				if i, j := at%ldd, at/ldd; i < rows {
					want = src[i*lds+j]
				}
				if dst[at] != want {
					t.Fatalf("%v: element %d is %v, not %v", s, at, dst[at], want)
				}
			}
		}
	})
}

// A slice that is too short must stop a call before assembly reads beyond it.
func TestGemmRefusesShortSlices(t *testing.T) {
	refused := func(name string, f func()) {
		defer func() {
			if recover() == nil {
				t.Errorf("%s: no panic", name)
			}
		}()
		f()
	}
	x := make([]float32, 12)
	refused("A", func() { GemmNN(4, 3, 4, x, 4, x, 3, x, 3, false) })
	refused("B", func() { GemmNT(3, 4, 4, x, 4, x, 4, x, 4, false) })
	refused("C", func() { GemmTN(4, 4, 2, x, 4, x, 4, x, 4, false) })
	refused("rows overlap", func() { GemmNN(2, 4, 2, x, 2, x, 3, x, 4, false) })
	refused("Small", func() { Small(4, 3, 4, x, 4, 1, x, 3, x, 3, false) })
	refused("Transpose", func() { Transpose(4, 3, x, 3, x[1:], 4) })
}

func TestGemmAllocatesNothing(t *testing.T) {
	for _, threads := range []int{1, 2} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
		for _, form := range forms {
			o := makeOperands(100, 200, 300, form.ta, form.tb, 0)
			call := func() { form.f(o.m, o.n, o.k, o.a, o.lda, o.b, o.ldb, o.c, o.ldc, false) }
			for range 20 {
				call() // until every worker has its buffers
			}
			if n := testing.AllocsPerRun(50, call); n != 0 {
				t.Errorf("%s on %d threads: %v allocations", form.name, threads, n)
			}
		}
		o := makeOperands(5, 70, 30, false, false, 0)
		if n := testing.AllocsPerRun(50, func() { smallNN(o.m, o.n, o.k, o.a, o.lda, o.b, o.ldb, o.c, o.ldc, true) }); n != 0 {
			t.Errorf("Small: %v allocations", n)
		}
	}
}

func TestPeak(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		if got := PeakFMA(1); (got > 1) != (Level() != "go") {
			t.Errorf("%v GFLOP/s", got)
		}
	})
}

// A row alone has the bytes of the same row in a product of two, whatever is left over.
func TestGemmRowAlone(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for i, nk := range [][2]int{{16, 8}, {32, 16}, {47, 8}, {113, 23}, {15, 64}, {288, 7}, {100, 300}} {
			two, acc := makeOperands(2, nk[0], nk[1], false, false, i%3), i%2 == 0
			one := two
			one.m = 1
			one.c = two.c[:two.n]
			want := two.run(GemmNN, acc)[:two.n]
			if got := one.run(GemmNN, acc); !equal(got, want) {
				t.Errorf("%v: other bytes than beside another row", nk)
			}
			one.b[len(one.b)-1] += 1
			if equal(one.run(GemmNN, acc), want) {
				t.Errorf("%v: another B passed", nk)
			}
		}
	})
}

// Transposing B in registers gives the bytes of transposing it into panels, whatever is left over.
func TestGemmNTInRegisters(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		limit := &active.gemm.nt
		if *limit == 0 {
			t.Skip("no such instructions")
		}
		defer func(was int) { *limit = was }(*limit)
		for m := 1; m <= 20; m++ {
			for i, nk := range [][2]int{{16, 4}, {32, 8}, {48, 7}, {95, 260}, {113, 3}, {15, 64}, {33, 1029}} {
				o := makeOperands(m, nk[0], nk[1], false, true, (m+i)%3)
				acc := (m+i)%2 == 0
				*limit = 0
				want := o.run(GemmNT, acc)
				*limit = m
				if got := o.run(GemmNT, acc); !equal(got, want) {
					t.Errorf("%d x %v: other bytes than from panels", m, nk)
				}
				o.b[len(o.b)-1] += 1
				if equal(o.run(GemmNT, acc), want) {
					t.Errorf("%d x %v: another B passed", m, nk)
				}
			}
		}
	})
}
