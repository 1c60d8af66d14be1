package recipe

import (
	"context"
	"math"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/train"
)

// unchecked is a task whose check always fails.
type unchecked struct{ task.Task }

func (unchecked) Check(*task.Problem, string) task.Result { return task.Result{Verdict: task.Error} }

// A step's value is the mean of what was noted in it: what counts is noted once, what is a mean is noted item by item.
func TestNotedCounts(t *testing.T) {
	if testing.Short() {
		t.Skip("samples for seconds")
	}
	sums := "task=chain_sum?levels=2&digits=1-2"
	for _, c := range []struct {
		name, metric string
		settings     []string
		fail         bool // the grader gives no grades
		low, high    float64
	}{
		{"e2c", "no_plan", []string{"sft.steps=0", "rl1.steps=1", "rl2.steps=0"}, false, 12, 12}, // of 3 x 4 answers of an untrained model
		{"grpo", "filtered", []string{"steps=1", "filter=all_equal", "refills=2", "overlong=0"}, false, 6, 6},
		{"grpo", "dropped_groups", []string{"steps=1"}, true, 3, 3},
		{"rloo", "dropped_groups", []string{"steps=1", sums}, true, 3, 3},
		{"prefix-rft", "dropped_groups", []string{"sft.steps=0", "rl.steps=1"}, true, 2, 4},
		{"itool", "pairs", []string{"sft.steps=0", "iterations=1", "pairs.steps=1", "search.overlap_limit=1"}, false, 1, 20},
	} {
		s := launch(t, c.name, t.TempDir(), append(c.settings, "eval.problems=0")...)
		n := &s.Plan.Nodes[1]
		if c.fail {
			n.Grader = unchecked{n.Grader}
		}
		if v := noted(t, s, n.Name, c.metric); !(v >= c.low && v <= c.high) {
			t.Errorf("%s: %s is %g, want %g to %g", c.name, c.metric, v, c.low, c.high)
		}
	}
}

// The perplexity of a search's first step is the mean over the examples that were selected.
func TestIToolPerplexity(t *testing.T) {
	s := launch(t, "itool", t.TempDir(), "sft.steps=0", "iterations=1", "pairs.steps=1", "eval.problems=0")
	m, want := s.Plan.Nodes[1].Method.(*itoolSearch), 0.0
	var rows []*engine.Sequence
	for _, e := range m.examples {
		rows = append(rows, e.row)
	}
	ppl, err := rollout.Perplexity(context.Background(), s.Engine, rows)
	if err != nil {
		t.Fatal(err)
	}
	got := noted(t, s, "search1", "perplexity")
	for _, i := range m.state.Selected {
		want += ppl[i] / float64(len(m.state.Selected))
	}
	if !(math.Abs(got/want-1) < 1e-6) {
		t.Errorf("perplexity %g, want %g", got, want)
	}
}

// noted runs the session and returns what the stage's first row with the metric says; NaN when none has it.
func noted(t *testing.T, s *train.Session, stage, metric string) float64 {
	t.Helper()
	exec(t, s)
	rows, err := s.Run.ReadMetrics(run.MetricsFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if v, ok := row.Get(metric); ok && row.Stage == stage {
			return v
		}
	}
	return math.NaN()
}
