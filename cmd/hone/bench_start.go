package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/recipe"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/train"
)

type benchStartCmd struct {
	Rounds int  `default:"5" help:"Times the program is started; the fastest counts."`
	JSON   bool `name:"json" help:"One JSON object instead of text."`
	Child  bool `hidden:"" help:"Be the program that is started."`
}

func (benchStartCmd) Help() string {
	return `Starts hone again and tells how long it takes until hone run sft on the nano model, without evaluations, begins its first step and has taken it:
loading the program and the model, 1,000 demonstrations, the rehearsal of the longest batch. Also the size of the program.

  hone bench start --json`
}

// benchStarted is what hone bench start --json prints.
type benchStarted struct {
	Case     string  `json:"case"`
	Begun    float64 `json:"start_s"`        // to the beginning of the first training step
	Updated  float64 `json:"first_update_s"` // to its end
	Binary   int64   `json:"binary_bytes"`   // of this file
	Stripped int64   `json:"stripped_bytes"` // without symbols and debugging data; 0 = not known on this system
}

// Run measures the start.
func (c *benchStartCmd) Run(a *app) error {
	if c.Child {
		return c.child(a)
	}
	if c.Rounds < 1 {
		return badCallf("--rounds %d: give 1 or more", c.Rounds)
	}
	r := benchStarted{Case: "start, nano"}
	for range c.Rounds {
		begin := time.Now()
		out, err := ownOutput(a.ctx, []string{"bench", "start", "--child"})
		if err != nil {
			return err
		}
		at := make([]float64, 2)
		for i, word := range strings.Fields(string(out)) {
			ns, err := strconv.ParseInt(word, 10, 64)
			if err != nil || i >= len(at) {
				return fmt.Errorf("bench start: the program that was started answered %q", out)
			}
			at[i] = time.Unix(0, ns).Sub(begin).Seconds()
		}
		if r.Begun == 0 || at[0] < r.Begun {
			r.Begun, r.Updated = at[0], at[1]
		}
	}
	var err error
	if r.Binary, r.Stripped, err = ownSize(); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(r)
	}
	_, err = fmt.Fprintf(a.out, "%.3f s to the first training step, %.3f s to its end; program %s, %s stripped\n", r.Begun, r.Updated, size(r.Binary), sizeOrUnknown(r.Stripped))
	return err
}

// child trains until the first update and prints when the step began and when the update was done, in nanoseconds of the clock.
func (c *benchStartCmd) child(a *app) error {
	dir, err := os.MkdirTemp("", "hone-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	_, cfg, err := recipe.Parse("sft", "", nil, []string{"rows=1000", "eval.problems=0", "checkpoint.every=0", "steps=2", "runs=" + dir})
	if err != nil {
		return err
	}
	yaml, err := recipe.Resolved("sft", cfg)
	if err != nil {
		return err
	}
	s, err := recipe.Start(a.ctx, cfg, nil, io.Discard)
	if err != nil {
		return err
	}
	if s.Run, err = run.Create(dir, "sft", yaml); err != nil {
		return err
	}
	defer s.Run.Close()
	n := &s.Plan.Nodes[len(s.Plan.Nodes)-1]
	m := &watchedSFT{SFT: n.Method.(*recipe.SFT), done: s.Interrupt}
	n.Method = m
	if err := s.Exec(a.ctx); !errors.Is(err, train.ErrInterrupted) {
		return errors.Join(err, errors.New("bench start: the run ended before its second step"))
	}
	_, err = fmt.Fprintln(a.out, m.begun.UnixNano(), m.updated.UnixNano())
	return err
}

// watchedSFT notes when its first step begins and when it has been taken.
type watchedSFT struct {
	*recipe.SFT
	begun, updated time.Time
	done           func()
}

// Collect implements train.Method.
func (m *watchedSFT) Collect(ctx context.Context, s *train.Step) ([]*rollout.Group, error) {
	m.begun = time.Now()
	return m.SFT.Collect(ctx, s)
}

// Observe implements train.Method.
func (m *watchedSFT) Observe(ctx context.Context, s *train.Step, u engine.Update) (train.Signal, error) {
	m.updated = time.Now()
	m.done()
	return m.SFT.Observe(ctx, s, u)
}
