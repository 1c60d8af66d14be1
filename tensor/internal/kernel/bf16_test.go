package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/hone-lm/hone/tensor/internal/par"
)

func packedNN(m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	var w BF16
	w.PackNN(n, k, b, ldb)
	GemmBF16(m, a, lda, &w, c, ldc, acc)
}

func packedNT(m, n, k int, a []float32, lda int, b []float32, ldb int, c []float32, ldc int, acc bool) {
	var w BF16
	w.PackNT(n, k, b, ldb)
	GemmBF16(m, a, lda, &w, c, ldc, acc)
}

var bf16Forms = []gemmForm{{"NN", GemmBF16NN, false, false}, {"NT", GemmBF16NT, false, true}, {"TN", GemmBF16TN, true, false}, {"packed NN", packedNN, false, false}, {"packed NT", packedNT, false, true}}

// plain computes the product element by element in the order that the package promises.
func (o operands) plain(acc bool) []float32 {
	got := append([]float32(nil), o.c...)
	at := func(x []float32, ld int, transposed bool, i, j int) float32 {
		if transposed {
			i, j = j, i
		}
		return x[i*ld+j]
	}
	for i := range o.m {
		for j := range o.n {
			sum := &got[i*o.ldc+j]
			if !acc {
				*sum = 0
			}
			for q := 0; q < o.k; q += 2 {
				var x, y [2]float32
				for h := range min(2, o.k-q) {
					x[h], y[h] = at(o.a, o.lda, o.ta, i, q+h), at(o.b, o.ldb, o.tb, q+h, j)
				}
				*sum = dotPair(*sum, pairOf(x[0], x[1]), pairOf(y[0], y[1]))
			}
		}
	}
	return got
}

// sameOrNaN compares bytes, but any NaN equals any other: which operand's NaN comes through is the instruction's business.
func sameOrNaN(a, b []float32) bool {
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) && (a[i] == a[i] || b[i] == b[i]) {
			return false
		}
	}
	return len(a) == len(b)
}

// Every form, packed or not, has the bytes of the plain loop, with every implementation.
func TestBF16AgainstPlain(t *testing.T) {
	shapes := gemmShapes()
	if testing.Short() {
		shapes = append(shapes[:4:4], [3]int{65, 50, 385}, [3]int{9, 49, 769})
	} else {
		shapes = append(shapes, [3]int{65, 50, 385}, [3]int{9, 49, 769})
	}
	for _, form := range bf16Forms {
		for i, s := range shapes {
			o := makeOperands(s[0], s[1], s[2], form.ta, form.tb, i%4)
			acc := i%2 == 1
			want := o.plain(acc)
			eachLevel(t, func(t *testing.T) {
				if Level() == "avx2" || Level() == "go" && s[0]*s[1]*s[2] > 1<<20 {
					return
				}
				got := o.run(form.f, acc)
				if !equal(got, want) {
					t.Fatalf("%s %v acc %v: bytes differ from the plain loop", form.name, s, acc)
				}
				got[len(got)/2] = math.Nextafter32(got[len(got)/2], 9) // the comparison must see the last bit
				if equal(got, want) {
					t.Error("one wrong bit passed")
				}
			})
		}
	}
}

// The plain loop itself: products of the rounded operands, to float32's rounding.
func TestBF16AgainstFloat64(t *testing.T) {
	o := makeOperands(33, 65, 97, false, false, 1)
	rounded := o
	rounded.a, rounded.b = append([]float32(nil), o.a...), append([]float32(nil), o.b...)
	for _, x := range [][]float32{rounded.a, rounded.b} {
		for i := range x {
			x[i] = math.Float32frombits(roundBF16Go(x[i]) << 16)
		}
	}
	got := o.run(GemmBF16NN, true)
	if w := rounded.worst(true, got); !(w <= tolerance) {
		t.Errorf("relative error %g against the rounded operands", w)
	}
	if w := o.worst(true, got); w < 1e-5 || w > 1e-2 {
		t.Errorf("relative error %g against the unrounded operands: nothing was rounded, or too much", w)
	}
}

// What the instruction does with one pair, at the edges; checked against the hardware where there is some.
func TestDotPair(t *testing.T) {
	two := func(e int) float32 { return float32(math.Ldexp(1, e)) }
	inf := float32(math.Inf(1))
	for _, c := range []struct{ acc, a0, a1, b0, b1, want float32 }{
		{1, 2, 3, 4, 5, 24},
		{two(24), 1, -1, 1, 1, two(24)},                           // the odd product first: 2^24-1, then 2^24
		{two(24), -1, 1, 1, 1, two(24) - 1},                       // 2^24+1 rounds to even, 2^24
		{two(-126), two(-76), 0, -two(-75), 0, two(-126)},         // a tie below the smallest normal number rounds up to it
		{two(-126), two(-75), 0, -two(-75), 0, 0},                 // what is below it becomes zero
		{-two(-126), two(-75), 0, two(-75), 0, -two(-200)},        // minus zero
		{two(-130), 1, 0, two(-126), 0, two(-126)},                // a subnormal sum counts as zero
		{1, two(-130), 0, two(100), 0, 1},                         // and so does a subnormal operand
		{-two(127), two(64), 0, two(64), 0, two(127)},             // a product may pass the largest number
		{two(127), two(64), 0, two(64), 0, inf},                   //
		{1, 1.00390625, 0, 1, 0, 2},                               // operands round to even
		{1, 1.01171875, 0, 1, 0, 2.015625},                        //
		{two(24), 1.0078125, 0, 1.0078125, 0, two(24) + 2},        // one rounding, of the exact product
		{-1.015625, 1.0078125, 0, 1.0078125, 0, 0.00006103515625}, //
	} {
		a, b := pairOf(c.a0, c.a1), pairOf(c.b0, c.b1)
		got := dotPair(c.acc, a, b)
		if math.Abs(float64(got-c.want)) > 1e-9 || math.Signbit(float64(got)) != math.Signbit(float64(c.want)) {
			t.Errorf("%v + %v %v + %v %v = %v, want %v", c.acc, c.a1, c.b1, c.a0, c.b0, got, c.want)
		}
	}
	r := rand.New(rand.NewPCG(3, 4))
	exponents := []uint32{0, 1, 2, 20, 62, 63, 64, 65, 90, 120, 126, 127, 128, 129, 190, 191, 192, 253, 254, 255}
	half := func() uint32 {
		return r.Uint32N(2)<<15 | exponents[r.IntN(len(exponents))]<<7 | r.Uint32N(128)*r.Uint32N(2)
	}
	const n, rounds = panel, 4000
	a, b, c := make([]uint32, 1), make([]uint32, n), make([]float32, n)
	for range rounds {
		a[0] = half() | half()<<16
		want := make([]float32, n)
		for j := range n {
			b[j] = half() | half()<<16
			c[j] = math.Float32frombits(half()<<16 | r.Uint32N(1<<16))
			want[j] = dotPair(c[j], a[0], b[j])
		}
		if multiplyPairs(1, n, 1, a, 1, 1, 8, b, n, c, n, true); !sameOrNaN(c, want) {
			t.Fatalf("pair %08x: the instruction and its model differ", a[0])
		}
	}
}

func TestRoundBF16(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	src := make([]float32, 1000)
	for i := range src {
		u := r.Uint32()
		switch i % 4 {
		case 1:
			u &= 0x807fffff // subnormal
		case 2:
			u |= 0x7f000000
		case 3:
			u = u&^0xffff | 0x8000 // ties
		}
		src[i] = math.Float32frombits(u)
	}
	for n := range 100 {
		at := r.IntN(len(src) - n)
		got, want := make([]uint32, (n+1)/2), make([]uint32, (n+1)/2)
		roundRow(src[at:at+n], got)
		roundRowGo(src[at:at+n], want)
		if !equal(floatsOf(got), floatsOf(want)) {
			t.Fatalf("%d numbers from %d on: %x, want %x", n, at, got, want)
		}
	}
}

// A row's bytes depend neither on the rows beside it nor on threads.
func TestBF16Bytes(t *testing.T) {
	shapes, steps := [][3]int{{105, 119, 301}, {5, 1999, 300}, {1030, 100, 579}}, []int{19, 8, 3, 1}
	if testing.Short() {
		shapes, steps = shapes[:1], steps[:1]
	}
	if !HasBF16() {
		shapes = shapes[:1]
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	for _, form := range bf16Forms {
		for _, s := range shapes {
			o := makeOperands(s[0], s[1], s[2], form.ta, form.tb, 1)
			runtime.GOMAXPROCS(1)
			one := o.run(form.f, true)
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
				if !equal(withoutRoom(func() []float32 { return o.run(form.f, true) }), one) {
					t.Errorf("%s %v: differs on %d threads where units pack their operands", form.name, s, threads)
				}
				if par.Sections() == before {
					t.Errorf("%s %v: nothing ran in parallel", form.name, s)
				}
			}
		}
	}
}

// withoutRoom runs f as for operands that are too large to be packed beforehand.
func withoutRoom(f func() []float32) []float32 {
	a, b := mostRounded, mostPacked
	defer func() { mostRounded, mostPacked = a, b }()
	mostRounded, mostPacked = 0, 0
	return f()
}

func TestBF16RefusesShortSlices(t *testing.T) {
	refused := func(name string, f func()) {
		defer func() {
			if recover() == nil {
				t.Errorf("%s: no panic", name)
			}
		}()
		f()
	}
	x, w := make([]float32, 12), BF16{}
	w.PackNN(3, 4, x, 3)
	refused("A", func() { GemmBF16NN(4, 3, 4, x, 4, x, 3, x, 3, false) })
	refused("B", func() { GemmBF16NT(3, 4, 4, x, 4, x, 4, x, 4, false) })
	refused("packing", func() { w.PackNT(4, 4, x, 4) })
	refused("A of packed", func() { GemmBF16(4, x, 4, &w, x, 3, false) })
	refused("another shape", func() { w.check(4, 3) })
}

func TestBF16AllocatesNothing(t *testing.T) {
	if !HasBF16() {
		t.Skip("emulated")
	}
	for _, threads := range []int{1, 2} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
		var w BF16
		for _, form := range bf16Forms[:3] {
			o := makeOperands(100, 200, 300, form.ta, form.tb, 0)
			w.PackNN(200, 300, o.b[:300*200], 200)
			call := func() {
				form.f(o.m, o.n, o.k, o.a, o.lda, o.b, o.ldb, o.c, o.ldc, false)
				GemmBF16(o.m, o.a[:o.m*o.k], o.k, &w, o.c, o.ldc, false)
			}
			for range 20 {
				call()
			}
			if n := testing.AllocsPerRun(50, call); n != 0 {
				t.Errorf("%s on %d threads: %v allocations", form.name, threads, n)
			}
		}
	}
}

// BenchmarkBF16 is BenchmarkGemm for bf16, packing of both operands included; "W" has B packed before. %peak is of PeakBF16.
func BenchmarkBF16(b *testing.B) {
	if !HasBF16() {
		b.Skip("no AVX512_BF16")
	}
	for _, threads := range []int{1, 2} {
		peak := PeakBF16(threads)
		for _, s := range [][3]int{{1024, 1024, 1024}, {512, 576, 1536}, {2048, 256, 1024}, {2048, 576, 1536}, {256, 576, 49152}, {64, 576, 1536}, {8, 576, 1536}, {1, 576, 1536}, {1, 576, 49152}} {
			for _, form := range []string{"NN", "NT", "TN", "W"} {
				b.Run(fmt.Sprintf("%s/%dx%dx%d/threads=%d", form, s[0], s[1], s[2], threads), func(b *testing.B) {
					defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
					m, k, n := s[0], s[1], s[2]
					o := makeOperands(m, n, k, form == "TN", form == "NT", 0)
					var w BF16
					call := func() { GemmBF16(m, o.a, o.lda, &w, o.c, o.ldc, false) }
					for _, f := range bf16Forms[:3] {
						if f.name == form {
							call = func() { f.f(m, n, k, o.a, o.lda, o.b, o.ldb, o.c, o.ldc, false) }
						}
					}
					w.PackNN(n, k, o.b[:n*k], n)
					flops, best := 2*float64(m)*float64(n)*float64(k), 0.0
					for b.Loop() {
						start := time.Now()
						call()
						best = max(best, flops/time.Since(start).Seconds()/1e9)
					}
					b.ReportMetric(best, "best")
					b.ReportMetric(best/float64(m), "GB/s") // of weights, 2 bytes for 2 operations a row
					b.ReportMetric(100*best/peak, "%peak")
				})
			}
		}
	}
}
