package rollout

import (
	"context"
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/task"
)

// Prefixed makes groups whose last answer begins with given token ids: forced tokens, which get their log-probs from the engine and are part
// of the response for graders, then the policy's own, at least one. MaxTokens of the environment bounds both together. A problem without a
// prefix gets the group that Sample makes, to the bit.
type Prefixed struct{ Prefix [][]int32 } // [problem][token]

// Solve implements Solver.
func (p Prefixed) Solve(ctx context.Context, env *Env, problems []*task.Problem, n int) ([]*Group, error) {
	if len(p.Prefix) != len(problems) {
		return nil, fmt.Errorf("%d prefixes for %d problems: want one for each, empty for none", len(p.Prefix), len(problems))
	}
	var plain, led []*task.Problem
	var prefixes [][]int32
	for i, problem := range problems {
		if len(p.Prefix[i]) == 0 {
			plain = append(plain, problem)
		} else {
			led, prefixes = append(led, problem), append(prefixes, p.Prefix[i])
		}
	}
	whole, err := solveSome(ctx, env, plain, n)
	if err != nil {
		return nil, err
	}
	part, err := solveSome(ctx, env, led, n-1)
	if err != nil || len(led) == 0 {
		return whole, err
	}
	last, err := continued(ctx, env, led, prefixes, n-1)
	if err != nil {
		return nil, err
	}
	groups := make([]*Group, len(problems))
	for i := range groups {
		if len(p.Prefix[i]) == 0 {
			groups[i], whole = whole[0], whole[1:]
			continue
		}
		part[0].Episodes = append(part[0].Episodes, last[0].Episodes...)
		groups[i], part, last = part[0], part[1:], last[1:]
	}
	return groups, nil
}

func solveSome(ctx context.Context, env *Env, problems []*task.Problem, n int) ([]*Group, error) {
	if len(problems) == 0 {
		return nil, nil
	}
	return Sample{}.Solve(ctx, env, problems, n)
}

// continued samples one answer to each problem behind its prefix, graded; number is the answer's within its group.
func continued(ctx context.Context, env *Env, problems []*task.Problem, prefixes [][]int32, number int) ([]*Group, error) {
	prompts := make([]engine.Prompt, len(problems))
	for i, problem := range problems {
		seq, err := env.Format.Prompt(problem)
		if err != nil {
			return nil, err
		}
		for _, id := range prefixes[i] {
			seq.Tokens, seq.Kind = append(seq.Tokens, id), append(seq.Kind, engine.KindForced)
		}
		params := env.Format.Stops(env.Params)
		if params.MaxTokens > 0 {
			params.MaxTokens = max(1, params.MaxTokens-len(prefixes[i]))
		}
		prompts[i] = engine.Prompt{Seq: seq, N: 1, Params: params, Key: env.Key.With(problem.Key).Sub("prefixed")}
	}
	drawn, err := env.Engine.Sample(ctx, prompts)
	if err != nil {
		return nil, err
	}
	groups := make([]*Group, len(problems))
	for i, problem := range problems {
		seq := drawn[i][0]
		seq.ID = engine.ItemID{Problem: problem.ID, Sample: number}
		seq.Policy = env.Policy
		groups[i] = &Group{Key: problem.ID, Episodes: []*Episode{{
			Problem: problem,
			Segs:    []*engine.Sequence{seq},
			Text:    env.Format.Response(seq),
			Cost:    reward.Cost{Prompt: seq.Count(engine.KindPrompt), Sampled: seq.Count(engine.KindSampled), Forced: seq.Count(engine.KindForced)},
		}}}
	}
	return groups, env.Grader.Grade(ctx, groups)
}
