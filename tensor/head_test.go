package tensor

import (
	"fmt"
	"math"
	"runtime"
	"testing"

	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/tensor/internal/par"
)

// headData is a small head with rows that repeat, temperatures and a row without a target.
type headData struct {
	head      *Head
	hidden    *Tensor
	rows      HeadRows
	dLogp, dH []float32
}

func newHeadData(t, v, d, rows int, bias bool) headData {
	key := rng.New(5, "head", uint64(v))
	x := headData{head: &Head{W: randomTensor(key, v, d)}, hidden: randomTensor(key.Sub("hidden"), t, d)}
	x.head.W.EnsureGrad()
	if bias {
		x.head.Bias = randomTensor(key.Sub("bias"), 1, v)
		x.head.Bias.EnsureGrad()
	}
	for i := range rows {
		x.rows.Row = append(x.rows.Row, int32(key.Intn(uint64(i), t)))
		x.rows.Target = append(x.rows.Target, int32(key.Intn(uint64(i+1000), v)))
		x.rows.Temp = append(x.rows.Temp, []float32{1, 0.7, 1.3, 0}[i%4])
		x.dLogp = append(x.dLogp, float32(key.Normal(uint64(i+2000))))
		x.dH = append(x.dH, float32(key.Normal(uint64(i+3000))))
	}
	x.rows.Target[rows/2] = -1
	return x
}

// ref returns log-probs, entropies and the loss sum(dLogp logp + dH entropy) in float64.
func (x headData) ref(w, b, hidden []float64) (logp, entropy []float64, loss float64) {
	v, d := x.head.W.Rows, x.head.W.Cols
	for i, r := range x.rows.Row {
		temp := float64(x.rows.Temp[i])
		if temp == 0 {
			temp = 1
		}
		z, sum := make([]float64, v), 0.0
		for j := range z {
			if b != nil {
				z[j] = b[j]
			}
			for p := range d {
				z[j] += hidden[int(r)*d+p] * w[j*d+p]
			}
			z[j] /= temp
			sum += math.Exp(z[j])
		}
		h, lp := 0.0, 0.0
		for j := range z {
			l := z[j] - math.Log(sum)
			h -= math.Exp(l) * l
			if int32(j) == x.rows.Target[i] {
				lp = l
			}
		}
		logp, entropy = append(logp, lp), append(entropy, h)
		loss += float64(x.dLogp[i])*lp + float64(x.dH[i])*h
	}
	return logp, entropy, loss
}

func (x headData) grad() (dHidden []float32) {
	dHidden = make([]float32, len(x.hidden.Data))
	x.head.W.ZeroGrad()
	if x.head.Bias != nil {
		x.head.Bias.ZeroGrad()
	}
	x.head.Grad(x.hidden, x.rows, x.dLogp, x.dH, dHidden)
	return dHidden
}

func TestHead(t *testing.T) {
	for _, c := range []struct {
		t, v, d, rows int
		bias          bool
	}{{1, 1, 1, 1, false}, {3, 17, 5, 9, true}, {20, 257, 33, 65, false}, {40, 301, 17, 130, true}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			x := newHeadData(c.t, c.v, c.d, c.rows, c.bias)
			w, hidden := wide(x.head.W.Data), wide(x.hidden.Data)
			var b []float64
			if c.bias {
				b = wide(x.head.Bias.Data)
			}
			logp, entropy, _ := x.ref(w, b, hidden)
			out := HeadScores{LogProb: make([]float32, c.rows), Entropy: make([]float32, c.rows), LSE: make([]float32, c.rows)}
			x.head.Score(x.hidden, x.rows, &out)
			fatal(t, near("log-prob", out.LogProb, logp, 1e-5))
			fatal(t, near("entropy", out.Entropy, entropy, 1e-5))

			dHidden := x.grad()
			diff := func(what string, got []float32, data []float64) {
				var g []float32
				var want []float64
				for n := range min(40, len(data)) {
					at := n * len(data) / min(40, len(data))
					const h = 1e-5
					keep := data[at]
					data[at] = keep + h
					_, _, up := x.ref(w, b, hidden)
					data[at] = keep - h
					_, _, down := x.ref(w, b, hidden)
					data[at] = keep
					g, want = append(g, got[at]), append(want, (up-down)/(2*h))
				}
				fatal(t, near(what, g, want, 1e-4))
			}
			diff("dHidden", dHidden, hidden)
			diff("dW", x.head.W.Grad, w)
			if c.bias {
				diff("dBias", x.head.Bias.Grad, b)
			}
		})
	}
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestHeadChunks wants the same bytes for every chunk size, number of processors, company, and from Fused as from Score and Grad.
func TestHeadChunks(t *testing.T) {
	const rows = 300
	x := newHeadData(90, 517, 48, rows, true)
	old := runtime.GOMAXPROCS(2)
	defer runtime.GOMAXPROCS(old)
	before := par.Sections()
	score := func(n int) HeadScores {
		out := HeadScores{LogProb: make([]float32, n), Entropy: make([]float32, n), LSE: make([]float32, n), TopK: 3, TopID: make([]int32, 3*n), TopLogProb: make([]float32, 3*n)}
		x.head.Score(x.hidden, x.rows, &out)
		return out
	}
	want, dHidden := score(rows), x.grad()
	dW, dB := append([]float32{}, x.head.W.Grad...), append([]float32{}, x.head.Bias.Grad...)
	if par.Sections() == before {
		t.Fatal("the head did not run in parallel")
	}
	for _, chunk := range []int{1, 7, 128, 1000} {
		for _, procs := range []int{1, 2, 3} {
			runtime.GOMAXPROCS(procs)
			x.head.ChunkRows = chunk
			got := score(rows)
			fatal(t, same("log-prob", got.LogProb, want.LogProb))
			fatal(t, same("entropy", got.Entropy, want.Entropy))
			fatal(t, same("top-k", got.TopLogProb, want.TopLogProb))
			fatal(t, same("dHidden", x.grad(), dHidden))
			fatal(t, same("dW", x.head.W.Grad, dW))
			fatal(t, same("dBias", x.head.Bias.Grad, dB))

			x.head.W.ZeroGrad()
			x.head.Bias.ZeroGrad()
			fused := make([]float32, len(dHidden))
			x.head.Fused(x.hidden, x.rows, fused, func(lo, hi int, logp, entropy, dLogp, dH []float32) {
				fatal(t, same("log-prob of Fused", logp, want.LogProb[lo:hi]))
				fatal(t, same("entropy of Fused", entropy, want.Entropy[lo:hi]))
				copy(dLogp, x.dLogp[lo:hi])
				copy(dH, x.dH[lo:hi])
			})
			fatal(t, same("dHidden of Fused", fused, dHidden))
			fatal(t, same("dW of Fused", x.head.W.Grad, dW))
		}
	}
}

// TestHeadAsSampler wants the log-prob that a sampler computes from Logits and RowStats to have the bytes of Score.
func TestHeadAsSampler(t *testing.T) {
	const rows = 65
	x := newHeadData(90, 1031, 64, rows, true)
	out := HeadScores{LogProb: make([]float32, rows), LSE: make([]float32, rows)}
	x.head.Score(x.hidden, x.rows, &out)
	logits := make([]float32, 7*1031)
	for i, r := range x.rows.Row {
		n := 1 + i%7 // the row in company of different sizes
		if int(r)+n > 90 {
			n = 1
		}
		x.head.Logits(logits, x.hidden.Data[int(r)*64:], n)
		s := RowStats(logits[:1031], x.rows.Temp[i])
		if s.LSE != out.LSE[i] {
			t.Fatalf("row %d: log-sum-exp %g, training has %g", i, s.LSE, out.LSE[i])
		}
		if id := x.rows.Target[i]; id >= 0 && LogProb(logits[id], x.rows.Temp[i], s.LSE) != out.LogProb[i] {
			t.Fatalf("row %d: the sampler's log-prob differs from training's", i)
		}
	}
}

func TestTopK(t *testing.T) {
	z := []float32{1, 5, -2, 5, 3, 5, float32(math.Inf(-1)), 3}
	ids, vals := make([]int32, 5), make([]float32, 5)
	topK(z, ids, vals)
	if fmt.Sprint(ids, vals) != "[1 3 5 4 7] [5 5 5 3 3]" {
		t.Error(ids, vals)
	}
	ids, vals = make([]int32, 3), make([]float32, 3)
	topK(z[:2], ids, vals)
	if fmt.Sprint(ids, vals) != "[1 0 -1] [5 1 -Inf]" {
		t.Error(ids, vals)
	}
	topK([]float32{float32(math.Inf(-1)), float32(math.Inf(-1))}, ids[:1], vals)
	if ids[0] != 0 {
		t.Error("a row of minus infinities lists its first token, got", ids[0])
	}
}
