package local

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"runtime"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/tensor"
)

var ctx = context.Background()

func small(family model.Family) model.Config {
	c := model.Config{Family: family, Vocab: 97, Hidden: 48, Inner: 80, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 12, MaxPos: 256, NormEps: 1e-5, Tied: true, RopeTheta: 10000}
	if family == model.GPT2 {
		c.KVHeads, c.Inner = 4, 192
	}
	return c
}

// loud is a model whose distributions are far from flat, with an adapter that does something when lora is set.
func loud(t testing.TB, family model.Family, lora bool) *model.Model {
	t.Helper()
	m, err := model.New(small(family), 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Weights() {
		if p.Decay {
			for i := range p.Data {
				p.Data[i] *= 8
			}
		}
	}
	if lora {
		if err := m.AddLoRA(model.LoRASpec{Rank: 3, Alpha: 6, Seed: 1}); err != nil {
			t.Fatal(err)
		}
		for n, p := range m.Params() {
			for i := range p.Data {
				p.Data[i] += float32(0.1 * rng.New(9, "adapter", uint64(n)).Normal(uint64(i)))
			}
		}
	}
	return m
}

// precision is that of engines whose test does not choose one; see TestBF16.
var precision string

func open(t testing.TB, m *model.Model, o Options) *Engine {
	t.Helper()
	if o.Precision == "" {
		o.Precision = precision
	}
	e, err := New(m, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// probe records the log-probs that Backward's forward pass shows to objectives.
type probe struct {
	seen map[*engine.Sequence][]float32
}

func (probe) Name() string        { return "probe" }
func (probe) Scope() engine.Scope { return engine.ScopeToken }
func (probe) Needs() engine.Want  { return engine.Want{} }
func (p probe) Eval(views []engine.View, _ *engine.Tally) float64 {
	for _, v := range views {
		if p.seen[v.Row.Seq] == nil {
			p.seen[v.Row.Seq] = make([]float32, len(v.Row.Seq.Tokens))
		}
		copy(p.seen[v.Row.Seq][v.From:], v.LogProb)
		for i := range v.DLogProb {
			v.DLogProb[i] += 1e-3
		}
	}
	return 0
}

func sampledRow(s *engine.Sequence) engine.Row {
	mask := make([]bool, len(s.Tokens))
	for t := range mask {
		mask[t] = t > 0 && s.KindAt(t) == engine.KindSampled
	}
	return engine.Row{Seq: s, Mask: mask}
}

func prompt(key uint64, n int) *engine.Sequence {
	s := &engine.Sequence{ID: engine.ItemID{Problem: fmt.Sprint(key)}, Tokens: make([]int32, n)}
	for i := range s.Tokens {
		s.Tokens[i] = int32(rng.New(key, "prompt").Intn(uint64(i), 97))
	}
	return s
}

// On policy exp(logp - logp_old) is exactly 1: the packed, batched training forward gives the bytes of the sampler.
func TestRatioIsOne(t *testing.T) {
	for _, family := range []model.Family{model.Llama, model.Qwen3, model.GPT2} {
		for _, lora := range []bool{false, true} {
			for _, temp := range []float32{0.7, 1, 1.3} {
				for _, size := range []int{1, 7, 64} {
					if testing.Short() && (size == 64 || temp == 0.7) {
						continue
					}
					t.Run(fmt.Sprintf("%s/lora=%v/T=%g/n=%d", family, lora, temp, size), func(t *testing.T) { ratioIsOne(t, loud(t, family, lora), temp, size) })
				}
			}
		}
	}
}

func ratioIsOne(t *testing.T, m *model.Model, temp float32, size int) {
	var first [][]*engine.Sequence
	for _, procs := range []int{1, 2} {
		old := runtime.GOMAXPROCS(procs)
		e := open(t, m, Options{Slots: 5, MicroTokens: 300}) // fewer slots than sequences: they are refilled
		prompts := []engine.Prompt{{Seq: prompt(1, 37), N: size, Params: engine.Params{Temperature: temp, MaxTokens: 60}, Key: rng.New(1, "a")},
			{Seq: prompt(2, 1), N: 2, Params: engine.Params{Temperature: temp, MaxTokens: 70, StopIDs: []int32{5}}, Key: rng.New(2, "b")}}
		drawn, err := e.Sample(ctx, prompts)
		if err != nil {
			t.Fatal(err)
		}
		again, err := e.Sample(ctx, prompts) // from the cache
		if err != nil {
			t.Fatal(err)
		}
		sameBits(t, "again", drawn, again)
		p := probe{map[*engine.Sequence][]float32{}}
		var rows []engine.Row
		for _, g := range drawn {
			for _, s := range g {
				rows = append(rows, sampledRow(s))
			}
		}
		b, err := engine.Normalise([]engine.Stream{{Name: "probe", Obj: p, Coef: 1, Norm: engine.TokenMean, Rows: rows}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Backward(ctx, b); err != nil {
			t.Fatal(err)
		}
		tokens := 0
		for _, r := range rows {
			for i, on := range r.Mask {
				if lp, was := p.seen[r.Seq][i], r.Seq.Channel(engine.ChanOld)[i]; on {
					tokens++
					if lp != was || math.Exp(float64(lp)-float64(was)) != 1 {
						t.Fatalf("GOMAXPROCS %d: token %d: trained %v, sampled %v", procs, i, lp, was)
					}
				}
			}
		}
		if tokens < 60 {
			t.Fatalf("only %d sampled tokens", tokens)
		}
		if first == nil {
			first = drawn
		} else {
			same(t, first, drawn)
		}
		runtime.GOMAXPROCS(old)
	}
}

func same(t *testing.T, a, b [][]*engine.Sequence) {
	t.Helper()
	for i := range a {
		for k := range a[i] {
			if fmt.Sprint(a[i][k].Tokens) != fmt.Sprint(b[i][k].Tokens) {
				t.Fatalf("prompt %d sample %d: %v, then %v", i, k, a[i][k].Tokens, b[i][k].Tokens)
			}
		}
	}
}

// A sample depends on its prompt, parameters and key alone.
func TestSamplesDoNotSeeNeighbours(t *testing.T) {
	m := loud(t, model.Llama, false)
	one := engine.Prompt{Seq: prompt(1, 40), N: 3, Params: engine.Params{MaxTokens: 50}, Key: rng.New(1, "x")}
	two := engine.Prompt{Seq: prompt(2, 9), N: 9, Params: engine.Params{MaxTokens: 20, TopK: 5}, Key: rng.New(2, "y")}
	alone, err := open(t, m, Options{}).Sample(ctx, []engine.Prompt{one})
	if err != nil {
		t.Fatal(err)
	}
	for _, slots := range []int{1, 4, 64} {
		e := open(t, m, Options{Slots: slots})
		both, err := e.Sample(ctx, []engine.Prompt{two, one})
		if err != nil {
			t.Fatal(err)
		}
		same(t, alone, both[1:])
		again, err := e.Sample(ctx, []engine.Prompt{one, two}) // a warm engine
		if err != nil {
			t.Fatal(err)
		}
		same(t, both, [][]*engine.Sequence{again[1], again[0]})
	}
}

// Gradients do not depend on the split into micro-batches but by rounding, nor on the number of processors at all; faults are seen.
func TestGradient(t *testing.T) {
	m := loud(t, model.Llama, false)
	var rows []engine.Row
	for i := range 9 {
		s := prompt(uint64(i+20), 20+7*i)
		mask := make([]bool, len(s.Tokens))
		for k := 5; k < len(mask); k++ {
			mask[k] = true
		}
		rows = append(rows, engine.Row{Seq: s, Mask: mask})
	}
	gradient := func(micro, procs int, scale float64, drop int) []float32 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		e := open(t, m, Options{MicroTokens: micro})
		b, err := engine.Normalise([]engine.Stream{{Name: "sft", Obj: objective.CrossEntropy{}, Coef: scale, Norm: engine.TokenMean, Rows: rows[drop:]}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Backward(ctx, b); err != nil {
			t.Fatal(err)
		}
		var g []float32
		for _, p := range m.Params() {
			g = append(g, p.Grad...)
		}
		e.adam.ZeroGrad()
		return g
	}
	before := tensor.ParallelSections()
	whole, two := gradient(1<<20, 1, 1, 0), gradient(1<<20, 2, 1, 0)
	if tensor.ParallelSections() == before {
		t.Error("nothing ran in parallel")
	}
	if d := distance(whole, two); d != 0 {
		t.Errorf("two processors change the gradient by %g", d)
	}
	for _, micro := range []int{1, 60, 150} {
		if d := distance(whole, gradient(micro, 2, 1, 0)); d > 2e-6 {
			t.Errorf("micro-batches of %d tokens change the gradient by %g", micro, d)
		}
	}
	if distance(whole, gradient(150, 2, 1.01, 0)) < 1e-3 || distance(whole, gradient(150, 2, 1, 1)) < 1e-3 {
		t.Error("a wrong normaliser or a dropped row was not seen")
	}
}

// distance is the norm of the difference over the norm; the norm must be positive.
func distance(a, b []float32) float64 {
	d, n := 0.0, 0.0
	for i := range a {
		d += (float64(a[i]) - float64(b[i])) * (float64(a[i]) - float64(b[i]))
		n += float64(a[i]) * float64(a[i])
	}
	if n == 0 {
		return math.Inf(1)
	}
	return math.Sqrt(d / n)
}

// k steps, a saved and loaded state, and k more steps are 2k steps, to the bit; LoadWeights begins anew.
func TestState(t *testing.T) {
	step := func(e *Engine, n int) {
		t.Helper()
		s := prompt(uint64(50+n), 30)
		mask := make([]bool, 30)
		for i := 1; i < 30; i++ {
			mask[i] = true
		}
		b, err := engine.Normalise([]engine.Stream{{Name: "sft", Obj: objective.CrossEntropy{}, Coef: 1, Norm: engine.TokenMean, Rows: []engine.Row{{Seq: s, Mask: mask}}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Backward(ctx, b); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Step(ctx, engine.Optim{LR: 1e-2, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1, Clip: 1}); err != nil {
			t.Fatal(err)
		}
	}
	state := func(e *Engine) []byte {
		t.Helper()
		var b bytes.Buffer
		if err := e.Save(ctx, &b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	for _, lora := range []bool{false, true} {
		a := open(t, loud(t, model.Llama, lora), Options{})
		if _, err := a.Freeze(ctx, "start"); err != nil {
			t.Fatal(err)
		}
		step(a, 1)
		step(a, 2)
		half := state(a)
		step(a, 3)
		b := open(t, loud(t, model.Llama, lora), Options{})
		if err := b.Load(ctx, bytes.NewReader(half)); err != nil {
			t.Fatal(err)
		}
		step(b, 3)
		if !bytes.Equal(state(a), state(b)) {
			t.Errorf("lora %v: a loaded state goes on differently", lora)
		}
		fresh := open(t, loud(t, model.Llama, lora), Options{})
		if err := fresh.LoadWeights(ctx, bytes.NewReader(half)); err != nil {
			t.Fatal(err)
		}
		step(fresh, 3)
		if bytes.Equal(state(a), state(fresh)) {
			t.Errorf("lora %v: LoadWeights kept the optimiser", lora)
		}
		if err := b.Load(ctx, bytes.NewReader(half[:len(half)-9])); err == nil {
			t.Error("a truncated state was accepted")
		}
		if err := open(t, loud(t, model.Qwen3, lora), Options{}).Load(ctx, bytes.NewReader(half)); err == nil {
			t.Error("a state of another model was accepted")
		}
	}
}

func TestErrors(t *testing.T) {
	e := open(t, loud(t, model.Llama, false), Options{Context: 64})
	row := func(n int) engine.Row {
		mask := make([]bool, n)
		mask[n-1] = true
		return engine.Row{Seq: prompt(1, n), Mask: mask}
	}
	outside := row(10)
	outside.Seq.Tokens[3] = 97
	for name, s := range map[string]engine.Stream{
		"too long":        {Obj: objective.CrossEntropy{}, Rows: []engine.Row{row(65)}},
		"id outside":      {Obj: objective.CrossEntropy{}, Rows: []engine.Row{outside}},
		"missing channel": {Obj: objective.Clipped{}, Rows: []engine.Row{row(10)}},
		"unit of one":     {Obj: objective.DPO{Beta: 1}, Rows: []engine.Row{row(10)}},
	} {
		s.Name, s.Coef, s.Norm = "s", 1, engine.TokenMean
		if name == "unit of one" {
			s.Rows[0].Seq.SetChannel(engine.ChanRef, nil)
		}
		b, err := engine.Normalise([]engine.Stream{s})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Backward(ctx, b); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if u, err := e.Step(ctx, engine.Optim{LR: 1}); err != nil || !u.Skipped {
		t.Errorf("a step without a gradient: %+v, %v", u, err)
	}
}
