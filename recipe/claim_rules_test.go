package recipe

import (
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
