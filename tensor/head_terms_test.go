package tensor

import (
	"math"
	"runtime"
	"testing"

	"github.com/hone-lm/hone/internal/rng"
)

// rowTerms is the loss sum(dLogp logp + dH entropy) of headData by way of whole rows.
type rowTerms struct {
	x      *headData
	chunks [][2]int
	lse    []float32
	logp   []float32
	off    int // this entry has no derivative
}

func (r *rowTerms) Chunk(lo, hi int) { r.chunks = append(r.chunks, [2]int{lo, hi}) }

func (r *rowTerms) Read(i int, logits []float32, s Stats) {
	r.lse[i] = s.LSE
	if id := r.x.rows.Target[i]; id >= 0 {
		r.logp[i] = logits[id] - s.LSE
	}
}

func (r *rowTerms) Add(i int, logits []float32, s Stats, d []float32) bool {
	if i == r.off {
		return false
	}
	target := 0.0
	if id := r.x.rows.Target[i]; id >= 0 {
		target = float64(r.x.dLogp[i])
		d[id] += r.x.dLogp[i]
	}
	for n, z := range logits {
		l := float64(z - s.LSE)
		d[n] -= float32(math.Exp(l) * (target + float64(r.x.dH[i])*(l+float64(s.Entropy))))
	}
	return true
}

// TestHeadTerms wants terms to see every row once, divided by its temperature, and their derivatives to go where those of log-probs and
// entropies go: the same loss gives the same gradient, the other way round its opposite; the same bytes for every chunk and number of processors.
func TestHeadTerms(t *testing.T) {
	const rows = 300
	x := newHeadData(90, 517, 48, rows, true)
	want := x.grad()
	dW, dB := wide(x.head.W.Grad), wide(x.head.Bias.Grad)
	out := HeadScores{LogProb: make([]float32, rows), LSE: make([]float32, rows)}
	x.head.Score(x.hidden, x.rows, &out)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	var first, firstW []float32
	for _, chunk := range []int{7, 128, 1000} {
		for _, procs := range []int{1, 2, 3} {
			runtime.GOMAXPROCS(procs)
			x.head.ChunkRows = chunk
			terms := &rowTerms{x: &x, lse: make([]float32, rows), logp: make([]float32, rows), off: -1}
			with := x.rows
			with.Terms = terms
			run := func(sign float32) []float32 {
				x.head.W.ZeroGrad()
				x.head.Bias.ZeroGrad()
				d := make([]float32, len(want))
				x.head.Fused(x.hidden, with, d, func(lo, hi int, logp, entropy, dLogp, dH []float32) {
					for i := range dLogp {
						dLogp[i], dH[i] = sign*x.dLogp[lo+i], sign*x.dH[lo+i]
					}
				})
				return d
			}
			got := run(0)
			other := &Head{W: x.head.W, Bias: x.head.Bias}
			logits, stats := other.Tempered(x.hidden, x.rows, 40, 140)
			for i, s := range stats {
				lp := logits[i*517+int(max(0, x.rows.Target[40+i]))] - s.LSE
				if s.LSE != out.LSE[40+i] || len(stats) != 100 || x.rows.Target[40+i] >= 0 && lp != terms.logp[40+i] {
					t.Fatalf("entry %d: another head of the same weights gives other rows", 40+i)
				}
			}
			fatal(t, same("log-sum-exp", terms.lse, out.LSE))
			fatal(t, near("log-prob", terms.logp, wide(out.LogProb), 1e-5))
			fatal(t, near("dHidden", got, wide(want), 1e-5))
			fatal(t, near("dW", x.head.W.Grad, dW, 1e-5))
			fatal(t, near("dBias", x.head.Bias.Grad, dB, 1e-5))
			if n := (rows + chunk - 1) / chunk; len(terms.chunks) != n || terms.chunks[n-1][1] != rows {
				t.Errorf("chunks of %d: %v", chunk, terms.chunks)
			}
			if first == nil {
				first, firstW = got, append([]float32{}, x.head.W.Grad...)
			}
			fatal(t, same("dHidden of another chunk", got, first))
			fatal(t, same("dW of another chunk", x.head.W.Grad, firstW))

			x.head.W.ZeroGrad()
			x.head.Bias.ZeroGrad()
			again := make([]float32, len(want))
			x.head.Grad(x.hidden, with, make([]float32, rows), nil, again)
			fatal(t, same("dHidden of Grad", again, first))

			for i, v := range run(-1) {
				if math.Abs(float64(v)) > 1e-4 {
					t.Fatalf("both ways leave %g of dHidden %d", v, i)
				}
			}
			terms.off = 5
			if err := same("", run(0), first); err == nil {
				t.Error("an entry without a derivative changes nothing")
			}
		}
	}
}

func TestHeadTermsAllocateNothing(t *testing.T) {
	x := newHeadData(20, 97, 32, 60, false)
	x.rows.Terms = &rowTerms{x: &x, lse: make([]float32, 60), logp: make([]float32, 60), chunks: make([][2]int, 0, 100)}
	d := make([]float32, len(x.hidden.Data))
	loss := func(lo, hi int, logp, entropy, dLogp, dH []float32) { copy(dLogp, x.dLogp[lo:hi]) }
	step := func() { x.head.Fused(x.hidden, x.rows, d, loss) }
	step()
	if n := testing.AllocsPerRun(20, step); n != 0 {
		t.Errorf("a warm pass with terms allocates %g times", n)
	}
}

// TestValueHead holds values and gradients against sums in float64, and a row's value against other company.
func TestValueHead(t *testing.T) {
	const n, d = 70, 53
	x := newHeadData(n, 11, d, 1, false)
	h := NewValueHead(d)
	values, want := make([]float32, n), make([]float64, n)
	values[5] = 1
	h.Score(x.hidden, values)
	fatal(t, near("values of a new head", values, want, 0))
	h.W, h.B = randomTensor(rng.New(6, "value w"), 1, d), randomTensor(rng.New(6, "value b"), 1, 1)
	h.W.EnsureGrad()
	h.B.EnsureGrad()
	dValue, dHidden := randomTensor(rng.New(6, "d value"), 1, n).Data, make([]float32, n*d)
	dValue[3] = 0
	wantH, wantW, wantB := make([]float64, n*d), make([]float64, d), make([]float64, 1)
	for r := range n {
		want[r] = float64(h.B.Data[0])
		for c := range d {
			want[r] += float64(x.hidden.Row(r)[c]) * float64(h.W.Data[c])
			wantH[r*d+c] = float64(dValue[r]) * float64(h.W.Data[c])
			wantW[c] += float64(dValue[r]) * float64(x.hidden.Row(r)[c])
		}
		wantB[0] += float64(dValue[r])
	}
	h.Score(x.hidden, values)
	h.Grad(x.hidden, dValue, dHidden)
	fatal(t, near("values", values, want, 1e-5))
	fatal(t, near("dHidden", dHidden, wantH, 1e-6))
	fatal(t, near("dW", h.W.Grad, wantW, 1e-5))
	fatal(t, near("dB", h.B.Grad, wantB, 1e-5))
	one := make([]float32, 1)
	h.Score(&Tensor{Rows: 1, Cols: d, Data: x.hidden.Row(9)}, one)
	fatal(t, same("value alone", one, values[9:10]))
}
