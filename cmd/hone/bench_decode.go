package main

import (
	"fmt"
	"time"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/internal/rng"
)

type benchDecodeCmd struct {
	benchFlags
	Shape     string `enum:"0.3M,1.0M,5.4M,15.5M,40M,135M" default:"5.4M" help:"Model: ${enum}."`
	Precision string `enum:"f32,bf16" default:"f32" help:"f32 or bf16."`
	Streams   int    `default:"1" help:"Sequences sampled together."`
	Prompt    int    `default:"16" help:"Tokens of each prompt."`
	New       int    `default:"64" help:"Tokens drawn for each prompt."`
}

func (benchDecodeCmd) Help() string {
	return `One call of Sample with new random prompts each round, at temperature 1, without stop tokens. Reading the prompts is inside the clock; only new
tokens count. Work is 2 x parameters a new token, compared with the FMA peak. One sequence alone reads all weights for each token: it is
compared with the bandwidth of memory, 4 bytes x parameters a new token.

  hone bench decode --shape 15.5M --streams 32 --prompt 16 --new 240
  hone bench decode --shape 135M --new 112 --threads 1 --json`
}

// Run measures sampling.
func (c *benchDecodeCmd) Run(a *app) error {
	if c.Streams < 1 || c.Streams > 4096 || c.Prompt < 1 || c.New < 1 || c.Prompt+c.New > 1<<20 {
		return badCallf("--streams %d, --prompt %d, --new %d: give positive numbers, at most 4096 streams and %d tokens", c.Streams, c.Prompt, c.New, 1<<20)
	}
	s, b, r, seconds, err := sampled(a, &c.benchFlags, c.Shape, c.Precision, c.Streams, c.Prompt, c.New)
	if err != nil {
		return err
	}
	defer b.end()
	speed := float64(c.Streams*c.New) / seconds
	r.Case = fmt.Sprintf("decode %s %s, %s, prompt %d, new %d, %s", c.Shape, c.Precision, plural(c.Streams, "stream"), c.Prompt, c.New, plural(b.threads, "thread"))
	r.TokensPerSec, r.GFlops = speed, 2*float64(s.params())*speed/1e9
	r.work = fmt.Sprintf("work: 2 x %s parameters a new token", millions(s.params()))
	if c.Streams == 1 {
		r.GBytes = float64(weightBytes(c.Precision)*s.params()) * speed / 1e9
		r.work = fmt.Sprintf("read: %d bytes x %s parameters a new token", weightBytes(c.Precision), millions(s.params()))
	}
	return b.print(b.against(r))
}

// weightBytes is how many bytes a weight has.
func weightBytes(precision string) int {
	if precision == "bf16" {
		return 2
	}
	return 4
}

// sampled measures calls of Sample: the seconds of the fastest, with the memory in the result. The caller ends the bencher unless there is an error.
func sampled(a *app, f *benchFlags, shape, precision string, streams, prompt, drawn int) (s benchShape, b *bencher, r benchResult, seconds float64, err error) {
	if s, err = shapeOf(shape); err != nil {
		return
	}
	o, err := withPrecision(local.Options{Context: prompt + drawn, Slots: streams}, precision)
	if err != nil {
		return
	}
	e, err := s.engine(o, false)
	if err != nil {
		return
	}
	if b, err = f.begin(a); err != nil {
		return
	}
	defer func() {
		if err != nil {
			b.end()
		}
	}()
	b.bf16 = precision == "bf16"
	b.lookAtPeak()
	round := 0
	if seconds, err = b.fastest(func() (time.Duration, error) {
		round++
		prompts := s.prompts(round, streams, prompt, drawn)
		return b.timed(func() error {
			_, err := e.Sample(a.ctx, prompts)
			return err
		})
	}); err == nil {
		r.Planned, err = b.plan(samplingOnly{e}, engine.Work{Sample: prompt + drawn, Answers: streams})
	}
	return
}

// prompts makes new random prompts.
func (s benchShape) prompts(round, streams, prompt, drawn int) []engine.Prompt {
	list := make([]engine.Prompt, streams)
	for i := range list {
		key := rng.New(1, "bench", uint64(round), uint64(i))
		list[i] = engine.Prompt{Seq: s.random(key, prompt), N: 1, Params: engine.Params{MaxTokens: drawn}, Key: key.With(1)}
	}
	return list
}

// samplingOnly plans without what training takes.
type samplingOnly struct{ engine.Fitter }

// Memory implements engine.Fitter.
func (e samplingOnly) Memory(w engine.Work) (engine.Memory, error) {
	m, err := e.Fitter.Memory(w)
	m.Optimiser, m.Activations = 0, 0
	return m, err
}
