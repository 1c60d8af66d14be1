package enginetest

import (
	"bytes"
	"context"
	"math"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/objective"
)

var ctx = context.Background()

func newTable(t testing.TB) *Table {
	t.Helper()
	e, err := New(4, 2, 9, 1)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func row(s *engine.Sequence) engine.Row {
	r := engine.Row{Seq: s, Mask: make([]bool, len(s.Tokens))}
	for t := 1; t < len(r.Mask); t++ {
		r.Mask[t] = s.Kind == nil || s.KindAt(t) == engine.KindSampled
	}
	return r
}

func backward(t testing.TB, e *Table, streams ...engine.Stream) engine.Stats {
	t.Helper()
	b, err := engine.Normalise(streams)
	if err != nil {
		t.Fatal(err)
	}
	stats, err := e.Backward(ctx, b)
	if err != nil {
		t.Fatal(err)
	}
	return stats
}

// everything is one stream for each objective that the table can run, on two sequences that are a pair.
func everything() []engine.Stream {
	var rows []engine.Row
	for i, tokens := range [][]int32{{0, 1, 2, 3, 1, 1}, {2, 3, 0, 0, 1}} {
		s := &engine.Sequence{Tokens: tokens, Unit: 1, Temp: 0.7}
		label := s.SetChannel(objective.ChanLabel, nil)
		for t := range label {
			label[t] = float32(i)
		}
		for c, name := range []string{engine.ChanOld, engine.ChanRef, engine.ChanAdvantage, engine.ChanReturn, engine.ChanValueOld} {
			x := s.SetChannel(name, nil)
			for t := range x {
				x[t] = float32(rng.New(uint64(i), "channel", uint64(c)).Normal(uint64(t))) - 1
			}
		}
		rows = append(rows, row(s))
	}
	var out []engine.Stream
	for i, o := range objective.All() {
		if o.Needs().Value || (engine.Info{Caps: caps}).Check(o.Name(), o.Needs().Capabilities()) != nil {
			continue // values are no function of the logits in the table
		}
		out = append(out, engine.Stream{Name: o.Name(), Obj: o, Coef: 0.2 + 0.1*float64(i), Norm: engine.TokenMean, Rows: rows})
	}
	return out
}

// square needs the whole step at once: loss = (sum of scaled log-probs)^2.
type square struct{}

func (square) Name() string        { return "square" }
func (square) Scope() engine.Scope { return engine.ScopeBatch }
func (square) Needs() engine.Want  { return engine.Want{} }
func (square) Eval(views []engine.View, _ *engine.Tally) float64 {
	sum := 0.0
	for pass := range 2 {
		for _, v := range views {
			for t := v.From; t < v.To; t++ {
				w := v.Row.WeightAt(t) * v.Row.Scale
				if pass == 0 {
					sum += w * float64(v.LogProb[t-v.From])
				} else {
					v.DLogProb[t-v.From] += 2 * sum * w
				}
			}
		}
	}
	return sum * sum
}

// A batch objective sees both sequences in one call: the square of the sum, not the sum of squares.
func TestBatchScope(t *testing.T) {
	e := newTable(t)
	s := everything()[0]
	s.Coef = 1
	sum := backward(t, e, s).Loss()
	s.Obj = square{}
	if got := backward(t, e, s).Loss(); math.Abs(got-sum*sum) > 1e-9 || sum < 0.5 {
		t.Errorf("loss %g, want the square of %g", got, sum)
	}
}

// The gradient of every objective that holds nothing constant is that of central differences over the table.
func TestGradient(t *testing.T) {
	e := newTable(t)
	streams := everything()
	batch := streams[0]
	batch.Name, batch.Obj = "square", square{}
	for _, s := range append(streams, batch) {
		if objective.Detached(s.Obj) {
			continue // package objective compares these with what they hold held
		}
		clear(e.grad)
		backward(t, e, s)
		got := append([]float64(nil), e.Gradient()...)
		norm, worst := 0.0, 0.0
		for i, w := range e.Weights() {
			loss := func(x float64) float64 {
				e.W[i] = x
				defer func() { e.W[i] = w }()
				return backward(t, e, s).Loss()
			}
			const h = 1e-3 // log-probs are rounded to float32
			want := (loss(w+h) - loss(w-h)) / (2 * h)
			norm, worst = norm+got[i]*got[i], max(worst, math.Abs(want-got[i]))
		}
		if norm < 1e-6 || worst > 1e-3*math.Sqrt(norm) {
			t.Errorf("%s: gradient of norm %g, the worst entry is %g off", s.Name, math.Sqrt(norm), worst)
		}
	}
}

// Enumerate's probabilities add up to 1 and are those of the samples, with their log-prob channels.
func TestEnumerate(t *testing.T) {
	e := newTable(t)
	p := engine.Prompt{Seq: &engine.Sequence{Tokens: []int32{1, 2}}, N: 20000, Key: rng.New(1, "enumerate"), Params: engine.Params{MaxTokens: 3, Temperature: 1.3, StopIDs: []int32{3}}}
	total, probs, long := 0.0, map[string]float64{}, 0
	name := func(s *engine.Sequence) string {
		b := []byte{}
		for _, id := range s.Tokens {
			b = append(b, byte('0'+id))
		}
		return string(b) + string(s.Stop)
	}
	err := e.Enumerate(p, func(s *engine.Sequence, prob float64) {
		total += prob
		probs[name(s)] = prob
		if len(s.Tokens) == 5 {
			long++
		}
		lp := 0.0
		for _, x := range s.Channel(engine.ChanOld) {
			lp += float64(x)
		}
		if math.Abs(math.Exp(lp)-prob) > 1e-6 {
			t.Errorf("%s: channels say %g, probability %g", name(s), math.Exp(lp), prob)
		}
	})
	if err != nil || math.Abs(total-1) > 1e-12 || len(probs) != 1+3+9*4 || long != 36 {
		t.Fatalf("%d sequences, %d of full length, total %g, %v", len(probs), long, total, err)
	}
	out, err := e.Sample(ctx, []engine.Prompt{p})
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, s := range out[0] {
		count[name(s)]++
	}
	chi := 0.0
	for s, prob := range probs {
		d := float64(count[s]) - prob*float64(p.N)
		chi += d * d / (prob * float64(p.N))
		delete(count, s)
	}
	if chi > 85 || len(count) > 0 { // 39 degrees of freedom: 1 in 30,000
		t.Errorf("chi-square %g, sequences that cannot be drawn: %v", chi, count)
	}
}

// The mean of the policy gradient over all sequences is the gradient of the expected reward.
func TestPolicyGradientIsExact(t *testing.T) {
	e := newTable(t)
	p := engine.Prompt{Seq: &engine.Sequence{Tokens: []int32{0}}, Params: engine.Params{MaxTokens: 3}}
	reward := func(s *engine.Sequence) float64 { return float64(s.Tokens[1]*2-s.Tokens[3]) + float64(s.Tokens[2]%2) }
	expected := func() (sum float64) {
		if err := e.Enumerate(p, func(s *engine.Sequence, prob float64) { sum += prob * reward(s) }); err != nil {
			t.Fatal(err)
		}
		return sum
	}
	var rows []engine.Row
	if err := e.Enumerate(p, func(s *engine.Sequence, prob float64) {
		r := row(s)
		a := s.SetChannel(engine.ChanAdvantage, nil)
		for t := range a {
			a[t] = float32(reward(s) * prob)
		}
		rows = append(rows, r)
	}); err != nil {
		t.Fatal(err)
	}
	backward(t, e, engine.Stream{Name: "rl", Obj: objective.PolicyGradient{}, Coef: 1, Norm: engine.SumNorm, Rows: rows})
	worst, norm := 0.0, 0.0
	for i, w := range e.W {
		const h = 1e-5
		e.W[i] = w + h
		up := expected()
		e.W[i] = w - h
		down := expected()
		e.W[i] = w
		want := -(up - down) / (2 * h)
		worst, norm = max(worst, math.Abs(want-e.grad[i])), norm+want*want
	}
	if worst > 1e-6 || norm < 0.01 {
		t.Errorf("gradient of norm %g, the worst entry is %g off", math.Sqrt(norm), worst)
	}
}

// On policy the ratio is exactly 1; a sample does not depend on its neighbours; forced tokens get their log-prob.
func TestSeam(t *testing.T) {
	e := newTable(t)
	forced := &engine.Sequence{Tokens: []int32{1, 2, 3}, Kind: []engine.Kind{engine.KindPrompt, engine.KindForced, engine.KindForced}}
	p := engine.Prompt{Seq: forced, N: 5, Key: rng.New(1, "x"), Params: engine.Params{Temperature: 0.7}}
	out, err := e.Sample(ctx, []engine.Prompt{{Seq: &engine.Sequence{Tokens: []int32{3}}, N: 3}, p})
	if err != nil {
		t.Fatal(err)
	}
	alone, err := e.Sample(ctx, []engine.Prompt{p})
	if err != nil {
		t.Fatal(err)
	}
	scores, err := e.Score(ctx, out[1], engine.Want{})
	if err != nil {
		t.Fatal(err)
	}
	for k, s := range out[1] {
		if s.Stop != engine.StopContext || len(s.Tokens) != 9 {
			t.Errorf("stop %q after %d tokens", s.Stop, len(s.Tokens))
		}
		for i := 1; i < len(s.Tokens); i++ {
			if old := s.Channel(engine.ChanOld)[i]; old != scores[k].LogProb[i] || old == 0 || s.Tokens[i] != alone[0][k].Tokens[i] {
				t.Errorf("sample %d token %d: logp_old %g, scored %g", k, i, old, scores[k].LogProb[i])
			}
		}
	}
	one, two := out[1][0].Tokens, out[1][1].Tokens
	if bytes.Equal([]byte{byte(one[3]), byte(one[4]), byte(one[5]), byte(one[6])}, []byte{byte(two[3]), byte(two[4]), byte(two[5]), byte(two[6])}) {
		t.Error("two samples are one")
	}
	for name, p := range map[string]engine.Prompt{
		"rules": {Seq: forced, N: 1, Rules: []engine.Rule{nil}}, "top-k": {Seq: forced, N: 1, Params: engine.Params{TopK: 2}},
		"empty": {Seq: &engine.Sequence{}, N: 1}, "id": {Seq: &engine.Sequence{Tokens: []int32{4}}, N: 1}, "long": {Seq: &engine.Sequence{Tokens: make([]int32, 10)}, N: 1},
	} {
		if _, err := e.Sample(ctx, []engine.Prompt{p}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Training lowers the loss; k steps, a state, and k more are 2k steps to the bit; frozen copies stay, blend and come back.
func TestState(t *testing.T) {
	o := engine.Optim{LR: 0.05, Beta1: 0.9, Beta2: 0.99, Eps: 1e-8, WeightDecay: 0.01, Clip: 1}
	sft := everything()[:1]
	step := func(e *Table) float64 {
		loss := backward(t, e, sft...).Loss()
		if u, err := e.Step(ctx, o); err != nil || u.Skipped || u.Norm == 0 {
			t.Fatal(u, err)
		}
		return loss
	}
	save := func(e *Table) []byte {
		var b bytes.Buffer
		if err := e.Save(ctx, &b); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	a := newTable(t)
	if u, err := a.Step(ctx, o); err != nil || !u.Skipped {
		t.Errorf("a step without a gradient: %+v, %v", u, err)
	}
	start, err := a.Freeze(ctx, "start")
	if err != nil {
		t.Fatal(err)
	}
	first := step(a)
	step(a)
	if start.(*Frozen).W[5] == a.W[5] || start.Blend(ctx, 0.75) != nil || start.Blend(ctx, 2) == nil {
		t.Error("the frozen copy moved, or blends wrongly")
	}
	half := save(a)
	step(a)
	if last := step(a); last >= first {
		t.Errorf("the loss went from %g to %g", first, last)
	}
	b := newTable(t)
	if err := b.Load(ctx, bytes.NewReader(half)); err != nil {
		t.Fatal(err)
	}
	step(b)
	step(b)
	if !bytes.Equal(save(a), save(b)) {
		t.Error("a loaded state goes on differently")
	}
	c := newTable(t)
	if err := c.LoadWeights(ctx, bytes.NewReader(half)); err != nil || c.updates != 0 {
		t.Errorf("LoadWeights kept %d updates, %v", c.updates, err)
	}
	other, err := New(5, 2, 9, 1)
	if err != nil {
		t.Fatal(err)
	}
	if other.Load(ctx, bytes.NewReader(half)) == nil || b.Load(ctx, bytes.NewReader(half[:len(half)/2])) == nil {
		t.Error("a state of another table, or half of one, was accepted")
	}
}
