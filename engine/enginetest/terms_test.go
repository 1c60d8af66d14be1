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

// valueLoss is sum w (V - advantage)^2 / 2, at token or batch scope.
type valueLoss struct{ scope engine.Scope }

func (valueLoss) Name() string          { return "value" }
func (l valueLoss) Scope() engine.Scope { return l.scope }
func (valueLoss) Needs() engine.Want    { return engine.Want{Value: true} }
func (valueLoss) Eval(views []engine.View, _ *engine.Tally) float64 {
	loss := 0.0
	for _, v := range views {
		ret := v.Row.Seq.Channel(engine.ChanAdvantage)
		for t := v.From; t < v.To; t++ {
			w, d := v.Row.WeightAt(t)*v.Row.Scale, float64(v.Value[t-v.From])-float64(ret[t])
			loss += w * d * d / 2
			v.DValue[t-v.From] += w * d
		}
	}
	return loss
}

// The gradient of values and of terms with a teacher is that of central differences over both tables.
func TestTermGradients(t *testing.T) {
	e := newTable(t)
	f, err := e.Freeze(ctx, "teacher")
	if err != nil {
		t.Fatal(err)
	}
	for i := range e.W {
		e.W[i] += 0.5 * rng.New(3, "move").Normal(uint64(i))
	}
	s := everything()[0]
	for _, o := range []engine.Objective{
		valueLoss{}, valueLoss{engine.ScopeBatch}, objective.TermLoss{Term: objective.KLTerm{Frozen: f}}, objective.TermLoss{Term: objective.KLTerm{Frozen: f, Forward: true, Temp: 2}},
	} {
		s.Obj = o
		clear(e.grad)
		backward(t, e, s)
		got, norm, worst := append([]float64(nil), e.grad...), 0.0, 0.0
		for i, w := range e.W {
			loss := func(x float64) float64 {
				e.W[i] = x
				defer func() { e.W[i] = w }()
				return backward(t, e, s).Loss()
			}
			const h = 1e-3
			want := (loss(w+h) - loss(w-h)) / (2 * h)
			norm, worst = norm+got[i]*got[i], max(worst, math.Abs(want-got[i]))
		}
		if norm < 1e-6 || worst > 1e-3*math.Sqrt(norm) {
			t.Errorf("%s: gradient of norm %g, the worst entry is %g off", o.Name(), math.Sqrt(norm), worst)
		}
	}
}

// The divergence of whole sequences is the mean over the policy's sequences of the sum of their tokens' divergences (chain rule), and a
// baseline of values does not change the expected policy gradient.
func TestExpectations(t *testing.T) {
	e := newTable(t)
	f, err := e.Freeze(ctx, "teacher")
	if err != nil {
		t.Fatal(err)
	}
	for i := range e.W {
		e.W[i] += 0.5 * rng.New(3, "move").Normal(uint64(i))
	}
	p := engine.Prompt{Seq: &engine.Sequence{Tokens: []int32{1}}, Params: engine.Params{MaxTokens: 3}}
	whole, parts := 0.0, 0.0
	var rows []engine.Row
	if err := e.Enumerate(p, func(s *engine.Sequence, prob float64) {
		mine, err := e.Score(ctx, []*engine.Sequence{s}, engine.Want{Term: objective.KLTerm{Frozen: f}, Value: true})
		if err != nil {
			t.Fatal(err)
		}
		its, err := f.Score(ctx, []*engine.Sequence{s}, engine.Want{})
		if err != nil {
			t.Fatal(err)
		}
		adv := s.SetChannel(engine.ChanAdvantage, nil)
		for k := 1; k < len(s.Tokens); k++ {
			whole += prob * float64(mine[0].LogProb[k]-its[0].LogProb[k])
			parts += prob * float64(mine[0].Term[k])
			adv[k] = float32(prob * float64(mine[0].Value[k]))
		}
		rows = append(rows, row(s))
	}); err != nil {
		t.Fatal(err)
	}
	if math.Abs(whole-parts) > 1e-5 || whole < 0.1 {
		t.Errorf("the divergence of sequences is %g, the sum of their tokens' %g", whole, parts)
	}
	backward(t, e, engine.Stream{Name: "rl", Obj: objective.PolicyGradient{}, Coef: 1, Norm: engine.SumNorm, Rows: rows})
	for i, g := range e.grad {
		if math.Abs(g) > 1e-6 {
			t.Fatalf("a baseline of values has the expected gradient %g at %d", g, i)
		}
	}
}

// Values are read before the token and after the last; buffers hold their streams' gradients, look ahead and come back from a state.
func TestValuesAndBuffers(t *testing.T) {
	e := newTable(t)
	for i := range e.Values() {
		e.Values()[i] = float64(i)
	}
	s := &engine.Sequence{Tokens: []int32{0, 3}}
	sc, err := e.Score(ctx, []*engine.Sequence{s}, engine.Want{Value: true, Temp: 2})
	if err != nil || sc[0].Value[0] != 0 || sc[0].Value[1] != 1 || sc[0].LastValue != 5+4 { // contexts (none, 0) and (0, 3) in base 5
		t.Fatalf("%+v, %v", sc[0], err)
	}
	hot := *s
	hot.Temp = 2
	same, err := e.Score(ctx, []*engine.Sequence{&hot}, engine.Want{})
	if err != nil || same[0].LogProb[1] != sc[0].LogProb[1] {
		t.Errorf("temperature 2 by Want and by the sequence: %g and %g, %v", sc[0].LogProb[1], same[0].LogProb[1], err)
	}
	streams := everything()[:3]
	streams[1].Into, streams[2].Into = "a", "b"
	backward(t, e, streams...)
	g, err := e.Gradients()
	if err != nil {
		t.Fatal(err)
	}
	norms := map[string]float64{}
	for i, name := range []string{"", "a", "b"} {
		alone := newTable(t)
		one := streams[i]
		one.Into = ""
		backward(t, alone, one)
		square := 0.0
		for _, x := range alone.grad {
			square += x * x
		}
		if norms[name], err = g.Norm(name); err != nil || math.Abs(norms[name]*norms[name]-square) > 1e-12 || square == 0 {
			t.Errorf("%q: norm %g, alone %g, %v", name, norms[name], math.Sqrt(square), err)
		}
	}
	var state bytes.Buffer
	if err := e.Save(ctx, &state); err != nil {
		t.Fatal(err)
	}
	before := append([]float64(nil), e.W...)
	if err := g.LookAhead(ctx, "a", 0.5, func() error {
		if e.W[7] != before[7]+0.5*e.buffers["a"][7] || e.Save(ctx, &bytes.Buffer{}) == nil {
			t.Error("the weights are elsewhere, or were saved there")
		}
		return nil
	}); err != nil || e.W[7] != before[7] {
		t.Errorf("weights did not come back: %v", err)
	}
	if _, err := g.Dot("a", "c"); err == nil || g.Merge("", 1) == nil || g.Merge("a", 2) != nil || g.Clear("a") != nil {
		t.Error("an unknown buffer passed, or a known one did not")
	}
	b := newTable(t)
	if err := b.Load(context.Background(), &state); err != nil {
		t.Fatal(err)
	}
	h, _ := b.Gradients()
	if n, err := h.Norm("b"); err != nil || n != norms["b"] {
		t.Errorf("a loaded buffer has norm %g, want %g, %v", n, norms["b"], err)
	}
}
