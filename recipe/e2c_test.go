package recipe

import (
	"context"
	"errors"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/token"
)

// e2c, checks 3 and 5: the share of the plan that a right answer follows, and the advantages of a group with such rewards.
func TestE2CReward(t *testing.T) {
	for _, c := range []struct {
		match, text string
		verdict     task.Verdict
		want        float64
	}{
		{"titles", "1. add a\n2. square it\n3. halve\n4. report</plan><execute>1. add a\n2. square it\n3. halve|3", task.Correct, 0.75},
		{"titles", "1. add a\n2. square it\n3. halve\n4. report</plan><execute>1. add a\n2. square it\n3. halve|3", task.Wrong, 0},
		{"titles", "add a</plan><execute>1. add a|3", task.Correct, 0},
		{"operators", "<plan>a-b;c*d</plan><execute>7-3=4;12*4=48|12*(7-3)", task.Correct, 1},
		{"operators", "a-b;c+d</plan><execute>7-3=4;12*4=48|12*(7-3)", task.Correct, 0.5},
		{"operators", "7-3=4;12*4=48|12*(7-3)", task.Correct, 0},
		{"operators", "a*b<execute>5*3=15|15", task.Correct, 1}, // without </plan> the split is <execute>
	} {
		e := &rollout.Episode{Text: c.text, Grade: reward.Grade{Verdict: c.verdict, Score: 0.1}}
		if err := (planned{kept{}, c.match}).Grade(context.Background(), []*rollout.Group{{Episodes: []*rollout.Episode{e}}}); err != nil {
			t.Fatal(err)
		}
		if e.Grade.Score != c.want {
			t.Errorf("%s %q %s: %g, want %g", c.match, c.text, c.verdict, e.Grade.Score, c.want)
		}
	}
	adv, err := objective.MeanStd.Of([]float64{0.75, 0, 0, 1}, objective.AdvantageEps)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{0.606, -0.849, -0.849, 1.091} {
		if math.Abs(adv[i]-want) > 6e-4 {
			t.Errorf("advantage %d: %.4f, want %g", i, adv[i], want)
		}
	}
}

// Check 1 on sampled answers: the stage's batch has lambda on every token before </plan>, and the forced tag is neither sampled nor trained.
func TestE2CWeights(t *testing.T) {
	s := launch(t, "e2c", t.TempDir(), "sft.steps=0", "rl1.steps=0", "rl2.match=none", "rl2.max_tokens=12")
	defer s.Run.Close()
	n := &s.Plan.Nodes[len(s.Plan.Nodes)-1]
	m := n.Method.(*E2CStage)
	split := s.Env.Format.Tok.Encode(rollout.PlanClose, token.EncodeOptions{Special: true, Joined: true})
	execute := s.Env.Format.Tok.Encode(rollout.ExecuteOpen, token.EncodeOptions{Special: true, Joined: true})
	if len(split) != 1 || len(execute) != 1 {
		t.Fatalf("the tags are %d and %d tokens", len(split), len(execute))
	}
	batch := func(lambda float64) []engine.Row {
		m.Lambda = lambda
		streams, err := s.FirstBatch(context.Background(), n)
		if err != nil {
			t.Fatal(err)
		}
		return streams[0].Rows
	}
	weighed, moved := batch(2), 0
	for i, plain := range batch(1) {
		seq, was := weighed[i].Seq, plain.Seq.Channel(engine.ChanAdvantage)
		before, tag := true, split[0]
		if !slices.Contains(seq.Tokens, tag) {
			tag = execute[0]
		}
		for k, id := range seq.Tokens {
			if id == tag && seq.KindAt(k) == engine.KindSampled {
				before = false
			}
			want := was[k]
			if before {
				want *= 2
			}
			if got := seq.Channel(engine.ChanAdvantage)[k]; got != want {
				t.Fatalf("row %d token %d: advantage %g, want %g", i, k, got, want)
			}
			if seq.KindAt(k) == engine.KindInserted && plain.Mask[k] {
				t.Error("the forced tag is trained")
			}
			if want != 0 {
				moved++
			}
		}
		if seq.Count(engine.KindInserted) != 1 {
			t.Errorf("row %d has %d inserted tokens, want the plan tag", i, seq.Count(engine.KindInserted))
		}
	}
	if moved == 0 || s.Env.Format.Opening != "" {
		t.Errorf("%d tokens with an advantage; the format keeps the opening %q", moved, s.Env.Format.Opening)
	}
}

// Check 6: EF-SFT has no gradient from the execution: without its tokens the gradient is the same. The other way round it is not.
func TestE2CPlanOnly(t *testing.T) {
	for learn, same := range map[string]bool{"plan": true, "both": false} {
		s, streams := lastBatch(t, "e2c", "rl1.steps=0", "rl2.steps=0", "sft.learn="+learn)
		whole, _ := gradient(t, s.Engine.(*local.Engine), streams, nil)
		for _, r := range streams[0].Rows {
			plan, execution := r.Seq.Spans[0], r.Seq.Spans[1]
			if plan.Name != task.SpanPlan || execution.To != len(r.Seq.Tokens) || !r.Mask[plan.From] {
				t.Fatalf("spans %+v of %d tokens", r.Seq.Spans, len(r.Seq.Tokens))
			}
			for k := execution.From; k < execution.To; k++ {
				if r.Mask[k] == same {
					t.Fatalf("learn=%s: token %d of the execution: mask %v", learn, k, r.Mask[k])
				}
			}
		}
		cut := streams[0]
		cut.Rows = nil
		for _, r := range streams[0].Rows {
			q, n := *r.Seq, r.Seq.Spans[0].To
			q.Tokens, q.Kind, q.Spans = q.Tokens[:n], q.Kind[:n], nil
			cut.Rows = append(cut.Rows, engine.Row{Seq: &q, Mask: r.Mask[:n]})
		}
		if short, _ := gradient(t, s.Engine.(*local.Engine), []engine.Stream{cut}, nil); (relative(whole, short) <= far) != same {
			t.Errorf("learn=%s: without executions the gradient changes by %g", learn, relative(whole, short))
		}
	}
}

// Causal executions follow their plan in every step; naive ones often do not. Both are right.
func TestE2CPairs(t *testing.T) {
	follows := map[string]float64{}
	for _, pairs := range []string{"causal", "naive"} {
		s := launch(t, "e2c", t.TempDir(), "sft.rows=60", "sft.pairs="+pairs)
		m := s.Plan.Nodes[1].Method.(*E2CSFT)
		for _, row := range m.rows {
			var ids []int32
			for k, id := range row.Tokens {
				if row.KindAt(k) == engine.KindDemo {
					ids = append(ids, id)
				}
			}
			e := &rollout.Episode{Text: s.Env.Format.Tok.Decode(ids, true), Grade: reward.Grade{Verdict: task.Correct}}
			if !strings.HasPrefix(e.Text, "<plan>") || !strings.Contains(e.Text, "</plan><execute>") {
				t.Fatalf("demonstration %q", e.Text)
			}
			if err := (planned{kept{}, "operators"}).Grade(context.Background(), []*rollout.Group{{Episodes: []*rollout.Episode{e}}}); err != nil {
				t.Fatal(err)
			}
			follows[pairs] += e.Grade.Score / float64(len(m.rows))
		}
		s.Run.Close()
	}
	if follows["causal"] < 1-1e-9 || follows["naive"] > 0.8 {
		t.Errorf("executions follow %v of their plans", follows)
	}
}

func TestE2CRule(t *testing.T) {
	if err := e2cClaim.Check(); err != nil {
		t.Fatal(err)
	}
	for _, arm := range e2cClaim.Arms {
		name := arm.Recipe
		if name == "" {
			name = "e2c"
		}
		if _, _, err := Parse(name, "", nil, append(append([]string{}, e2cClaim.Common...), arm.Settings...)); err != nil {
			t.Errorf("arm %s: %v", arm.Name, err)
		}
	}
	for _, c := range []struct {
		plain, one, two, naive float64
		votes, plans           float64 // accuracy of searches, at any cost
		want                   Verdict
	}{
		{.40, .40, .42, .35, .40, .45, Reproduced},
		{.50, .40, .42, .35, .40, .45, Contradicted},
		{.40, .45, .42, .35, .40, .45, Contradicted},
		{.40, .40, .42, .45, .40, .45, Contradicted},
		{.44, .40, .42, .35, .40, .45, Undecided},
		{.40, .40, .42, .35, .45, .40, Contradicted},
		{.40, .40, .42, .35, .40, math.NaN(), Void},
		{math.NaN(), .40, .42, .35, .40, .45, Void},
	} {
		table := &Table{Claim: &e2cClaim}
		for seed := range uint64(3) {
			for name, v := range map[string]float64{"plain": c.plain, "lambda1": c.one, "lambda2": c.two, "naive": c.naive} {
				noise := 0.001 * float64(seed) * float64(len(name)%3)
				table.Outcomes = append(table.Outcomes, &Outcome{Arm: name, Seed: seed, Final: map[string]float64{"accuracy": v + noise,
					"accuracy_vote_1": c.votes, "accuracy_vote_16": c.votes + noise, "length_vote_1": 20, "length_vote_16": 320, "accuracy_vote_16_low": 1,
					"accuracy_plan_cluster_1": c.plans, "accuracy_plan_cluster_16_4": c.plans + noise, "length_plan_cluster_1": 33, "length_plan_cluster_16_4": 220}})
			}
		}
		if d := table.Decide(); d.Verdict != c.want {
			t.Errorf("%+v: %s (%s)", c, d.Verdict, d.Why)
		}
	}
}

// A run says what its searches found and what they cost; a search over one plan costs what one answer does.
func TestE2CSearches(t *testing.T) {
	if testing.Short() {
		t.Skip("trains")
	}
	s := launch(t, "e2c", t.TempDir(), "sft.steps=30", "sft.batch=32", "sft.rows=300", "rl1.steps=0", "rl2.steps=0", "eval.problems=20", "eval.max_tokens=48",
		"eval.searches=[vote:4, plan_vote:1, plan_random:1, plan_vote:6, plan_cluster:6/2, plan_judge:6]", "eval.search_problems=10")
	if err := errors.Join(s.Exec(context.Background()), s.Run.Close()); err != nil {
		t.Fatal(err)
	}
	rows, err := s.Run.ReadMetrics(run.MetricsFile)
	if err != nil {
		t.Fatal(err)
	}
	length := map[string]float64{}
	for _, v := range rows[len(rows)-1].Values {
		if name, ok := strings.CutPrefix(v.Name, "length_"); ok {
			length[name] = v.V
		}
	}
	if l := length; len(l) != 6 || l["plan_vote_1"] != l["plan_random_1"] || !(l["plan_vote_1"] <= 48) || !(l["vote_4"] > l["plan_vote_1"]) ||
		!(l["plan_vote_6"] > l["plan_cluster_6_2"] && l["plan_cluster_6_2"] > l["plan_vote_1"] && l["plan_judge_6"] > l["plan_vote_1"]) {
		t.Errorf("tokens an answer: %v", l)
	}
}

// What demonstrations are paired and learned is part of what the stage is: one cache keeps them apart.
func TestE2CCache(t *testing.T) {
	if testing.Short() {
		t.Skip("trains")
	}
	cache, ends := filepath.Join(t.TempDir(), "cache"), map[string]string{}
	for _, settings := range [][]string{{}, {"sft.pairs=naive"}, {"sft.learn=plan"}} {
		s := launch(t, "e2c", t.TempDir(), append(settings, "rl1.steps=0", "rl2.steps=0", "eval.problems=0", "cache="+cache)...)
		end := lasting(t, exec(t, s))[filepath.Join(run.CheckpointsDir, "sft@000003", "engine.state")]
		if was, taken := ends[end]; taken || end == "" {
			t.Errorf("%v ends where %q does", settings, was)
		}
		ends[end] = strings.Join(settings, " ")
	}
}

// Demonstrations behind the context, those that repeat evaluation text, and settings that nothing reads are not passed over.
func TestE2CData(t *testing.T) {
	for setting, want := range map[string]string{
		"context=40": "set too_long=drop", "sft.form=verbose": "form=planned", "sft.train_on=all": "learn", "sft.prompt=q": "no columns", "sft.completion=a": "no columns", "sft.too_long=split": "error, drop",
		"rl2.task=countdown?wording=natural": "rl2.match",
	} {
		_, cfg, err := Parse("e2c", "", nil, append(quick("e2c"), setting))
		if err == nil {
			_, err = Start(context.Background(), cfg, nil, io.Discard)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", setting, err)
		}
	}
	rows := func(c *E2C, b *Build) []*engine.Sequence {
		t.Helper()
		out, err := c.SFT.demonstrations(b)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for wording, want := range map[string]string{"compact": ";", "natural": "#### "} {
		_, cfg, err := Parse("e2c", "", nil, append(quick("e2c"), "sft.too_long=drop", "sft.data=countdown?level=3&wording="+wording))
		if err != nil {
			t.Fatal(err)
		}
		c := cfg.(*E2C)
		l, err := LoadModel(c.Shared())
		if err != nil {
			t.Fatal(err)
		}
		b := &Build{Format: l.Format, Common: c.Shared(), Context: 512}
		all := rows(c, b)
		if text := b.Format.Tok.Decode(all[0].Tokens, true); !strings.Contains(text, want) {
			t.Errorf("%s: %q", wording, text)
		}
		b.Context = len(slices.MaxFunc(all, func(a, b *engine.Sequence) int { return len(a.Tokens) - len(b.Tokens) }).Tokens) - 1
		if some := rows(c, b); len(some)+b.Long != 40 || b.Long == 0 {
			t.Errorf("%s: %d rows of 40, and %d that are too long", wording, len(some), b.Long)
		}
		if wording == "natural" {
			continue // every row has the same words
		}
		b.Context, b.Held = 512, []string{b.Format.Tok.Decode(all[0].Tokens, true)}
		if some := rows(c, b); len(some)+b.Dropped != 40 || b.Dropped == 0 {
			t.Errorf("%d rows of 40, and %d that repeat evaluation text", len(some), b.Dropped)
		}
	}
}
