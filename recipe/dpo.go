package recipe

import (
	"context"
	"fmt"
	"slices"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// DPO: Direct Preference Optimization: Your Language Model is Secretly a Reward Model (Rafailov et al. 2023, arXiv 2305.18290, equation 7).
//
// Learns from pairs of a chosen (c) and a rejected (r) answer y to one prompt, held to a frozen copy of the stage's start:
//
//	loss = mean over pairs of -log S(Beta ratio_c - Beta ratio_r),   ratio = sum over the answer's tokens of logp - logp_ref
//
// with S the logistic function. Settings give the relatives in objective.PairLosses (ipo, hinge, robust ...), f-DPO's divergences, LD-DPO's
// ld_alpha, and NLL times the token mean of the chosen answers' -logp beside it (RPO, Pang et al. 2024). Left out: bco_pair, whose shift is a
// running mean of rewards (kto has its unpaired relatives), WPO's weights, mixtures of losses.
type DPO struct {
	Data           PairData              `yaml:",inline"`
	Batch          int                   `yaml:"batch" help:"pairs a step"`
	Loss           objective.PairLoss    `yaml:"loss" help:"sigmoid (DPO), hinge, ipo, exo_pair, nca_pair, robust, sppo_hard, aot, aot_unpaired, apo_zero, apo_down, discopop, sft or sigmoid_norm"`
	Beta           float64               `yaml:"beta" help:"strength of the tie to the reference"`
	LabelSmoothing float64               `yaml:"label_smoothing" help:"share of labels taken to be swapped; robust, exo_pair, aot and aot_unpaired read it"`
	Divergence     objective.FDivergence `yaml:"f_divergence" help:"reverse_kl (DPO), forward_kl, js_divergence or alpha_divergence"`
	Alpha          float64               `yaml:"f_alpha" help:"of alpha_divergence"`
	LDAlpha        float64               `yaml:"ld_alpha" help:"weight of tokens past the length of the shorter answer (LD-DPO); 1 = DPO"`
	NLL            float64               `yaml:"nll" help:"weight of the chosen answers' likelihood; 0 = none"`

	train.Defaults `yaml:"-"`
	pairs          []answerPair
}

// Need asks for the reference model.
func (*DPO) Need() train.Need { return train.Need{Frozen: []string{"start"}} }

// Collect takes the next pairs of the epoch's order.
func (m *DPO) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	return pairGroups(m.pairs, s.Seed, s.Index, m.Batch), nil
}

// Streams is the loss of the pairs, with the chosen answers' likelihood beside it.
func (m *DPO) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	rows := rollout.DemoRows(groups)
	ref, err := s.FrozenModel("start")
	if err != nil {
		return nil, err
	}
	if err := rollout.Score(ctx, ref, rows, engine.ChanRef); err != nil {
		return nil, err
	}
	pairs := engine.Stream{Name: "pairs", Obj: m.objective(), Coef: 1, Norm: engine.UnitMean, Rows: rows}
	nll := engine.Stream{Name: "nll", Obj: objective.CrossEntropy{}, Coef: m.NLL, Norm: engine.TokenMean, Rows: chosenRows(rows)}
	return []engine.Stream{pairs, nll}, nil // a stream with coefficient 0 is dropped
}

func (m *DPO) objective() objective.DPO {
	d := objective.DPO{Beta: m.Beta, LabelSmoothing: m.LabelSmoothing, Divergence: m.Divergence, Alpha: m.Alpha}
	if m.Loss != objective.PairSigmoid {
		d.Losses = []objective.PairTerm{{Loss: m.Loss, Weight: 1}}
	}
	if m.LDAlpha != 1 {
		d.LDAlpha = &m.LDAlpha
	}
	return d
}

// Validate implements config's range check.
func (m *DPO) Validate() error {
	smoothed := []objective.PairLoss{objective.PairRobust, objective.PairEXO, objective.PairAOT, objective.PairAOTUnpaired}
	switch {
	case m.Batch < 1:
		return &config.FieldError{Field: "batch", Msg: "want at least one pair"}
	case !(m.NLL >= 0):
		return &config.FieldError{Field: "nll", Msg: fmt.Sprintf("%g: want 0 (none) or a positive weight", m.NLL)}
	case m.Loss == objective.PairBCO:
		return &config.FieldError{Field: "loss", Msg: "bco_pair wants a running mean of rewards, which this recipe does not keep: choose another loss"}
	case m.LabelSmoothing != 0 && !slices.Contains(smoothed, m.Loss):
		return &config.FieldError{Field: "label_smoothing", Msg: fmt.Sprintf("loss %s does not read it: use loss=robust, or 0", m.Loss)}
	}
	if err := m.objective().Check(); err != nil {
		return &config.FieldError{Field: "loss", Msg: err.Error()}
	}
	return nil
}

// node makes the stage.
func (m *DPO) node(b *Build, name string, steps int, o train.Optim) (n train.Node, err error) {
	m.pairs, err = b.Pairs(m.Data)
	return train.Node{Name: name, Kind: train.Train, Method: m, Steps: steps, Optim: o}, err
}

func (m *DPO) path() string { return m.Data.Path }

func init() {
	Register(Paper{Name: "dpo", Title: "Direct Preference Optimization: Your Language Model is Secretly a Reward Model", ArXiv: "2305.18290", Org: "Stanford University", Date: "2023-05-29",
		About: "learn from pairs of a better and a worse answer, held to the model's start", Quick: []string{"steps=6", "rows=40", "batch=4"}, Irreducible: "its loss is a function of two answers at once, which no plain recipe has",
		Config: single("dpo", 200, 1e-5, DPO{Data: defaultPairData(), Batch: 32, Loss: objective.PairSigmoid, Beta: 0.1, Divergence: objective.ReverseKL, Alpha: 0.5, LDAlpha: 1})})
}
