package recipe

import (
	"context"
	"errors"
	"fmt"

	"github.com/hone-lm/hone/data"
	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// BuiltPairs learns from pairs that a build node of the same plan kept, the chosen sequence before the rejected one, by the loss of simpo, dpo,
// ipo or orpo. A build that kept none leaves the model as it is: no step is taken.
type BuiltPairs struct {
	Batch      int     `yaml:"batch" help:"pairs a step"`
	Loss       string  `yaml:"loss" help:"simpo, dpo, ipo or orpo"`
	Beta       float64 `yaml:"beta" help:"scale of the loss; 0 = 2.5 for simpo, 0.1 for the others"`
	Gamma      float64 `yaml:"gamma" help:"simpo's target margin"`
	SuffixOnly bool    `yaml:"suffix_only" help:"leave the tokens that both begin with out of the loss; they do not cancel where log-probs are averaged"`
	Epochs     int     `yaml:"epochs" help:"times that a stage goes over its pairs at most; steps after that do nothing; 0 = as often as it has steps for"`
	Most       int     `yaml:"max_pairs" help:"pairs used of a build, drawn at random; 0 = all"`

	train.Defaults `yaml:"-"`
	built          string
	pairs          []answerPair
}

// BuiltPairsStage are BuiltPairs as a stage.
type BuiltPairsStage struct {
	Steps      int         `yaml:"steps"`
	Optim      train.Optim `yaml:",inline"`
	BuiltPairs `yaml:",inline"`
}

// Need asks for a reference model where the loss has one.
func (m *BuiltPairs) Need() train.Need {
	if m.Loss == "dpo" || m.Loss == "ipo" {
		return (*DPO)(nil).Need()
	}
	return train.Need{}
}

// Prepare reads the pairs.
func (m *BuiltPairs) Prepare(ctx context.Context, s *train.Step) error {
	rows, err := s.Rows(m.built)
	if errors.Is(err, train.ErrNoRows) {
		err = nil
	}
	if err != nil {
		return err
	}
	if len(rows)%2 != 0 {
		return fmt.Errorf("node %s kept %d rows: pairs want an even number", m.built, len(rows))
	}
	m.pairs = make([]answerPair, len(rows)/2)
	for i := range m.pairs {
		m.pairs[i] = answerPair{rows[2*i], rows[2*i+1]}
		for _, r := range m.pairs[i] {
			if r.Chan == nil {
				r.Chan = engine.Channels{} // the copies of every epoch share what is scored once
			}
		}
		if m.SuffixOnly {
			hideShared(m.pairs[i])
		}
	}
	if m.Most > 0 && len(m.pairs) > m.Most {
		some := make([]answerPair, m.Most)
		for i, k := range data.Order(engine.NewKey(s.Seed, "some pairs"), 0, len(m.pairs))[:m.Most] {
			some[i] = m.pairs[k]
		}
		m.pairs = some
	}
	return nil
}

// hideShared takes the tokens that both sequences begin with out of what is trained; each keeps one.
func hideShared(p answerPair) {
	for t := 0; t < min(len(p[0].Tokens), len(p[1].Tokens))-1 && p[0].Tokens[t] == p[1].Tokens[t]; t++ {
		for _, s := range p {
			if s.KindAt(t) == engine.KindDemo {
				s.Kind[t] = engine.KindForced
			}
		}
	}
}

// Collect takes the next pairs of the epoch's order, none when all epochs are over.
func (m *BuiltPairs) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	s.Note("pairs", float64(len(m.pairs)))
	if at := s.Index * m.Batch; m.Epochs > 0 && at >= m.Epochs*len(m.pairs) {
		return nil, nil
	}
	return pairGroups(m.pairs, s.Seed, s.Index, m.Batch), nil
}

// Streams are those of the recipe that has the loss.
func (m *BuiltPairs) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	switch m.Loss {
	case "simpo":
		return (&SimPO{Loss: objective.SimPO, Beta: m.beta(), Gamma: m.Gamma}).Streams(ctx, s, groups)
	case "orpo":
		return (&ORPO{Beta: m.beta(), Norm: string(engine.SeqMean)}).Streams(ctx, s, groups)
	}
	d := &DPO{Loss: objective.PairSigmoid, Beta: m.beta(), Divergence: objective.ReverseKL, LDAlpha: 1}
	if m.Loss == "ipo" {
		d.Loss = objective.PairIPO
	}
	return d.Streams(ctx, s, groups)
}

func (m *BuiltPairs) beta() float64 {
	switch {
	case m.Beta > 0:
		return m.Beta
	case m.Loss == "simpo":
		return 2.5
	}
	return 0.1
}

// Validate implements config's range check.
func (m *BuiltPairs) Validate() error {
	switch {
	case m.Batch < 1:
		return &config.FieldError{Field: "batch", Msg: "want at least one pair"}
	case m.Epochs < 0 || m.Most < 0:
		return &config.FieldError{Field: "epochs", Msg: "want epochs and max_pairs of at least 0"}
	case !(m.Beta >= 0):
		return &config.FieldError{Field: "beta", Msg: fmt.Sprintf("%g: want 0 (the loss's usual one) or a positive number", m.Beta)}
	}
	if err := (objective.ReferenceFree{Loss: objective.SimPO, Beta: m.beta(), Gamma: m.Gamma}).Check(); err != nil {
		return &config.FieldError{Field: "gamma", Msg: err.Error()}
	}
	return oneOf("loss", m.Loss, []string{"simpo", "dpo", "ipo", "orpo"})
}

// nodeOf makes a stage that learns from what a build node keeps; each stage has a method of its own.
func (m *BuiltPairsStage) nodeOf(name, built string) train.Node {
	method := m.BuiltPairs
	method.built = built
	return train.Node{Name: name, Kind: train.Train, Method: &method, Steps: m.Steps, Optim: m.Optim}
}
