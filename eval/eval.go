// Package eval measures models on suites of problems: accuracy with intervals, pass@k, and comparisons on the same problems.
package eval

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

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
	Budgets  []int         // numbers of tokens at which answers are cut and graded anew, ascending
	Seed     uint64
	Told     func(done int) // problems answered so far; from any goroutine; nil = nobody asks
}

// Result is what a suite gave.
type Result struct {
	Suite    string
	Accuracy stats.Interval // of the first answer to each problem, Wilson 95 %
	Correct  []bool         // of the first answer to each problem, in the suite's order
	PassAt   stats.Interval // unbiased pass@Samples, when Samples > 1
	AtBudget []Budgeted     // accuracy within each of the suite's budgets
	Length   float64        // mean sampled tokens an answer
	Entropy  float64        // nats a sampled token: the mean of -log p, which estimates the policy's entropy when answers are drawn at temperature 1
	Ungraded int            // answers whose grading failed or timed out: counted as not correct, and reported
	Cost     reward.Cost
	Groups   []*rollout.Group
}

// Term is the mean of a part of the check's result over the first answers; an answer without it, such as one that could not be read, has 0.
func (r *Result) Term(name string) float64 {
	sum := 0.0
	for _, g := range r.Groups {
		for _, t := range g.Episodes[0].Grade.Terms {
			if t.Name == name {
				sum += t.Value
			}
		}
	}
	return sum / float64(len(r.Groups))
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
	groups, err := s.solve(ctx, solver, &env, n)
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
			r.Entropy = rollout.AddSurprise(r.Entropy, e)
			total++
		}
		counts, corrects = append(counts, len(g.Episodes)), append(corrects, c)
	}
	r.Accuracy = stats.Wilson(right, len(groups))
	r.Length = float64(r.Cost.Sampled) / float64(total)
	r.Entropy /= float64(max(1, r.Cost.Sampled))
	for _, tokens := range s.Budgets {
		b, err := s.budgeted(ctx, env.Format, groups, tokens)
		if err != nil {
			return nil, fmt.Errorf("suite %s: %w", s.Name, err)
		}
		r.AtBudget = append(r.AtBudget, b)
	}
	if n > 1 {
		if r.PassAt, err = stats.MeanPassAtK(counts, corrects, n); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// piece is how many problems are answered between two reports of progress.
const piece = 16

// solve answers every problem. Where somebody asks how far it has come the problems go to the engine in pieces, which share its running batch;
// an answer depends on its problem alone, so the pieces do not show in the result.
func (s *Suite) solve(ctx context.Context, solver rollout.Solver, env *rollout.Env, n int) ([]*rollout.Group, error) {
	if s.Told == nil || len(s.Problems) <= piece {
		return solver.Solve(ctx, env, s.Problems, n)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	count := (len(s.Problems) + piece - 1) / piece
	parts, errs := make([][]*rollout.Group, count), make([]error, count)
	var done atomic.Int64
	var wg sync.WaitGroup
	for i := range count {
		wg.Go(func() {
			mine := s.Problems[i*piece : min(len(s.Problems), (i+1)*piece)]
			own := *env
			if parts[i], errs[i] = solver.Solve(ctx, &own, mine, n); errs[i] != nil {
				cancel() // the others need not go on
				return
			}
			s.Told(int(done.Add(int64(len(mine)))))
		})
	}
	wg.Wait()
	for _, err := range errs { // the cause, not what the others say of being stopped
		if err != nil && !errors.Is(err, context.Canceled) {
			return nil, err
		}
	}
	return slices.Concat(parts...), errors.Join(errs...)
}
