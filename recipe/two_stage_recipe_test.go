package recipe

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
)

// two-stage-recipe, check 3: rewards and advantages of a whole group, and each term under its name.
func TestTwoStageReward(t *testing.T) {
	group := &rollout.Group{}
	for _, e := range []struct {
		length  int
		verdict task.Verdict
	}{{3000, task.Correct}, {6000, task.Correct}, {9, task.Timeout}, {12000, task.Wrong}} {
		score := map[task.Verdict]float64{task.Correct: 1}[e.verdict]
		group.Episodes = append(group.Episodes, &rollout.Episode{Text: `\boxed{5}</think>`, Cost: reward.Cost{Sampled: e.length},
			Grade: reward.Grade{Score: score, Verdict: e.verdict}, Segs: []*engine.Sequence{{Tokens: []int32{1, 2}, Kind: []engine.Kind{engine.KindPrompt, engine.KindSampled}}}})
	}
	terms := &TwoStageReward{Format: 1, Form: "boxed", Cosine: 1, MaxLength: 30000, Length: 1}
	if err := (lengthAware{kept{}, terms}).Grade(context.Background(), []*rollout.Group{group}); err != nil {
		t.Fatal(err)
	}
	if _, err := rollout.FillAdvantage([]*rollout.Group{group}, objective.MeanStd, objective.AdvantageEps); err != nil {
		t.Fatal(err)
	}
	if e := group.Episodes[2]; e.Grade.Score != 0 || len(e.Grade.Terms) != 0 {
		t.Errorf("a grade that is not valid was changed: %+v", e.Grade)
	}
	for i, want := range [][2]float64{{2.4780, 0.7099}, {2.0807, 0.4338}, {-0.1891, -1.1436}} {
		e := group.Valid()[i]
		if got := e.Segs[0].Channel(engine.ChanAdvantage)[1]; math.Abs(e.Grade.Score-want[0]) > 6e-5 || math.Abs(float64(got)-want[1]) > 6e-5 {
			t.Errorf("answer %d: reward %.5f, advantage %.5f, want %v", i, e.Grade.Score, got, want)
		}
		sum := 0.0
		for _, term := range e.Grade.Terms {
			sum += term.Value
		}
		if len(e.Grade.Terms) != 3 || math.Abs(sum-e.Grade.Score) > 1e-12 {
			t.Errorf("answer %d: terms %v, reward %g", i, e.Grade.Terms, e.Grade.Score)
		}
	}
}

// kept is a grader that leaves the grades as they are.
type kept struct{}

func (kept) Name() string                                  { return "kept" }
func (kept) Grade(context.Context, []*rollout.Group) error { return nil }

// The penalty stands beside the policy gradient with the paper's weight, and its value is 0 while the policy is its reference (check 6).
func TestTwoStageStreams(t *testing.T) {
	s, streams := lastBatch(t, "two-stage-recipe")
	if len(streams) != 2 || streams[1].Coef != 0.04 || streams[1].Norm != engine.TokenMean {
		t.Fatalf("%d streams; the second %+v", len(streams), streams[len(streams)-1])
	}
	b := &bench{t, s, streams[1:]}
	g, stats, _ := b.run(1<<20, 2, nil)
	for i, v := range g {
		if v != 0 {
			t.Fatalf("gradient %d of k3 is %g at the reference", i, v)
		}
	}
	if v, ok := stats.Streams[0].Tally.Mean("kl"); ok && v != 0 {
		t.Errorf("k3 is %g at the reference", v)
	}
}

// The arms of the claim are the stages that they name, and arms that begin alike share their SFT.
func TestTwoStageArms(t *testing.T) {
	if err := twoStageClaim.Check(); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"sft10": "base sft", "sft1": "base sft", "base_rl": "base rl"}
	for _, arm := range twoStageClaim.Arms {
		s := launch(t, "two-stage-recipe", t.TempDir(), arm.Settings...)
		var names []string
		for _, n := range s.Plan.Nodes {
			names = append(names, n.Name)
		}
		s.Run.Close()
		w := want[arm.Name]
		if w == "" {
			w = "base sft rl"
		}
		if got := strings.Join(names, " "); got != w {
			t.Errorf("arm %s: stages %s, want %s", arm.Name, got, w)
		}
	}
}

func TestTwoStageRule(t *testing.T) {
	type arm struct{ accuracy, length float64 } // within a budget of n tokens, accuracy x n / length
	for _, c := range []struct {
		what               string
		sft10, sft1, rl, b arm
		want               Verdict
		within             float64 // of RL's accuracy, is left within a budget
	}{
		{"as the paper says", arm{.80, 40}, arm{.50, 44}, arm{.81, 30}, arm{.30, 20}, Reproduced, 1},
		{"RL costs 5 points", arm{.80, 40}, arm{.50, 44}, arm{.75, 30}, arm{.30, 20}, Contradicted, 1},
		{"RL does not shorten", arm{.80, 40}, arm{.50, 44}, arm{.81, 41}, arm{.30, 20}, Contradicted, 1},
		{"one epoch is enough", arm{.80, 40}, arm{.85, 44}, arm{.81, 30}, arm{.30, 20}, Contradicted, 1},
		{"a little shorter", arm{.80, 40}, arm{.50, 44}, arm{.81, 38}, arm{.30, 20}, Undecided, 1},
		{"worse at equal tokens", arm{.80, 40}, arm{.50, 44}, arm{.81, 30}, arm{.30, 20}, Undecided, 0.5},
		{"RL needs no SFT", arm{.80, 40}, arm{.50, 44}, arm{.81, 30}, arm{.85, 20}, Undecided, 1},
		{"not measured", arm{.80, 40}, arm{.50, 44}, arm{math.NaN(), 30}, arm{.85, 20}, Void, 1},
	} {
		table := &Table{Claim: &twoStageClaim}
		for seed := range uint64(3) {
			for name, a := range map[string]arm{"sft10": c.sft10, "sft1": c.sft1, "sft10_rl": c.rl, "base_rl": c.b} {
				left := 1.0
				if name == "sft10_rl" {
					left = c.within
				}
				noise := 0.002 * float64(seed) * float64(len(name)-3)
				table.Outcomes = append(table.Outcomes, &Outcome{Arm: name, Seed: seed, Final: map[string]float64{"accuracy": a.accuracy + noise, "length": a.length,
					"accuracy_at_16": left * (a.accuracy + noise) * 16 / a.length, "accuracy_at_32": left * (a.accuracy + noise) * min(1, 32/a.length)}})
			}
		}
		if d := table.Decide(); d.Verdict != c.want {
			t.Errorf("%s: %s (%s), want %s", c.what, d.Verdict, d.Why, c.want)
		}
	}
}
