package rollout

import (
	"context"
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/task"
)

// Prefixed makes answers that begin with given token ids: forced tokens, which get their log-probs from the engine and are part of the
// response for graders, then the policy's own. MaxTokens of the environment bounds both together; at least one token is sampled.
type Prefixed struct {
	Prefix [][]int32 // [problem][token]
	First  int       // number of the first answer within its group
}

// Solve implements Solver.
func (p Prefixed) Solve(ctx context.Context, env *Env, problems []*task.Problem, n int) ([]*Group, error) {
	if len(p.Prefix) != len(problems) {
		return nil, fmt.Errorf("%d prefixes for %d problems: want one for each", len(p.Prefix), len(problems))
	}
	if env.Grader == nil {
		return nil, fmt.Errorf("no grader: name a task whose answers can be checked, or set grader")
	}
	var prompts []engine.Prompt // one an answer, so that each has the key of its number
	for i, problem := range problems {
		seq, err := env.Format.Prompt(problem)
		if err != nil {
			return nil, err
		}
		for _, id := range p.Prefix[i] {
			seq.Tokens, seq.Kind = append(seq.Tokens, id), append(seq.Kind, engine.KindForced)
		}
		params := env.Format.Stops(env.Params)
		if params.MaxTokens > 0 {
			params.MaxTokens = max(1, params.MaxTokens-len(p.Prefix[i]))
		}
		for k := range n {
			prompts = append(prompts, engine.Prompt{Seq: seq, N: 1, Params: params, Key: env.Key.With(problem.Key).Sub("prefixed").With(uint64(p.First + k))})
		}
	}
	drawn, err := env.Engine.Sample(ctx, prompts)
	if err != nil {
		return nil, err
	}
	groups := make([]*Group, len(problems))
	for i, problem := range problems {
		groups[i] = &Group{Key: problem.ID}
		for k := range n {
			seq := drawn[i*n+k][0]
			seq.ID = engine.ItemID{Problem: problem.ID, Sample: p.First + k}
			seq.Policy = env.Policy
			groups[i].Episodes = append(groups[i].Episodes, &Episode{
				Problem: problem,
				Segs:    []*engine.Sequence{seq},
				Text:    env.Format.Response(seq),
				Cost:    reward.Cost{Prompt: seq.Count(engine.KindPrompt), Sampled: seq.Count(engine.KindSampled), Forced: seq.Count(engine.KindForced)},
			})
		}
	}
	return groups, env.Grader.Grade(ctx, groups)
}
