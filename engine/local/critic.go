package local

import "github.com/hone-lm/hone/tensor"

// The value head (critic) is made by the first Backward whose streams read values. Until then, and in a frozen model without one, every value
// is 0, which is what a new head says. So a recipe only states the capability. A stage that reads no values leaves the head of an earlier one as
// it is, but for weight decay.

// critic gives the trained model a value head, if it has none; it joins the optimiser.
func (e *Engine) critic() {
	if e.live.m.ValueHead() != nil {
		return
	}
	e.live.m.AddValueHead()
	if e.adam != nil {
		e.joinCritic()
	}
}

// joinCritic adds the value head to the optimiser, as its last two parameters.
func (e *Engine) joinCritic() {
	v := e.live.m.ValueHead()
	v.W.EnsureGrad()
	v.B.EnsureGrad()
	e.adam.Add(tensor.ParamGroup{Params: []*tensor.Tensor{v.W}, Decay: true})
	e.adam.Add(tensor.ParamGroup{Params: []*tensor.Tensor{v.B}})
}

// criticSlots are the optimiser's slots of the value head; none without one.
func (e *Engine) criticSlots() []tensor.AdamSlot {
	if e.adam == nil || e.live.m.ValueHead() == nil {
		return nil
	}
	return e.adam.Slots[len(e.adam.Slots)-2:]
}
