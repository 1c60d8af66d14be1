package objective

import (
	"math"

	"github.com/hone-lm/hone/engine"
)

// TermLoss is the sum of a row term: loss = sum w_t term_t. It tallies the term.
type TermLoss struct{ Term engine.RowTerm }

func (l TermLoss) Name() string       { return l.Term.Name() }
func (TermLoss) Scope() engine.Scope  { return engine.ScopeToken }
func (l TermLoss) Needs() engine.Want { return engine.Want{Term: l.Term} }

func (l TermLoss) Eval(views []engine.View, tally *engine.Tally) float64 {
	loss := 0.0
	for i := range views {
		v := &views[i]
		for t := v.From; t < v.To; t++ {
			if !v.Row.Mask[t] {
				continue
			}
			w, x := v.Row.WeightAt(t), float64(v.Term[t-v.From])
			loss += w * v.Row.Scale * x
			v.DTerm[t-v.From] += w * v.Row.Scale
			tally.Add("term", x, w)
		}
	}
	return loss
}

// The terms below write p_k for the policy's distribution of a row, z_k for its logits.

// EntropyTerm is the entropy in nats, H = -sum p_k log p_k with dH/dz_k = -p_k (log p_k + H): EntropyBonus by way of whole rows.
type EntropyTerm struct{}

func (EntropyTerm) Name() string { return "entropy_term" }
func (EntropyTerm) Value(row engine.LogitRow) float32 {
	return float32(rowEntropy(row.Logits, row.LSE))
}

func (EntropyTerm) Grad(row engine.LogitRow, weight float32, dLogits []float32) {
	h := rowEntropy(row.Logits, row.LSE)
	for k, z := range row.Logits {
		if p, lp := prob(z, row.LSE); p > 0 {
			dLogits[k] -= float32(float64(weight) * p * (lp + h))
		}
	}
}

func rowEntropy(logits []float32, lse float32) float64 {
	h := 0.0
	for _, z := range logits {
		if p, lp := prob(z, lse); p > 0 {
			h -= p * lp
		}
	}
	return h
}

// prob returns a probability and its logarithm.
func prob(z, lse float32) (p, lp float64) {
	lp = float64(z) - float64(lse)
	return math.Exp(lp), lp
}

// CollisionTerm is log sum_k p_k^2, minus the Renyi entropy of order 2 (Renyi 1961): the logarithm of the chance that two draws are equal.
// With s_k = p_k^2 / sum p^2 its derivative by z_k is 2 (s_k - p_k).
type CollisionTerm struct{}

func (CollisionTerm) Name() string { return "collision_term" }

func (CollisionTerm) Value(row engine.LogitRow) float32 {
	return float32(math.Log(sumSquares(row.Logits, row.LSE)))
}

func (CollisionTerm) Grad(row engine.LogitRow, weight float32, dLogits []float32) {
	sum := sumSquares(row.Logits, row.LSE)
	for k, z := range row.Logits {
		p, _ := prob(z, row.LSE)
		dLogits[k] += float32(2 * float64(weight) * (p*p/sum - p))
	}
}

func sumSquares(logits []float32, lse float32) float64 {
	sum := 0.0
	for _, z := range logits {
		p, _ := prob(z, lse)
		sum += p * p
	}
	return sum
}

// KLTerm is the KL divergence over the whole vocabulary between the policy p and a frozen model q, not an estimate from the sampled token
// (see KL): KL(p || q) = sum p_k (log p_k - log q_k), whose derivative by z_k is p_k (log p_k - log q_k - KL); or, with Forward,
// KL(q || p) = sum q_k (log q_k - log p_k), whose derivative is p_k - q_k: distillation of the whole distribution (Hinton et al. 2015).
type KLTerm struct {
	Frozen  engine.Frozen
	Forward bool        // KL(q || p)
	Temp    float64     // the teacher's logits are divided by it once more; 0 = 1
	Heat    Temperature // chosen by the teacher's row, in place of Temp; nil = Temp
}

func (t KLTerm) Name() string {
	if t.Forward {
		return "kl_forward"
	}
	return "kl_reverse"
}

// Teacher implements engine.Taught.
func (t KLTerm) Teacher() engine.Frozen { return t.Frozen }

func (t KLTerm) Value(row engine.LogitRow) float32 {
	inv, lse := t.teacher(row)
	return float32(t.divergence(row, inv, lse))
}

func (t KLTerm) Grad(row engine.LogitRow, weight float32, dLogits []float32) {
	inv, lse := t.teacher(row)
	kl := 0.0
	if !t.Forward {
		kl = t.divergence(row, inv, lse)
	}
	w := float64(weight)
	for k, z := range row.Logits {
		p, lp := prob(z, row.LSE)
		lq := float64(row.Teacher[k])*inv - lse
		switch {
		case t.Forward:
			dLogits[k] += float32(w * (p - math.Exp(lq)))
		case p > 0:
			dLogits[k] += float32(w * p * (lp - lq - kl))
		}
	}
}

// teacher returns what its logits are multiplied by, and the log-sum-exp of the products.
func (t KLTerm) teacher(row engine.LogitRow) (inv, lse float64) {
	tau := t.Temp
	if t.Heat != nil {
		tau = t.Heat.Of(row.Teacher, row.TeacherLSE)
	}
	if tau == 0 || tau == 1 {
		return 1, float64(row.TeacherLSE)
	}
	return 1 / tau, logSumExpAt(row.Teacher, tau)
}

func (t KLTerm) divergence(row engine.LogitRow, inv, lse float64) float64 {
	kl := 0.0
	for k, z := range row.Logits {
		p, lp := prob(z, row.LSE)
		lq := float64(row.Teacher[k])*inv - lse
		q := math.Exp(lq)
		switch { // 0 log 0 is 0
		case t.Forward && q > 0:
			kl += q * (lq - lp)
		case !t.Forward && p > 0:
			kl += p * (lp - lq)
		}
	}
	return kl
}
