package enginetest

import (
	"context"
	"fmt"

	"github.com/hone-lm/hone/engine"
)

// Score implements engine.Engine.
func (t *Table) Score(ctx context.Context, seqs []*engine.Sequence, want engine.Want) ([]*engine.Scores, error) {
	return t.score(seqs, want, t)
}

// score reads sequences; of is the engine that the table belongs to.
func (m *table) score(seqs []*engine.Sequence, want engine.Want, of *Table) ([]*engine.Scores, error) {
	info := engine.Info{Engine: "tabular", Caps: caps}
	if err := info.Check("Score", want.Capabilities()); err != nil {
		return nil, err
	}
	for _, temp := range []float32{want.Temp, want.EntropyTemp} {
		if !(temp >= 0) {
			return nil, fmt.Errorf("score: temperature %g: give a positive one, or 0 for the sequence's own", temp)
		}
	}
	if _, err := of.teacher(want.Term); err != nil {
		return nil, err
	}
	out := make([]*engine.Scores, len(seqs))
	for i, s := range seqs {
		if err := m.check(s, of.context); err != nil {
			return nil, err
		}
		out[i] = m.scoreOne(s, want, of)
	}
	return out, nil
}

func (m *table) scoreOne(s *engine.Sequence, want engine.Want, of *Table) *engine.Scores {
	n := len(s.Tokens)
	sc := &engine.Scores{LogProb: make([]float32, n)}
	if want.Entropy {
		sc.Entropy = make([]float32, n)
	}
	if want.Value {
		sc.Value, sc.LastValue = make([]float32, n), float32(m.W[m.value(s.Tokens, n)])
	}
	if want.Term != nil {
		sc.Term = make([]float32, n)
	}
	temp := s.Temperature()
	if want.Temp != 0 {
		temp = want.Temp
	}
	p := make([]float64, m.Vocab)
	for t := 1; t < n; t++ {
		h := m.logProbs(s.Tokens, t, temp, p)
		sc.LogProb[t] = float32(p[s.Tokens[t]])
		if want.Entropy && want.EntropyTemp != 0 {
			h = m.logProbs(s.Tokens, t, want.EntropyTemp, p)
		}
		if want.Entropy {
			sc.Entropy[t] = float32(h)
		}
		if want.Value {
			sc.Value[t] = float32(m.W[m.value(s.Tokens, t)])
		}
		if want.Term != nil {
			sc.Term[t] = want.Term.Value(m.logitRow(want.Term, s, t, temp, of))
		}
	}
	return sc
}

// teacher returns the frozen copy of a term, nil for terms without one.
func (t *Table) teacher(term engine.RowTerm) (*Frozen, error) {
	taught, ok := term.(engine.Taught)
	if !ok {
		return nil, nil
	}
	f, ok := taught.Teacher().(*Frozen)
	if !ok || f == nil || f.of != t {
		return nil, fmt.Errorf("row term %s: its teacher is no frozen model of this engine: give it one that this engine's Freeze returned", term.Name())
	}
	return f, nil
}

// logitRow is the row that predicts token t, rounded to float32, with that of the term's teacher, which teacher has found before.
func (m *table) logitRow(term engine.RowTerm, s *engine.Sequence, t int, temp float32, of *Table) engine.LogitRow {
	row := engine.LogitRow{Seq: s, T: t}
	row.Logits, row.LSE = m.tempered(s.Tokens, t, temp)
	if f, _ := of.teacher(term); f != nil {
		row.Teacher, row.TeacherLSE = f.tempered(s.Tokens, t, temp)
	}
	return row
}

// tempered returns logits / temp and their log-sum-exp.
func (m *table) tempered(tokens []int32, t int, temp float32) ([]float32, float32) {
	z := m.W[m.row(tokens, t):][:m.Vocab]
	p := make([]float64, m.Vocab)
	m.logProbs(tokens, t, temp, p)
	out := make([]float32, m.Vocab)
	for i, x := range z {
		out[i] = float32(x / float64(temp))
	}
	return out, float32(z[0]/float64(temp) - p[0])
}
