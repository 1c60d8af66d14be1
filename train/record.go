package train

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/machine"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/run/progress"
	"github.com/hone-lm/hone/task"
)

// recorder gathers the numbers of one step.
type recorder struct {
	loss, norm       float64 // sums over the step's updates; metrics hold their means
	lr               float64 // of the last update
	updates          int
	tally            engine.Tally
	forwarded        int
	trained          int
	sampled, answers int
	read             int // tokens of prompts, once a group, and of forced prefixes: sampling forwards them
	reward, correct  float64
	graded           int
	verdicts         [6]int
	surprise         float64 // sum of -logp_old over sampled tokens
	surprised        bool    // some sequence had them
	lastLoss         float64
	lastReward       float64
	seenReward       bool
	weights          map[*engine.Sequence][]weighed // of the step's first pass
}

func (r *recorder) begin() {
	t := r.tally
	t.Reset()
	*r = recorder{tally: t, lastLoss: r.lastLoss, lastReward: r.lastReward, seenReward: r.seenReward}
}

func (r *recorder) note(name string, value float64) { r.tally.Add(name, value, 1) }

func (r *recorder) episodes(groups []*rollout.Group) {
	for _, g := range groups {
		prompt := 0 // which the group reads once
		for _, e := range g.Episodes {
			if e.Cost.Sampled == 0 {
				continue
			}
			prompt = max(prompt, e.Cost.Prompt)
			r.read += e.Cost.Forced
			r.answers++
			r.sampled += e.Cost.Sampled
			if int(e.Grade.Verdict) < len(r.verdicts) {
				r.verdicts[e.Grade.Verdict]++
			}
			if e.Grade.Valid() {
				r.graded++
				r.reward += e.Grade.Score
				r.correct += e.Grade.Correct()
			}
			r.surprise = rollout.AddSurprise(r.surprise, e)
			for _, s := range e.Segs {
				r.surprised = r.surprised || s.Channel(engine.ChanOld) != nil
			}
		}
		r.read += prompt
	}
}

func (r *recorder) update(st engine.Stats, u engine.Update) {
	r.updates++
	r.loss += st.Loss()
	r.norm += u.Norm
	r.lr = u.LR
	r.trained += st.Trained
	r.forwarded += st.Tokens
	for _, s := range st.Streams {
		for _, it := range s.Tally.Items {
			if it.Weight != 0 {
				r.tally.Add(s.Name+"_"+it.Name, it.Sum/it.Weight, it.Weight)
			}
		}
	}
}

// values are the columns of metrics.jsonl: functions of config and seed alone.
func (r *recorder) values() []run.Value {
	var v []run.Value
	add := func(name string, x float64) { v = append(v, run.Value{Name: name, V: x}) }
	if r.updates > 0 {
		r.lastLoss = r.loss / float64(r.updates)
		add(run.Loss, r.lastLoss)
		add(run.GradNorm, r.norm/float64(r.updates))
		add("lr", r.lr)
		add(run.Trained, float64(r.trained))
	}
	if r.answers > 0 {
		r.seenReward, r.lastReward = true, r.reward/math.Max(1, float64(r.graded))
		add(run.Reward, r.lastReward)
		add("correct", r.correct/math.Max(1, float64(r.graded)))
		if r.surprised {
			add(run.Entropy, r.surprise/math.Max(1, float64(r.sampled))) // mean -log p of what was sampled: an unbiased estimate
		}
		add(run.Length, float64(r.sampled)/float64(r.answers))
		add(run.Sampled, float64(r.sampled))
		for verdict := task.Unparsed; verdict <= task.Error; verdict++ {
			if n := r.verdicts[verdict]; n > 0 {
				add("verdict_"+verdict.String(), float64(n))
			}
		}
	}
	for _, it := range r.tally.Items {
		if it.Weight != 0 {
			add(it.Name, it.Sum/it.Weight)
		}
	}
	return v
}

func (r *recorder) summary() string {
	if r.seenReward {
		return fmt.Sprintf("reward %.3f", r.lastReward)
	}
	return fmt.Sprintf("loss %.3f", r.lastLoss)
}

// flops is the step's work by the usual count of 2 operations a parameter and token forward and 4 backward; under an adapter the base needs
// no gradient of its weights. What frozen models and a method's own scoring take is not in it.
func (r *recorder) flops(i engine.Info) float64 {
	train := 6.0
	if i.Trainable < i.Params {
		train = 4
	}
	return float64(i.Params) * (train*float64(r.forwarded) + 2*float64(r.sampled+r.read))
}

func (s *Session) logStep(st *Step, bar *progress.Bar, took time.Duration) error {
	r := &st.log
	if err := s.metrics(run.Metrics{Stage: st.Node.Name, Step: st.Index + 1, Kind: run.KindTrain, Values: r.values()}); err != nil {
		return err
	}
	rate := float64(r.sampled+r.forwarded) / took.Seconds()
	err := s.Run.Timing(run.Metrics{Stage: st.Node.Name, Step: st.Index + 1, Kind: run.KindTime, Values: []run.Value{
		{Name: run.Seconds, V: took.Seconds()}, {Name: run.TokensPerSec, V: rate}, {Name: run.Updates, V: float64(r.updates)}, {Name: run.FLOPs, V: r.flops(s.info)}, {Name: run.PeakRSS, V: float64(machine.PeakRSS())},
	}})
	fields := []progress.Field{{Name: "loss", Text: fmt.Sprintf("%.3f", r.lastLoss)}}
	if r.answers > 0 {
		fields = []progress.Field{
			{Name: "reward", Text: fmt.Sprintf("%.3f", r.lastReward)},
			{Name: "acc", Text: fmt.Sprintf("%.1f %%", 100*r.correct/math.Max(1, float64(r.graded)))},
		}
		if r.surprised {
			fields = append(fields, progress.Field{Name: "entropy", Text: fmt.Sprintf("%.2f", r.surprise/math.Max(1, float64(r.sampled)))})
		}
		if ratio, ok := r.tally.Mean("rl_ratio"); ok {
			fields = append(fields, progress.Field{Name: "ratio", Text: fmt.Sprintf("%.3f", ratio)})
		}
	}
	fields = append(fields, progress.Field{Text: progress.Count(rate) + " tok/s"})
	bar.Set(st.Index+1, fields...)
	return err
}

// metrics writes a row and says, on the screen and in the log, what it warns of. Reports find the warnings in the rows again.
func (s *Session) metrics(m run.Metrics) error {
	if err := s.Run.Metrics(m); err != nil {
		return err
	}
	for _, w := range s.watch.Add(m) {
		line := fmt.Sprintf("%-8s step %d: %s", m.Stage, m.Step, w)
		s.Display.Line(line)
		if err := s.Run.Log("%s", line); err != nil && !errors.Is(err, run.ErrDiskFull) { // the log may wait for room, the run may not fail of it
			return err
		}
	}
	return nil
}

// rewatch shows the rows of a run that goes on to its watch: what was said before is not said again.
func (s *Session) rewatch() error {
	rows, err := s.Run.ReadMetrics(run.MetricsFile)
	for _, m := range rows {
		s.watch.Add(m)
	}
	return err
}
