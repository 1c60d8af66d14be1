package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/task"
)

// Tags around a plan.
const (
	PlanOpen    = "<plan>"
	PlanClose   = "</plan>"
	ExecuteOpen = "<execute>"
)

// PlanSearch explores with many short plans and executes few of them (Explore-Execute Chain, arXiv 2509.23946): Plans plans are sampled behind a
// given PlanOpen, some are chosen, each distinct one is executed greedily, and the executions vote with their weights. An answer costs all
// tokens that were sampled for it: plans, executions and the judge's.
type PlanSearch struct {
	Plans       int
	Temperature float32 // of the plans
	Choose      Choice
	Clusters    int // of ChooseClusters
}

// Choice says which plans are executed.
type Choice string

const (
	ChooseAll      Choice = "vote"    // all of them
	ChooseClusters Choice = "cluster" // of each cluster of similar plans the one nearest its middle, with the cluster's size as weight
	ChooseJudged   Choice = "judge"   // the model reads all plans and writes the best; the sampled plan that is most like it
	ChooseRandom   Choice = "random"  // any one: the control
)

// exploration is a distinct plan and how often it was sampled. One that did not end in PlanClose is an answer already.
type exploration struct {
	seq    *engine.Sequence
	text   string
	weight int
}

// Solve implements Solver.
func (p PlanSearch) Solve(ctx context.Context, env *Env, problems []*task.Problem, n int) ([]*Group, error) {
	var repeated []*task.Problem
	for _, problem := range problems {
		for range n {
			repeated = append(repeated, problem)
		}
	}
	s := &planSearch{PlanSearch: p, env: *env, problems: repeated, n: n, cost: make([]reward.Cost, len(repeated))}
	opened := *env.Format
	opened.Opening = PlanOpen
	s.env.Format = &opened
	chosen, err := s.explore(ctx)
	if err != nil {
		return nil, err
	}
	candidates, err := s.execute(ctx, chosen)
	if err != nil {
		return nil, err
	}
	groups := make([]*Group, len(problems))
	for i := range groups {
		groups[i] = &Group{Key: problems[i].ID}
		for k := i * n; k < (i+1)*n; k++ {
			b := ballot{}
			for c, e := range candidates[k].Episodes {
				b.add(e, chosen[k][c].weight)
			}
			e := b.elect()
			e.Cost = s.cost[k]
			groups[i].Episodes = append(groups[i].Episodes, e)
		}
	}
	return groups, nil
}

// planSearch is one call of Solve: problems are repeated for each answer that is wanted.
type planSearch struct {
	PlanSearch
	env      Env
	problems []*task.Problem
	n        int
	cost     []reward.Cost
}

func (s *planSearch) key(i int, purpose string) engine.Key {
	return s.env.Key.With(s.problems[i].Key).Sub(purpose).With(uint64(i % s.n))
}

// explore samples plans and chooses among them.
func (s *planSearch) explore(ctx context.Context) ([][]exploration, error) {
	prompts := make([]engine.Prompt, len(s.problems))
	for i, problem := range s.problems {
		seq, err := s.env.Format.Prompt(problem)
		if err != nil {
			return nil, err
		}
		params := s.env.Format.Stops(s.env.Params)
		params.Greedy, params.Temperature, params.Stop = false, s.Temperature, append(slices.Clone(params.Stop), PlanClose)
		prompts[i] = engine.Prompt{Seq: seq, N: s.Plans, Params: params, Key: s.key(i, "explore")}
	}
	drawn, err := s.env.Engine.Sample(ctx, prompts)
	if err != nil {
		return nil, err
	}
	plans := make([][]exploration, len(drawn))
	for i, seqs := range drawn {
		s.cost[i].Prompt = seqs[0].Count(engine.KindPrompt)
		for _, seq := range seqs {
			s.cost[i].Sampled += seq.Count(engine.KindSampled)
			k := slices.IndexFunc(plans[i], func(e exploration) bool { return slices.Equal(e.seq.Tokens, seq.Tokens) })
			if k >= 0 {
				plans[i][k].weight++
				continue
			}
			text := strings.TrimSuffix(strings.TrimSpace(s.env.Format.Response(seq)), PlanClose)
			plans[i] = append(plans[i], exploration{seq, text, 1})
		}
	}
	return plans, s.choose(ctx, plans)
}

// choose leaves the plans to execute.
func (s *planSearch) choose(ctx context.Context, plans [][]exploration) error {
	switch s.Choose {
	case ChooseAll:
	case ChooseRandom:
		for i := range plans {
			at := s.key(i, "random plan").Intn(0, s.Plans)
			k := 0
			for at -= plans[i][k].weight; at >= 0; at -= plans[i][k].weight {
				k++
			}
			plans[i] = plans[i][k : k+1]
		}
	case ChooseClusters:
		for i := range plans {
			plans[i] = clustered(plans[i], s.Clusters)
		}
	case ChooseJudged:
		return s.judge(ctx, plans)
	default:
		return fmt.Errorf("plans are not chosen by %q: want %s, %s, %s or %s", s.Choose, ChooseAll, ChooseClusters, ChooseJudged, ChooseRandom)
	}
	return nil
}

// judge lets the model write the best plan after reading all, and leaves the sampled one that is most like it. One plan needs no judge, nor do
// plans of which not even two fit the context: the first is taken.
func (s *planSearch) judge(ctx context.Context, plans [][]exploration) error {
	var prompts []engine.Prompt
	var of []int
	for i, problem := range s.problems {
		seq, err := s.askJudge(problem, plans[i])
		if err != nil {
			return err
		}
		if seq == nil {
			plans[i] = plans[i][:1]
			continue
		}
		params := s.env.Format.Stops(s.env.Params)
		params.Greedy, params.Stop = true, append(slices.Clone(params.Stop), PlanClose)
		prompts, of = append(prompts, engine.Prompt{Seq: seq, N: 1, Params: params, Key: s.key(i, "judge of plans")}), append(of, i)
	}
	drawn, err := s.env.Engine.Sample(ctx, prompts)
	if err != nil {
		return err
	}
	for k, i := range of {
		written := drawn[k][0]
		s.cost[i].Sampled += written.Count(engine.KindSampled)
		s.cost[i].Prompt += written.Count(engine.KindPrompt)
		text := strings.TrimSuffix(strings.TrimSpace(s.env.Format.Response(written)), PlanClose)
		best := 0
		for c := range plans[i] {
			if reward.TextOverlap(plans[i][c].text, text) > reward.TextOverlap(plans[i][best].text, text) {
				best = c
			}
		}
		plans[i] = plans[i][best : best+1]
	}
	return nil
}

// askJudge shows the model the plans, of too many the first that leave room for one more; nil if that is no choice.
func (s *planSearch) askJudge(problem *task.Problem, plans []exploration) (*engine.Sequence, error) {
	longest := 0
	for _, e := range plans {
		longest = max(longest, e.seq.Count(engine.KindSampled))
	}
	for shown := len(plans); shown > 1; shown-- {
		asked := *problem
		var b strings.Builder
		b.WriteString(problem.Question + "\n\nPlans:\n")
		for k, e := range plans[:shown] {
			fmt.Fprintf(&b, "%d. %s\n", k+1, e.text)
		}
		b.WriteString("Write the best plan.")
		asked.Question = b.String()
		seq, err := s.env.Format.Prompt(&asked)
		if limit := s.env.Engine.Info().Context; err != nil || limit == 0 || len(seq.Tokens)+longest <= limit {
			return seq, err
		}
	}
	return nil, nil
}

// execute goes on behind the chosen plans, greedily, and has the answers graded: a group for each problem, an episode for each plan.
func (s *planSearch) execute(ctx context.Context, chosen [][]exploration) ([]*Group, error) {
	type place struct{ problem, plan int }
	var prompts []engine.Prompt
	var at []place
	for i := range chosen {
		for k, e := range chosen[i] {
			params := s.env.Format.Stops(s.env.Params)
			params.Greedy = true
			if params.MaxTokens > 0 {
				params.MaxTokens -= e.seq.Count(engine.KindSampled)
			}
			if e.seq.Stop != engine.StopText || params.MaxTokens < 0 || s.env.Params.MaxTokens > 0 && params.MaxTokens == 0 {
				continue
			}
			prompts, at = append(prompts, engine.Prompt{Seq: e.seq, N: 1, Params: params, Key: s.key(i, "execute")}), append(at, place{i, k})
		}
	}
	drawn, err := s.env.Engine.Sample(ctx, prompts)
	if err != nil {
		return nil, err
	}
	for k, p := range at {
		e := &chosen[p.problem][p.plan]
		s.cost[p.problem].Sampled += drawn[k][0].Count(engine.KindSampled) - e.seq.Count(engine.KindSampled)
		e.seq = drawn[k][0]
	}
	groups := make([]*Group, len(chosen))
	for i := range chosen {
		groups[i] = &Group{Key: s.problems[i].ID}
		for k, e := range chosen[i] {
			e.seq.ID, e.seq.Policy = engine.ItemID{Problem: s.problems[i].ID, Sample: k}, s.env.Policy
			groups[i].Episodes = append(groups[i].Episodes, &Episode{Problem: s.problems[i], Segs: []*engine.Sequence{e.seq}, Text: s.env.Format.Response(e.seq)})
		}
	}
	if s.env.Grader == nil {
		return nil, fmt.Errorf("no grader: name a task whose answers can be checked, or set grader")
	}
	return groups, s.env.Grader.Grade(ctx, groups)
}
