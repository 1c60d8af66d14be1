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

// ORPO: Monolithic Preference Optimization without Reference Model (Hong et al. 2024, arXiv 2403.07691, equations 6 and 7).
//
// Supervised fine-tuning on the chosen answers (c), with a penalty on the odds of the rejected ones (r); no reference model, no stage before:
//
//	loss = mean over pairs of -mean_t logp_c - Beta log S(log odds_c - log odds_r),   odds = P/(1-P),   log P = mean over the answer's tokens of logp
//
// with S the logistic function and Beta the paper's lambda. Nothing is left out. With beta=0 it is SFT on the chosen answers.
type ORPO struct {
	Data  PairData `yaml:",inline"`
	Batch int      `yaml:"batch" help:"pairs a step"`
	Beta  float64  `yaml:"beta" help:"weight of the odds ratio, the paper's lambda; 0 = supervised fine-tuning on the chosen answers"`
	Norm  string   `yaml:"norm" help:"of the chosen answers' likelihood: seq_mean (the paper's) or token_mean (TRL's)"`

	train.Defaults `yaml:"-"`
	pairs          []answerPair
}

// Collect takes the next pairs of the epoch's order.
func (m *ORPO) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	return pairGroups(m.pairs, s.Seed, s.Index, m.Batch), nil
}

// Streams is the likelihood of the chosen answers and the odds ratio of the pairs.
func (m *ORPO) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	rows := rollout.DemoRows(groups)
	sft := engine.Stream{Name: "sft", Obj: objective.CrossEntropy{}, Coef: 1, Norm: engine.Norm(m.Norm), Rows: chosenRows(rows)}
	if m.Beta == 0 {
		return []engine.Stream{sft}, nil
	}
	return []engine.Stream{sft, {Name: "pairs", Obj: objective.ReferenceFree{Loss: objective.ORPO, Beta: m.Beta}, Coef: 1, Norm: engine.UnitMean, Rows: rows}}, nil
}

// Validate implements config's range check.
func (m *ORPO) Validate() error {
	switch {
	case m.Batch < 1:
		return &config.FieldError{Field: "batch", Msg: "want at least one pair"}
	case !(m.Beta >= 0):
		return &config.FieldError{Field: "beta", Msg: fmt.Sprintf("%g: want 0 (supervised fine-tuning) or a positive weight", m.Beta)}
	case m.Beta > 0:
		if err := (objective.ReferenceFree{Loss: objective.ORPO, Beta: m.Beta}).Check(); err != nil {
			return &config.FieldError{Field: "beta", Msg: err.Error()}
		}
	}
	return oneOf("norm", m.Norm, []string{"seq_mean", "token_mean"})
}

// node makes the stage.
func (m *ORPO) node(b *Build, name string, steps int, o train.Optim) (n train.Node, err error) {
	m.pairs, err = b.Pairs(m.Data)
	return train.Node{Name: name, Kind: train.Train, Method: m, Steps: steps, Optim: o}, err
}

func (m *ORPO) path() string { return m.Data.Path }

func init() {
	Register(Paper{Name: "orpo", Title: "ORPO: Monolithic Preference Optimization without Reference Model", ArXiv: "2403.07691", Org: "KAIST AI", Date: "2024-03-12",
		About: "supervised fine-tuning on better answers, away from worse ones, in one stage", Quick: []string{"steps=6", "rows=40", "batch=4"},
		Reduces: []Reduction{{With: []string{"beta=0"}, To: "sft", ToWith: []string{"norm=seq_mean"}}, {With: []string{"beta=0", "norm=token_mean"}, To: "sft"}},
		Config:  single("orpo", 300, 1e-3, ORPO{Data: defaultPairData(), Batch: 32, Beta: 0.1, Norm: string(engine.SeqMean)})})
}
