package recipe

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/run/progress"
	"github.com/hone-lm/hone/run/report"
	"github.com/hone-lm/hone/train"
)

// padded is a method whose answers score more, and count as longer, with every step.
type padded struct{ train.Method }

func (m padded) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	groups, err := m.Method.Collect(ctx, s)
	for _, e := range rollout.Episodes(groups) {
		e.Grade.Score, e.Cost.Sampled = 0.01*float64(s.Index), 3+s.Index
	}
	return groups, err
}

// A warning is on the screen, in the log and in the report once, also when the run is stopped around it; the metrics do not know it.
func TestWarning(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	root := t.TempDir()
	var screen bytes.Buffer
	for _, stop := range []int{42, 2, 0} {
		s := launch(t, "grpo", root, "steps=46", "problems=1", "group_size=2", "max_tokens=2", "overlong=0", "eval.problems=2", "eval.max_tokens=2", "checkpoint.every=0")
		s.Plan.Nodes[1].Method = padded{s.Plan.Nodes[1].Method}
		s.Display = progress.New(&screen)
		if stop > 0 {
			s.InterruptAfter(stop)
		}
		if err := s.Exec(context.Background()); (stop > 0) != errors.Is(err, train.ErrInterrupted) || stop == 0 && err != nil {
			t.Fatal(err)
		}
		if stop == 0 {
			if err := report.Write(s.Run); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Run.Close(); err != nil {
			t.Fatal(err)
		}
		dir := s.Run.Dir
		if stop > 0 {
			continue
		}
		const want = "step 40: warning: reward rises from 0.095 to 0.295 while answers grow from 12.5 to 32.5 tokens"
		for name, text := range map[string]string{"screen": screen.String(), "log": read(t, dir, run.LogFile), "report": read(t, dir, run.ReportMD)} {
			if strings.Count(text, want) != 1 || strings.Count(text, "answers grow") != 1 {
				t.Errorf("%s:\n%s", name, text)
			}
		}
		if strings.Contains(read(t, dir, run.MetricsFile), "warning") {
			t.Error("a warning is in the metrics")
		}
	}
}
