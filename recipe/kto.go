package recipe

import (
	"context"
	"fmt"
	"slices"

	"github.com/hone-lm/hone/data"
	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// KTO: Model Alignment as Prospect Theoretic Optimization (Ethayarajh et al. 2024, arXiv 2402.01306, equations 7 and 8).
//
// Learns from single answers that are desirable or not, held to a frozen copy of the stage's start:
//
//	loss = mean over answers of   Desirable (1 - S(Beta (ratio - z)))   or   Undesirable (1 - S(Beta (z - ratio)))
//	ratio = sum over the answer's tokens of logp - logp_ref,   z = max(0, mean of the ratios of mismatched answers)
//
// with S the logistic function. The reference point z takes each prompt of the step with the answer of the next row that has another prompt
// (the paper's y'_U of the same microbatch); no gradient flows through it. apo_zero_unpaired (D'Oosterlinck et al. 2024) has no z. Left out:
// bco, whose shift is a running mean of rewards.
type KTO struct {
	Data        PairData               `yaml:",inline"`
	Batch       int                    `yaml:"batch" help:"answers a step; at least 2, because z takes the prompt of one with the answer of another"`
	Loss        objective.UnpairedLoss `yaml:"loss" help:"kto or apo_zero_unpaired"`
	Beta        float64                `yaml:"beta" help:"strength of the tie to the reference"`
	Desirable   float64                `yaml:"desirable" help:"weight of desirable answers"`
	Undesirable float64                `yaml:"undesirable" help:"weight of undesirable answers; the paper keeps desirable x their number between 1 and 4/3 of it"`

	train.Defaults `yaml:"-"`
	answers        []*engine.Sequence
	context        int // tokens
}

// Need asks for the reference model.
func (*KTO) Need() train.Need { return train.Need{Frozen: []string{"start"}} }

// Collect takes the next answers of the epoch's order. They are copies that share their channels, as in pairGroups.
func (m *KTO) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	order := data.Shuffle{Key: engine.NewKey(s.Seed, "rows"), N: len(m.answers)}
	var groups []*rollout.Group
	for _, i := range order.Rows(s.Index*m.Batch, m.Batch) {
		c := *m.answers[i]
		groups = append(groups, &rollout.Group{Key: c.ID.Problem, Episodes: []*reward.Episode{{Segs: []*engine.Sequence{&c}}}})
	}
	return groups, nil
}

// Streams measures z and states the loss.
func (m *KTO) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	rows := rollout.DemoRows(groups)
	ref, err := s.FrozenModel("start")
	if err != nil {
		return nil, err
	}
	if err := rollout.Score(ctx, ref, rows, engine.ChanRef); err != nil {
		return nil, err
	}
	obj := objective.KTO{Loss: m.Loss, Beta: m.Beta, Desirable: m.Desirable, Undesirable: m.Undesirable}
	if m.Loss == objective.UnpairedKTO {
		if obj.KL, err = m.referencePoint(ctx, s, ref, mismatched(rows, m.context)); err != nil {
			return nil, err
		}
		s.Note("reference_point", obj.KL)
	}
	return []engine.Stream{{Name: "answers", Obj: obj, Coef: 1, Norm: engine.UnitMean, Rows: rows}}, nil
}

// referencePoint is z in nats; 0 where all answers of the step have one prompt, so that none is mismatched.
func (m *KTO) referencePoint(ctx context.Context, s *train.Step, ref engine.Frozen, rows []engine.Row) (float64, error) {
	if len(rows) == 0 {
		return 0, nil
	}
	seqs := make([]*engine.Sequence, len(rows))
	for i := range rows {
		seqs[i] = rows[i].Seq
	}
	now, err := s.Engine.Score(ctx, seqs, engine.Want{})
	if err != nil {
		return 0, err
	}
	start, err := ref.Score(ctx, seqs, engine.Want{})
	if err != nil {
		return 0, err
	}
	policy, frozen := make([]float64, len(rows)), make([]float64, len(rows))
	for i := range rows {
		for t, counted := range rows[i].Mask {
			if counted {
				policy[i] += float64(now[i].LogProb[t])
				frozen[i] += float64(start[i].LogProb[t])
			}
		}
	}
	return objective.KLBaseline(policy, frozen)
}

// mismatched joins each row's prompt with the answer of the next row that has another prompt, cut at limit tokens. Rows of one prompt alone
// give none.
func mismatched(rows []engine.Row, limit int) []engine.Row {
	prompt := func(r engine.Row) []int32 { return r.Seq.Tokens[:max(0, slices.Index(r.Mask, true))] }
	var out []engine.Row
	for i, r := range rows {
		question := prompt(r)
		for j := 1; j < len(rows); j++ {
			other := rows[(i+j)%len(rows)]
			from := len(prompt(other))
			if slices.Equal(question, prompt(other)) {
				continue
			}
			tokens := slices.Concat(question, other.Seq.Tokens[from:])
			mask := slices.Concat(make([]bool, len(question)), other.Mask[from:])
			if n := len(tokens); limit > 0 && n > limit {
				tokens, mask = tokens[:limit], mask[:limit]
			}
			out = append(out, engine.Row{Seq: &engine.Sequence{ID: r.Seq.ID, Tokens: tokens}, Mask: mask})
			break
		}
	}
	return out
}

// Validate implements config's range check.
func (m *KTO) Validate() error {
	switch {
	case m.Batch < 2:
		return &config.FieldError{Field: "batch", Msg: fmt.Sprintf("%d: the reference point wants at least 2 answers a step", m.Batch)}
	case m.Loss == objective.UnpairedBCO:
		return &config.FieldError{Field: "loss", Msg: "bco wants a running mean of rewards, which this recipe does not keep: use kto or apo_zero_unpaired"}
	case !(m.Desirable >= 0 && m.Undesirable >= 0 && m.Desirable+m.Undesirable > 0):
		return &config.FieldError{Field: "desirable", Msg: fmt.Sprintf("weights %g and %g: want numbers of at least 0, one of them positive", m.Desirable, m.Undesirable)}
	}
	if err := (objective.KTO{Loss: m.Loss, Beta: m.Beta, Desirable: m.Desirable, Undesirable: m.Undesirable}).Check(); err != nil {
		return &config.FieldError{Field: "loss", Msg: err.Error()}
	}
	return nil
}

// node makes the stage.
func (m *KTO) node(b *Build, name string, steps int, o train.Optim) (n train.Node, err error) {
	m.context = b.Context
	m.answers, err = b.Labelled(m.Data)
	return train.Node{Name: name, Kind: train.Train, Method: m, Steps: steps, Optim: o}, err
}

func (m *KTO) path() string { return m.Data.Path }

func init() {
	Register(Paper{Name: "kto", Title: "KTO: Model Alignment as Prospect Theoretic Optimization", ArXiv: "2402.01306", Org: "Stanford University and Contextual AI", Date: "2024-02-02",
		About: "learn from single answers that are desirable or not, held to the model's start", Quick: []string{"steps=6", "rows=40", "batch=6"}, Irreducible: "its loss of an answer is bounded and measured from a reference point, which no plain recipe has",
		Config: single("kto", 200, 1e-5, KTO{Data: defaultPairData(), Batch: 64, Loss: objective.UnpairedKTO, Beta: 0.1, Desirable: 1, Undesirable: 1})})
}
