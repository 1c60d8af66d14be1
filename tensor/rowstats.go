package tensor

import (
	"math"

	"github.com/hone-lm/hone/tensor/internal/kernel"
)

// Stats describes the distribution softmax(logits / T) of one row.
type Stats struct {
	Max     float32 // largest logit
	LSE     float32 // log sum exp(logits / T)
	Entropy float32 // nats

	lse float64 // LSE before rounding
}

// LSE64 returns the log-sum-exp before its rounding to float32.
func (s Stats) LSE64() float64 { return s.lse }

// RowStats reads one row of logits at temperature temp (0 means 1). Sampler and training both call it, so that a sampled token's log-prob has the bytes of the training forward.
func RowStats(logits []float32, temp float32) Stats {
	inv := inverseTemp(temp)
	top := kernel.Max(logits)
	shift := top * inv
	sum, sumT := kernel.ExpStats(logits, inv, shift)
	logSum := math.Log(float64(sum))
	lse := float64(shift) + logSum
	return Stats{Max: top, LSE: float32(lse), Entropy: float32(logSum - float64(sumT)/float64(sum)), lse: lse}
}

// LogProb returns the log-prob of a token whose logit is z in a row with the given log-sum-exp at temperature temp: z/T - lse, rounded once.
func LogProb(z, temp, lse float32) float32 {
	return float32(math.FMA(float64(z), float64(inverseTemp(temp)), -float64(lse)))
}

func inverseTemp(temp float32) float32 {
	if temp == 0 {
		return 1
	}
	return 1 / temp
}
