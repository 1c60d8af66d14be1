package sketch

import (
	"context"
	"io"
)

// WSRL: offline Cal-QL, a warm-up of frozen-policy rollouts, then online SAC with an ensemble of critics. No language model.
type WSRL struct {
	Offline, Warmup, Online int
	Critics, Subset         int
	Gamma, Tau              float64

	step int
}

// Learner is what a Learn node asks of something that is not a language model.
type Learner interface {
	Step(ctx context.Context, n int) (map[string]float64, error)
	Eval(ctx context.Context) (map[string]float64, error)
	Save(w io.Writer) error
	Load(r io.Reader) error
}

var _ Learner = (*WSRL)(nil)

// Step makes one environment step or one offline batch; the phase follows from the step's number.
func (w *WSRL) Step(ctx context.Context, n int) (map[string]float64, error) {
	w.step = n
	switch {
	case n < w.Offline:
		return map[string]float64{"phase": 0}, ctx.Err()
	case n < w.Offline+w.Warmup:
		return map[string]float64{"phase": 1}, ctx.Err()
	}
	return map[string]float64{"phase": 2}, ctx.Err()
}

// Eval measures the mean return of the policy's mode.
func (w *WSRL) Eval(ctx context.Context) (map[string]float64, error) { return nil, ctx.Err() }

// Save and Load hold the networks, targets, temperature and the replay buffer.
func (w *WSRL) Save(out io.Writer) error { return nil }
func (w *WSRL) Load(in io.Reader) error  { return nil }

// Awkward: the replay buffer is part of the state file and grows: it belongs in an append-only file of the run folder whose length the state holds, as
// rollouts do. Node has no field for a Learner yet: kind learn is refused until control exists.
