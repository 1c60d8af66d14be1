package rollout

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/token"
)

// TreeNode is one step of an answer; the steps from the root down to it, joined, are the beginning of an answer.
type TreeNode struct {
	Parent   *TreeNode
	Children []*TreeNode
	Tokens   []int32
	Text     string  // of Tokens alone
	Prior    float64 // exp of the mean log-prob of Tokens when they were sampled
	Value    float64 // a SUM: the value at birth and every reward that came up through the node
	Visits   int
	Depth    int  // 0 = the root
	Closed   bool // nothing can follow: the answer has ended, or the context is full
}

// Tree is what was searched of one problem's answers.
type Tree struct {
	Problem *task.Problem
	Prompt  *engine.Sequence
	Root    *TreeNode
	Looks   []TreeLook // in the order of rounds
	Sampled int        // tokens
}

// TreeLook is a text that was judged, and what it cost to come to it.
type TreeLook struct {
	Text    string
	Open    bool // the text may go on
	Opinion reward.Opinion
	Sampled int // tokens
}

// TreeSearch grows a tree of answers: select a node, sample what may follow it and cut that into steps, look ahead, have the text judged, give
// the reward to every node on the way. All trees of a call go round together, so that their samples and questions are asked for at once; what a
// tree becomes depends on its problem, the settings and the environment's Key alone.
type TreeSearch struct {
	TreeSettings
	Cut       func(text string) []string                   // pieces of a continuation, which joined are the text; nil = one piece
	Birth     func(p *task.Problem, action string) float64 // value of a new node, of its own text; nil = 0
	Judge     reward.Judge
	Reference bool // the judge sees the problem's reference answer
}

// TreeSettings say how large a tree gets and where it grows.
type TreeSettings struct {
	Actions int     `yaml:"num_actions" help:"continuations sampled at a node when it is expanded"`
	Rounds  int     `yaml:"rounds" help:"times that a node is selected, expanded and judged"`
	Glue    int     `yaml:"step_limit" help:"pieces that make a step"`
	Depth   int     `yaml:"depth" help:"steps below the root down to which continuations are cut; the rest is one step more"`
	Ahead   int     `yaml:"ahead" help:"steps that a simulation goes on from the expanded node"`
	Explore float64 `yaml:"exploration" help:"weight of the prior in the selection score"`
}

// Validate implements config's range check.
func (t *TreeSettings) Validate() error {
	for _, c := range []struct {
		field string
		got   int
	}{{"num_actions", t.Actions}, {"rounds", t.Rounds}, {"step_limit", t.Glue}, {"depth", t.Depth}} {
		if c.got < 1 {
			return &config.FieldError{Field: c.field, Msg: fmt.Sprintf("%d: want at least 1", c.got)}
		}
	}
	if t.Ahead < 0 {
		return &config.FieldError{Field: "ahead", Msg: fmt.Sprintf("%d: want 0 (judge the node itself) or more steps", t.Ahead)}
	}
	if !(t.Explore >= 0) || math.IsInf(t.Explore, 0) {
		return &config.FieldError{Field: "exploration", Msg: fmt.Sprintf("%g: want a finite number of at least 0", t.Explore)}
	}
	return nil
}

// SelectionScore is V/(N+1) + c p sqrt(ln(N of the parent) / (N+1)): value is a sum, and the visit that is about to come counts.
func SelectionScore(value float64, visits int, prior float64, parentVisits int, c float64) float64 {
	n := float64(visits + 1)
	return value/n + c*prior*math.Sqrt(math.Log(float64(max(1, parentVisits)))/n)
}

// Grow searches one tree for each problem, with the environment's sampling parameters: MaxTokens bounds one continuation.
func (s *TreeSearch) Grow(ctx context.Context, env *Env, problems []*task.Problem) ([]*Tree, error) {
	trees, err := roots(env, problems)
	if err != nil {
		return nil, err
	}
	for round := range s.Rounds {
		if err := s.round(ctx, env, trees, uint64(round)); err != nil {
			return nil, err
		}
	}
	return trees, nil
}

// Flat makes trees without search: n whole answers to each problem, each one child of the root, judged once. What is compared then are
// independent samples.
func (s *TreeSearch) Flat(ctx context.Context, env *Env, problems []*task.Problem, n int) ([]*Tree, error) {
	trees, err := roots(env, problems)
	if err != nil {
		return nil, err
	}
	var from []twig
	for _, t := range trees {
		from = append(from, twig{t, t.Root})
	}
	drawn, err := continuations(ctx, env, from, n, "flat", 0)
	if err != nil {
		return nil, err
	}
	var leaves []twig
	var looks []TreeLook
	for i, t := range trees {
		for _, c := range drawn[i] {
			leaf := s.add(t, t.Root, c.tokens, c)
			leaves, looks = append(leaves, twig{t, leaf}), append(looks, TreeLook{Text: leaf.Text, Open: !leaf.Closed, Sampled: len(c.tokens)})
		}
	}
	return trees, s.judge(ctx, leaves, looks, 0)
}

func roots(env *Env, problems []*task.Problem) ([]*Tree, error) {
	trees := make([]*Tree, len(problems))
	for i, p := range problems {
		prompt, err := env.Format.Prompt(p)
		if err != nil {
			return nil, err
		}
		trees[i] = &Tree{Problem: p, Prompt: prompt, Root: &TreeNode{Prior: 1}}
	}
	return trees, nil
}

// twig is a node with its tree.
type twig struct {
	tree *Tree
	node *TreeNode
}

// round selects, expands, simulates, judges and backpropagates once in every tree. A node that cannot be expanded is judged again: the visit
// counts, so that later rounds may go elsewhere.
func (s *TreeSearch) round(ctx context.Context, env *Env, trees []*Tree, round uint64) error {
	var picked, open []twig
	var spent []int
	for _, t := range trees {
		p := twig{t, s.selectFrom(t.Root)}
		picked, spent = append(picked, p), append(spent, -t.Sampled)
		if !p.node.Closed && p.node.Depth < s.Depth {
			open = append(open, p)
		}
	}
	drawn, err := continuations(ctx, env, open, s.Actions, "expand", round)
	if err != nil {
		return err
	}
	for i, p := range open {
		for _, c := range drawn[i] {
			s.chain(env.Format.Tok, p.tree, p.node, c)
		}
	}
	ends, looks, err := s.simulate(ctx, env, picked, round)
	if err != nil {
		return err
	}
	for i, p := range picked {
		looks[i].Sampled = spent[i] + p.tree.Sampled
	}
	return s.judge(ctx, ends, looks, round)
}

// selectFrom goes down while a node has all its continuations. A node within a chain has one child, so it is still expanded, next to that.
func (s *TreeSearch) selectFrom(n *TreeNode) *TreeNode {
	for len(n.Children) >= s.Actions && n.Depth < s.Depth {
		best, top := n.Children[0], math.Inf(-1)
		for _, c := range n.Children {
			if score := SelectionScore(c.Value, c.Visits, c.Prior, n.Visits, s.Explore); score > top {
				best, top = c, score
			}
		}
		n = best
	}
	return n
}

// chain cuts a continuation into steps, each the child of the one before; at the depth limit the rest is one step.
func (s *TreeSearch) chain(tok token.Tokenizer, t *Tree, n *TreeNode, c continuation) {
	ends := stepEnds(tok, c.tokens, s.Cut, s.Glue)
	from := 0
	for from < len(c.tokens) {
		to := ends[0]
		if ends = ends[1:]; n.Depth >= s.Depth {
			to = len(c.tokens)
		}
		n = s.add(t, n, c.tokens[from:to], c.part(tok, from, to))
		from = to
	}
}

// add makes a child. c is the part of the continuation that the child holds.
func (s *TreeSearch) add(t *Tree, parent *TreeNode, tokens []int32, c continuation) *TreeNode {
	n := &TreeNode{Parent: parent, Tokens: tokens, Text: c.text, Prior: c.prior(), Depth: parent.Depth + 1, Closed: c.closed}
	if s.Birth != nil {
		n.Value = s.Birth(t.Problem, n.Text)
	}
	parent.Children = append(parent.Children, n)
	return n
}

// stepEnds returns where the steps of a continuation end, in tokens, the last at its end. A token that holds the end of one step and the
// beginning of the next belongs to the first.
func stepEnds(tok token.Tokenizer, ids []int32, cut func(string) []string, glue int) []int {
	var pieces []string
	if cut != nil {
		pieces = cut(tok.Decode(ids, true))
	}
	var ends []int
	end, at := 0, 0 // in bytes, in tokens
	for i, piece := range pieces {
		end += len(piece)
		if (i+1)%glue != 0 || i == len(pieces)-1 {
			continue
		}
		to := at
		for to < len(ids) && len(tok.Decode(ids[:to], true)) < end {
			to++
		}
		if to > at && to < len(ids) {
			ends, at = append(ends, to), to
		}
	}
	return append(ends, len(ids))
}

// simulate goes on from the picked nodes: to the child of the highest value, or, where there is none, by one continuation that does not
// become part of the tree. It returns where that ended in the trees, and the texts up to there.
func (s *TreeSearch) simulate(ctx context.Context, env *Env, picked []twig, round uint64) ([]twig, []TreeLook, error) {
	ends, looks := make([]twig, len(picked)), make([]TreeLook, len(picked))
	var short []twig // leaves that have to go on
	var of []int
	for i, p := range picked {
		n, steps := p.node, 0
		for steps < s.Ahead && len(n.Children) > 0 {
			best := n.Children[0]
			for _, c := range n.Children {
				if c.Value > best.Value {
					best = c
				}
			}
			n = best
			steps++
		}
		ends[i], looks[i] = twig{p.tree, n}, TreeLook{Text: n.Answer(env.Format.Tok), Open: !n.Closed}
		if steps < s.Ahead && !n.Closed {
			short, of = append(short, ends[i]), append(of, i)
		}
	}
	drawn, err := continuations(ctx, env, short, 1, "simulate", round)
	for k := range drawn {
		more := drawn[k][0]
		looks[of[k]] = TreeLook{Text: env.Format.Tok.Decode(append(short[k].node.path(), more.tokens...), true), Open: !more.closed}
	}
	return ends, looks, err
}

// judge gives each text's reward to its node and all above it. A text without a grade changes nothing.
func (s *TreeSearch) judge(ctx context.Context, ends []twig, looks []TreeLook, round uint64) error {
	cases := make([]reward.Case, len(ends))
	for i, e := range ends {
		cases[i] = reward.Case{Problem: e.tree.Problem, Answer: looks[i].Text, Fragment: looks[i].Open, Ask: round}
		if s.Reference {
			cases[i].Reference = e.tree.Problem.Answer
		}
	}
	opinions, err := s.Judge.Judge(ctx, cases)
	if err != nil {
		return fmt.Errorf("judge %s: %w", s.Judge.Name(), err)
	}
	if len(opinions) != len(cases) {
		return fmt.Errorf("judge %s gave %d opinions on %d texts", s.Judge.Name(), len(opinions), len(cases))
	}
	for i, o := range opinions {
		if math.IsNaN(o.Score) || math.IsInf(o.Score, 0) {
			o = reward.Opinion{Verdict: task.Error, Detail: fmt.Sprintf("the judge's score is %g", o.Score)}
		}
		looks[i].Opinion = o
		ends[i].tree.Looks = append(ends[i].tree.Looks, looks[i])
		if !(reward.Grade{Verdict: o.Verdict}).Valid() {
			continue
		}
		for n := ends[i].node; n != nil; n = n.Parent {
			n.Value += o.Score
			n.Visits++
		}
	}
	return nil
}

// continuation is one sampled text behind a node, or a part of it.
type continuation struct {
	tokens []int32
	logp   []float32
	text   string
	closed bool
}

// part is what tokens [from, to) hold of the continuation.
func (c continuation) part(tok token.Tokenizer, from, to int) continuation {
	return continuation{c.tokens[from:to], c.logp[from:to], tok.Decode(c.tokens[from:to], true), c.closed && to == len(c.tokens)}
}

// prior is exp of the mean log-prob, 0 without tokens.
func (c continuation) prior() float64 {
	if len(c.logp) == 0 {
		return 0
	}
	sum := 0.0
	for _, l := range c.logp {
		sum += float64(l)
	}
	return math.Exp(sum / float64(len(c.logp)))
}

// continuations samples n texts behind each node, [node][sample].
func continuations(ctx context.Context, env *Env, from []twig, n int, purpose string, round uint64) ([][]continuation, error) {
	if len(from) == 0 {
		return nil, nil
	}
	prompts := make([]engine.Prompt, len(from))
	for i, f := range from {
		seq := *f.tree.Prompt
		seq.Tokens = append(slices.Clone(seq.Tokens), f.node.path()...)
		seq.Kind = make([]engine.Kind, len(seq.Tokens)) // the path counts as given: nobody reads its log-probs
		prompts[i] = engine.Prompt{Seq: &seq, N: n, Params: env.Format.Stops(env.Params), Key: env.Key.With(f.tree.Problem.Key).Sub(purpose).With(round)}
	}
	drawn, err := env.Engine.Sample(ctx, prompts)
	if err != nil {
		return nil, err
	}
	context, out := env.Engine.Info().Context, make([][]continuation, len(from))
	for i, f := range from {
		start := len(prompts[i].Seq.Tokens)
		for _, seq := range drawn[i] {
			c := continuation{tokens: seq.Tokens[start:], logp: seq.Channel(engine.ChanOld)[start:]}
			c.text = env.Format.Tok.Decode(c.tokens, true)
			c.closed = Ended(seq) || len(seq.Tokens) >= context
			f.tree.Sampled += len(c.tokens)
			out[i] = append(out[i], c)
		}
	}
	return out, nil
}

// path returns the tokens from the root to the node.
func (n *TreeNode) path() []int32 {
	if n.Parent == nil {
		return nil
	}
	return append(n.Parent.path(), n.Tokens...)
}

// Answer is the text from the root to the node.
func (n *TreeNode) Answer(tok token.Tokenizer) string { return tok.Decode(n.path(), true) }

// Walk calls fn for every node, each before its children.
func (n *TreeNode) Walk(fn func(*TreeNode)) {
	fn(n)
	for _, c := range n.Children {
		c.Walk(fn)
	}
}

// Demo is the prompt with the answer up to the node, whose tokens are demonstrated. An answer that has not ended has no end token.
func (t *Tree) Demo(n *TreeNode) *engine.Sequence {
	s := &engine.Sequence{ID: engine.ItemID{Problem: t.Problem.ID}, Tokens: append(slices.Clone(t.Prompt.Tokens), n.path()...), Kind: slices.Clone(t.Prompt.Kind)}
	for len(s.Kind) < len(s.Tokens) {
		s.Kind = append(s.Kind, engine.KindDemo)
	}
	return s
}
