package recipe

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/nano"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/run"
	"github.com/hone-lm/hone/token"
	"github.com/hone-lm/hone/train"
)

// Loaded is a model with everything that speaks its tokens.
type Loaded struct {
	Model  *model.Model
	Format *rollout.Format
	Source string // nano, the folder or the file that its first weights came from; its tokenizer lies there
	State  string // engine state to take weights from, "" = none

	Identity string // for the cache of stages; "" without one
	under    string // state of all weights below a new adapter, "" = none
}

// LoadModel opens what the settings name: nano, a Hugging Face folder, a .gguf file, or a run's checkpoint (see run.SplitRef). A run that
// began from another run is followed back to the first one's model. Settings that train all weights go on with a run's adapter, if it has one.
func LoadModel(c *train.Common) (*Loaded, error) {
	source, links, err := lineage(c.Model, nil)
	if err != nil {
		return nil, err
	}
	l := &Loaded{Source: source}
	full, adapted := "", "" // the last state of all weights, and of an adapter over them
	for _, k := range links {
		if k.adapts() {
			adapted = k.state
		} else {
			full = k.state
		}
	}
	if adapted != "" && c.Adapter != "" {
		return nil, fmt.Errorf("model %s has an adapter of its own, so adapter=%s cannot be put on it: write the model out first with hone models convert", c.Model, c.Adapter)
	}
	if n := len(links); n > 0 && c.LoRA.Rank == 0 && c.Adapter == "" {
		c.LoRA, c.Adapter = links[n-1].lora, links[n-1].adapter
	}
	tok := token.Bytes()
	if source == "nano" {
		l.Model, err = nano.Model()
	} else if isFresh(source) {
		l.Model, err = fresh(source, c.Seed)
	} else if l.Model, err = l.open(c); err == nil {
		tok, err = token.Load(source)
	}
	if err != nil {
		return nil, err
	}
	if c.Quantised && !l.Model.Quantised() {
		return nil, fmt.Errorf("model %s: keep_quantised, but there is nothing to keep: only a .gguf file with weights of type Q8_0, Q4_0 or Q4_1 has it: set keep_quantised=false", c.Model)
	}
	if c.Quantised && full != "" {
		return nil, fmt.Errorf("model %s: a run has trained all weights of %s, so that they are quantised no more: set keep_quantised=false", c.Model, source)
	}
	if err := l.adapt(c, full, adapted); err != nil {
		return nil, err
	}
	if l.Format, err = rollout.NewFormat(tok); err != nil {
		return nil, err
	}
	l.Format.System, l.Format.Suffix = c.System, c.Suffix
	if c.Cache != "" {
		if l.Identity, err = l.identity(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// open reads the model's files.
func (l *Loaded) open(c *train.Common) (*model.Model, error) {
	if c.Quantised {
		return model.LoadQuantised(l.Source)
	}
	return model.Load(l.Source)
}

// adapt puts the adapter that the settings ask for on the weights that it was, or will be, trained on, and notes the state to begin from.
func (l *Loaded) adapt(c *train.Common, full, adapted string) error {
	if c.Adapter == "" && c.LoRA.Rank == 0 {
		l.State = full
		return nil
	}
	l.State, l.under = adapted, full
	if full != "" { // the base is a run's weights: they must be there before the adapter is
		e, err := local.New(l.Model, nil, local.Options{})
		if err == nil {
			err = loadWeights(context.Background(), e, full)
		}
		if err != nil {
			return fmt.Errorf("model %s: %w", c.Model, err)
		}
	}
	if c.Adapter != "" {
		return l.Model.LoadAdapter(c.Adapter)
	}
	return l.Model.AddLoRA(model.LoRASpec{Rank: c.LoRA.Rank, Alpha: c.LoRA.Alpha, RSLoRA: c.LoRA.RSLoRA, Targets: c.LoRA.Targets, Seed: c.Seed})
}

// link is one run of a model's lineage: the checkpoint that was taken, and the adapter that the run trained, its own or its parent's.
type link struct {
	state   string // engine.state of the checkpoint
	lora    train.LoRA
	adapter string
}

func (k *link) adapts() bool { return k.lora.Rank > 0 || k.adapter != "" }

// lineage follows a model reference from run to run down to the model that the first of them began with. Links come oldest first. seen holds
// the folders on the way here.
func lineage(ref string, seen []string) (source string, links []link, err error) {
	r, at := openRef(ref)
	if r == nil {
		return ref, nil, nil
	}
	dir, err := filepath.Abs(r.Dir)
	if err != nil {
		return "", nil, err
	}
	if at := slices.Index(seen, dir); at >= 0 {
		return "", nil, fmt.Errorf("model %s: the runs begin from each other in a circle: %s: correct the line model: in one config.yaml", ref, strings.Join(append(seen[at:], dir), " from "))
	}
	cp, err := r.CheckpointAt(at)
	if err != nil {
		return "", nil, err
	}
	_, cfg, err := Stored(r)
	if err != nil {
		return "", nil, fmt.Errorf("model %s: %w", ref, err)
	}
	was := cfg.Shared()
	k := link{state: filepath.Join(cp.Dir, "engine.state"), lora: was.LoRA, adapter: was.Adapter}
	source, links, err = lineage(was.Model, append(seen, dir))
	if err != nil {
		return "", nil, err
	}
	if n := len(links); n > 0 && !k.adapts() {
		k.lora, k.adapter = links[n-1].lora, links[n-1].adapter
	}
	return source, append(links, k), nil
}

// openRef opens the run that a reference names, nil when it names none: files and folders of models are something else.
func openRef(ref string) (r *run.Run, at string) {
	if ref == "nano" || isFresh(ref) {
		return nil, ""
	}
	dir, at := run.SplitRef(ref)
	for _, model := range []string{ref, dir} { // a model's folder may have an @ in its name, and a config.yaml inside
		if _, err := os.Stat(model); err == nil {
			_, err := os.Stat(filepath.Join(model, run.ConfigFile))
			if _, isModel := os.Stat(filepath.Join(model, "config.json")); err != nil || isModel == nil {
				return nil, ""
			}
			break
		}
	}
	r, err := run.Open(filepath.Dir(dir), filepath.Base(dir)) // the name may be cut short
	if err != nil {
		return nil, ""
	}
	return r, at
}

// StoredSettings returns the settings of the run that a model reference names, nil when it names no run.
func StoredSettings(ref string) (Config, error) {
	r, _ := openRef(ref)
	if r == nil {
		return nil, nil
	}
	_, cfg, err := Stored(r)
	return cfg, err
}

// Engine makes the engine of a loaded model and puts it at its state.
func (l *Loaded) Engine(ctx context.Context, c *train.Common) (*local.Engine, error) {
	e, err := local.New(l.Model, l.Format.Tok, local.Options{Precision: c.Precision, MicroTokens: c.MicroTokens, Context: c.Context, Recompute: c.Recompute, SharePrompts: c.SharePrompts, Slots: c.Slots, CacheTokens: c.CacheTokens})
	if err != nil || l.State == "" {
		return e, err
	}
	return e, loadWeights(ctx, e, l.State)
}

// PrecisionNote says what became of a setting that this machine cannot follow; "" when it can.
func PrecisionNote(c *train.Common, e engine.Engine) string {
	if c.Precision != local.BF16 || e.Info().Precision == local.BF16 {
		return ""
	}
	return "precision bf16 needs a processor with AVX512_BF16 (hone doctor lists cpu features): going on in " + e.Info().Precision
}

func loadWeights(ctx context.Context, e *local.Engine, state string) error {
	f, err := os.Open(state)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := e.LoadWeights(ctx, f); err != nil {
		return fmt.Errorf("%s: %w", state, err)
	}
	return nil
}
