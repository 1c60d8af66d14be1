package recipe

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/train"
)

// Suites name their tasks shortly where that is clear, split=all reads a whole file, and what cannot be measured is refused by name.
func TestSuites(t *testing.T) {
	const rows = 400
	file := wordFile(t, rows)
	words := "svamp?path=" + file
	build := func(split string) *Build {
		c := train.DefaultCommon()
		c.Eval.Split, c.Eval.Problems = split, 10000
		return &Build{Common: &c}
	}
	few := func(split string) *Build {
		b := build(split)
		b.Common.Eval.Problems = 20
		return b
	}
	got, err := few("test").Suites("countdown, " + words)
	if err != nil || len(got) != 2 || got[0].Name != "countdown" || got[1].Name != "svamp" {
		t.Fatalf("%v, %v", got, err)
	}
	for _, p := range got[0].Problems {
		if task.SplitOf(p, task.DefaultSplits) != task.Test {
			t.Error("a generated problem is not of the test split")
		}
	}
	if got, err = few("all").Suites("countdown?level=3,countdown?level=4," + words); err != nil || len(got) != 3 || got[1].Name != "countdown?level=4" {
		t.Fatalf("%v, %v", got, err)
	}
	for _, p := range append(got[0].Problems, got[1].Problems...) {
		if task.SplitOf(p, task.DefaultSplits) != task.Test {
			t.Error("split=all measures generated problems that training may meet")
		}
	}
	test, err1 := build("test").Suites(words)
	all, err2 := build("all").Suites(words)
	if err1 != nil || err2 != nil || len(all[0].Problems) != rows || len(test[0].Problems) == 0 || len(test[0].Problems) > rows/5 {
		t.Errorf("%d and %d of %d problems, %v, %v", len(test[0].Problems), len(all[0].Problems), rows, err1, err2)
	}
	for _, c := range []struct{ split, refs, want string }{
		{"test", "countdown,", "name is missing"},
		{"test", "countdown,cuontdown", "cuontdown"},
		{"test", "countdown,countdown", "countdown is to be evaluated twice"},
		{"all", "countdown", "training may meet"},
		{"test", "svamp?path=" + wordFile(t, 1), "no problems in its test split"},
	} {
		if _, err := few(c.split).Suites(c.refs); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s of %q: %v; want %q", c.split, c.refs, err, c.want)
		}
	}
}

// Problems of a file that are evaluated are not trained on: left out and counted, refused, or kept, as eval.contamination says.
func TestHeldProblemsAreNotTrainedOn(t *testing.T) {
	words := "svamp?path=" + wordFile(t, 100)
	for _, c := range []struct {
		contamination string
		problems      int // evaluated, the first of the file
		err           string
	}{{"drop", 50, ""}, {"error", 50, "are evaluated"}, {"ignore", 50, ""}, {"drop", 100, "are evaluated"}} {
		common := train.DefaultCommon()
		common.Eval.Split, common.Eval.Problems, common.Eval.Contamination = "all", c.problems, c.contamination
		b := &Build{Common: &common}
		suites, err := b.Suites(words)
		if err != nil {
			t.Fatal(err)
		}
		b.hold(suites)
		_, source, err := b.Problems(words, task.Train)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		met := 0
		for i := range 200 {
			p, err := source.At(i)
			if err != nil {
				t.Fatal(err)
			}
			if b.heldIDs[p.ID] {
				met++
			}
		}
		if kept := c.contamination == "ignore"; kept != (met > 0) || kept != (b.Dropped == 0) {
			t.Errorf("%+v: %d evaluated problems met in training, %d left out", c, met, b.Dropped)
		}
	}
}

// wordFile writes word problems in SVAMP's form.
func wordFile(t *testing.T, rows int) string {
	t.Helper()
	var b strings.Builder
	for i := range rows {
		fmt.Fprintf(&b, `,{"Body":"Ann has %d pears","Question":"How many has she after eating one?","Equation":"( %d - 1 )","Answer":%d}`, i+2, i+2, i+1)
	}
	name := filepath.Join(t.TempDir(), "words.json")
	if err := os.WriteFile(name, []byte("["+b.String()[1:]+"]"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// A suite that reports its progress, and so answers in pieces, has the answers of one that does not, each in its place.
func TestSuiteInPieces(t *testing.T) {
	s := launch(t, "sft", t.TempDir(), "eval.problems=37")
	t.Cleanup(func() { s.Run.Close() })
	want, err := s.Suites[0].Run(context.Background(), s.Env)
	if err != nil {
		t.Fatal(err)
	}
	var last atomic.Int64
	inPieces := *s.Suites[0]
	inPieces.Told = func(done int) { last.Store(max(last.Load(), int64(done))) }
	got, err := inPieces.Run(context.Background(), s.Env)
	if err != nil {
		t.Fatal(err)
	}
	if last.Load() != 37 || len(got.Groups) != 37 || got.Length != want.Length {
		t.Errorf("%d reported, %d answered, length %g, want %g", last.Load(), len(got.Groups), got.Length, want.Length)
	}
	for i, g := range got.Groups {
		if g.Key != want.Groups[i].Key || g.Episodes[0].Text != want.Groups[i].Episodes[0].Text {
			t.Errorf("problem %d: %q, want %q", i, g.Episodes[0].Text, want.Groups[i].Episodes[0].Text)
		}
	}
}

// A run writes the accuracy within each token budget beside the accuracy; the largest budget is the whole answer.
func TestBudgets(t *testing.T) {
	s := launch(t, "sft", t.TempDir(), "steps=1", "eval.problems=20", "eval.max_tokens=8", "eval.budgets=[2,8]")
	if err := errors.Join(s.Exec(context.Background()), s.Run.Close()); err != nil {
		t.Fatal(err)
	}
	rows, err := s.Run.ReadMetrics(run.MetricsFile)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		whole, ok := row.Get(run.AccuracyHigh)
		if !ok {
			continue
		}
		_, ok = row.Get(run.AccuracyAt(2))
		if last, _ := row.Get(run.AccuracyAt(8) + "_high"); !ok || last != whole {
			t.Errorf("stage %s: %+v", row.Stage, row.Values)
		}
	}
	for _, bad := range []string{"eval.budgets=[8,2]", "eval.budgets=[2,9]"} {
		if _, _, err := Parse("sft", "", nil, []string{"eval.max_tokens=8", bad}); err == nil || !strings.Contains(err.Error(), "eval.budgets") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
