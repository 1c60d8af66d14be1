package local

import (
	"context"
	"fmt"
	"sync"
)

// guard orders what is done with an engine's models. One forward pass runs at a time (the Mutex), none on what a failed load left behind. Calls of
// Sample come in together and share batches; weights change only while no such call is in.
type guard struct {
	sync.Mutex
	broken error // written by changes only

	gate     sync.Mutex
	sampling int           // calls of Sample that are in
	changing int           // changes of weights that run or wait; while there are any no call comes in, so that changes do not wait for ever
	moved    chan struct{} // closed when one of the two has fallen; nil while nobody waits for that
}

// enter locks, or returns why nothing may run; leave with Unlock only after nil.
func (g *guard) enter() error {
	g.Lock()
	if err := g.whole(); err != nil {
		g.Unlock()
		return err
	}
	return nil
}

// whole returns an error when the weights are not to be used.
func (g *guard) whole() error {
	if g.broken == nil {
		return nil
	}
	return fmt.Errorf("the model is half loaded: load a whole state first (%w)", g.broken)
}

// admit lets a call of Sample in. Until it leaves the weights stay as they are.
func (g *guard) admit(ctx context.Context) error {
	g.gate.Lock()
	defer g.gate.Unlock()
	if err := g.await(ctx, &g.changing); err != nil {
		return err
	}
	if err := g.whole(); err != nil {
		return err
	}
	g.sampling++
	return nil
}

func (g *guard) leave() {
	g.gate.Lock()
	g.fall(&g.sampling)
	g.gate.Unlock()
}

// change waits until nothing is sampled and locks, for whoever writes weights; end with changed only after nil.
func (g *guard) change(ctx context.Context) error {
	if err := g.replace(ctx); err != nil {
		return err
	}
	if err := g.whole(); err != nil {
		g.changed()
		return err
	}
	return nil
}

// replace is change for whoever mends what a failed load left behind.
func (g *guard) replace(ctx context.Context) error {
	g.gate.Lock()
	g.changing++
	if err := g.await(ctx, &g.sampling); err != nil {
		g.fall(&g.changing)
		g.gate.Unlock()
		return err
	}
	g.gate.Unlock()
	g.Lock()
	return nil
}

func (g *guard) changed() {
	g.Unlock()
	g.gate.Lock()
	g.fall(&g.changing)
	g.gate.Unlock()
}

// await returns when *n is 0, or when ctx has ended before; the caller holds the gate.
func (g *guard) await(ctx context.Context, n *int) error {
	for *n > 0 {
		if g.moved == nil {
			g.moved = make(chan struct{})
		}
		moved := g.moved
		g.gate.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
		}
		g.gate.Lock()
		if err := ctx.Err(); err != nil && *n > 0 {
			return err
		}
	}
	return nil
}

// fall takes one from *n and wakes who waits; the caller holds the gate.
func (g *guard) fall(n *int) {
	*n--
	if g.moved != nil {
		close(g.moved)
		g.moved = nil
	}
}
