package local

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/model/safetensors"
	"github.com/hone-lm/hone/objective"
)

// fullRow counts every token that has a predecessor.
func fullRow(s *engine.Sequence) engine.Row {
	mask := make([]bool, len(s.Tokens))
	for t := 1; t < len(mask); t++ {
		mask[t] = true
	}
	return engine.Row{Seq: s, Mask: mask}
}

func normalised(t testing.TB, streams ...engine.Stream) *engine.Batch {
	t.Helper()
	for i := range streams {
		if streams[i].Norm == "" {
			streams[i].Norm = engine.TokenMean
		}
		if streams[i].Coef == 0 {
			streams[i].Coef = 1
		}
	}
	b, err := engine.Normalise(streams)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func gradientNorm(m *model.Model) float64 {
	sum := 0.0
	for _, p := range m.Params() {
		for _, g := range p.Grad {
			sum += float64(g) * float64(g)
		}
	}
	return math.Sqrt(sum)
}

var adam = engine.Optim{LR: 1e-2, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.1, Clip: 1}

// A unit's rows reach the objective in the order of their stream, whatever another stream names first.
func TestUnitOrder(t *testing.T) {
	m := loud(t, model.Llama, false)
	pair := func() (chosen, rejected engine.Row) {
		chosen, rejected = fullRow(prompt(1, 20)), fullRow(prompt(2, 25))
		for _, r := range []engine.Row{chosen, rejected} {
			r.Seq.Unit = 1
			r.Seq.SetChannel(engine.ChanRef, nil)
		}
		return chosen, rejected
	}
	var losses [2]float64
	for i := range losses {
		c, r := pair()
		streams := []engine.Stream{{Name: "dpo", Obj: objective.DPO{Beta: 0.01}, Norm: engine.UnitMean, Rows: []engine.Row{c, r}}}
		if i == 1 {
			kl := engine.Stream{Name: "kl", Obj: objective.KL{Estimator: objective.K1}, Coef: 1e-9, Rows: []engine.Row{r, c}}
			streams = append([]engine.Stream{kl}, streams...)
		}
		stats, err := open(t, m, Options{}).Backward(ctx, normalised(t, streams...))
		if err != nil {
			t.Fatal(err)
		}
		losses[i] = stats.Streams[i].Loss
	}
	if losses[0] != losses[1] || losses[0] == 0 {
		t.Errorf("the pair's loss is %g alone and %g behind a stream that names the rejected row first", losses[0], losses[1])
	}
}

// Nothing of a failed Backward stays behind, and a batch without rows makes no step.
func TestBackwardLeavesNothing(t *testing.T) {
	m := loud(t, model.Llama, false)
	e := open(t, m, Options{MicroTokens: 1})
	good, bad := fullRow(prompt(1, 20)), fullRow(prompt(2, 20))
	good.Seq.SetChannel(engine.ChanRef, nil)
	bad.Seq.SetChannel(engine.ChanRef, nil)[5] = float32(math.NaN())
	if _, err := e.Backward(ctx, normalised(t, engine.Stream{Name: "kl", Obj: objective.KL{Estimator: objective.K3}, Rows: []engine.Row{good, bad}})); err == nil {
		t.Fatal("a loss that is not a number passed")
	}
	if n := gradientNorm(m); n != 0 {
		t.Errorf("a failed Backward left a gradient of norm %g", n)
	}
	if _, err := e.Backward(ctx, &engine.Batch{}); err != nil {
		t.Fatal(err)
	}
	before := m.Params()[0].Data[0]
	if u, err := e.Step(ctx, adam); err != nil || !u.Skipped || m.Params()[0].Data[0] != before {
		t.Errorf("a step after an empty batch: %+v, %v", u, err)
	}
	if _, err := e.Backward(ctx, &engine.Batch{Streams: []engine.Stream{{Name: "raw", Obj: objective.CrossEntropy{}, Rows: []engine.Row{good}}}}); err == nil {
		t.Error("a batch that was never normalised passed")
	}
	var state bytes.Buffer
	if err := e.Save(ctx, &state); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Backward(ctx, normalised(t, engine.Stream{Name: "sft", Obj: objective.CrossEntropy{}, Rows: []engine.Row{good}})); err != nil {
		t.Fatal(err)
	}
	if err := e.Load(ctx, &state); err != nil {
		t.Fatal(err)
	}
	if u, err := e.Step(ctx, adam); err != nil || !u.Skipped {
		t.Errorf("the gradient from before Load was used: %+v, %v", u, err)
	}
}

// Settings that would spoil the weights are refused before the update.
func TestOptimRefused(t *testing.T) {
	m := loud(t, model.Llama, false)
	e := open(t, m, Options{})
	for name, change := range map[string]func(*engine.Optim){
		"lr":     func(o *engine.Optim) { o.LR = math.NaN() },
		"beta1":  func(o *engine.Optim) { o.Beta1 = 1 },
		"beta2":  func(o *engine.Optim) { o.Beta2 = -0.1 },
		"eps":    func(o *engine.Optim) { o.Eps = -1 },
		"clip":   func(o *engine.Optim) { o.Clip = math.Inf(-1) },
		"groups": func(o *engine.Optim) { o.Groups = map[string]float64{"critic": 2} },
	} {
		if _, err := e.Backward(ctx, normalised(t, engine.Stream{Name: "sft", Obj: objective.CrossEntropy{}, Rows: []engine.Row{fullRow(prompt(1, 9))}})); err != nil {
			t.Fatal(err)
		}
		o := adam
		change(&o)
		if _, err := e.Step(ctx, o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

type forbid struct{}

func (forbid) Apply(_ *engine.Sequence, logits []float32) {
	for i := range logits {
		logits[i] = float32(math.Inf(-1))
	}
}

// Parameters and rules that leave nothing to draw give an error, not a crash.
func TestSampleRefused(t *testing.T) {
	e := open(t, loud(t, model.Llama, false), Options{})
	nan := float32(math.NaN())
	for name, p := range map[string]engine.Prompt{
		"temperature nan":  {Params: engine.Params{Temperature: nan}},
		"temperature tiny": {Params: engine.Params{Temperature: 1e-39}},
		"temperature inf":  {Params: engine.Params{Temperature: float32(math.Inf(1))}},
		"top_p nan":        {Params: engine.Params{TopP: nan}},
		"min_p nan":        {Params: engine.Params{MinP: nan}},
		"penalty nan":      {Params: engine.Params{RepetitionPenalty: nan}},
		"rule":             {Rules: []engine.Rule{forbid{}}},
		"greedy rule":      {Rules: []engine.Rule{forbid{}}, Params: engine.Params{Greedy: true}},
		"n":                {N: -1},
		"max tokens":       {Params: engine.Params{MaxTokens: -1}},
		"stop id":          {Params: engine.Params{StopIDs: []int32{97}}},
		"stop string":      {Params: engine.Params{Stop: []string{"x"}}},
	} {
		p.Seq, p.Key = prompt(1, 5), rng.New(1, "x")
		if p.N == 0 {
			p.N = 1
		}
		if p.Params.MaxTokens == 0 {
			p.Params.MaxTokens = 2
		}
		if _, err := e.Sample(ctx, []engine.Prompt{p}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := e.Score(ctx, []*engine.Sequence{prompt(1, 5)}, engine.Want{TopK: 98}); err == nil {
		t.Error("top-k beyond the vocabulary passed")
	}
}

// Earlier turns keep their log-probs, forced tokens get theirs, and both are what Backward's forward sees.
func TestForcedAndEarlierTurns(t *testing.T) {
	for _, temp := range []float32{1, 0.7} {
		e := open(t, loud(t, model.Qwen3, true), Options{MicroTokens: 90, Slots: 3})
		params := engine.Params{Temperature: temp, MaxTokens: 20}
		first, err := e.Sample(ctx, []engine.Prompt{{Seq: prompt(1, 30), N: 1, Params: params, Key: rng.New(1, "turn")}})
		if err != nil {
			t.Fatal(err)
		}
		turn := first[0][0]
		for i := range 25 { // tool output, then an expert's tokens
			kind := engine.KindObserved
			if i >= 5 {
				kind = engine.KindForced
			}
			turn.Tokens, turn.Kind = append(turn.Tokens, int32(3*i)), append(turn.Kind, kind)
		}
		for name := range turn.Chan {
			turn.Chan[name] = append(turn.Chan[name], make([]float32, 25)...)
		}
		second, err := e.Sample(ctx, []engine.Prompt{{Seq: turn, N: 4, Params: params, Key: rng.New(2, "turn")}})
		if err != nil {
			t.Fatal(err)
		}
		p := probe{map[*engine.Sequence][]float32{}}
		var rows []engine.Row
		for _, s := range second[0] {
			rows = append(rows, fullRow(s))
		}
		if _, err := e.Backward(ctx, normalised(t, engine.Stream{Name: "probe", Obj: p, Rows: rows})); err != nil {
			t.Fatal(err)
		}
		for _, s := range second[0] {
			for i := range s.Tokens {
				old := s.Channel(engine.ChanOld)[i]
				switch s.KindAt(i) {
				case engine.KindSampled, engine.KindForced:
					if old != p.seen[s][i] || old == 0 {
						t.Fatalf("token %d, kind %d: logp_old %v, trained %v", i, s.KindAt(i), old, p.seen[s][i])
					}
				default:
					if old != 0 {
						t.Fatalf("token %d, kind %d has a logp_old", i, s.KindAt(i))
					}
				}
			}
		}
	}
}

func saved(t testing.TB, e *Engine) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := e.Save(ctx, &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// logProbs scores one sequence.
func logProbs(t testing.TB, f interface {
	Score(context.Context, []*engine.Sequence, engine.Want) ([]*engine.Scores, error)
}) string {
	t.Helper()
	s, err := f.Score(ctx, []*engine.Sequence{prompt(3, 40)}, engine.Want{})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(s[0].LogProb)
}

func train(t testing.TB, e *Engine) {
	t.Helper()
	if _, err := e.Backward(ctx, normalised(t, engine.Stream{Name: "sft", Obj: objective.CrossEntropy{}, Rows: []engine.Row{fullRow(prompt(8, 30))}})); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Step(ctx, adam); err != nil {
		t.Fatal(err)
	}
}

// Frozen models keep still while the live one trains, blend as told, and come back from a state: copies, the base, and other checkpoints.
func TestFrozen(t *testing.T) {
	other, err := model.New(model.Config{Family: model.GPT2, Vocab: 97, Hidden: 32, Inner: 64, Layers: 1, Heads: 2, KVHeads: 2, HeadDim: 16, MaxPos: 128, NormEps: 1e-5, Tied: true}, 5)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "other")
	if err := other.SaveHF(dir, safetensors.F32); err != nil {
		t.Fatal(err)
	}
	for _, lora := range []bool{false, true} {
		e := open(t, loud(t, model.Llama, lora), Options{})
		frozen := map[string]engine.Frozen{}
		for _, name := range []string{"start", "average", Base} {
			if frozen[name], err = e.Freeze(ctx, name); err != nil {
				t.Fatal(err)
			}
		}
		if frozen["other"], err = e.Open(ctx, "other", dir); err != nil {
			t.Fatal(err)
		}
		before := map[string]string{}
		for name, f := range frozen {
			before[name] = logProbs(t, f)
		}
		if before["start"] != logProbs(t, e) || (before[Base] == before["start"]) == lora {
			t.Errorf("lora %v: a copy is not the model, or the base still has its adapter", lora)
		}
		train(t, e)
		for name, f := range frozen {
			if logProbs(t, f) != before[name] {
				t.Errorf("lora %v: frozen model %s moved", lora, name)
			}
		}
		if err := frozen["average"].Blend(ctx, 0.75); err != nil {
			t.Fatal(err)
		}
		a, s, w := frozen["average"].(*Frozen).m.Params(), frozen["start"].(*Frozen).m.Params(), e.Model().Params()
		for i := range a {
			for k, x := range a[i].Data {
				if want := float32(0.75*float64(s[i].Data[k]) + 0.25*float64(w[i].Data[k])); x != want {
					t.Fatalf("lora %v: blend of %s[%d] is %g, want %g", lora, a[i].Name, k, x, want)
				}
			}
		}
		for _, decay := range []float64{-0.1, 1.1, math.NaN()} {
			if err := frozen["average"].Blend(ctx, decay); err == nil {
				t.Errorf("blend with decay %g passed", decay)
			}
		}
		if err := frozen["other"].Blend(ctx, 0.5); err == nil {
			t.Error("a model of another shape was blended")
		}
		if err := frozen[Base].Blend(ctx, 0.5); (err == nil) == lora {
			t.Errorf("lora %v: blending the base: %v", lora, err)
		}
		want := map[string]string{}
		for name, f := range frozen {
			want[name] = logProbs(t, f)
		}
		state := saved(t, e)
		back := open(t, loud(t, model.Llama, lora), Options{})
		held, err := back.Freeze(ctx, "start") // a method that made its copy before the state came
		if err != nil {
			t.Fatal(err)
		}
		if err := back.Load(ctx, bytes.NewReader(state)); err != nil {
			t.Fatal(err)
		}
		for name := range frozen {
			f, ok := back.Kept(name)
			if !ok || logProbs(t, f) != want[name] {
				t.Errorf("lora %v: frozen model %s is another after loading", lora, name)
			}
		}
		if logProbs(t, held) != want["start"] || !bytes.Equal(state, saved(t, back)) {
			t.Errorf("lora %v: a loaded state is saved differently", lora)
		}
	}
}

// A state that ends early is an error wherever it was cut, and what it left half loaded is not used.
func TestTruncatedState(t *testing.T) {
	e := open(t, loud(t, model.Llama, false), Options{})
	if _, err := e.Freeze(ctx, "start"); err != nil {
		t.Fatal(err)
	}
	train(t, e)
	state := saved(t, e)
	want := logProbs(t, e)
	for _, n := range []int{0, 10, bytes.IndexByte(state, '\n') + 1, len(state) / 8, len(state) / 2, len(state) - 1} {
		b := open(t, loud(t, model.Llama, false), Options{})
		err := b.Load(ctx, bytes.NewReader(state[:n]))
		if err == nil {
			t.Fatalf("a state cut to %d of %d bytes was accepted", n, len(state))
		}
		_, scoreErr := b.Score(ctx, []*engine.Sequence{prompt(1, 5)}, engine.Want{})
		_, stepErr := b.Step(ctx, adam)
		if half := n > bytes.IndexByte(state, '\n'); (scoreErr != nil) != half || (stepErr != nil) != half {
			t.Errorf("cut to %d bytes: score %v, step %v", n, scoreErr, stepErr)
		}
		if err := b.Load(ctx, bytes.NewReader(state)); err != nil {
			t.Fatal(err)
		}
		if logProbs(t, b) != want {
			t.Error("a whole state after a broken one gives another model")
		}
	}
	if err := e.Load(ctx, bytes.NewReader(append(state[:len(state):len(state)], 0))); err == nil {
		t.Error("bytes after the state's end were accepted")
	}
	other := loud(t, model.Llama, true)
	adapterState := saved(t, open(t, other, Options{}))
	base := loud(t, model.Llama, true)
	base.Weights()[0].Data[0]++
	if err := open(t, base, Options{}).Load(ctx, bytes.NewReader(adapterState)); err == nil || !strings.Contains(err.Error(), "base") {
		t.Errorf("a state of another base: %v", err)
	}
}

// Damaged weights are reported by whatever runs first.
func TestNotFinite(t *testing.T) {
	m := loud(t, model.Llama, false)
	m.Weights()[0].Data[3] = float32(math.NaN()) // the embedding, tied
	e := open(t, m, Options{})
	if _, err := e.Score(ctx, []*engine.Sequence{prompt(1, 5)}, engine.Want{}); err == nil {
		t.Error("Score: no error")
	}
	if _, err := e.Sample(ctx, []engine.Prompt{{Seq: prompt(1, 5), N: 1, Params: engine.Params{MaxTokens: 3}, Key: rng.New(1, "x")}}); err == nil {
		t.Error("Sample: no error")
	}
	if _, err := e.Backward(ctx, normalised(t, engine.Stream{Name: "sft", Obj: objective.CrossEntropy{}, Rows: []engine.Row{fullRow(prompt(1, 5))}})); err == nil {
		t.Error("Backward: no error")
	}
}
