package sketch

import (
	"context"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// IFT (intuitive fine-tuning): inputs are mixed with the model's own greedy guesses; each token's loss is weighed by the losses behind it.
type IFT struct {
	train.Defaults
	Demos  train.Method // collects demonstrations
	Lambda float64
	Decay  float64
}

func (m *IFT) Need() train.Need {
	return train.Need{Caps: []engine.Capability{engine.CapTopK, engine.CapMix}}
}

func (m *IFT) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	return m.Demos.Collect(ctx, s)
}

func (m *IFT) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	rows := rollout.DemoRows(groups)
	seqs := make([]*engine.Sequence, len(rows))
	for i := range rows {
		seqs[i] = rows[i].Seq
	}
	guesses, err := s.Engine.Score(ctx, seqs, engine.Want{TopK: 1})
	if err != nil {
		return nil, err
	}
	for i := range rows {
		mixed := *seqs[i] // the data row itself stays as it is
		mixed.Mix = nil
		for t, use := range rows[i].Mask {
			if use {
				mixed.Mix = append(mixed.Mix, engine.Mix{At: t, Other: guesses[i].TopID[t][0], Weight: float32(m.Lambda)})
			}
		}
		rows[i].Seq = &mixed
	}
	return []engine.Stream{{Name: "ift", Obj: suffix{m.Decay}, Coef: 1, Norm: engine.UnitMean, Rows: rows}}, nil
}

// suffix is the loss sum_i s_i l_i / sum_i s_i with s_i = sum_{j>=i} decay^(j-i) l_j, the gradient flowing through the weights.
type suffix struct{ decay float64 }

func (suffix) Name() string        { return "suffix_weighted" }
func (suffix) Scope() engine.Scope { return engine.ScopeSequence }
func (suffix) Needs() engine.Want  { return engine.Want{} }

func (f suffix) Eval(views []engine.View, tally *engine.Tally) float64 {
	v := &views[0]
	n := v.To - v.From
	l, s := make([]float64, n), make([]float64, n)
	num, den, run := 0.0, 0.0, 0.0
	for i := n - 1; i >= 0; i-- {
		if v.Row.Mask[v.From+i] {
			l[i] = -float64(v.LogProb[i])
			run = l[i] + f.decay*run
			s[i] = run
			num += s[i] * l[i]
			den += run
		}
	}
	// d num / d l_j = s_j + sum_{i<=j} decay^(j-i) l_i;  d den / d l_j = sum_{i<=j} decay^(j-i)
	prefixL, prefixOne := 0.0, 0.0
	for j := range n {
		if v.Row.Mask[v.From+j] {
			prefixL, prefixOne = l[j]+f.decay*prefixL, 1+f.decay*prefixOne
			v.DLogProb[j] -= v.Row.Scale * ((s[j]+prefixL)*den - num*prefixOne) / (den * den)
		}
	}
	return v.Row.Scale * num / den
}

// Awkward: Mix.At speaks of the input embedding of token At, every other per-token field of a target: the doc comment says so. The copied Sequence
// shares slices with the data row, which is safe only because engines never write to them.
