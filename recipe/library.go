package recipe

import (
	"context"
	"errors"
	"io"

	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/run/report"
	"github.com/hone-lm/hone/train"
)

// Train trains by a registered recipe in a new run folder: what `hone run NAME key=value ...` does, for programs that use hone as a library.
// Progress goes to screen. When ctx ends the run saves its state and stops at the next step.
func Train(ctx context.Context, name string, settings []string, screen io.Writer) (*run.Run, error) {
	_, cfg, err := Parse(name, "", nil, settings)
	if err != nil {
		return nil, err
	}
	yaml, err := Resolved(name, cfg)
	if err != nil {
		return nil, err
	}
	work := context.WithoutCancel(ctx) // the loop stops by itself, at a step's end
	s, err := Start(work, cfg, nil, screen)
	if err != nil {
		return nil, err
	}
	folder := cfg.Shared().Name
	if folder == "" {
		folder = name
	}
	if s.Run, err = run.Create(cfg.Shared().Runs, folder, yaml); err != nil {
		return nil, err
	}
	release := context.AfterFunc(ctx, s.Interrupt)
	defer release()
	err = s.Exec(work)
	s.Display.Close()
	if err == nil {
		err = errors.Join(s.Run.Event(run.Done), report.Write(s.Run))
	}
	return s.Run, errors.Join(err, s.Run.Close())
}

// SFTNode makes a training stage of demonstrations for recipes outside this package; method is what trains, usually a type that embeds *SFT's
// settings and changes Streams. nil means plain supervised fine-tuning.
func SFTNode(b *Build, m *SFT, method train.Method, name string, steps int, o train.Optim) (train.Node, error) {
	n, err := m.node(b, name, steps, o)
	if method != nil {
		n.Method = method
	}
	return n, err
}

// GRPONode makes a stage of sampling and comparing within groups, as SFTNode does for demonstrations.
func GRPONode(b *Build, g *GRPO, method train.Method, name string, steps int, o train.Optim) (train.Node, error) {
	n, err := g.node(b, name, steps, 1, 1, o)
	if method != nil {
		n.Method = method
	}
	return n, err
}

// DefaultSFT and DefaultGRPO are the settings that the recipes of those names begin with.
func DefaultSFT() SFT   { return defaultSFT() }
func DefaultGRPO() GRPO { return defaultGRPO() }
