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

// views makes the rows that an objective sees, with random columns.
func views(o engine.Objective) []engine.View {
	n := 1
	switch o.Scope() {
	case engine.ScopeUnit:
		n = 2
	case engine.ScopeBatch:
		n = 6
	}
	var out []engine.View
	for r := range n {
		k := rng.New(uint64(r+1), "objective")
		const tokens = 12
		s := &engine.Sequence{Tokens: make([]int32, tokens), Unit: int64(r/2 + 1)}
		row := &engine.Row{Seq: s, Mask: make([]bool, tokens), Weight: make([]float32, tokens), Scale: 0.37}
		v := engine.View{Row: row, To: tokens, LogProb: make([]float32, tokens), Entropy: make([]float32, tokens), DLogProb: make([]float64, tokens), DEntropy: make([]float64, tokens)}
		s.SetChannel(ChanLabel, slices.Repeat([]float32{1}, tokens))
		for _, name := range []string{engine.ChanOld, engine.ChanRef, engine.ChanAdvantage, ChanAligned} {
			c := s.SetChannel(name, nil)
			for t := range c {
				c[t] = float32(k.Sub(name).Normal(uint64(t))) - 1
			}
		}
		for t := range tokens {
			v.LogProb[t] = s.Channel(engine.ChanOld)[t] + float32(0.5*k.Sub("move").Normal(uint64(t)))
			v.Entropy[t] = float32(k.Sub("entropy").Float64(uint64(t)))
			row.Mask[t], row.Weight[t] = t%3 != 0, float32(k.Sub("weight").Normal(uint64(t)))
			if o.Name() == string(ORPO) { // odds need probabilities
				v.LogProb[t], row.Weight[t] = -0.1-max(v.LogProb[t], -v.LogProb[t]), max(row.Weight[t], -row.Weight[t])
			}
		}
		out = append(out, v)
	}
	return out
}

// worst evaluates an objective whose derivative is multiplied by fault, and returns the largest deviation from central differences,
// relative to 1 + |difference|, and how many derivatives were not zero. Columns are float32, so the step is the difference really taken.
func worst(t *testing.T, o engine.Objective, fault float64) (deviation float64, checked int) {
	v := views(o)
	o.Eval(v, nil)
	for r := range v {
		for _, entropy := range []bool{false, true} {
			column := func(v *engine.View) ([]float32, []float64) {
				if entropy {
					return v.Entropy, v.DEntropy
				}
				return v.LogProb, v.DLogProb
			}
			x, d := column(&v[r])
			for i := range x {
				at := func(x float32) float64 {
					w := views(o)
					y, _ := column(&w[r])
					y[i] = x
					return o.Eval(w, nil)
				}
				const h = 1.0 / 1024
				up, down := x[i]+h, x[i]-h
				want := (at(up) - at(down)) / float64(up-down)
				deviation = max(deviation, math.Abs(want-fault*d[i])/(1+math.Abs(want)))
				if d[i] != 0 {
					checked++
				}
				if !v[r].Row.Mask[i] && d[i] != 0 {
					t.Errorf("%s: token %d is not in the mask but has a derivative", o.Name(), i)
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

// TestAdds: objectives add to what stands in the derivative columns, and the loss does not depend on whether it is tallied.
func TestAdds(t *testing.T) {
	for _, o := range tested() {
		a, b := views(o), views(o)
		for r := range b {
			for i := range b[r].DLogProb {
				b[r].DLogProb[i], b[r].DEntropy[i] = 2, 3
			}
		}
		if la, lb := o.Eval(a, nil), o.Eval(b, &engine.Tally{}); la != lb {
			t.Errorf("%s: loss %g, with a tally %g", o.Name(), la, lb)
		}
		for r := range a {
			for i := range a[r].DLogProb {
				if math.Abs(b[r].DLogProb[i]-2-a[r].DLogProb[i]) > 1e-12 || math.Abs(b[r].DEntropy[i]-3-a[r].DEntropy[i]) > 1e-12 {
					t.Errorf("%s: row %d token %d: the derivative was set, not added", o.Name(), r, i)
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
			got += o.Eval([]engine.View{{Row: v.Row, From: from, To: to, LogProb: v.LogProb[from:to], Entropy: v.Entropy[from:to], DLogProb: v.DLogProb[from:to], DEntropy: v.DEntropy[from:to]}}, nil)
		}
		if math.Abs(got-want) > 1e-12 || !slices.Equal(whole[0].DLogProb, parts[0].DLogProb) || !slices.Equal(whole[0].DEntropy, parts[0].DEntropy) {
			t.Errorf("%s: loss %g in one piece, %g in three, or other derivatives", o.Name(), want, got)
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
	rewards := []float64{2, -0.5, -0.5, -2} // card warmup
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
