// Package eval measures models on suites of problems: accuracy with intervals, pass@k, and comparisons on the same problems.
package eval

import (
	"context"
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/eval/stats"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
)

// Suite is a fixed set of problems with the way they are answered.
type Suite struct {
	Name     string
	Problems []*task.Problem
	Grader   reward.Grader
	Solver   rollout.Solver
	Samples  int           // answers to each problem
	Params   engine.Params // Greedy for accuracy
	Seed     uint64
}

// Result is what a suite gave.
type Result struct {
	Suite    string
	Accuracy stats.Interval // of the first answer to each problem, Wilson 95 %
	Correct  []bool         // of the first answer to each problem, in the suite's order
	PassAt   stats.Interval // unbiased pass@Samples, when Samples > 1
	Length   float64        // mean sampled tokens an answer
	Entropy  float64
	Ungraded int // answers whose grading failed or timed out: counted as not correct, and reported
	Cost     reward.Cost
	Groups   []*rollout.Group
}

// Run answers and grades every problem.
func (s *Suite) Run(ctx context.Context, env rollout.Env) (*Result, error) {
	if len(s.Problems) == 0 {
		return nil, fmt.Errorf("suite %s has no problems: check its task, split and count", s.Name)
	}
	env.Grader, env.Params = s.Grader, s.Params
	env.Key = engine.NewKey(s.Seed, "eval")
	solver := s.Solver
	if solver == nil {
		solver = rollout.Sample{}
	}
	n := max(1, s.Samples)
	groups, err := solver.Solve(ctx, &env, s.Problems, n)
	if err != nil {
		return nil, fmt.Errorf("suite %s: %w", s.Name, err)
	}
	r := &Result{Suite: s.Name, Groups: groups}
	right, total := 0, 0
	var counts, corrects []int
	for _, g := range groups {
		c := 0
		for i, e := range g.Episodes {
			ok := e.Grade.Verdict == task.Correct
			if i == 0 {
				r.Correct = append(r.Correct, ok)
				if ok {
					right++
				}
			}
			if ok {
				c++
			}
			if !e.Grade.Valid() {
				r.Ungraded++
			}
			r.Cost.Add(e.Cost)
			total++
		}
		counts, corrects = append(counts, len(g.Episodes)), append(corrects, c)
	}
	r.Accuracy = stats.Wilson(right, len(groups))
	r.Length = float64(r.Cost.Sampled) / float64(total)
	if n > 1 {
		if r.PassAt, err = stats.MeanPassAtK(counts, corrects, n); err != nil {
			return nil, err
		}
	}
	return r, nil
}
