package objective

import (
	"math"
	"slices"
	"testing"

	"github.com/hone-lm/hone/engine"
)

// suffixes are the usual settings.
func suffixes(level WeightLevel, block int, gamma float64) ImportanceWeighted {
	return ImportanceWeighted{Level: level, Block: block, Gamma: gamma, Low: -0.08, High: 0.3, LogMin: -10, LogMax: 5}
}

// ratioView is a row whose masked tokens have these log-ratios, after a prompt and before padding of so many tokens. Log-ratios outside the
// mask are wild.
func ratioView(ratios []float64, prompt, padding int) engine.View {
	n := prompt + len(ratios) + padding
	s := &engine.Sequence{Tokens: make([]int32, n)}
	v := engine.View{Row: &engine.Row{Seq: s, Mask: make([]bool, n), Scale: 1}, To: n, LogProb: make([]float32, n), DLogProb: make([]float64, n)}
	old := s.SetChannel(engine.ChanOld, nil)
	v.Wide = &engine.Wide{LogProb: make([]float64, n), Chan: map[string][]float64{engine.ChanOld: make([]float64, n)}}
	for t := range n {
		lp := -5.0
		if k := t - prompt; k >= 0 && k < len(ratios) {
			v.Row.Mask[t], lp = true, ratios[k]-1
		}
		v.Wide.LogProb[t], v.Wide.Chan[engine.ChanOld][t] = lp, -1
		v.LogProb[t], old[t] = float32(lp), -1
	}
	return v
}

// given returns the weights that the derivatives of a row show: -d loss / d lp_t of the masked tokens, for the scale 1.
func given(o ImportanceWeighted, views ...engine.View) []float64 {
	o.Eval(views, nil)
	var out []float64
	eachToken(views, func(v *engine.View, t, _ int) { out = append(out, -v.DLogProb[t]) })
	return out
}

func nearAll(t *testing.T, what string, got, want []float64, tolerance float64) {
	t.Helper()
	for k := range want {
		if len(got) != len(want) || !(math.Abs(got[k]-want[k]) <= tolerance) {
			t.Errorf("%s: %.6v, want %.6v", what, got, want)
			return
		}
	}
}

// Three tokens by hand (without a discount), the equality of blocks of one and the token level, blocks as long as the sequence.
func TestImportanceWeights(t *testing.T) {
	raw := []float64{0.2, -0.05, -0.5}
	for _, c := range []struct {
		level WeightLevel
		block int
		want  []float64
	}{
		{WeightToken, 0, []float64{0.8781, 0.9231, 1}}, // exp(-0.05-0.08), exp(-0.08)
		{WeightSequence, 0, []float64{1.0725, 1.0725, 1.0725}},
		{WeightBlock, 2, []float64{0.9231, 0.9231, 1}},
		{WeightBlock, 1, []float64{0.8781, 0.9231, 1}},
		{WeightBlock, 3, []float64{1, 1, 1}},
		{WeightBlock, 9, []float64{1, 1, 1}},
	} {
		nearAll(t, string(c.level), given(suffixes(c.level, c.block, 1), ratioView(raw, 2, 0)), c.want, 6e-5)
	}
	nearAll(t, "discounted tokens", given(suffixes(WeightToken, 0, 0.999), ratioView(raw, 2, 0)), []float64{0.8763, 0.9222, 1}, 6e-5)
	nearAll(t, "discounted blocks", given(suffixes(WeightBlock, 2, 0.999), ratioView(raw, 2, 0)), []float64{0.9222, 0.9222, 1}, 6e-5)
	nearAll(t, "on policy", given(suffixes(WeightToken, 0, 0.999), ratioView(make([]float64, 4), 1, 0)), []float64{.999 * .999 * .999, .999 * .999, .999, 1}, 1e-15)

	long := make([]float64, 400)
	for k := range long {
		long[k] = -1
	}
	w := given(suffixes(WeightToken, 0, 0.999), ratioView(long, 3, 0))
	if math.Abs(w[0]-4.54e-5) > 1e-7 || w[399] != 1 {
		t.Errorf("400 unlikely tokens: first weight %g, last %g", w[0], w[399])
	}
	for k := range long {
		long[k] = 1
	}
	if w := given(suffixes(WeightSequence, 0, 1), ratioView(long, 0, 0)); math.Abs(w[0]-math.Exp(5)) > 1e-9 {
		t.Errorf("400 likely tokens: weight %g, want exp(5)", w[0])
	}
}

// Prompt and padding change no weight: neither do they enter a sum nor are they counted.
func TestImportanceMask(t *testing.T) {
	raw := []float64{0.2, -0.05, -0.5, 0.1, 0}
	for _, o := range []ImportanceWeighted{suffixes(WeightToken, 0, 0.9), suffixes(WeightBlock, 2, 0.9), suffixes(WeightSequence, 0, 0.9)} {
		want := given(o, ratioView(raw, 0, 0))
		if got := given(o, ratioView(raw, 7, 10)); !slices.Equal(got, want) {
			t.Errorf("%s: %v with padding, %v without", o.Name(), got, want)
		}
	}
}

// The settings that look at more than one token's ratio.
func TestImportanceOptions(t *testing.T) {
	o := suffixes(WeightToken, 0, 1)
	o.Center = true // the mean of (0.1, -0.1, -0.3) is -0.1: what is left is (0.2, 0, -0.2)
	nearAll(t, "centred", given(o, ratioView([]float64{0.1, -0.1, -0.3}, 1, 0)), []float64{math.Exp(-0.08), math.Exp(-0.08), 1}, 1e-12)

	two := func() []engine.View {
		return []engine.View{ratioView([]float64{0.2, -0.05, -0.5}, 1, 0), ratioView([]float64{-0.03, 0.2}, 2, 3)}
	}
	o = suffixes(WeightToken, 0, 1)
	plain := given(o, two()...)
	o.MeanOne = true
	mean := 0.0
	for k, w := range given(o, two()...) {
		mean += w / 5
		if math.Abs(w/plain[k]-given(o, two()...)[0]/plain[0]) > 1e-12 {
			t.Errorf("mean one changes the weights' proportions")
		}
	}
	if math.Abs(mean-1) > 1e-12 {
		t.Errorf("mean %g", mean)
	}

	o.MeanOne, o.Shuffle = false, true
	moved := 0
	for key := range uint64(20) {
		o.Key = engine.NewKey(key, "shuffle")
		dealt := given(o, two()...)
		if !slices.Equal(dealt, plain) {
			moved++
		}
		slices.Sort(dealt)
		if !slices.Equal(dealt, slices.Sorted(slices.Values(plain))) {
			t.Fatalf("dealt %v, which are not the numbers %v", dealt, plain)
		}
	}
	if moved < 15 {
		t.Errorf("only %d of 20 keys deal anything out", moved)
	}

	o = suffixes(WeightToken, 0, 1)
	o.Power = 1
	v := ratioView([]float64{0.2, -0.05}, 1, 0)
	nearAll(t, "own probability", given(o, v), []float64{math.Exp(-0.05) * math.Exp(-0.8), math.Exp(-1.05)}, 1e-12)
}

// The weights are constants: the derivative by a logit is G_t / tokens times that of cross-entropy, although the log-probs that make G_t move too.
func TestImportanceLogits(t *testing.T) {
	logits := [][]float64{{0.3, -0.2, 1}, {0, 0.5, -1}, {2, 0.1, 0.4}}
	targets := []int{2, 0, 1}
	view := func() engine.View {
		v := ratioView(make([]float64, 3), 0, 0)
		v.Row.Scale = 1.0 / 3
		for k, row := range logits {
			lse := 0.0
			for _, x := range row {
				lse += math.Exp(x)
			}
			v.Wide.LogProb[k] = row[targets[k]] - math.Log(lse)
		}
		return v
	}
	o := suffixes(WeightToken, 0, 0.999)
	held := view()
	want := given(suffixes(WeightToken, 0, 0.999), view()) // G_t / 3
	const h = 1e-5
	for k, row := range logits {
		for j := range row {
			p := math.Exp(row[j]) / (math.Exp(row[0]) + math.Exp(row[1]) + math.Exp(row[2]))
			ce := p // derivative of -log softmax
			if j == targets[k] {
				ce--
			}
			was := row[j]
			row[j] = was + h
			up := o.EvalHeld([]engine.View{view()}, []engine.View{held}, nil)
			row[j] = was - h
			down := o.EvalHeld([]engine.View{view()}, []engine.View{held}, nil)
			row[j] = was
			if d := (up - down) / (2 * h); math.Abs(d-want[k]*ce) > 1e-9 {
				t.Errorf("token %d logit %d: %g, want %g", k, j, d, want[k]*ce)
			}
		}
	}
}

func TestImportanceRefuses(t *testing.T) {
	good := suffixes(WeightBlock, 4, 1)
	if err := good.CheckRows(nil); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*ImportanceWeighted){
		"level":    func(o *ImportanceWeighted) { o.Level = "word" },
		"block":    func(o *ImportanceWeighted) { o.Block = 0 },
		"gamma":    func(o *ImportanceWeighted) { o.Gamma = 0 },
		"bounds":   func(o *ImportanceWeighted) { o.Low = 1 },
		"infinite": func(o *ImportanceWeighted) { o.High = math.Inf(1) },
		"weights":  func(o *ImportanceWeighted) { o.LogMin = 6 },
		"nan":      func(o *ImportanceWeighted) { o.LogMax = math.NaN() },
	} {
		o := good
		if spoil(&o); o.CheckRows(nil) == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
