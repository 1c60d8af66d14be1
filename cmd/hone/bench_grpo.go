package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/recipe"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/token"
	"github.com/hone-lm/hone/train"
)

type benchGrpoCmd struct {
	benchFlags
	Precision string `enum:"f32,bf16" default:"f32" help:"f32 or bf16."`
	Problems  int    `default:"32" help:"Problems a step."`
	Samples   int    `default:"8" help:"Answers a problem."`
	New       int    `default:"64" help:"Tokens of an answer."`
}

func (benchGrpoCmd) Help() string {
	return `Steps of hone run grpo on the nano model, in a run folder that is thrown away: sampling, the check of countdown, advantages, one update, metrics.
Prompts are padded to 16 tokens and answers do not end early, so that every step is the same work: 2 x parameters for each token that is
sampled or read as a prompt, 6 x for each token of the rows that are trained on. What the check gives is spread a little, because an update
of equal rewards would be one of zeros.

  hone bench grpo
  hone bench grpo --threads 1 --json | jq '{step_s, grading_share}'`
}

const (
	benchPrompt    = 16   // tokens of a prompt of the GRPO step
	benchGrpoSteps = 1000 // at most: a run says beforehand what it may write
)

// Run measures the step.
func (c *benchGrpoCmd) Run(a *app) error {
	if c.Problems < 1 || c.Samples < 2 || c.New < 1 {
		return badCallf("--problems %d, --samples %d, --new %d: give positive numbers, and two samples at least", c.Problems, c.Samples, c.New)
	}
	if _, err := withPrecision(local.Options{}, c.Precision); err != nil {
		return err
	}
	b, err := c.begin(a)
	if err != nil {
		return err
	}
	defer b.end()
	b.bf16 = c.Precision == "bf16"
	b.lookAtPeak()
	dir, err := os.MkdirTemp("", "hone-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s, m, err := c.session(a.ctx, dir)
	if err != nil {
		return err
	}
	defer s.Run.Close()
	m.now = b.now
	begin := time.Now()
	var recording error
	m.next = func(steps int) {
		if steps == 1 {
			recording = b.record()
		}
		if steps > 2 && time.Since(begin) > c.Time || a.ctx.Err() != nil { // the first step warms up
			s.Interrupt()
		}
	}
	if err := s.Exec(context.WithoutCancel(a.ctx)); err != nil && !errors.Is(err, train.ErrInterrupted) {
		return err
	}
	pprof.StopCPUProfile()
	if err := errors.Join(recording, a.ctx.Err()); err != nil {
		return err
	}
	r := c.result(b, s, m)
	if c.Plan {
		f, err := s.Forecast()
		if err != nil {
			return err
		}
		r.Planned = f.Memory.Total()
	}
	return b.print(b.against(r))
}

// session makes the run; its GRPO stage is watched by what is returned.
func (c *benchGrpoCmd) session(ctx context.Context, dir string) (*train.Session, *watchedGRPO, error) {
	settings := []string{fmt.Sprintf("problems=%d", c.Problems), fmt.Sprintf("group_size=%d", c.Samples), fmt.Sprintf("max_tokens=%d", c.New),
		"precision=" + c.Precision, "eval.problems=0", "checkpoint.every=0", fmt.Sprintf("steps=%d", benchGrpoSteps), "runs=" + dir}
	_, cfg, err := recipe.Parse("grpo", "", nil, settings)
	if err != nil {
		return nil, nil, err
	}
	yaml, err := recipe.Resolved("grpo", cfg)
	if err != nil {
		return nil, nil, err
	}
	s, err := recipe.Start(ctx, cfg, nil, io.Discard)
	if err != nil {
		return nil, nil, err
	}
	n := &s.Plan.Nodes[len(s.Plan.Nodes)-1]
	m := &watchedGRPO{GRPO: n.Method.(*recipe.GRPO)}
	format := *s.Env.Format
	format.Tok = endless{format.Tok}
	s.Env.Format = &format
	n.Method, n.Source, n.Grader = m, paddedSource{n.Source, &format}, &watchedTask{Task: n.Grader, m: m}
	s.Run, err = run.Create(dir, "grpo", yaml)
	return s, m, err
}

// result is that of the fastest step.
func (c *benchGrpoCmd) result(b *bencher, s *train.Session, m *watchedGRPO) benchResult {
	p := 0
	for _, w := range s.Engine.(*local.Engine).Model().Weights() {
		if w.Rows > 1 {
			p += w.Rows * w.Cols
		}
	}
	best := m.steps[1] // the first warms up
	for _, st := range m.steps[1:] {
		if st.took < best.took {
			best = st
		}
	}
	seconds := best.took.Seconds()
	r := benchResult{Case: fmt.Sprintf("grpo nano %s, %d x %d, prompt %d, new %d, %s", c.Precision, c.Problems, c.Samples, benchPrompt, c.New, plural(b.threads, "thread")),
		TokensPerSec: float64(best.trained) / seconds, GFlops: float64(p) * float64(2*(best.prompts+best.sampled)+6*best.trained) / seconds / 1e9,
		StepSeconds: seconds, Grading: best.grading.Seconds() / seconds}
	r.work = fmt.Sprintf("work: %s parameters x (2 x %d prompt and %d sampled tokens + 6 x %d trained on); tokens/s of what is trained on", millions(p), best.prompts, best.sampled, best.trained)
	return r
}

// grpoStep is one step as it was watched.
type grpoStep struct {
	took, grading             time.Duration
	prompts, sampled, trained int // tokens
}

// watchedGRPO is the recipe's method; it notes when steps begin and what they hold.
type watchedGRPO struct {
	*recipe.GRPO
	next    func(steps int) // called when a step begins
	now     func() time.Duration
	begun   time.Duration // 0 = no step yet
	current grpoStep
	steps   []grpoStep // that have ended, their logging included
}

// Collect implements train.Method.
func (m *watchedGRPO) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	now := m.now()
	if m.begun > 0 {
		m.current.took = now - m.begun
		m.steps = append(m.steps, m.current)
	}
	m.next(len(m.steps))
	m.begun, m.current = now, grpoStep{}
	groups, err := m.GRPO.Collect(ctx, s)
	for _, g := range groups {
		m.current.prompts += g.Episodes[0].Cost.Prompt // read once, by all answers
		for _, e := range g.Episodes {
			m.current.sampled += e.Cost.Sampled
			m.current.trained += e.Cost.Prompt + e.Cost.Sampled
		}
	}
	return groups, err
}

// watchedTask notes how long checking takes, and spreads the scores.
type watchedTask struct {
	task.Task
	m *watchedGRPO
}

// Check implements task.Task.
func (t *watchedTask) Check(p *task.Problem, answer string) task.Result {
	start := time.Now() // shorter than processor time can be told
	r := t.Task.Check(p, answer)
	t.m.current.grading += time.Since(start)
	r.Score += 0.1 * float64(strings.Count(answer, "1")%4)
	return r
}

// paddedSource makes all prompts equally long.
type paddedSource struct {
	train.Source
	format *rollout.Format
}

// At implements train.Source.
func (s paddedSource) At(i int) (*task.Problem, error) {
	p, err := s.Source.At(i)
	if err != nil {
		return nil, err
	}
	padded := *p
	for {
		seq, err := s.format.Prompt(&padded)
		if err != nil || len(seq.Tokens) >= benchPrompt {
			return &padded, err
		}
		padded.Question += strings.Repeat(" ", benchPrompt-len(seq.Tokens))
	}
}

// endless is a tokenizer whose answers do not end before they are as long as they may be.
type endless struct{ token.Tokenizer }

func (endless) EndIDs() []int32 { return nil }
