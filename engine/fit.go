package engine

import "context"

// Work is what a node asks of the machine's memory.
type Work struct {
	Longest int // tokens of the longest sequence that is trained on
	Rows    int // sequences of one optimiser update; 0 = not known
	Frozen  int // frozen copies of what is trained
	Sample  int // tokens of the longest sequence that is sampled; 0 = none
	Answers int // sequences sampled by one call; 0 = not known
}

// Memory is a plan of the bytes that work takes at its peak.
type Memory struct {
	Weights     int64
	Optimiser   int64 // gradients and moments
	Frozen      int64 // frozen copies and what scoring by them takes
	Activations int64 // of the largest micro-batch, forward and backward
	Cache       int64 // keys and values of the sequences that are sampled together
}

// Total adds up the plan.
func (m Memory) Total() int64 {
	return m.Weights + m.Optimiser + m.Frozen + m.Activations + m.Cache
}

// Fitter is implemented by engines that run in this machine's memory.
type Fitter interface {
	// Memory plans work before it is done.
	Memory(w Work) (Memory, error)
	// Fit runs the largest micro-batch of the work forward and backward, without a step, to find out whether it fits. It changes nothing:
	// the gradient is empty before and after, no random numbers are drawn, and later results have the same bytes.
	Fit(ctx context.Context, w Work) error
}
