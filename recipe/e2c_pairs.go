package recipe

import (
	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
)

// E2CSFT is SFT on plans and executions.
type E2CSFT struct {
	SFTStage `yaml:",inline"`
	Pairs    string `yaml:"pairs" help:"causal (the execution follows the plan), or naive (the execution was there first: it takes a wrong turn that the plan does not hold)"`
	Learn    string `yaml:"learn" help:"both, plan (EF-SFT) or execution"`
}

// demonstrations are a plan and an execution of each problem.
func (m *E2CSFT) demonstrations(b *Build) ([]*engine.Sequence, error) {
	t, source, err := b.Problems(m.Data.Path, task.Train)
	if err != nil {
		return nil, err
	}
	out := make([]*engine.Sequence, m.Data.Rows)
	for i := range out {
		p, err := source.At(i)
		if err != nil {
			return nil, err
		}
		trace, err := t.Expert(p)
		if err != nil {
			return nil, err
		}
		if out[i], err = m.row(b.Format, p, trace, engine.NewKey(b.Common.Seed, "wrong turn", p.Key)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// row writes one demonstration. A problem without a wrong turn to take has the same pair in both ways of pairing.
func (m *E2CSFT) row(f *rollout.Format, p *task.Problem, trace *task.Trace, key engine.Key) (*engine.Sequence, error) {
	parts, err := trace.Render(task.Planned, task.Compact)
	if err != nil {
		return nil, err
	}
	plan, execution := parts[0].Text, parts[1:]
	if m.Pairs == "naive" {
		if other, err := trace.Detours(1, key); err == nil {
			if execution, err = other.Render(task.Verbose, task.Compact); err != nil {
				return nil, err
			}
		}
	}
	return f.DemoParts(p, []rollout.DemoPart{
		{Span: task.SpanPlan, Text: rollout.PlanOpen + plan + rollout.PlanClose, Skip: m.Learn == "execution"},
		{Span: task.SpanExecute, Text: rollout.ExecuteOpen + task.Join(execution, task.Compact), Skip: m.Learn == "plan"}})
}

// Validate implements config's range check.
func (m *E2CSFT) Validate() error {
	if err := oneOf("pairs", m.Pairs, []string{"causal", "naive"}); err != nil {
		return err
	}
	if m.Data.Rows < 1 {
		return &config.FieldError{Field: "rows", Msg: "want at least one demonstration"}
	}
	if err := oneOf("learn", m.Learn, []string{"both", "plan", "execution"}); err != nil {
		return err
	}
	return m.SFT.Validate()
}
