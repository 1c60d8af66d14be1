package model

import (
	"runtime"
	"slices"
	"testing"

	"github.com/hone-lm/hone/tensor"
)

func TestNew(t *testing.T) {
	c := Config{Family: Llama, Vocab: 40, Hidden: 16, Inner: 24, Layers: 2, Heads: 2, MaxPos: 32, NormEps: 1e-5, RopeTheta: 1e4}
	a, err := New(c, 1)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := New(c, 1)
	c.Layers = 1 // a weight depends on its own name alone
	short, _ := New(c, 1)
	other, _ := New(c, 2)
	for i, p := range short.Weights() {
		if p.Name == "model.layers.0.self_attn.o_proj.weight" || p.Name == "model.layers.0.mlp.down_proj.weight" {
			continue // scaled by the number of layers
		}
		k := slices.IndexFunc(a.Weights(), func(q Param) bool { return q.Name == p.Name })
		if !slices.Equal(a.Weights()[k].Data, p.Data) || !slices.Equal(a.Weights()[k].Data, b.Weights()[k].Data) {
			t.Errorf("%s differs", p.Name)
		}
		if p.Decay && slices.Equal(other.Weights()[i].Data, p.Data) {
			t.Errorf("%s does not depend on the seed", p.Name)
		}
		if !p.Decay && p.Data[0] != 1 {
			t.Errorf("%s is %g", p.Name, p.Data[0])
		}
	}
	c.Heads = 3
	if _, err := New(c, 1); err == nil {
		t.Error("3 heads of 16 values were accepted")
	}
	g, _ := New(Config{Family: GPT2, Vocab: 40, Hidden: 16, Inner: 24, Layers: 1, Heads: 2, MaxPos: 32, NormEps: 1e-5}, 1)
	if l := g.blocks[0]; l.norm1.Data[0] != 1 || l.norm1b.Data[0] != 0 || l.q.b.Data[0] != 0 || g.normb.Data[0] != 0 || g.norm.Data[0] != 1 {
		t.Error("gpt2: norms begin at 1, biases at 0")
	}
}

// hidden returns the final hidden states of each sequence, run together or alone, in training's way.
func hidden(m *Model, sequences [][]int32, together bool) [][]float32 {
	var out [][]float32
	if !together {
		for _, s := range sequences {
			out = append(out, hidden(m, [][]int32{s}, true)[0])
		}
		return out
	}
	in := &Input{}
	for _, s := range sequences {
		in.Docs = append(in.Docs, tensor.Doc{From: len(in.Tokens), To: len(in.Tokens) + len(s)})
		in.Tokens = append(in.Tokens, s...)
	}
	h := m.Forward(tensor.NewTape(), in)
	for _, d := range in.Docs {
		out = append(out, slices.Clone(h.Data[d.From*h.Cols:d.To*h.Cols]))
	}
	return out
}

// cached runs the sequences over the cache, in chunks of tokens, all sequences in each step.
func cached(m *Model, sequences [][]int32, chunk int) [][]float32 {
	c := &m.Config
	kv := tensor.NewKV(c.Layers, c.KVHeads, c.HeadDim, 4*len(sequences))
	t := tensor.NewTape()
	t.Record(false)
	out := make([][]float32, len(sequences))
	in := &Input{KV: kv}
	for from := 0; ; from += chunk {
		in.Tokens, in.Rows = in.Tokens[:0], in.Rows[:0]
		var owner []int
		for i, s := range sequences {
			pages := []int32{int32(4 * i), int32(4*i + 2), int32(4*i + 1), int32(4*i + 3)}
			for p := from; p < min(len(s), from+chunk); p++ {
				in.Tokens, owner = append(in.Tokens, s[p]), append(owner, i)
				in.Rows = append(in.Rows, tensor.CachedRow{Pages: pages, Pos: int32(p)})
			}
		}
		if len(in.Tokens) == 0 {
			return out
		}
		t.Reset()
		h := m.Forward(t, in)
		for r, i := range owner {
			out[i] = append(out[i], h.Row(r)...)
		}
	}
}

// TestOneForward checks that neighbours, chunks, the cache, recomputation and an adapter that is not merged leave every hidden state as it is, to the bit.
func TestOneForward(t *testing.T) {
	for _, family := range []Family{Llama, Qwen3, GPT2} {
		m := small(t, family, func(c *Config) { c.MaxPos = 128 })
		m.AddLoRA(LoRASpec{Rank: 3, Alpha: 6})
		for i, p := range m.Params() {
			shake(p.Tensor, uint64(i))
		}
		sequences := slices.Clone(testTokens)
		var long []int32
		for i := range 71 { // more than two pages
			long = append(long, int32(i*i%61))
		}
		sequences = append(sequences, long)
		want := hidden(m, sequences, true)
		same := func(name string, got [][]float32) {
			t.Helper()
			for i := range want {
				if !slices.Equal(got[i], want[i]) {
					t.Errorf("%s, %s: sequence %d differs", family, name, i)
				}
			}
		}
		same("alone", hidden(m, sequences, false))
		same("cached, a token at a time", cached(m, sequences, 1))
		same("cached, 7 tokens at a time", cached(m, sequences, 7))
		same("cached, at once", cached(m, sequences, 100))
		procs := runtime.GOMAXPROCS(1)
		same("one processor", hidden(m, sequences, true))
		runtime.GOMAXPROCS(procs)
	}
}

// TestRecompute checks that recomputation gives the same gradients, to the bit.
func TestRecompute(t *testing.T) {
	gradients := func(recompute bool) [][]float32 {
		m := small(t, Qwen3, nil)
		if err := m.Train(); err != nil {
			t.Fatal(err)
		}
		tape := tensor.NewTape()
		h := m.Forward(tape, &Input{Tokens: testTokens[0], Docs: []tensor.Doc{{From: 0, To: 4}, {From: 4, To: 10}}, Recompute: recompute})
		for i := range tape.GradOf(h) {
			tape.GradOf(h)[i] = float32(i%7) - 2
		}
		tape.Backward()
		var g [][]float32
		for _, p := range m.Params() {
			g = append(g, p.Grad)
		}
		return g
	}
	a, b := gradients(false), gradients(true)
	for i := range a {
		if !slices.Equal(a[i], b[i]) {
			t.Errorf("gradient %d differs", i)
		}
	}
}

func TestNoAllocation(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	for _, family := range []Family{Llama, GPT2} {
		m := small(t, family, nil)
		m.AddLoRA(LoRASpec{Rank: 2, Alpha: 2})
		if err := m.Train(); err != nil {
			t.Fatal(err)
		}
		tape := tensor.NewTape()
		in := &Input{Tokens: testTokens[0], Docs: []tensor.Doc{{From: 0, To: 4}, {From: 4, To: 10}}, Recompute: true}
		step := func() {
			tape.Reset()
			h := m.Forward(tape, in)
			fill(tape.GradOf(h), 1)
			tape.Backward()
		}
		step()
		step()
		if n := testing.AllocsPerRun(5, step); n != 0 {
			t.Errorf("%s: a warm training step allocates %g times", family, n)
		}
		c := &m.Config
		decode := tensor.NewTape()
		decode.Record(false)
		cache := &Input{KV: tensor.NewKV(c.Layers, c.KVHeads, c.HeadDim, 2), Tokens: []int32{5, 6}, Rows: []tensor.CachedRow{{Pages: []int32{0}, Pos: 3}, {Pages: []int32{1}, Pos: 9}}}
		token := func() {
			decode.Reset()
			m.Forward(decode, cache)
		}
		token()
		token()
		if n := testing.AllocsPerRun(5, token); n != 0 {
			t.Errorf("%s: a warm decoding step allocates %g times", family, n)
		}
	}
}
