package tensor

// Block is a part of a model whose activations may be computed again in Backward instead of being kept. Forward must do the same operations each time and read, beside x, only parameters and data that stay unchanged.
type Block interface {
	Forward(t *Tape, x *Tensor) *Tensor
}

// Checkpoint returns block.Forward(t, x) and keeps only x and the result: Backward runs the block again. Gradients have the same bytes as without.
func (t *Tape) Checkpoint(x *Tensor, block Block) *Tensor {
	if !t.record {
		return block.Forward(t, x)
	}
	t.record = false
	m := t.Mark()
	y := block.Forward(t, x)
	t.Release(m, y)
	t.record = true
	if y == x {
		return y
	}
	if y.need {
		t.nodes = append(t.nodes, node{back: checkpointBack, out: y, x: x, block: block})
		keepData(x)
	}
	return y
}

func checkpointBack(t *Tape, n *node) {
	x, out, block := n.x, n.out, n.block
	t.dropData(out)
	base := len(t.nodes)
	m := t.Mark()
	y := block.Forward(t, x)
	t.Release(m, y)
	t.giveGrad(y, out)
	t.backwardTo(base)
}
