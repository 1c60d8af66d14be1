package recipe

import (
	"fmt"

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
	var out []*engine.Sequence
	for i := range m.Data.Rows {
		p, err := source.At(i)
		if err != nil {
			return nil, err
		}
		trace, err := t.Expert(p)
		if err != nil {
			return nil, err
		}
		row, err := m.row(b, p, trace)
		if err != nil {
			return nil, err
		}
		ok, err := b.fits(row, m.Data.TooLong)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, row)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no row fits the context of %d tokens: raise context", b.Context)
	}
	return unrepeated(b, m.Data.Path, out, func(s *engine.Sequence) []*engine.Sequence { return []*engine.Sequence{s} })
}

// row writes one demonstration. A problem without a wrong turn to take has the same pair in both ways of pairing.
func (m *E2CSFT) row(b *Build, p *task.Problem, trace *task.Trace) (*engine.Sequence, error) {
	wording := wordingOf(m.Data.Path)
	parts, err := trace.Render(task.Planned, wording)
	if err != nil {
		return nil, err
	}
	plan, execution := parts[0].Text, parts[1:]
	if m.Pairs == "naive" {
		if other, err := trace.Detours(1, engine.NewKey(b.Common.Seed, "wrong turn", p.Key)); err == nil {
			if execution, err = other.Render(task.Verbose, wording); err != nil {
				return nil, err
			}
		}
	}
	return b.Format.DemoParts(p, []rollout.DemoPart{
		{Span: task.SpanPlan, Text: rollout.PlanOpen + plan + rollout.PlanClose, Skip: m.Learn == "execution"},
		{Span: task.SpanExecute, Text: rollout.ExecuteOpen + task.Join(execution, wording), Skip: m.Learn == "plan"}})
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
	const instead = "the task's expert writes a plan and its execution"
	if err := refuse(unread{"form", m.Data.Form, "planned", instead + ", so leave form=planned"}, unread{"prompt", m.Data.Prompt, "", instead + ", so there are no columns"},
		unread{"completion", m.Data.Completion, "", instead + ", so there are no columns"}, unread{"train_on", m.Data.TrainOn, "answers", "learn says which part is learned: both, plan or execution"}); err != nil {
		return err
	}
	if err := oneOf("too_long", m.Data.TooLong, []string{"error", "drop"}); err != nil {
		return err
	}
	return m.SFT.Validate()
}
