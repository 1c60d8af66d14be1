package objective

import (
	"math"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/rng"
)

// logitRow is a row of logits with a teacher's.
func logitRow(logits, teacher []float32) engine.LogitRow {
	lse := func(x []float32) float32 {
		sum := 0.0
		for _, z := range x {
			sum += math.Exp(float64(z))
		}
		return float32(math.Log(sum))
	}
	return engine.LogitRow{Logits: logits, LSE: lse(logits), Teacher: teacher, TeacherLSE: lse(teacher)}
}

// Values that one can compute by hand: p = (1/2, 1/4, 1/4) against q = (1/4, 1/4, 1/2).
func TestRowTermValues(t *testing.T) {
	ln := func(x float64) float32 { return float32(math.Log(x)) }
	row := logitRow([]float32{ln(2), 0, 0}, []float32{0, 0, ln(2)})
	wide := logitRow([]float32{ln(2), 0, 0}, []float32{0, 0, ln(4)}) // at temperature 2 the same teacher
	cold := logitRow([]float32{0, float32(math.Inf(-1)), 0}, []float32{1, 2, 1})
	for _, c := range []struct {
		term engine.RowTerm
		row  engine.LogitRow
		want float64
	}{
		{EntropyTerm{}, row, 1.5 * math.Ln2},
		{EntropyTerm{}, cold, math.Ln2},
		{CollisionTerm{}, row, math.Log(3. / 8)},
		{CollisionTerm{}, cold, -math.Ln2},
		{KLTerm{}, row, 0.25 * math.Ln2},
		{KLTerm{Forward: true}, row, 0.25 * math.Ln2},
		{KLTerm{}, logitRow(row.Logits, row.Logits), 0},
		{KLTerm{Temp: 2}, wide, 0.25 * math.Ln2},
		{KLTerm{Forward: true, Temp: 2}, wide, 0.25 * math.Ln2},
		{KLTerm{}, cold, -math.Ln2 + math.Log(2+math.E)},
		{KLTerm{Temp: 9, Heat: FixedTemperature(2)}, wide, 0.25 * math.Ln2},
	} {
		if got := c.term.Value(c.row); math.Abs(float64(got)-c.want) > 1e-6 {
			t.Errorf("%s %+v: %g, want %g", c.term.Name(), c.term, got, c.want)
		}
	}
	d := make([]float32, 3)
	KLTerm{}.Grad(cold, 1, d)
	EntropyTerm{}.Grad(cold, 1, d)
	if d[1] != 0 || d[0] != d[0] {
		t.Errorf("a token of probability 0 has the derivative %g, others %g", d[1], d[0])
	}
}

// Gradients are those of central differences, added to what is there; the same comparison sees one that is 1 % off.
func TestRowTermGradients(t *testing.T) {
	const n, h = 9, 1.0 / 64
	logits, teacher := make([]float32, n), make([]float32, n)
	for i := range logits {
		logits[i], teacher[i] = float32(rng.New(1, "logits").Normal(uint64(i))), float32(rng.New(2, "logits").Normal(uint64(i)))
	}
	for _, term := range []engine.RowTerm{EntropyTerm{}, CollisionTerm{}, KLTerm{}, KLTerm{Forward: true}, KLTerm{Temp: 1.4}, KLTerm{Forward: true, Temp: 0.6}, KLTerm{Forward: true, Heat: AroundPivot(1.2)}} {
		d := make([]float32, n)
		for i := range d {
			d[i] = 3
		}
		term.Grad(logitRow(logits, teacher), -1.5, d)
		worst, fault := 0.0, 0.0
		for i, z := range logits {
			at := func(x float32) float64 {
				logits[i] = x
				defer func() { logits[i] = z }()
				return float64(term.Value(logitRow(logits, teacher)))
			}
			want := -1.5 * (at(z+h) - at(z-h)) / float64(z+h-(z-h))
			got := float64(d[i]) - 3
			worst, fault = max(worst, math.Abs(got-want)), max(fault, math.Abs(1.01*got-want))
		}
		if worst > 1e-4 || fault < 5e-4 {
			t.Errorf("%s: the worst derivative is %g off; one that is 1 %% off looks %g off", term.Name(), worst, fault)
		}
	}
}
