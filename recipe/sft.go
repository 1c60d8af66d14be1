package recipe

import (
	"context"

	"github.com/hone-lm/hone/data"
	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// SFT is supervised fine-tuning: the model learns to write the demonstrated tokens.
//
//	loss = - sum_t log p(token t) / demonstrated tokens of the step
//
// It is the training loop without sampling. Rows are packed without padding and do not see each other. Left out: sample weights from files.
type SFT struct {
	Data  DataConfig `yaml:",inline"`
	Batch int        `yaml:"batch" help:"rows a step"`
	Norm  string     `yaml:"norm" help:"token_mean or seq_mean"`

	train.Defaults `yaml:"-"`
	rows           []*engine.Sequence
	seed           uint64
}

// Collect takes the next rows of the epoch's order.
func (m *SFT) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	order := data.Shuffle{Key: engine.NewKey(s.Seed, "rows"), N: len(m.rows)}
	var groups []*rollout.Group
	for _, i := range order.Rows(s.Index*m.Batch, m.Batch) {
		row := m.rows[i]
		groups = append(groups, &rollout.Group{Key: row.ID.Problem, Episodes: []*reward.Episode{{Segs: []*engine.Sequence{row}}}})
	}
	return groups, nil
}

// Streams trains on every demonstrated token.
func (m *SFT) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	return []engine.Stream{{Name: "sft", Obj: objective.CrossEntropy{}, Coef: 1, Norm: engine.Norm(m.Norm), Rows: rollout.DemoRows(groups)}}, nil
}

// node makes the stage.
func (m *SFT) node(b *Build, name string, steps int, o train.Optim) (train.Node, error) {
	rows, err := b.Rows(m.Data)
	if err != nil {
		return train.Node{}, err
	}
	m.rows, m.seed = rows, b.Common.Seed
	return train.Node{Name: name, Kind: train.Train, Method: m, Steps: steps, Optim: o}, nil
}

// SFTConfig are the settings of `hone run sft`.
type SFTConfig struct {
	train.Common `yaml:",inline"`
	Steps        int         `yaml:"steps" help:"optimiser updates"`
	Optim        train.Optim `yaml:",inline"`
	SFT          `yaml:",inline"`
}

func defaultSFT() SFT {
	return SFT{Data: DataConfig{Path: "countdown", Rows: 5000, Form: "short", TrainOn: "answers", TooLong: "error"}, Batch: 64, Norm: string(engine.TokenMean)}
}

// Shared implements Config.
func (c *SFTConfig) Shared() *train.Common { return &c.Common }

// EvalTask implements Config.
func (c *SFTConfig) EvalTask() string { return taskOf(c.SFT.Data.Path) }

// Plan implements Config.
func (c *SFTConfig) Plan(b *Build) (train.Plan, error) {
	n, err := c.SFT.node(b, "sft", c.Steps, c.Optim)
	return train.Plan{Nodes: []train.Node{{Name: "base", Kind: train.Eval}, n}}, err
}

func init() {
	Register(Paper{Name: "sft", Title: "Supervised fine-tuning", About: "learn to write demonstrated answers", Config: func() Config {
		c := &SFTConfig{Common: train.DefaultCommon(), Steps: 600, Optim: train.DefaultOptim(1e-3), SFT: defaultSFT()}
		return c
	}})
}
