package reward

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/hone-lm/hone/engine"
)

// Sampler and Scorer are what a judge needs of a model: engine.Engine and engine.Frozen are both.
type (
	Sampler interface {
		Sample(ctx context.Context, prompts []engine.Prompt) ([][]*engine.Sequence, error)
	}
	Scorer interface {
		Score(ctx context.Context, seqs []*engine.Sequence, want engine.Want) ([]*engine.Scores, error)
	}
)

// ModelJudge asks a model and reads the grade from its reply. rollout.Format.Judge fills in how text becomes tokens.
type ModelJudge struct {
	Label  string // for logs
	Model  Sampler
	Scale  Scale
	Ask    func(c *Case) string                        // the question; nil = Scale.Question
	Write  func(text string) (*engine.Sequence, error) // a prompt of that text
	Read   func(s *engine.Sequence) string             // the sampled text
	Params engine.Params
	Key    engine.Key // a reply depends on Key, the question and Ask alone
	// Timeout bounds one call of the model; cases that were not answered by then are timeouts. 0 = none. A run with a timeout is not
	// reproducible: what comes in time depends on the machine.
	Timeout time.Duration
}

// Name implements Judge.
func (j *ModelJudge) Name() string { return j.Label }

// Judge implements Judge: all cases are sampled together. When that fails, each is asked on its own, so that one question that is too long
// does not take the others along.
func (j *ModelJudge) Judge(ctx context.Context, cases []Case) ([]Opinion, error) {
	if err := j.Scale.Check(); err != nil {
		return nil, err
	}
	out := make([]Opinion, len(cases))
	var prompts []engine.Prompt
	var at []int // case of each prompt
	for i := range cases {
		text := question(j.Ask, j.Scale, &cases[i])
		seq, err := j.Write(text)
		if err != nil {
			out[i] = trouble(err)
			continue
		}
		prompts = append(prompts, engine.Prompt{Seq: seq, N: 1, Params: j.Params, Key: j.Key.Sub("judge").With(cases[i].Ask).Sub(text)})
		at = append(at, i)
	}
	replies, err := j.sample(ctx, prompts)
	if err != nil {
		replies = make([][]*engine.Sequence, len(prompts))
	}
	for k := range prompts {
		one, fault := replies[k], err
		if err != nil && len(prompts) > 1 && !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			var alone [][]*engine.Sequence
			if alone, fault = j.sample(ctx, prompts[k:k+1]); fault == nil {
				one = alone[0]
			}
		}
		out[at[k]] = j.opinion(one, fault)
	}
	return out, ctx.Err()
}

func (j *ModelJudge) sample(ctx context.Context, prompts []engine.Prompt) ([][]*engine.Sequence, error) {
	if len(prompts) == 0 {
		return nil, nil
	}
	if j.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, j.Timeout)
		defer cancel()
	}
	out, err := j.Model.Sample(ctx, prompts)
	if err == nil && len(out) != len(prompts) {
		err = fmt.Errorf("the judge's model answered %d of %d questions", len(out), len(prompts))
	}
	return out, err
}

func (j *ModelJudge) opinion(reply []*engine.Sequence, err error) Opinion {
	if err == nil && len(reply) != 1 {
		err = fmt.Errorf("the judge's model gave %d replies, want 1", len(reply))
	}
	if err != nil {
		return trouble(err)
	}
	return j.Scale.heard(j.Read(reply[0]))
}

// heard is the opinion in a reply; a reply without a grade says nothing about the answer.
func (s Scale) heard(reply string) Opinion {
	option, ok := s.Read(reply)
	if !ok {
		return trouble(fmt.Errorf("no grade in the judge's reply %.200q", reply))
	}
	return s.opinion(option, reply)
}

func question(ask func(*Case) string, s Scale, c *Case) string {
	if ask != nil {
		return ask(c)
	}
	return s.Question(c)
}

// ScoreJudge asks a model how probable each grade is as its reply, and samples nothing: the probability of a grade is that of its tokens, end
// token included, divided by the sum over all grades.
type ScoreJudge struct {
	Label string
	Model Scorer
	Scale Scale
	Ask   func(c *Case) string                               // the question; nil = Scale.Question
	Write func(text, reply string) (*engine.Sequence, error) // the question with a reply, whose tokens are of KindDemo
}

// Name implements Judge.
func (j *ScoreJudge) Name() string { return j.Label }

// Judge implements Judge.
func (j *ScoreJudge) Judge(ctx context.Context, cases []Case) ([]Opinion, error) {
	if err := j.Scale.Check(); err != nil {
		return nil, err
	}
	out := make([]Opinion, len(cases))
	for i := range cases {
		probs, err := j.probs(ctx, question(j.Ask, j.Scale, &cases[i]))
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			out[i] = trouble(err)
			continue
		}
		out[i] = j.Scale.Weigh(probs)
	}
	return out, nil
}

// probs returns the probability of each option.
func (j *ScoreJudge) probs(ctx context.Context, text string) ([]float64, error) {
	seqs := make([]*engine.Sequence, len(j.Scale))
	for i, o := range j.Scale {
		var err error
		if seqs[i], err = j.Write(text, o.Name); err != nil {
			return nil, err
		}
	}
	scores, err := j.Model.Score(ctx, seqs, engine.Want{})
	if err != nil {
		return nil, err
	}
	if len(scores) != len(seqs) {
		return nil, fmt.Errorf("the judge's model scored %d of %d replies", len(scores), len(seqs))
	}
	logp, top := make([]float64, len(seqs)), math.Inf(-1)
	for i, s := range seqs {
		for t := 1; t < len(s.Tokens); t++ {
			if s.KindAt(t) == engine.KindDemo {
				logp[i] += float64(scores[i].LogProb[t])
			}
		}
		top = max(top, logp[i])
	}
	sum := 0.0
	for i, l := range logp {
		logp[i] = math.Exp(l - top)
		sum += logp[i]
	}
	for i := range logp {
		logp[i] /= sum
	}
	if math.IsNaN(sum) {
		return nil, errors.New("the judge's model gives no grade a probability")
	}
	return logp, nil
}
