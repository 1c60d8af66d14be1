package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/hone-lm/hone/engine"
)

// buffer is a named gradient.
type buffer struct {
	data   [][]float32 // [parameter][number], in the order of Model.Params
	filled bool        // something was added since it was empty
}

// gradients implements engine.Gradients.
type gradients struct{ e *Engine }

// Gradients implements engine.Engine.
func (e *Engine) Gradients() (engine.Gradients, error) { return gradients{e}, nil }

// buffer returns the buffer of a name, made if need be; parameters that joined since are empty in it.
func (e *Engine) buffer(name string) *buffer {
	b := e.buffers[name]
	if b == nil {
		b = &buffer{}
		e.buffers[name] = b
	}
	for _, p := range e.live.m.Params()[len(b.data):] {
		b.data = append(b.data, make([]float32, len(p.Data)))
	}
	return b
}

// into sends gradients to a buffer until the returned function is called.
func (e *Engine) into(name string) (back func()) {
	if name == "" {
		return func() {}
	}
	b := e.buffer(name)
	e.live.m.SwapGrads(b.data)
	return func() { e.live.m.SwapGrads(b.data) }
}

// added notes that a pass adds to a buffer.
func (e *Engine) added(name string, something bool) {
	if name == "" {
		e.grads = e.grads || something
		return
	}
	b := e.buffer(name)
	b.filled = b.filled || something
}

// clearBuffers empties the buffers of these names.
func (e *Engine) clearBuffers(names []string) {
	for _, name := range names {
		if b := e.buffers[name]; b != nil {
			b.clear()
		}
	}
}

func (b *buffer) clear() {
	if !b.filled {
		return
	}
	for _, x := range b.data {
		clear(x)
	}
	b.filled = false
}

// enter locks and returns the gradients of the names, in the order of Model.Params.
func (g gradients) enter(names ...string) ([][][]float32, error) {
	if err := g.e.mu.enter(); err != nil {
		return nil, err
	}
	var out [][][]float32
	for _, name := range names {
		x, err := g.find(name)
		if err != nil {
			g.e.mu.Unlock()
			return nil, err
		}
		out = append(out, x)
	}
	return out, nil
}

// find returns a gradient by name, in the order of Model.Params; the caller holds the lock.
func (g gradients) find(name string) ([][]float32, error) {
	e := g.e
	if err := e.trainable(); err != nil {
		return nil, err
	}
	if name == "" {
		var own [][]float32
		for _, p := range e.live.m.Params() {
			own = append(own, p.Grad)
		}
		return own, nil
	}
	if e.buffers[name] == nil {
		return nil, fmt.Errorf("gradient buffer %q: no stream has named it in Into: there are %q; Clear makes an empty one", name, slices.Sorted(maps.Keys(e.buffers)))
	}
	return e.buffer(name).data, nil
}

// Norm implements engine.Gradients: with the arithmetic of Step.
func (g gradients) Norm(name string) (float64, error) {
	if _, err := g.enter(name); err != nil {
		return 0, err
	}
	defer g.e.mu.Unlock()
	defer g.e.into(name)()
	return g.e.adam.GradNorm(), nil
}

// Dot implements engine.Gradients.
func (g gradients) Dot(a, b string) (float64, error) {
	x, err := g.enter(a, b)
	if err != nil {
		return 0, err
	}
	defer g.e.mu.Unlock()
	sum := 0.0
	for i := range x[0] {
		y := x[1][i]
		for k, v := range x[0][i] {
			sum += float64(v) * float64(y[k]) // exact in float64: fused or not, the sum is the same
		}
	}
	return sum, nil
}

// Merge implements engine.Gradients.
func (g gradients) Merge(name string, weight float64) error {
	if name == "" {
		return errors.New(`gradient buffer "" is the optimiser's own gradient: merge a named one into it`)
	}
	if weight-weight != 0 {
		return fmt.Errorf("gradient buffer %q: weight %g: give a finite number", name, weight)
	}
	x, err := g.enter("", name)
	if err != nil {
		return err
	}
	defer g.e.mu.Unlock()
	if !g.e.buffers[name].filled || weight == 0 {
		return nil
	}
	for i := range x[0] {
		addScaled(x[0][i], weight, x[1][i])
	}
	g.e.grads = true
	return nil
}

// addScaled adds scale * x to dst, each sum rounded once.
func addScaled(dst []float32, scale float64, x []float32) {
	for k, v := range x {
		dst[k] = float32(float64(dst[k]) + float64(scale*float64(v))) // the conversion keeps other machines from fusing the two
	}
}

// Clear implements engine.Gradients.
func (g gradients) Clear(name string) error {
	e := g.e
	if err := e.mu.enter(); err != nil {
		return err
	}
	defer e.mu.Unlock()
	if name != "" {
		e.buffer(name).clear()
	} else if e.adam != nil {
		e.clear()
	}
	return nil
}

// LookAhead implements engine.Gradients.
func (g gradients) LookAhead(ctx context.Context, name string, scale float64, fn func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if scale-scale != 0 || math.Abs(scale) > math.MaxFloat32 {
		return fmt.Errorf("gradient buffer %q: look ahead by %g times the gradient: give a finite number", name, scale)
	}
	if err := g.moveAway(ctx, name, scale); err != nil {
		return err
	}
	defer g.moveBack()
	return fn()
}

// moveAway keeps the weights and moves them along a gradient.
func (g gradients) moveAway(ctx context.Context, name string, scale float64) error {
	e := g.e
	if err := e.mu.change(ctx); err != nil {
		return err
	}
	defer e.mu.changed()
	x, err := g.find(name)
	if err == nil {
		err = e.settled("another LookAhead")
	}
	if err != nil {
		return err
	}
	params := e.live.m.Params()
	e.home = e.home[:min(len(e.home), len(params))]
	for i, p := range params {
		if i == len(e.home) {
			e.home = append(e.home, nil)
		}
		e.home[i] = append(e.home[i][:0], p.Data...)
		addScaled(p.Data, scale, x[i])
	}
	e.away = true
	e.live.forget()
	return nil
}

// moveBack restores the weights. A value head that was made meanwhile stays as it is.
func (g gradients) moveBack() {
	e := g.e
	if err := e.mu.replace(context.Background()); err != nil {
		panic("engine: waiting without an end was cancelled: " + err.Error())
	}
	defer e.mu.changed()
	e.live.forget()
	for i, p := range e.live.m.Params() {
		if i < len(e.home) {
			copy(p.Data, e.home[i])
		}
	}
	e.away = false
}

// settled refuses what must not see the weights that LookAhead has moved; the caller holds the lock.
func (e *Engine) settled(what string) error {
	if e.away {
		return fmt.Errorf("%s inside LookAhead: the weights are moved and will be put back: do it after LookAhead has returned", what)
	}
	return nil
}
