package stats

import (
	"math"
	"testing"
)

func TestCurve(t *testing.T) {
	c := NewCurve([]Point{{30, 0.5}, {10, 0.1}, {20, 0.9}, {20, 0.3}, {40, math.NaN()}, {35, 0.5}})
	if len(c) != 4 || c[1] != (Point{20, 0.3}) {
		t.Fatalf("points %v", c)
	}
	nan := math.NaN()
	for _, v := range []struct {
		what      string
		got, want float64
	}{
		{"at a point", c.At(20), 0.3},
		{"between", c.At(12.5), 0.15},
		{"before", c.At(9), nan},
		{"behind", c.At(36), nan},
		{"reached from the start", c.Reaches(0.05), 10},
		{"reached between", c.Reaches(0.4), 25},
		{"reached at a point", c.Reaches(0.5), 30},
		{"never reached", c.Reaches(0.51), nan},
		{"mean of all", c.Mean(10, 30), (2 + 4) / 20.},
		{"mean of a part", c.Mean(15, 25), (0.25*5 + 0.35*5) / 10},
		{"mean of a point", c.Mean(20, 20), 0.3},
		{"mean beyond", c.Mean(30, 36), nan},
		{"above another", c.AboveBy(NewCurve([]Point{{0, 0}, {20, 0.1}, {60, 0.1}})), (0.2*10+0.4*10+0.5*5)/25 - (0.075*10+0.1*15)/25},
		{"above one far away", c.AboveBy(NewCurve([]Point{{50, 0}, {60, 0.1}})), nan},
		{"above nothing", c.AboveBy(nil), nan},
	} {
		if math.IsNaN(v.want) != math.IsNaN(v.got) || math.Abs(v.got-v.want) > 1e-12 {
			t.Errorf("%s: %g, want %g", v.what, v.got, v.want)
		}
	}
}
