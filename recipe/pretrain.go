package recipe

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/nano"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/train"
)

// Pretrain teaches a model of random weights (model: new?layers=3) to write a generated corpus: next-token cross-entropy on every token.
//
//	loss = - sum_t log p(token t) / tokens of the step
//
// A row of the corpus is a function of the seed and its number: packed lines of the nano model's text, or worked examples of tasks, question
// and answer. No held-out problem is among them. Left out: text from files (use sft with train_on=all).
type Pretrain struct {
	Corpus    string `yaml:"corpus" help:"nano (arithmetic and templated English) and tasks such as countdown?level=3, separated by commas"`
	Form      string `yaml:"form" help:"of the tasks' answers: short, verbose, padded or planned"`
	Batch     int    `yaml:"batch" help:"rows a step"`
	RowTokens int    `yaml:"row_tokens" help:"tokens of a row; nano's are 256 at most"`

	train.Defaults `yaml:"-"`
	sources        []func(row int) (*engine.Sequence, error)
}

// Collect takes the next rows; each is drawn from one of the sources.
func (m *Pretrain) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	pick := engine.NewKey(s.Seed, "corpus source")
	var groups []*rollout.Group
	for i := s.Index * m.Batch; i < (s.Index+1)*m.Batch; i++ {
		row, err := m.sources[pick.Intn(uint64(i), len(m.sources))](i)
		if err != nil {
			return nil, err
		}
		groups = append(groups, &rollout.Group{Key: row.ID.Problem, Episodes: []*reward.Episode{{Segs: []*engine.Sequence{row}}}})
	}
	return groups, nil
}

// Streams counts every token.
func (m *Pretrain) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	return []engine.Stream{{Name: "corpus", Obj: objective.CrossEntropy{}, Coef: 1, Norm: engine.TokenMean, Rows: rollout.DemoRows(groups)}}, nil
}

// open makes the corpus.
func (m *Pretrain) open(b *Build) error {
	m.sources = nil
	for _, name := range strings.Split(m.Corpus, ",") {
		if name = strings.TrimSpace(name); name == "nano" {
			m.sources = append(m.sources, func(i int) (*engine.Sequence, error) { return m.cut(nano.Row(b.Common.Seed, i)), nil })
			continue
		}
		example, err := b.examples(name, task.Form(m.Form))
		if err != nil {
			return fmt.Errorf("corpus %s: %w", name, err)
		}
		m.sources = append(m.sources, func(i int) (*engine.Sequence, error) { return m.pack(name, example, i) })
	}
	return nil
}

// pack fills row i with examples of its own: none stands in two rows before the task's problems repeat.
func (m *Pretrain) pack(name string, example func(i int) (*engine.Sequence, error), i int) (*engine.Sequence, error) {
	row := &engine.Sequence{ID: engine.ItemID{Problem: fmt.Sprintf("%s %d", name, i)}}
	for k := 0; len(row.Tokens) < m.RowTokens; k++ {
		e, err := example(i*m.RowTokens + k)
		if err != nil {
			return nil, err
		}
		row.Tokens = append(row.Tokens, e.Tokens...)
	}
	row.Kind = slices.Repeat([]engine.Kind{engine.KindDemo}, len(row.Tokens))
	return m.cut(row), nil
}

func (m *Pretrain) cut(row *engine.Sequence) *engine.Sequence {
	n := min(m.RowTokens, len(row.Tokens))
	row.Tokens, row.Kind = row.Tokens[:n], row.Kind[:n]
	return row
}

// Validate implements config's range check.
func (m *Pretrain) Validate() error {
	if m.Batch < 1 {
		return &config.FieldError{Field: "batch", Msg: "want at least one row"}
	}
	if m.RowTokens < 2 {
		return &config.FieldError{Field: "row_tokens", Msg: "want at least two tokens"}
	}
	return nil
}

// node makes the stage.
func (m *Pretrain) node(b *Build, name string, steps int, o train.Optim) (train.Node, error) {
	err := m.open(b)
	if err == nil && m.RowTokens > b.Context {
		err = fmt.Errorf("row_tokens is %d, and the model's context %d: shorten the rows", m.RowTokens, b.Context)
	}
	return train.Node{Name: name, Kind: train.Pretrain, Method: m, Steps: steps, Optim: o}, err
}

// PretrainConfig are the settings of `hone run pretrain`.
type PretrainConfig struct {
	train.Common `yaml:",inline"`
	Steps        int         `yaml:"steps" help:"optimiser updates"`
	Optim        train.Optim `yaml:",inline"`
	Pretrain     `yaml:",inline"`
}

// pretrainOptim is AdamW as small language models are pretrained with.
func pretrainOptim(lr float64) train.Optim {
	o := train.DefaultOptim(lr)
	o.Schedule, o.MinLR, o.Warmup, o.Beta2, o.WeightDecay = "cosine", lr/20, 50, 0.95, 0.1
	return o
}

func defaultPretrain() Pretrain {
	return Pretrain{Corpus: "nano", Form: "short", Batch: 16, RowTokens: 256}
}

// Shared implements Config.
func (c *PretrainConfig) Shared() *train.Common { return &c.Common }

// EvalTask implements Config.
func (c *PretrainConfig) EvalTask() string { return "" }

// Plan implements Config.
func (c *PretrainConfig) Plan(b *Build) (train.Plan, error) {
	n, err := c.Pretrain.node(b, "pretrain", c.Steps, c.Optim)
	return train.Plan{Nodes: []train.Node{n}}, err
}

func init() {
	Register(Paper{Name: "pretrain", Title: "Pretraining on a generated corpus", About: "a small model of one's own from random weights", Quick: []string{"model=new?hidden=64&layers=2&heads=2&inner=96&context=128", "steps=6", "warmup=2", "batch=3", "row_tokens=64", "corpus=nano,countdown"}, Irreducible: "it has no reduced form", Config: func() Config {
		c := &PretrainConfig{Common: train.DefaultCommon(), Steps: 2500, Optim: pretrainOptim(2e-3), Pretrain: defaultPretrain()}
		c.Model = "new"
		return c
	}})
}
