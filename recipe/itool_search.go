package recipe

import (
	"context"
	"fmt"
	"strings"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/task/toolcall"
	"github.com/hone-lm/hone/train"
)

// IToolSearch says which prompts are searched, how, and which siblings make a pair.
type IToolSearch struct {
	By                    string  `yaml:"by" help:"tree, or samples: whole answers that are sampled independently"`
	Ratio                 float64 `yaml:"ratio" help:"share of the examples with calls, and of those without, that are searched: the ones of highest perplexity"`
	Trees                 int     `yaml:"trees" help:"prompts searched together, a step of the stage"`
	rollout.TreeSettings  `yaml:",inline"`
	rollout.SiblingFilter `yaml:",inline"`
	Temperature           float64 `yaml:"temperature"`
	MaxTokens             int     `yaml:"max_tokens" help:"longest continuation of a node"`
	Answers               int     `yaml:"answers" help:"by=samples: answers to each prompt"`
	AnswerTokens          int     `yaml:"answer_tokens" help:"by=samples: longest answer"`
	Judge                 string  `yaml:"judge" help:"program (compares with the reference calls), or model: the policy itself, which is shown them"`
}

// Validate implements config's range check.
func (m *IToolSearch) Validate() error {
	switch {
	case !(m.Ratio > 0 && m.Ratio <= 1):
		return &config.FieldError{Field: "ratio", Msg: fmt.Sprintf("%g: want a share in (0, 1]", m.Ratio)}
	case m.Trees < 1 || m.Answers < 2:
		return &config.FieldError{Field: "trees", Msg: "want at least one tree a step, and answers of at least 2"}
	case m.MaxTokens < 1 || m.AnswerTokens < 1:
		return &config.FieldError{Field: "max_tokens", Msg: "want max_tokens and answer_tokens of at least 1"}
	case !(m.Temperature > 0):
		return &config.FieldError{Field: "temperature", Msg: fmt.Sprintf("%g: want a positive number", m.Temperature)}
	}
	if err := m.TreeSettings.Validate(); err != nil {
		return err
	}
	if err := oneOf("judge", m.Judge, []string{"program", "model"}); err != nil {
		return err
	}
	return oneOf("by", m.By, []string{"tree", "samples"})
}

// itoolSearch is the build stage of one iteration. Its settings hold the data's, so that the cache knows them where there is no SFT stage.
type itoolSearch struct {
	Data   DataConfig  `yaml:"from"`
	Search IToolSearch `yaml:"search"`

	train.Defaults `yaml:"-"`
	examples       []toolExample
	state          itoolState
}

type itoolState struct{ Selected []int } // examples, ascending

// Need asks for sampling.
func (*itoolSearch) Need() train.Need {
	return train.Need{Caps: []engine.Capability{engine.CapSample, engine.CapTemperature}}
}

// State is the selection, which is made once, before the first tree.
func (m *itoolSearch) State() any { return &m.state }

// Extent implements train.Sized.
func (m *itoolSearch) Extent() train.Extent {
	e := train.Extent{Rows: m.Search.Trees * max(m.Search.Actions, m.Search.Answers)}
	for _, x := range m.examples {
		e.Longest = max(e.Longest, len(x.row.Tokens))
	}
	return e
}

// steps is the number of steps that search every selected example once.
func (m *itoolSearch) steps() int {
	with := 0
	for _, e := range m.examples {
		if e.calls {
			with++
		}
	}
	n := rollout.ShareOf(m.Search.Ratio, with) + rollout.ShareOf(m.Search.Ratio, len(m.examples)-with)
	return (n + m.Search.Trees - 1) / m.Search.Trees
}

// choose keeps the examples that the policy finds hardest.
func (m *itoolSearch) choose(ctx context.Context, s *train.Step) error {
	rows, calls := make([]*engine.Sequence, len(m.examples)), make([]bool, len(m.examples))
	for i, e := range m.examples {
		rows[i], calls[i] = e.row, e.calls
	}
	ppl, err := rollout.Perplexity(ctx, s.Engine, rows)
	if err != nil {
		return err
	}
	m.state.Selected = rollout.Hardest(ppl, calls, m.Search.Ratio)
	for _, i := range m.state.Selected {
		s.Note("perplexity", ppl[i])
	}
	return nil
}

// Collect searches the next examples. A group is a tree.
func (m *itoolSearch) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	if m.state.Selected == nil {
		if err := m.choose(ctx, s); err != nil {
			return nil, err
		}
	}
	var problems []*task.Problem
	for k := s.Index * m.Search.Trees; k < min((s.Index+1)*m.Search.Trees, len(m.state.Selected)); k++ {
		problems = append(problems, m.examples[m.state.Selected[k]].problem)
	}
	env := *s.Env
	env.Key = env.Key.Sub(s.Node.Name) // other draws in every iteration
	trees, err := m.grow(ctx, &env, problems)
	if err != nil {
		return nil, err
	}
	filter := m.Search.SiblingFilter
	filter.Alike = toolcall.Overlap
	groups := make([]*rollout.Group, len(trees))
	for i, t := range trees {
		pairs := filter.Pairs(t)
		s.Note("pairs", float64(len(pairs)))
		groups[i] = treeGroup(t, pairs)
	}
	return groups, nil
}

// Streams is empty: a build learns nothing.
func (*itoolSearch) Streams(context.Context, *train.Step, []*rollout.Group) ([]engine.Stream, error) {
	return nil, nil
}

// grow makes the trees, or their stand-in without a search.
func (m *itoolSearch) grow(ctx context.Context, env *rollout.Env, problems []*task.Problem) ([]*rollout.Tree, error) {
	search := &rollout.TreeSearch{TreeSettings: m.Search.TreeSettings, Cut: toolcall.Pieces, Birth: fastReward, Reference: true}
	search.Judge = &reward.Oracle{Scale: reward.CallScale, Truth: reward.CallTruth}
	if m.Search.Judge == "model" {
		plain := *env.Format
		plain.System, plain.Suffix, plain.Opening = "", "", "" // those are for answers
		search.Judge = plain.ScoreJudge("policy", env.Engine, reward.CallScale)
	}
	if m.Search.By == "samples" {
		return search.Flat(ctx, env, problems, m.Search.Answers)
	}
	return search.Grow(ctx, env, problems)
}

// fastReward is what a step is worth before anybody has judged it: whether it closes the call list as the reference does, and the words that
// the two have in common.
func fastReward(p *task.Problem, action string) float64 {
	r := toolcall.Overlap(p.Answer, action) - 0.5
	if strings.Contains(action, ")]") == strings.Contains(p.Answer, ")]") {
		return r + 0.1
	}
	return r - 0.1
}

// treeGroup holds an episode for each text that was judged, then the sequences of the pairs.
func treeGroup(t *rollout.Tree, pairs []rollout.SiblingPair) *rollout.Group {
	g := &rollout.Group{Key: t.Problem.ID}
	for _, l := range t.Looks {
		g.Episodes = append(g.Episodes, &rollout.Episode{Problem: t.Problem, Text: l.Text, Cost: reward.Cost{Prompt: len(t.Prompt.Tokens), Sampled: l.Sampled},
			Grade: reward.Grade{Score: l.Opinion.Score, Verdict: l.Opinion.Verdict, Detail: l.Opinion.Detail}})
	}
	for i, p := range pairs {
		for k, n := range []*rollout.TreeNode{p.Chosen, p.Rejected} {
			s := t.Demo(n)
			s.ID.Node, s.ID.Sample = i, k
			g.Episodes = append(g.Episodes, &rollout.Episode{Problem: t.Problem, Segs: []*engine.Sequence{s}})
		}
	}
	return g
}

// keepPairs keeps the sequences of the pairs.
func keepPairs(_ *train.Step, groups []*rollout.Group) ([]*engine.Sequence, error) {
	var out []*engine.Sequence
	for _, e := range rollout.Episodes(groups) {
		out = append(out, e.Segs...)
	}
	return out, nil
}
