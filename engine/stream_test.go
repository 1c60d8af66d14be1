package engine

import (
	"math"
	"strings"
	"testing"
)

// rowOf has one token for each letter: "." is outside the mask, a digit in it with that weight, "m" in it with weight -1.
func rowOf(unit int64, tokens string) Row {
	r := Row{Seq: &Sequence{Unit: unit, Tokens: make([]int32, len(tokens))}, Mask: make([]bool, len(tokens)), Weight: make([]float32, len(tokens))}
	for i, c := range tokens {
		switch {
		case c == 'm':
			r.Mask[i], r.Weight[i] = true, -1
		case c != '.':
			r.Mask[i], r.Weight[i] = true, float32(c-'0')
		default:
			r.Weight[i] = 7 // outside the mask it counts for nothing
		}
	}
	return r
}

func TestNormalise(t *testing.T) {
	rows := func() []Row {
		return []Row{rowOf(1, "..12"), rowOf(1, "...."), rowOf(2, ".02m1"), rowOf(1, ".3"), rowOf(0, ".1"), rowOf(0, ".1")}
	}
	for _, c := range []struct {
		norm  Norm
		denom float64
		scale []float64 // of the rows that are left, for Coef 6
	}{
		{TokenMean, 9, []float64{6. / 9, 6. / 9, 6. / 9, 6. / 9, 6. / 9}},
		{WeightMean, 10, []float64{.6, .6, .6, .6, .6}}, // 3 + 2 + 3 + 1 + 1
		{SeqMean, 5, []float64{6. / 5 / 2, 6. / 5 / 4, 6. / 5, 6. / 5, 6. / 5}},
		{UnitMean, 4, []float64{1.5, 1.5, 1.5, 1.5, 1.5}}, // units 1 and 2, and two rows alone
		{Constant, 12, []float64{.5, .5, .5, .5, .5}},
		{SumNorm, 1, []float64{6, 6, 6, 6, 6}},
	} {
		given := rows()
		b, err := Normalise([]Stream{{Name: "off", Norm: "nonsense", Rows: rows()}, {Name: "s", Coef: 6, Norm: c.norm, Denom: 12, Rows: given}, {Name: "none", Coef: 1, Norm: c.norm, Rows: []Row{rowOf(0, "...")}}})
		if err != nil {
			t.Fatalf("%s: %v", c.norm, err)
		}
		if len(b.Streams) != 1 || b.Empty() || len(b.Streams[0].Rows) != len(c.scale) || b.Streams[0].Denom != c.denom {
			t.Fatalf("%s: %+v", c.norm, b.Streams)
		}
		for i, r := range b.Streams[0].Rows {
			if math.Abs(r.Scale-c.scale[i]) > 1e-15 {
				t.Errorf("%s: row %d has the scale %g, want %g", c.norm, i, r.Scale, c.scale[i])
			}
		}
		if len(b.Sequences()) != 5 || b.Sequences()[1] != given[2].Seq || given[0].Scale != 0 {
			t.Errorf("%s: other sequences, or the caller's rows changed", c.norm)
		}
	}
	if len(Norms) != 6 {
		t.Errorf("%d norms: the table above has six", len(Norms))
	}
	b, err := Normalise([]Stream{{Name: "off", Norm: TokenMean, Rows: rows()}})
	if err != nil || !b.Empty() || len(b.Sequences()) != 0 {
		t.Errorf("only a stream with coefficient 0: %+v, %v", b, err)
	}
	plain := rowOf(0, ".11")
	plain.Weight = nil
	if b, err := Normalise([]Stream{{Name: "s", Coef: -1, Norm: WeightMean, Rows: []Row{plain}}}); err != nil || b.Streams[0].Rows[0].Scale != -0.5 {
		t.Errorf("no weights mean 1 each: %+v, %v", b, err)
	}
}

func TestNormaliseRefuses(t *testing.T) {
	short, long := rowOf(0, ".11"), rowOf(0, ".11")
	short.Mask, long.Weight = short.Mask[:2], append(long.Weight, 1)
	inf := rowOf(0, ".1")
	inf.Weight[1] = float32(math.Inf(1))
	nan := rowOf(0, ".1")
	nan.Weight[1] = float32(math.NaN())
	for name, s := range map[string]Stream{
		"negative":        {Norm: WeightMean, Rows: []Row{rowOf(0, ".m")}},
		"zero":            {Norm: WeightMean, Rows: []Row{rowOf(0, ".1m")}},
		"infinite":        {Norm: WeightMean, Rows: []Row{inf}},
		"not a number":    {Norm: WeightMean, Rows: []Row{nan}},
		"no constant":     {Norm: Constant, Rows: []Row{rowOf(0, ".1")}},
		"unknown":         {Norm: "mean", Rows: []Row{rowOf(0, ".1")}},
		"short mask":      {Norm: TokenMean, Rows: []Row{short}},
		"long weights":    {Norm: TokenMean, Rows: []Row{long}},
		"no sequence":     {Norm: TokenMean, Rows: []Row{{Mask: []bool{true}}}},
		"bad coefficient": {Norm: TokenMean, Rows: []Row{rowOf(0, ".1")}, Coef: math.NaN()},
	} {
		s.Name = "one two"
		if s.Coef == 0 {
			s.Coef = 1
		}
		if _, err := Normalise([]Stream{s}); err == nil || !strings.Contains(err.Error(), `"one two"`) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestTally(t *testing.T) {
	var none *Tally
	none.Add("x", 1, 1) // a nil tally takes everything
	if _, ok := none.Mean("x"); ok {
		t.Error("a nil tally has a mean")
	}
	var a Tally
	a.Add("x", 2, 3)
	a.Add("y", 1, 0)
	a.Add("x", 6, 1)
	if m, ok := a.Mean("x"); !ok || m != 3 {
		t.Errorf("mean %g, %t", m, ok)
	}
	if _, ok := a.Mean("y"); ok {
		t.Error("a name without weight has a mean")
	}
	if a.Reset(); len(a.Items) != 0 {
		t.Error("Reset left items")
	}
}
