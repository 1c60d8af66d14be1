package rollout

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/token"
)

// branching answers each beginning with written continuations, in their order; every token has probability 1/2. A text that ends with ";" ends
// the answer.
type branching struct {
	engine.Engine
	says  map[string][]string
	calls int
}

func (e *branching) Info() engine.Info { return engine.Info{Context: 100} }

func (e *branching) Sample(ctx context.Context, prompts []engine.Prompt) ([][]*engine.Sequence, error) {
	e.calls++
	out := make([][]*engine.Sequence, len(prompts))
	for i, p := range prompts {
		_, begun, _ := strings.Cut(token.Bytes().Decode(p.Seq.Tokens, true), "?")
		for k := range p.N {
			text := e.says[begun][k]
			s := &engine.Sequence{Tokens: slices.Clone(p.Seq.Tokens), Kind: slices.Clone(p.Seq.Kind), Stop: engine.StopLength}
			for _, id := range token.Bytes().Encode(text, token.EncodeOptions{}) {
				s.Tokens, s.Kind = append(s.Tokens, id), append(s.Kind, engine.KindSampled)
			}
			if strings.HasSuffix(text, ";") {
				s.Stop = engine.StopEOS
			}
			logp := s.SetChannel(engine.ChanOld, nil)
			for t := len(p.Seq.Tokens); t < len(logp); t++ {
				logp[t] = float32(math.Log(0.5))
			}
			out[i] = append(out[i], s)
		}
	}
	return out, nil
}

// marks is a judge with a score for each text; a text that it does not know has no grade.
type marks map[string]float64

func (marks) Name() string { return "marks" }

func (m marks) Judge(ctx context.Context, cases []reward.Case) ([]reward.Opinion, error) {
	out := make([]reward.Opinion, len(cases))
	for i, c := range cases {
		score, ok := m[c.Answer]
		out[i] = reward.Opinion{Score: score, Verdict: task.Wrong}
		if !ok {
			out[i] = reward.Opinion{Verdict: task.Error}
		}
	}
	return out, nil
}

func atCommas(text string) []string { return strings.SplitAfter(text, ",") }

func branchingEnv(t *testing.T, says map[string][]string) *Env {
	t.Helper()
	f, err := NewFormat(token.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return &Env{Engine: &branching{says: says}, Format: f, Key: engine.NewKey(1, "test")}
}

// written is a tree as lines "answer value/visits/depth".
func written(t *Tree) string {
	var lines []string
	t.Root.Walk(func(n *TreeNode) {
		lines = append(lines, fmt.Sprintf("%s %.4g/%d/%d", n.Answer(token.Bytes()), n.Value, n.Visits, n.Depth))
	})
	return strings.Join(lines, "\n")
}

// A hand-worked value, and a parent that nobody has visited.
func TestSelectionScore(t *testing.T) {
	if got := SelectionScore(1, 1, 0.5, 4, 1); math.Abs(got-0.916277) > 1e-6 {
		t.Errorf("%.6f, want 0.916277", got)
	}
	if got := SelectionScore(0.3, 0, 0.5, 0, 1); got != 0.3 {
		t.Errorf("a parent without visits: %g", got)
	}
}

var little = map[string][]string{
	"":     {"a,b;", "x,y;"},
	"a,":   {"c;", "d,e,f;"},
	"x,":   {"p;", "q;"},
	"a,d,": {"e,f;", "g;"},
}

// A tree of three rounds, worked out by hand. In the second, A with V = 1, N = 1 is taken and has one child of a chain, so it is expanded next
// to that; in the third A has 0.5/3 + 0.5 sqrt(ln 2 / 3) = 0.407 and X sqrt(ln 2)/2 = 0.416. Dividing V by N would take A again.
func TestTreeSearch(t *testing.T) {
	s := &TreeSearch{TreeSettings: TreeSettings{Actions: 2, Rounds: 3, Glue: 1, Depth: 2, Ahead: 1, Explore: 1}, Cut: atCommas,
		Judge: marks{"a,": 1, "a,b;": -0.5, "x,y;": 0.25}}
	env := branchingEnv(t, little)
	trees, err := s.Grow(context.Background(), env, []*task.Problem{{ID: "one", Question: "?"}})
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{" 0.75/3/0", "a, 0.5/2/1", "a,b; -0.5/1/2", "a,c; 0/0/2", "a,d, 0/0/2", "a,d,e,f; 0/0/3", "x, 0.25/1/1", "x,y; 0.25/1/2", "x,p; 0/0/2", "x,q; 0/0/2"}, "\n")
	if got := written(trees[0]); got != want {
		t.Errorf("the tree is\n%s\nwant\n%s", got, want)
	}
	looks := ""
	for _, l := range trees[0].Looks {
		looks += fmt.Sprintf("%s %g %d tokens, open: %v. ", l.Text, l.Opinion.Score, l.Sampled, l.Open)
	}
	if looks != "a, 1 8 tokens, open: true. a,b; -0.5 8 tokens, open: false. x,y; 0.25 4 tokens, open: false. " || trees[0].Sampled != 20 {
		t.Errorf("%d tokens: %s", trees[0].Sampled, looks)
	}
	trees[0].Root.Walk(func(n *TreeNode) {
		if n.Parent != nil && math.Abs(n.Prior-0.5) > 1e-6 {
			t.Errorf("%q has prior %g", n.Text, n.Prior)
		}
		if n.Closed != strings.HasSuffix(n.Text, ";") {
			t.Errorf("%q is closed: %v", n.Text, n.Closed)
		}
	})
	f := SiblingFilter{Gap: 0.2, Overlap: 0.95, Accept: -0.3, Alike: func(a, b string) float64 { return 0 }}
	var pairs []string
	for _, p := range f.Pairs(trees[0]) {
		pairs = append(pairs, p.Chosen.Answer(env.Format.Tok)+">"+p.Rejected.Answer(env.Format.Tok))
	}
	if got := strings.Join(pairs, " "); got != "a,>x, a,c;>a,b; x,y;>x,p;" {
		t.Errorf("pairs %s", got)
	}
	demo := trees[0].Demo(f.Pairs(trees[0])[1].Chosen)
	if demo.Count(engine.KindDemo) != 4 || env.Format.Tok.Decode(demo.Tokens, true) != "?a,c;" {
		t.Errorf("%q with %d demonstrated tokens", env.Format.Tok.Decode(demo.Tokens, true), demo.Count(engine.KindDemo))
	}
}

// The value at birth, gluing, a lookahead that has to sample, a text without a grade, and nodes that cannot be expanded.
func TestTreeSearchSettings(t *testing.T) {
	problem := []*task.Problem{{ID: "one", Question: "?"}}
	base := TreeSettings{Actions: 2, Rounds: 1, Glue: 1, Depth: 2, Ahead: 1, Explore: 1}
	grow := func(change func(*TreeSearch), m marks, says map[string][]string) (*Tree, *branching) {
		t.Helper()
		s := &TreeSearch{TreeSettings: base, Cut: atCommas, Judge: m}
		change(s)
		env := branchingEnv(t, says)
		trees, err := s.Grow(context.Background(), env, problem)
		if err != nil {
			t.Fatal(err)
		}
		return trees[0], env.Engine.(*branching)
	}
	tree, _ := grow(func(s *TreeSearch) {
		s.Birth = func(p *task.Problem, action string) float64 { return float64(len(action)) - 2 }
	}, marks{"a,": 1}, map[string][]string{"": {"a,", "x"}})
	if got := written(tree); got != " 1/1/0\na, 1/1/1\nx -1/0/1" {
		t.Errorf("born with a value:\n%s", got)
	}
	tree, _ = grow(func(s *TreeSearch) { s.Glue = 2 }, marks{"1,2,": 1}, map[string][]string{"": {"1,2,3,4,5;", "x"}})
	if got := written(tree); got != " 1/1/0\n1,2, 1/1/1\n1,2,3,4, 0/0/2\n1,2,3,4,5; 0/0/3\nx 0/0/1" {
		t.Errorf("glued:\n%s", got)
	}
	tree, e := grow(func(s *TreeSearch) { s.Ahead = 2 }, marks{"a,z;": 1}, map[string][]string{"": {"a,", "x;"}, "a,": {"z;"}})
	if got := written(tree); got != " 1/1/0\na, 1/1/1\nx; 0/0/1" || e.calls != 2 || tree.Looks[0].Open {
		t.Errorf("looked ahead with %d calls:\n%s", e.calls, got)
	}
	tree, _ = grow(func(s *TreeSearch) {}, marks{}, map[string][]string{"": {"a,", "x;"}})
	if got := written(tree); got != " 0/0/0\na, 0/0/1\nx; 0/0/1" || len(tree.Looks) != 1 || tree.Looks[0].Opinion.Verdict != task.Error {
		t.Errorf("without a grade:\n%s", got)
	}
	tree, e = grow(func(s *TreeSearch) { s.Rounds = 9 }, marks{"a;": 1}, map[string][]string{"": {"a;", "x;"}})
	if got := written(tree); got != " 9/9/0\na; 9/9/1\nx; 0/0/1" || e.calls != 1 || len(tree.Looks) != 9 {
		t.Errorf("grew on with %d calls:\n%s", e.calls, got)
	}
	// A closed node is judged again. With 0.4/3 + 0.5 sqrt(ln 2 / 3) = 0.374 it lies, after two visits, below the other's 0.5 sqrt(ln 2) = 0.416.
	tree, e = grow(func(s *TreeSearch) { s.Rounds = 3 }, marks{"a;": 0.2, "x;": 0.5}, map[string][]string{"": {"a;", "x;"}})
	if got := written(tree); got != " 0.9/3/0\na; 0.4/2/1\nx; 0.5/1/1" || e.calls != 1 || tree.Sampled != 4 || tree.Looks[1].Sampled != 0 {
		t.Errorf("two closed nodes with %d calls:\n%s", e.calls, got)
	}
	tree, e = grow(func(s *TreeSearch) { s.Rounds, s.Depth = 2, 1 }, marks{"a,": 1, "a,b;": -0.5}, map[string][]string{"": {"a,", "x,"}, "a,": {"b;"}})
	if got := written(tree); got != " 0.5/2/0\na, 0.5/2/1\nx, 0/0/1" || e.calls != 2 || tree.Looks[1].Sampled != 2 {
		t.Errorf("at the depth limit with %d calls:\n%s", e.calls, got)
	}
	one, _ := grow(func(s *TreeSearch) { s.Actions, s.Rounds = 1, 5 }, marks{"a,": 1, "a,b,": 1, "a,b,c;": 1}, map[string][]string{"": {"a,b,c;"}})
	one.Root.Walk(func(n *TreeNode) {
		if len(n.Children) > 1 {
			t.Errorf("num_actions=1: %q has %d children", n.Text, len(n.Children))
		}
	})
}

// Whole answers without search: each is judged once and keeps its value at birth.
func TestTreeFlat(t *testing.T) {
	s := &TreeSearch{Cut: atCommas, Judge: marks{"a,b;": 1, "x": -1}, Birth: func(*task.Problem, string) float64 { return 0.5 }}
	trees, err := s.Flat(context.Background(), branchingEnv(t, map[string][]string{"": {"a,b;", "x"}}), []*task.Problem{{Question: "?"}}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if got := written(trees[0]); got != " 0/2/0\na,b; 1.5/1/1\nx -0.5/1/1" {
		t.Errorf("%s", got)
	}
}

// joined is a tokenizer whose ids are texts.
type joined struct {
	token.Tokenizer
	texts []string
}

func (j joined) Decode(ids []int32, _ bool) string {
	text := ""
	for _, id := range ids {
		text += j.texts[id]
	}
	return text
}

// Steps end with tokens: one that reaches over an end belongs to the step before, and one that holds a whole piece makes no empty step.
func TestStepEnds(t *testing.T) {
	tok := joined{texts: []string{"a", ",", "b,c", ",d,e", ""}}
	for _, c := range []struct {
		ids  []int32
		glue int
		want []int
	}{
		{[]int32{0, 1, 0, 1, 0}, 1, []int{2, 4, 5}}, {[]int32{0, 1, 0, 1, 0}, 2, []int{4, 5}}, {[]int32{0, 1, 2, 1, 0}, 1, []int{2, 3, 4, 5}},
		{[]int32{0, 3, 1, 0}, 1, []int{2, 3, 4}}, {[]int32{0, 3, 4}, 1, []int{2, 3}}, {[]int32{4}, 1, []int{1}}, {[]int32{0, 1}, 1, []int{2}}, {[]int32{0}, 3, []int{1}},
	} {
		if got := stepEnds(tok, c.ids, atCommas, c.glue); !slices.Equal(got, c.want) {
			t.Errorf("%v glued by %d: %v, want %v", c.ids, c.glue, got, c.want)
		}
	}
	if got := stepEnds(tok, []int32{0, 1, 0}, nil, 1); !slices.Equal(got, []int{3}) {
		t.Errorf("without cuts: %v", got)
	}
}

// The three filters, one pair at most of a node.
func TestSiblingFilter(t *testing.T) {
	for _, c := range []struct {
		values  []float64
		overlap float64
		want    int
	}{{[]float64{.40, .35}, .5, 0}, {[]float64{.40, .25}, .5, 1}, {[]float64{-.40, -.90}, .5, 0}, {[]float64{.40, .25}, .96, 0}, {[]float64{.25, .3, .40}, .5, 1}, {[]float64{.40}, 0, 0}} {
		root := &TreeNode{}
		for _, v := range c.values {
			root.Children = append(root.Children, &TreeNode{Value: v})
		}
		f := SiblingFilter{Gap: 0.1, Overlap: 0.95, Accept: -0.3, Alike: func(a, b string) float64 { return c.overlap }}
		pairs := f.Pairs(&Tree{Root: root})
		if len(pairs) != c.want {
			t.Errorf("%v, overlap %g: %d pairs, want %d", c.values, c.overlap, len(pairs), c.want)
		}
		if c.want == 1 && (pairs[0].Chosen.Value != .40 || pairs[0].Rejected.Value != .25) {
			t.Errorf("%v: %g against %g", c.values, pairs[0].Chosen.Value, pairs[0].Rejected.Value)
		}
	}
}

// Ten items with calls and ten without, a share of 0.3 keeps the three hardest of each.
func TestHardest(t *testing.T) {
	keys, calls := make([]float64, 20), make([]bool, 20)
	for i := range keys {
		keys[i], calls[i] = float64(i*7%10), i < 10 // 0 7 4 1 8 5 2 9 6 3, twice
		if calls[i] {
			keys[i] += 100
		}
	}
	if got := Hardest(keys, calls, 0.3); !slices.Equal(got, []int{1, 4, 7, 11, 14, 17}) {
		t.Errorf("%v", got)
	}
	if got := Hardest(make([]float64, 4), make([]bool, 4), 0.5); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("of equals the first stay: %v", got)
	}
}

// surprised gives every token a log-prob of minus its id.
type surprised struct{}

func (surprised) Score(_ context.Context, seqs []*engine.Sequence, _ engine.Want) ([]*engine.Scores, error) {
	out := make([]*engine.Scores, len(seqs))
	for i, s := range seqs {
		out[i] = &engine.Scores{}
		for _, id := range s.Tokens {
			out[i].LogProb = append(out[i].LogProb, -float32(id))
		}
	}
	return out, nil
}

func TestPerplexity(t *testing.T) {
	rows := []*engine.Sequence{{Tokens: []int32{9, 1, 2}, Kind: []engine.Kind{engine.KindPrompt, engine.KindDemo, engine.KindDemo}}, {Tokens: []int32{9, 1}}}
	got, err := Perplexity(context.Background(), surprised{}, rows)
	if err != nil || math.Abs(got[0]-math.Exp(1.5)) > 1e-12 || got[1] != 1 {
		t.Errorf("%v %v", got, err)
	}
}
