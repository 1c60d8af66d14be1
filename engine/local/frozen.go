package local

import (
	"context"
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/model"
)

// Frozen is a copy that no optimiser changes.
type Frozen struct {
	runner
	name string
	e    *Engine
}

// Base names the frozen model that is the live one with its adapter switched off.
const Base = "base"

// Freeze implements engine.Engine. With an adapter the base weights are shared and only the adapter is copied.
func (e *Engine) Freeze(ctx context.Context, name string) (engine.Frozen, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.live.m.Clone()
	if name == Base && m.Adapter() != nil {
		m.DisableAdapter(true)
	}
	return e.keep(name, m), nil
}

// Open implements engine.Engine.
func (e *Engine) Open(ctx context.Context, name, ref string) (engine.Frozen, error) {
	m, err := model.Load(ref)
	if err != nil {
		return nil, fmt.Errorf("frozen model %q: %w", name, err)
	}
	if m.Config.Vocab != e.live.m.Config.Vocab {
		return nil, fmt.Errorf("frozen model %q (%s) has a vocabulary of %d ids, the trained one %d: token ids would not mean the same", name, ref, m.Config.Vocab, e.live.m.Config.Vocab)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.keep(name, m), nil
}

func (e *Engine) keep(name string, m *model.Model) *Frozen {
	if _, ok := e.frozen[name]; !ok {
		e.order = append(e.order, name)
	}
	f := &Frozen{runner: runner{m: m, opt: e.opt, tok: e.tok, mu: &e.mu}, name: name, e: e}
	e.frozen[name] = f
	return f
}

// Name implements engine.Frozen.
func (f *Frozen) Name() string { return f.name }

// Blend implements engine.Frozen: w <- decay*w + (1-decay)*trained, over what is trained.
func (f *Frozen) Blend(ctx context.Context, decay float64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	mine, live := f.m.Params(), f.e.live.m.Params()
	if len(mine) != len(live) {
		return fmt.Errorf("frozen model %q cannot be blended: it is not a copy of the trained one", f.name)
	}
	for i := range mine {
		a, b := mine[i].Data, live[i].Data
		if len(a) != len(b) {
			return fmt.Errorf("frozen model %q: tensor %s has another shape than the trained one", f.name, mine[i].Name)
		}
		for k := range a {
			a[k] = float32(decay*float64(a[k]) + (1-decay)*float64(b[k]))
		}
	}
	return nil
}

// Kept returns a frozen model by name, such as one that a loaded state brought.
func (e *Engine) Kept(name string) (engine.Frozen, bool) {
	f, ok := e.frozen[name]
	return f, ok
}
