package kernel

import (
	"fmt"
	"math"
	"testing"
)

// attnCase is one call of attention: rows over pages scattered in a pool whose unused slots hold NaN.
type attnCase struct {
	rows, headDim int
	lens          []int32
	pages         []int
	q, pool       []float32
	dOut          []float32
	qStride       int
	keys          int
	k, v          [][]float32 // as they stand in the pages
}

const attnScale = 0.3

func newAttnCase(headDim int, lens []int32) *attnCase {
	c := &attnCase{rows: len(lens), headDim: headDim, lens: lens, qStride: headDim + 5}
	for _, n := range lens {
		c.keys = max(c.keys, int(n))
	}
	size := 2 * PageTokens * headDim
	n := (c.keys + PageTokens - 1) / PageTokens
	c.pool = make([]float32, (2*n+1)*size)
	for i := range c.pool {
		c.pool[i] = float32(math.NaN())
	}
	for j := range n {
		c.pages = append(c.pages, (2*(n-j)-1)*size) // from the last to the first, with gaps
	}
	for i := range c.keys {
		c.k, c.v = append(c.k, random(uint64(1000+i), headDim)), append(c.v, random(uint64(5000+i), headDim))
		PutK(c.pool[c.pages[i/PageTokens]:], i%PageTokens, headDim, c.k[i])
		PutV(c.pool[c.pages[i/PageTokens]:], i%PageTokens, headDim, c.v[i])
	}
	c.q, c.dOut = random(1, c.rows*c.qStride), random(2, c.rows*c.qStride)
	return c
}

// in returns the pages as they lie in a pool.
func (c *attnCase) in(pool []float32) [][]float32 {
	var out [][]float32
	for _, at := range c.pages {
		out = append(out, pool[at:at+2*PageTokens*c.headDim])
	}
	return out
}

// forward runs rows [lo, hi) and returns out and lse; between the rows of out nothing may change.
func (c *attnCase) forward(s *AttnScratch, lo, hi int) (out, lse []float32) {
	out, lse = make([]float32, c.rows*c.qStride), make([]float32, c.rows)
	at := lo * c.qStride
	AttnForward(s, hi-lo, c.q[at:], c.qStride, c.lens[lo:hi], c.in(c.pool), c.headDim, attnScale, out[at:], c.qStride, lse[lo:])
	return out, lse
}

// weights returns the float64 weights of a row and its log-sum-exp.
func (c *attnCase) weights(r int) (p []float64, lse float64) {
	sum, top := 0.0, math.Inf(-1)
	for i := range int(c.lens[r]) {
		s := 0.0
		for x := range c.headDim {
			s += float64(c.q[r*c.qStride+x]) * float64(c.k[i][x])
		}
		p = append(p, s*attnScale)
		top = max(top, s*attnScale)
	}
	for _, s := range p {
		sum += math.Exp(s - top)
	}
	for i, s := range p {
		p[i] = math.Exp(s-top) / sum
	}
	return p, top + math.Log(sum)
}

// reference returns out, lse, dq, and dK and dV by key, in float64.
func (c *attnCase) reference() (out, lse, dq, dk, dv []float64) {
	n := c.headDim
	out, dq, lse = make([]float64, c.rows*n), make([]float64, c.rows*n), make([]float64, c.rows)
	dk, dv = make([]float64, c.keys*n), make([]float64, c.keys*n)
	for r := range c.rows {
		p, l := c.weights(r)
		lse[r] = l
		q, g := c.q[r*c.qStride:], c.dOut[r*c.qStride:]
		dp, mean := make([]float64, len(p)), 0.0
		for i, w := range p {
			for x := range n {
				out[r*n+x] += w * float64(c.v[i][x])
				dv[i*n+x] += w * float64(g[x])
				dp[i] += float64(g[x]) * float64(c.v[i][x])
			}
			mean += w * dp[i]
		}
		for i, w := range p {
			ds := w * (dp[i] - mean) * attnScale
			for x := range n {
				dq[r*n+x] += ds * float64(c.k[i][x])
				dk[i*n+x] += ds * float64(q[x])
			}
		}
	}
	return
}

func causal(n int) []int32 {
	lens := make([]int32, n)
	for i := range lens {
		lens[i] = int32(i + 1)
	}
	return lens
}

func attnCases() map[string]*attnCase {
	cases := map[string]*attnCase{}
	for _, d := range []int{16, 24, 32, 64, 80, 128, 20, 3} {
		cases[fmt.Sprint("causal ", d)] = newAttnCase(d, causal(75))
	}
	cases["one row"] = newAttnCase(64, []int32{97})
	cases["equal"] = newAttnCase(32, []int32{70, 70, 70})
	cases["mixed"] = newAttnCase(32, []int32{5, 64, 33, 1, 96, 2, 31, 32, 0, 70, 7, 65})
	cases["offset"] = newAttnCase(48, causal(140)[61:])
	return cases
}

// gather copies the rows of a strided matrix and of pages into dense ones.
func (c *attnCase) gather(x []float32) []float32 {
	var out []float32
	for r := range c.rows {
		out = append(out, x[r*c.qStride:r*c.qStride+c.headDim]...)
	}
	return out
}

func (c *attnCase) gatherPages(dpool []float32, half int) []float32 {
	var out []float32
	for i := range c.keys {
		at := c.pages[i/PageTokens] + (half*PageTokens+i%PageTokens)*c.headDim
		out = append(out, dpool[at:at+c.headDim]...)
	}
	return out
}

func TestAttention(t *testing.T) {
	for name, c := range attnCases() {
		wantOut, wantLSE, wantQ, wantK, wantV := c.reference()
		var first [][]float32
		for _, level := range Levels() {
			restore, _ := ForceLevel(level)
			var s AttnScratch
			out, lse := c.forward(&s, 0, c.rows)
			dq, dpool := make([]float32, len(c.q)), make([]float32, len(c.pool))
			AttnBackward(&s, c.rows, c.q, c.qStride, c.lens, c.in(c.pool), c.headDim, attnScale, out, c.dOut, c.qStride, lse, dq, c.qStride, c.in(dpool))
			for r, n := range c.lens {
				if n == 0 && math.IsInf(float64(lse[r]), -1) {
					lse[r], wantLSE[r] = 0, 0
				}
			}
			got := [][]float32{c.gather(out), lse, c.gather(dq), c.gatherPages(dpool, 0), c.gatherPages(dpool, 1)}
			for i, want := range [][]float64{wantOut, wantLSE, wantQ, wantK, wantV} {
				if bad := mismatch(got[i], want, 1e-5); bad != "" {
					t.Errorf("%s %s: result %d: %s", name, level, i, bad)
				}
			}
			checkUntouched(t, name+" "+level, c, out, dq, dpool)
			out, lse = c.forward(&s, 0, c.rows)
			c.checkRows(t, name+" "+level, out, lse)
			restore()
			if level == "go" {
				continue
			}
			if first == nil {
				first = append(got, out, dq, dpool)
			}
			for i, x := range append(got, out, dq, dpool) {
				if !equal(first[i], x) {
					t.Errorf("%s: result %d on %s differs from %s", name, i, level, Levels()[0])
				}
			}
		}
		c.lens[c.rows-1]-- // a mask off by one must show
		if off, _, _, _, _ := c.reference(); first != nil && mismatch(first[0], off, 1e-5) == "" {
			t.Errorf("%s: a shorter mask passed", name)
		}
	}
}

// checkRows compares rows worked on together with each row alone and with a split into two calls, to the bit.
func (c *attnCase) checkRows(t *testing.T, name string, out, lse []float32) {
	var s AttnScratch
	for lo := range c.rows {
		for _, hi := range []int{lo + 1, min(c.rows, lo+7)} {
			o, l := c.forward(&s, lo, hi)
			if !equal(o[lo*c.qStride:hi*c.qStride], out[lo*c.qStride:hi*c.qStride]) || !equal(l[lo:hi], lse[lo:hi]) {
				t.Fatalf("%s: rows %d to %d differ from the same rows of %d", name, lo, hi, c.rows)
			}
		}
	}
}

// checkUntouched looks between the rows and at pages and slots that no key uses.
func checkUntouched(t *testing.T, name string, c *attnCase, out, dq, dpool []float32) {
	t.Helper()
	for i := range out {
		if i%c.qStride >= c.headDim && (out[i] != 0 || dq[i] != 0) {
			t.Fatalf("%s: wrote between rows at %d", name, i)
		}
	}
	used := make([]bool, len(dpool))
	for i := range c.keys {
		for half := range 2 {
			at := c.pages[i/PageTokens] + (half*PageTokens+i%PageTokens)*c.headDim
			for x := range c.headDim {
				used[at+x] = true
			}
		}
	}
	for i, v := range dpool {
		if !used[i] && v != 0 {
			t.Fatalf("%s: gradient of an unused slot at %d is %g", name, i, v)
		}
	}
}

func TestAttentionAllocatesNothing(t *testing.T) {
	c := newAttnCase(32, causal(70))
	var s AttnScratch
	out, lse := c.forward(&s, 0, c.rows)
	dq := make([]float32, len(c.q))
	pages, dpages := c.in(c.pool), c.in(make([]float32, len(c.pool)))
	for _, level := range Levels() {
		restore, _ := ForceLevel(level)
		if n := testing.AllocsPerRun(5, func() {
			AttnForward(&s, c.rows, c.q, c.qStride, c.lens, pages, c.headDim, attnScale, out, c.qStride, lse)
			AttnBackward(&s, c.rows, c.q, c.qStride, c.lens, pages, c.headDim, attnScale, out, c.dOut, c.qStride, lse, dq, c.qStride, dpages)
		}); n != 0 {
			t.Errorf("%s: %g allocations", level, n)
		}
		restore()
	}
}

// A number that is not finite among the keys that a row sees must show in its result, and nowhere else.
func TestAttentionShowsNaN(t *testing.T) {
	for _, level := range Levels() {
		restore, _ := ForceLevel(level)
		c := newAttnCase(32, []int32{40, 35, 50})
		PutK(c.pool[c.pages[1]:], 8, 32, []float32{31: float32(math.NaN())}) // key 40: only the last row sees it
		var s AttnScratch
		out, lse := c.forward(&s, 0, 3)
		if !AllFinite(out[:2*c.qStride]) || !AllFinite(lse[:2]) || AllFinite(out[2*c.qStride:]) || AllFinite(lse[2:]) {
			t.Errorf("%s: NaN in key 40 of rows that see 40, 35 and 50 keys: lse %v", level, lse)
		}
		restore()
	}
}

// Assembly checks no bounds, so what does not fit must stop before it.
func TestAttentionRefusesShortSlices(t *testing.T) {
	c := newAttnCase(32, causal(40))
	var s AttnScratch
	out, lse := make([]float32, len(c.q)), make([]float32, c.rows)
	for name, f := range map[string]func(){
		"q": func() {
			AttnForward(&s, c.rows, c.q[:len(c.q)-6], c.qStride, c.lens, c.in(c.pool), 32, 1, out, c.qStride, lse)
		},
		"out": func() {
			AttnForward(&s, c.rows, c.q, c.qStride, c.lens, c.in(c.pool), 32, 1, out[:len(out)-6:len(out)-6], c.qStride, lse)
		},
		"pages": func() {
			AttnForward(&s, c.rows, c.q, c.qStride, c.lens, c.in(c.pool)[:1], 32, 1, out, c.qStride, lse)
		},
		"page": func() {
			pages := c.in(c.pool)
			pages[0] = pages[0][: len(pages[0])-1 : len(pages[0])-1]
			AttnForward(&s, c.rows, c.q, c.qStride, c.lens, pages, 32, 1, out, c.qStride, lse)
		},
		"lens": func() {
			AttnForward(&s, c.rows, c.q, c.qStride, c.lens[:39:39], c.in(c.pool), 32, 1, out, c.qStride, lse)
		},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s too short: no panic", name)
				}
			}()
			f()
		}()
	}
}

// Query rows are added in ascending order: two calls that continue each other give the bytes of one.
func TestAttentionBackwardSplits(t *testing.T) {
	for name, c := range attnCases() {
		for _, level := range Levels() {
			restore, _ := ForceLevel(level)
			var s AttnScratch
			out, lse := c.forward(&s, 0, c.rows)
			backward := func(bounds ...int) (dq, dpool []float32) {
				dq, dpool = make([]float32, len(c.q)), make([]float32, len(c.pool))
				for i, hi := range bounds[1:] {
					lo := bounds[i]
					at := lo * c.qStride
					AttnBackward(&s, hi-lo, c.q[at:], c.qStride, c.lens[lo:hi], c.in(c.pool), c.headDim, attnScale, out[at:], c.dOut[at:], c.qStride, lse[lo:], dq[at:], c.qStride, c.in(dpool))
				}
				return dq, dpool
			}
			dq, dpool := backward(0, c.rows)
			dq2, dpool2 := backward(0, c.rows/3, c.rows/3+1, c.rows)
			if c.rows > 2 && (!equal(dq, dq2) || !equal(dpool, dpool2)) {
				t.Errorf("%s on %s: gradients of three calls differ from those of one", name, level)
			}
			restore()
		}
	}
}
