package recipe

import (
	"math"
	"slices"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/train"
)

func prefixRFT(t *testing.T, settings ...string) *PrefixRFTConfig {
	t.Helper()
	_, cfg, err := Parse("prefix-rft", "", nil, settings)
	if err != nil {
		t.Fatal(err)
	}
	return cfg.(*PrefixRFTConfig)
}

// prefix-rft, check 1.
func TestPrefixLength(t *testing.T) {
	m := prefixRFT(t).RL.PrefixRFT
	for _, c := range []struct {
		step int
		low  float64
	}{{0, .95}, {125, .8182}, {250, .5}, {375, .1818}, {500, .05}, {600, .05}} {
		if got := m.low(c.step, 500); math.Abs(got-c.low) > 5e-5 {
			t.Errorf("step %d: %g", c.step, got)
		}
	}
	for _, c := range []struct {
		share   float64
		n, want int
	}{{.5, 20, 10}, {.99, 20, 19}, {1, 20, 19}, {.05, 20, 2}, {.9, 1, 0}, {.9, 2, 1}, {.9, 0, 0}, {.95, 200, 31}} {
		if got := m.cut(c.share, c.n); got != c.want {
			t.Errorf("%g of %d: %d tokens", c.share, c.n, got)
		}
	}
	m.Length = "uniform"
	if got := m.low(0, 500); got != .05 {
		t.Errorf("uniform begins at %g", got)
	}
}

// prefixGroup is a group of answers of one sampled token each; the last has two forced ones before it.
func prefixGroup(rewards ...float64) *rollout.Group {
	g := &rollout.Group{Key: "p"}
	for i, r := range rewards {
		seq := &engine.Sequence{Tokens: []int32{1, 2}, Kind: []engine.Kind{engine.KindPrompt, engine.KindSampled}}
		e := &rollout.Episode{Segs: []*engine.Sequence{seq}, Grade: reward.Grade{Score: r}, Cost: reward.Cost{Sampled: 1}}
		if i == len(rewards)-1 {
			seq.Tokens, seq.Kind = []int32{1, 3, 4, 2}, []engine.Kind{engine.KindPrompt, engine.KindForced, engine.KindForced, engine.KindSampled}
			e.Cost.Forced = 2
		}
		g.Episodes = append(g.Episodes, e)
	}
	return g
}

// prefix-rft, checks 2 and 5 and the joint baseline; a hybrid without a grade changes nothing.
func TestPrefixAdvantages(t *testing.T) {
	for name, c := range map[string]struct {
		settings                      []string
		ordinary                      []float64
		hybrid                        float64
		first, second, prefix, sample float64
	}{
		"solved":     {nil, []float64{1, 0, 0, 0, 0, 0, 0}, 1, .8571, -.1429, .8571, 1},
		"failed":     {nil, []float64{1, 0, 0, 0, 0, 0, 0}, 0, .8571, -.1429, -.1429, 0},
		"all":        {nil, []float64{1, 1, 1, 1, 1, 1, 1}, 1, 0, 0, 0, 1},
		"only":       {nil, []float64{0, 0, 0, 0, 0, 0, 0}, 1, 0, 0, 1, 1},
		"joint":      {[]string{"rl.joint=true"}, []float64{1, 0, 0, 0, 0, 0, 0}, 1, .75, -.25, .75, .75},
		"normalised": {[]string{"rl.advantage=mean_std_pop"}, []float64{1, 0, 0, 0, 0, 0, 0}, 1, 2.4495, -.4082, .8571, 1},
	} {
		m := prefixRFT(t, c.settings...).RL.PrefixRFT
		g := prefixGroup(append(slices.Clone(c.ordinary), c.hybrid)...)
		if err := m.credit(&train.Step{}, []*rollout.Group{g}); err != nil {
			t.Fatal(err)
		}
		h := g.Episodes[7].Segs[0].Channel(engine.ChanAdvantage)
		for i, pair := range [][2]float64{{float64(g.Episodes[0].Segs[0].Channel(engine.ChanAdvantage)[1]), c.first},
			{float64(g.Episodes[1].Segs[0].Channel(engine.ChanAdvantage)[1]), c.second}, {float64(h[1]), c.prefix}, {float64(h[2]), c.prefix}, {float64(h[3]), c.sample}} {
			if math.Abs(pair[0]-pair[1]) > 5e-5 {
				t.Errorf("%s: advantage %d is %g, want %g", name, i, pair[0], pair[1])
			}
		}
	}
	m, g := prefixRFT(t).RL.PrefixRFT, prefixGroup(1, 0, 1)
	g.Episodes[2].Grade.Verdict = task.Timeout
	if err := m.credit(&train.Step{}, []*rollout.Group{g}); err != nil || g.Episodes[2].Segs[0].Channel(engine.ChanAdvantage) != nil {
		t.Errorf("a hybrid without a grade got advantages: %v", err)
	}
}

// prefix-rft, check 3: one token of five keeps its weight, five stay in the mask; ranks go over rows.
func TestPrefixKeep(t *testing.T) {
	entropy := []float32{.1, .9, .5, .2, .7}
	all := []bool{true, true, true, true, true}
	for _, c := range []struct {
		share float64
		want  []float32
	}{{.2, []float32{0, 1, 0, 0, 0}}, {.4, []float32{0, 1, 0, 0, 1}}, {0, []float32{0, 0, 0, 0, 0}}, {1, []float32{1, 1, 1, 1, 1}}} {
		rows := []engine.Row{{Mask: all}}
		rollout.KeepTop(rows, [][]float32{entropy}, c.share)
		if !slices.Equal(rows[0].Weight, c.want) || rollout.Masked(rows) != 5 {
			t.Errorf("%g: %v", c.share, rows[0].Weight)
		}
	}
	rows := []engine.Row{{Mask: []bool{false, true, true}}, {Mask: []bool{false, true, true}}}
	rollout.KeepTop(rows, [][]float32{{9, .1, .2}, {9, .4, .3}}, .5)
	if !slices.Equal(rows[0].Weight, []float32{0, 0, 0}) || !slices.Equal(rows[1].Weight, []float32{0, 1, 1}) {
		t.Errorf("ranks are not over all rows: %v %v", rows[0].Weight, rows[1].Weight)
	}
}

// alone returns the gradient of the streams with a name.
func alone(t *testing.T, s *train.Session, streams []engine.Stream, name string) ([]float32, engine.Stats) {
	t.Helper()
	var some []engine.Stream
	for _, st := range streams {
		if st.Name == name {
			some = append(some, st)
		}
	}
	return gradient(t, s.Engine.(*local.Engine), some, nil)
}

// prefix-rft, checks 4, 5 and 6 on real prefixes: the ratio of prefix tokens is exactly 1; without keep or frozen there is no prefix
// gradient; with advantage 1 it is that of cross-entropy on the kept tokens.
func TestPrefixGradient(t *testing.T) {
	for _, none := range []string{"rl.keep=0", "rl.train=frozen"} {
		s, streams := lastBatch(t, "prefix-rft", none)
		g, _ := alone(t, s, streams, "prefix")
		if slices.ContainsFunc(g, func(x float32) bool { return x != 0 }) {
			t.Errorf("%s: prefix tokens have a gradient", none)
		}
	}
	s, streams := lastBatch(t, "prefix-rft", "rl.keep=0.5")
	i := slices.IndexFunc(streams, func(st engine.Stream) bool { return st.Name == "prefix" })
	for _, r := range streams[i].Rows {
		for k := range r.Mask {
			r.Seq.Channel(engine.ChanAdvantage)[k] = 1
		}
	}
	got, stats := alone(t, s, streams, "prefix")
	if ratio, ok := stats.Streams[0].Tally.Mean("ratio"); !ok || ratio != 1 {
		t.Errorf("ratio %v, %v", ratio, ok)
	}
	kept, counted := 0, rollout.Masked(streams[i].Rows)
	for _, r := range streams[i].Rows {
		for _, w := range r.Weight {
			kept += int(w)
		}
	}
	if counted < 6 || kept != int(math.Round(float64(counted)/2)) {
		t.Errorf("%d of %d prefix tokens kept", kept, counted)
	}
	sft := slices.Clone(streams[i : i+1])
	sft[0].Obj = objective.CrossEntropy{}
	if want, _ := alone(t, s, sft, "prefix"); relative(want, got) > far {
		t.Errorf("the gradient is %g away from that of cross-entropy", relative(want, got))
	}
}

// The hybrid is a real one: its forced tokens are the problem's own demonstration, the policy writes at least the last token of the answer, and
// the streams have the denominators that the settings ask for.
func TestPrefixHybrids(t *testing.T) {
	s, streams := lastBatch(t, "prefix-rft")
	b := &Build{Format: s.Env.Format, Common: &s.Common}
	demo, err := b.Expert("countdown", task.Short)
	if err != nil {
		t.Fatal(err)
	}
	if streams[0].Denom != 8*4*3 || streams[1].Denom != 8*4*3 || len(streams[0].Rows) != 12 || len(streams[1].Rows) != 3 {
		t.Fatalf("denominators %g and %g, %d and %d rows", streams[0].Denom, streams[1].Denom, len(streams[0].Rows), len(streams[1].Rows))
	}
	source := s.Plan.Nodes[len(s.Plan.Nodes)-1].Source
	for i, r := range streams[1].Rows {
		p, err := source.At(i)
		if err != nil {
			t.Fatal(err)
		}
		d, err := demo(p)
		if err != nil {
			t.Fatal(err)
		}
		n := r.Seq.Count(engine.KindPrompt) + r.Seq.Count(engine.KindForced)
		if r.Seq.ID.Problem != p.ID || !slices.Equal(r.Seq.Tokens[:n], d.Tokens[:n]) || r.Seq.KindAt(n) != engine.KindSampled || r.Seq.ID.Sample != 3 {
			t.Errorf("row %d does not begin with its demonstration", i)
		}
		if answer := answerIDs(d, s.Env.Format.Tok.EndIDs()); r.Seq.Count(engine.KindForced) >= len(answer) || r.Seq.Count(engine.KindForced)+r.Seq.Count(engine.KindSampled) > 8 {
			t.Errorf("row %d: %d tokens forced of %d", i, r.Seq.Count(engine.KindForced), len(answer))
		}
	}
	_, streams = lastBatch(t, "prefix-rft", "rl.norm=token_mean", "rl.sft_coef=0.1")
	want := float64(rollout.Masked(streams[0].Rows) + rollout.Masked(streams[1].Rows))
	if streams[0].Denom != want || streams[1].Denom != want || streams[2].Name != "sft" || streams[2].Coef != 0.1 || len(streams[2].Rows) != 3 {
		t.Errorf("token_mean: denominators %g, %g, want %g; %d streams", streams[0].Denom, streams[1].Denom, want, len(streams))
	}
}

// Every variant runs, learns and resumes at every step.
func TestPrefixVariants(t *testing.T) {
	if testing.Short() {
		t.Skip("runs many variants")
	}
	for _, more := range [][]string{{"rl.train=frozen"}, {"rl.train=static"}, {"rl.length=uniform", "rl.order=random"}, {"rl.order=bottom", "rl.clip_prefix=true"},
		{"rl.passes=2", "rl.minibatches=2", "rl.demos=0.5"}, {"rl.kl=0.1", "rl.joint=true", "rl.sft_coef=0.1"}} {
		sameBytes(t, whole(t, "prefix-rft", more...), piecewise(t, "prefix-rft", more...))
	}
}

func TestPrefixSettings(t *testing.T) {
	for _, bad := range []string{"rl.low=0.99", "rl.keep=2", "rl.demos=-1", "rl.horizon=-1", "rl.static=-1", "rl.filter=all_equal", "rl.group_size=2", "rl.group_size=1",
		"rl.length=x", "rl.train=x", "rl.order=x", "rl.norm=seq_mean", "rl.advantage=x"} {
		if _, _, err := Parse("prefix-rft", "", nil, []string{bad}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	c := prefixRFT(t, "sft.steps=0", "rl.steps=0")
	if _, err := c.Plan(&Build{Common: &c.Common}); err == nil {
		t.Error("a plan without stages is taken")
	}
	checkClaim(t, "prefix-rft")
}

// Where only some problems have a demonstration the groups stay in the problems' order, and those without one are what GRPO samples.
func TestPrefixMixedGroups(t *testing.T) {
	_, mixed := lastBatch(t, "prefix-rft", "rl.demos=0.5", "rl.problems=8")
	_, plain := lastBatch(t, "prefix-rft", "rl.length=none", "rl.problems=8")
	a, b := mixed[0].Rows, plain[0].Rows
	if len(a) != 32 || len(b) != 32 {
		t.Fatalf("%d and %d rows", len(a), len(b))
	}
	led := 0
	for i := range a {
		x, y := a[i].Seq, b[i].Seq
		if x.ID != y.ID || x.ID.Sample != i%4 {
			t.Fatalf("row %d is %s, want %s", i, x.Label(), y.Label())
		}
		if x.Count(engine.KindForced) > 0 {
			led++
		} else if !slices.Equal(x.Tokens, y.Tokens) {
			t.Errorf("%s: another answer than without prefixes", x.Label())
		}
	}
	if led == 0 || led == 8 {
		t.Errorf("%d of 8 groups have a hybrid", led)
	}
}
