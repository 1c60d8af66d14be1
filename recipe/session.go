package recipe

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/internal/config"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/nano"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/run/progress"
	"github.com/hone-lm/hone/token"
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

// Loaded is a model with everything that speaks its tokens.
type Loaded struct {
	Model  *model.Model
	Format *rollout.Format
	State  string // engine state to take weights from, "" = none

	Identity string // for the cache of stages; "" without one
}

// LoadModel opens what the settings name: nano, new (random weights), a Hugging Face folder, a .gguf file, or a run's checkpoint (runs/ID or runs/ID@step).
func LoadModel(c *train.Common) (*Loaded, error) {
	source, state := c.Model, ""
	if base, at, ok := runRef(c.Model); ok {
		r, err := run.Open(filepath.Dir(base), filepath.Base(base)) // the name may be cut short
		if err != nil {
			return nil, err
		}
		cp, err := r.FindCheckpoint(at)
		if err != nil {
			return nil, err
		}
		name, inner, err := Stored(r)
		if err != nil {
			return nil, fmt.Errorf("model %s: %w", c.Model, err)
		}
		was := inner.Shared()
		state, source = filepath.Join(cp.Dir, "engine.state"), was.Model
		if _, _, again := runRef(source); again {
			return nil, fmt.Errorf("model %s: recipe %s itself began from %s: export that run first (hone models convert)", c.Model, name, source)
		}
		if c.LoRA.Rank == 0 {
			c.LoRA, c.Adapter = was.LoRA, was.Adapter
		}
	}
	l := &Loaded{State: state}
	tok := token.Bytes()
	var err error
	if source == "nano" {
		l.Model, err = nano.Model()
	} else if isFresh(source) {
		l.Model, err = fresh(source, c.Seed)
	} else if l.Model, err = model.Load(source); err == nil {
		tok, err = token.Load(source)
	}
	if err != nil {
		return nil, err
	}
	if c.Adapter != "" {
		err = l.Model.LoadAdapter(c.Adapter)
	} else if c.LoRA.Rank > 0 {
		err = l.Model.AddLoRA(model.LoRASpec{Rank: c.LoRA.Rank, Alpha: c.LoRA.Alpha, RSLoRA: c.LoRA.RSLoRA, Targets: c.LoRA.Targets, Seed: c.Seed})
	}
	if err != nil {
		return nil, err
	}
	if l.Format, err = rollout.NewFormat(tok); err != nil {
		return nil, err
	}
	l.Format.System, l.Format.Suffix = c.System, c.Suffix
	if c.Cache != "" {
		if l.Identity, err = l.identity(source); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// runRef reads runs/ID[@step]: a run's folder, its name cut short or not. Files and folders of models are something else.
func runRef(ref string) (base string, step int, ok bool) {
	base, at, cut := strings.Cut(ref, "@")
	step = -1
	if cut {
		var err error
		if step, err = strconv.Atoi(at); err != nil {
			return "", 0, false
		}
	}
	if _, err := os.Stat(base); err == nil {
		_, err := os.Stat(filepath.Join(base, run.ConfigFile))
		_, isModel := os.Stat(filepath.Join(base, "config.json"))
		return base, step, err == nil && isModel != nil
	}
	_, err := run.Open(filepath.Dir(base), filepath.Base(base))
	return base, step, err == nil
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

// Engine makes the engine of a loaded model and puts it at its state.
func (l *Loaded) Engine(ctx context.Context, c *train.Common) (*local.Engine, error) {
	e, err := local.New(l.Model, l.Format.Tok, local.Options{MicroTokens: c.MicroTokens, Context: c.Context, Recompute: c.Recompute, Slots: c.Slots})
	if err != nil || l.State == "" {
		return e, err
	}
	f, err := os.Open(l.State)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return e, e.LoadWeights(ctx, f)
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
	if b.Dropped > 0 {
		s.Display.Line(fmt.Sprintf("left out %d training rows that repeat evaluation text (eval.contamination)", b.Dropped))
	}
	return s, nil
}
