package recipe

import (
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/train"
)

// ITool: iTool: Boosting Tool Use of Large Language Models via Iterative Reinforced Fine-Tuning (Zeng et al. 2025, arXiv 2501.09766).
//
// SFT on tool calls ordered from easy to hard, then Iterations times: take the examples whose reference answer y the policy finds hardest,
//
//	PPL(x, y) = exp(-mean_t log pi(y_t | x, y_<t)),   the Ratio of highest PPL among answers with calls, and among those without
//
// grow a tree of answers to each (rollout.TreeSearch; a step ends at ". ", ", ", "=" or "("), which selects by
//
//	V/(N+1) + c p sqrt(ln N_parent / (N+1)),   V a sum: the step's fast reward at birth, and the judge's rewards of texts that go through it
//
// and pair the children of highest and lowest V of each node (rollout.SiblingFilter), each behind the text that they share. Then
//
//	loss = mean over pairs of -log S(2.5 (mean_t logp_c - mean_t logp_r) - 0.5)      SimPO, from the answer's first token on
//
// and the new policy is that of the next iteration. Left out: the released code's repetition penalty of 0.75, an end token behind fragments.
type ITool struct {
	train.Common `yaml:",inline"`
	SFT          CurriculumSFT   `yaml:"sft"`
	Iterations   int             `yaml:"iterations" help:"times that hard examples are selected, searched and learned from"`
	Search       IToolSearch     `yaml:"search"`
	Pairs        BuiltPairsStage `yaml:"pairs"`
}

// Shared implements Config.
func (c *ITool) Shared() *train.Common { return &c.Common }

// EvalTask implements Config.
func (c *ITool) EvalTask() string { return c.SFT.Data.Path }

// Validate implements config's range check.
func (c *ITool) Validate() error {
	if c.Iterations < 0 {
		return &config.FieldError{Field: "iterations", Msg: fmt.Sprintf("%d: want 0 (SFT alone) or more", c.Iterations)}
	}
	d := c.SFT.Data
	const instead = "the task's reference calls are the answers"
	if err := refuse(unread{"sft.prompt", d.Prompt, "", instead + ", so there are no columns"}, unread{"sft.completion", d.Completion, "", instead + ", so there are no columns"},
		unread{"sft.train_on", d.TrainOn, "answers", instead + ", and they alone are learned: leave train_on=answers"}); err != nil {
		return err
	}
	if err := oneOf("sft.too_long", d.TooLong, []string{"error", "drop"}); err != nil {
		return err
	}
	return c.Common.Validate()
}

// Plan implements Config. An SFT stage of 0 steps is left out.
func (c *ITool) Plan(b *Build) (train.Plan, error) {
	plan := train.Plan{Nodes: []train.Node{{Name: "base", Kind: train.Eval}}}
	examples, err := b.toolExamples(c.SFT.Data)
	if err != nil {
		return plan, err
	}
	if c.SFT.Steps > 0 {
		sft, err := c.sft(b, examples)
		if err != nil {
			return plan, err
		}
		plan.Nodes = append(plan.Nodes, sft)
	}
	params := engine.Params{Temperature: float32(c.Search.Temperature), MaxTokens: c.Search.MaxTokens}
	if c.Search.By == "samples" {
		params.MaxTokens = c.Search.AnswerTokens
	}
	for k := range c.Iterations {
		m := &itoolSearch{Data: c.SFT.Data, Search: c.Search, examples: examples}
		search := train.Node{Name: fmt.Sprintf("search%d", k+1), Kind: train.Build, Method: m, Steps: m.steps(), Params: params, Keep: keepPairs}
		if search.Steps == 0 {
			return plan, fmt.Errorf("search.ratio=%g of %d examples selects none: raise it or use more rows", c.Search.Ratio, len(examples))
		}
		plan.Nodes = append(plan.Nodes, search, c.Pairs.nodeOf(fmt.Sprintf("pairs%d", k+1), search.Name))
	}
	return plan, nil
}

func (c *ITool) sft(b *Build, examples []toolExample) (train.Node, error) {
	if c.SFT.Order == "easy_first" {
		examples = easyFirst(examples)
	}
	rows := make([]*engine.Sequence, len(examples))
	for i, e := range examples {
		rows[i] = e.row
	}
	return c.SFT.node(b, "sft", rows)
}

// itoolTask fits the nano model's context, as more tools do not.
const itoolTask = itoolEasy

func init() {
	Register(Paper{Name: "itool", Title: "iTool: Boosting Tool Use of Large Language Models via Iterative Reinforced Fine-Tuning", ArXiv: "2501.09766",
		Org: "Harbin Institute of Technology and Huawei", Date: "2025-01-14", About: "SFT from easy to hard, then preferences between siblings of a search tree, in iterations", Claim: &itoolClaim,
		Quick: []string{"sft.steps=6", "sft.rows=40", "sft.batch=4", "iterations=2", "search.ratio=0.1", "search.trees=2", "search.rounds=2", "search.max_tokens=8",
			"search.accept_value=-9", "search.value_threshold=0", "pairs.steps=3", "pairs.batch=4", "pairs.epochs=0"},
		Reduces: []Reduction{{With: []string{"iterations=0", "sft.order=shuffled"}, To: "sft", ToWith: []string{"data=" + itoolTask}}},
		Config: func() Config {
			c := &ITool{Common: train.DefaultCommon(), Iterations: 3,
				SFT:    CurriculumSFT{SFTStage: SFTStage{Steps: 300, Optim: train.DefaultOptim(1e-3), SFT: defaultSFT()}, Order: "easy_first", Parts: 3},
				Search: IToolSearch{By: "tree", Ratio: 0.3, Trees: 32, Temperature: 1.2, MaxTokens: 32, Answers: 8, AnswerTokens: 160, Judge: "program"},
				Pairs:  BuiltPairsStage{Steps: 40, Optim: train.DefaultOptim(5e-5), BuiltPairs: BuiltPairs{Batch: 16, Loss: "simpo", Gamma: 0.5, Epochs: 2, Most: 4000}}}
			c.SFT.Data.Path, c.SFT.Data.Rows, c.SFT.Batch, c.Eval.MaxTokens = itoolTask, 2000, 32, 160
			c.Search.Actions, c.Search.Rounds, c.Search.Glue, c.Search.Depth, c.Search.Ahead, c.Search.Explore = 3, 5, 1, 3, 2, 1
			c.Pairs.Optim.Warmup = 3 // an iteration has few updates
			c.Search.Gap, c.Search.Overlap, c.Search.Accept = 0.1, 0.95, -0.3
			return c
		}})
}
