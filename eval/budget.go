package eval

import (
	"context"
	"fmt"
	"slices"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/eval/stats"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/task"
)

// Budgeted is the accuracy of a suite's answers when each may have so many tokens.
type Budgeted struct {
	Tokens   int
	Accuracy stats.Interval // of the first answer to each problem, Wilson 95 %
}

// CheckBudgets refuses budgets that say nothing: they ascend, and answers have at most so many tokens anyway (0: any number).
func CheckBudgets(budgets []int, maxTokens int) error {
	for i, n := range budgets {
		switch {
		case n < 1 || i > 0 && n <= budgets[i-1]:
			return fmt.Errorf("%v: want numbers of tokens that ascend, such as [32, 64, 128]", budgets)
		case maxTokens > 0 && n > maxTokens:
			return fmt.Errorf("%d tokens: answers end after max_tokens %d; raise max_tokens or leave the budget out", n, maxTokens)
		}
	}
	return nil
}

// budgeted cuts the first answer to each problem at so many sampled tokens and has what it then says graded. Answers that end within the
// budget keep their grades, so one pass of sampling serves all budgets.
func (s *Suite) budgeted(ctx context.Context, format *rollout.Format, groups []*rollout.Group, tokens int) (Budgeted, error) {
	right := 0
	var again []*rollout.Group
	for _, g := range groups {
		e := g.Episodes[0]
		if e.Cost.Sampled <= tokens {
			right += int(e.Grade.Correct())
			continue
		}
		if len(e.Segs) != 1 || e.Segs[0].Count(engine.KindSampled) != e.Cost.Sampled {
			return Budgeted{}, fmt.Errorf("problem %s: only an answer that was sampled in one piece can be cut at %d tokens: leave budgets out with this solver", e.Problem.ID, tokens)
		}
		seq := cut(e.Segs[0], tokens)
		again = append(again, &rollout.Group{Key: g.Key, Episodes: []*rollout.Episode{{Problem: e.Problem, Segs: []*engine.Sequence{seq}, Text: format.Response(seq),
			Cost: reward.Cost{Prompt: e.Cost.Prompt, Sampled: tokens, Forced: e.Cost.Forced}}}})
	}
	if err := s.Grader.Grade(ctx, again); err != nil {
		return Budgeted{}, err
	}
	for _, g := range again {
		if g.Episodes[0].Grade.Verdict == task.Correct {
			right++
		}
	}
	return Budgeted{tokens, stats.Wilson(right, len(groups))}, nil
}

// cut returns a sequence up to its first so many sampled tokens.
func cut(s *engine.Sequence, tokens int) *engine.Sequence {
	end, n := 0, 0
	for ; end < len(s.Tokens); end++ {
		if s.KindAt(end) == engine.KindSampled {
			if n == tokens {
				break
			}
			n++
		}
	}
	return &engine.Sequence{ID: s.ID, Tokens: slices.Clone(s.Tokens[:end]), Kind: slices.Clone(s.Kind[:end]), Stop: engine.StopLength, Policy: s.Policy}
}
