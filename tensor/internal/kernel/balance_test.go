package kernel

import (
	"runtime"
	"slices"
	"testing"

	"github.com/hone-lm/hone/tensor/internal/par"
)

// loads deals the units of a product to workers as par does, each taking the next one when it is free, and returns the work of each. A
// unit's work is that of its tiles, whole ones of 8 rows and 16 columns.
func (p *product) loads(workers int) []int {
	load := make([]int, workers)
	for i := range p.rowParts * p.colParts {
		m0, m1 := par.Split(p.m, p.rowParts, i%p.rowParts, 8)
		n0, n1 := par.Split(p.n, p.colParts, i/p.rowParts, p.align)
		if m0 >= m1 || n0 >= n1 {
			continue
		}
		at := slices.Index(load, slices.Min(load))
		load[at] += (m1 - m0 + 7) / 8 * 8 * ((n1 - n0 + 15) / 16 * 16) * p.k
	}
	return load
}

// balanceShape is a model of docs/BENCHMARKS.md with the tokens of a training step.
type balanceShape struct {
	name                                            string
	hidden, heads, kv, inner, layers, vocab, tokens int
}

var balanceShapes = []balanceShape{
	{"1.0M", 128, 128, 128, 352, 4, 512, 1024},
	{"5.4M", 256, 256, 256, 768, 6, 512, 4096},
	{"15.5M", 288, 288, 288, 768, 6, 32000, 1024},
	{"135M", 576, 576, 192, 1536, 30, 49152, 2048},
}

// headChunk is how many rows the vocabulary head takes at a time: defaultChunk of tensor/head.go.
const headChunk = 256

// products lists the matrix products of a training step, [times]: forward NN, NT by the input and TN by the weights of every layer, and those
// of the head for each chunk of rows.
func (s balanceShape) products() (list []product, times []int) {
	add := func(n int, p product) { list, times = append(list, p), append(times, n) }
	for _, w := range []struct{ in, out, n int }{{s.hidden, s.heads, 1}, {s.hidden, s.kv, 2}, {s.heads, s.hidden, 1}, {s.hidden, s.inner, 2}, {s.inner, s.hidden, 1}} {
		add(w.n*s.layers, product{form: formNN, m: s.tokens, n: w.out, k: w.in})
		add(w.n*s.layers, product{form: formNT, m: s.tokens, n: w.in, k: w.out})
		add(w.n*s.layers, product{form: formTN, m: w.in, n: w.out, k: s.tokens})
	}
	chunks := (s.tokens + headChunk - 1) / headChunk
	add(chunks, product{form: formNT, m: headChunk, n: s.vocab, k: s.hidden})
	add(chunks, product{form: formTN, m: s.vocab, n: s.hidden, k: headChunk})
	add(chunks, product{form: formNN, m: headChunk, n: s.hidden, k: s.vocab})
	return list, times
}

// balance is the share of their time in which workers have something to do during the products of a step: work over workers times the work
// of the busiest, which all wait for at the end of each product. worst is the lowest share of one product.
func (s balanceShape) balance(workers int) (whole, worst float64, of product) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(workers))
	list, times := s.products()
	work, span := 0, 0
	worst = 1
	for i := range list {
		p := &list[i]
		p.cut()
		load := p.loads(workers)
		sum, most := 0, slices.Max(load)
		for _, l := range load {
			sum += l
		}
		work, span = work+times[i]*sum, span+times[i]*most*workers
		if b := float64(sum) / float64(most*workers); b < worst {
			worst, of = b, *p
		}
	}
	return float64(work) / float64(span), worst, of
}

// Machines with many cores cannot be tested here, but how work is dealt can.
func TestBalance(t *testing.T) {
	for _, s := range balanceShapes {
		for _, workers := range []int{2, 8, 64} {
			whole, worst, p := s.balance(workers)
			t.Logf("%s, %d threads: %.1f %% busy; %.0f %% in form %d %d x %d x %d, cut into %d x %d", s.name, workers, 100*whole, 100*worst, p.form, p.m, p.k, p.n, p.rowParts, p.colParts)
			if s.name == "135M" && whole < 0.85 {
				t.Errorf("%s on %d threads: the threads are busy %.1f %% of the time in matrix products, want 85 %%", s.name, workers, 100*whole)
			}
		}
	}
}

// A product in too few units must show.
func TestBalanceShows(t *testing.T) {
	p := &product{m: 512, n: 480, k: 64, rowParts: 3, colParts: 1, align: panel}
	load := p.loads(8)
	if busy := slices.Index(load, 0); busy != 3 || slices.Max(load) < 512*480*64/3 {
		t.Errorf("3 units on 8 threads: loads %v", load)
	}
}
