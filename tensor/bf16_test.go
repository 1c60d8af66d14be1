package tensor

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/hone-lm/hone/tensor/internal/par"
)

// newTinyBF16 returns the small transformer and a tape, both with products of bf16; packWeights rounds its weights beforehand.
func newTinyBF16(layers int) (*tiny, *Tape) {
	m, tape := newTiny(layers), NewTape()
	m.head.BF16 = true
	tape.BF16(true)
	return m, tape
}

func (m *tiny) packWeights() {
	m.embed.PackHeadBF16()
	for _, l := range m.layers {
		for _, w := range []*Tensor{l.q, l.k, l.v, l.o, l.gate, l.up, l.dn} {
			w.PackBF16()
		}
	}
}

// TestBF16Transformer wants of bf16 what TestTransformer wants of float32: the same bytes of loss and gradients on any number of processors,
// with recomputed activations and with weights rounded beforehand; and a loss near that of float32.
func TestBF16Transformer(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	lengths := []int{170, 33, 2, 124}
	if !HasBF16() { // emulated
		lengths = []int{70, 33, 2}
	}
	run := func(procs int, checkpoint, packed bool) (float64, []*Tensor) {
		runtime.GOMAXPROCS(procs)
		m, tape := newTinyBF16(2)
		m.checkpoint = checkpoint
		if packed {
			m.packWeights()
		}
		m.batch(1, lengths...)
		l := newMeanLoss()
		m.train(tape, l)
		return l.sum, m.params()
	}
	want, params := run(1, false, false)
	before := par.Sections()
	for _, c := range []struct {
		procs              int
		checkpoint, packed bool
	}{{2, false, false}, {3, false, true}, {1, true, true}, {2, true, false}} {
		got, again := run(c.procs, c.checkpoint, c.packed)
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
	m, l := newTiny(2), newMeanLoss()
	m.batch(1, lengths...)
	m.train(NewTape(), l)
	if l.sum == want {
		t.Error("bf16 changes nothing")
	}
	approx(t, "loss", want, l.sum, 2e-2)
	approx(t, "gradient norm", GradNorm(params), GradNorm(m.params()), 2e-2*GradNorm(m.params()))
}

// TestBF16Decoding wants token-by-token decoding over rounded weights to have the bytes of the packed forward that rounds them itself, log-probs
// included.
func TestBF16Decoding(t *testing.T) {
	m, tape := newTinyBF16(2)
	m.batch(4, 75)
	want := append([]float32{}, m.forward(tape).Data...)
	logits := make([]float32, 75*m.vocab)
	m.head.Logits(logits, want, 75)
	ids := append([]int32{}, m.ids...)
	m.kv = NewKV(2, m.kvHeads, m.hd, 3)
	tape.Record(false)
	m.packWeights()
	one := make([]float32, m.vocab)
	for at := range 75 {
		tape.Reset()
		m.ids, m.pos, m.cached = ids[at:at+1], []int32{int32(at)}, []CachedRow{{[]int32{2, 0, 1}, int32(at)}}
		h := m.forward(tape)
		fatal(t, same(fmt.Sprintf("hidden state at %d", at), h.Data, want[at*m.d:(at+1)*m.d]))
		m.head.Logits(one, h.Data, 1)
		fatal(t, same(fmt.Sprintf("logits at %d", at), one, logits[at*m.vocab:(at+1)*m.vocab]))
	}
}

// TestStaleBF16 wants a changed weight to show once it has been called stale, whether or not it is rounded again, and shared copies to follow.
func TestStaleBF16(t *testing.T) {
	m, tape := newTinyBF16(1)
	m.batch(1, 9)
	w := m.layers[0].q
	other := &Tensor{Rows: w.Rows, Cols: w.Cols, Data: w.Data}
	other.ShareBF16(w)
	x := m.forward(tape)
	product := func(w *Tensor) []float32 { return append([]float32{}, tape.Linear(x, w, nil).Data...) }
	w.PackBF16()
	first := product(w)
	for i := range w.Data {
		w.Data[i] *= 2
	}
	fatal(t, same("the copy in use", product(w), first))
	other.StaleBF16()
	changed := product(w)
	if same("", changed, first) == nil {
		t.Fatal("a stale copy is used")
	}
	other.PackBF16()
	fatal(t, same("the product with the new copy", product(w), changed))
	w.PackHeadBF16()
	fatal(t, same("the product with a copy laid out for a head", product(w), changed))
}

func TestBF16AllocatesNothing(t *testing.T) {
	if !HasBF16() {
		t.Skip("emulated")
	}
	m, tape := newTinyBF16(2)
	l := newMeanLoss()
	m.batch(1, 70, 33, 1, 24)
	for range 3 {
		m.train(tape, l)
	}
	if n := testing.AllocsPerRun(5, func() { m.train(tape, l) }); n != 0 {
		t.Errorf("a warm training step allocates %v times", n)
	}
}
