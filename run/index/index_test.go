package index

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hone-lm/hone/run"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func make3(t *testing.T, root string) (a, b *run.Run) {
	t.Helper()
	a, err := run.Create(root, "sft", []byte("recipe: sft\nmodel: nano\nseed: 1\noptim:\n  lr: 1e-4\n  betas: [0.9, 0.99]\n"))
	check(t, err)
	b, err = run.Create(root, "warmup-grpo", []byte("recipe: warmup-grpo\nmodel:\n  path: nano\nseed: 1\noptim:\n  lr: 2e-4\n  betas: [0.9, 0.95]\n  empty: {}\n"))
	check(t, err)
	t.Cleanup(func() { a.Close(); b.Close() })
	check(t, a.Metrics(run.Metrics{Stage: "sft", Step: 1, Kind: run.KindTrain, Values: []run.Value{{Name: "loss", V: 0.5}, {Name: "bad", V: math.NaN()}}}))
	check(t, a.Metrics(run.Metrics{Stage: "sft", Step: 2, Kind: run.KindTrain, Values: []run.Value{{Name: "loss", V: 0.75}}}))
	for i, acc := range []float64{0, 0.3, 0.2} {
		check(t, b.Metrics(run.Metrics{Stage: []string{"base", "sft", "grpo"}[i], Step: 10 * i, Kind: run.KindEval, Values: []run.Value{{Name: "accuracy", V: acc}}}))
	}
	check(t, b.Timing(run.Metrics{Stage: "sft", Step: 10, Kind: run.KindTime, Values: []run.Value{{Name: run.Seconds, V: 2.5}}}))
	check(t, a.Sync())
	check(t, b.Event(run.Done))
	check(t, b.Sync())
	check(t, b.Close())
	return a, b
}

func open(t *testing.T, root string) *Index {
	t.Helper()
	x, err := Open(root)
	check(t, err)
	t.Cleanup(func() { x.Close() })
	return x
}

func list(t *testing.T, x *Index) map[string]Entry {
	t.Helper()
	all, err := x.List()
	check(t, err)
	byID := map[string]Entry{}
	for i, e := range all {
		if i > 0 && e.Created.After(all[i-1].Created) {
			t.Error("not newest first")
		}
		byID[e.ID] = e
	}
	return byID
}

func TestList(t *testing.T) {
	root := t.TempDir()
	a, b := make3(t, root)
	x := open(t, root)
	all := list(t, x)
	got := all[a.ID]
	if got.Recipe != "sft" || got.Model != "nano" || got.Status != run.Running || got.Step != 2 || got.Steps != 2 || got.Best != "loss" || got.BestValue != 0.5 || got.BestStep != 1 || got.Created.IsZero() || got.Problem != "" {
		t.Errorf("%+v", got)
	}
	got = all[b.ID]
	if got.Model != "nano" || got.Status != run.Done || got.Stage != "grpo" || got.Step != 20 || got.Steps != 30 || got.Best != "accuracy" || got.BestValue != 0.3 || got.BestStage != "sft" || got.Seconds != 2.5 {
		t.Errorf("%+v", got)
	}
	check(t, a.Metrics(run.Metrics{Stage: "sft", Step: 3, Kind: run.KindTrain, Values: []run.Value{{Name: "loss", V: 0.25}}}))
	check(t, a.Close())
	if got := list(t, x)[a.ID]; got.Step != 3 || got.BestValue != 0.25 || got.Status != run.Stopped {
		t.Errorf("after one more step and the end of the process: %+v", got)
	}
	check(t, os.WriteFile(b.Path(run.MetricsFile), []byte("garbage\n"), 0o666))
	if got := list(t, x)[b.ID]; !strings.Contains(got.Problem, "metrics.jsonl:1") || got.Recipe != "warmup-grpo" {
		t.Errorf("damaged run: %+v", got)
	}
	check(t, os.RemoveAll(b.Dir))
	if all := list(t, x); len(all) != 1 {
		t.Errorf("a removed run is still listed: %v", all)
	}
}

// The database is only an index: without it, or with a broken one, the answers are the same.
func TestRebuild(t *testing.T) {
	root := t.TempDir()
	a, b := make3(t, root)
	check(t, a.Close())
	x := open(t, root)
	want := list(t, x)
	check(t, x.Close())
	name := filepath.Join(root, File)
	whole, err := os.ReadFile(name)
	check(t, err)
	for what, damage := range map[string]func() error{
		"removed": func() error { return os.Remove(name) },
		"empty":   func() error { return os.WriteFile(name, nil, 0o666) },
		"garbage": func() error { return os.WriteFile(name, []byte(strings.Repeat("not a database ", 999)), 0o666) },
		"cut off": func() error { return os.WriteFile(name, whole[:len(whole)/2], 0o666) },
		"other version": func() error {
			y := open(t, root)
			_, err := y.db.Exec("PRAGMA user_version = 99")
			y.Close()
			return err
		},
	} {
		check(t, damage())
		y := open(t, root)
		if got := list(t, y); len(got) != 2 || got[a.ID] != want[a.ID] || got[b.ID] != want[b.ID] {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
		check(t, y.Close())
	}
	if all := list(t, open(t, filepath.Join(root, "absent"))); len(all) != 0 {
		t.Errorf("runs of a folder that is not there: %v", all)
	}
	if _, err := os.Stat(filepath.Join(root, "absent")); err == nil {
		t.Error("listing made a folder")
	}
}

func TestCompare(t *testing.T) {
	root := t.TempDir()
	a, b := make3(t, root)
	x := open(t, root)
	c, err := x.Compare("sft", b.ID)
	check(t, err)
	if c.IDs[0] != a.ID || c.IDs[1] != b.ID {
		t.Errorf("%v", c.IDs)
	}
	var lines []string
	for _, s := range c.Differ {
		lines = append(lines, s.Name+": "+strings.Join(s.Values, " | "))
	}
	want := "recipe: sft | warmup-grpo\nmodel: nano | \noptim.lr: 1e-4 | 2e-4\noptim.betas: [0.9, 0.99] | [0.9, 0.95]\nmodel.path:  | nano\noptim.empty:  | {}"
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	f := c.Figures[0]
	if f.Name != "loss" || f.Values[0] != 0.75 || !math.IsNaN(f.Values[1]) || len(c.Figures) != 5 || c.Figures[4].Stage != "grpo" || c.Figures[4].Values[1] != 0.2 || !math.IsNaN(c.Figures[1].Values[0]) {
		t.Errorf("%+v", c.Figures)
	}
	if _, err := x.Compare("sft"); err == nil {
		t.Error("one run was compared")
	}
	if _, err := x.Compare("sft", "nothing"); err == nil {
		t.Error("an unknown run was compared")
	}
}
