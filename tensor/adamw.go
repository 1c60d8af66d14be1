package tensor

import (
	"fmt"
	"math"

	"github.com/hone-lm/hone/tensor/internal/kernel"
	"github.com/hone-lm/hone/tensor/internal/par"
)

// ParamGroup is a set of parameters that are updated alike.
type ParamGroup struct {
	Params  []*Tensor
	Decay   bool    // whether AdamConfig.Decay applies: usual for matrices, not for norms and biases
	LRScale float64 // multiplies the learning rate; 0 = 1
}

// AdamConfig is what one update uses.
type AdamConfig struct {
	LR                float64
	Beta1, Beta2, Eps float64
	Decay             float64 // decoupled weight decay of the groups that want it
	Clip              float64 // largest global gradient norm; 0 = no clipping
}

// AdamSlot is the optimiser's state for one parameter.
type AdamSlot struct {
	Param   *Tensor
	M, V    []float32 // running means of the gradient and of its square
	Decay   bool
	LRScale float64
	Joined  int64 // updates done before the parameter joined: its bias correction counts from there
}

// AdamW is AdamW with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101) in the form of torch.optim.AdamW.
type AdamW struct {
	Slots []AdamSlot // in the order of the groups; reachable so that they can be saved
	Steps int64      // updates done, for the bias correction

	blocks []adamBlock
	sums   []float64 // partial sums of squares, one a block
	coef   []kernel.AdamCoef
	zero   bool
	square bool
}

type adamBlock struct{ slot, lo, hi int }

// adamBlockSize is how many values one unit of work updates or squares. It is fixed: the norm adds the units' sums in order.
const adamBlockSize = 1 << 14

// NewAdamW returns an optimiser with zero state for the parameters of the groups.
func NewAdamW(groups ...ParamGroup) *AdamW {
	o := &AdamW{}
	for _, g := range groups {
		o.Add(g)
	}
	return o
}

// Add lets the parameters of a group join, with zero state, behind the others.
func (o *AdamW) Add(g ParamGroup) {
	scale := g.LRScale
	if scale == 0 {
		scale = 1
	}
	for _, p := range g.Params {
		n := len(p.Data)
		for lo := 0; lo < n; lo += adamBlockSize {
			o.blocks = append(o.blocks, adamBlock{len(o.Slots), lo, min(n, lo+adamBlockSize)})
		}
		o.Slots = append(o.Slots, AdamSlot{Param: p, M: make([]float32, n), V: make([]float32, n), Decay: g.Decay, LRScale: scale, Joined: o.Steps})
	}
	o.coef = make([]kernel.AdamCoef, len(o.Slots))
	o.sums = make([]float64, len(o.blocks))
}

// GradNorm returns the global L2 norm of the gradients, in float64 over fixed blocks in order.
func (o *AdamW) GradNorm() float64 {
	o.square = true
	par.Do(len(o.blocks), o)
	o.square = false
	sum := 0.0
	for _, s := range o.sums {
		sum += s
	}
	return math.Sqrt(sum)
}

// GradNorm returns the global L2 norm of the parameters' gradients; frozen ones count as zero.
func GradNorm(params []*Tensor) float64 {
	o := &AdamW{}
	for i, p := range params {
		o.Slots = append(o.Slots, AdamSlot{Param: p})
		for lo := 0; lo < len(p.Grad); lo += adamBlockSize {
			o.blocks = append(o.blocks, adamBlock{i, lo, min(len(p.Grad), lo+adamBlockSize)})
		}
	}
	o.sums = make([]float64, len(o.blocks))
	return o.GradNorm()
}

// Step does one update from the parameters' gradients and returns their norm before clipping (by min(1, Clip/(norm+1e-6))). Gradients stay as they are: see ZeroGrad.
// When the norm is not finite nothing is changed and the error names the first parameter whose gradient is not.
func (o *AdamW) Step(c AdamConfig) (norm float64, err error) {
	norm = o.GradNorm()
	if !isFinite(norm) {
		return norm, o.notFinite(norm)
	}
	scale := 1.0
	if c.Clip > 0 {
		scale = min(1, c.Clip/(norm+1e-6))
	}
	o.Steps++
	for i, s := range o.Slots {
		decay := 0.0
		if s.Decay {
			decay = c.Decay
		}
		o.coef[i] = kernel.AdamCoef{
			LR: float32(c.LR * s.LRScale), Beta1: float32(c.Beta1), Beta2: float32(c.Beta2), Eps: float32(c.Eps),
			Decay: float32(decay), Scale: float32(scale),
			Bias1: float32(1 - math.Pow(c.Beta1, float64(o.Steps-s.Joined))), Bias2: float32(1 - math.Pow(c.Beta2, float64(o.Steps-s.Joined))),
		}
	}
	par.Do(len(o.blocks), o)
	return norm, nil
}

func (o *AdamW) notFinite(norm float64) error {
	for _, s := range o.Slots {
		if !kernel.AllFinite(s.Param.Grad) {
			return fmt.Errorf("gradient norm is %g: the gradient of %s is not finite; the step was not taken", norm, s.Param.shape())
		}
	}
	return fmt.Errorf("gradient norm is %g; the step was not taken", norm)
}

// ZeroGrad clears the gradients of all parameters.
func (o *AdamW) ZeroGrad() {
	o.zero = true
	par.Do(len(o.blocks), o)
	o.zero = false
}

// Part squares, clears or updates block i.
func (o *AdamW) Part(i int) {
	b := o.blocks[i]
	s := &o.Slots[b.slot]
	if s.Param.Grad == nil {
		return
	}
	g := s.Param.Grad[b.lo:b.hi]
	switch {
	case o.square:
		o.sums[i] = kernel.SumSquares(g)
	case o.zero:
		clear(g)
	default:
		kernel.AdamW(s.Param.Data[b.lo:b.hi], g, s.M[b.lo:b.hi], s.V[b.lo:b.hi], o.coef[b.slot])
	}
}
