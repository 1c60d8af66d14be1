package objective

import (
	"math"
	"testing"

	"github.com/hone-lm/hone/engine"
)

// one makes a view of one row whose first token is outside the mask: log-probs, old log-probs and advantages of the others.
func one(logProb, old, advantage []float32) engine.View {
	front := func(x []float32) []float32 { return append([]float32{0}, x...) }
	n := len(logProb) + 1
	s := &engine.Sequence{Tokens: make([]int32, n)}
	s.SetChannel(engine.ChanOld, front(old))
	s.SetChannel(engine.ChanAdvantage, front(advantage))
	row := &engine.Row{Seq: s, Mask: make([]bool, n), Scale: 1}
	for t := 1; t < n; t++ {
		row.Mask[t] = true
	}
	return engine.View{Row: row, To: n, LogProb: front(logProb), DLogProb: make([]float64, n)}
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-12*(1+math.Abs(b)) }

// Surrogate's clip with token ratios is Clipped, to the bit.
func TestSurrogateIsClipped(t *testing.T) {
	for _, r := range []ClipRange{{Low: 0.2, High: 0.28}, {Low: 0.2, High: 0.2, Dual: 3}} {
		a, b := Clipped{r}, Surrogate{Form: FormClip, Range: r}
		va, vb := views(a), views(b)
		if la, lb := a.Eval(va, nil), b.Eval(vb, nil); la != lb {
			t.Errorf("%+v: loss %v and %v", r, la, lb)
		}
		for i := range va[0].DLogProb {
			if va[0].DLogProb[i] != vb[0].DLogProb[i] {
				t.Errorf("%+v: token %d: derivative %v and %v", r, i, va[0].DLogProb[i], vb[0].DLogProb[i])
			}
		}
	}
}

// Every form at ratios within and beyond its bounds: loss and derivative by the log-prob.
func TestSurrogateForms(t *testing.T) {
	r := ClipRange{Low: 0.2, High: 0.28}
	gate := 1 / (1 + math.Exp(-2*0.5))
	for _, c := range []struct {
		s                Surrogate
		ratio, advantage float64
		loss, derivative float64
	}{
		{Surrogate{Form: FormClip, Range: r, Delta: 2}, 1.5, -1, 1.5, 1.5},      // below Delta
		{Surrogate{Form: FormClip, Range: r, Delta: 2}, 9, -1, 2, 0},            // bounded by Delta
		{Surrogate{Form: FormClip, Range: r, Delta: 2}, 9, 1, -1.28, 0},         // the clip is tighter
		{Surrogate{Form: FormClip, Range: r, Delta: 1.1}, 1.2, -1, 1.2, 1.2},    // Delta within the range: the clipped term is larger
		{Surrogate{Form: FormClip, Range: r, Delta: 1.1}, 1.2, 1, -1.1, 0},      // and for the other sign Delta bounds
		{Surrogate{Form: FormRatio}, 9, -2, 18, 18},                             // no bound
		{Surrogate{Form: FormRatio, MaxLog: 1}, 9, -2, 2 * math.E, 0},           // cut off
		{Surrogate{Form: FormRatio, MaxLog: 1}, 0.1, -2, 2 / math.E, 0},         // cut off below
		{Surrogate{Form: FormCISPO, Range: r}, 1.1, 2, 2.2, -2.2},               // log-prob -1: loss = -r A lp
		{Surrogate{Form: FormCISPO, Range: r}, 9, 2, 2.56, -2.56},               // the weight is clipped, the gradient goes on
		{Surrogate{Form: FormCISPO, Range: r}, 0.1, -2, -1.6, 1.6},              // on both sides
		{Surrogate{Form: FormCISPO, Range: ClipRange{Low: 1}}, 0.1, 2, .2, -.2}, // Low 1 leaves the ratio free below
		{Surrogate{Form: FormSAPO, TauPos: 2, TauNeg: 1}, 1.5, 3, -2 * gate * 3, -4 * gate * (1 - gate) * 1.5 * 3},
		{Surrogate{Form: FormSAPO, TauPos: 5, TauNeg: 2}, 1.5, -3, 2 * gate * 3, 4 * gate * (1 - gate) * 1.5 * 3},
		{Surrogate{Form: FormSAPO, TauPos: 1, TauNeg: 1.05}, 1, 0.7, -1.4, -0.7}, // on policy the gradient is that of REINFORCE
	} {
		x, slope := c.s.bound(math.Log(c.ratio))
		p := c.s.point(x, x, -1, c.advantage)
		if d := p.byRatio*slope + p.byLogProb; !near(p.loss, c.loss) || !near(d, c.derivative) {
			t.Errorf("%+v, ratio %g, advantage %g: loss %g, derivative %g; want %g, %g", c.s, c.ratio, c.advantage, p.loss, d, c.loss, c.derivative)
		}
	}
}

// Two tokens with log-ratios 0.2 and 0.4: the ratio of the sequence is exp(0.3). Its gradient reaches every token in equal parts, or, with
// GSPO-token, each token's own.
func TestSequenceRatio(t *testing.T) {
	s := math.Exp(0.3)
	for _, c := range []struct {
		level RatioLevel
		want  [2]float64
	}{
		{RatioSequence, [2]float64{-s * (1 - 3) / 2, -s * (1 - 3) / 2}},
		{RatioSequenceToken, [2]float64{-s, 3 * s}},
	} {
		v := one([]float32{-1, -1}, []float32{-1.25, -1.375}, []float32{1, -3})
		v.Wide = &engine.Wide{Chan: map[string][]float64{engine.ChanOld: {0, -1.2, -1.4}}} // exact log-ratios
		loss := Surrogate{Form: FormRatio, Ratio: c.level}.Eval([]engine.View{v}, nil)
		if !near(loss, -s*(1-3)) || !near(v.DLogProb[1], c.want[0]) || !near(v.DLogProb[2], c.want[1]) || v.DLogProb[0] != 0 {
			t.Errorf("%s: loss %g, derivatives %v; want %g, %v", c.level, loss, v.DLogProb, -s*(1-3), c.want)
		}
	}
	v := one([]float32{-1, -1}, []float32{-4, -4}, []float32{1, 1})
	if loss := (Surrogate{Form: FormRatio, Ratio: RatioSequence, MaxLog: 2}).Eval([]engine.View{v}, nil); !near(loss, -2*math.Exp(2)) || v.DLogProb[1] != 0 {
		t.Errorf("beyond MaxLog: loss %g, derivatives %v", loss, v.DLogProb)
	}
	v = one([]float32{-4, -4}, []float32{-1, -1}, []float32{1, 1})
	if loss := (Surrogate{Form: FormRatio, Ratio: RatioSequence, MaxLog: 2}).Eval([]engine.View{v}, nil); !near(loss, -2*math.Exp(-3)) {
		t.Errorf("a sequence ratio is not cut off below: loss %g", loss)
	}
}

// On policy all ratio losses have REINFORCE's gradient -A per token: summed over a row for losses of sequences.
func TestOnPolicy(t *testing.T) {
	for _, o := range policies() {
		reads := map[string]bool{}
		for _, c := range o.(engine.ChannelReader).Channels() {
			reads[c] = true
		}
		if _, cov := o.(KLCov); cov || !reads[engine.ChanOld] || !reads[engine.ChanAdvantage] {
			continue // the penalty |x| has a kink here
		}
		if c, ok := o.(ClipCov); ok {
			c.Lower = 4 // leave no token out
			o = c
		}
		v := one([]float32{-1, -2, -0.5}, []float32{-1, -2, -0.5}, []float32{0.7, 0.7, 0.7})
		o.Eval([]engine.View{v}, nil)
		sum := 0.0
		for _, d := range v.DLogProb {
			sum += d
		}
		want := -3 * 0.7
		if _, geo := o.(GMPO); geo {
			want /= 3 // a row counts once
		}
		if math.Abs(sum-want) > 1e-6 {
			t.Errorf("%s: the derivatives add up to %g, want %g", o.Name(), sum, want)
		}
	}
}

func TestVESPO(t *testing.T) {
	o := VESPO{KPos: 2, LambdaPos: 3, KNeg: 3, LambdaNeg: 2}
	for _, c := range []struct{ logW, advantage, want float64 }{
		{0, 1, 1}, {0, -1, 1}, // on policy
		{math.Log(2), 1, 4 * math.Exp(-3)},
		{math.Log(2), -1, 8 * math.Exp(-2)},
		{math.Log(0.5), 0, 0.25 * math.Exp(1.5)}, // advantage 0 counts as positive
		{20, 1, 0},
	} {
		if got := o.phi(c.logW, c.advantage); !near(got, c.want) {
			t.Errorf("phi at log W %g, advantage %g: %g, want %g", c.logW, c.advantage, got, c.want)
		}
	}
	if got := (VESPO{KPos: math.Inf(1)}).phi(1, 1); got != 0 {
		t.Errorf("a weight that is not finite: %g, want 0", got)
	}
}

// An advantage bounds the log-ratio on its own side only, and 0 takes the token out of the geometric mean.
func TestGMPO(t *testing.T) {
	o := GMPO{Low: 0.25, High: 0.5}
	v := one([]float32{-1, -1, -1}, []float32{-2, -0.5, -1.125}, []float32{1, 1, 1}) // log-ratios 1, -0.5, 0.125
	loss := o.Eval([]engine.View{v}, nil)
	ratio := math.Exp(0.125 / 3) // the first is held at 0.5
	if !near(loss, -ratio) || v.DLogProb[1] != 0 || !near(v.DLogProb[2], -ratio/3) || !near(v.DLogProb[3], -ratio/3) {
		t.Errorf("advantage 1: loss %g, derivatives %v; want %g", loss, v.DLogProb, -ratio)
	}
	v = one([]float32{-1, -1, -1}, []float32{-2, -0.5, -1.125}, []float32{-1, -1, 0})
	loss = o.Eval([]engine.View{v}, nil)
	ratio = math.Exp((1 - 0.25 + 0) / 3)
	if !near(loss, 2./3*ratio) || !near(v.DLogProb[1], 2./9*ratio) || v.DLogProb[2] != 0 || v.DLogProb[3] != 0 {
		t.Errorf("advantages -1, -1, 0: loss %g, derivatives %v; want %g", loss, v.DLogProb, 2./3*ratio)
	}
}

// A token counts until the divergence leaves the trust region on the side to which its advantage pushes.
func TestDPPO(t *testing.T) {
	for _, c := range []struct {
		d                 Divergence
		p, old, advantage float64
		want              bool
	}{
		{BinaryTV, 0.55, 0.5, 1, true}, {BinaryTV, 0.65, 0.5, 1, false}, {BinaryTV, 0.65, 0.5, -1, true},
		{BinaryTV, 0.35, 0.5, 1, true}, {BinaryTV, 0.35, 0.5, -1, false}, {BinaryTV, 0.45, 0.5, -1, true},
		{BinaryKL, 0.55, 0.5, 1, true}, {BinaryKL, 0.95, 0.5, 1, false}, {BinaryKL, 0.95, 0.5, -1, true},
		{BinaryKL, 0.05, 0.5, 1, true}, {BinaryKL, 0.05, 0.5, -1, false}, {BinaryKL, 0.05, 0.5, 0, false},
	} {
		if got := (DPPO{Divergence: c.d, Low: 0.1, High: 0.1}).valid(math.Log(c.p), math.Log(c.old), c.advantage); got != c.want {
			t.Errorf("%s: %g after %g with advantage %g: valid %v", c.d, c.p, c.old, c.advantage, got)
		}
	}
	v := one([]float32{-1}, []float32{-4}, []float32{-1})
	if loss := (DPPO{Divergence: BinaryTV, Low: 1, High: 1, Cap: 2}).Eval([]engine.View{v}, nil); loss != -2 || v.DLogProb[1] != 2 {
		t.Errorf("a capped ratio: loss %g, derivative %g; want -2, 2", loss, v.DLogProb[1])
	}
}

func TestDRO(t *testing.T) {
	v := one([]float32{-1}, []float32{-1.5}, []float32{2})
	if loss := (DRO{Beta: 0.5}).Eval([]engine.View{v}, nil); !near(loss, 2+0.0625) || !near(v.DLogProb[1], -1.75) {
		t.Errorf("loss %g, derivative %g; want 2.0625, -1.75", loss, v.DLogProb[1])
	}
}

// Covariances are taken over all rows: of three tokens with advantages 1, 1, -2 and log-probs -1, -2, -6 they are 2, 1, 6.
func TestCovariances(t *testing.T) {
	rows := func() []engine.View {
		return []engine.View{one([]float32{-1, -2}, []float32{-1.5, -2}, []float32{1, 1}), one([]float32{-6}, []float32{-6}, []float32{-2})}
	}
	got := covariances(rows())
	for i, want := range []float64{2, 1, 6} {
		if !near(got[i].cov, want) {
			t.Errorf("covariance of token %d: %g, want %g", i, got[i].cov, want)
		}
	}
	v := rows()
	if loss := (KLCov{Fraction: 0.7, Coef: 3}).Eval(v, nil); !near(loss, -math.Exp(0.5)+3*0.5-1+2) { // the two largest: tokens 2 and 0
		t.Errorf("KLCov: loss %g", loss)
	}
	if d := v[0].DLogProb[1]; !near(d, -math.Exp(0.5)+3) {
		t.Errorf("KLCov: derivative of a token with penalty: %g", d)
	}
	v = rows()
	// Token 0 is clipped and token 2 lies above Upper: token 1 is left out, though the fraction of 3 tokens is less than one.
	if loss := (ClipCov{Range: ClipRange{Low: 0.2, High: 0.2}, Fraction: 0.1, Lower: 0.5, Upper: 5}).Eval(v, nil); !near(loss, -1.2+2) || v[0].DLogProb[2] != 0 || v[1].DLogProb[1] != 2 {
		t.Errorf("ClipCov: loss %g, derivatives %v, %v", loss, v[0].DLogProb, v[1].DLogProb)
	}
	drawn := map[int]bool{}
	for seed := range uint64(40) {
		v := rows()
		o := ClipCov{Range: ClipRange{Low: 0.2, High: 9}, Fraction: 0.1, Lower: 0.5, Upper: 9, Key: engine.NewKey(seed, "clip_cov")}
		o.Eval(v, nil)
		for i, d := range []float64{v[0].DLogProb[1], v[0].DLogProb[2], v[1].DLogProb[1]} {
			if d == 0 {
				drawn[i] = true
			}
		}
	}
	if len(drawn) != 3 {
		t.Errorf("40 keys drew only the tokens %v", drawn)
	}
}

func TestValueLoss(t *testing.T) {
	for _, c := range []struct {
		value, old, ret, clip float32
		loss, derivative      float64
	}{
		{1, 0, 3, 0, 2, -2},               // no clip: (1-3)^2 / 2
		{1, 0, 3, 0.5, 3.125, 0},          // moved beyond the clip towards the return: no more gradient
		{-1, 0, 3, 0.5, 8, -4},            // moved away: the gradient leads back
		{0.25, 0, 3, 0.5, 3.78125, -2.75}, // within
	} {
		v := one([]float32{0}, []float32{0}, []float32{0})
		v.Row.Seq.SetChannel(engine.ChanReturn, []float32{0, c.ret})
		v.Row.Seq.SetChannel(engine.ChanValueOld, []float32{0, c.old})
		v.Value, v.DValue = []float32{0, c.value}, make([]float64, 2)
		if loss := (ValueLoss{Clip: float64(c.clip)}).Eval([]engine.View{v}, nil); loss != c.loss || v.DValue[1] != c.derivative {
			t.Errorf("value %g, old %g, return %g, clip %g: loss %g, derivative %g; want %g, %g", c.value, c.old, c.ret, c.clip, loss, v.DValue[1], c.loss, c.derivative)
		}
	}
}

// Penalties beyond the estimators of Schulman's note: bounds, and the straight-through forms.
func TestKLPenalties(t *testing.T) {
	for _, c := range []struct {
		e             KLEstimator
		d             float64 // lp - ref
		value, derive float64
	}{
		{KLAbs, -0.5, 0.5, -1}, {KLAbs, 0.5, 0.5, 1}, {KLAbs, 0, 0, 0},
		{LowVarKL, 0.5, math.Exp(-0.5) + 0.5 - 1, 1 - math.Exp(-0.5)}, {LowVarKL, -3, 10, 0}, {LowVarKL, -30, 10, 0}, {LowVarKL, 9, math.Exp(-9) + 8, 1 - math.Exp(-9)}, {LowVarKL, 30, 10, 0},
		{"k1+", -0.5, -0.5, -0.5}, {"k2+", -0.5, 0.125, -0.5}, {"k3+", -0.5, math.Exp(0.5) - 1.5, -0.5}, {"abs+", -0.5, 0.5, -0.5}, {"low_var_kl+", -3, 10, -3},
	} {
		v, d := c.e.Value(c.d-1, -1)
		if !near(v, c.value) || !near(d, c.derive) {
			t.Errorf("%s at %g: %g, %g; want %g, %g", c.e, c.d, v, d, c.value, c.derive)
		}
	}
	// Under the policy, the mean of k3+'s derivative times d lp is the gradient of the divergence; that of k3 is not.
	p, q := []float64{0.5, 0.3, 0.2}, []float64{0.2, 0.3, 0.5}
	grad := func(e KLEstimator) float64 { // by the logit of the first outcome
		sum := 0.0
		for i := range p {
			_, d := e.Value(math.Log(p[i]), math.Log(q[i]))
			lp := -p[0]
			if i == 0 {
				lp++
			}
			sum += p[i] * d * lp
		}
		return sum
	}
	kl, want := 0.0, 0.0
	for i := range p {
		kl += p[i] * math.Log(p[i]/q[i])
	}
	want = p[0] * (math.Log(p[0]/q[0]) - kl)
	if got := grad("k3+"); !near(got, want) {
		t.Errorf("k3+: mean gradient %g, want %g", got, want)
	}
	if got := grad(K3); math.Abs(got-want) < 0.01 {
		t.Errorf("k3: mean gradient %g is that of the divergence, %g", got, want)
	}
}

// Float64 inputs are read in place of every float32 column and channel by the losses of policies and of plain tokens.
func TestWide(t *testing.T) {
	for _, o := range append(policies(), CrossEntropy{}, Clipped{}, PolicyGradient{}, KL{Estimator: K3}) {
		plain, wide := views(o), views(o)
		for r := range wide {
			v := &wide[r]
			v.Wide = &engine.Wide{Chan: map[string][]float64{}}
			take := func(x []float32) []float64 {
				out := make([]float64, len(x))
				for t := range x {
					out[t], x[t] = float64(x[t]), float32(math.NaN())
				}
				return out
			}
			v.Wide.LogProb, v.Wide.Value, v.Wide.Weight = take(v.LogProb), take(v.Value), take(v.Row.Weight)
			for name, c := range v.Row.Seq.Chan {
				v.Wide.Chan[name] = take(c)
			}
		}
		if a, b := o.Eval(plain, nil), o.Eval(wide, nil); a != b {
			t.Errorf("%s: loss %g, with float64 inputs %g", o.Name(), a, b)
		}
	}
}

// Settings that would be read as something else are refused before any arithmetic; those of All are not.
func TestCheckRows(t *testing.T) {
	for _, o := range All() {
		if c, ok := o.(engine.RowChecker); ok {
			if err := c.CheckRows(nil); err != nil {
				t.Errorf("%s: %v", o.Name(), err)
			}
		}
	}
	for name, o := range map[string]engine.RowChecker{
		"no form":            Surrogate{},
		"a ratio level":      Surrogate{Form: FormClip, Ratio: "turn"},
		"sapo without tau":   Surrogate{Form: FormSAPO, TauPos: 1},
		"a negative bound":   Surrogate{Form: FormClip, MaxLog: -1},
		"an estimator":       KL{Estimator: "k4"},
		"no estimator":       KL{},
		"a ratio with +":     RatioKL{Estimator: "k3+"},
		"tokens of a ratio":  RatioKL{Estimator: K3, Ratio: RatioSequenceToken},
		"a divergence":       DPPO{Divergence: "js", Cap: 20},
		"no cap":             DPPO{Divergence: BinaryKL},
		"no fraction":        KLCov{Coef: 1},
		"more than all":      ClipCov{Fraction: 2},
		"a clip below 0":     ValueLoss{Clip: -0.2},
		"a clip of NaN":      ValueLoss{Clip: math.NaN()},
		"an unknown penalty": RatioKL{Estimator: "full"},
	} {
		if o.CheckRows(nil) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
