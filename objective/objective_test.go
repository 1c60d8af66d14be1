package objective

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/rng"
)

// tested are All and the variants that All leaves out because a random model's log-probs take them to extremes.
func tested() []engine.Objective { return append(All(), pairVariants()...) }

// views makes the rows that an objective sees, with random columns: log-probs and channels of log-probs below 0.
func views(o engine.Objective) []engine.View {
	n := map[engine.Scope]int{engine.ScopeToken: 1, engine.ScopeSequence: 1, engine.ScopeUnit: 2, engine.ScopeBatch: 6}[o.Scope()]
	var out []engine.View
	for r := range n {
		k := rng.New(uint64(r+1), "objective")
		const tokens = 24
		s := &engine.Sequence{Tokens: make([]int32, tokens), Unit: int64(r/2 + 1)}
		row := &engine.Row{Seq: s, Mask: make([]bool, tokens), Weight: make([]float32, tokens), Scale: 0.37}
		v := engine.View{Row: row, To: tokens}
		v.LogProb, v.Entropy, v.Value, v.Term = make([]float32, tokens), make([]float32, tokens), make([]float32, tokens), make([]float32, tokens)
		v.DLogProb, v.DEntropy, v.DValue, v.DTerm = make([]float64, tokens), make([]float64, tokens), make([]float64, tokens), make([]float64, tokens)
		s.SetChannel(ChanLabel, slices.Repeat([]float32{1}, tokens))
		for _, name := range []string{engine.ChanOld, engine.ChanRef, engine.ChanAdvantage, engine.ChanReturn, engine.ChanValueOld, ChanAligned} {
			c := s.SetChannel(name, nil)
			for t := range c {
				c[t] = float32(k.Sub(name).Normal(uint64(t)))
				if name == engine.ChanOld || name == engine.ChanRef {
					c[t] = -0.05 - float32(math.Abs(float64(c[t])))
				}
			}
		}
		for t := range tokens {
			v.LogProb[t] = min(-0.01, s.Channel(engine.ChanOld)[t]+float32(0.5*k.Sub("move").Normal(uint64(t))))
			v.Entropy[t] = float32(k.Sub("entropy").Float64(uint64(t)))
			v.Value[t] = s.Channel(engine.ChanValueOld)[t] + float32(0.5*k.Sub("value").Normal(uint64(t)))
			v.Term[t] = float32(k.Sub("term").Normal(uint64(t)))
			row.Mask[t], row.Weight[t] = t%3 != 0, float32(k.Sub("weight").Normal(uint64(t)))
			if o.Name() == string(ORPO) { // odds need probabilities
				v.LogProb[t], row.Weight[t] = -0.1-max(v.LogProb[t], -v.LogProb[t]), max(row.Weight[t], -row.Weight[t])
			}
		}
		out = append(out, v)
	}
	return out
}

// differentiable evaluates an objective at views whose columns were moved; what it holds constant it reads at the views of before.
func differentiable(o engine.Objective, moved []engine.View) float64 {
	if h, ok := o.(Held); ok && h.Holds() {
		return h.EvalHeld(moved, views(o), nil)
	}
	return o.Eval(moved, nil)
}

// viewColumns are the inputs of a view with their derivatives.
func viewColumns(v *engine.View) map[string]struct {
	x []float32
	d []float64
} {
	return map[string]struct {
		x []float32
		d []float64
	}{"log-prob": {v.LogProb, v.DLogProb}, "entropy": {v.Entropy, v.DEntropy}, "value": {v.Value, v.DValue}, "row term": {v.Term, v.DTerm}}
}

// worst evaluates an objective whose derivative is multiplied by fault, and returns the largest deviation from central differences,
// relative to 1 + |difference|, and how many derivatives were not zero. Columns are float32, so the step is the difference really taken.
func worst(t *testing.T, o engine.Objective, fault float64) (deviation float64, checked int) {
	return worstOf(t, o, fault, func(moved []engine.View) float64 { return differentiable(o, moved) })
}

func worstOf(t *testing.T, o engine.Objective, fault float64, loss func([]engine.View) float64) (deviation float64, checked int) {
	v := views(o)
	o.Eval(v, nil)
	for r := range v {
		for name, c := range viewColumns(&v[r]) {
			for i, x := range c.x {
				at := func(x float32) float64 {
					w := views(o)
					viewColumns(&w[r])[name].x[i] = x
					return loss(w)
				}
				const h = 1.0 / 1024
				up, down := x+h, x-h
				want := (at(up) - at(down)) / float64(up-down)
				deviation = max(deviation, math.Abs(want-fault*c.d[i])/(1+math.Abs(want)))
				if c.d[i] != 0 {
					checked++
				}
				if !v[r].Row.Mask[i] && c.d[i] != 0 {
					t.Errorf("%s: token %d is not in the mask but has a derivative by its %s", o.Name(), i, name)
				}
			}
		}
	}
	return deviation, checked
}

// TestDerivatives holds every closed form against central differences; the same comparison sees a derivative that is 1 % off.
func TestDerivatives(t *testing.T) {
	for _, o := range tested() {
		const bound = 3e-6
		if d, n := worst(t, o, 1); d > bound || n == 0 || math.IsNaN(d) {
			t.Errorf("%s: %d derivatives, the worst %g off", o.Name(), n, d)
		}
		if d, _ := worst(t, o, 1.01); d <= bound {
			t.Errorf("%s: a derivative that is 1 %% off passed", o.Name())
		}
	}
}

// TestDetached: what an objective holds constant really moves its loss, so that holding it is no excuse for a wrong derivative. ClipCov and
// KLCov hold a choice of tokens, which small steps leave as it is.
func TestDetached(t *testing.T) {
	n := 0
	for _, o := range All() {
		if !Detached(o) || o.Scope() == engine.ScopeBatch {
			continue
		}
		n++
		if d, _ := worstOf(t, o, 1, func(moved []engine.View) float64 { return o.Eval(moved, nil) }); d < 1e-3 {
			t.Errorf("%s: the derivative is that of the whole loss, to %g", o.Name(), d)
		}
	}
	if n < 8 {
		t.Errorf("only %d objectives hold something", n)
	}
}

// TestAdds: objectives add to what stands in the derivative columns, and the loss does not depend on whether it is tallied.
func TestAdds(t *testing.T) {
	for _, o := range tested() {
		a, b := views(o), views(o)
		for r := range b {
			for _, c := range viewColumns(&b[r]) {
				for i := range c.d {
					c.d[i] = 2
				}
			}
		}
		if la, lb := o.Eval(a, nil), o.Eval(b, &engine.Tally{}); la != lb {
			t.Errorf("%s: loss %g, with a tally %g", o.Name(), la, lb)
		}
		for r := range a {
			for name, c := range viewColumns(&a[r]) {
				for i := range c.d {
					if math.Abs(viewColumns(&b[r])[name].d[i]-2-c.d[i]) > 1e-12 {
						t.Errorf("%s: row %d token %d: the derivative by the %s was set, not added", o.Name(), r, i, name)
					}
				}
			}
		}
	}
}

// TestTokenScope: a token objective may see its row in pieces.
func TestTokenScope(t *testing.T) {
	for _, o := range tested() {
		if o.Scope() != engine.ScopeToken {
			continue
		}
		whole, parts := views(o), views(o)
		want, got := o.Eval(whole, nil), 0.0
		for from := 0; from < parts[0].To; from += 5 {
			v := parts[0]
			to := min(v.To, from+5)
			v.From, v.To = from, to
			v.LogProb, v.Entropy, v.Value, v.Term = v.LogProb[from:to], v.Entropy[from:to], v.Value[from:to], v.Term[from:to]
			v.DLogProb, v.DEntropy, v.DValue, v.DTerm = v.DLogProb[from:to], v.DEntropy[from:to], v.DValue[from:to], v.DTerm[from:to]
			got += o.Eval([]engine.View{v}, nil)
		}
		if math.Abs(got-want) > 1e-12 {
			t.Errorf("%s: loss %g in one piece, %g in several", o.Name(), want, got)
		}
		for name, c := range viewColumns(&whole[0]) {
			if !slices.Equal(c.d, viewColumns(&parts[0])[name].d) {
				t.Errorf("%s: other derivatives by the %s in several pieces", o.Name(), name)
			}
		}
	}
}

// TestAllIsAll looks for types with an Eval method in the source: none may be missing in All.
func TestAllIsAll(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, f := range files {
		src, err := parser.ParseFile(token.NewFileSet(), f, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range src.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil && fn.Name.Name == "Eval" {
				recv := fn.Recv.List[0].Type
				if star, ok := recv.(*ast.StarExpr); ok {
					recv = star.X
				}
				found["objective."+recv.(*ast.Ident).Name] = true
			}
		}
	}
	for _, o := range All() {
		delete(found, strings.TrimPrefix(fmt.Sprintf("%T", o), "*"))
	}
	if len(found) > 0 {
		t.Errorf("All leaves out %v", found)
	}
}

func TestKLEstimators(t *testing.T) {
	for _, c := range []struct {
		e             KLEstimator
		lp, ref       float64
		value, derive float64
	}{
		{K1, -1, -1.5, 0.5, 1}, {K1, -2, -1, -1, 1}, {K1, -1, -1, 0, 1},
		{K2, -1, -1.5, 0.125, 0.5}, {K2, -2, -1, 0.5, -1}, {K2, -1, -1, 0, 0},
		{K3, -1, -1.5, math.Exp(-0.5) + 0.5 - 1, 1 - math.Exp(-0.5)}, {K3, -2, -1, math.E - 2, 1 - math.E}, {K3, -1, -1, 0, 0},
	} {
		v, d := c.e.Value(c.lp, c.ref)
		if math.Abs(v-c.value) > 1e-12 || math.Abs(d-c.derive) > 1e-12 {
			t.Errorf("%s(%g, %g) = %g, %g; want %g, %g", c.e, c.lp, c.ref, v, d, c.value, c.derive)
		}
	}
	// Near the reference no digits are lost: k3 is d^2/2 there, where exp(-d) + d - 1 gives 0.
	if v, d := K3.Value(-1, -1-1e-9); math.Abs(v/(1e-9*1e-9/2)-1) > 1e-6 || math.Abs(d/1e-9-1) > 1e-6 {
		t.Errorf("k3 at a distance of 1e-9: %g, %g", v, d)
	}
	// All three have the mean KL(p || q) under p, to second order for k2.
	p, q := []float64{0.5, 0.3, 0.2}, []float64{0.45, 0.33, 0.22}
	kl := 0.0
	for i := range p {
		kl += p[i] * math.Log(p[i]/q[i])
	}
	for _, e := range KLEstimators {
		mean := 0.0
		for i := range p {
			v, _ := e.Value(math.Log(p[i]), math.Log(q[i]))
			mean += p[i] * v
		}
		bound := 1e-12
		if e == K2 {
			bound = 0.05 * kl
		}
		if math.Abs(mean-kl) > bound {
			t.Errorf("%s: mean %g, KL %g", e, mean, kl)
		}
	}
}

// TestClip: which side of the range clips depends on the advantage's sign; a clipped token has no gradient; the dual bound holds.
func TestClip(t *testing.T) {
	for _, c := range []struct {
		r                         ClipRange
		ratio, advantage          float64
		loss, derivative, clipped float64
	}{
		{ClipRange{Low: 0.2, High: 0.28}, 1.1, 1, -1.1, -1.1, 0},
		{ClipRange{Low: 0.2, High: 0.28}, 1.5, 1, -1.28, 0, 1},
		{ClipRange{Low: 0.2, High: 0.28}, 1.5, -1, 1.5, 1.5, 0},
		{ClipRange{Low: 0.2, High: 0.28}, 0.5, 1, -0.5, -0.5, 0},
		{ClipRange{Low: 0.2, High: 0.28}, 0.5, -1, 0.8, 0, 1},
		{ClipRange{Low: 0.2, High: 0.28}, 9, -1, 9, 9, 0},
		{ClipRange{Low: 0.2, High: 0.28, Dual: 3}, 9, -1, 3, 0, 1},
		{ClipRange{Low: 0.2, High: 0.28, Dual: 3}, 9, 1, -1.28, 0, 1},
		{ClipRange{Low: 0.2, High: 0.28}, 1.5, 0, 0, 0, 0},
	} {
		l, d, ratio, clipped := Clipped{c.r}.token(math.Log(c.ratio), c.advantage)
		if math.Abs(l-c.loss) > 1e-12 || math.Abs(d-c.derivative) > 1e-12 || math.Abs(ratio-c.ratio) > 1e-12 || clipped != c.clipped {
			t.Errorf("%+v: loss %g, derivative %g, ratio %g, clipped %g", c, l, d, ratio, clipped)
		}
	}
}

func TestGroupAdvantage(t *testing.T) {
	rewards := []float64{2, -0.5, -0.5, -2}
	for _, c := range []struct {
		kind GroupAdvantage
		want []float64
	}{
		{MeanOnly, []float64{2.25, -0.25, -0.25, -1.75}},
		{LeaveOneOut, []float64{3, -1. / 3, -1. / 3, -7. / 3}},
		{MeanStdPop, []float64{1.5667, -0.1741, -0.1741, -1.2185}},
		{MeanStd, []float64{1.3568, -0.1508, -0.1508, -1.0553}},
	} {
		got, err := c.kind.Of(rewards, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if math.Abs(got[i]-c.want[i]) > 5e-5 {
				t.Errorf("%s: %v, want %v", c.kind, got, c.want)
				break
			}
		}
	}
	for _, kind := range GroupAdvantages {
		got, err := kind.Of([]float64{0.1, 0.1, 0.1}, AdvantageEps)
		if err != nil || got[0] != 0 || got[2] != 0 {
			t.Errorf("%s of equal rewards: %v, %v; want exact zeros", kind, got, err)
		}
		if _, err := kind.Of([]float64{1}, 0); err == nil {
			t.Errorf("%s of one reward: no error", kind)
		}
	}
}

// At the reference k3 is 0 with derivative 0; on policy the clipped loss has ratio 1 and derivative -A.
func TestLimits(t *testing.T) {
	if kl, d := K3.Value(-1.3, -1.3); kl != 0 || d != 0 {
		t.Errorf("k3 at the reference: %g, %g", kl, d)
	}
	loss, d, ratio, clipped := Clipped{ClipRange{Low: 0.2, High: 0.2}}.token(0, 0.7)
	if loss != -0.7 || d != -0.7 || ratio != 1 || clipped != 0 {
		t.Errorf("on policy: loss %g, derivative %g, ratio %g, clipped %g", loss, d, ratio, clipped)
	}
}
