package enginetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/hone-lm/hone/engine"
)

// gradients implements engine.Gradients.
type gradients struct{ t *Table }

// Gradients implements engine.Engine.
func (t *Table) Gradients() (engine.Gradients, error) { return gradients{t}, nil }

// buffer makes the buffer of a name, if need be.
func (t *Table) buffer(name string) []float64 {
	if name == "" {
		return t.grad
	}
	if t.buffers[name] == nil {
		t.buffers[name] = make([]float64, len(t.W))
	}
	return t.buffers[name]
}

func (g gradients) find(name string) ([]float64, error) {
	if name != "" && g.t.buffers[name] == nil {
		return nil, fmt.Errorf("gradient buffer %q: no stream has named it in Into: there are %q; Clear makes an empty one", name, slices.Sorted(maps.Keys(g.t.buffers)))
	}
	return g.t.buffer(name), nil
}

// Norm implements engine.Gradients.
func (g gradients) Norm(name string) (float64, error) {
	square, err := g.Dot(name, name)
	return math.Sqrt(square), err
}

// Dot implements engine.Gradients.
func (g gradients) Dot(a, b string) (float64, error) {
	x, err := g.find(a)
	if err != nil {
		return 0, err
	}
	y, err := g.find(b)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for i := range x {
		sum += x[i] * y[i]
	}
	return sum, nil
}

// LookAhead implements engine.Gradients.
func (g gradients) LookAhead(ctx context.Context, name string, scale float64, fn func() error) error {
	x, err := g.find(name)
	if err != nil {
		return err
	}
	if err := g.t.settled("another LookAhead"); err != nil {
		return err
	}
	home := slices.Clone(g.t.W)
	for i := range g.t.W {
		g.t.W[i] += scale * x[i]
	}
	g.t.away = true
	defer func() {
		copy(g.t.W, home)
		g.t.away = false
	}()
	return fn()
}

// settled refuses what must not see the weights that LookAhead has moved.
func (t *Table) settled(what string) error {
	if t.away {
		return fmt.Errorf("%s inside LookAhead: the weights are moved and will be put back", what)
	}
	return nil
}

// Merge implements engine.Gradients.
func (g gradients) Merge(name string, weight float64) error {
	if name == "" {
		return errors.New(`gradient buffer "" is the optimiser's own gradient: merge a named one into it`)
	}
	x, err := g.find(name)
	if err != nil {
		return err
	}
	for i := range x {
		g.t.grad[i] += weight * x[i]
		g.t.pending = g.t.pending || weight*x[i] != 0
	}
	return nil
}

// Clear implements engine.Gradients.
func (g gradients) Clear(name string) error {
	clear(g.t.buffer(name))
	g.t.pending = g.t.pending && name != ""
	return nil
}
