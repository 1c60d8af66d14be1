package recipe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/task/toolcall"
	"github.com/hone-lm/hone/train"
)

func itool(t *testing.T, settings ...string) *ITool {
	t.Helper()
	_, cfg, err := Parse("itool", "", nil, settings)
	if err != nil {
		t.Fatal(err)
	}
	return cfg.(*ITool)
}

// itool, check 1, with the loss that the default settings make: one token an answer, so that its log-prob is the average.
func TestIToolSimPO(t *testing.T) {
	var groups []*rollout.Group
	g := &rollout.Group{}
	for range 2 {
		s := &engine.Sequence{Tokens: []int32{1, 2}, Kind: []engine.Kind{engine.KindPrompt, engine.KindDemo}, Unit: 1}
		g.Episodes = append(g.Episodes, &rollout.Episode{Segs: []*engine.Sequence{s}})
	}
	streams, err := itool(t).Pairs.Streams(context.Background(), &train.Step{}, append(groups, g))
	if err != nil {
		t.Fatal(err)
	}
	batch, err := engine.Normalise(streams)
	if err != nil {
		t.Fatal(err)
	}
	var views []engine.View
	for i, logp := range []float32{-0.5, -0.7} {
		views = append(views, engine.View{Row: &batch.Streams[0].Rows[i], To: 2, LogProb: []float32{0, logp}, DLogProb: make([]float64, 2)})
	}
	loss := batch.Streams[0].Obj.Eval(views, nil)
	if math.Abs(loss-0.693147) > 1e-6 || math.Abs(views[0].DLogProb[1]+1.25) > 1e-6 || math.Abs(views[1].DLogProb[1]-1.25) > 1e-6 {
		t.Errorf("loss %.6f, derivatives %g and %g; want 0.693147, -1.25 and 1.25", loss, views[0].DLogProb[1], views[1].DLogProb[1])
	}
}

// itool, checks 2, 3 and 5, with the default settings.
func TestIToolNumbers(t *testing.T) {
	c := itool(t)
	if got := rollout.SelectionScore(1, 1, 0.5, 4, c.Search.Explore); math.Abs(got-0.916277) > 1e-6 {
		t.Errorf("selection score %.6f", got)
	}
	for _, x := range []struct {
		probs []float64
		want  float64
	}{{[]float64{1, 0, 0, 0}, 0.25}, {[]float64{0, 0, 0, 1}, -0.5}, {[]float64{.25, .25, .25, .25}, -0.11875}} {
		if got := reward.CallScale.Weigh(x.probs).Score; math.Abs(got-x.want) > 1e-12 {
			t.Errorf("probabilities %v are worth %g, want %g", x.probs, got, x.want)
		}
	}
	for _, x := range []struct {
		high, low float64
		want      int
	}{{.40, .35, 0}, {.40, .25, 1}, {-.40, -.90, 0}} {
		f := c.Search.SiblingFilter
		f.Alike = toolcall.Overlap
		root := &rollout.TreeNode{Children: []*rollout.TreeNode{{Value: x.high, Text: "a b"}, {Value: x.low, Text: "a c"}}} // overlap 0.5
		if got := f.Pairs(&rollout.Tree{Root: root}); len(got) != x.want {
			t.Errorf("values %g and %g: %d pairs, want %d", x.high, x.low, len(got), x.want)
		}
	}
	p := &task.Problem{Answer: "[f(a=1, b=2), g()]"}
	for action, want := range map[string]float64{"[f(a=1, ": 0.4, "b=2), g()]": 0.6, "h(": -0.6, ")]": -0.4, "": -0.6} {
		if got := fastReward(p, action); math.Abs(got-want) > 1e-12 {
			t.Errorf("%q is worth %g at birth, want %g", action, got, want)
		}
	}
}

// scorer is an engine whose log-prob of every token of a row is minus the row's second token.
type scorer struct{ engine.Engine }

func (scorer) Score(_ context.Context, seqs []*engine.Sequence, _ engine.Want) ([]*engine.Scores, error) {
	out := make([]*engine.Scores, len(seqs))
	for i, s := range seqs {
		out[i] = &engine.Scores{LogProb: slices.Repeat([]float32{-float32(s.Tokens[1])}, len(s.Tokens))}
	}
	return out, nil
}

// itool, check 4.
func TestIToolSelection(t *testing.T) {
	m := &itoolSearch{Search: itool(t).Search}
	for i := range 20 {
		hard := int32(i * 7 % 10) // 0 7 4 1 8 5 2 9 6 3, twice
		if i < 10 {
			hard += 50
		}
		m.examples = append(m.examples, toolExample{calls: i < 10, row: &engine.Sequence{Tokens: []int32{1, hard}, Kind: []engine.Kind{engine.KindPrompt, engine.KindDemo}}})
	}
	if err := m.choose(context.Background(), &train.Step{Env: &rollout.Env{Engine: scorer{}}}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(m.state.Selected, []int{1, 4, 7, 11, 14, 17}) {
		t.Errorf("selected %v", m.state.Selected)
	}
	m.Search.Trees = 4
	if m.steps() != 2 {
		t.Errorf("%d steps of 4 trees for 6 examples", m.steps())
	}
}

// itool, check 6: with num_actions=1 there are no pairs, no update is made, and the weights stay to the bit; with more there are, and they
// do not.
func TestIToolNoPairs(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	for actions, same := range map[string]bool{"1": true, "3": false} {
		s := launch(t, "itool", t.TempDir(), "search.num_actions="+actions, "eval.problems=0")
		dir := exec(t, s)
		before, after := stateOf(t, filepath.Join(dir, run.CheckpointsDir, "sft@000006")), stateOf(t, filepath.Join(dir, run.CheckpointsDir, "pairs2@000003"))
		if sameBits(before, after) != same {
			t.Errorf("num_actions=%s: the weights are the same: %v", actions, !same)
		}
		rows, err := s.Run.ReadMetrics(run.MetricsFile)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if _, sampled := row.Get(run.Sampled); strings.HasPrefix(row.Stage, "search") != sampled {
				t.Errorf("step %d of %s sampled: %v", row.Step, row.Stage, sampled)
			}
			if _, known := row.Get(run.Entropy); known { // nobody holds the log-probs of a whole tree
				t.Errorf("step %d of %s has an entropy", row.Step, row.Stage)
			}
			if _, moved := row.Get(run.GradNorm); strings.HasPrefix(row.Stage, "pairs") && row.Kind == run.KindTrain && moved == same {
				t.Errorf("num_actions=%s: step %d of %s made an update: %v", actions, row.Step, row.Stage, moved)
			}
		}
	}
}

// shape writes trees with every number to the bit.
func shape(trees []*rollout.Tree) string {
	var b strings.Builder
	for _, t := range trees {
		t.Root.Walk(func(n *rollout.TreeNode) {
			fmt.Fprintf(&b, "%v %x %d %x %d %v\n", n.Tokens, n.Value, n.Visits, n.Prior, n.Depth, n.Closed)
		})
	}
	return b.String()
}

// A tree of the model depends on its problem, the settings and the key: not on the number of processors, nor on the trees beside it.
func TestIToolTreesAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("samples for seconds")
	}
	s := launch(t, "itool", t.TempDir(), "sft.steps=0", "search.rounds=4", "search.max_tokens=12")
	defer s.Run.Close()
	n := &s.Plan.Nodes[1]
	m := n.Method.(*itoolSearch)
	var problems []*task.Problem
	for _, e := range m.examples[:4] {
		problems = append(problems, e.problem)
	}
	grow := func(procs int, word string, some []*task.Problem) []*rollout.Tree {
		t.Helper()
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		env := s.Env
		env.Engine, env.Params, env.Key = s.Engine, n.Params, engine.NewKey(1, word)
		trees, err := m.grow(context.Background(), &env, some)
		if err != nil {
			t.Fatal(err)
		}
		return trees
	}
	two := grow(2, "trees", problems)
	want := shape(two)
	if got := shape(grow(1, "trees", problems)); got != want {
		t.Error("one processor grows other trees")
	}
	if got := shape(grow(2, "trees", problems[2:3])); got != shape(two[2:3]) || len(got) < 100 {
		t.Error("a tree depends on those beside it")
	}
	if shape(grow(2, "others", problems)) == want {
		t.Error("another key grows the same trees: this shows nothing")
	}
	parted := 0 // expanded nodes within a chain have more children than a node's share
	two[0].Root.Walk(func(n *rollout.TreeNode) { parted = max(parted, len(n.Children)) })
	if parted < m.Search.Actions {
		t.Errorf("no node has %d children", m.Search.Actions)
	}
}

// The losses and the arms all run and learn; the program's judge can be exchanged for the model.
func TestIToolSettings(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	for _, c := range [][]string{{"pairs.loss=dpo"}, {"pairs.loss=ipo"}, {"pairs.loss=orpo"}, {"pairs.suffix_only=true"}, {"search.judge=model", "model=new?context=2048"}} {
		whole(t, "itool", append([]string{"iterations=1", "eval.problems=0", "sft.steps=3", "search.ratio=0.05"}, c...)...)
	}
	dir := exec(t, launch(t, "itool", t.TempDir(), "search.by=samples", "search.answers=3", "search.answer_tokens=8", "iterations=1", "eval.problems=0", "sft.steps=3"))
	rows := read(t, dir, run.MetricsFile)
	if !strings.Contains(rows, `"correct"`) || !strings.Contains(rows, "search1") { // this model's answers are all poor alike, so there may be no pairs
		t.Errorf("the samples have no grades:\n%s", rows)
	}
}

// suffix_only takes what both begin with out of the loss, in the answer and nowhere else; without it the shared tokens count.
func TestIToolSuffix(t *testing.T) {
	pair := func(texts ...[]int32) (p answerPair) {
		for i, ids := range texts {
			p[i] = &engine.Sequence{Tokens: append([]int32{1, 2}, ids...), Kind: append([]engine.Kind{engine.KindPrompt, engine.KindPrompt}, slices.Repeat([]engine.Kind{engine.KindDemo}, len(ids))...)}
		}
		return p
	}
	for _, c := range []struct {
		chosen, rejected []int32
		want             [2]int
	}{{[]int32{5, 6, 7, 8}, []int32{5, 6, 9}, [2]int{2, 1}}, {[]int32{5}, []int32{6, 7}, [2]int{1, 2}}, {[]int32{5, 6}, []int32{5, 6, 7}, [2]int{1, 2}}} {
		p := pair(c.chosen, c.rejected)
		hideShared(p)
		if got := [2]int{p[0].Count(engine.KindDemo), p[1].Count(engine.KindDemo)}; got != c.want || p[0].KindAt(0) != engine.KindPrompt {
			t.Errorf("%v against %v: %v tokens are trained, want %v", c.chosen, c.rejected, got, c.want)
		}
	}
	free := objective.ReferenceFree{Loss: objective.SimPO, Beta: 2.5, Gamma: 0.5}
	loss := func(hide bool) float64 {
		p := pair([]int32{5, 6}, []int32{5, 7, 8})
		if hide {
			hideShared(p)
		}
		streams := []engine.Stream{{Name: "pairs", Obj: free, Coef: 1, Norm: engine.UnitMean, Rows: rollout.DemoRows(pairGroups([]answerPair{p}, 1, 0, 1))}}
		batch, err := engine.Normalise(streams)
		if err != nil {
			t.Fatal(err)
		}
		var views []engine.View
		for i := range batch.Streams[0].Rows {
			r := &batch.Streams[0].Rows[i]
			views = append(views, engine.View{Row: r, To: len(r.Mask), LogProb: []float32{0, 0, -3, -1, -1}[:len(r.Mask)], DLogProb: make([]float64, 5)})
		}
		return free.Eval(views, nil)
	}
	if whole, suffix := loss(false), loss(true); math.Abs(suffix-0.974077) > 1e-6 || math.Abs(whole-1.567296) > 1e-6 { // averages -2 and -5/3, or -1 and -1
		t.Errorf("losses %g and %g", whole, suffix)
	}
}

// A stage goes over its pairs so many times; what steps are left after that do nothing.
func TestIToolEpochs(t *testing.T) {
	pair := answerPair{{Tokens: []int32{1, 2}}, {Tokens: []int32{1, 3}}}
	m := BuiltPairs{Batch: 2, pairs: []answerPair{pair, pair, pair}}
	for epochs, want := range map[int][]int{0: {2, 2, 2, 2}, 1: {2, 2, 0, 0}, 2: {2, 2, 2, 0}} {
		m.Epochs = epochs
		for step, n := range want {
			groups, err := m.Collect(context.Background(), &train.Step{Index: step})
			if err != nil || len(groups) != n {
				t.Errorf("%d epochs, step %d: %d pairs, want %d (%v)", epochs, step, len(groups), n, err)
			}
		}
	}
}

func TestIToolCurriculum(t *testing.T) {
	for _, c := range []struct{ step, steps, parts, part, first int }{{0, 300, 3, 0, 0}, {99, 300, 3, 0, 0}, {100, 300, 3, 1, 100}, {299, 300, 3, 2, 200}, {3, 10, 3, 0, 0}, {4, 10, 3, 1, 4}, {7, 10, 3, 2, 7}, {1, 2, 3, 1, 1}} {
		if part, first := partOf(c.step, c.steps, c.parts); part != c.part || first != c.first {
			t.Errorf("step %d of %d: part %d from %d, want %d from %d", c.step, c.steps, part, first, c.part, c.first)
		}
	}
	s := launch(t, "itool", t.TempDir(), "sft.rows=60", "sft.batch=10", "sft.data=tool_calls?tools=3-6&refuse=0.3")
	defer s.Run.Close()
	n := &s.Plan.Nodes[1]
	m := n.Method.(*CurriculumSFT)
	if err := m.Prepare(context.Background(), &train.Step{}); err != nil {
		t.Fatal(err)
	}
	hardness := map[string]toolcall.Difficulty{}
	for _, e := range s.Plan.Nodes[2].Method.(*itoolSearch).examples {
		hardness[e.problem.ID] = e.difficulty
	}
	var seen []string
	last := toolcall.Difficulty{}
	for part := range 3 {
		top := last
		for step := 2 * part; step < 2*part+2; step++ {
			groups, err := m.Collect(context.Background(), &train.Step{Node: n, Seed: 1, Index: step})
			if err != nil {
				t.Fatal(err)
			}
			for _, g := range groups {
				d, ok := hardness[g.Key]
				if !ok || d.Less(last) {
					t.Errorf("step %d: %s with difficulty %v after a part that ended at %v", step, g.Key, d, last)
				}
				if top.Less(d) {
					top = d
				}
				seen = append(seen, g.Key)
			}
		}
		last = top
	}
	slices.Sort(seen)
	if n := len(slices.Compact(seen)); n != 60 {
		t.Errorf("%d of 60 rows were seen", n)
	}
}

// Several tasks may give examples; a file that is shorter than rows gives what it has, and rows behind the context are an error or left out.
func TestIToolData(t *testing.T) {
	b := &Build{Common: itool(t).Shared(), Context: 512}
	l, err := LoadModel(b.Common)
	if err != nil {
		t.Fatal(err)
	}
	b.Format = l.Format
	d := defaultSFT().Data
	d.Path, d.Rows = "tool_calls?tools=3, tool_calls?tools=4&refuse=1", 5
	got, err := b.toolExamples(d)
	if err != nil || len(got) != 10 || slices.ContainsFunc(got[5:], func(e toolExample) bool { return e.calls || e.difficulty.Calls != 0 }) {
		t.Errorf("%d examples, %v", len(got), err)
	}
	b.Context = 100
	d.Path = "tool_calls?tools=3-12"
	if _, err := b.toolExamples(d); err == nil || !strings.Contains(err.Error(), "too_long=drop") || strings.Contains(err.Error(), "truncate") {
		t.Errorf("too long: %v", err)
	}
	d.TooLong, d.Rows, b.Context = "drop", 50, 400
	if got, err := b.toolExamples(d); err != nil || len(got)+b.Long != 50 || b.Long == 0 {
		t.Errorf("kept %d of 50 rows and left out %d: %v", len(got), b.Long, err)
	}
	for path, want := range map[string]string{"countdown": "offers no functions", "nothing": "nothing"} {
		d.Path = path
		if _, err := b.toolExamples(d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	dir := filepath.Join("..", "..", "shared", "data", "bfcl")
	d.Path, d.Rows, b.Context = "bfcl?category=irrelevance&path="+dir, 0, 1<<20
	if got, err := b.toolExamples(d); err == nil {
		if len(got) < 100 || len(got) > 240 || got[0].calls {
			t.Errorf("bfcl: %d examples", len(got))
		}
	} else if !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
}

func TestIToolClaim(t *testing.T) {
	checkClaim(t, "itool")
	for _, c := range []struct {
		itool, long, samples []float64
		cost, values         float64 // of sft_long; values of itool above it
		want                 Verdict
	}{
		{[]float64{.50, .51, .52}, []float64{.40, .41, .43}, []float64{.4, .4, .4}, 1.04, .1, Reproduced},
		{[]float64{.50, .51, .52}, []float64{.40, .41, .43}, []float64{.4, .4, .4}, 1, -.1, Undecided},
		{[]float64{.50, .51, .52}, []float64{.40, .41, .43}, []float64{.4, .4, .4}, 1.1, .1, Void},
		{[]float64{.50, .51, .52}, []float64{.40, .41, .43}, []float64{.6, .6, .6}, 1, .1, Contradicted},
		{[]float64{.41, .42, .44}, []float64{.40, .41, .43}, []float64{.4, .4, .4}, 1, .1, Undecided},
		{[]float64{.40, .41, .43}, []float64{.50, .51, .52}, []float64{.4, .4, .4}, 1, .1, Contradicted},
		{[]float64{.40}, []float64{.50}, []float64{.4}, 1, .1, Void},
	} {
		table := &Table{Claim: &itoolClaim}
		for arm, values := range map[string][]float64{"itool": c.itool, "sft_long": c.long, "samples": c.samples} {
			for i, v := range values {
				o := &Outcome{Arm: arm, Seed: uint64(i), Final: map[string]float64{itoolClaim.Metric: v, itoolHard + "/values": 0.5}, FLOPs: 1e12}
				if arm == "itool" {
					o.Final[itoolHard+"/values"] += c.values
				}
				if arm == "sft_long" {
					o.FLOPs *= c.cost
				}
				table.Outcomes = append(table.Outcomes, o)
			}
		}
		if d := decideITool(table); d.Verdict != c.want {
			t.Errorf("%+v: %s (%s)", c, d.Verdict, d.Why)
		}
	}
}

func TestIToolRefuses(t *testing.T) {
	for setting, want := range map[string]string{
		"iterations=-1": "iterations", "search.ratio=0": "ratio", "search.ratio=1.5": "ratio", "search.num_actions=0": "num_actions", "search.by=beam": "by", "search.judge=me": "judge",
		"search.ahead=-1": "ahead", "search.exploration=-1": "exploration", "search.temperature=0": "temperature", "search.answers=1": "answers", "pairs.loss=ppo": "loss", "pairs.beta=-1": "beta",
		"pairs.batch=0": "batch", "sft.order=hard_first": "order", "sft.parts=0": "parts", "search.trees=0": "trees", "pairs.epochs=-1": "epochs", "pairs.gamma=NaN": "gamma",
		"sft.train_on=all": "train_on=answers", "sft.prompt=q": "no columns", "sft.completion=a": "no columns", "sft.too_long=truncate": "error, drop",
	} {
		if _, _, err := Parse("itool", "", nil, []string{setting}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", setting, err)
		}
	}
	cfg := itool(t, "search.ratio=0.001", "sft.rows=20", "eval.problems=0", "sft.steps=0")
	if _, err := Start(context.Background(), cfg, nil, &strings.Builder{}); err == nil || !strings.Contains(err.Error(), "selects none") {
		t.Errorf("nothing selected: %v", err)
	}
}

// Stopped at every step, searches over an adapter, and a reference model that every iteration makes anew, come back to the bytes of a run that went on.
func TestIToolResume(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	more := []string{"pairs.loss=dpo", "lora.rank=2", "eval.problems=0", "checkpoint.every=1"}
	sameBytes(t, whole(t, "itool", more...), piecewise(t, "itool", more...))
}

// Runs share the stages that they have in common, up to where their settings part.
func TestIToolCache(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for seconds")
	}
	cache := filepath.Join(t.TempDir(), "cache")
	for _, c := range []struct {
		settings []string
		kept     int // stages in the cache after it
	}{
		{nil, 6}, {nil, 6}, // base, sft, search1, pairs1, search2, pairs2
		{[]string{"pairs.loss=ipo"}, 9},                                              // from pairs1 on
		{[]string{"search.rounds=1", "iterations=1"}, 11},                            // from search1 on
		{[]string{"sft.steps=0", "iterations=1"}, 13},                                // base is the same
		{[]string{"sft.steps=0", "iterations=1", "sft.data=tool_calls?tools=3"}, 16}, // other examples are another search, and another evaluation
	} {
		exec(t, launch(t, "itool", t.TempDir(), append(c.settings, "cache="+cache)...))
		dirs, err := filepath.Glob(filepath.Join(cache, "*", "cached.json"))
		if err != nil || len(dirs) != c.kept {
			t.Errorf("%v: %d stages in the cache, want %d (%v)", c.settings, len(dirs), c.kept, err)
		}
	}
}

// Without a run folder nothing is built: a dry run can tell that from a build that kept nothing.
func TestIToolDryRun(t *testing.T) {
	_, cfg, err := Parse("itool", "", nil, append(quick("itool"), "eval.problems=0"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Start(context.Background(), cfg, nil, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Plan.Nodes {
		n := &s.Plan.Nodes[i]
		if n.Kind != train.Train {
			continue
		}
		_, err := s.FirstBatch(context.Background(), n)
		if built := strings.HasPrefix(n.Name, "pairs"); errors.Is(err, train.ErrNotBuilt) != built || err != nil && !built {
			t.Errorf("node %s: %v", n.Name, err)
		}
	}
}
