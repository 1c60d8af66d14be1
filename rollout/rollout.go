// Package rollout obtains episodes: it turns problems into prompts, samples answers, has them graded, and turns groups of graded
// episodes into rows with advantages. Training and evaluation use the same solvers.
package rollout

import (
	"context"
	"fmt"
	"slices"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/objective"
	"github.com/hone-lm/hone/reward"
	"github.com/hone-lm/hone/task"
)

// Episode and Group are reward's types under the names that recipes use.
type (
	Episode = reward.Episode
	Group   = reward.Group
)

// Env is what a solver may use: the model, frozen models, the grader, the prompt format and the random key.
type Env struct {
	Engine engine.Engine
	Frozen map[string]engine.Frozen
	Grader reward.Grader
	Format *Format
	Params engine.Params
	Key    engine.Key // of this step: samples draw from Key.With(problem, sample)
	Policy int64      // optimiser updates made so far, written into sequences
}

// Solver makes n episodes for each problem, graded.
type Solver interface {
	Solve(ctx context.Context, env *Env, problems []*task.Problem, n int) ([]*Group, error)
}

// Sample is the plain solver: n independent answers to each problem.
type Sample struct{}

// Solve implements Solver.
func (Sample) Solve(ctx context.Context, env *Env, problems []*task.Problem, n int) ([]*Group, error) {
	prompts := make([]engine.Prompt, len(problems))
	for i, p := range problems {
		seq, err := env.Format.Prompt(p)
		if err != nil {
			return nil, err
		}
		prompts[i] = engine.Prompt{Seq: seq, N: n, Params: env.Format.Stops(env.Params), Key: env.Key.With(p.Key)}
	}
	drawn, err := env.Engine.Sample(ctx, prompts)
	if err != nil {
		return nil, err
	}
	groups := make([]*Group, len(problems))
	for i, p := range problems {
		g := &Group{Key: p.ID}
		for k, seq := range drawn[i] {
			seq.ID = engine.ItemID{Problem: p.ID, Sample: k}
			seq.Policy = env.Policy
			g.Episodes = append(g.Episodes, &Episode{
				Problem: p,
				Segs:    []*engine.Sequence{seq},
				Text:    env.Format.Response(seq),
				Cost:    reward.Cost{Prompt: seq.Count(engine.KindPrompt), Sampled: seq.Count(engine.KindSampled)},
			})
		}
		groups[i] = g
	}
	if env.Grader == nil {
		return nil, fmt.Errorf("no grader: name a task whose answers can be checked, or set grader")
	}
	return groups, env.Grader.Grade(ctx, groups)
}

// FillAdvantage writes the channel "advantage" of every sampled token from its group's scores. Episodes without a valid grade, and groups
// with fewer than two valid members, get no advantage and are left out by SampledRows; it returns the number of groups so dropped.
func FillAdvantage(groups []*Group, kind objective.GroupAdvantage, eps float64) (dropped int, err error) {
	for _, g := range groups {
		valid := g.Valid()
		if len(valid) < 2 {
			dropped++
			continue
		}
		scores := make([]float64, len(valid))
		for i, e := range valid {
			scores[i] = e.Grade.Score
		}
		adv, err := kind.Of(scores, eps)
		if err != nil {
			return dropped, err
		}
		for i, e := range valid {
			SetAdvantage(e, adv[i])
		}
	}
	return dropped, nil
}

// SetAdvantage gives every sampled token of an episode the same advantage.
func SetAdvantage(e *Episode, advantage float64) {
	for _, seq := range e.Segs {
		ch := seq.SetChannel(engine.ChanAdvantage, nil)
		for t := range ch {
			if seq.KindAt(t) == engine.KindSampled {
				ch[t] = float32(advantage)
			}
		}
	}
}

// SampledRows returns a row for every segment whose advantages were filled, masked to its sampled tokens.
func SampledRows(groups []*Group) []engine.Row {
	return rows(groups, engine.KindSampled, func(e *Episode, s *engine.Sequence) bool {
		return e.Grade.Valid() && s.Channel(engine.ChanAdvantage) != nil
	})
}

// DemoRows returns a row for every segment with demonstrated tokens. Where the sequence has a channel "weight" it becomes the row's weights.
func DemoRows(groups []*Group) []engine.Row {
	out := rows(groups, engine.KindDemo, func(*Episode, *engine.Sequence) bool { return true })
	for i := range out {
		out[i].Weight = out[i].Seq.Channel(ChanWeight)
	}
	return out
}

// ChanWeight holds a demonstration's own token weights, where its source gave any.
const ChanWeight = "weight"

func rows(groups []*Group, kind engine.Kind, take func(*Episode, *engine.Sequence) bool) []engine.Row {
	var out []engine.Row
	for _, g := range groups {
		for _, e := range g.Episodes {
			for _, s := range e.Segs {
				if !take(e, s) {
					continue
				}
				mask := make([]bool, len(s.Tokens))
				for t := 1; t < len(mask); t++ {
					mask[t] = s.KindAt(t) == kind
				}
				out = append(out, engine.Row{Seq: s, Mask: mask})
			}
		}
	}
	return out
}

// AsDemo returns a copy of a sampled sequence whose sampled and forced tokens are demonstrations: what a build node keeps for SFT. A sample
// that did not end by itself would teach never to end, so the caller leaves those out (see Ended).
func AsDemo(s *engine.Sequence) *engine.Sequence {
	d := &engine.Sequence{ID: s.ID, Tokens: slices.Clone(s.Tokens), Kind: slices.Clone(s.Kind), Spans: slices.Clone(s.Spans), Stop: s.Stop}
	for t, k := range d.Kind {
		if k == engine.KindSampled || k == engine.KindForced {
			d.Kind[t] = engine.KindDemo
		}
	}
	return d
}

// Ended reports whether a sample stopped by itself.
func Ended(s *engine.Sequence) bool { return s.Stop == engine.StopEOS || s.Stop == engine.StopText }

// Score fills a channel of every row's sequence with log-probs under a frozen model ("logp_ref"), keeping what is already there.
func Score(ctx context.Context, f engine.Frozen, rows []engine.Row, channel string) error {
	var seqs []*engine.Sequence
	for _, r := range rows {
		if r.Seq.Channel(channel) == nil {
			seqs = append(seqs, r.Seq)
		}
	}
	if len(seqs) == 0 {
		return nil
	}
	scores, err := f.Score(ctx, seqs, engine.Want{})
	if err != nil {
		return err
	}
	for i, s := range seqs {
		s.SetChannel(channel, scores[i].LogProb)
	}
	return nil
}

// AddSurprise adds -log p of an episode's sampled tokens to a sum, in nats: over tokens drawn at temperature 1 their mean is an unbiased
// estimate of the policy's entropy.
func AddSurprise(sum float64, e *Episode) float64 {
	for _, s := range e.Segs {
		old := s.Channel(engine.ChanOld)
		for t := range s.Tokens {
			if s.KindAt(t) == engine.KindSampled && old != nil {
				sum -= float64(old[t])
			}
		}
	}
	return sum
}

// ScoreTerm writes a row term of every row's sequence under a frozen model into a channel, anew each time: the model may have moved.
func ScoreTerm(ctx context.Context, f engine.Frozen, rows []engine.Row, term engine.RowTerm, channel string) error {
	seqs := (&engine.Batch{Streams: []engine.Stream{{Rows: rows}}}).Sequences()
	scores, err := f.Score(ctx, seqs, engine.Want{Term: term})
	if err != nil {
		return err
	}
	for i, s := range seqs {
		s.SetChannel(channel, scores[i].Term)
	}
	return nil
}

// Episodes lists the episodes of all groups.
func Episodes(groups []*Group) []*Episode {
	var out []*Episode
	for _, g := range groups {
		out = append(out, g.Episodes...)
	}
	return out
}

// Varies reports whether a group's valid scores differ: otherwise it teaches nothing (DAPO's dynamic filter, Yu et al. 2025).
func Varies(g *Group) bool {
	valid := g.Valid()
	for _, e := range valid {
		if e.Grade.Score != valid[0].Grade.Score {
			return true
		}
	}
	return false
}

// AddTerm adds a named term to an episode's score.
func AddTerm(e *Episode, name string, value float64) {
	e.Grade.Score += value
	e.Grade.Terms = append(e.Grade.Terms, reward.Term{Name: name, Value: value, Turn: -1})
}

// KLReward takes weight times the mean estimate of KL(policy || ref) over an answer's sampled tokens off its score.
func KLReward(ctx context.Context, ref engine.Frozen, groups []*Group, kind objective.KLEstimator, weight float64) error {
	all := rows(groups, engine.KindSampled, func(*Episode, *engine.Sequence) bool { return true })
	if err := Score(ctx, ref, all, engine.ChanRef); err != nil {
		return err
	}
	for _, e := range Episodes(groups) {
		sum, n := 0.0, 0.0
		for _, s := range e.Segs {
			old, base := s.Channel(engine.ChanOld), s.Channel(engine.ChanRef)
			for t := range s.Tokens {
				if s.KindAt(t) == engine.KindSampled {
					kl, _ := kind.Value(float64(old[t]), float64(base[t]))
					sum += kl
					n++
				}
			}
		}
		if n > 0 {
			AddTerm(e, "kl", -weight*sum/n)
		}
	}
	return nil
}

// KindRows returns a row for every segment with tokens of a kind, masked to them, whether or not advantages were filled.
func KindRows(groups []*Group, kind engine.Kind) []engine.Row {
	var out []engine.Row
	for _, r := range rows(groups, kind, func(*Episode, *engine.Sequence) bool { return true }) {
		if r.Seq.Count(kind) > 0 {
			out = append(out, r)
		}
	}
	return out
}
