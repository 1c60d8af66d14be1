package kernel

import (
	"fmt"
	"math"
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

var forms = []struct {
	name   string
	f      gemmFunc
	ta, tb bool
}{{"NN", GemmNN, false, false}, {"NT", GemmNT, false, true}, {"TN", GemmTN, true, false}}

// operands are matrices with gaps between the rows, placed so that nothing follows their last element.
type operands struct {
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
	o := operands{lda: ac + gap, ldb: bc + gap, ldc: n + gap}
	o.a = random(1, max(0, (ar-1)*o.lda+ac))
	o.b = random(2, max(0, (br-1)*o.ldb+bc))
	o.c = random(3, (m-1)*o.ldc+n)
	return o
}

// reference computes in float64 and returns the largest error of got, relative to the sum of absolute products.
func (o operands) worst(m, n, k int, ta, tb, acc bool, got []float32) float64 {
	worst := 0.0
	for i := range m {
		for j := range n {
			sum, size := 0.0, 1e-6
			if acc {
				sum = float64(o.c[i*o.ldc+j])
				size += math.Abs(sum)
			}
			for q := range k {
				x, y := i*o.lda+q, q*o.ldb+j
				if ta {
					x = q*o.lda + i
				}
				if tb {
					y = j*o.ldb + q
				}
				p := float64(o.a[x]) * float64(o.b[y])
				sum += p
				size += math.Abs(p)
			}
			worst = math.Max(worst, math.Abs(sum-float64(got[i*o.ldc+j]))/size)
		}
	}
	return worst
}

func TestGemmAgainstFloat64(t *testing.T) {
	shapes := [][3]int{{1, 1, 1}, {1, 48, 3}, {3, 17, 5}, {7, 49, 257}, {8, 65, 300}, {9, 47, 31}, {17, 257, 65}, {33, 1, 7}, {65, 100, 513}, {257, 33, 129}, {530, 500, 70}, {2, 3, 0}}
	for _, level := range Levels() {
		restore, _ := ForceLevel(level)
		for _, f := range forms {
			for _, s := range shapes {
				for _, acc := range []bool{false, true} {
					m, n, k := s[0], s[1], s[2]
					o := makeOperands(m, n, k, f.ta, f.tb, m%3)
					got := append([]float32(nil), o.c...)
					f.f(m, n, k, o.a, o.lda, o.b, o.ldb, got, o.ldc, acc)
					if w := o.worst(m, n, k, f.ta, f.tb, acc, got); w > 2e-6 {
						t.Errorf("%s %s %v acc %v: relative error %g", level, f.name, s, acc, w)
					}
					for i := range got { // the gaps between rows stay untouched
						if i%o.ldc >= n && got[i] != o.c[i] {
							t.Fatalf("%s %s %v: wrote outside C at %d", level, f.name, s, i)
						}
					}
					got[0] += 0.01 // the fault that this test must see
					if o.worst(m, n, k, f.ta, f.tb, acc, got) < 2e-6 && k > 0 {
						t.Fatalf("%v: a wrong element passed", s)
					}
				}
			}
		}
		restore()
	}
}

func TestSmallAndTranspose(t *testing.T) {
	for _, level := range Levels() {
		restore, _ := ForceLevel(level)
		for _, s := range [][3]int{{1, 32, 16}, {5, 24, 32}, {16, 32, 64}, {32, 80, 13}, {3, 7, 1}} {
			m, n, k := s[0], s[1], s[2]
			for _, ta := range []bool{false, true} {
				o := makeOperands(m, n, k, ta, false, 2)
				rsa, csa := o.lda, 1
				if ta {
					rsa, csa = 1, o.lda
				}
				got := append([]float32(nil), o.c...)
				Small(m, n, k, o.a, rsa, csa, o.b, o.ldb, got, o.ldc, true)
				if w := o.worst(m, n, k, ta, false, true, got); w > 2e-6 {
					t.Errorf("%s Small %v transposed %v: error %g", level, s, ta, w)
				}
			}
		}
		for _, s := range [][2]int{{1, 1}, {16, 16}, {17, 33}, {48, 100}, {100, 16}} {
			src, dst := random(4, s[0]*s[1]), make([]float32, s[0]*s[1])
			Transpose(s[0], s[1], src, s[1], dst, s[0])
			for i := range s[0] {
				for j := range s[1] {
					if dst[j*s[0]+i] != src[i*s[1]+j] {
						t.Fatalf("%s: Transpose %v wrong at %d, %d", level, s, i, j)
					}
				}
			}
		}
		restore()
	}
}

// A row's bytes depend neither on the rows beside it, nor on threads, nor on AVX2 against AVX-512.
func TestGemmBytes(t *testing.T) {
	const m, n, k = 211, 519, 301
	for _, f := range forms {
		o := makeOperands(m, n, k, f.ta, f.tb, 0)
		old := runtime.GOMAXPROCS(1)
		want := append([]float32(nil), o.c...)
		f.f(m, n, k, o.a, o.lda, o.b, o.ldb, want, o.ldc, true)
		runtime.GOMAXPROCS(2)
		before := par.Sections()
		for _, level := range Levels() {
			restore, _ := ForceLevel(level)
			same := level == Level() && level != "go" || Levels()[0] == "go"
			got := append([]float32(nil), o.c...)
			f.f(m, n, k, o.a, o.lda, o.b, o.ldb, got, o.ldc, true)
			if same && !equal(got, want) {
				t.Errorf("%s %s on two threads differs from %s on one", f.name, level, Levels()[0])
			}
			if !f.ta { // rows one by one, and in fours
				for _, step := range []int{1, 4, 19} {
					rows := append([]float32(nil), o.c...)
					for i := 0; i < m; i += step {
						f.f(min(step, m-i), n, k, o.a[i*o.lda:], o.lda, o.b, o.ldb, rows[i*o.ldc:], o.ldc, true)
					}
					if !equal(rows, got) {
						t.Errorf("%s %s: rows in steps of %d differ from the whole", f.name, level, step)
					}
				}
			}
			restore()
		}
		if par.Sections() == before {
			t.Errorf("%s: nothing ran in parallel", f.name)
		}
		runtime.GOMAXPROCS(old)
		want[len(want)/2] = math.Nextafter32(want[len(want)/2], 9)
		if again := append([]float32(nil), o.c...); true {
			f.f(m, n, k, o.a, o.lda, o.b, o.ldb, again, o.ldc, true)
			if equal(again, want) && Levels()[0] != "go" {
				t.Error("one wrong bit passed")
			}
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

func TestGemmAllocatesNothing(t *testing.T) {
	o := makeOperands(100, 200, 300, false, false, 0)
	if n := testing.AllocsPerRun(20, func() { GemmNN(100, 200, 300, o.a, o.lda, o.b, o.ldb, o.c, o.ldc, false) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkGemm(b *testing.B) {
	for _, threads := range []int{1, 2} {
		for _, s := range [][3]int{{512, 1536, 576}, {2048, 1024, 256}, {1024, 1024, 1024}, {64, 1536, 576}, {8, 1536, 576}, {1, 49152, 576}, {256, 49152, 576}} {
			for _, f := range forms {
				b.Run(fmt.Sprintf("%s/%dx%dx%d/threads=%d", f.name, s[0], s[2], s[1], threads), func(b *testing.B) {
					defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
					m, n, k := s[0], s[1], s[2]
					o := makeOperands(m, n, k, f.ta, f.tb, 0)
					b.ResetTimer()
					for range b.N {
						f.f(m, n, k, o.a, o.lda, o.b, o.ldb, o.c, o.ldc, false)
					}
					b.ReportMetric(2*float64(m)*float64(n)*float64(k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
				})
			}
		}
	}
}

func BenchmarkPeak(b *testing.B) {
	for _, level := range Levels() {
		restore, _ := ForceLevel(level)
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/threads=%d", level, threads), func(b *testing.B) {
				b.ReportMetric(PeakFMA(threads), "GFLOP/s")
			})
		}
		restore()
	}
	b.Run("read", func(b *testing.B) { b.ReportMetric(PeakRead(1), "GB/s") })
}
