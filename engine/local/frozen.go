package local

import (
	"context"
	"fmt"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/model"
)

// Frozen is a copy that no optimiser changes.
type Frozen struct {
	*runner
	name    string
	e       *Engine
	ref     string // where Open read it; "" = a copy of the trained model
	hash    string // of the weights at ref
	blended bool
}

// Base names the frozen model that is the live one with its adapter switched off.
const Base = "base"

// Freeze implements engine.Engine. With an adapter the base weights are shared and only the adapter is copied.
func (e *Engine) Freeze(ctx context.Context, name string) (engine.Frozen, error) {
	if err := e.mu.enter(); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	m := e.live.m.Clone()
	if name == Base && m.Adapter() != nil {
		m.DisableAdapter(true)
	}
	return e.keep(name, m), nil
}

// Open implements engine.Engine.
func (e *Engine) Open(ctx context.Context, name, ref string) (engine.Frozen, error) {
	m, err := e.open(name, ref)
	if err != nil {
		return nil, err
	}
	if err := e.mu.enter(); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	f := e.keep(name, m)
	f.ref, f.hash = ref, hashOf(m)
	return f, nil
}

func (e *Engine) open(name, ref string) (*model.Model, error) {
	load := model.Load
	if e.live.m.Quantised() { // who keeps the trained model small wants the others small
		load = model.LoadQuantised
	}
	m, err := load(ref)
	if err != nil {
		return nil, fmt.Errorf("frozen model %q: %w", name, err)
	}
	if m.Config.Vocab != e.live.m.Config.Vocab {
		return nil, fmt.Errorf("frozen model %q (%s) has a vocabulary of %d ids, the trained one %d: token ids would not mean the same", name, ref, m.Config.Vocab, e.live.m.Config.Vocab)
	}
	return m, nil
}

func (e *Engine) keep(name string, m *model.Model) *Frozen {
	if _, ok := e.frozen[name]; !ok {
		e.order = append(e.order, name)
	}
	opt := e.opt
	opt.Context = min(opt.Context, m.Config.MaxPos)
	f := &Frozen{runner: newRunner(m, opt, e.tok, &e.mu), name: name, e: e}
	e.frozen[name] = f
	return f
}

// Name implements engine.Frozen.
func (f *Frozen) Name() string { return f.name }

// Blend implements engine.Frozen: w <- decay*w + (1-decay)*trained, over what is trained. Everything is checked before the first weight moves.
func (f *Frozen) Blend(ctx context.Context, decay float64) error {
	if err := f.mu.change(ctx); err != nil {
		return err
	}
	defer f.mu.changed()
	if !(decay >= 0 && decay <= 1) {
		return fmt.Errorf("frozen model %q: blend with decay %g: give 0 to 1", f.name, decay)
	}
	if f.m.ValueHead() != nil { // a model without one has one of zeros
		f.e.critic()
	} else if f.e.live.m.ValueHead() != nil {
		f.m.AddValueHead()
	}
	mine, live := f.m.Params(), f.e.live.m.Params()
	if len(mine) != len(live) || f.name == Base && f.m.Adapter() != nil {
		return fmt.Errorf("frozen model %q cannot be blended: it does not hold what is trained", f.name)
	}
	for i := range mine {
		if mine[i].Name != live[i].Name || len(mine[i].Data) != len(live[i].Data) {
			return fmt.Errorf("frozen model %q cannot be blended: it has %s of %d numbers where the trained one has %s of %d", f.name, mine[i].Name, len(mine[i].Data), live[i].Name, len(live[i].Data))
		}
	}
	for i := range mine {
		a, b := mine[i].Data, live[i].Data
		for k := range a {
			a[k] = float32(decay*float64(a[k]) + (1-decay)*float64(b[k]))
		}
	}
	f.forget()
	f.blended = true
	return nil
}

// Drop forgets every frozen model: they are no longer part of the state. Whoever holds one may still use it.
func (e *Engine) Drop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.frozen, e.order = map[string]*Frozen{}, nil
}

// Kept returns a frozen model by name, such as one that a loaded state brought.
func (e *Engine) Kept(name string) (engine.Frozen, bool) {
	f, ok := e.frozen[name]
	return f, ok
}
