package recipe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/train"
)

// quick are settings under which a recipe runs in a second. The overlong penalty of those that sample gives short answers other rewards than
// long ones: without it the model, which solves nothing yet, would learn nothing, and a run that lost its weights or its optimiser would look
// the same.
func quick(name string) []string {
	p, err := Get(name)
	if err != nil || len(p.Quick) == 0 {
		panic(fmt.Sprintf("recipe %s has no quick settings: %v", name, err))
	}
	return append([]string{"eval.problems=6", "eval.max_tokens=8", "checkpoint.every=2"}, p.Quick...)
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
	learned(t, s)
	if err := s.Run.Close(); err != nil {
		t.Fatal(err)
	}
	return s.Run.Dir
}

// learned fails unless most steps of every training stage had a gradient. Build stages have none.
func learned(t *testing.T, s *train.Session) {
	t.Helper()
	rows, err := s.Run.ReadMetrics(run.MetricsFile)
	if err != nil {
		t.Fatal(err)
	}
	builds := map[string]bool{}
	for _, n := range s.Plan.Nodes {
		builds[n.Name] = n.Kind == train.Build
	}
	steps, moved := map[string]int{}, map[string]int{}
	for _, row := range rows {
		if row.Kind == run.KindTrain && !builds[row.Stage] {
			steps[row.Stage]++
			if norm, ok := row.Get(run.GradNorm); ok && norm > 0 {
				moved[row.Stage]++
			}
		}
	}
	if len(steps) == 0 {
		t.Fatal("no training step was recorded")
	}
	for stage, n := range steps {
		if 2*moved[stage] <= n {
			t.Errorf("stage %s: only %d of %d steps had a gradient: this run can show little", stage, moved[stage], n)
		}
	}
}

// lasting reads what must not depend on when a run was stopped: metrics, rollouts, samples, checkpoints.
func lasting(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		top, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
		if err != nil || d.IsDir() || top != run.MetricsFile && top != run.RolloutsDir && top != run.SamplesDir && top != run.CheckpointsDir {
			return err
		}
		b, err := os.ReadFile(path)
		files[filepath.ToSlash(rel)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func sameBytes(t *testing.T, a, b string) {
	t.Helper()
	want, got := lasting(t, a), lasting(t, b)
	states := 0
	for rel, x := range want {
		if y, ok := got[rel]; !ok || x != y {
			t.Errorf("%s differs (there: %v; %d and %d bytes)", rel, ok, len(x), len(y))
		}
		if strings.HasSuffix(rel, "engine.state") {
			states++
		}
	}
	for rel := range got {
		if _, ok := want[rel]; !ok {
			t.Errorf("%s is in the resumed run alone", rel)
		}
	}
	if states == 0 || want[run.MetricsFile] == "" {
		t.Errorf("%d engine states and %d bytes of metrics compared", states, len(want[run.MetricsFile]))
	}
}

// Stopped at every step by Interrupt and resumed, a run has the bytes of one that never stopped: every recipe with its defaults, and with
// settings that put more into the state (a reference model, refills that move through the problems unevenly, several updates a step).
func TestResume(t *testing.T) {
	type setting struct {
		recipe, name string
		more         []string
	}
	var all []setting
	for _, name := range Names() {
		if !testing.Short() || name == "sft" {
			all = append(all, setting{name, "defaults", nil})
		}
	}
	if !testing.Short() {
		all = append(all,
			setting{"grpo", "reference", []string{"kl=0.1"}},
			setting{"grpo", "refills", []string{"filter=all_equal", "refills=2", "overlong=0", "task=chain_sum?level=2&digits=1-2", "group_size=6"}},
			setting{"grpo", "several updates", []string{"passes=2", "minibatches=2", "eval.every=3"}},
			setting{"grpo", "adapter", []string{"lora.rank=2", "kl=0.1", "kl_in=reward"}},
			setting{"warmup-grpo", "reference", []string{"grpo.kl=0.1"}},
			setting{"sft", "epochs", []string{"rows=10", "schedule=cosine", "warmup=2", "eval.every=2"}})
	}
	for _, c := range all {
		t.Run(c.recipe+" "+c.name, func(t *testing.T) {
			want := whole(t, c.recipe, c.more...)
			sameBytes(t, want, piecewise(t, c.recipe, c.more...))
		})
	}
}

// piecewise runs a recipe one step at a time, each in a session of its own, and returns the folder.
func piecewise(t *testing.T, name string, more ...string) string {
	t.Helper()
	root := t.TempDir()
	for round := range 40 {
		s := launch(t, name, root, more...)
		s.InterruptAfter(1)
		err := s.Exec(context.Background())
		if e := s.Run.Close(); e != nil {
			t.Fatal(e)
		}
		if err == nil {
			if round < 4 {
				t.Errorf("only %d interruptions", round)
			}
			return s.Run.Dir
		}
		if !errors.Is(err, train.ErrInterrupted) {
			t.Fatal(err)
		}
	}
	t.Fatal("the run does not come to its end")
	return ""
}

// A run that was stopped can be given more steps: it ends as if it had had them from the start (with a constant learning rate).
func TestResumeLonger(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	for _, name := range []string{"sft", "grpo"} {
		want := whole(t, name, "steps=7")
		root := t.TempDir()
		s := launch(t, name, root)
		s.InterruptAfter(3)
		if err := s.Exec(context.Background()); !errors.Is(err, train.ErrInterrupted) {
			t.Fatalf("%s: %v", name, err)
		}
		s.Run.Close()
		s = launch(t, name, root, "steps=7")
		if err := s.Exec(context.Background()); err != nil {
			t.Fatal(err)
		}
		s.Run.Close()
		sameBytes(t, want, s.Run.Dir)
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

// The variants that settings give all run and learn, leave their mark in the metrics, and start each step at a ratio of exactly 1.
func TestGRPOVariants(t *testing.T) {
	for name, c := range map[string]struct {
		settings []string
		column   string // is there in some step, and not 0
	}{
		"dr_grpo":    {[]string{"advantage=mean_only", "norm=constant"}, run.Loss},
		"dapo":       {[]string{"clip_range.high=0.28", "filter=all_equal", "refills=2", "overlong=4"}, "filtered"},
		"kl_loss":    {[]string{"kl=0.1"}, "kl_kl"},
		"kl_reward":  {[]string{"kl=0.1", "kl_in=reward", "kl_form=k1"}, run.Reward},
		"passes":     {[]string{"passes=2", "minibatches=2", "lr=1e-3"}, "rl_clip_fraction"},
		"loo_seq":    {[]string{"advantage=leave_one_out", "norm=seq_mean"}, run.Loss},
		"population": {[]string{"advantage=mean_std_pop"}, run.Loss},
	} {
		t.Run(name, func(t *testing.T) {
			dir := whole(t, "grpo", append([]string{"steps=3", "task=chain_sum?levels=2&digits=1-2"}, c.settings...)...)
			r, err := run.Open(filepath.Dir(dir), filepath.Base(dir))
			if err != nil {
				t.Fatal(err)
			}
			rows, err := r.ReadMetrics(run.MetricsFile)
			if err != nil {
				t.Fatal(err)
			}
			steps, marked := 0, false
			for _, row := range rows {
				if row.Kind != run.KindTrain {
					continue
				}
				steps++
				if ratio, ok := row.Get("rl_ratio"); !ok || (ratio == 1) == (name == "passes") {
					t.Errorf("step %d: ratio %v, %v", row.Step, ratio, ok)
				}
				v, _ := row.Get(c.column)
				marked = marked || v != 0
			}
			if steps != 3 || !marked {
				t.Errorf("%d steps of 3; %s is there: %v", steps, c.column, marked)
			}
		})
	}
}

// DAPO's two clip bounds, the coefficient of the penalty and Dr. GRPO's constant reach the streams as they were set.
func TestGRPOStreams(t *testing.T) {
	_, streams := lastBatch(t, "grpo", "clip_range.low=0.1", "clip_range.high=0.28", "kl=0.25", "kl_form=k1", "norm=constant")
	if len(streams) != 2 {
		t.Fatalf("%d streams", len(streams))
	}
	rl, kl := streams[0], streams[1]
	if got, want := rl.Obj, (objective.Clipped{Range: objective.ClipRange{Low: 0.1, High: 0.28}}); !reflect.DeepEqual(got, want) {
		t.Errorf("objective %+v", got)
	}
	if rl.Denom != 8*4*3 || rl.Norm != engine.Constant || rl.Coef != 1 {
		t.Errorf("rl: denominator %g, %s, coefficient %g", rl.Denom, rl.Norm, rl.Coef)
	}
	if !reflect.DeepEqual(kl.Obj, objective.KL{Estimator: "k1"}) || kl.Coef != 0.25 {
		t.Errorf("kl: %+v, coefficient %g", kl.Obj, kl.Coef)
	}
	if len(rl.Rows) != 12 || len(kl.Rows) != 12 {
		t.Errorf("%d and %d rows of 12", len(rl.Rows), len(kl.Rows))
	}
}

// Steps may grow where a stage has not ended; anything else is refused before a byte of the run changes. So is a state file that was cut short.
func TestRefusedState(t *testing.T) {
	root := t.TempDir()
	s := launch(t, "warmup-grpo", root)
	s.InterruptAfter(5) // of 4 in the first stage and 4 in the second
	if err := s.Exec(context.Background()); !errors.Is(err, train.ErrInterrupted) {
		t.Fatal(err)
	}
	s.Run.Close()
	before := lasting(t, s.Run.Dir)
	for setting, want := range map[string]string{
		"grpo.steps=4": "",
		"grpo.steps=9": "",
		"grpo.steps=3": "stage grpo has 4 steps",
		"sft.steps=9":  "stage sft has ended after 4 steps",
		"sft.steps=2":  "stage sft has ended after 4 steps",
	} {
		s := launch(t, "warmup-grpo", root, setting)
		err := s.CheckState()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", setting, err)
		}
		if want != "" && s.Exec(context.Background()) == nil {
			t.Errorf("%s: it runs", setting)
		}
		s.Run.Close()
	}
	state := filepath.Join(s.Run.Dir, train.StateFile)
	whole, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 30, bytes.IndexByte(whole, '\n') + 1, len(whole) - 1} {
		if err := os.WriteFile(state, whole[:n], 0o666); err != nil {
			t.Fatal(err)
		}
		s := launch(t, "warmup-grpo", root)
		if err := s.Exec(context.Background()); err == nil || !strings.Contains(err.Error(), state) {
			t.Errorf("state cut to %d bytes: %v", n, err)
		}
		s.Run.Close()
	}
	if !maps.Equal(before, lasting(t, s.Run.Dir)) {
		t.Error("a refused resume changed the run")
	}
}
