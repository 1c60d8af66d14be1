package recipe

import (
	"context"
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// SimPO: Simple Preference Optimization with a Reference-Free Reward (Meng et al. 2024, arXiv 2405.14734, equation 6).
//
// Learns from pairs of a chosen (c) and a rejected (r) answer without a reference model; the reward is the answer's mean log-prob:
//
//	loss = mean over pairs of -log S(Beta mean_t logp_c - Beta mean_t logp_r - Gamma)
//
// with S the logistic function. loss=cpo gives CPO (Xu et al. 2024, arXiv 2401.08417, equation 3) with sums in place of means, no Gamma and,
// with nll=1, the chosen answers' likelihood beside it; simpo with nll > 0 is CPO-SimPO. Nothing of SimPO is left out.
type SimPO struct {
	Data           PairData           `yaml:",inline"`
	Batch          int                `yaml:"batch" help:"pairs a step"`
	Loss           objective.FreeLoss `yaml:"loss" help:"simpo, or cpo (with gamma=0, beta=0.1 and nll=1)"`
	Beta           float64            `yaml:"beta" help:"scale of the rewards"`
	Gamma          float64            `yaml:"gamma" help:"target margin between the rewards"`
	LabelSmoothing float64            `yaml:"label_smoothing" help:"share of labels taken to be swapped; 0 in the papers"`
	NLL            float64            `yaml:"nll" help:"weight of the chosen answers' likelihood (token mean); 0 = none"`

	train.Defaults `yaml:"-"`
	pairs          []answerPair
}

// Collect takes the next pairs of the epoch's order.
func (m *SimPO) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	return pairGroups(m.pairs, s.Seed, s.Index, m.Batch), nil
}

// Streams is the loss of the pairs, with the chosen answers' likelihood beside it.
func (m *SimPO) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	rows := rollout.DemoRows(groups)
	pairs := engine.Stream{Name: "pairs", Obj: m.objective(), Coef: 1, Norm: engine.UnitMean, Rows: rows}
	nll := engine.Stream{Name: "nll", Obj: objective.CrossEntropy{}, Coef: m.NLL, Norm: engine.TokenMean, Rows: chosenRows(rows)}
	return []engine.Stream{pairs, nll}, nil // a stream with coefficient 0 is dropped
}

func (m *SimPO) objective() objective.ReferenceFree {
	return objective.ReferenceFree{Loss: m.Loss, Beta: m.Beta, Gamma: m.Gamma, LabelSmoothing: m.LabelSmoothing}
}

// Validate implements config's range check.
func (m *SimPO) Validate() error {
	switch {
	case m.Batch < 1:
		return &config.FieldError{Field: "batch", Msg: "want at least one pair"}
	case !(m.NLL >= 0):
		return &config.FieldError{Field: "nll", Msg: fmt.Sprintf("%g: want 0 (none) or a positive weight", m.NLL)}
	case m.Loss == objective.ORPO:
		return &config.FieldError{Field: "loss", Msg: "orpo is a recipe of its own: hone run orpo"}
	}
	if err := m.objective().Check(); err != nil {
		return &config.FieldError{Field: "loss", Msg: err.Error()}
	}
	return nil
}

// node makes the stage.
func (m *SimPO) node(b *Build, name string, steps int, o train.Optim) (n train.Node, err error) {
	m.pairs, err = b.Pairs(m.Data)
	return train.Node{Name: name, Kind: train.Train, Method: m, Steps: steps, Optim: o}, err
}

func (m *SimPO) path() string { return m.Data.Path }

func init() {
	Register(Paper{Name: "simpo", Title: "SimPO: Simple Preference Optimization with a Reference-Free Reward", ArXiv: "2405.14734", Org: "University of Virginia and Princeton University", Date: "2024-05-23",
		About: "learn from pairs by mean log-prob and a margin, without a reference model; CPO by a setting", Quick: []string{"steps=6", "rows=40", "batch=4"}, Irreducible: "its loss is a function of two answers at once, which no plain recipe has",
		Config: single("simpo", 200, 1e-5, SimPO{Data: defaultPairData(), Batch: 32, Loss: objective.SimPO, Beta: 2, Gamma: 1})})
}
