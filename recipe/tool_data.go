package recipe

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/task/toolcall"
)

// toolExample is a request for tool calls with its demonstration.
type toolExample struct {
	problem    *task.Problem
	row        *engine.Sequence
	difficulty toolcall.Difficulty
	calls      bool // the answer has calls
}

// toolExamples makes examples of tasks' training splits: Path may name several, separated by commas, and Rows counts those of each (0 = all of
// a file). Examples that repeat evaluation text are treated as eval.contamination says.
func (b *Build) toolExamples(d DataConfig) ([]toolExample, error) {
	if err := oneOf("too_long", d.TooLong, []string{"error", "drop"}); err != nil {
		return nil, err
	}
	var out []toolExample
	for _, ref := range strings.Split(d.Path, ",") {
		some, err := b.toolExamplesOf(strings.TrimSpace(ref), d)
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: no row fits the context of %d tokens: raise context", d.Path, b.Context)
	}
	return unrepeated(b, d.Path, out, func(e toolExample) []*engine.Sequence { return []*engine.Sequence{e.row} })
}

func (b *Build) toolExamplesOf(ref string, d DataConfig) ([]toolExample, error) {
	_, source, err := b.Problems(ref, task.Train)
	if err != nil {
		return nil, err
	}
	demo, err := b.Expert(ref, task.Form(d.Form))
	if err != nil {
		return nil, err
	}
	n := d.Rows
	if file, ok := source.(*shuffled); ok && (n == 0 || n > len(file.list)) {
		n = len(file.list)
	}
	if n < 1 {
		return nil, fmt.Errorf("data=%s: rows=0 means all rows of a file; say how many problems of a task", ref)
	}
	var out []toolExample
	for i := range n {
		p, err := source.At(i)
		if err != nil {
			return nil, err
		}
		e, err := newToolExample(p, demo)
		if err != nil {
			return nil, err
		}
		ok, err := b.fits(e.row, d.TooLong)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, e)
		}
	}
	return out, nil
}

func newToolExample(p *task.Problem, demo func(*task.Problem) (*engine.Sequence, error)) (e toolExample, err error) {
	functions, err := task.Functions(p)
	if err != nil {
		return e, err
	}
	e.problem = p
	if e.row, err = demo(p); err != nil {
		return e, err
	}
	gold := reward.ReferenceCalls(p)
	e.calls = len(gold) > 0
	e.difficulty, err = toolcall.DifficultyOf(functions, gold)
	return e, err
}

// easyFirst sorts examples by difficulty; equals keep their order.
func easyFirst(examples []toolExample) []toolExample {
	out := slices.Clone(examples)
	slices.SortStableFunc(out, func(a, b toolExample) int {
		switch {
		case a.difficulty.Less(b.difficulty):
			return -1
		case b.difficulty.Less(a.difficulty):
			return 1
		}
		return 0
	})
	return out
}
