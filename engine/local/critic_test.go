package local

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/objective"
)

// valueLoss is sum w (V - return)^2 / 2; it keeps what it saw.
type valueLoss struct {
	seen map[*engine.Sequence][]float32
	last map[*engine.Sequence]float32
}

func newValueLoss() valueLoss {
	return valueLoss{map[*engine.Sequence][]float32{}, map[*engine.Sequence]float32{}}
}

func (valueLoss) Name() string        { return "value" }
func (valueLoss) Scope() engine.Scope { return engine.ScopeToken }
func (valueLoss) Needs() engine.Want  { return engine.Want{Value: true} }
func (valueLoss) Channels() []string  { return []string{engine.ChanReturn} }
func (l valueLoss) Eval(views []engine.View, _ *engine.Tally) float64 {
	loss := 0.0
	for _, v := range views {
		ret := v.Row.Seq.Channel(engine.ChanReturn)
		if l.seen != nil {
			if l.seen[v.Row.Seq] == nil {
				l.seen[v.Row.Seq] = make([]float32, len(v.Row.Seq.Tokens))
			}
			copy(l.seen[v.Row.Seq][v.From:], v.Value)
			l.last[v.Row.Seq] = v.LastValue
		}
		for t := v.From; t < v.To; t++ {
			w, d := v.Row.WeightAt(t)*v.Row.Scale, float64(v.Value[t-v.From])-float64(ret[t])
			loss += w * d * d / 2
			v.DValue[t-v.From] += w * d
		}
	}
	return loss
}

// returnRows are rows with returns, some at temperature 1.3.
func returnRows(n int) []engine.Row {
	var rows []engine.Row
	for i := range n {
		s := prompt(uint64(i+70), 9+11*i)
		ret := s.SetChannel(engine.ChanReturn, nil)
		for t := range ret {
			ret[t] = float32(rng.New(uint64(i), "return").Normal(uint64(t)))
		}
		if i%2 == 1 {
			s.Temp = 1.3
		}
		rows = append(rows, fullRow(s))
	}
	return rows
}

// withCritic is a loud model whose value head says something.
func withCritic(t testing.TB, family model.Family, lora bool) *model.Model {
	t.Helper()
	m := loud(t, family, lora)
	m.AddValueHead()
	for i := range m.ValueHead().W.Data {
		m.ValueHead().W.Data[i] = float32(0.5 * rng.New(4, "critic").Normal(uint64(i)))
	}
	m.ValueHead().B.Data[0] = 0.25
	return m
}

// gradientOf runs one Backward and returns the gradient, one slice a parameter, and clears it.
func gradientOf(t testing.TB, e *Engine, b *engine.Batch) ([][]float32, float64) {
	t.Helper()
	stats, err := e.Backward(ctx, b)
	if err != nil {
		t.Fatal(err)
	}
	var g [][]float32
	for _, p := range e.live.m.Params() {
		g = append(g, slices.Clone(p.Grad))
	}
	e.clear()
	return g, stats.Loss()
}

func flat(g [][]float32) []float32 { return slices.Concat(g...) }

// differences holds the gradient of every parameter tensor against central differences of the loss along that gradient, through the whole
// engine; the same comparison sees a gradient that is 5 % off. Tensors whose gradient is too small to be measured are passed over; it
// returns how many were measured.
func differences(t testing.TB, e *Engine, b *engine.Batch) (measured int) {
	t.Helper()
	g, _ := gradientOf(t, e, b)
	params := e.live.m.Params()
	for i, p := range params {
		norm := 0.0
		for _, x := range g[i] {
			norm += float64(x) * float64(x)
		}
		norm = math.Sqrt(norm)
		if norm < 1e-3 {
			continue
		}
		keep := slices.Clone(p.Data)
		loss := func(h float64) float64 {
			for k := range p.Data {
				p.Data[k] = float32(float64(keep[k]) + h*float64(g[i][k])/norm)
			}
			defer copy(p.Data, keep)
			_, l := gradientOf(t, e, b)
			return l
		}
		const h = 2e-3 // by Richardson's rule the error of order h^2 cancels
		wide, narrow := (loss(2*h)-loss(-2*h))/(4*h), (loss(h)-loss(-h))/(2*h)
		want := (4*narrow - wide) / 3
		if off := math.Abs(norm-want) / (norm + 0.02); off > 0.01 {
			t.Errorf("%s: the gradient's norm is %g, differences along it say %g", p.Name, norm, want)
		}
		if off := math.Abs(1.05*norm-want) / (norm + 0.02); norm > 0.1 && off < 0.01 {
			t.Errorf("%s: a gradient that is 5 %% off passes", p.Name)
		}
		measured++
	}
	return measured
}

// Gradients of a loss of values reach the head and, through the hidden states, everything else that is trained.
func TestValueGradient(t *testing.T) {
	for _, family := range []model.Family{model.Llama, model.Qwen3, model.GPT2} {
		for _, lora := range []bool{false, true} {
			if testing.Short() && (family == model.Qwen3 || lora) {
				continue
			}
			e := open(t, withCritic(t, family, lora), Options{MicroTokens: 40})
			b := normalised(t, engine.Stream{Name: "value", Obj: valueLoss{}, Rows: returnRows(3)}, engine.Stream{Name: "sft", Obj: objective.CrossEntropy{}, Coef: 0.1, Rows: returnRows(2)})
			if n := differences(t, e, b); n < 10 {
				t.Errorf("%s, lora %v: only %d tensors measured", family, lora, n)
			}
		}
	}
}

// Every value is 0 until a Backward asks for values; then Backward and Score read the same bytes: before each token, and after the last.
func TestValues(t *testing.T) {
	e := open(t, loud(t, model.Qwen3, false), Options{MicroTokens: 30})
	rows := returnRows(4)
	var seqs []*engine.Sequence
	for _, r := range rows {
		seqs = append(seqs, r.Seq)
	}
	score := func() []*engine.Scores {
		s, err := e.Score(ctx, seqs, engine.Want{Value: true})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, s := range score() {
		if slices.Max(s.Value) != 0 || slices.Min(s.Value) != 0 || s.LastValue != 0 {
			t.Error("a value before there is a value head")
		}
	}
	if e.Model().ValueHead() != nil {
		t.Error("Score made a value head")
	}
	if err := e.Info().Check("a recipe", []engine.Capability{engine.CapValue, engine.CapRowTerms, engine.CapBatchScope, engine.CapGradients}); err != nil {
		t.Error(err)
	}
	start, err := e.Freeze(ctx, "start")
	if err != nil {
		t.Fatal(err)
	}
	var first float64
	for step := range 30 {
		stats, err := e.Backward(ctx, normalised(t, engine.Stream{Name: "value", Obj: valueLoss{}, Rows: rows}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Step(ctx, adam); err != nil {
			t.Fatal(err)
		}
		if step == 0 {
			first = stats.Loss()
		} else if step == 29 && !(stats.Loss() < 0.7*first) {
			t.Errorf("30 steps take the loss from %g to %g", first, stats.Loss())
		}
	}
	l := newValueLoss()
	gradientOf(t, e, normalised(t, engine.Stream{Name: "value", Obj: l, Rows: rows}))
	for i, s := range score() {
		if s.Value[0] != 0 || s.Value[3] == 0 || s.LastValue == 0 || !slices.Equal(s.Value, l.seen[seqs[i]]) || s.LastValue != l.last[seqs[i]] {
			t.Errorf("sequence %d: Score says %v and %v, Backward %v and %v", i, s.Value, s.LastValue, l.seen[seqs[i]], l.last[seqs[i]])
		}
		longer := *seqs[i]
		longer.Tokens = append(slices.Clone(longer.Tokens), 1)
		more, err := e.Score(ctx, []*engine.Sequence{&longer}, engine.Want{Value: true})
		if err != nil || more[0].Value[len(seqs[i].Tokens)] != s.LastValue {
			t.Errorf("sequence %d: the value after the last token is not the one before the next: %v", i, err)
		}
	}
	old, err := start.Score(ctx, seqs, engine.Want{Value: true})
	if err != nil || slices.Max(old[0].Value) != 0 {
		t.Errorf("the copy from before the value head has values: %v", err)
	}
	if err := start.Blend(ctx, 0.5); err != nil {
		t.Fatal(err)
	}
	if w, half := e.Model().ValueHead().W.Data[7], start.(*Frozen).m.ValueHead().W.Data[7]; w == 0 || half != w/2 {
		t.Errorf("a blend with a copy that has no value head gives %g of %g", half, w)
	}
}

// The value head has a learning-rate factor of its own.
func TestValueGroup(t *testing.T) {
	move := func(groups map[string]float64) (head, trunk float64) {
		m := withCritic(t, model.Llama, false)
		e := open(t, m, Options{})
		w, x := m.ValueHead().W.Data[5], m.Weights()[1].Data[3]
		if _, err := e.Backward(ctx, normalised(t, engine.Stream{Name: "value", Obj: valueLoss{}, Rows: returnRows(3)})); err != nil {
			t.Fatal(err)
		}
		o := adam
		o.Groups, o.WeightDecay = groups, 0
		if _, err := e.Step(ctx, o); err != nil {
			t.Fatal(err)
		}
		return float64(m.ValueHead().W.Data[5] - w), float64(m.Weights()[1].Data[3] - x)
	}
	one, trunk := move(nil)
	three, same := move(map[string]float64{engine.GroupValueHead: 3})
	none, _ := move(map[string]float64{engine.GroupValueHead: 0})
	if math.Abs(three/one-3) > 1e-4 || none != 0 || trunk == 0 || trunk != same {
		t.Errorf("the value head moves by %g, with factor 3 by %g, with 0 by %g; another weight by %g and %g", one, three, none, trunk, same)
	}
	e := open(t, withCritic(t, model.Llama, false), Options{})
	for _, f := range []float64{-1, math.NaN(), math.Inf(1)} {
		o := adam
		o.Groups = map[string]float64{engine.GroupValueHead: f}
		if _, err := e.Step(ctx, o); err == nil {
			t.Errorf("learning-rate factor %g passed", f)
		}
	}
}

// A value head that joined after some updates is part of the state: weights, moments and when it joined; so are those of frozen models.
func TestCriticState(t *testing.T) {
	for _, lora := range []bool{false, true} {
		step := func(e *Engine) {
			t.Helper()
			if _, err := e.Backward(ctx, normalised(t, engine.Stream{Name: "value", Obj: valueLoss{}, Rows: returnRows(2)})); err != nil {
				t.Fatal(err)
			}
			if _, err := e.Step(ctx, adam); err != nil {
				t.Fatal(err)
			}
		}
		freeze := func(e *Engine, name string) {
			t.Helper()
			if _, err := e.Freeze(ctx, name); err != nil {
				t.Fatal(err)
			}
		}
		a := open(t, loud(t, model.GPT2, lora), Options{})
		before := saved(t, a)
		freeze(a, "before")
		train(t, a)
		train(t, a)
		step(a)
		freeze(a, "after")
		step(a)
		half := saved(t, a)
		step(a)
		b := open(t, loud(t, model.GPT2, lora), Options{})
		if err := b.Load(ctx, bytes.NewReader(half)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(half, saved(t, b)) {
			t.Errorf("lora %v: a loaded state is saved differently", lora)
		}
		f, _ := b.Kept("before")
		g, _ := b.Kept("after")
		if f.(*Frozen).m.ValueHead() != nil || g.(*Frozen).m.ValueHead().W.Data[0] == 0 || b.adam.Slots[len(b.adam.Slots)-1].Joined != 2 {
			t.Errorf("lora %v: value heads of frozen models, or when it joined, did not come back", lora)
		}
		step(b)
		if !bytes.Equal(saved(t, a), saved(t, b)) {
			t.Errorf("lora %v: a loaded state goes on differently", lora)
		}
		// A state without a value head takes it away, and the next stage makes a new one.
		if err := b.LoadWeights(ctx, bytes.NewReader(before)); err != nil {
			t.Fatal(err)
		}
		c := open(t, loud(t, model.GPT2, lora), Options{})
		freeze(c, "before") // the frozen models of b stay
		freeze(c, "after")
		if b.Model().ValueHead() != nil {
			t.Errorf("lora %v: the value head is still there", lora)
		}
		step(b)
		step(c)
		if x, y := b.Model().Params(), c.Model().Params(); !slices.Equal(x[len(x)-2].Data, y[len(y)-2].Data) || !slices.Equal(x[0].Data, y[0].Data) {
			t.Errorf("lora %v: a stage after another's value head differs from a first one", lora)
		}
		// LoadWeights keeps the value head and begins its optimiser anew.
		d := open(t, loud(t, model.GPT2, lora), Options{})
		if err := d.LoadWeights(ctx, bytes.NewReader(half)); err != nil {
			t.Fatal(err)
		}
		if d.Model().ValueHead() == nil || d.Model().ValueHead().W.Data[0] == 0 {
			t.Errorf("lora %v: LoadWeights lost the value head", lora)
		}
		step(d)
		if d.adam.Steps != 1 || d.adam.Slots[len(d.adam.Slots)-1].Joined != 0 {
			t.Errorf("lora %v: LoadWeights kept the optimiser", lora)
		}
	}
}

func TestCriticExport(t *testing.T) {
	for _, lora := range []bool{false, true} {
		e := open(t, withCritic(t, model.Llama, lora), Options{})
		dir := filepath.Join(t.TempDir(), "out")
		if err := e.Export(ctx, dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, model.ValueHeadFile)); err != nil {
			t.Error(err)
		}
		if m, err := model.Load(dir); !lora && (err != nil || m.ValueHead() != nil) {
			t.Errorf("the exported folder: %v", err)
		}
	}
}
