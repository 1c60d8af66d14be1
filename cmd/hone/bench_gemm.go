package main

import (
	"fmt"
	"time"

	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/internal/machine"
	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/tensor"
)

type benchGemmCmd struct {
	benchFlags
	Precision string `enum:"f32,bf16" default:"f32" help:"f32 or bf16."`
}

func (benchGemmCmd) Help() string {
	return `C[M][N] = A[M][K] B[K][N], named FORM MxKxN. NN is the forward product of a linear layer; NT (B stored as [N][K]) its gradient by the input, TN
(A stored as [K][M]) its gradient by the weights. One row (M = 1) is decoding: the ratio is then to the bandwidth of memory, and the weights
change from product to product, so that no cache holds them. In bf16 weights are rounded inside the clock, but beforehand for up to 64 rows in
NN, as sampling has them.

  hone bench gemm
  hone bench gemm --threads 1 --json | jq '{case, ratio}'`
}

// gemmShape is a product that is measured, in the forms that models use it in.
type gemmShape struct {
	m, k, n int
	forms   []string
}

var gemmShapes = []gemmShape{
	{512, 576, 1536, []string{"NN", "NT", "TN"}},
	{2048, 256, 1024, []string{"NN", "NT", "TN"}},
	{64, 576, 1536, []string{"NN", "NT", "TN"}},
	{8, 576, 1536, []string{"NN", "NT"}},
	{1, 576, 1536, []string{"NN"}},
	{512, 576, 49152, []string{"NN"}},
}

// Run measures every shape.
func (c *benchGemmCmd) Run(a *app) error {
	if _, err := withPrecision(local.Options{}, c.Precision); err != nil {
		return err
	}
	b, err := c.begin(a)
	if err != nil {
		return err
	}
	defer b.end()
	b.bf16 = c.Precision == local.BF16
	b.lookAtPeak()
	if err := b.record(); err != nil {
		return err
	}
	var list []benchResult
	for _, s := range gemmShapes {
		for _, form := range s.forms {
			if err := a.ctx.Err(); err != nil {
				return err
			}
			list = append(list, b.product(s, form))
		}
	}
	for _, r := range list { // the peak is known when all have run
		r.PeakGFlops = b.peak
		if r.GBytes == 0 {
			r.Ratio = r.GFlops / b.peak
		}
		if err := b.print(r); err != nil {
			return err
		}
	}
	return nil
}

// product measures one form of a shape.
func (b *bencher) product(s gemmShape, form string) benchResult {
	seconds := b.best(b.f.Time/2, b.newProduct(s.m, s.k, s.n, form, s.m == 1))
	precision, bytes := local.F32, 4.0
	if b.bf16 {
		precision, bytes = local.BF16, 2
	}
	r := benchResult{Case: fmt.Sprintf("gemm %s %s %dx%dx%d, %s", precision, form, s.m, s.k, s.n, plural(b.threads, "thread")), GFlops: s.flops() / seconds / 1e9, PeakRSS: machine.PeakRSS()}
	b.peak = max(b.peak, r.GFlops)
	if s.m == 1 {
		r.GBytes = bytes * float64(s.k) * float64(s.n) / seconds / 1e9
	}
	return b.against(r)
}

func (s gemmShape) flops() float64 { return 2 * float64(s.m) * float64(s.k) * float64(s.n) }

// bestProduct is the speed of a large product in GFLOP/s, measured for a moment: where it is above the FMA loop's, other work was in the loop's way.
func (b *bencher) bestProduct() float64 {
	s := gemmShape{m: 512, k: 576, n: 1536}
	return s.flops() / b.best(50*time.Millisecond, b.newProduct(s.m, s.k, s.n, "NN", false)) / 1e9
}

// best returns the seconds of the fastest of the calls of f that fit into the time, three at least.
func (b *bencher) best(limit time.Duration, f func() time.Duration) float64 {
	best := time.Duration(1 << 62)
	for n, begin := 0, time.Now(); n < 3 || time.Since(begin) < limit; n++ {
		best = min(best, f())
	}
	return best.Seconds()
}

// coldBytes is more than caches hold: of so many bytes of weights each product takes others.
const coldBytes = 192 << 20

// newProduct returns a function that computes the product once, through the tape as models do, and tells how long it took.
func (b *bencher) newProduct(m, k, n int, form string, cold bool) func() time.Duration {
	tape := tensor.NewTape()
	tape.BF16(b.bf16)
	switch form {
	case "NT": // the gradient by the input of a layer from n to k
		return b.backwardProduct(tape, randomParam("x", m, n), randomParam("w", n, k), true)
	case "TN": // the gradient by the weights of a layer from m to n, on k rows
		return b.backwardProduct(tape, randomParam("x", k, m), randomParam("w", m, n), false)
	}
	tape.Record(false)
	x, w := randomParam("x", m, k), []*tensor.Tensor{randomParam("w", k, n)}
	for cold && len(w)*4*k*n < coldBytes {
		w = append(w, randomParam(fmt.Sprint("w", len(w)), k, n))
	}
	if b.bf16 && m <= 64 { // decoding rounds its weights beforehand
		for _, p := range w {
			p.PackBF16()
		}
	}
	at := 0
	return func() time.Duration {
		tape.Reset()
		at = (at + 1) % len(w)
		start := b.now()
		tape.MatMul(x, w[at])
		return b.now() - start
	}
}

// backwardProduct times the backward pass of x w when one gradient is wanted, which is one product.
func (b *bencher) backwardProduct(tape *tensor.Tape, x, w *tensor.Tensor, byInput bool) func() time.Duration {
	wanted := w
	if byInput {
		wanted = x
	}
	wanted.EnsureGrad()
	return func() time.Duration {
		tape.Reset()
		g := tape.GradOf(tape.MatMul(x, w))
		for i := range g {
			g[i] = 1
		}
		start := b.now()
		tape.Backward()
		return b.now() - start
	}
}

func randomParam(name string, rows, cols int) *tensor.Tensor {
	p := tensor.NewParam(name, rows, cols)
	key := rng.New(1, "bench").Sub(name)
	for i := range p.Data {
		p.Data[i] = float32(key.Float64(uint64(i)) - 0.5)
	}
	return p
}
