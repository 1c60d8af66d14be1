package claim

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hone-lm/hone/recipe"
	"github.com/hone-lm/hone/train"
)

func TestParseAxis(t *testing.T) {
	for text, want := range map[string][]string{
		"lr=1e-4,3e-4": {"1e-4", "3e-4"}, "seed=1..3": {"1", "2", "3"}, "seed=7": {"7"}, `eval.task=a\,b,c`: {"a,b", "c"}, "task=x?path=../a": {"x?path=../a"}, "system=": {""},
	} {
		x, err := ParseAxis(text)
		if err != nil || !slices.Equal(x.Values, want) {
			t.Errorf("%s: %q, %v", text, x.Values, err)
		}
	}
	for _, bad := range []string{"lr", "=3", "seed=3..1", "seed=1..5000"} {
		if _, err := ParseAxis(bad); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
	jobs := Grid("sft", []Axis{{"a.lr", []string{"1", "2"}}, {"steps", []string{"6"}}, {"seed", []string{"1", "2"}}})
	names := map[string]bool{}
	for _, j := range jobs {
		names[j.Name] = true
	}
	if len(jobs) != 4 || len(names) != 4 || !slices.Equal(jobs[1].Settings, []string{"a.lr=1", "steps=6", "seed=2"}) || jobs[1].Name != "sft-lr1-seed2" {
		t.Errorf("%+v", jobs)
	}
}

// here runs jobs in this process.
func here(t *testing.T, calls *atomic.Int64) *Executor {
	t.Helper()
	dir := t.TempDir()
	return &Executor{Runs: filepath.Join(dir, "runs"), Cache: filepath.Join(dir, "cache"), Jobs: 2, Launch: func(ctx context.Context, args []string) error {
		calls.Add(1)
		_, err := recipe.Train(ctx, args[1], args[2:], io.Discard)
		return err
	}}
}

var quick = []string{"steps=3", "rows=30", "batch=4", "eval.problems=20", "eval.max_tokens=8", "valid=0.2", "valid_every=1"}

// Runs that are done are taken as they are, by their settings to the letter; a failure is told with the job's name, and settings are read before any work.
func TestExecutor(t *testing.T) {
	var calls atomic.Int64
	x := here(t, &calls)
	jobs := []Job{{"one", "sft", append(slices.Clone(quick), "seed=1")}, {"two", "sft", append(slices.Clone(quick), "seed=2")}}
	first, err := x.Run(context.Background(), jobs)
	if err != nil || calls.Load() != 2 {
		t.Fatalf("%d calls, %v", calls.Load(), err)
	}
	again, err := x.Run(context.Background(), append(jobs, Job{"two", "sft", append(slices.Clone(quick), "seed=3")}))
	if err != nil || calls.Load() != 3 || again[0].Dir != first[0].Dir || again[2].Dir == first[1].Dir {
		t.Fatalf("%d calls, %v", calls.Load(), err)
	}
	if err := os.WriteFile(first[0].Path(train.ProgramFile), []byte("another program\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	anew, err := x.Run(context.Background(), jobs)
	if err != nil || calls.Load() != 4 || anew[0].Dir == first[0].Dir || anew[1].Dir != first[1].Dir {
		t.Fatalf("a run of another program was taken over, or one of this program was not: %d calls, %v", calls.Load(), err)
	}
	if _, err := x.Run(context.Background(), []Job{{"three", "sft", []string{"stesp=3"}}}); err == nil || !strings.Contains(err.Error(), "three") || calls.Load() != 4 {
		t.Errorf("a typo: %v", err)
	}
	file := *x
	file.Path, file.Source = "base.yaml", []byte("steps: 3\nseed: 7\n")
	file.Launch = func(_ context.Context, args []string) error {
		if args[1] != "base.yaml" {
			t.Errorf("launched %v", args)
		}
		return errors.New("no room")
	}
	p, err := file.prepare(Job{"five", "sft", []string{"steps=2"}})
	if err != nil || !strings.Contains(string(p.yaml), "seed: 7") || !strings.Contains(string(p.yaml), "steps: 2") {
		t.Errorf("settings under a job's own: %v\n%s", err, p.yaml)
	}
	if _, err := file.Run(context.Background(), []Job{{"five", "sft", nil}}); err == nil {
		t.Error("nothing was launched")
	}
	broken := *x
	broken.Launch = func(context.Context, []string) error { return errors.New("no room") }
	if _, err := broken.Run(context.Background(), []Job{{"four", "sft", quick}}); err == nil || !strings.Contains(err.Error(), "four") || !strings.Contains(err.Error(), "no room") {
		t.Errorf("a failure: %v", err)
	}
}

// table is a table of made-up outcomes: accuracy by arm and seed.
func table(c *recipe.Claim, accuracy map[string][]float64) *recipe.Table {
	t := &recipe.Table{Claim: c}
	for arm, x := range accuracy {
		for i, v := range x {
			t.Outcomes = append(t.Outcomes, &recipe.Outcome{Arm: arm, Seed: uint64(i + 1), Final: map[string]float64{"accuracy": v}, Updates: 100,
				Curve: []recipe.Point{{Stage: "base", Values: map[string]float64{"accuracy": 0.1}}, {Stage: "rl", Values: map[string]float64{"accuracy": v}}}})
		}
	}
	return t
}

func twoArms() *recipe.Claim {
	return &recipe.Claim{Metric: "accuracy", A: "new", B: "old", Budget: recipe.Budget{Unit: recipe.Updates}, Arms: []recipe.Arm{{Name: "old"}, {Name: "new"}}}
}

func TestVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		old, new []float64
		want     recipe.Verdict
		learns   string
		updates  float64
	}{
		"above":         {[]float64{.30, .32, .31}, []float64{.40, .43, .41}, recipe.Reproduced, "", 100},
		"below":         {[]float64{.40, .43, .41}, []float64{.30, .32, .31}, recipe.Contradicted, "", 100},
		"noise":         {[]float64{.30, .40, .31}, []float64{.35, .33, .41}, recipe.Undecided, "", 100},
		"learned":       {[]float64{.30, .32, .31}, []float64{.40, .43, .41}, recipe.Reproduced, "old", 100},
		"never learned": {[]float64{.09, .11, .10}, []float64{.40, .43, .41}, recipe.Void, "old", 100},
		"other budgets": {[]float64{.30, .32, .31}, []float64{.40, .43, .41}, recipe.Void, "", 110},
		"not measured":  {[]float64{.30, .32, .31}, []float64{.40, math.NaN(), .41}, recipe.Void, "", 100},
	} {
		claim := twoArms()
		if c.learns != "" {
			claim.Learns = []recipe.Learns{{Arm: c.learns, Stage: "rl", Kind: "rl"}}
		}
		r := &Result{Paper: recipe.Paper{Name: name, Claim: claim}, Table: table(claim, map[string][]float64{"old": c.old, "new": c.new})}
		for _, o := range r.Table.Of("new") {
			o.Updates = c.updates
		}
		r.decide()
		if r.Decision.Verdict != c.want {
			t.Errorf("%s: %s (%s), want %s", name, r.Decision.Verdict, r.Decision.Why, c.want)
		}
	}
	// Seeds are paired: a difference that every seed shows is seen however much the seeds differ.
	d, err := table(twoArms(), map[string][]float64{"old": {.1, .5, .9}, "new": {.15, .56, .94}}).Paired("new", "old", "accuracy")
	if err != nil || d.Low <= 0 || math.Abs(d.Mean-0.05) > 1e-12 {
		t.Errorf("paired %+v, %v", d, err)
	}
}

// TestGiven: an arm runs with what another arm's run on the same seed measured, which is kept beside its outcome; what cannot be is refused
// before any work.
func TestGiven(t *testing.T) {
	if testing.Short() {
		t.Skip("trains half a dozen runs")
	}
	little := []string{"eval.problems=4", "eval.max_tokens=4", "warmup.steps=1", "mix.steps=5", "sft.rows=40", "sft.batch=4", "grpo.problems=2", "grpo.group_size=2", "grpo.max_tokens=4"}
	paper := func(g recipe.Given) recipe.Paper {
		return recipe.Paper{Name: "sasr", Claim: &recipe.Claim{Metric: "accuracy", A: "adaptive", B: "fixed", Common: little, Arms: []recipe.Arm{
			{Name: "fixed", Settings: []string{"arm=fixed"}, Given: []recipe.Given{g}}, {Name: "adaptive"}}}}
	}
	for _, bad := range []recipe.Given{{Key: "share", Arm: "none", Stage: "mix", Metric: "sft_step"}, {Key: "share", Arm: "fixed", Stage: "mix", Metric: "sft_step"}, {Key: "shares", Arm: "adaptive", Stage: "mix", Metric: "sft_step"}} {
		var calls atomic.Int64
		if _, err := Run(context.Background(), here(t, &calls), paper(bad), Plan{Seeds: 1}); err == nil || calls.Load() > 0 {
			t.Errorf("%+v: %d runs, %v", bad, calls.Load(), err)
		}
	}
	var calls atomic.Int64
	x := here(t, &calls)
	r, err := Run(context.Background(), x, paper(recipe.Given{Key: "share", Arm: "adaptive", Stage: "mix", Metric: "sft_step"}), Plan{Seeds: 1, Deciding: 2})
	if err != nil || calls.Load() != 4 {
		t.Fatalf("%d runs, %v", calls.Load(), err)
	}
	for i, o := range r.Table.Of("fixed") {
		from := r.Table.Of("adaptive")[i]
		if got, want := o.Means["mix/sft_step"], from.Means["mix/sft_step"]; got != want || len(o.Given) != 1 {
			t.Errorf("seed %d: share %g, want %g; given %v", o.Seed, got, want, o.Given)
		}
	}
	if page := string(r.markdown("", "")); !strings.Contains(page, "`share` of arm fixed is the mean of sft_step") {
		t.Errorf("the page does not say where the share is from:\n%s", page)
	}
	if _, err := Run(context.Background(), x, paper(recipe.Given{Key: "share", Arm: "adaptive", Stage: "mix", Metric: "sft_steps"}), Plan{Seeds: 1, Deciding: 2}); err == nil || !strings.Contains(err.Error(), "measured none") {
		t.Errorf("a metric that is not there: %v", err)
	}
}

// TestClaim runs a small claim from beginning to end: a grid, two arms on their seeds, the files; then again without running anything.
func TestClaim(t *testing.T) {
	if testing.Short() {
		t.Skip("trains a dozen runs")
	}
	p := recipe.Paper{Name: "little", Claim: &recipe.Claim{Says: "more steps are better", Scale: "three steps", Metric: "length", A: "more", B: "less", Common: quick,
		Arms:  []recipe.Arm{{Name: "less", Recipe: "sft"}, {Name: "more", Recipe: "sft", Settings: []string{"steps=9"}}},
		Grids: []recipe.Grid{{Kind: "sft", Arm: "less", Keys: []string{"lr", "grpo.lr"}, Values: []string{"1e-5", "1e-3"}}}}}
	var calls atomic.Int64
	x := here(t, &calls)
	plan := Plan{Seeds: 2, Deciding: 3}
	r, err := Run(context.Background(), x, p, plan)
	if err != nil {
		t.Fatal(err)
	}
	if n := calls.Load(); n != 2+6 || len(r.Table.Outcomes) != 6 || r.Tuned[0].Best == "" {
		t.Errorf("%d runs, %d outcomes, tuned %+v", n, len(r.Table.Outcomes), r.Tuned)
	}
	for _, o := range r.Table.Of("more") {
		if o.Updates != 9 || !(o.FLOPs > 0) || !(o.Trained > 0) || o.Sampled != 0 || o.Losses["sft"][0] <= 0 {
			t.Errorf("outcome %+v", o)
		}
	}
	if _, err := Run(context.Background(), x, p, plan); err != nil || calls.Load() != 8 {
		t.Errorf("the second time %d more runs, %v", calls.Load()-8, err)
	}
	dir := t.TempDir()
	if err := r.Write(dir, "hone claim little", "test"); err != nil {
		t.Fatal(err)
	}
	var doc document
	b, err := os.ReadFile(filepath.Join(dir, "little.json"))
	if err != nil || json.Unmarshal(b, &doc) != nil || doc.Verdict != string(r.Decision.Verdict) || len(doc.Arms) != 2 || len(doc.Arms[1].Seeds) != 3 {
		t.Errorf("%v: %s", err, b)
	}
	page, err := os.ReadFile(filepath.Join(dir, "little.md"))
	for _, want := range []string{"more steps are better", string(r.Decision.Verdict), "| less |", "hone claim little", r.Tuned[0].Best} {
		if err != nil || !strings.Contains(string(page), want) {
			t.Errorf("the page has no %q: %v", want, err)
		}
	}
	if svg, err := os.ReadFile(filepath.Join(dir, "little.svg")); err != nil || !strings.Contains(string(svg), "<svg") {
		t.Errorf("no picture: %v", err)
	}
	p.Claim.B = "none"
	if _, err := Run(context.Background(), x, p, plan); err == nil {
		t.Error("a claim about an arm that is not there was run")
	}
}
