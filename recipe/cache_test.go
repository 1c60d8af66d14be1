package recipe

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/train"
)

// TestCache: a run that takes stages from the cache has the bytes of one that computed them, and runs share exactly the stages they have in
// common.
func TestCache(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	plain := lasting(t, whole(t, "warmup-grpo"))
	cache := filepath.Join(t.TempDir(), "cache")
	count := func() int {
		dirs, err := filepath.Glob(filepath.Join(cache, "*", "cached.json"))
		if err != nil {
			t.Fatal(err)
		}
		return len(dirs)
	}
	for _, c := range []struct {
		settings []string
		kept     int // stages in the cache after it
		same     bool
	}{
		{nil, 3, true}, {nil, 3, true}, // base, sft, grpo
		{[]string{"name=other", "checkpoint.every=1", "slots=3"}, 3, true},
		{[]string{"grpo.lr=3e-4"}, 4, false},
		{[]string{"sft.lr=3e-4"}, 6, false},
		{[]string{"seed=2"}, 9, false},
	} {
		s := launch(t, "warmup-grpo", t.TempDir(), append(c.settings, "cache="+cache)...)
		if err := errors.Join(s.Exec(context.Background()), s.Run.Close()); err != nil {
			t.Fatal(err)
		}
		got := lasting(t, s.Run.Dir)
		if n := count(); n != c.kept {
			t.Errorf("%v: %d stages in the cache, want %d", c.settings, n, c.kept)
		}
		for file := range plain {
			inside := strings.HasPrefix(file, run.CheckpointsDir) && !strings.Contains(file, "@000004") // a cached stage has its end alone
			if c.same && !inside && got[file] != plain[file] {
				t.Errorf("%v: %s is not the one of a run without a cache", c.settings, file)
			}
		}
	}
	rows := filepath.Join(t.TempDir(), "rows.jsonl") // an edited file is another stage
	for i, text := range []string{"one", "one", "two"} {
		if err := os.WriteFile(rows, []byte(strings.Repeat(`{"prompt": "say", "completion": "`+text+`"}`+"\n", 20)), 0o666); err != nil {
			t.Fatal(err)
		}
		s := launch(t, "sft", t.TempDir(), "data="+rows, "eval.problems=0", "steps=2", "cache="+cache)
		if err := errors.Join(s.Exec(context.Background()), s.Run.Close()); err != nil {
			t.Fatal(err)
		}
		if n := count(); n != 9+[]int{2, 2, 3}[i] {
			t.Errorf("file %d: %d stages in the cache", i, n)
		}
	}
	broken, err := filepath.Glob(filepath.Join(cache, "*", "cached.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range broken { // all: which stage the first one is depends on the program's hash
		if err := os.WriteFile(file, []byte("{"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, settings := range [][]string{nil, {"grpo.lr=3e-4"}, {"sft.lr=3e-4"}, {"seed=2"}} {
		s := launch(t, "warmup-grpo", t.TempDir(), append(settings, "cache="+cache)...)
		if s.Exec(context.Background()) == nil {
			t.Errorf("%v: a broken cache entry was taken for a good one", settings)
		}
		s.Run.Close()
	}
}

// A frozen model of one stage is not part of the states of the next, whether the stage was computed or taken from the cache.
func TestCacheFrozen(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	plain, cache := lasting(t, whole(t, "curiosft")), filepath.Join(t.TempDir(), "cache")
	for _, settings := range [][]string{{"grpo.lr=3e-4"}, {}} { // the second run takes its teacher's stage over and computes the last one
		s := launch(t, "curiosft", t.TempDir(), append(settings, "cache="+cache)...)
		exec(t, s)
		end := filepath.Join(run.CheckpointsDir, "grpo@000003", "engine.state")
		if same := lasting(t, s.Run.Dir)[end] == plain[end]; plain[end] == "" || same != (len(settings) == 0) {
			t.Errorf("%v: the state is that of a run without a cache: %v", settings, same)
		}
	}
}

// The evaluated task may follow from a method's settings: stages that were evaluated on other problems are not the same, the first included.
func TestCacheSuites(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	for i, data := range []string{"countdown", "chain_sum", "chain_sum"} {
		s := launch(t, "sft", t.TempDir(), "data="+data, "steps=2", "cache="+cache)
		if err := errors.Join(s.Exec(context.Background()), s.Run.Close()); err != nil {
			t.Fatal(err)
		}
		if dirs, err := filepath.Glob(filepath.Join(cache, "*", "cached.json")); err != nil || len(dirs) != []int{2, 4, 4}[i] {
			t.Errorf("run %d on %s: %d stages in the cache (%v)", i+1, data, len(dirs), err)
		}
	}
}

// rejection is a plan of rejection sampling: sample, keep the answers that end, learn them.
func rejection(t *testing.T, root string, after int) (*train.Session, *run.Run) {
	t.Helper()
	s := launch(t, "sft", root)
	b := &Build{Format: s.Env.Format, Common: &s.Common, Context: s.Engine.Info().Context}
	grader, source, err := b.Problems("countdown", task.Train)
	if err != nil {
		t.Fatal(err)
	}
	sample := &GRPO{Problems: 3, GroupSize: 4, Advantage: "mean_std", MaxTokens: 8, Filter: "none"}
	learn := &SFT{built: "build", Batch: 4, Norm: "token_mean", ValidEvery: 1}
	s.Plan = train.Plan{Nodes: []train.Node{
		{Name: "build", Kind: train.Build, Method: sample, Steps: 4, Source: source, Grader: grader, Params: engine.Params{MaxTokens: 8},
			Keep: func(_ *train.Step, groups []*rollout.Group) ([]*engine.Sequence, error) {
				var out []*engine.Sequence
				for _, e := range rollout.Episodes(groups) {
					if rollout.Ended(e.Segs[0]) {
						out = append(out, rollout.AsDemo(e.Segs[0]))
					}
				}
				return out, nil
			}},
		{Name: "sft", Kind: train.Train, Method: learn, Steps: 3, Optim: train.DefaultOptim(1e-3)},
	}}
	s.Plan.Nodes[1].Optim.Warmup = 1
	if after > 0 {
		s.InterruptAfter(after)
	}
	return s, s.Run
}

// TestBuild: a build node's rows are what the next node learns from, and a run stopped at any step goes on to the same bytes.
func TestBuild(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	dir := t.TempDir()
	s, r := rejection(t, dir, 0)
	if err := s.Exec(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.Close()
	want := lasting(t, r.Dir)
	rows, err := os.ReadFile(r.Path("rows/build.jsonl"))
	if err != nil || len(rows) == 0 {
		t.Fatalf("no rows: %v", err)
	}
	for stop := 1; stop < 7; stop++ {
		root := t.TempDir()
		s, r := rejection(t, root, stop)
		if err := s.Exec(context.Background()); !errors.Is(err, train.ErrInterrupted) {
			t.Fatalf("stop %d: %v", stop, err)
		}
		r.Close()
		s, r = rejection(t, root, 0)
		if err := s.Exec(context.Background()); err != nil {
			t.Fatal(err)
		}
		r.Close()
		again, err := os.ReadFile(r.Path("rows/build.jsonl"))
		if err != nil || string(again) != string(rows) {
			t.Errorf("stopped after %d steps: other rows", stop)
		}
		if got := lasting(t, r.Dir); !reflect.DeepEqual(got, want) {
			t.Errorf("stopped after %d steps: other bytes in %v", stop, slices.Sorted(maps.Keys(got)))
		}
	}
	s, r = rejection(t, t.TempDir(), 0)
	s.Plan.Nodes[0].Keep = func(*train.Step, []*rollout.Group) ([]*engine.Sequence, error) { return nil, nil }
	if err := s.Exec(context.Background()); err == nil {
		t.Error("nothing was kept, and the next node learned it")
	}
	r.Close()
}
