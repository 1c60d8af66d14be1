package recipe

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// checkClaim parses every arm of a recipe's claim, with each value of each grid that it has a key for.
func checkClaim(t *testing.T, name string) {
	t.Helper()
	p, err := Get(name)
	if err != nil {
		t.Fatal(err)
	}
	if p.Claim == nil {
		t.Fatalf("%s states no claim", name)
	}
	if err := p.Claim.Check(); err != nil {
		t.Error(err)
	}
	for _, a := range p.Claim.Arms {
		of := a.Recipe
		if of == "" {
			of = name
		}
		settings := slices.Concat(p.Claim.Common, a.Settings)
		if a.Recipe == "" {
			for _, g := range p.Claim.Grids {
				for _, k := range g.Keys {
					settings = append(settings, k+"="+g.Values[0])
				}
			}
		}
		if _, _, err := Parse(of, "", nil, settings); err != nil {
			t.Errorf("arm %s: %v", a.Name, err)
		}
	}
}

func TestAboveAll(t *testing.T) {
	claim := &Claim{Metric: "accuracy"}
	for _, c := range []struct {
		a, b, other []float64
		want        Verdict
	}{
		{[]float64{.5, .51, .52}, []float64{.4, .41, .43}, []float64{.3, .3, .3}, Reproduced},
		{[]float64{.5, .51, .52}, []float64{.4, .41, .43}, []float64{.6, .6, .6}, Contradicted},
		{[]float64{.5, .51, .52}, []float64{.4, .52, .53}, []float64{.3, .3, .3}, Undecided},
		{[]float64{.4, .41, .43}, []float64{.5, .51, .52}, []float64{.3, .3, .3}, Contradicted},
		{[]float64{.5}, []float64{.4}, []float64{.3}, Void},
	} {
		table := &Table{Claim: claim}
		for arm, values := range map[string][]float64{"a": c.a, "b": c.b, "other": c.other} {
			for i, v := range values {
				table.Outcomes = append(table.Outcomes, &Outcome{Arm: arm, Seed: uint64(i), Final: map[string]float64{"accuracy": v}})
			}
		}
		if d := aboveAll(table, "a", "b", "other"); d.Verdict != c.want {
			t.Errorf("%+v: %s (%s)", c, d.Verdict, d.Why)
		}
	}
}

// outcomes makes a table of two arms, one outcome a seed.
func outcomes[T any](a, b []T, make func(T) Outcome) *Table {
	table := &Table{Claim: &Claim{Metric: "accuracy"}}
	for arm, list := range map[string][]T{"a": a, "b": b} {
		for i, v := range list {
			o := make(v)
			o.Arm, o.Seed = arm, uint64(i+1)
			table.Outcomes = append(table.Outcomes, &o)
		}
	}
	return table
}

func TestEqualSpend(t *testing.T) {
	type curve map[int]float64
	final := func(c curve) Outcome {
		o := Outcome{Final: map[string]float64{"accuracy": 0.9, "length": 50, "accuracy_at_16_low": 7, "accuracy_at_16_high": 7}}
		for n, v := range c {
			o.Final[fmt.Sprintf("accuracy_at_%d", n)] = v
		}
		return o
	}
	low := []curve{{16: .1, 32: .2, 48: .3}, {16: .1, 32: .2, 48: .32}, {16: .12, 32: .2, 48: .3}}
	high := []curve{{16: .3, 32: .4, 48: .5}, {16: .31, 32: .4, 48: .5}, {16: .3, 32: .4, 48: .5}}
	for name, c := range map[string]struct {
		a, b []curve
		want float64 // NaN: an error
	}{
		"above":              {high, low, 0.2},
		"below":              {low, high, -0.2},
		"crossing":           {[]curve{{16: .4, 48: .1}, {16: .1, 48: .41}}, []curve{{16: .25, 48: .25}, {16: .25, 48: .25}}, 0.0025},
		"other budgets":      {[]curve{{8: 0, 24: .4}, {8: 0, 24: .4}}, []curve{{16: .1, 48: .1}, {16: .1, 48: .1}}, 0.2}, // 16 to 24 tokens: .3 against .1
		"nothing in common":  {[]curve{{8: .5}, {8: .5}}, []curve{{16: .1}, {16: .1}}, math.NaN()},
		"one seed":           {high[:1], low, math.NaN()},
		"one without a seed": {high, []curve{{}, low[0], low[1]}, math.NaN()},
	} {
		d, err := outcomes(c.a, c.b, final).atEqualSpend("a", "b", againstBudget("accuracy"), againstBudget("accuracy"))
		if (err != nil) != math.IsNaN(c.want) || err == nil && !(math.Abs(d.Mean-c.want) < 0.01) {
			t.Errorf("%s: %+v, %v, want %g", name, d, err, c.want)
		}
	}
}

func TestToMatch(t *testing.T) {
	final := func(c [4]float64) Outcome { // tokens and accuracy of one and of four samples
		return Outcome{Final: map[string]float64{"length_vote_1": c[0], "accuracy_vote_1": c[1], "length_vote_4": c[2], "accuracy_vote_4": c[3]}}
	}
	of := againstTokens("vote")
	for _, c := range []struct {
		a, b [4]float64
		want float64
	}{
		{[4]float64{10, .1, 50, .5}, [4]float64{20, .2, 80, .3}, 30. / 80}, // a has .3 half-way, b at its end
		{[4]float64{10, .1, 50, .5}, [4]float64{20, .3, 80, .2}, 30. / 20}, // b's best is its first
		{[4]float64{10, .1, 50, .5}, [4]float64{20, .3, 80, .6}, math.NaN()},
	} {
		d, err := outcomes([][4]float64{c.a, c.a}, [][4]float64{c.b, c.b}, final).toMatch("a", "b", of, of)
		if err != nil || math.IsNaN(d.Mean) != math.IsNaN(c.want) || math.Abs(d.Mean-c.want) > 1e-12 {
			t.Errorf("%v against %v: %+v, %v, want %g", c.a, c.b, d, err, c.want)
		}
	}
}
