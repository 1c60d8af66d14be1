package recipe

import (
	"context"
	"fmt"

	"github.com/hone-lm/hone/data"
	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// CurriculumSFT is SFT on rows that come from easy to hard: Parts equal parts of the sorted rows, each for an equal share of the steps and
// shuffled within itself. With order=shuffled it is SFT.
type CurriculumSFT struct {
	SFTStage `yaml:",inline"`
	Order    string `yaml:"order" help:"easy_first (part after part), or shuffled"`
	Parts    int    `yaml:"parts" help:"equal parts of growing difficulty; easy_first reads it"`
}

// Collect takes the next rows of the part that the step is in.
func (m *CurriculumSFT) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	if m.Order != "easy_first" {
		return m.SFT.Collect(ctx, s)
	}
	part, first := partOf(s.Index, s.Node.Steps, m.Parts)
	rows := m.rows[len(m.rows)*part/m.Parts : len(m.rows)*(part+1)/m.Parts]
	order := data.Shuffle{Key: engine.NewKey(s.Seed, "rows", uint64(part)), N: len(rows)}
	var groups []*rollout.Group
	for _, i := range order.Rows((s.Index-first)*m.Batch, m.Batch) {
		groups = append(groups, &rollout.Group{Key: rows[i].ID.Problem, Episodes: []*reward.Episode{{Segs: []*engine.Sequence{rows[i]}}}})
	}
	s.Note("part", float64(part+1))
	return groups, nil
}

// partOf returns the part that a step is in, and the part's first step.
func partOf(step, steps, parts int) (part, first int) {
	part = step * parts / steps
	return part, (part*steps + parts - 1) / parts
}

// node makes the stage of rows that are sorted from easy to hard where the order says so.
func (m *CurriculumSFT) node(b *Build, name string, rows []*engine.Sequence) (train.Node, error) {
	if err := m.hold(rows, b.Common.Seed); err != nil {
		return train.Node{}, fmt.Errorf("%s: %w", m.Data.Path, err)
	}
	if m.Order == "easy_first" && len(m.rows) < m.Parts {
		return train.Node{}, fmt.Errorf("%s: %d rows cannot make %d parts: use more rows or fewer parts", m.Data.Path, len(m.rows), m.Parts)
	}
	return train.Node{Name: name, Kind: train.Train, Method: m, Steps: m.Steps, Optim: m.Optim}, nil
}

// Validate implements config's range check.
func (m *CurriculumSFT) Validate() error {
	if m.Parts < 1 {
		return &config.FieldError{Field: "parts", Msg: fmt.Sprintf("%d: want at least one part", m.Parts)}
	}
	if err := oneOf("order", m.Order, []string{"easy_first", "shuffled"}); err != nil {
		return err
	}
	return m.SFT.Validate()
}
