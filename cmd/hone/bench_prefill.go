package main

import "fmt"

type benchPrefillCmd struct {
	benchFlags
	Shape     string `enum:"0.3M,1.0M,5.4M,15.5M,40M,135M" default:"135M" help:"Model: ${enum}."`
	Precision string `enum:"f32,bf16" default:"f32" help:"f32 or bf16."`
	Prompt    int    `default:"512" help:"Tokens of the prompt."`
}

func (benchPrefillCmd) Help() string {
	return `One call of Sample that reads a new random prompt and draws one token. Work is 2 x parameters without the vocabulary head, which sees the last
token only, a prompt token.

  hone bench prefill --shape 135M --prompt 512 --json`
}

// Run measures the reading of a prompt.
func (c *benchPrefillCmd) Run(a *app) error {
	if c.Prompt < 1 || c.Prompt > 1<<20 {
		return badCallf("--prompt %d: give 1 to %d tokens", c.Prompt, 1<<20)
	}
	s, b, r, seconds, err := sampled(a, &c.benchFlags, c.Shape, c.Precision, 1, c.Prompt, 1)
	if err != nil {
		return err
	}
	defer b.end()
	body := s.params() - s.head()
	r.Case = fmt.Sprintf("prefill %s %s, prompt %d, %s", c.Shape, c.Precision, c.Prompt, plural(b.threads, "thread"))
	r.TokensPerSec, r.GFlops = float64(c.Prompt)/seconds, 2*float64(body)*float64(c.Prompt)/seconds/1e9
	r.work = fmt.Sprintf("work: 2 x %s parameters without the head a prompt token", millions(body))
	return b.print(b.against(r))
}
