package recipe

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
)

// scored makes the views of rows with the columns that the engine gives; every call makes new ones.
func scored(t *testing.T, e engine.Engine, s *engine.Stream, rows []engine.Row) []engine.View {
	t.Helper()
	seqs := make([]*engine.Sequence, len(rows))
	for i := range rows {
		seqs[i] = rows[i].Seq
	}
	scores, err := e.Score(context.Background(), seqs, s.Obj.Needs())
	if err != nil {
		t.Fatal(err)
	}
	out := make([]engine.View, len(rows))
	for i := range rows {
		n := len(seqs[i].Tokens)
		column := func(x []float32) []float32 { return append(make([]float32, 0, n), x...) }
		c := scores[i]
		out[i] = engine.View{Row: &rows[i], To: n, LogProb: column(c.LogProb), Entropy: column(c.Entropy), Value: column(c.Value), LastValue: c.LastValue, Term: column(c.Term),
			DLogProb: make([]float64, n), DEntropy: make([]float64, n), DValue: make([]float64, n), DTerm: make([]float64, n)}
	}
	return out
}

// together deals a stream's rows as its objective's scope wants them.
func together(s *engine.Stream) [][]engine.Row {
	switch s.Obj.Scope() {
	case engine.ScopeBatch:
		return [][]engine.Row{s.Rows}
	case engine.ScopeUnit:
		units := map[int64][]engine.Row{}
		for _, r := range s.Rows {
			units[r.Seq.Unit] = append(units[r.Seq.Unit], r)
		}
		for _, r := range s.Rows {
			return [][]engine.Row{units[r.Seq.Unit]} // the first pair
		}
	}
	return [][]engine.Row{s.Rows[:1], s.Rows[len(s.Rows)-1:]}
}

// off returns the largest deviation of an objective's derivatives from central differences, relative to the largest of them. What the objective
// holds constant stays as it is. fault multiplies the derivatives.
func off(t *testing.T, e engine.Engine, s *engine.Stream, fault float64) (worst, largest float64) {
	t.Helper()
	for _, rows := range together(s) {
		v := scored(t, e, s, rows)
		s.Obj.Eval(v, nil)
		loss := func(row int, move func(*engine.View)) float64 {
			w := scored(t, e, s, rows)
			move(&w[row])
			if h, ok := s.Obj.(objective.Held); ok && h.Holds() {
				return h.EvalHeld(w, v, nil)
			}
			return s.Obj.Eval(w, nil)
		}
		for row := range v {
			tokens := []int{}
			for k := range v[row].LogProb {
				if v[row].Row.Mask[k] {
					tokens = append(tokens, k)
				}
			}
			for _, k := range tokens[:min(3, len(tokens))] {
				for _, c := range []struct {
					of func(*engine.View) []float32
					d  []float64
				}{{func(w *engine.View) []float32 { return w.LogProb }, v[row].DLogProb}, {func(w *engine.View) []float32 { return w.Entropy }, v[row].DEntropy},
					{func(w *engine.View) []float32 { return w.Value }, v[row].DValue}, {func(w *engine.View) []float32 { return w.Term }, v[row].DTerm}} {
					if len(c.of(&v[row])) == 0 {
						continue
					}
					x := c.of(&v[row])[k]
					up, down := x+1.0/512, x-1.0/512
					d := (loss(row, func(w *engine.View) { c.of(w)[k] = up }) - loss(row, func(w *engine.View) { c.of(w)[k] = down })) / float64(up-down)
					worst, largest = math.Max(worst, math.Abs(d-fault*c.d[k])), math.Max(largest, math.Abs(d))
				}
			}
		}
	}
	return worst, largest
}

// TestRecipeObjectives holds the objective of every stream of every registered recipe, at the engine's own columns, against central differences;
// the same comparison sees a derivative that is 5 % off.
func TestRecipeObjectives(t *testing.T) {
	if testing.Short() {
		t.Skip("runs every recipe")
	}
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			s, streams := lastBatch(t, name)
			batch, err := engine.Normalise(streams)
			if err != nil {
				t.Fatal(err)
			}
			seen, checked := []string{}, 0
			for i := range batch.Streams {
				stream := &batch.Streams[i]
				if slices.Contains(seen, stream.Obj.Name()) {
					continue
				}
				seen = append(seen, stream.Obj.Name())
				worst, largest := off(t, s.Engine, stream, 1)
				if largest < 1e-7 {
					continue // a penalty at its reference is flat
				}
				checked++
				if worst > 5e-3*largest {
					t.Errorf("stream %s (%s): derivatives are %g off, the largest is %g", stream.Name, stream.Obj.Name(), worst, largest)
				}
				if fault, _ := off(t, s.Engine, stream, 1.05); fault <= 5e-3*largest {
					t.Errorf("stream %s (%s): a derivative that is 5 %% off passed", stream.Name, stream.Obj.Name())
				}
			}
			if checked == 0 {
				t.Error("no stream had a derivative to check")
			}
		})
	}
}
