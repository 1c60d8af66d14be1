package engine

import (
	"fmt"
	"math"
)

// Row is one sequence in one stream. Mask says which tokens the normaliser counts; Weight multiplies a token's loss and may be 0 or
// negative where Mask is true (an entropy-ranked prefix keeps its place in the denominator). Both have len(Seq.Tokens).
type Row struct {
	Seq    *Sequence
	Mask   []bool
	Weight []float32 // nil = 1 wherever Mask is true
	Scale  float64   // Coef/Denom (and 1/length for SeqMean): written by Normalise, read by objectives
}

// WeightAt returns the token's weight: 0 outside Mask.
func (r *Row) WeightAt(t int) float64 {
	switch {
	case !r.Mask[t]:
		return 0
	case r.Weight == nil:
		return 1
	}
	return float64(r.Weight[t])
}

// Norm says what a stream's loss is divided by. Counts run over the whole optimiser step.
type Norm string

const (
	TokenMean  Norm = "token_mean"  // number of tokens in Mask
	WeightMean Norm = "weight_mean" // sum of Weight over Mask
	SeqMean    Norm = "seq_mean"    // mean over sequences of each sequence's token mean
	UnitMean   Norm = "unit_mean"   // number of units (preference pairs)
	Constant   Norm = "constant"    // the stream's own Denom (Dr. GRPO)
	SumNorm    Norm = "sum"         // 1
)

// Norms lists every Norm, for help and validation.
var Norms = []Norm{TokenMean, WeightMean, SeqMean, UnitMean, Constant, SumNorm}

// Stream is one term of a step's loss: rows, an objective over them, a coefficient and a normaliser.
type Stream struct {
	Name  string
	Obj   Objective
	Coef  float64
	Norm  Norm
	Denom float64 // Constant: given by the method; otherwise written by Normalise
	Rows  []Row
	Into  string // name of the gradient buffer; "" = the one that Step uses
}

// Batch is everything that one optimiser step (or one micro-batch of it) looks at.
type Batch struct{ Streams []Stream }

// Normalise counts each stream's denominator over the whole step and writes Coef/Denom into its rows, so that the gradient does not
// depend on how the batch is split afterwards. Streams with Coef 0 and rows with nothing in Mask are dropped before any arithmetic;
// a stream whose denominator is not positive and finite is an error naming the stream. The caller's rows stay as they are.
func Normalise(streams []Stream) (*Batch, error) {
	b := &Batch{}
	for _, s := range streams {
		if s.Coef == 0 {
			continue
		}
		if math.IsNaN(s.Coef) || math.IsInf(s.Coef, 0) {
			return nil, fmt.Errorf("stream %q: the coefficient is %g, which must be finite", s.Name, s.Coef)
		}
		for i, r := range s.Rows {
			if r.Seq == nil || len(r.Mask) != len(r.Seq.Tokens) || r.Weight != nil && len(r.Weight) != len(r.Mask) {
				return nil, fmt.Errorf("stream %q: row %d must have a sequence, and a mask and weights as long as it", s.Name, i)
			}
		}
		s.Rows = countedRows(s.Rows)
		if len(s.Rows) == 0 {
			continue
		}
		denom, err := s.denominator()
		if err != nil {
			return nil, err
		}
		s.Denom = denom
		for i := range s.Rows {
			r := &s.Rows[i]
			r.Scale = s.Coef / denom
			if s.Norm == SeqMean {
				r.Scale /= float64(count(r.Mask))
			}
		}
		b.Streams = append(b.Streams, s)
	}
	return b, nil
}

// Empty reports whether no stream has a row: the optimiser step is then skipped and counted.
func (b *Batch) Empty() bool { return len(b.Streams) == 0 }

// Sequences returns the distinct sequences of the batch in order of first appearance.
func (b *Batch) Sequences() []*Sequence {
	var out []*Sequence
	seen := map[*Sequence]bool{}
	for _, s := range b.Streams {
		for _, r := range s.Rows {
			if !seen[r.Seq] {
				seen[r.Seq] = true
				out = append(out, r.Seq)
			}
		}
	}
	return out
}

func (s *Stream) denominator() (float64, error) {
	d := 0.0
	switch s.Norm {
	case TokenMean:
		for _, r := range s.Rows {
			d += float64(count(r.Mask))
		}
	case WeightMean:
		for _, r := range s.Rows {
			for t := range r.Mask {
				d += r.WeightAt(t)
			}
		}
	case SeqMean:
		d = float64(len(s.Rows))
	case UnitMean:
		units := map[int64]bool{}
		for _, r := range s.Rows {
			if r.Seq.Unit == 0 {
				d++
			} else if !units[r.Seq.Unit] {
				units[r.Seq.Unit] = true
				d++
			}
		}
	case Constant:
		d = s.Denom
	case SumNorm:
		d = 1
	default:
		return 0, fmt.Errorf("stream %q: unknown norm %q: use one of %v", s.Name, s.Norm, Norms)
	}
	if !(d > 0) || math.IsInf(d, 1) {
		return 0, fmt.Errorf("stream %q: norm %s gives the denominator %g, which must be positive and finite: check the rows' masks and weights", s.Name, s.Norm, d)
	}
	return d, nil
}

func countedRows(rows []Row) []Row {
	out := make([]Row, 0, len(rows))
	for _, r := range rows {
		if count(r.Mask) > 0 {
			out = append(out, r)
		}
	}
	return out
}

func count(mask []bool) int {
	n := 0
	for _, m := range mask {
		if m {
			n++
		}
	}
	return n
}
