package recipe

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/train"
)

// quick are settings under which a recipe runs in a second.
func quick(name string) []string {
	s := []string{"eval.problems=6", "eval.max_tokens=8", "checkpoint.every=2"}
	switch name {
	case "sft":
		s = append(s, "steps=6", "rows=40", "batch=4")
	case "grpo":
		s = append(s, "steps=6", "problems=3", "group_size=4", "max_tokens=8")
	case "warmup-grpo":
		s = append(s, "sft.steps=4", "sft.rows=40", "sft.batch=4", "grpo.steps=4", "grpo.problems=3", "grpo.group_size=4", "grpo.max_tokens=8")
	}
	return s
}

// launch opens a run in root, or the one that is there, with the quick settings.
func launch(t *testing.T, name, root string, more ...string) *train.Session {
	t.Helper()
	_, cfg, err := Parse(name, "", nil, append(quick(name), more...))
	if err != nil {
		t.Fatal(err)
	}
	ids, _ := run.List(root)
	var r *run.Run
	if len(ids) > 0 {
		if r, err = run.Open(root, ids[0]); err == nil {
			err = r.Lock()
		}
	} else {
		yaml, e := Resolved(name, cfg)
		if e != nil {
			t.Fatal(e)
		}
		r, err = run.Create(root, name, yaml)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := Start(context.Background(), cfg, r, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// whole runs a recipe without interruption and returns the folder.
func whole(t *testing.T, name string, more ...string) string {
	t.Helper()
	s := launch(t, name, t.TempDir(), more...)
	if err := s.Exec(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.Run.Close(); err != nil {
		t.Fatal(err)
	}
	return s.Run.Dir
}

// sameBytes compares what must not depend on when a run was stopped: metrics, rollouts, samples, checkpoints.
func sameBytes(t *testing.T, a, b string) {
	t.Helper()
	compared := 0
	filepath.WalkDir(a, func(path string, d os.DirEntry, err error) error {
		rel, _ := filepath.Rel(a, path)
		if err != nil || d.IsDir() || !(rel == run.MetricsFile || strings.HasPrefix(rel, "rollouts") || strings.HasPrefix(rel, "samples") || strings.HasPrefix(rel, "checkpoints")) {
			return err
		}
		compared++
		x, err1 := os.ReadFile(path)
		y, err2 := os.ReadFile(filepath.Join(b, rel))
		if err1 != nil || err2 != nil || string(x) != string(y) {
			t.Errorf("%s differs (%v, %v; %d and %d bytes)", rel, err1, err2, len(x), len(y))
		}
		return nil
	})
	if compared < 3 {
		t.Errorf("only %d files compared", compared)
	}
}

// Stopped at every step by Interrupt and resumed, a run has the bytes of one that never stopped.
func TestResume(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			want := whole(t, name)
			root := t.TempDir()
			for round := 0; ; round++ {
				if round > 40 {
					t.Fatal("the run does not come to its end")
				}
				s := launch(t, name, root)
				s.InterruptAfter(1)
				err := s.Exec(context.Background())
				s.Run.Close()
				if err == nil {
					if round < 4 {
						t.Errorf("only %d interruptions", round)
					}
					sameBytes(t, want, s.Run.Dir)
					return
				}
				if !errors.Is(err, train.ErrInterrupted) {
					t.Fatal(err)
				}
			}
		})
	}
}

// Another seed gives other bytes: the comparison above can fail.
func TestSeedMatters(t *testing.T) {
	a, b := whole(t, "sft"), whole(t, "sft", "seed=2")
	x, _ := os.ReadFile(filepath.Join(a, run.MetricsFile))
	y, _ := os.ReadFile(filepath.Join(b, run.MetricsFile))
	if string(x) == string(y) {
		t.Error("two seeds give the same metrics")
	}
}

func TestSettings(t *testing.T) {
	for _, name := range Names() {
		p, cfg, err := Parse(name, "", nil, nil)
		if err != nil {
			t.Fatalf("%s: the defaults do not parse: %v", name, err)
		}
		yaml, err := Resolved(name, cfg)
		if err != nil {
			t.Fatal(err)
		}
		_, body, _ := strings.Cut(string(yaml), "\n")
		_, again, err := Parse(name, "config.yaml", []byte(body), nil)
		if err != nil {
			t.Fatalf("%s: its own resolved settings do not parse: %v", name, err)
		}
		if twice, _ := Resolved(name, again); string(twice) != string(yaml) {
			t.Errorf("%s: settings change when they are written and read:\n%s\n%s", name, yaml, twice)
		}
		if _, _, err := Parse(name, "", nil, []string{"sede=3"}); err == nil || !strings.Contains(err.Error(), "seed") {
			t.Errorf("%s: typo: %v", name, err)
		}
		if p.About == "" || p.Title == "" {
			t.Errorf("%s: no title or description", name)
		}
	}
}

// The variants that settings give all run, and on policy the ratio is 1.
func TestGRPOVariants(t *testing.T) {
	for name, s := range map[string][]string{
		"dr_grpo":   {"advantage=mean_only", "norm=constant"},
		"dapo":      {"clip_range.high=0.28", "filter=all_equal", "refills=2", "overlong=4"},
		"kl_loss":   {"kl=0.1"},
		"kl_reward": {"kl=0.1", "kl_in=reward", "kl_form=k1"},
		"passes":    {"passes=2", "minibatches=2"},
		"loo_seq":   {"advantage=leave_one_out", "norm=seq_mean"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := whole(t, "grpo", append(s, "steps=2", "task=chain_sum?levels=2&digits=1-2")...)
			r, err := run.Open(filepath.Dir(dir), filepath.Base(dir))
			if err != nil {
				t.Fatal(err)
			}
			rows, err := r.ReadMetrics(run.MetricsFile)
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range rows {
				if ratio, err := row.Get("rl_ratio"); err && name != "passes" && ratio != 1 {
					t.Errorf("step %d: ratio %v", row.Step, ratio)
				}
			}
		})
	}
}
