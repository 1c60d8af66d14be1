package tensor

import "github.com/hone-lm/hone/tensor/internal/kernel"

// ValueHead is a linear map from a hidden state to one number: value = hidden . W + B. Like Head it is not recorded on a tape: its gradient
// goes to the caller's dHidden and to W.Grad and B.Grad. A row's value does not depend on its neighbours; sums over rows go upwards.
type ValueHead struct {
	W *Tensor // [1][d]
	B *Tensor // [1][1]
}

// Names of the tensors of a ValueHead: those of TRL's AutoModelForCausalLMWithValueHead.
const (
	ValueWeightName = "v_head.summary.weight"
	ValueBiasName   = "v_head.summary.bias"
)

// NewValueHead returns a head of zeros for hidden states of d numbers.
func NewValueHead(d int) *ValueHead {
	return &ValueHead{W: NewParam(ValueWeightName, 1, d), B: NewParam(ValueBiasName, 1, 1)}
}

// Score writes the values of all rows of hidden, [n][d], to dst, [n].
func (h *ValueHead) Score(hidden *Tensor, dst []float32) {
	check("ValueHead", "hidden", hidden, len(dst), h.W.Cols)
	for r := range dst {
		dst[r] = kernel.Dot(hidden.Row(r), h.W.Data) + h.B.Data[0]
	}
}

// Grad adds the gradient for the derivatives of a loss by the values, dValue [n]. dHidden is [n][d] (Tape.GradOf of hidden).
func (h *ValueHead) Grad(hidden *Tensor, dValue, dHidden []float32) {
	check("ValueHead", "hidden", hidden, len(dValue), h.W.Cols)
	d := h.W.Cols
	for r, g := range dValue {
		if g == 0 {
			continue
		}
		kernel.Axpy(h.W.Grad, g, hidden.Row(r))
		kernel.Axpy(dHidden[r*d:(r+1)*d], g, h.W.Data)
		h.B.Grad[0] += g
	}
}
