package sketch

import (
	"context"
	"math"
	"slices"

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

}

type node struct {
	parent   *node
	children []*node
	ids      []int32 // of this step of text
	prior    float64
	value    float64
	visits   int
}

// best is the child to go down to: value/(n+1) + c*prior*sqrt(log(parent's visits)/(n+1)).
func (n *node) best(c float64) *node {
	var best *node
	top := math.Inf(-1)
	for _, k := range n.children {
		visits := float64(k.visits + 1)
		if u := k.value/visits + c*k.prior*math.Sqrt(math.Log(float64(n.visits))/visits); u > top {
			best, top = k, u
		}
	}
	return best
}

// grow hangs a sampled continuation under the node; learn carries a reward to the root.
func (n *node) grow(seq *engine.Sequence, from int) *node {
	sum := 0.0
	for _, l := range seq.Channel(engine.ChanOld)[from:] {
		sum += float64(l)
	}
	k := &node{parent: n, ids: seq.Tokens[from:], prior: math.Exp(sum / float64(len(seq.Tokens)-from))}
	n.children = append(n.children, k)
	return k
}

func (n *node) learn(reward float64) {
	for ; n != nil; n = n.parent {
		n.visits++
		n.value += reward
	}
}

// path returns the ids from the root down to the node: forced when the tree is expanded there.
func (n *node) path() []int32 {
	if n == nil {
		return nil
	}
	return append(n.parent.path(), n.ids...)
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
		at := make([]*node, len(roots))
		for i, root := range roots {
			at[i] = nodes[i]
			for next := at[i]; next != nil; next = at[i].best(m.C) {
				at[i] = next
			}
			here := *root
			here.Tokens = append(slices.Clone(root.Tokens), at[i].path()...)
			prompts[i] = engine.Prompt{Seq: &here, N: m.Actions, Params: s.Params, Key: s.Key.With(uint64(i), uint64(it))}
		}
		drawn, err := s.Engine.Sample(ctx, prompts)
		if err != nil {
			return nil, err
		}
		for i := range drawn {
			for _, seq := range drawn[i] {
				leaf := at[i].grow(seq, len(prompts[i].Seq.Tokens))
				r, err := m.judge(ctx, roots[i].ID.Problem, s.Format.Response(seq))
				if err != nil {
					return nil, err
				}
				leaf.learn(r)
			}
		}
	}
	return nil, nil // groups of two episodes with the same Unit
}

func (m *ITool) Streams(ctx context.Context, s *train.Step, groups []*rollout.Group) ([]engine.Stream, error) {
	return []engine.Stream{{Name: "pairs", Obj: m.SimPO, Coef: 1, Norm: engine.UnitMean, Rows: rollout.KindRows(groups, engine.KindSampled)}}, nil
}

// Awkward: Sample computed the prefix again for each call. Mended: pages are found again by their tokens until the weights change, so a search
// does not pay for its depth.
// A tree should be a Solver in rollout (shared with parallel-r1 and transfer-q-star), with nodes as forced ids, not a thing of the recipe.
