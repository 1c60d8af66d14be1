package recipe

import (
	"fmt"
	"slices"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/task"
)

// Expert returns a function that gives a problem's own demonstration: the expert's trace in a form, as Demos writes it.
func (b *Build) Expert(ref string, form task.Form) (func(p *task.Problem) (*engine.Sequence, error), error) {
	r, err := task.ParseRef(ref)
	if err != nil {
		return nil, err
	}
	t, err := task.Open(r)
	if err != nil {
		return nil, err
	}
	wording := wordingOf(ref)
	return func(p *task.Problem) (*engine.Sequence, error) {
		trace, err := t.Expert(p)
		if err != nil {
			return nil, fmt.Errorf("task %s: problem %s has no demonstration: %w", ref, p.ID, err)
		}
		parts, err := trace.Render(form, wording)
		if err != nil {
			return nil, err
		}
		return b.Format.Demo(p, task.Join(parts, wording))
	}, nil
}

// answerIDs returns the demonstrated tokens of a sequence without the end tokens.
func answerIDs(s *engine.Sequence, ends []int32) []int32 {
	var ids []int32
	for t, id := range s.Tokens {
		if s.KindAt(t) == engine.KindDemo {
			ids = append(ids, id)
		}
	}
	for len(ids) > 0 && slices.Contains(ends, ids[len(ids)-1]) {
		ids = ids[:len(ids)-1]
	}
	return ids
}
