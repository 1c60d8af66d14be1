package objective

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/rng"
)

var half = 0.5

// pairVariants has every loss alone, every divergence, and every setting of the families once: the generic rules hold for each.
func pairVariants() []engine.Objective {
	var out []engine.Objective
	for _, l := range PairLosses {
		out = append(out, DPO{Beta: 0.2, Losses: []PairTerm{{l, 0.7}}, LabelSmoothing: 0.1, Tau: 0.5, Delta: 0.3})
	}
	for _, f := range FDivergences {
		out = append(out, DPO{Beta: 0.2, Divergence: f, Alpha: 0.5})
	}
	for _, l := range UnpairedLosses {
		out = append(out, KTO{Loss: l, Beta: 0.3, Desirable: 0.9, Undesirable: 1.2, KL: 0.4, Delta: -0.2})
	}
	return append(out,
		DPO{Beta: 0.3, LDAlpha: &half},
		DPO{Beta: 0.3, WPO: true},
		DPO{Beta: 0.1, Losses: []PairTerm{{PairSigmoid, 0.8}, {PairBCO, 0.2}, {PairSFT, 1}}, WPO: true, LDAlpha: &half},
		ReferenceFree{Loss: SimPO, Beta: 2.5, Gamma: 1.2, LabelSmoothing: 0.2})
}

// logitBatch has n pairs of random logits, the chosen answers first; lengths differ, and policy and reference differ by spread.
func logitBatch(n int, spread float64) *LogitBatch {
	b := &LogitBatch{}
	k := rng.New(7, "pairs")
	for r := range 2 * n {
		const tokens, vocab = 7, 5
		row := k.Sub("row").With(uint64(r))
		var ids []int32
		var mask []bool
		var logits, ref [][]float64
		for t := range tokens {
			ids = append(ids, int32(row.Sub("id").Float64(uint64(t))*vocab))
			mask = append(mask, t > r%3 && t < tokens-(r*r)%4)
			var z, y []float64
			for v := range vocab {
				x := 2 * row.Sub("logit").Normal(uint64(t*vocab+v))
				z = append(z, x)
				y = append(y, x+spread*row.Sub("ref").Normal(uint64(t*vocab+v)))
			}
			logits, ref = append(logits, z), append(ref, y)
		}
		b.Tokens, b.Mask = append(b.Tokens, ids), append(b.Mask, mask)
		b.Logits, b.Ref = append(b.Logits, logits), append(b.Ref, ref)
	}
	return b
}

// allDPO calls fn with every combination of loss, divergence, LD-DPO and WPO.
func allDPO(fn func(d DPO)) {
	none, some := 0.0, 0.4
	for _, l := range PairLosses {
		for _, f := range FDivergences {
			for _, ld := range []*float64{nil, &none, &some} {
				for _, wpo := range []bool{false, true} {
					d := DPO{Beta: 0.4, Losses: []PairTerm{{l, 0.6}, {PairSigmoid, 0.3}}, LabelSmoothing: 0.1, Divergence: f, Alpha: 0.3, LDAlpha: ld, Tau: 0.3, Delta: 0.1, WPO: wpo}
					fn(d)
				}
			}
		}
	}
}

func (d DPO) label() string {
	ld := "no LD"
	if d.LDAlpha != nil {
		ld = fmt.Sprint("LD ", *d.LDAlpha)
	}
	return fmt.Sprintf("%s, %s, %s, WPO %t", d.Name(), d.divergence(), ld, d.WPO)
}

// TestPairDerivatives holds the derivatives of every combination against central differences in float64. WPO's weight is a constant: it is
// read from a column that the differences do not move.
func TestPairDerivatives(t *testing.T) {
	b := logitBatch(3, 0.5)
	n := len(b.Tokens)
	moved := 0
	allDPO(func(d DPO) {
		var cols []*columns[float64]
		for i := range n {
			cols = append(cols, b.row(i/2+i%2*n/2))
		}
		eval := func(add bool) float64 {
			s := &pairScratch{sides: make([]side, n)}
			for i, c := range cols {
				s.sides[i] = side{scale: 0.3, tokens: maskTokens(c.row.Mask)}
			}
			d.share(s.sides)
			for i, c := range cols {
				c.read(&s.sides[i])
			}
			loss := d.loss(s, nil)
			for i, c := range cols {
				if add {
					c.add(&s.sides[i])
				}
			}
			return loss
		}
		eval(true)
		for i, c := range cols {
			for at, x := range c.logp {
				const h = 1e-5
				c.logp[at] = x + h
				up := eval(false)
				c.logp[at] = x - h
				want := (up - eval(false)) / (2 * h)
				c.logp[at] = x
				if math.Abs(want-c.d[at]) > 2e-8*(1+math.Abs(want)) {
					t.Fatalf("%s: side %d token %d: derivative %g, by differences %g", d.label(), i, at, c.d[at], want)
				}
				if want != 0 {
					moved++
				}
			}
		}
	})
	if moved < 5000 {
		t.Errorf("only %d derivatives were not zero", moved)
	}
}

// TestLogitGradient takes the derivatives through the softmax.
func TestLogitGradient(t *testing.T) {
	b := logitBatch(3, 0.5)
	dpo := DPO{Beta: 0.4, Losses: []PairTerm{{PairIPO, 0.5}, {PairAOT, 1}, {PairSFT, 0.2}}, LabelSmoothing: 0.1, LDAlpha: &half}
	labels := []bool{true, false, false, true, true, false}
	evals := map[string]func() (float64, [][][]float64, error){"dpo": func() (float64, [][][]float64, error) { return dpo.EvalLogits(b) }}
	for _, l := range UnpairedLosses {
		k := KTO{Loss: l, Beta: 0.4, Desirable: 0.9, Undesirable: 1.3, KL: 0.2, Delta: 0.1}
		evals[string(l)] = func() (float64, [][][]float64, error) { return k.EvalLogits(b, labels) }
	}
	for name, eval := range evals {
		_, grad, err := eval()
		if err != nil {
			t.Fatal(err)
		}
		for r := range grad {
			for at := range grad[r] {
				for v, got := range grad[r][at] {
					const h = 1e-5
					z := &b.Logits[r][at][v]
					x := *z
					*z = x + h
					up, _, _ := eval()
					*z = x - h
					down, _, _ := eval()
					*z = x
					if want := (up - down) / (2 * h); math.Abs(want-got) > 1e-8 {
						t.Fatalf("%s: row %d position %d id %d: %g, by differences %g", name, r, at, v, got, want)
					}
				}
			}
		}
	}
}

// engineViews shows a batch as an engine would: float32 columns, pairs as units, in the order of the rows given.
func engineViews(b *LogitBatch, order []int, unit func(r int) int64, labels []bool) []engine.View {
	var out []engine.View
	for _, r := range order {
		c := b.row(r)
		n := len(b.Tokens[r])
		s := &engine.Sequence{Tokens: b.Tokens[r], Unit: unit(r)}
		v := engine.View{Row: &engine.Row{Seq: s, Mask: b.Mask[r]}, To: n, LogProb: make([]float32, n), DLogProb: make([]float64, n)}
		ref, align, label := s.SetChannel(engine.ChanRef, nil), s.SetChannel(ChanAligned, nil), s.SetChannel(ChanLabel, nil)
		for t := range n {
			v.LogProb[t], ref[t], align[t] = float32(c.logp[t]), float32(c.ref[t]), float32(c.align[t])
			if labels != nil && labels[r] {
				label[t] = 1
			}
		}
		out = append(out, v)
	}
	return out
}

// differs compares the derivatives that Eval left in views, taken back to logits, with those of EvalLogits.
func differs(b *LogitBatch, views []engine.View, order []int, grad [][][]float64) float64 {
	worst := 0.0
	for i, r := range order {
		got := b.back(r, &columns[float64]{d: views[i].DLogProb})
		for t := range got {
			for v, g := range got[t] {
				worst = max(worst, math.Abs(g-grad[r][t][v])/(1+math.Abs(g)))
			}
		}
	}
	return worst
}

// TestEvalIsEvalLogits: what an engine evaluates on float32 columns is what the line tools report in float64, whatever lies between the rows
// of a pair.
func TestEvalIsEvalLogits(t *testing.T) {
	b := logitBatch(3, 0.5)
	order := []int{0, 3, 1, 2, 4, 5} // chosen rows 0 to 2, their rejected ones 3 to 5
	unit := func(r int) int64 { return int64(r%3 + 1) }
	allDPO(func(d DPO) {
		want, grad, err := d.EvalLogits(b)
		if err != nil {
			t.Fatal(err)
		}
		views := engineViews(b, order, unit, nil)
		got := 0.0
		for i := range views {
			views[i].Row.Scale = 1. / 3
		}
		if d.Scope() == engine.ScopeBatch {
			got = d.Eval(views, nil)
		} else {
			for _, p := range [][2]int{{0, 1}, {2, 4}, {3, 5}} {
				pair := []engine.View{views[p[0]], views[p[1]]}
				got += d.Eval(pair, nil)
			}
		}
		if math.Abs(got-want) > 3e-6*(1+math.Abs(want)) || differs(b, views, order, grad) > 3e-6 {
			t.Fatalf("%s: loss %g on columns, %g on logits, derivatives %g apart", d.label(), got, want, differs(b, views, order, grad))
		}
	})
	labels := []bool{true, false, false, true, true, false}
	for _, l := range UnpairedLosses {
		k := KTO{Loss: l, Beta: 0.4, Desirable: 0.9, Undesirable: 1.3, KL: 0.2, Delta: 0.1}
		want, grad, err := k.EvalLogits(b, labels)
		if err != nil {
			t.Fatal(err)
		}
		views := engineViews(b, order, func(int) int64 { return 0 }, labels)
		got := 0.0
		for i := range views {
			views[i].Row.Scale = 1. / 6
			got += k.Eval(views[i:i+1], nil)
		}
		if math.Abs(got-want) > 3e-6 || differs(b, views, order, grad) > 3e-6 {
			t.Errorf("%s: loss %g on columns, %g on logits", l, got, want)
		}
	}
}

// TestDPOBits: plain DPO keeps the bits of equation 7 as it is written here, which hashes of runs depend on.
func TestDPOBits(t *testing.T) {
	d := DPO{Beta: 0.3}
	got, want := views(d), views(d)
	loss := d.Eval(got, nil)
	reward := [2]float64{}
	for i, v := range want {
		for t := range v.LogProb {
			if w := v.Row.WeightAt(t); w != 0 {
				reward[i] += w * (float64(v.LogProb[t]) - float64(v.Row.Seq.Channel(engine.ChanRef)[t]))
			}
		}
		reward[i] *= d.Beta
	}
	margin, scale := reward[0]-reward[1], want[0].Row.Scale
	slope := -scale * d.Beta * sigmoid(-margin)
	for i, v := range want {
		for t := range v.DLogProb {
			v.DLogProb[t] += slope * v.Row.WeightAt(t)
		}
		slope = -slope
		for at := range v.DLogProb {
			if got[i].DLogProb[at] != v.DLogProb[at] {
				t.Fatalf("row %d token %d: %v, want %v", i, at, got[i].DLogProb[at], v.DLogProb[at])
			}
		}
	}
	if loss != scale*softplus(-margin) {
		t.Errorf("loss %v, want %v", loss, scale*softplus(-margin))
	}
}

// pairViews has one unit: answers of so many tokens with this log-prob each, behind one prompt token.
func pairViews(tokens [2]int, logp, ref [2]float32) []engine.View {
	var out []engine.View
	for i, n := range tokens {
		s := &engine.Sequence{Tokens: make([]int32, n+1), Unit: 1}
		v := engine.View{Row: &engine.Row{Seq: s, Mask: make([]bool, n+1), Scale: 1}, To: n + 1, LogProb: make([]float32, n+1), DLogProb: make([]float64, n+1)}
		base := s.SetChannel(engine.ChanRef, nil)
		for t := 1; t <= n; t++ {
			v.Row.Mask[t], v.LogProb[t], base[t] = true, logp[i], ref[i]
		}
		out = append(out, v)
	}
	return out
}

// Known answers, worked out from the papers' formulas in another language: chosen 4 tokens of -0.75 nats, rejected 5 of -1.
func TestReferenceFree(t *testing.T) {
	for _, c := range []struct {
		f    ReferenceFree
		want float64
	}{
		{ReferenceFree{Loss: CPO, Beta: 0.1}, 0.5981388693815918},
		{ReferenceFree{Loss: CPO, Beta: 0.1, LabelSmoothing: 0.2}, 0.6381388693815918},
		{ReferenceFree{Loss: SimPO, Beta: 2, Gamma: 0.5}, math.Ln2}, // the average margin is exactly the target
		{ReferenceFree{Loss: SimPO, Beta: 2.5, Gamma: 1, LabelSmoothing: 0.1}, 0.86062326413984},
		{ReferenceFree{Loss: ORPO, Beta: 0.1}, 0.0500816493876377},
	} {
		var tally engine.Tally
		got := c.f.Eval(pairViews([2]int{4, 5}, [2]float32{-0.75, -1}, [2]float32{}), &tally)
		if math.Abs(got-c.want) > 1e-14 {
			t.Errorf("%+v: %.16g, want %.16g", c.f, got, c.want)
		}
		if a, _ := tally.Mean("accuracy"); a != 1 {
			t.Errorf("%+v: accuracy %g", c.f, a)
		}
	}
}

// An answer of LD-DPO counts in full as far as the shorter one goes: 2 of 6 tokens, the other 4 by half.
func TestLDAlpha(t *testing.T) {
	v := pairViews([2]int{2, 6}, [2]float32{-1, -2}, [2]float32{-1.5, -1})
	margin := 0.2 * (2*0.5 - (2+4*0.5)*-1)
	if got, want := (DPO{Beta: 0.2, LDAlpha: &half}).Eval(v, nil), softplus(-margin); math.Abs(got-want) > 1e-15 {
		t.Errorf("%g, want %g", got, want)
	}
	if d := v[1].DLogProb; d[1] != d[2] || d[3] != d[2]/2 || d[6] != d[3] || d[0] != 0 {
		t.Errorf("derivatives %v", d)
	}
}

// Sorted losses compare ranks, not pairs: swapping two rejected rows changes nothing for aot_unpaired and much for sigmoid.
func TestSorted(t *testing.T) {
	b := logitBatch(3, 0.5)
	swapped := logitBatch(3, 0.5)
	swapped.Tokens[3], swapped.Tokens[4] = swapped.Tokens[4], swapped.Tokens[3]
	swapped.Mask[3], swapped.Mask[4] = swapped.Mask[4], swapped.Mask[3]
	swapped.Logits[3], swapped.Logits[4] = swapped.Logits[4], swapped.Logits[3]
	swapped.Ref[3], swapped.Ref[4] = swapped.Ref[4], swapped.Ref[3]
	for loss, same := range map[PairLoss]bool{PairAOTUnpaired: true, PairAOT: false, PairSigmoid: false} {
		d := DPO{Beta: 0.5, Losses: []PairTerm{{loss, 1}}}
		x, _, err := d.EvalLogits(b)
		y, _, err2 := d.EvalLogits(swapped)
		if err != nil || err2 != nil || (math.Abs(x-y) < 1e-12) != same {
			t.Errorf("%s: %g, with two rejected rows swapped %g (%v, %v)", loss, x, y, err, err2)
		}
	}
}

func TestSetAligned(t *testing.T) {
	s := &engine.Sequence{Tokens: []int32{1, 2}}
	if err := SetAligned(s, &engine.Scores{LogProb: []float32{0, -2}, Term: []float32{0, -1.5}}); err != nil || s.Channel(ChanAligned)[1] != -0.5 {
		t.Errorf("aligned %v, %v", s.Channel(ChanAligned), err)
	}
	if err := SetAligned(s, &engine.Scores{LogProb: []float32{0, -2}}); err == nil {
		t.Error("scores without the row term passed")
	}
}

func TestKLBaseline(t *testing.T) {
	for _, c := range []struct {
		logp, ref []float64
		want      float64
	}{{[]float64{-1, -2}, []float64{-2, -1.5}, 0.25}, {[]float64{-3}, []float64{-1}, 0}} {
		if got, err := KLBaseline(c.logp, c.ref); err != nil || got != c.want {
			t.Errorf("%v, %v: %g, want %g (%v)", c.logp, c.ref, got, c.want, err)
		}
	}
	for _, bad := range [][2][]float64{{nil, nil}, {{1}, nil}, {{1, 2}, {1}}} {
		if _, err := KLBaseline(bad[0], bad[1]); err == nil {
			t.Errorf("%v: no error", bad)
		}
	}
}

func TestPairChecks(t *testing.T) {
	two := 2.0
	for want, o := range map[string]engine.Objective{
		"beta":            DPO{},
		"unknown loss":    DPO{Beta: 1, Losses: []PairTerm{{"sigmoids", 1}}},
		"weight of loss":  DPO{Beta: 1, Losses: []PairTerm{{PairIPO, math.NaN()}}},
		"label_smoothing": DPO{Beta: 1, LabelSmoothing: 1.5},
		"exo_pair":        DPO{Beta: 1, Losses: []PairTerm{{PairEXO, 1}}},
		"robust":          DPO{Beta: 1, Losses: []PairTerm{{PairRobust, 1}}, LabelSmoothing: 0.5},
		"f_divergence":    DPO{Beta: 1, Divergence: "kl"},
		"ld_alpha":        DPO{Beta: 1, LDAlpha: &two},
		"discopop_tau":    DPO{Beta: 1, Tau: -1},
		"f_alpha":         DPO{Beta: 1, Alpha: math.Inf(1)},
		"use cpo":         ReferenceFree{Loss: "sipo", Beta: 1},
		"cpo: beta":       ReferenceFree{Loss: CPO},
		"gamma":           ReferenceFree{Loss: ORPO, Beta: 1, Gamma: 1},
		"simpo: label":    ReferenceFree{Loss: SimPO, Beta: 1, LabelSmoothing: -1},
		"use kto":         KTO{Loss: "KTO", Beta: 1},
		"kto: beta":       KTO{Loss: UnpairedKTO, Beta: math.NaN()},
		"finite":          KTO{Loss: UnpairedKTO, Beta: 1, KL: math.Inf(1)},
	} {
		if err := o.(engine.RowChecker).CheckRows(nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: error %v, want one about %q", o, err, want)
		}
	}
	row := func(unit int64, label ...float32) engine.Row {
		s := &engine.Sequence{Tokens: make([]int32, 3), Unit: unit}
		s.SetChannel(ChanLabel, append([]float32{9}, label...))
		return engine.Row{Seq: s, Mask: []bool{false, true, true}}
	}
	negative := row(1)
	negative.Weight = []float32{0, 1, -1}
	dpo, kto := DPO{Beta: 1, Losses: []PairTerm{{PairAOT, 1}}}, KTO{Loss: UnpairedKTO, Beta: 1}
	for _, c := range []struct {
		o    engine.RowChecker
		rows []engine.Row
		ok   bool
	}{
		{dpo, []engine.Row{row(1, 0, 0), row(2, 0, 0), row(1, 0, 0), row(2, 0, 0)}, true},
		{dpo, []engine.Row{row(1, 0, 0), row(1, 0, 0), row(1, 0, 0), row(2, 0, 0)}, false},
		{dpo, []engine.Row{row(0, 0, 0), row(0, 0, 0)}, false},
		{ReferenceFree{Loss: ORPO, Beta: 1}, []engine.Row{row(1), negative}, false},
		{ReferenceFree{Loss: CPO, Beta: 1}, []engine.Row{row(1), negative}, true},
		{kto, []engine.Row{row(0, 1, 1), row(0, 0, 0)}, true},
		{kto, []engine.Row{row(0, 1, 0)}, false},
		{kto, []engine.Row{row(0, -1, -1)}, false},
	} {
		if err := c.o.CheckRows(c.rows); (err == nil) != c.ok {
			t.Errorf("%T: rows pass %t, want %t (%v)", c.o, err == nil, c.ok, err)
		}
	}
}

func TestLogitBatchChecks(t *testing.T) {
	for name, spoil := range map[string]func(b *LogitBatch){
		"no rows":       func(b *LogitBatch) { *b = LogitBatch{} },
		"short mask":    func(b *LogitBatch) { b.Mask[1] = b.Mask[1][1:] },
		"no logits":     func(b *LogitBatch) { b.Ref = b.Ref[1:] },
		"ragged":        func(b *LogitBatch) { b.Logits[2][1] = b.Logits[2][1][1:] },
		"unknown id":    func(b *LogitBatch) { b.Tokens[0][0] = 5 },
		"negative id":   func(b *LogitBatch) { b.Tokens[3][2] = -1 },
		"unpredicted":   func(b *LogitBatch) { b.Mask[0][0] = true },
		"empty row":     func(b *LogitBatch) { b.Tokens[0], b.Mask[0], b.Logits[0], b.Ref[0] = nil, nil, nil, nil },
		"no vocabulary": func(b *LogitBatch) { b.Logits[0][0] = nil },
		"odd": func(b *LogitBatch) {
			b.Tokens, b.Mask, b.Logits, b.Ref = b.Tokens[1:], b.Mask[1:], b.Logits[1:], b.Ref[1:]
		},
	} {
		b := logitBatch(2, 1)
		if _, _, err := (DPO{Beta: 1}).EvalLogits(b); err != nil {
			t.Fatal(err)
		}
		if spoil(b); true {
			if _, _, err := (DPO{Beta: 1}).EvalLogits(b); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	}
}
