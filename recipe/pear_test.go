package recipe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/token"
	"github.com/hone-lm/hone/train"
)

// pearWeights returns the weights that a recipe's settings give to masked tokens with these raw log-ratios, with a prompt before and padding behind.
func pearWeights(t *testing.T, raw []float64, prompt, padding int, settings ...string) []float64 {
	t.Helper()
	_, cfg, err := Parse("pear", "", nil, settings)
	if err != nil {
		t.Fatal(err)
	}
	n := prompt + len(raw) + padding
	seq := &engine.Sequence{Tokens: make([]int32, n), Kind: make([]engine.Kind, n)}
	old := seq.SetChannel(engine.ChanOld, nil)
	v := engine.View{To: n, LogProb: make([]float32, n), DLogProb: make([]float64, n)}
	for k := range n {
		old[k], v.LogProb[k] = -2, -7 // outside the answer the ratio is -5
		if k >= prompt && k < prompt+len(raw) {
			seq.Kind[k], v.LogProb[k] = engine.KindDemo, float32(-2+raw[k-prompt])
		}
	}
	m := &cfg.(*PEARConfig).SFT.PEAR
	streams, err := m.Streams(context.Background(), &train.Step{Seed: 1}, []*rollout.Group{{Episodes: []*rollout.Episode{{Segs: []*engine.Sequence{seq}}}}})
	if err != nil {
		t.Fatal(err)
	}
	streams[0].Rows[0].Scale, v.Row = 1, &streams[0].Rows[0]
	streams[0].Obj.Eval([]engine.View{v}, nil)
	var out []float64
	for k := prompt; k < prompt+len(raw); k++ {
		out = append(out, -v.DLogProb[k])
		v.DLogProb[k] = 0
	}
	if i := slices.IndexFunc(v.DLogProb, func(d float64) bool { return d != 0 }); i >= 0 {
		t.Errorf("token %d outside the answer has a derivative", i)
	}
	return out
}

// Weights worked out by hand, with the paper's defaults: the levels, blocks of one and of everything, padding, on policy, 400 unlikely tokens.
func TestPEARWeights(t *testing.T) {
	raw := []float64{0.2, -0.05, -0.5}
	for _, c := range []struct {
		settings string
		want     []float64
	}{
		{"sft.weights=token", []float64{0.8763, 0.9222, 1}},
		{"sft.weights=sequence", []float64{1.0725, 1.0725, 1.0725}},
		{"sft.weights=block sft.block=2", []float64{0.9222, 0.9222, 1}},
		{"sft.weights=block sft.block=1", []float64{0.8763, 0.9222, 1}},
		{"sft.weights=block sft.block=3", []float64{1, 1, 1}},
		{"sft.weights=block sft.block=100", []float64{1, 1, 1}},
		{"sft.weights=none", []float64{1, 1, 1}},
	} {
		for _, padding := range []int{0, 10} {
			got := pearWeights(t, raw, 4, padding, strings.Fields(c.settings)...)
			for k := range got {
				if math.Abs(got[k]-c.want[k]) > 6e-5 {
					t.Errorf("%s, %d tokens of padding: %.4f, want %.4f", c.settings, padding, got, c.want)
					break
				}
			}
		}
	}
	if a, b := pearWeights(t, raw, 4, 0), pearWeights(t, raw, 4, 10); !slices.Equal(a, b) {
		t.Errorf("padding changes %v to %v", a, b)
	}
	if a, b := pearWeights(t, raw, 4, 0), pearWeights(t, raw, 4, 0, "sft.weights=block", "sft.block=1"); !slices.Equal(a, b) {
		t.Errorf("tokens %v, blocks of one %v", a, b)
	}
	same := make([]float64, 5)
	for _, weights := range []string{"token", "block", "sequence"} {
		for _, g := range pearWeights(t, same, 2, 0, "sft.gamma=1", "sft.weights="+weights) {
			if g != 1 {
				t.Errorf("%s: on policy the weight is %v", weights, g)
			}
		}
	}
	for k, g := range pearWeights(t, same, 2, 0) {
		if math.Abs(g-math.Pow(0.999, float64(4-k))) > 1e-15 {
			t.Errorf("on policy token %d has the weight %v", k, g)
		}
	}
	long := make([]float64, 400)
	for k := range long {
		long[k] = -1
	}
	g := pearWeights(t, long, 1, 0)
	if math.Abs(g[0]-4.54e-5) > 1e-7 || g[399] != 1 {
		t.Errorf("T = 400: %g ... %g", g[0], g[399])
	}
	if free := pearWeights(t, long, 1, 0, "sft.log_min=-100"); math.Abs(math.Log(free[0])+32.3) > 0.05 {
		t.Errorf("T = 400, not clipped: log weight %g", math.Log(free[0]))
	}
}

// fluent trains a model that writes answers of some length.
func fluent(t *testing.T) string {
	t.Helper()
	return exec(t, launch(t, "sft", t.TempDir(), "steps=30", "batch=16", "rows=300", "eval.problems=0", "checkpoint.every=0"))
}

// What the model itself has sampled it weighs with exactly 1 at the first step, and both loss and gradient
// are those of plain SFT to the bit. Log-probs that stand one token off are seen.
func TestPEAROnPolicy(t *testing.T) {
	if testing.Short() {
		t.Skip("trains")
	}
	s, streams := lastBatch(t, "pear", "model="+fluent(t), "teacher.steps=0", "demos.temperature=1", "demos.max_tokens=24", "sft.gamma=1", "grpo.steps=0")
	e := s.Engine.(*local.Engine)
	weighted, stats := gradient(t, e, streams, nil)
	if w, ok := stats.Streams[0].Tally.Mean("weight"); !ok || w != 1 {
		t.Errorf("mean weight %v", w)
	}
	plain := []engine.Stream{streams[0]}
	plain[0].Obj = objective.CrossEntropy{}
	want, ce := gradient(t, e, plain, nil)
	if !sameBits(weighted, want) || stats.Loss() != ce.Loss() {
		t.Errorf("the gradient is %g away from plain SFT's, the losses are %v and %v", relative(want, weighted), stats.Loss(), ce.Loss())
	}
	for _, r := range streams[0].Rows {
		old := r.Seq.Channel(engine.ChanOld)
		copy(old, old[1:])
	}
	if shifted, _ := gradient(t, e, streams, nil); relative(want, shifted) < 1e-3 {
		t.Error("log-probs that are one token off change nothing")
	}
}

// With the log-probs of another model the gradient is that of SFT with the token weights G_t, so nothing
// flows through them.
func TestPEARGradient(t *testing.T) {
	if testing.Short() {
		t.Skip("trains")
	}
	start := fluent(t)
	for _, more := range [][]string{{"sft.weights=token"}, {"sft.weights=block"}, {"sft.weights=sequence"}, {"sft.mean_one=true", "sft.center=true"}, {"sft.shuffle=true"}} {
		s, streams := lastBatch(t, "pear", append(more, "model="+start, "demos.max_tokens=24", "grpo.steps=0")...)
		e := s.Engine.(*local.Engine)
		got, _ := gradient(t, e, streams, nil)
		b := &bench{t, s, streams}
		whole, _, _ := b.run(1<<20, 2, nil)
		if one, _, _ := b.run(1<<20, 1, nil); !sameBits(whole, one) {
			t.Errorf("%v: GOMAXPROCS changes the gradient", more)
		}
		if split, _, _ := b.run(40, 2, nil); relative(whole, split) > far {
			t.Errorf("%v: micro-batches change the gradient by %g", more, relative(whole, split))
		}
		batch, err := engine.Normalise(streams)
		if err != nil {
			t.Fatal(err)
		}
		if worst, largest := off(t, e, &batch.Streams[0], 1); worst > 5e-3*largest || largest == 0 {
			t.Errorf("%v: derivatives are %g off, the largest is %g", more, worst, largest)
		}
		views := scored(t, e, &streams[0], streams[0].Rows)
		for i := range views {
			views[i].Row.Scale = 1
		}
		if streams[0].Obj.Scope() == engine.ScopeBatch {
			streams[0].Obj.Eval(views, nil)
		} else {
			for i := range views {
				streams[0].Obj.Eval(views[i:i+1], nil)
			}
		}
		plain := []engine.Stream{streams[0]}
		plain[0].Obj, plain[0].Rows = objective.CrossEntropy{}, slices.Clone(streams[0].Rows)
		varied := 0
		for i := range plain[0].Rows {
			r := &plain[0].Rows[i]
			r.Weight = make([]float32, len(r.Mask))
			for k := range r.Mask {
				r.Weight[k] = float32(-views[i].DLogProb[k])
				if r.Mask[k] && r.Weight[k] != 1 {
					varied++
				}
			}
		}
		want, _ := gradient(t, e, plain, nil)
		if d := relative(want, got); d > far || varied < 5 {
			t.Errorf("%v: the gradient is %g away, %d weights differ from 1", more, d, varied)
		}
		for i := range plain[0].Rows {
			plain[0].Rows[i].Weight = nil
		}
		if unweighted, _ := gradient(t, e, plain, nil); relative(unweighted, got) < 1e-4 {
			t.Errorf("%v: the weights change nothing", more)
		}
	}
}

// pearRows runs the stages before SFT and returns the rows that it learns, and the session at that point.
func pearRows(t *testing.T, settings ...string) (*train.Session, *PEAR) {
	t.Helper()
	s, _ := lastBatch(t, "pear", append([]string{"grpo.steps=0"}, settings...)...)
	return s, s.Plan.Nodes[len(s.Plan.Nodes)-1].Method.(*PEAR)
}

// Every way to demonstrations gives rows whose log-probs are of the model that they say: the teacher's own, a scorer's, or one fitted on a
// mixture that has the share of foreign rows that was asked for.
func TestPEARSources(t *testing.T) {
	if testing.Short() {
		t.Skip("trains")
	}
	dir := t.TempDir()
	sft := launch(t, "sft", dir)
	other := exec(t, sft) // another model
	for _, c := range []struct {
		settings string
		nodes    string
		foreign  int
	}{
		{"", "base teacher demos sft", 0},
		{"teacher.steps=0", "base demos sft", 0},
		{"behaviour.from=teacher", "base teacher demos scored sft", 0},
		{"demos.teacher=" + other, "base demos sft", 0},
		{"demos.teacher=" + other + " behaviour.from=teacher", "base demos scored sft", 0},
		{"demos.foreign=0.5 behaviour.from=fitted demos.steps=6", "base teacher demos behaviour scored sft", 15},
		{"demos.source=data sft.rows=40 behaviour.from=fitted", "base behaviour scored sft", 40},
		{"demos.source=data sft.rows=40 behaviour.from=teacher", "base teacher scored sft", 40},
		{"demos.source=data sft.rows=40 behaviour.from=start", "base sft", 40},
	} {
		s, m := pearRows(t, append(strings.Fields(c.settings), "demos.temperature=1")...)
		var names []string
		for i := range s.Plan.Nodes {
			names = append(names, s.Plan.Nodes[i].Name)
		}
		if got := strings.Join(names, " "); got != c.nodes {
			t.Errorf("%s: stages %s, want %s", c.settings, got, c.nodes)
		}
		foreign := 0
		for _, r := range m.rows {
			if r.Stop == engine.NotStopped {
				foreign++
			}
		}
		if len(m.rows) < 20 || foreign != c.foreign {
			t.Errorf("%s: %d rows, %d of them not sampled; want %d", c.settings, len(m.rows), foreign, c.foreign)
		}
		if c.settings == "demos.source=data sft.rows=40 behaviour.from=start" {
			continue // scored with each batch
		}
		// The engine stands where the last stage before SFT left it: at the writer of the log-probs, but where that is another model.
		e := engine.Engine(s.Engine)
		if strings.Contains(c.settings, "demos.teacher") {
			second := secondModel{ref: other, common: s.Common}
			if err := second.open(context.Background(), s.Env.Format.Tok); err != nil {
				t.Fatal(err)
			}
			e = second.engine
		}
		scores, err := e.Score(context.Background(), m.rows, engine.Want{})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range m.rows {
			for k := range r.Tokens {
				if r.KindAt(k) == engine.KindDemo && r.Channel(engine.ChanOld)[k] != scores[i].LogProb[k] {
					t.Fatalf("%s: row %d token %d has log-prob %v, the model gives %v", c.settings, i, k, r.Channel(engine.ChanOld)[k], scores[i].LogProb[k])
				}
			}
		}
	}
}

// Only right answers become demonstrations where that is asked for, and no more than are wanted; the stage goes on counting after an interruption.
func TestTeacherDemosKeep(t *testing.T) {
	if testing.Short() {
		t.Skip("trains")
	}
	settings := []string{"demos.task=chain_sum?level=2&digits=1", "demos.problems=16", "demos.rows=12", "demos.steps=12", "demos.max_tokens=16", "demos.temperature=0.7",
		"teacher.data=chain_sum?level=2&digits=1", "teacher.steps=40", "teacher.batch=32", "teacher.rows=200", "grpo.steps=0", "sft.steps=2"}
	finish := func(root, keep string, stop int) *train.Session {
		for round := range 70 {
			s := launch(t, "pear", root, append(settings, "demos.keep="+keep)...)
			if stop > 0 && round < 60 {
				s.InterruptAfter(stop)
			}
			err := errors.Join(s.Exec(context.Background()), s.Run.Close())
			if err == nil {
				return s
			}
			if !errors.Is(err, train.ErrInterrupted) {
				t.Fatal(err)
			}
		}
		t.Fatal("the run does not come to its end")
		return nil
	}
	whole := finish(t.TempDir(), "correct", 0)
	if again := finish(t.TempDir(), "correct", 5); read(t, whole.Run.Dir, "rows", "demos.jsonl") != read(t, again.Run.Dir, "rows", "demos.jsonl") {
		t.Error("an interruption changed the rows")
	}
	for _, c := range []struct {
		keep  string
		s     *train.Session
		right bool
	}{{"correct", whole, true}, {"all", finish(t.TempDir(), "all", 0), false}} {
		n := &c.s.Plan.Nodes[2]
		problems := map[string]*task.Problem{}
		for i := range 16 * 12 {
			p, err := n.Source.At(i)
			if err != nil {
				t.Fatal(err)
			}
			problems[p.ID] = p
		}
		rows, right := c.s.Plan.Nodes[3].Method.(*PEAR).rows, 0
		for _, r := range rows {
			text := c.s.Env.Format.Tok.Decode(answerIDs(r, nil), true)
			if n.Grader.Check(problems[r.ID.Problem], text).Verdict == task.Correct {
				right++
			}
		}
		if len(rows) != 12 || (right == 12) != c.right {
			t.Errorf("keep=%s: %d rows of 12, %d right", c.keep, len(rows), right)
		}
	}
}

// The control deals out other weights at every step, of the same numbers; the metrics show weights by quarters.
func TestPEARMetrics(t *testing.T) {
	if testing.Short() {
		t.Skip("trains")
	}
	s := launch(t, "pear", t.TempDir(), "grpo.steps=0", "eval.problems=0")
	exec(t, s)
	rows, err := s.Run.ReadMetrics(run.MetricsFile)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, row := range rows {
		if row.Kind != run.KindTrain || row.Stage != "sft" {
			continue
		}
		for _, name := range []string{"sft_weight", "sft_weight_4", "sft_log_ratio", "sft_log_ratio_clipped"} {
			if _, ok := row.Get(name); !ok {
				t.Errorf("step %d has no %s", row.Step, name)
			}
		}
		seen++
	}
	if seen != 4 {
		t.Errorf("%d steps of 4", seen)
	}
	keys := map[engine.Key]bool{}
	m := PEAR{SFT: defaultSFT(), Weights: "token", Shuffle: true}
	for i := range 3 {
		streams, err := m.Streams(context.Background(), &train.Step{Seed: 1, Index: i}, nil)
		if err != nil {
			t.Fatal(err)
		}
		keys[streams[0].Obj.(objective.ImportanceWeighted).Key] = true
	}
	if len(keys) != 3 {
		t.Errorf("%d keys for three steps", len(keys))
	}
}

// Stopped at every step a run with rows of two styles, or with a frozen model that scores each batch, goes on to the same bytes.
func TestPEARResume(t *testing.T) {
	if testing.Short() {
		t.Skip("trains")
	}
	for _, more := range [][]string{{"demos.foreign=0.5", "behaviour.from=fitted", "sft.shuffle=true"}, {"demos.source=data", "sft.rows=40", "behaviour.from=start", "sft.steps=8"}} {
		more = append(more, "grpo.steps=0")
		sameBytes(t, whole(t, "pear", more...), piecewise(t, "pear", more...))
	}
}

// What cannot work is said before any work, or before the first row.
func TestPEARRefuses(t *testing.T) {
	_, cfg, err := Parse("pear", "", nil, append(quick("pear"), "demos.foreign=0.5", "behaviour.from=fitted", "demos.foreign_form=prose"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Start(context.Background(), cfg, nil, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "prose") {
		t.Errorf("a form that the expert cannot write: %v", err)
	}
	nano := token.Bytes()
	if err := sameTokens(nano, token.Bytes()); err != nil {
		t.Error(err)
	}
	if err := sameTokens(nano, renamed{nano}); err == nil || !strings.Contains(err.Error(), `id 65 is "A" and "B"`) {
		t.Errorf("another vocabulary: %v", err)
	}
	if err := (&secondModel{ref: "nano"}).open(context.Background(), renamed{nano}); err == nil || !strings.Contains(err.Error(), "model nano has another tokenizer") {
		t.Errorf("a teacher of another vocabulary: %v", err)
	}
}

// renamed is a tokenizer whose id 65 has another text.
type renamed struct{ token.Tokenizer }

func (r renamed) Token(id int32) string {
	if id == 65 {
		id++
	}
	return r.Tokenizer.Token(id)
}

// Arms share the stages before SFT through the cache; the content of another teacher's run, not its name, says what its demonstrations are.
func TestPEARCache(t *testing.T) {
	if testing.Short() {
		t.Skip("trains")
	}
	one, two := exec(t, launch(t, "sft", t.TempDir(), "eval.problems=0")), exec(t, launch(t, "sft", t.TempDir(), "eval.problems=0", "lr=3e-3"))
	cache := filepath.Join(t.TempDir(), "cache")
	want := lasting(t, whole(t, "pear"))
	for _, c := range []struct {
		settings []string
		kept     int // stages in the cache after it
	}{
		{nil, 5}, {nil, 5}, // base, teacher, demos, sft, grpo
		{[]string{"sft.weights=block"}, 7},
		{[]string{"demos.teacher=" + one}, 10},
		{[]string{"demos.teacher=" + one}, 10},
		{[]string{"demos.teacher=" + one, "sft.shuffle=true"}, 12},
		{[]string{"demos.teacher=" + one}, 15}, // whose weights have changed
	} {
		if c.kept == 15 {
			state := filepath.Join(run.CheckpointsDir, "sft@000006", "engine.state")
			if err := os.WriteFile(filepath.Join(one, state), []byte(read(t, two, state)), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		s := launch(t, "pear", t.TempDir(), append(c.settings, "cache="+cache)...)
		got := lasting(t, exec(t, s))
		if n, _ := filepath.Glob(filepath.Join(cache, "*", "cached.json")); len(n) != c.kept {
			t.Errorf("%v: %d stages in the cache, want %d", c.settings, len(n), c.kept)
		}
		if c.settings == nil && got[run.MetricsFile] != want[run.MetricsFile] {
			t.Error("the cache changed the metrics")
		}
	}
}

func TestPEARSettings(t *testing.T) {
	for _, bad := range []string{"sft.weights=word", "sft.block=0", "sft.gamma=0", "sft.gamma=1.5", "sft.low=0.1", "sft.low=-1e9", "sft.high=-1", "sft.log_min=1", "sft.log_max=-1", "sft.power=-1",
		"demos.source=web", "demos.rows=0", "demos.foreign=2", "demos.keep=some", "demos.temperature=0", "demos.steps=0", "behaviour.from=nobody",
		"demos.source=data", "demos.foreign=0.5", "behaviour.from=start", "behaviour.from=teacher teacher.steps=0", "behaviour.from=fitted behaviour.steps=0"} {
		if _, _, err := Parse("pear", "", nil, strings.Fields(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	for _, ignored := range []string{"data=chain_sum", "rows=7", "form=verbose", "prompt=q", "completion=a", "train_on=all", "too_long=split"} {
		name, _, _ := strings.Cut(ignored, "=")
		if _, _, err := Parse("pear", "", nil, []string{"sft." + ignored}); err == nil || !strings.Contains(err.Error(), "sft."+name+": ") || !strings.Contains(err.Error(), "set demos.source=data") {
			t.Errorf("sampled rows with sft.%s: %v", ignored, err)
		}
		if _, _, err := Parse("pear", "", nil, []string{"sft." + ignored, "demos.source=data", "behaviour.from=start"}); err != nil {
			t.Errorf("rows of a file with sft.%s: %v", ignored, err)
		}
	}
	checkClaim(t, "pear")
}

// Every arm of the claim resolves to a plan, and makes as many updates as the others within the budget's slack.
func TestPEARArms(t *testing.T) {
	if testing.Short() {
		t.Skip("makes thousands of demonstrations")
	}
	for _, arm := range pearClaim.Arms {
		_, cfg, err := Parse("pear", "", nil, append(slices.Clone(pearClaim.Common), arm.Settings...))
		if err != nil {
			t.Fatal(err)
		}
		s, err := Start(context.Background(), cfg, nil, &bytes.Buffer{})
		if err != nil {
			t.Fatal(err)
		}
		updates := 0
		for i := range s.Plan.Nodes {
			if n := &s.Plan.Nodes[i]; n.Kind == train.Train {
				updates += n.Steps
			}
		}
		if want := 790; updates != want && !strings.HasPrefix(arm.Name, "mixed") || updates > int(float64(want)*(1+pearClaim.Budget.Slack)) {
			t.Errorf("arm %s makes %d updates", arm.Name, updates)
		}
	}
}

func TestPEARRule(t *testing.T) {
	type arm struct{ before, after float64 }
	for _, c := range []struct {
		sft, token, shuffled arm
		want                 Verdict
	}{
		{arm{.5, .60}, arm{.48, .70}, arm{.4, .55}, Reproduced},
		{arm{.5, .60}, arm{.52, .70}, arm{.4, .55}, Undecided}, // better right after SFT, too
		{arm{.5, .60}, arm{.48, .50}, arm{.4, .45}, Contradicted},
		{arm{.5, .60}, arm{.48, .70}, arm{.4, .71}, Contradicted}, // any weights do
		{arm{.5, .60}, arm{.49, .58}, arm{.4, .4}, Contradicted},
		{arm{math.NaN(), .6}, arm{.4, .7}, arm{.4, .5}, Void},
	} {
		table := &Table{Claim: pearClaim}
		arms := map[string]arm{"sft": c.sft, "token": c.token, "shuffled": c.shuffled, "sequence": {.1, .1}, "block": {.2, .2}}
		for seed := range uint64(3) {
			for name, a := range arms {
				noise := 0.004 * float64(seed) * float64(len(name)%3)
				table.Outcomes = append(table.Outcomes, &Outcome{Arm: name, Seed: seed, Before: map[string]float64{"pass_at_8": a.before}, Final: map[string]float64{"pass_at_8": a.after + noise}})
			}
		}
		if d := table.Decide(); d.Verdict != c.want {
			t.Errorf("%+v: %s (%s)", c, d.Verdict, d.Why)
		}
	}
	of := func(x ...float64) map[string]float64 {
		m := map[string]float64{}
		for i, v := range x {
			m[fmt.Sprint(i)] = v
		}
		return m
	}
	arms := []string{"0", "1", "2", "3"}
	for _, c := range []struct {
		x, y map[string]float64
		want float64
	}{{of(1, 2, 3, 4), of(5, 6, 7, 9), 1}, {of(1, 2, 3, 4), of(9, 7, 6, 5), -1}, {of(1, 2, 3, 4), of(2, 1, 4, 3), 0.6}, {of(1, 1, 2, 3), of(1, 1, 2, 3), 1}} {
		if got := rankCorrelation(arms, c.x, c.y); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("rank correlation %g, want %g", got, c.want)
		}
	}
}
