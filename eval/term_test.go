package eval

import (
	"testing"

	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
)

// The mean is over problems, of their first answers; an answer that could not be read has no terms and counts as 0.
func TestTerm(t *testing.T) {
	answer := func(terms ...reward.Term) *rollout.Episode {
		return &rollout.Episode{Grade: reward.Grade{Terms: terms}}
	}
	r := &Result{Groups: []*rollout.Group{
		{Episodes: []*rollout.Episode{answer(reward.Term{Name: "parsed", Value: 1}, reward.Term{Name: "values", Value: 0.5}), answer(reward.Term{Name: "values", Value: 1})}},
		{Episodes: []*rollout.Episode{answer()}},
	}}
	if r.Term("values") != 0.25 || r.Term("parsed") != 0.5 || r.Term("none") != 0 {
		t.Errorf("values %g, parsed %g", r.Term("values"), r.Term("parsed"))
	}
}
