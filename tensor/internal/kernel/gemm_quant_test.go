package kernel

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/hone-lm/hone/tensor/internal/par"
)

var quantFormats = []struct {
	name string
	f    QuantFormat
}{{"Q8_0", Q8_0}, {"Q4_0", Q4_0}, {"Q4_1", Q4_1}}

// float16Of rounds x towards zero to a float16; what is too small for a normal one becomes 0.
func float16Of(x float64) uint16 {
	if math.Abs(x) < 0x1p-14 {
		return 0
	}
	frac, exp := math.Frexp(math.Abs(x))
	h := uint16(exp+14)<<10 | uint16(frac*2048)&0x3ff
	if x < 0 {
		h |= 0x8000
	}
	return h
}

// randomQuant returns a matrix of random blocks, and what they mean: worked out here from the file's layout, apart from the code under test.
func randomQuant(key uint64, f QuantFormat, rows, cols int) (*Quant, []float32) {
	r := rand.New(rand.NewPCG(key, 7))
	q, wide := NewQuant(f, rows, cols), make([]float32, rows*cols)
	for i := range rows {
		var row []byte
		for j := 0; j < cols; j += 32 {
			d, m := float16Of(0.01*(r.Float64()+0.1)), float16Of(0.4*(r.Float64()-0.5)+0.01)
			if r.IntN(4) == 0 {
				d |= 0x8000
			}
			if r.IntN(8) == 0 {
				d &= 0x83ff // subnormal
			}
			row = binary.LittleEndian.AppendUint16(row, d)
			if f == Q4_1 {
				row = binary.LittleEndian.AppendUint16(row, m)
			}
			scale, minimum := float16([]byte{byte(d), byte(d >> 8)}), float16([]byte{byte(m), byte(m >> 8)})
			out := wide[i*cols+j:]
			for x := range f.Bytes() - f.heads() {
				b := byte(r.Uint32())
				row = append(row, b)
				switch f {
				case Q8_0:
					out[x] = scale * float32(int8(b))
				case Q4_0:
					out[x], out[x+16] = scale*(float32(b%16)-8), scale*(float32(b/16)-8)
				case Q4_1:
					lo, hi := scale*float32(b%16), scale*float32(b/16)
					out[x], out[x+16] = float32(lo)+minimum, float32(hi)+minimum
				}
			}
		}
		q.SetRow(i, row)
	}
	return q, wide
}

// quantOperands are operands of a product with a quantised B, whose widened values are those of b.
func quantOperands(f QuantFormat, m, n, k int, nt bool, gap int) (operands, gemmFunc) {
	o := makeOperands(m, n, k, false, nt, gap)
	rows, cols := k, n
	if nt {
		rows, cols = n, k
	}
	var q *Quant
	q, o.b = randomQuant(uint64(m*n+k), f, rows, cols)
	o.ldb = cols
	return o, func(m, _, _ int, a []float32, lda int, _ []float32, _ int, c []float32, ldc int, acc bool) {
		if nt {
			GemmQuantNT(m, a, lda, q, c, ldc, acc)
		} else {
			GemmQuantNN(m, a, lda, q, c, ldc, acc)
		}
	}
}

// quantShapes are m, the weights' rows and their columns.
func quantShapes() [][3]int {
	shapes := [][3]int{{1, 64, 32}, {1, 1, 32}, {2, 79, 64}, {3, 193, 96}, {4, 65, 288}, {5, 47, 32}, {9, 17, 544}, {65, 300, 96}, {2, 15, 0}}
	sizes := []int{1, 2, 3, 4, 5, 8, 16, 17, 31, 48, 49, 64, 66, 97, 130, 257}
	if testing.Short() {
		return shapes
	}
	r := rand.New(rand.NewPCG(3, 4))
	for _, m := range sizes {
		for range 2 {
			shapes = append(shapes, [3]int{m, sizes[r.IntN(len(sizes))], 32 * (1 + r.IntN(12))})
		}
	}
	return append(shapes, [3]int{530, 50, 96}, [3]int{40, 500, 576}, [3]int{1, 17, 32 * 600})
}

// Products with quantised weights are right, and have the bytes of the product with the widened ones.
func TestGemmQuant(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for i, s := range quantShapes() {
			for _, q := range quantFormats {
				for _, nt := range []bool{true, false} {
					m, n, k, plain := s[0], s[1], s[2], gemmFunc(GemmNT)
					if !nt {
						n, k, plain = s[2], s[1], GemmNN
					}
					if n == 0 {
						continue
					}
					o, f := quantOperands(q.f, m, n, k, nt, i%3)
					acc := i%2 == 0
					got := o.run(f, acc)
					if w := o.worst(acc, got); !(w <= tolerance) {
						t.Errorf("%s NT %v %v acc %v: relative error %g", q.name, nt, s, acc, w)
					}
					if !equal(got, o.run(plain, acc)) {
						t.Errorf("%s NT %v %v acc %v: other bytes than with widened weights", q.name, nt, s, acc)
					}
				}
			}
		}
	})
}

// The comparison must see each wrong scale, minimum and number.
func TestGemmQuantSeesFaults(t *testing.T) {
	const rows, cols = 19, 64
	for _, q := range quantFormats {
		w, wide := randomQuant(5, q.f, rows, cols)
		a := random(6, cols)
		want, got := make([]float32, rows), make([]float32, rows)
		GemmNT(1, rows, cols, a, cols, wide, cols, want, rows, false)
		for at := range w.data {
			each, inside := 1, at%w.chunk()-q.f.heads()*quantGroup // bytes of a row side by side
			if inside < 0 {
				each, inside = 2, at%w.chunk()
			} else if q.f != Q8_0 {
				each = 4
			}
			if inside/each%quantGroup+at/w.stride()*quantGroup >= rows {
				continue
			}
			w.data[at] ^= 0x22
			GemmQuantNT(1, a, cols, w, got, rows, false)
			if equal(got, want) {
				t.Errorf("%s: a changed byte %d passed", q.name, at)
			}
			w.data[at] ^= 0x22
		}
	}
}

// Bytes depend neither on the number of rows, nor on threads, nor on AVX2 against AVX-512.
func TestGemmQuantBytes(t *testing.T) {
	for _, q := range quantFormats {
		for _, nt := range []bool{true, false} {
			o, f := quantOperands(q.f, 13, 288, 160, nt, 1)
			old := runtime.GOMAXPROCS(1)
			best := o.run(f, true)
			eachLevel(t, func(t *testing.T) {
				runtime.GOMAXPROCS(1)
				one := o.run(f, true)
				if Level() != "go" && !equal(one, best) {
					t.Errorf("%s: differs from %s", q.name, Levels()[0])
				}
				for _, step := range []int{1, 2, 3, 4, 5} {
					if !equal(o.runRows(f, step), one) {
						t.Errorf("%s NT %v: rows in steps of %d differ from the whole", q.name, nt, step)
					}
				}
				for _, threads := range []int{2, 5} {
					runtime.GOMAXPROCS(threads)
					before := par.Sections()
					if !equal(o.run(f, true), one) {
						t.Errorf("%s NT %v: differs on %d threads", q.name, nt, threads)
					}
					if par.Sections() == before {
						t.Errorf("%s: nothing ran in parallel", q.name)
					}
				}
			})
			runtime.GOMAXPROCS(old)
		}
	}
}

func TestQuantRows(t *testing.T) {
	for _, f := range quantFormats {
		q, wide := randomQuant(9, f.f, 50, 96)
		row, columns := make([]float32, 96), make([]float32, 64*50)
		for r := range 50 {
			q.Row(row, r)
			if !equal(row, wide[r*96:(r+1)*96]) {
				t.Errorf("%s: row %d differs", f.name, r)
			}
		}
		q.Columns(columns, 32, 96)
		for i, x := range columns {
			if x != wide[i%50*96+32+i/50] {
				t.Fatalf("%s: element %d of the columns is %v, not %v", f.name, i, x, wide[i%50*96+32+i/50])
			}
		}
		part, ok := q.Part(16, 50)
		if !ok {
			t.Fatal("rows that begin a group are no part")
		}
		if part.Row(row, 20); !equal(row, wide[36*96:37*96]) {
			t.Errorf("%s: a part has other rows", f.name)
		}
		if _, ok := q.Part(8, 50); ok {
			t.Error("rows within a group were given as a part")
		}
		if want := int64(64 * 3 * f.f.Bytes()); q.Bytes() != want {
			t.Errorf("%s: takes %d bytes, want %d", f.name, q.Bytes(), want)
		}
	}
}

func TestGemmQuantAllocatesNothing(t *testing.T) {
	for _, threads := range []int{1, 2} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
		for _, nt := range []bool{true, false} {
			for _, m := range []int{1, 100} {
				o, f := quantOperands(Q4_1, m, 320, 288, nt, 0)
				call := func() { f(o.m, o.n, o.k, o.a, o.lda, o.b, o.ldb, o.c, o.ldc, false) }
				for range 20 {
					call()
				}
				if n := testing.AllocsPerRun(50, call); n != 0 {
					t.Errorf("NT %v of %d rows on %d threads: %v allocations", nt, m, threads, n)
				}
			}
		}
	}
}

// BenchmarkGemmQuant gives the best round: "GB/s" counts the quantised bytes, "%f32" is the speed against the product with f32 weights.
func BenchmarkGemmQuant(b *testing.B) {
	for _, s := range [][3]int{{1, 576, 49152}, {1, 576, 1536}, {4, 576, 1536}, {32, 576, 1536}, {512, 576, 1536}} {
		for _, q := range quantFormats {
			for _, nt := range []bool{true, false} {
				if !nt && s[0] < 512 {
					continue
				}
				b.Run(fmt.Sprintf("%s/NT=%v/%dx%dx%d", q.name, nt, s[0], s[1], s[2]), func(b *testing.B) {
					defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
					o, f := quantOperands(q.f, s[0], s[2], s[1], nt, 0)
					plain := gemmFunc(GemmNN) // a model's f32 weights lie as [k][n]
					best, other := math.Inf(1), math.Inf(1)
					for b.Loop() {
						start := time.Now()
						f(o.m, o.n, o.k, o.a, o.lda, o.b, o.ldb, o.c, o.ldc, false)
						best = min(best, time.Since(start).Seconds())
						start = time.Now()
						plain(o.m, o.n, o.k, o.a, o.lda, o.b, o.n, o.c, o.ldc, false)
						other = min(other, time.Since(start).Seconds())
					}
					b.ReportMetric(float64(q.f.Bytes()*o.n*o.k)/32/best/1e9, "GB/s")
					b.ReportMetric(2*float64(o.m)*float64(o.n)*float64(o.k)/best/1e9, "GFLOP/s")
					b.ReportMetric(100*other/best, "%f32")
				})
			}
		}
	}
}
