package rollout

import (
	"context"
	"strings"

	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/task"
)

// Vote answers by majority: Samples answers to each problem are drawn, and the first of those with the most frequent final answer is taken
// (self-consistency, Wang et al. 2022, arXiv 2203.11171). The answer costs what all of them cost.
type Vote struct {
	Samples     int
	Temperature float32
}

// Solve implements Solver.
func (v Vote) Solve(ctx context.Context, env *Env, problems []*task.Problem, n int) ([]*Group, error) {
	own := *env
	own.Params.Greedy, own.Params.Temperature = false, v.Temperature
	drawn, err := Sample{}.Solve(ctx, &own, problems, n*v.Samples)
	if err != nil {
		return nil, err
	}
	groups := make([]*Group, len(drawn))
	for i, g := range drawn {
		groups[i] = &Group{Key: g.Key}
		for k := range n {
			ballot := ballot{}
			for _, e := range g.Episodes[k*v.Samples : (k+1)*v.Samples] {
				ballot.add(e, 1)
			}
			groups[i].Episodes = append(groups[i].Episodes, ballot.elect())
		}
	}
	return groups, nil
}

// ballot counts the final answers of graded episodes. What the grades are worth does not count, only what answer was read.
type ballot struct {
	episodes []*Episode
	weights  []int
	cost     reward.Cost
}

func (b *ballot) add(e *Episode, weight int) {
	b.episodes, b.weights = append(b.episodes, e), append(b.weights, weight)
	b.cost.Add(e.Cost)
}

// elect returns a copy of the first episode whose answer has the most weight, at the cost of all; of equals the answer that came first. Without
// a single answer that can be read it is the first episode.
func (b *ballot) elect() *Episode {
	votes := map[string]int{}
	for i, e := range b.episodes {
		if answer := said(e); answer != "" {
			votes[answer] += b.weights[i]
		}
	}
	best := 0
	for i, e := range b.episodes {
		if votes[said(e)] > votes[said(b.episodes[best])] {
			best = i
		}
	}
	chosen := *b.episodes[best]
	chosen.Cost = b.cost
	return &chosen
}

// said is an episode's final answer without spaces, "" if none could be read.
func said(e *Episode) string {
	if e.Grade.Verdict == task.Unparsed || !e.Grade.Valid() {
		return ""
	}
	return strings.Join(strings.Fields(e.Grade.Answer), "")
}
