package recipe

import (
	"context"
	"fmt"

	"github.com/hone-lm/hone/data"
	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/config"
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

	Valid      float64 `yaml:"valid" help:"share of the rows kept out for a validation loss; 0 = none"`
	ValidEvery int     `yaml:"valid_every" help:"updates between validation losses"`
	Patience   int     `yaml:"patience" help:"validation losses without a new best before the stage stops; 0 = never"`

	train.Defaults `yaml:"-"`
	built          string // build node of the same plan whose rows are learned; "" = Data
	rows, held     []*engine.Sequence
	state          sftState
}

type sftState struct {
	Best  float64 // validation loss
	Since int     // validation losses since the best
	Seen  bool
}

// State is what early stopping remembers.
func (m *SFT) State() any { return &m.state }

// Prepare reads what a build node kept.
func (m *SFT) Prepare(ctx context.Context, s *train.Step) error {
	if m.built == "" {
		return nil
	}
	rows, err := s.Rows(m.built)
	if err != nil {
		return err
	}
	return m.hold(rows, s.Seed)
}

// Extent implements train.Sized.
func (m *SFT) Extent() train.Extent {
	e := train.Extent{Rows: m.Batch}
	for _, r := range m.rows {
		e.Longest = max(e.Longest, len(r.Tokens))
	}
	return e
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

// Observe measures the validation loss now and then, and stops when it has not fallen for long enough.
func (m *SFT) Observe(ctx context.Context, s *train.Step, u engine.Update) (train.Signal, error) {
	if len(m.held) == 0 || (s.Index+1)%m.ValidEvery != 0 {
		return train.Continue, nil
	}
	scores, err := s.Engine.Score(ctx, m.held, engine.Want{})
	if err != nil {
		return train.Continue, err
	}
	sum, n := 0.0, 0
	for i, row := range m.held {
		for t := range row.Tokens {
			if row.KindAt(t) == engine.KindDemo {
				sum -= float64(scores[i].LogProb[t])
				n++
			}
		}
	}
	loss := sum / float64(n)
	s.Note("valid_loss", loss)
	m.state.Since++
	if !m.state.Seen || loss < m.state.Best {
		m.state = sftState{Best: loss, Seen: true}
	}
	if m.Patience > 0 && m.state.Since >= m.Patience {
		return train.Stop, nil
	}
	return train.Continue, nil
}

// hold keeps a share of the rows out, by the hash of what they ask.
func (m *SFT) hold(rows []*engine.Sequence, seed uint64) error {
	m.rows, m.held = nil, nil
	for _, r := range rows {
		key := engine.NewKey(seed, "valid")
		for t, id := range r.Tokens {
			if r.KindAt(t) == engine.KindPrompt {
				key = key.With(uint64(id))
			}
		}
		if key.Float64(0) < m.Valid {
			m.held = append(m.held, r)
		} else {
			m.rows = append(m.rows, r)
		}
	}
	if len(m.rows) == 0 || m.Valid > 0 && len(m.held) == 0 {
		return fmt.Errorf("of %d rows %d are left to train on and %d to validate: change valid or use more rows", len(rows), len(m.rows), len(m.held))
	}
	return nil
}

// node makes the stage.
func (m *SFT) node(b *Build, name string, steps int, o train.Optim) (train.Node, error) {
	if m.built == "" {
		rows, err := b.Rows(m.Data)
		if err != nil {
			return train.Node{}, err
		}
		if err := m.hold(rows, b.Common.Seed); err != nil {
			return train.Node{}, fmt.Errorf("%s: %w", m.Data.Path, err)
		}
	}
	return train.Node{Name: name, Kind: train.Train, Method: m, Steps: steps, Optim: o}, nil
}

// Validate implements config's range check.
func (m *SFT) Validate() error {
	switch {
	case m.Batch < 1:
		return &config.FieldError{Field: "batch", Msg: "want at least one row"}
	case !(m.Valid >= 0 && m.Valid < 1):
		return &config.FieldError{Field: "valid", Msg: fmt.Sprintf("%g: want a share in [0, 1)", m.Valid)}
	case m.ValidEvery < 1:
		return &config.FieldError{Field: "valid_every", Msg: "want at least one update"}
	}
	return oneOf("norm", m.Norm, []string{"token_mean", "seq_mean"})
}

// SFTConfig are the settings of `hone run sft`.
type SFTConfig struct {
	train.Common `yaml:",inline"`
	Steps        int         `yaml:"steps" help:"optimiser updates"`
	Optim        train.Optim `yaml:",inline"`
	SFT          `yaml:",inline"`
}

func defaultSFT() SFT {
	return SFT{Data: DataConfig{Path: "countdown", Rows: 5000, Form: "short", TrainOn: "answers", TooLong: "error"}, Batch: 64, Norm: string(engine.TokenMean), ValidEvery: 50}
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
	Register(Paper{Name: "sft", Title: "Supervised fine-tuning", About: "learn to write demonstrated answers", Quick: []string{"steps=6", "rows=40", "batch=4"}, Irreducible: "it is the plain recipe", Config: func() Config {
		c := &SFTConfig{Common: train.DefaultCommon(), Steps: 600, Optim: train.DefaultOptim(1e-3), SFT: defaultSFT()}
		return c
	}})
}
