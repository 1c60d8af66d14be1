package rollout

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/token"
)

// planner is an engine that samples given plans, executes each in its own way, and as a judge writes a given plan.
type planner struct {
	engine.Engine
	tok       token.Tokenizer
	plans     []string          // by sample; one that ends in $ ends its answer there
	executes  map[string]string // by plan
	writes    string            // as judge
	asked     []string          // what the judge was shown
	execution int               // executions asked for
	context   int
}

func (p *planner) Info() engine.Info { return engine.Info{Context: p.context} }

func (p *planner) Sample(_ context.Context, prompts []engine.Prompt) ([][]*engine.Sequence, error) {
	var out [][]*engine.Sequence
	for _, q := range prompts {
		before := p.tok.Decode(q.Seq.Tokens, false)
		var group []*engine.Sequence
		for i := range q.N {
			text, stop := "", engine.StopText
			switch {
			case strings.Contains(before, "Plans:"):
				p.asked = append(p.asked, before)
				text = p.writes + PlanClose
			case strings.HasSuffix(before, PlanOpen):
				text = p.plans[i] + PlanClose
				if whole, ok := strings.CutSuffix(p.plans[i], "$"); ok {
					text, stop = whole, engine.StopEOS
				}
			case strings.HasSuffix(before, PlanClose) && q.Params.Greedy:
				p.execution++
				plan := before[strings.LastIndex(before, PlanOpen)+len(PlanOpen) : len(before)-len(PlanClose)]
				text, stop = p.executes[plan], engine.StopEOS
			default:
				text, stop = p.plans[i], engine.StopEOS
			}
			s := &engine.Sequence{Tokens: append([]int32(nil), q.Seq.Tokens...), Kind: append([]engine.Kind(nil), q.Seq.Kind...), Stop: stop}
			for _, id := range p.tok.Encode(text, token.EncodeOptions{Special: true}) {
				s.Tokens, s.Kind = append(s.Tokens, id), append(s.Kind, engine.KindSampled)
			}
			group = append(group, s)
		}
		out = append(out, group)
	}
	return out, nil
}

// afterBar reads the answer behind the last bar; there is nothing to read without one.
type afterBar struct{}

func (afterBar) Name() string { return "bar" }

func (afterBar) Grade(_ context.Context, groups []*Group) error {
	for _, e := range Episodes(groups) {
		i := strings.LastIndexByte(e.Text, '|')
		e.Grade = reward.Grade{Verdict: task.Unparsed}
		if i >= 0 {
			e.Grade = reward.Grade{Verdict: task.Wrong, Answer: e.Text[i+1:]}
		}
	}
	return nil
}

func solveOne(t *testing.T, p *planner, s Solver, n int) []*Episode {
	t.Helper()
	p.tok = token.Bytes()
	env := &Env{Engine: p, Format: &Format{Tok: p.tok}, Grader: afterBar{}, Params: engine.Params{Greedy: true, MaxTokens: 40}}
	groups, err := s.Solve(context.Background(), env, []*task.Problem{{ID: "p", Question: "q"}}, n)
	if err != nil {
		t.Fatal(err)
	}
	if len(groups) != 1 || len(groups[0].Episodes) != n {
		t.Fatalf("%d groups", len(groups))
	}
	return groups[0].Episodes
}

// The majority wins whatever its spaces, answers that cannot be read have no vote, and everything that was sampled is paid for.
func TestVote(t *testing.T) {
	for name, c := range map[string]struct {
		texts []string
		want  string
		cost  int
	}{
		"majority":      {[]string{"a|1", "b|2", "c| 2"}, "b|2", 10},
		"first of two":  {[]string{"a|1", "b|2"}, "a|1", 6},
		"unread":        {[]string{"x", "y", "b|2"}, "b|2", 5},
		"nothing read":  {[]string{"x", "y"}, "x", 2},
		"empty answers": {[]string{"a|", "b|", "c|3"}, "c|3", 7},
	} {
		e := solveOne(t, &planner{plans: c.texts}, Vote{Samples: len(c.texts), Temperature: 1}, 1)[0]
		if e.Text != c.want || e.Cost.Sampled != c.cost {
			t.Errorf("%s: %q at %d tokens, want %q at %d", name, e.Text, e.Cost.Sampled, c.want, c.cost)
		}
	}
	two := solveOne(t, &planner{plans: []string{"a|1", "b|1", "c|2", "d|2"}}, Vote{Samples: 2}, 2)
	if two[0].Text != "a|1" || two[1].Text != "c|2" {
		t.Errorf("two answers: %q, %q", two[0].Text, two[1].Text)
	}
}

// Each way of choosing executes what it should, distinct plans once, and pays for plans, executions and the judge. Tags are a token each.
func TestPlanSearch(t *testing.T) {
	plans := []string{"aaaa", "zz", "aaaa", "aaab", "zz", "yz"}
	const explored = 4 + 2 + 4 + 4 + 2 + 2 + 6 // with the closing tags
	executes := map[string]string{"aaaa": "e|1", "aaab": "long|1", "zz": "e|2", "yz": "e|3"}
	for name, c := range map[string]struct {
		search    PlanSearch
		writes    string
		want      string // text, the plan included
		execution int
		cost      int
	}{
		"all":          {PlanSearch{Choose: ChooseAll}, "", "aaaa</plan>e|1", 4, explored + 3 + 6 + 3 + 3},
		"two clusters": {PlanSearch{Choose: ChooseClusters, Clusters: 2}, "", "aaaa</plan>e|1", 2, explored + 3 + 3},
		"one cluster":  {PlanSearch{Choose: ChooseClusters, Clusters: 1}, "", "aaaa</plan>e|1", 1, explored + 3},
		"judge":        {PlanSearch{Choose: ChooseJudged}, "yzy", "yz</plan>e|3", 1, explored + 3 + 1 + 3},
	} {
		p := &planner{plans: plans, executes: executes, writes: c.writes}
		c.search.Plans, c.search.Temperature = len(plans), 1
		e := solveOne(t, p, c.search, 1)[0]
		if e.Text != c.want || e.Cost.Sampled != c.cost || p.execution != c.execution {
			t.Errorf("%s: %q at %d tokens after %d executions, want %q at %d after %d", name, e.Text, e.Cost.Sampled, p.execution, c.want, c.cost, c.execution)
		}
		if c.writes != "" && (len(p.asked) != 1 || !strings.Contains(p.asked[0], "1. aaaa\n2. zz\n3. aaab\n4. yz\n")) {
			t.Errorf("%s: the judge was shown %q", name, p.asked)
		}
	}
	// Of more plans than fit the context the judge sees the first; without a choice of two it is not asked.
	for context, want := range map[int]string{55: "1. aaaa\n2. zz\nWrite", 40: ""} {
		p := &planner{plans: plans, executes: executes, writes: "zz", context: context}
		e := solveOne(t, p, PlanSearch{Plans: len(plans), Choose: ChooseJudged}, 1)[0]
		if asked := strings.Join(p.asked, ""); !strings.Contains(asked, want) || (want == "") != (asked == "") || (e.Text == "zz</plan>e|2") != (want != "") {
			t.Errorf("a context of %d tokens: the judge was shown %q and the answer is %q", context, asked, e.Text)
		}
	}
	// A random plan is any of the samples, so frequent ones come more often; its cost is that of one execution.
	found := map[string]int{}
	for _, e := range solveOne(t, &planner{plans: plans, executes: executes}, PlanSearch{Plans: 6, Choose: ChooseRandom}, 600) {
		found[e.Text]++
	}
	for text, share := range map[string]float64{"aaaa</plan>e|1": 2. / 6, "zz</plan>e|2": 2. / 6, "aaab</plan>long|1": 1. / 6, "yz</plan>e|3": 1. / 6} {
		if got := float64(found[text]) / 600; math.Abs(got-share) > 0.07 {
			t.Errorf("random: %q in %.3f of the answers, want %.3f", text, got, share)
		}
	}
	// An answer that ended without a plan is not executed, and counts as the answer it is.
	p := &planner{plans: []string{"no plan|5$", "zz", "no plan|5$"}, executes: executes}
	if e := solveOne(t, p, PlanSearch{Plans: 3, Choose: ChooseAll}, 1)[0]; e.Text != "no plan|5" || p.execution != 1 {
		t.Errorf("without a plan: %q after %d executions", e.Text, p.execution)
	}
	// A plan that has used up the answer's tokens is not executed.
	p = &planner{plans: []string{strings.Repeat("a", 39)}, executes: executes}
	if e := solveOne(t, p, PlanSearch{Plans: 1, Choose: ChooseAll}, 1)[0]; p.execution != 0 || e.Cost.Sampled != 40 {
		t.Errorf("a plan of the whole length: %q after %d executions", e.Text, p.execution)
	}
}

// TestKMeans: two clouds apart are two clusters whatever their order, weights move a middle, and equal points need one.
func TestKMeans(t *testing.T) {
	points := [][]float64{{0, 0}, {5, 5}, {0, 1}, {5, 6}, {1, 0}}
	of, middles := kMeans(points, []float64{1, 3, 1, 1, 1}, 2)
	if of[0] != of[2] || of[0] != of[4] || of[1] != of[3] || of[0] == of[1] {
		t.Errorf("clusters %v", of)
	}
	if m := middles[of[1]]; m[0] != 5 || m[1] != 5.25 {
		t.Errorf("the weighted middle is %v", m)
	}
	if _, middles := kMeans([][]float64{{1}, {1}}, []float64{1, 1}, 3); len(middles) != 1 {
		t.Errorf("%d middles of equal points", len(middles))
	}
}
