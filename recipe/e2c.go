package recipe

import (
	"context"
	"fmt"
	"strings"

	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/train"
)

// E2C: Explore-Execute Chain (2025, arXiv 2509.23946): a short plan p, then an execution e that follows it, P(p, e | c) = P(p | c) P(e | p, c).
//
// SFT on <plan>p</plan><execute>e teaches the two phases. GRPO then takes two stages. An answer's reward is 0 when it is wrong; a right one
// has 1, or with match (titles of the plan that the execution takes up) / max(1, titles of the plan). The advantage of token t of answer i is
//
//	A_i = (r_i - mean) / (sample std + 1e-6) in the group,   A_{i,t} = lambda A_i before the split, A_i from it on
//	loss = - sum_t min(rho A_{i,t}, clip(rho, 1-0.2, 1+0.2) A_{i,t}) / tokens of the step
//
// with lambda 1 and no match in the first stage, lambda 2 and match in the second. The split is the first </plan>,
// else the first <execute>; an answer without either has lambda everywhere.
// sft.learn=plan is EF-SFT, which learns a new domain from plans alone. At test time eval.searches
// samples many plans and executes few (rollout.PlanSearch: vote, clusters, the model as judge, any one). Left out: the terms for entropy and KL,
// which the code multiplies by 0, and the loop of the paper's third version.
type E2C struct {
	train.Common `yaml:",inline"`
	SFT          E2CSFT   `yaml:"sft"`
	RL1          E2CStage `yaml:"rl1"`
	RL2          E2CStage `yaml:"rl2"`
}

// E2CStage is GRPO with a weight on the plan.
type E2CStage struct {
	GRPOStage `yaml:",inline"`
	Lambda    float64 `yaml:"lambda" help:"factor of the plan's advantages"`
	Match     string  `yaml:"match" help:"share of the plan that a right answer must follow: none, operators (of a compact plan, in their order) or titles (of numbered lines)"`
	Forced    bool    `yaml:"forced" help:"answers begin with a plan tag that is given, not sampled"`
}

// planned grades by a task's check, and a right answer by how far it follows its plan.
type planned struct {
	reward.Grader
	match string
}

// Grade implements reward.Grader.
func (g planned) Grade(ctx context.Context, groups []*rollout.Group) error {
	if err := g.Grader.Grade(ctx, groups); err != nil {
		return err
	}
	for _, e := range rollout.Episodes(groups) {
		if !e.Grade.Valid() {
			continue
		}
		plan, execution, _ := splitPlan(e.Text)
		var matched, titles int
		if g.match == "titles" {
			matched, titles = reward.PlanMatch(plan, execution)
		} else {
			steps, _, _ := strings.Cut(execution, "|")
			matched, titles = task.OperatorMatch(plan, steps)
		}
		follows := float64(matched) / float64(max(1, titles))
		e.Grade.Terms = append(e.Grade.Terms, reward.Term{Name: "follows_plan", Value: follows, Turn: -1})
		e.Grade.Score = e.Grade.Correct() * follows
	}
	return nil
}

// splitPlan parts an answer at its first </plan>, or, where it has none, at its first <execute>.
func splitPlan(text string) (plan, execution string, ok bool) {
	if plan, execution, ok = strings.Cut(text, rollout.PlanClose); ok {
		execution = strings.TrimPrefix(execution, rollout.ExecuteOpen)
	} else {
		plan, execution, ok = strings.Cut(text, rollout.ExecuteOpen)
	}
	return strings.TrimPrefix(plan, rollout.PlanOpen), execution, ok
}

// Prepare puts the plan's share over the task's grader.
func (m *E2CStage) Prepare(ctx context.Context, s *train.Step) error {
	if m.Match != "none" {
		s.Grader = planned{s.Grader, m.Match}
	}
	return nil
}

// Collect is GRPO's, after a plan tag that is given; then the plan's advantages are weighed.
func (m *E2CStage) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	if m.Forced {
		plain := s.Format
		opened := *plain
		opened.Opening = rollout.PlanOpen
		s.Format = &opened
		defer func() { s.Format = plain }()
	}
	groups, err := m.GRPO.Collect(ctx, s)
	unplanned := 0
	for _, e := range rollout.Episodes(groups) {
		if _, _, ok := splitPlan(e.Text); !ok {
			unplanned++
		}
		rollout.WeighAdvantage(s.Format.Tok, e, m.Lambda, rollout.PlanClose, rollout.ExecuteOpen)
	}
	s.Note("no_plan", float64(unplanned)) // once: a step's value is the mean of what is noted
	return groups, err
}

// Shared implements Config.
func (c *E2C) Shared() *train.Common { return &c.Common }

// EvalTask implements Config.
func (c *E2C) EvalTask() string { return c.RL2.Task }

// Validate implements config's range check.
func (m *E2CStage) Validate() error {
	if !(m.Lambda >= 0) {
		return &config.FieldError{Field: "lambda", Msg: fmt.Sprintf("%g: want a number of at least 0", m.Lambda)}
	}
	if err := oneOf("match", m.Match, []string{"none", "operators", "titles"}); err != nil {
		return err
	}
	return m.GRPO.Validate()
}

// Plan implements Config. A stage of 0 steps is left out.
func (c *E2C) Plan(b *Build) (train.Plan, error) {
	plan := train.Plan{Nodes: []train.Node{{Name: "base", Kind: train.Eval}}}
	if c.SFT.Steps > 0 {
		rows, err := c.SFT.demonstrations(b)
		if err == nil {
			err = c.SFT.hold(rows, b.Common.Seed)
		}
		if err != nil {
			return plan, fmt.Errorf("%s: %w", c.SFT.Data.Path, err)
		}
		plan.Nodes = append(plan.Nodes, train.Node{Name: "sft", Kind: train.Train, Method: &c.SFT, Steps: c.SFT.Steps, Optim: c.SFT.Optim})
	}
	for i, m := range []*E2CStage{&c.RL1, &c.RL2} {
		if m.Steps == 0 {
			continue
		}
		name := fmt.Sprintf("rl%d", i+1)
		if m.Match == "operators" && wordingOf(m.Task) == task.Natural {
			return plan, fmt.Errorf("%s.match=operators reads compact plans, and %s.task=%s words them in English: set %s.match to titles (of numbered lines) or none", name, name, m.Task, name)
		}
		n, err := m.GRPO.node(b, name, m.Steps, m.Passes, m.Minibatches, m.Optim)
		if err != nil {
			return plan, err
		}
		n.Method = m
		plan.Nodes = append(plan.Nodes, n)
	}
	return plan, nil
}

func defaultE2CStage(steps int, lambda float64, match string) E2CStage {
	m := E2CStage{GRPOStage: GRPOStage{Steps: steps, Passes: 1, Minibatches: 1, Optim: train.DefaultOptim(1e-4), GRPO: defaultGRPO()}, Lambda: lambda, Match: match, Forced: true}
	m.Problems, m.MaxTokens = 16, 48
	return m
}

func init() {
	quick := []string{"sft.steps=3", "sft.rows=40", "sft.batch=4"}
	for _, rl := range []string{"rl1.", "rl2."} {
		quick = append(quick, rl+"steps=3", rl+"problems=3", rl+"group_size=4", rl+"max_tokens=8", rl+"overlong=7", rl+"temperature=1.5")
	}
	Register(Paper{Name: "e2c", Title: "Explore-Execute Chain: Towards an Efficient Structured Reasoning Paradigm", ArXiv: "2509.23946", Org: "Tsinghua University", Date: "2025-09-28",
		About: "a short sampled plan, then an execution that follows it; RL weighs the plan", OnPolicy: true, Quick: quick, Claim: &e2cClaim,
		Reduces: []Reduction{{With: []string{"sft.steps=0", "rl1.steps=6", "rl1.forced=false", "rl2.steps=0"}, To: "grpo"}},
		Config: func() Config {
			c := &E2C{Common: train.DefaultCommon(),
				SFT: E2CSFT{SFTStage: SFTStage{Steps: 200, Optim: train.DefaultOptim(1e-3), SFT: defaultSFT()}, Pairs: "causal", Learn: "both"},
				RL1: defaultE2CStage(40, 1, "none"), RL2: defaultE2CStage(60, 2, "operators")}
			c.SFT.Data.Rows, c.SFT.Data.Form, c.RL1.Temperature = 2000, "planned", 1.2
			return c
		}})
}
