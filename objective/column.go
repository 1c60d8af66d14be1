package objective

import "github.com/hone-lm/hone/engine"

// column reads one input of a view, by token of the sequence: float32 as engines give it, or View.Wide's float64.
type column struct {
	narrow []float32 // [token - from]
	wide   []float64 // [token]; nil in training
	from   int
}

func (c column) at(t int) float64 {
	if c.wide != nil {
		return c.wide[t]
	}
	return float64(c.narrow[t-c.from])
}

func logProbs(v *engine.View) column {
	c := column{narrow: v.LogProb, from: v.From}
	if v.Wide != nil {
		c.wide = v.Wide.LogProb
	}
	return c
}

func values(v *engine.View) column {
	c := column{narrow: v.Value, from: v.From}
	if v.Wide != nil {
		c.wide = v.Wide.Value
	}
	return c
}

// constants returns a channel that an objective cannot do without.
func constants(v *engine.View, name string) column {
	c := column{narrow: channel(v, name)}
	if v.Wide != nil {
		c.wide = v.Wide.Chan[name]
	}
	return c
}

// weightAt returns the token's weight: 0 outside the mask.
func weightAt(v *engine.View, t int) float64 {
	if v.Wide != nil && v.Wide.Weight != nil && v.Row.Mask[t] {
		return v.Wide.Weight[t]
	}
	return v.Row.WeightAt(t)
}

// Held is implemented by objectives that take part of their loss for a constant: a ratio through which no gradient flows, a choice of tokens.
// Eval reads that part from the views themselves. EvalHeld reads it from other views of the same rows, so that the rest has the derivative
// that central differences show.
type Held interface {
	engine.Objective
	EvalHeld(views, held []engine.View, tally *engine.Tally) float64
	Holds() bool
}

// Detached reports whether an objective holds part of its loss constant: its derivative is then not that of the loss that it returns.
func Detached(o engine.Objective) bool {
	h, ok := o.(Held)
	return ok && h.Holds()
}
