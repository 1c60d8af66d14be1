// Package enginetest holds an exact engine for tests: a table of logits for each context, in float64, small enough to add up every
// sequence that it can write.
package enginetest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/internal/rng"
)

// Table implements engine.Engine. The logits of a token depend on the Order tokens before it, by table; there is no other approximation
// than the rounding of log-probs, values and a row term's logits to the float32 of the seam. A second table, zeros at first, holds a value
// for each context. It offers sampling (temperature, greedy, stop ids), scoring with entropy, values and row terms, objectives of every
// scope, gradient buffers and frozen copies; it has no files and no text. It is not safe for concurrent use.
type Table struct {
	table
	context int
	grad    []float64
	m, v    []float64
	updates int64
	pending bool // something was added since the last Step
	frozen  map[string]*Frozen
	order   []string
	buffers map[string][]float64 // named gradients
	away    bool                 // LookAhead has moved the weights
}

var _ engine.Engine = (*Table)(nil)

// table is a model: the row of logits of a context is found by its last order tokens, read as a number in base vocab+1.
type table struct {
	Vocab, Order int
	W            []float64 // logits [(vocab+1)^order][vocab], then values [(vocab+1)^order]
}

// logits returns how many of W are logits.
func (m *table) logits() int { return len(m.W) / (m.Vocab + 1) * m.Vocab }

// value returns where the value before tokens[t] stands in W.
func (m *table) value(tokens []int32, t int) int { return m.logits() + m.row(tokens, t)/m.Vocab }

var caps = engine.Capabilities{
	engine.CapLogProb: true, engine.CapSample: true, engine.CapFrozen: true, engine.CapTemperature: true,
	engine.CapEntropy: true, engine.CapBlend: true, engine.CapBatchScope: true, engine.CapValue: true, engine.CapRowTerms: true, engine.CapGradients: true,
}

// New makes a table with standard normal logits and values of 0. (vocab+1)^order * vocab must not exceed a million.
func New(vocab, order, context int, seed uint64) (*Table, error) {
	n := float64(vocab) * math.Pow(float64(vocab+1), float64(order))
	if vocab < 2 || order < 1 || context < 2 || n > 1e6 {
		return nil, fmt.Errorf("table of %d ids, order %d, context %d: give at least 2, 1 and 2, and at most a million logits", vocab, order, context)
	}
	t := &Table{table: table{Vocab: vocab, Order: order, W: make([]float64, int(n)/vocab*(vocab+1))}, context: context, frozen: map[string]*Frozen{}}
	key := rng.New(seed, "tabular engine")
	for i := range int(n) {
		t.W[i] = key.Normal(uint64(i))
	}
	t.reset()
	return t, nil
}

func (t *Table) reset() {
	n := len(t.W)
	t.grad, t.m, t.v, t.updates, t.pending = make([]float64, n), make([]float64, n), make([]float64, n), 0, false
	t.buffers = map[string][]float64{}
}

// row returns where the logits of tokens[t] begin in W.
func (m *table) row(tokens []int32, t int) int {
	at := 0
	for i := t - m.Order; i < t; i++ {
		at *= m.Vocab + 1
		if i >= 0 {
			at += int(tokens[i]) + 1
		}
	}
	return at * m.Vocab
}

// logProbs fills out with the distribution of tokens[t], in nats, and returns its entropy.
func (m *table) logProbs(tokens []int32, t int, temp float32, out []float64) (entropy float64) {
	z := m.W[m.row(tokens, t):][:m.Vocab]
	top, sum := slices.Max(z), 0.0
	for _, x := range z {
		sum += math.Exp((x - top) / float64(temp))
	}
	for i, x := range z {
		out[i] = (x-top)/float64(temp) - math.Log(sum)
		entropy -= math.Exp(out[i]) * out[i]
	}
	return entropy
}

func (m *table) check(s *engine.Sequence, context int) error {
	switch {
	case s.Hide != nil || s.Pos != nil:
		return &engine.NotYet{Engine: "tabular", What: engine.CapHide}
	case s.Mix != nil:
		return &engine.NotYet{Engine: "tabular", What: engine.CapMix}
	case len(s.Tokens) > context:
		return fmt.Errorf("sequence %s has %d tokens but the context is %d", s.Label(), len(s.Tokens), context)
	case s.Temp != 0 && !(s.Temp > 0):
		return fmt.Errorf("sequence %s has temperature %g", s.Label(), s.Temp)
	}
	for t, id := range s.Tokens {
		if id < 0 || int(id) >= m.Vocab {
			return fmt.Errorf("sequence %s: token %d is id %d, but the vocabulary has %d ids", s.Label(), t, id, m.Vocab)
		}
	}
	return nil
}

// Info implements engine.Engine.
func (t *Table) Info() engine.Info {
	n := int64(len(t.W))
	return engine.Info{Engine: "tabular", Model: "table", Params: n, Trainable: n, Context: t.context, VocabSize: t.Vocab, Precision: "f64", Kernels: "go", Threads: 1, Caps: caps}
}

// Step implements engine.Engine: AdamW in float64.
func (t *Table) Step(ctx context.Context, o engine.Optim) (engine.Update, error) {
	factor := 1.0 // of the values' learning rate
	for name, f := range o.Groups {
		if name != engine.GroupValueHead || !(f >= 0) {
			return engine.Update{}, fmt.Errorf("optimiser: groups names %q with factor %g: the tabular engine has the group %q, and factors are at least 0", name, f, engine.GroupValueHead)
		}
		factor = f
	}
	if err := t.settled("Step"); err != nil {
		return engine.Update{}, err
	}
	if !t.pending {
		return engine.Update{Step: t.updates, Skipped: true, LR: o.LR}, nil
	}
	square := 0.0
	for _, g := range t.grad {
		square += g * g
	}
	norm, scale := math.Sqrt(square), 1.0
	defer clear(t.grad)
	t.pending = false
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		return engine.Update{}, fmt.Errorf("update %d: the gradient norm is %g; the step was not taken", t.updates+1, norm)
	}
	if o.Clip > 0 {
		scale = min(1, o.Clip/(norm+1e-6))
	}
	t.updates++
	bias1, bias2 := 1-math.Pow(o.Beta1, float64(t.updates)), 1-math.Pow(o.Beta2, float64(t.updates))
	for i, g := range t.grad {
		g *= scale
		t.m[i] = o.Beta1*t.m[i] + (1-o.Beta1)*g
		t.v[i] = o.Beta2*t.v[i] + (1-o.Beta2)*g*g
		lr := o.LR
		if i >= t.logits() {
			lr *= factor
		}
		t.W[i] -= lr * (o.WeightDecay*t.W[i] + t.m[i]/bias1/(math.Sqrt(t.v[i]/bias2)+o.Eps))
	}
	return engine.Update{Step: t.updates, Norm: norm, Clipped: o.Clip > 0 && norm > o.Clip, LR: o.LR}, nil
}

// Weights returns the table of logits itself, [(vocab+1)^order][vocab]; tests may change it.
func (t *Table) Weights() []float64 { return t.W[:t.logits()] }

// Values returns the table of values itself, [(vocab+1)^order]; tests may change it.
func (t *Table) Values() []float64 { return t.W[t.logits():] }

// Gradient returns the gradient gathered since the last Step, shaped as Weights.
func (t *Table) Gradient() []float64 { return t.grad[:t.logits()] }

// ValueGradient is Gradient of Values.
func (t *Table) ValueGradient() []float64 { return t.grad[t.logits():] }

// Frozen is a copy of a table.
type Frozen struct {
	table
	name string
	of   *Table
}

// Freeze implements engine.Engine. There is no adapter, so "base" is a copy as any other.
func (t *Table) Freeze(ctx context.Context, name string) (engine.Frozen, error) {
	if _, ok := t.frozen[name]; !ok {
		t.order = append(t.order, name)
	}
	f := &Frozen{table: t.table, name: name, of: t}
	f.W = slices.Clone(t.W)
	t.frozen[name] = f
	return f, nil
}

// Kept returns a frozen copy by name, such as one that a loaded state brought.
func (t *Table) Kept(name string) (engine.Frozen, bool) {
	f, ok := t.frozen[name]
	return f, ok
}

// Open implements engine.Engine: a table has no files.
func (t *Table) Open(ctx context.Context, name, ref string) (engine.Frozen, error) {
	return nil, fmt.Errorf("frozen model %q: the tabular engine cannot read %s: it has no files", name, ref)
}

// Name implements engine.Frozen.
func (f *Frozen) Name() string { return f.name }

// Score implements engine.Frozen.
func (f *Frozen) Score(ctx context.Context, seqs []*engine.Sequence, want engine.Want) ([]*engine.Scores, error) {
	return f.score(seqs, want, f.of)
}

// Sample implements engine.Frozen.
func (f *Frozen) Sample(ctx context.Context, prompts []engine.Prompt) ([][]*engine.Sequence, error) {
	return f.sample(prompts, f.of.context)
}

// Blend implements engine.Frozen.
func (f *Frozen) Blend(ctx context.Context, decay float64) error {
	if !(decay >= 0 && decay <= 1) {
		return fmt.Errorf("frozen model %q: blend with decay %g: give 0 to 1", f.name, decay)
	}
	for i, w := range f.of.W {
		f.W[i] = decay*f.W[i] + (1-decay)*w
	}
	return nil
}

// state is what Save writes, as JSON: Go writes float64 so that they read back to the bit.
type state struct {
	Format  string
	Table   table
	M, V    []float64
	Updates int64
	Names   []string
	Frozen  [][]float64
	Buffers map[string][]float64
}

const stateFormat = "hone tabular state 2"

// Save implements engine.Engine.
func (t *Table) Save(ctx context.Context, w io.Writer) error {
	if err := t.settled("Save"); err != nil {
		return err
	}
	s := state{Format: stateFormat, Table: t.table, M: t.m, V: t.v, Updates: t.updates, Names: t.order, Buffers: t.buffers}
	for _, n := range t.order {
		s.Frozen = append(s.Frozen, t.frozen[n].W)
	}
	return json.NewEncoder(w).Encode(s)
}

// Load implements engine.Engine.
func (t *Table) Load(ctx context.Context, r io.Reader) error { return t.load(r, true) }

// LoadWeights implements engine.Engine.
func (t *Table) LoadWeights(ctx context.Context, r io.Reader) error { return t.load(r, false) }

func (t *Table) load(r io.Reader, all bool) error {
	var s state
	if err := json.NewDecoder(r).Decode(&s); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	n := len(t.W)
	if s.Format != stateFormat || s.Table.Vocab != t.Vocab || s.Table.Order != t.Order || len(s.Table.W) != n || len(s.M) != n || len(s.V) != n || len(s.Frozen) != len(s.Names) {
		return fmt.Errorf("state: it is of another table (%d ids, order %d) or damaged", s.Table.Vocab, s.Table.Order)
	}
	for i, f := range s.Frozen {
		if len(f) != n {
			return fmt.Errorf("state: frozen copy %q has %d logits, want %d", s.Names[i], len(f), n)
		}
	}
	for name, g := range s.Buffers {
		if len(g) != n {
			return fmt.Errorf("state: gradient buffer %q has %d numbers, want %d", name, len(g), n)
		}
	}
	if err := t.settled("Load"); err != nil {
		return err
	}
	copy(t.W, s.Table.W)
	t.reset()
	if !all {
		return nil
	}
	if s.Buffers != nil {
		t.buffers = s.Buffers
	}
	t.m, t.v, t.updates = s.M, s.V, s.Updates
	before := t.frozen
	t.frozen, t.order = map[string]*Frozen{}, s.Names
	for i, name := range s.Names {
		f := before[name] // whoever holds the copy of this name holds the loaded one
		if f == nil {
			f = &Frozen{table: t.table, name: name, of: t}
		}
		f.W = s.Frozen[i]
		t.frozen[name] = f
	}
	return nil
}

// Export implements engine.Engine: there is no format that others read.
func (t *Table) Export(ctx context.Context, dir string) error {
	return fmt.Errorf("%s: the tabular engine exports nothing", dir)
}

// Close implements engine.Engine.
func (t *Table) Close() error { return nil }
