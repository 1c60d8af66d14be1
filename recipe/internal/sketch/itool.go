package sketch

import (
	"context"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/train"
)

// ITool: tree search over pieces of tool calls on hard rows; pairs of siblings on a shared prefix; SimPO.
type ITool struct {
	train.Defaults
	Trees, Actions, Iterations int
	C                          float64 // exploration
	SimPO                      engine.Objective
	judge                      func(ctx context.Context, gold, text string) (float64, error)
	hard                       func(n int) []*engine.Sequence // rows of highest perplexity

	pairs int64
}

type node struct {
	parent   *node
	children []*node
	ids      []int32 // of this step of text
	prior    float64
	value    float64
	visits   int
}

func (m *ITool) Need() train.Need { return train.Need{Caps: []engine.Capability{engine.CapSample}} }

func (m *ITool) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	roots := m.hard(m.Trees)
	nodes := make([]*node, len(roots))
	for i := range nodes {
		nodes[i] = &node{}
	}
	for it := range m.Iterations {
		prompts := make([]engine.Prompt, len(roots)) // one expansion of every tree: the trees' calls join one batch
		for i, root := range roots {
			prompts[i] = engine.Prompt{Seq: root, N: m.Actions, Params: s.Params, Key: s.Key.With(uint64(i), uint64(it))}
		}
		if _, err := s.Engine.Sample(ctx, prompts); err != nil {
			return nil, err
		}
	}
	return nil, nil // groups of two episodes with the same Unit
}

func (m *ITool) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	return []engine.Stream{{Name: "pairs", Obj: m.SimPO, Coef: 1, Norm: engine.UnitMean, Rows: rollout.KindRows(groups, engine.KindSampled)}}, nil
}

// Awkward: Sample computes the prefix again for each call, because the prompt's cache does not live between calls yet: a search pays for its depth.
// A tree should be a Solver in rollout (shared with parallel-r1 and transfer-q-star), with nodes as forced ids, not a thing of the recipe.
