package recipe

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/run/progress"
	"github.com/hone-lm/hone/train"
)

// Parse returns the settings of a recipe after a file's (may be empty) and key=value overrides.
func Parse(name, path string, src []byte, overrides []string) (Paper, Config, error) {
	p, err := Get(name)
	if err != nil {
		return p, nil, err
	}
	cfg := p.Config()
	return p, cfg, config.Load(cfg, path, src, overrides)
}

// Stored reads a run's resolved settings.
func Stored(r *run.Run) (string, Config, error) {
	src, err := r.Config()
	if err != nil {
		return "", nil, err
	}
	name, rest, ok := strings.Cut(string(src), "\n")
	name, isRecipe := strings.CutPrefix(name, "recipe: ")
	if !ok || !isRecipe {
		return "", nil, fmt.Errorf("%s: the first line does not name the recipe", r.Path(run.ConfigFile))
	}
	_, cfg, err := Parse(strings.TrimSpace(name), r.Path(run.ConfigFile), []byte(rest), nil)
	return strings.TrimSpace(name), cfg, err
}

// Resolved writes the settings as config.yaml holds them.
func Resolved(name string, cfg Config) ([]byte, error) {
	b, err := config.Marshal(cfg)
	return append([]byte("recipe: "+name+"\n"), b...), err
}

// Start opens the model, builds the plan and the suites; the run folder comes from the caller (nil for a dry run).
func Start(ctx context.Context, cfg Config, r *run.Run, screen io.Writer) (*train.Session, error) {
	c := cfg.Shared()
	l, err := LoadModel(c)
	if err != nil {
		return nil, err
	}
	e, err := l.Engine(ctx, c)
	if err != nil {
		return nil, err
	}
	b := &Build{Format: l.Format, Common: c, Context: e.Info().Context}
	s := &train.Session{Common: *c, Engine: e, Run: r, Display: progress.New(screen)}
	s.Start = l.Identity
	if note := PrecisionNote(c, e); note != "" {
		s.Display.Line(note)
	}
	s.Env = rollout.Env{Engine: e, Format: l.Format}
	name := c.Eval.Task
	if name == "" {
		name = cfg.EvalTask()
	}
	if name != "" && c.Eval.Problems > 0 {
		if s.Suites, err = b.Suites(name); err != nil {
			return nil, fmt.Errorf("eval.task: %w", err)
		}
		b.hold(s.Suites)
	}
	if s.Plan, err = cfg.Plan(b); err != nil {
		return nil, err
	}
	if err := trainable(l, s.Plan); err != nil {
		return nil, err
	}
	if b.Dropped > 0 {
		s.Display.Line(fmt.Sprintf("left out %d training rows that repeat evaluation text (eval.contamination)", b.Dropped))
	}
	if b.Long > 0 {
		s.Display.Line(fmt.Sprintf("left out %d training rows that are longer than the context of %d tokens (too_long=drop)", b.Long, b.Context))
	}
	return s, nil
}

// trainable refuses a plan that would train quantised weights.
func trainable(l *Loaded, p train.Plan) error {
	if !l.Model.Quantised() || l.Model.Adapter() != nil {
		return nil
	}
	for _, n := range p.Nodes {
		if n.Kind == train.Train || n.Kind == train.Pretrain {
			return fmt.Errorf("node %s trains all weights, but keep_quantised leaves them as %s, which cannot be trained: train an adapter with lora.rank=16, or set keep_quantised=false", n.Name, l.Model.QuantFormats())
		}
	}
	return nil
}
