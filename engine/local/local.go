// Package local is the embedded engine: it trains and samples a decoder transformer in this process, on the CPU, without cgo.
//
// Sampling and training run the same forward arithmetic row by row, so a sampled token's log-prob has the bytes of the training forward:
// on policy exp(logprob - logp_old) is exactly 1.
package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/model/safetensors"
	"github.com/hone-lm/hone/tensor"
	"github.com/hone-lm/hone/token"
)

// Options are the settings of the engine that a config names.
type Options struct {
	Precision string // F32 (or "") or BF16: of the products of linear layers and the head; weights, gradients and moments are float32

	MicroTokens int  // tokens forwarded and differentiated together; a longer sequence runs alone
	Context     int  // longest sequence; 0 = the model's
	Recompute   bool // keep only layer inputs and compute activations again in the backward pass
	Slots       int  // sequences sampled together
	CacheTokens int  // positions whose keys and values sampling keeps; 0 = as many as DefaultCacheBytes hold, and no more than all slots can use

	// SharePrompts lets the sequences of a micro-batch that have the same prompt compute it once, in Score and Backward. Log-probs keep their bytes;
	// gradients are added up in another order, and more sequences fit into a micro-batch.
	SharePrompts bool
}

// Values of Options.Precision. With BF16 products round both operands to bf16 and add in float32; where the CPU has no instruction for that
// the engine takes F32, which Info tells.
const (
	F32  = "f32"
	BF16 = "bf16"
)

// Defaults of Options.
const (
	DefaultMicroTokens = 4096
	DefaultSlots       = 64
	DefaultCacheBytes  = 1 << 30
)

// Engine implements engine.Engine.
type Engine struct {
	mu    guard
	opt   Options
	tok   token.Tokenizer
	live  *runner // the trained model
	tape  *tensor.Tape
	head  tensor.Head
	in    model.Input
	lay   layout // of in
	adam  *tensor.AdamW
	work  scratch
	base  string // hash of weights that never change, "" when all are trained
	grads bool   // something was added since the last Step

	reserved int // tokens of a micro-batch for which the tape has room

	frozen map[string]*Frozen
	order  []string // names in frozen, in the order they were made

	buffers map[string]*buffer // named gradients
	home    [][]float32        // [parameter] weights that LookAhead puts back
	away    bool               // the weights are moved
}

var _ engine.Engine = (*Engine)(nil)

var caps = engine.Capabilities{
	engine.CapLogProb: true, engine.CapSample: true, engine.CapFrozen: true, engine.CapTemperature: true,
	engine.CapEntropy: true, engine.CapTopK: true, engine.CapRules: true, engine.CapBlend: true, engine.CapHidden: true,
	engine.CapValue: true, engine.CapRowTerms: true, engine.CapBatchScope: true, engine.CapGradients: true,
}

func (o *Options) bf16() bool { return o.Precision == BF16 }

// New makes an engine for a model; the model's adapter, if it has one, is what will be trained. tok may be nil when no stop strings are used.
func New(m *model.Model, tok token.Tokenizer, opt Options) (*Engine, error) {
	switch {
	case opt.Precision == "" || opt.Precision == BF16 && !tensor.HasBF16():
		opt.Precision = F32
	case opt.Precision != F32 && opt.Precision != BF16:
		return nil, fmt.Errorf("precision is %q: it must be %s or %s", opt.Precision, F32, BF16)
	}
	if opt.MicroTokens <= 0 {
		opt.MicroTokens = DefaultMicroTokens
	}
	if opt.Slots <= 0 {
		opt.Slots = DefaultSlots
	}
	if opt.Context <= 0 || opt.Context > m.Config.MaxPos {
		opt.Context = m.Config.MaxPos
	}
	if opt.CacheTokens <= 0 {
		c := &m.Config
		each := 8 * c.Layers * c.KVHeads * c.HeadDim // bytes: a key and a value in every layer
		opt.CacheTokens = max(opt.Context, min(DefaultCacheBytes/each, opt.Slots*opt.Context))
	}
	if opt.CacheTokens < opt.Context {
		return nil, fmt.Errorf("cache_tokens is %d, but one sequence may have %d: raise it, or lower context", opt.CacheTokens, opt.Context)
	}
	if tok != nil && tok.VocabSize() > m.Config.Vocab {
		return nil, fmt.Errorf("%s: the tokenizer has %d ids but the model's vocabulary %d: they are not from the same model", tok.Name(), tok.VocabSize(), m.Config.Vocab)
	}
	e := &Engine{opt: opt, tok: tok, tape: tensor.NewTape(), frozen: map[string]*Frozen{}, buffers: map[string]*buffer{}}
	e.tape.BF16(opt.bf16())
	e.head.BF16 = opt.bf16()
	e.live = newRunner(m, opt, tok, &e.mu)
	return e, nil
}

// trainable prepares gradients and moments at the first Backward: an engine that only samples does not pay for them.
func (e *Engine) trainable() error {
	if e.adam != nil {
		return nil
	}
	if err := e.live.m.Train(); err != nil {
		return err
	}
	var decay, plain tensor.ParamGroup
	decay.Decay = true
	head := e.live.m.ValueHead()
	for _, p := range e.live.m.Params() {
		if head != nil && (p.Tensor == head.W || p.Tensor == head.B) {
			continue
		}
		if p.Decay {
			decay.Params = append(decay.Params, p.Tensor)
		} else {
			plain.Params = append(plain.Params, p.Tensor)
		}
	}
	e.adam = tensor.NewAdamW(decay, plain)
	if head != nil {
		e.joinCritic()
	}
	return nil
}

// Info implements engine.Engine.
func (e *Engine) Info() engine.Info {
	m := e.live.m
	trainable := 0
	for _, p := range m.Params() {
		trainable += p.Rows * p.Cols
	}
	precision := e.opt.Precision
	if q := m.QuantFormats(); q != "" {
		precision += " over " + q
	}
	return engine.Info{
		Engine: "local", Model: m.Path, Params: int64(m.Count()), Trainable: int64(trainable), Context: e.opt.Context, VocabSize: m.Config.Vocab,
		Precision: precision, Kernels: tensor.KernelLevel(), Threads: runtime.GOMAXPROCS(0),
		Caps: caps, Tokenizer: e.tok, MicroBatch: e.opt.MicroTokens,
	}
}

// Step implements engine.Engine.
func (e *Engine) Step(ctx context.Context, o engine.Optim) (engine.Update, error) {
	if err := e.mu.change(ctx); err != nil {
		return engine.Update{}, err
	}
	defer e.mu.changed()
	if err := errors.Join(checkOptim(o), e.settled("Step")); err != nil {
		return engine.Update{}, err
	}
	if !e.grads {
		u := engine.Update{Skipped: true, LR: o.LR}
		if e.adam != nil {
			u.Step = e.adam.Steps
		}
		return u, nil
	}
	for i := range e.criticSlots() {
		e.criticSlots()[i].LRScale = groupFactor(o, engine.GroupValueHead)
	}
	e.live.forget()
	norm, err := e.adam.Step(tensor.AdamConfig{LR: o.LR, Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps, Decay: o.WeightDecay, Clip: o.Clip})
	e.clear()
	if err != nil {
		return engine.Update{}, fmt.Errorf("update %d: %w", e.adam.Steps+1, err)
	}
	return engine.Update{Step: e.adam.Steps, Norm: norm, Clipped: o.Clip > 0 && norm > o.Clip, LR: o.LR}, nil
}

// checkOptim refuses settings that would spoil the weights.
func checkOptim(o engine.Optim) error {
	for _, f := range []struct {
		name       string
		value, top float64
	}{{"lr", o.LR, math.MaxFloat32}, {"beta1", o.Beta1, 1}, {"beta2", o.Beta2, 1}, {"eps", o.Eps, math.MaxFloat32}, {"weight_decay", o.WeightDecay, math.MaxFloat32}, {"clip", o.Clip, math.Inf(1)}} {
		if !(f.value >= 0 && f.value < f.top) {
			return fmt.Errorf("optimiser: %s is %g: it must be at least 0 and below %g", f.name, f.value, f.top)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Groups)) {
		if name != engine.GroupValueHead {
			return fmt.Errorf("optimiser: groups names %q, but this engine has no such parameter group: it has %q", name, engine.GroupValueHead)
		}
		if f := o.Groups[name]; !(f >= 0 && f*o.LR < math.MaxFloat32) {
			return fmt.Errorf("optimiser: groups: the learning-rate factor of %q is %g: it must be at least 0 and finite", name, f)
		}
	}
	return nil
}

// groupFactor returns the learning-rate factor of a parameter group.
func groupFactor(o engine.Optim, group string) float64 {
	if f, ok := o.Groups[group]; ok {
		return f
	}
	return 1
}

// Sample implements engine.Engine.
func (e *Engine) Sample(ctx context.Context, prompts []engine.Prompt) ([][]*engine.Sequence, error) {
	return e.live.Sample(ctx, prompts)
}

// Score implements engine.Engine.
func (e *Engine) Score(ctx context.Context, seqs []*engine.Sequence, want engine.Want) ([]*engine.Scores, error) {
	return e.live.Score(ctx, seqs, want)
}

// Export implements engine.Engine: the adapter when there is one, otherwise the whole model in f32; beside it the value head, if there is one.
func (e *Engine) Export(ctx context.Context, dir string) error {
	if err := e.mu.enter(); err != nil {
		return err
	}
	defer e.mu.Unlock()
	err := e.settled("Export")
	m := e.live.m
	switch {
	case err != nil:
	case m.Adapter() != nil:
		err = m.SaveAdapter(dir)
	default:
		err = m.SaveHF(dir, safetensors.F32)
	}
	if err == nil && m.ValueHead() != nil {
		err = m.SaveValueHead(dir)
	}
	return err
}

// Close implements engine.Engine.
func (e *Engine) Close() error { return nil }

// Model returns the trained model, for export and inspection.
func (e *Engine) Model() *model.Model { return e.live.m }
