package recipe

import (
	"math"
	"testing"

	"github.com/hone-lm/hone/engine"
)

// One token of probability p has loss -p log p and pulls with -p: held constant, the weight adds nothing to the derivative.
func TestSelfWeighted(t *testing.T) {
	for _, c := range []struct{ power, p, loss, slope float64 }{
		{1, 0.5, 0.5 * math.Ln2, -0.5}, {1, 1, 0, -1}, {1, 1e-6, 1e-6 * 6 * math.Ln10, -1e-6}, {0, 0.25, 2 * math.Ln2, -1}, {2, 0.5, 0.25 * math.Ln2, -0.25},
	} {
		s := &engine.Sequence{Tokens: make([]int32, 2)}
		row := &engine.Row{Seq: s, Mask: []bool{false, true}, Scale: 1}
		v := engine.View{Row: row, To: 2, LogProb: []float32{0, float32(math.Log(c.p))}, DLogProb: make([]float64, 2)}
		loss := selfWeighted{c.power}.Eval([]engine.View{v}, nil)
		if math.Abs(loss-c.loss) > 1e-6*(1+c.loss) || math.Abs(v.DLogProb[1]-c.slope) > 1e-6*math.Abs(c.slope) || v.DLogProb[0] != 0 {
			t.Errorf("p %g, power %g: loss %g, derivative %g; want %g and %g", c.p, c.power, loss, v.DLogProb[1], c.loss, c.slope)
		}
		// Finite differences with the weight held: (w lp(+h) - w lp(-h)) / 2h.
		const h = 1e-4
		weight := math.Pow(c.p, c.power)
		if d := (-weight*(math.Log(c.p)+h) + weight*(math.Log(c.p)-h)) / (2 * h); math.Abs(d-v.DLogProb[1]) > 1e-6 {
			t.Errorf("p %g: differences give %g, Eval %g", c.p, d, v.DLogProb[1])
		}
	}
}
