package tensor

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/tensor/internal/par"
)

// tiny is a small transformer made of the package's operations.
type tiny struct {
	vocab, d, heads, kvHeads, hd, inner int
	embed, final                        *Tensor
	layers                              []*tinyLayer
	rope                                *RopeTable
	head                                Head
	checkpoint                          bool
	// the step's batch
	ids, pos []int32
	docs     []Doc
	rows     HeadRows
	// decoding
	kv     *KV
	cached []CachedRow
}

type tinyLayer struct {
	m                                      *tiny
	n                                      int
	norm1, norm2, q, k, v, o, gate, up, dn *Tensor
	a, b                                   *Tensor // adapter of q
}

func newTiny(layers int) *tiny {
	m := &tiny{vocab: 131, d: 48, heads: 4, kvHeads: 2, hd: 16, inner: 96}
	n := uint64(0)
	param := func(rows, cols int, scale float32) *Tensor {
		n++
		p := randomTensor(rng.New(11, "tiny", n), rows, cols)
		for i := range p.Data {
			p.Data[i] *= scale
		}
		p.EnsureGrad()
		return p
	}
	ones := func() *Tensor {
		p := param(1, m.d, 0)
		for i := range p.Data {
			p.Data[i] = 1
		}
		return p
	}
	m.embed, m.final = param(m.vocab, m.d, 0.5), ones()
	m.head = Head{W: m.embed, ChunkRows: 64}
	for i := range layers {
		l := &tinyLayer{m: m, n: i, norm1: ones(), norm2: ones()}
		l.q, l.k, l.v = param(m.d, m.heads*m.hd, 0.15), param(m.d, m.kvHeads*m.hd, 0.15), param(m.d, m.kvHeads*m.hd, 0.15)
		l.o = param(m.heads*m.hd, m.d, 0.15)
		l.gate, l.up, l.dn = param(m.d, m.inner, 0.15), param(m.d, m.inner, 0.15), param(m.inner, m.d, 0.1)
		l.a, l.b = param(m.d, 4, 0.1), param(4, m.heads*m.hd, 0.1)
		m.layers = append(m.layers, l)
	}
	m.rope, _ = NewRope(10000, m.hd, 512, RopeScaling{})
	return m
}

func (m *tiny) params() []*Tensor {
	list := []*Tensor{m.embed, m.final}
	for _, l := range m.layers {
		list = append(list, l.norm1, l.norm2, l.q, l.k, l.v, l.o, l.gate, l.up, l.dn, l.a, l.b)
	}
	return list
}

// batch fills documents of the given lengths.
func (m *tiny) batch(seed uint64, lengths ...int) {
	m.ids, m.pos, m.docs, m.rows = m.ids[:0], m.pos[:0], m.docs[:0], HeadRows{Row: m.rows.Row[:0], Target: m.rows.Target[:0]}
	key := rng.New(seed, "batch")
	for _, n := range lengths {
		from := len(m.ids)
		m.docs = append(m.docs, Doc{From: from, To: from + n})
		for p := range n {
			m.ids = append(m.ids, int32(key.Intn(uint64(len(m.ids)), m.vocab)))
			m.pos = append(m.pos, int32(p))
			if p > 0 {
				m.rows.Row = append(m.rows.Row, int32(from+p-1))
				m.rows.Target = append(m.rows.Target, m.ids[from+p])
			}
		}
	}
}

func (l *tinyLayer) Forward(t *Tape, x *Tensor) *Tensor {
	m := l.m
	h := t.RMSNorm(x, l.norm1, 1e-5)
	var q *Tensor
	if l.a == nil {
		q = t.Linear(h, l.q, nil)
	} else {
		q = t.LinearLoRA(h, l.q, nil, l.a, l.b, 2)
	}
	q = t.Rope(q, m.rope, m.pos, m.heads, m.hd)
	k := t.Rope(t.Linear(h, l.k, nil), m.rope, m.pos, m.kvHeads, m.hd)
	v := t.Linear(h, l.v, nil)
	var a *Tensor
	if m.cached != nil {
		a = t.AttentionCached(q, k, v, m.kv, l.n, m.cached, m.heads, m.kvHeads, m.hd, 0.25)
	} else {
		a = t.Attention(q, k, v, m.docs, m.heads, m.kvHeads, m.hd, 0.25)
	}
	x = t.Add(x, t.Linear(a, l.o, nil))
	h = t.RMSNorm(x, l.norm2, 1e-5)
	return t.Add(x, t.Linear(t.SwiGLU(t.Linear(h, l.gate, nil), t.Linear(h, l.up, nil)), l.dn, nil))
}

func (m *tiny) forward(t *Tape) *Tensor {
	mark := t.Mark()
	x := t.Embedding(m.embed, m.ids)
	for _, l := range m.layers {
		if m.checkpoint {
			x = t.Checkpoint(x, l)
		} else {
			x = l.Forward(t, x)
		}
		t.Release(mark, x)
	}
	x = t.RMSNorm(x, m.final, 1e-5)
	t.Release(mark, x)
	return x
}

// meanLoss is the mean negative log-prob, as derivative for Fused.
type meanLoss struct {
	sum float64
	n   int
	fn  Loss
}

func newMeanLoss() *meanLoss {
	l := &meanLoss{}
	l.fn = func(lo, hi int, logp, _, dLogp, _ []float32) {
		for i, lp := range logp {
			l.sum -= float64(lp) / float64(l.n)
			dLogp[i] = -1 / float32(l.n)
		}
	}
	return l
}

func (m *tiny) train(t *Tape, l *meanLoss) {
	t.Reset()
	x := m.forward(t)
	l.sum, l.n = 0, len(m.rows.Row)
	m.head.Fused(x, m.rows, t.GradOf(x), l.fn)
	t.Backward()
}

var adamConfig = AdamConfig{LR: 3e-3, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Decay: 0.01, Clip: 1}

func TestTrainingStepAllocatesNothing(t *testing.T) {
	for _, checkpoint := range []bool{false, true} {
		m, tape, loss := newTiny(3), NewTape(), newMeanLoss()
		m.checkpoint = checkpoint
		m.batch(1, 70, 33, 1, 24)
		o := NewAdamW(ParamGroup{Params: m.params(), Decay: true})
		step := func() {
			m.train(tape, loss)
			if _, err := o.Step(adamConfig); err != nil {
				t.Fatal(err)
			}
			o.ZeroGrad()
		}
		step()
		first := loss.sum
		step()
		if n := testing.AllocsPerRun(5, step); n != 0 {
			t.Errorf("checkpoint %v: a warm training step allocates %v times", checkpoint, n)
		}
		if !(loss.sum < first-0.5) {
			t.Errorf("checkpoint %v: loss went from %g to %g", checkpoint, first, loss.sum)
		}
	}
}

// TestTrainingStepOnTwoProcessorsAllocatesNothing counts by hand: AllocsPerRun forces one processor.
func TestTrainingStepOnTwoProcessorsAllocatesNothing(t *testing.T) {
	old := runtime.GOMAXPROCS(2)
	defer runtime.GOMAXPROCS(old)
	m, tape, loss := newTiny(3), NewTape(), newMeanLoss()
	m.batch(1, 170, 133, 1, 124)
	for range 5 {
		m.train(tape, loss)
	}
	before := par.Sections()
	var a, b runtime.MemStats
	best := uint64(1 << 60)
	for range 8 { // the runtime itself allocates now and then: the best of several counts
		runtime.ReadMemStats(&a)
		m.train(tape, loss)
		runtime.ReadMemStats(&b)
		best = min(best, b.Mallocs-a.Mallocs)
	}
	if best != 0 {
		t.Errorf("a warm training step on two processors allocates %d times", best)
	}
	if par.Sections() == before {
		t.Error("nothing ran in parallel")
	}
}

func TestDecodingStepAllocatesNothing(t *testing.T) {
	m, tape := newTiny(3), NewTape()
	tape.Record(false)
	m.kv = NewKV(3, m.kvHeads, m.hd, 12)
	m.cached = []CachedRow{{[]int32{0, 1, 2}, 70}, {[]int32{3, 4, 5}, 40}, {[]int32{6}, 3}}
	m.ids, m.pos = []int32{5, 6, 7}, []int32{70, 40, 3}
	logits := make([]float32, 3*m.vocab)
	step := func() {
		tape.Reset()
		x := m.forward(tape)
		m.head.Logits(logits, x.Data, 3)
		for r := range 3 {
			RowStats(logits[r*m.vocab:(r+1)*m.vocab], 0.7)
		}
	}
	step()
	step()
	if n := testing.AllocsPerRun(20, step); n != 0 {
		t.Errorf("a warm decoding step allocates %v times", n)
	}
}

// TestTransformer wants the same bytes of loss and all gradients on any number of processors and with recomputed activations, and log-probs that do not depend on the packing.
func TestTransformer(t *testing.T) {
	old := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(old)
	lengths := []int{170, 33, 2, 124}
	run := func(procs int, checkpoint bool) (float64, []*Tensor) {
		runtime.GOMAXPROCS(procs)
		m, l := newTiny(3), newMeanLoss()
		m.checkpoint = checkpoint
		m.batch(1, lengths...)
		m.train(NewTape(), l)
		return l.sum, m.params()
	}
	want, params := run(1, false)
	if GradNorm(params) == 0 {
		t.Fatal("no gradient")
	}
	before := par.Sections()
	for _, c := range []struct {
		procs      int
		checkpoint bool
	}{{2, false}, {3, false}, {1, true}, {2, true}} {
		got, again := run(c.procs, c.checkpoint)
		if got != want {
			t.Errorf("%+v: loss %v, want %v", c, got, want)
		}
		for i := range params {
			if err := same(fmt.Sprintf("%+v: gradient of parameter %d", c, i), again[i].Grad, params[i].Grad); err != nil {
				t.Error(err)
			}
		}
	}
	if par.Sections() == before {
		t.Error("nothing ran in parallel")
	}

	score := func(lengths ...int) []float32 {
		m, tape := newTiny(3), NewTape()
		m.batch(1, lengths...)
		tape.Record(false)
		out := HeadScores{LogProb: make([]float32, len(m.rows.Row))}
		m.head.Score(m.forward(tape), m.rows, &out)
		return out.LogProb
	}
	all := score(lengths...)
	fatal(t, same("log-probs of the first document alone", score(lengths[0]), all[:lengths[0]-1]))
	fatal(t, same("log-probs of the first two documents", score(lengths[:2]...), all[:lengths[0]+lengths[1]-2]))
}

// TestKernelLevels wants the same bytes of loss and gradients from AVX-512 and AVX2, and the plain Go kernels to agree to rounding.
func TestKernelLevels(t *testing.T) {
	run := func(level string) (loss float64, params []*Tensor, ok bool) {
		restore, ok := ForceKernelLevel(level)
		defer restore()
		if !ok {
			return 0, nil, false
		}
		m, l := newTiny(2), newMeanLoss()
		m.batch(1, 130, 33, 2)
		m.train(NewTape(), l)
		return l.sum, m.params(), true
	}
	plain, want, ok := run("go")
	if !ok {
		t.Fatal("there is no plain Go level")
	}
	var vector []*Tensor
	for _, level := range []string{"avx2", "avx512"} {
		loss, params, ok := run(level)
		if !ok {
			t.Logf("this CPU or build has no %s", level)
			continue
		}
		approx(t, level+" loss", loss, plain, 1e-5)
		for i := range params {
			fatal(t, near(fmt.Sprintf("%s: gradient of parameter %d", level, i), params[i].Grad, wide(want[i].Grad), 1e-4))
			if vector != nil {
				fatal(t, same(fmt.Sprintf("%s: gradient of parameter %d", level, i), params[i].Grad, vector[i].Grad))
			}
		}
		vector = params
	}
}

// TestDecodingMatchesTraining wants the hidden states of token-by-token decoding to have the bytes of the packed forward.
func TestDecodingMatchesTraining(t *testing.T) {
	m, tape := newTiny(2), NewTape()
	m.batch(4, 75)
	want := append([]float32{}, m.forward(tape).Data...)
	ids := append([]int32{}, m.ids...)
	m.kv = NewKV(2, m.kvHeads, m.hd, 3)
	tape.Record(false)
	for at := 0; at < 75; {
		n := 1
		if at == 0 {
			n = 37 // prefill
		}
		tape.Reset()
		m.cached = m.cached[:0]
		pages := []int32{2, 0, 1}
		m.ids, m.pos = ids[at:at+n], nil
		for i := range n {
			m.cached = append(m.cached, CachedRow{pages, int32(at + i)})
			m.pos = append(m.pos, int32(at+i))
		}
		fatal(t, same(fmt.Sprintf("hidden state at %d", at), m.forward(tape).Data, want[at*m.d:(at+n)*m.d]))
		at += n
	}
}

func TestPlan(t *testing.T) {
	for _, checkpoint := range []bool{false, true} {
		for _, record := range []bool{true, false} {
			m, l := newTiny(4), newMeanLoss()
			m.checkpoint = checkpoint
			m.batch(1, 170, 33, 2, 124)
			tape := NewTape()
			plan := tape.Plan(func(t *Tape) {
				t.Record(record)
				m.forward(t)
			})
			if tape.mem.slab != nil {
				t.Error("Plan allocated")
			}
			tape.mem.peak = 0 // the plan must not help the measurement
			tape.Record(record)
			if record {
				m.train(tape, l)
			} else {
				m.forward(tape)
			}
			if got := tape.Bytes(); plan == 0 || got != plan {
				t.Errorf("checkpoint %v, record %v: planned %d bytes, used %d", checkpoint, record, plan, got)
			}
			t.Logf("checkpoint %v, record %v: %d bytes", checkpoint, record, plan)

			tape.Reset()
			if record {
				m.train(tape, l)
			}
			if tape.mem.spill != 0 {
				t.Error("a second step does not fit into the arena")
			}
		}
	}
}

// TestReleaseSavesMemory wants forward-only memory not to grow with the number of layers, and recomputation to save memory.
func TestReleaseSavesMemory(t *testing.T) {
	plan := func(layers int, record, checkpoint bool) int64 {
		m := newTiny(layers)
		m.checkpoint = checkpoint
		m.batch(1, 170, 33)
		return NewTape().Plan(func(t *Tape) {
			t.Record(record)
			m.forward(t)
		})
	}
	if a, b := plan(2, false, false), plan(8, false, false); a != b {
		t.Errorf("forward only: 2 layers need %d bytes, 8 need %d", a, b)
	}
	full, less := plan(8, true, false), plan(8, true, true)
	if less*3 > full {
		t.Errorf("8 layers need %d bytes, with recomputation %d", full, less)
	}
}

// TestArena allocates and releases at random: ranges never overlap, and an empty arena is whole again.
func TestArena(t *testing.T) {
	var a arena
	key := rng.New(1, "arena")
	type piece struct {
		s span
		x []float32
		v float32
	}
	var live []piece
	for round := range 3 {
		for i := range 3000 {
			n := uint64(round*3000 + i)
			if key.Intn(2*n, 5) < 3 && len(live) < 60 {
				size := 1 + key.Intn(2*n+1, 500)
				s := a.alloc(size)
				x := a.slice(s, size)
				if s.n < size || len(x) != size {
					t.Fatal("too short")
				}
				for j := range x {
					x[j] = float32(n)
				}
				live = append(live, piece{s, x, float32(n)})
			} else if len(live) > 0 {
				k := key.Intn(2*n+1, len(live))
				for _, v := range live[k].x {
					if v != live[k].v {
						t.Fatal("two ranges overlap")
					}
				}
				a.release(live[k].s)
				live = append(live[:k], live[k+1:]...)
			}
		}
		for _, p := range live {
			a.release(p.s)
		}
		live = live[:0]
		if a.top != 0 || len(a.free) != 0 {
			t.Fatalf("empty arena: top %d, holes %v", a.top, a.free)
		}
	}
	if a.spill == 0 || len(a.slab) != a.peak {
		t.Errorf("spilled %d in the first round, slab %d, peak %d", a.spill, len(a.slab), a.peak)
	}
}
