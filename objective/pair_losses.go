package objective

import (
	"cmp"
	"math"
	"slices"
)

// PairLoss names a loss of DPO's family. Below, of the chosen (c) and the rejected (r) row: s the score, q = Beta*s, n the number of tokens;
// m = q_c - q_r is the margin, e = LabelSmoothing, S the logistic function. Names are TRL's.
type PairLoss string

const (
	PairSigmoid     PairLoss = "sigmoid"      // -log S(m) (Rafailov et al. 2023, equation 7)
	PairHinge       PairLoss = "hinge"        // max(0, 1 - m) (RSO, Liu et al. 2023)
	PairIPO         PairLoss = "ipo"          // (s_c/n_c - s_r/n_r - 1/(2 Beta))^2 (Azar et al. 2023, equation 17, by token as its authors do)
	PairEXO         PairLoss = "exo_pair"     // KL of (S(m), S(-m)) from (1-e, e) (Ji et al. 2024, equation 16)
	PairNCA         PairLoss = "nca_pair"     // -log S(q_c) - log S(-q_c)/2 - log S(-q_r)/2 (Chen et al. 2024)
	PairRobust      PairLoss = "robust"       // (-(1-e) log S(m) + e log S(-m)) / (1-2e) (Chowdhury et al. 2024)
	PairBCO         PairLoss = "bco_pair"     // -log S(q_c - Delta) - log S(Delta - q_r) (Jung et al. 2024)
	PairSPPO        PairLoss = "sppo_hard"    // (s_c - 1/(2 Beta))^2 + (s_r + 1/(2 Beta))^2 (Wu et al. 2024, equation 4.7 with P in {0, 1})
	PairAOT         PairLoss = "aot"          // smoothed sigmoid of Beta (sorted (logp_c - logp_r) - sorted (ref_c - ref_r)) (Melnyk et al. 2024)
	PairAOTUnpaired PairLoss = "aot_unpaired" // smoothed sigmoid of Beta (sorted ratio_c - sorted ratio_r) (Melnyk et al. 2024)
	PairAPOZero     PairLoss = "apo_zero"     // 1 - S(Beta ratio_c) + S(Beta ratio_r) (D'Oosterlinck et al. 2024, equation 7)
	PairAPODown     PairLoss = "apo_down"     // S(Beta ratio_c) + 1 - S(m) (the same, equation 8)
	PairDiscoPOP    PairLoss = "discopop"     // -log S(m) (1 - S(m/Tau)) + exp(-m) S(m/Tau) (Lu et al. 2024, equation 5)
	PairSFT         PairLoss = "sft"          // mean of -lp_t over all tokens of the chosen rows
	PairSigmoidNorm PairLoss = "sigmoid_norm" // -log S(q_c/n_c - q_r/n_r) (Tulu 3, Lambert et al. 2024)
)

// PairLosses lists every loss, for help and validation.
var PairLosses = []PairLoss{PairSigmoid, PairHinge, PairIPO, PairEXO, PairNCA, PairRobust, PairBCO, PairSPPO, PairAOT, PairAOTUnpaired, PairAPOZero, PairAPODown, PairDiscoPOP, PairSFT, PairSigmoidNorm}

// batch says whether a loss looks at more than its own pair.
func (l PairLoss) batch() bool { return l == PairAOT || l == PairAOTUnpaired || l == PairSFT }

// FDivergence names the divergence that holds the policy to its reference (f-DPO, Wang et al. 2023). With u = exp(ratio), the score is f'(u)
// without its constant: where scores are subtracted, as in the paper, it cancels.
type FDivergence string

const (
	ReverseKL       FDivergence = "reverse_kl"       // log u: plain DPO
	ForwardKL       FDivergence = "forward_kl"       // -1/u
	JSDivergence    FDivergence = "js_divergence"    // log(u / (u+1))
	AlphaDivergence FDivergence = "alpha_divergence" // u^(Alpha-1) / (Alpha-1), exponents cut at 80; log u at Alpha = 1
)

// FDivergences lists every divergence, for help and validation.
var FDivergences = []FDivergence{ReverseKL, ForwardKL, JSDivergence, AlphaDivergence}

func (d *DPO) divergence() FDivergence {
	if d.Divergence == "" {
		return ReverseKL
	}
	return d.Divergence
}

// score returns the score of a log-ratio and its derivative by it.
func (d *DPO) score(ratio float64) (score, slope float64) {
	switch d.divergence() {
	case ForwardKL:
		e := math.Exp(-ratio)
		return -e, e
	case JSDivergence:
		return -softplus(-ratio), sigmoid(-ratio)
	case AlphaDivergence:
		a := d.Alpha - 1
		if math.Abs(a) < 1e-6 {
			return ratio, 1
		}
		const limit = 80 // e^80 still is a float32
		if a*ratio > limit {
			return math.Exp(limit) / a, 0
		}
		e := math.Exp(a * ratio)
		return e / a, e
	}
	return ratio, 1
}

// pairLoss returns k times the loss of one pair and adds k times its derivatives.
func (d *DPO) pairLoss(loss PairLoss, k float64, c, r *side) float64 {
	qc, qr := d.Beta*c.score, d.Beta*r.score
	switch loss {
	case PairIPO:
		diff := c.score/c.length() - r.score/r.length() - 1/(2*d.Beta)
		c.dScore += k * 2 * diff / c.length()
		r.dScore -= k * 2 * diff / r.length()
		return k * diff * diff
	case PairSigmoidNorm:
		m := d.Beta * (c.score/c.length() - r.score/r.length())
		slope := -k * d.Beta * sigmoid(-m)
		c.dScore += slope / c.length()
		r.dScore -= slope / r.length()
		return k * softplus(-m)
	case PairNCA:
		c.dScore += k * d.Beta * (0.5*sigmoid(qc) - sigmoid(-qc))
		r.dScore += k * d.Beta * 0.5 * sigmoid(qr)
		return k * (softplus(-qc) + 0.5*softplus(qc) + 0.5*softplus(qr))
	case PairBCO:
		qc, qr = qc-d.Delta, qr-d.Delta
		c.dScore -= k * d.Beta * sigmoid(-qc)
		r.dScore += k * d.Beta * sigmoid(qr)
		return k * (softplus(-qc) + softplus(qr))
	case PairSPPO:
		win, lose := c.score-0.5/d.Beta, r.score+0.5/d.Beta
		c.dScore += k * 2 * win
		r.dScore += k * 2 * lose
		return k * (win*win + lose*lose)
	case PairAPOZero:
		hc, hr := d.Beta*c.ratio, d.Beta*r.ratio
		c.dRatio -= k * d.Beta * bump(hc)
		r.dRatio += k * d.Beta * bump(hr)
		return k * (sigmoid(-hc) + sigmoid(hr))
	case PairAPODown:
		hc, m := d.Beta*c.ratio, qc-qr
		c.dRatio += k * d.Beta * bump(hc)
		c.dScore -= k * d.Beta * bump(m)
		r.dScore += k * d.Beta * bump(m)
		return k * (sigmoid(hc) + sigmoid(-m))
	}
	value, slope := d.marginLoss(loss, qc-qr)
	c.dScore += k * d.Beta * slope
	r.dScore -= k * d.Beta * slope
	return k * value
}

// marginLoss returns the losses that are functions of the margin alone, and their derivative by it.
func (d *DPO) marginLoss(loss PairLoss, m float64) (value, slope float64) {
	e := d.LabelSmoothing
	switch loss {
	case PairHinge:
		if m >= 1 {
			return 0, 0
		}
		return 1 - m, -1
	case PairEXO:
		keep, swap := exoLogs(e)
		win, lose := -softplus(-m)-keep, -softplus(m)-swap
		return sigmoid(m)*win + sigmoid(-m)*lose, bump(m) * (win - lose)
	case PairRobust:
		return ((1-e)*softplus(-m) - e*softplus(m)) / (1 - 2*e), -((1-e)*sigmoid(-m) + e*sigmoid(m)) / (1 - 2*e)
	case PairDiscoPOP:
		tau := d.Tau
		if tau == 0 {
			tau = 0.05
		}
		blend, logistic, exponential := sigmoid(m/tau), softplus(-m), math.Exp(-m)
		return logistic*(1-blend) + exponential*blend, -sigmoid(-m)*(1-blend) - exponential*blend + (exponential-logistic)*bump(m/tau)/tau
	}
	return softplus(-m), -sigmoid(-m)
}

// exoLogs are log(1-e) and log e in float32, as TRL takes them: near the loss's zero the seventh digit shows.
func exoLogs(e float64) (keep, swap float64) {
	e = float64(float32(e))
	return float64(float32(math.Log1p(-e))), float64(float32(math.Log(e)))
}

// bump is the derivative of the logistic function.
func bump(x float64) float64 { return sigmoid(x) * sigmoid(-x) }

// smoothed is -(1-e) log S(m) - e log S(-m) and its derivative by m (Mitchell 2023).
func smoothed(m, e float64) (value, slope float64) {
	return (1-e)*softplus(-m) + e*softplus(m), e*sigmoid(m) - (1-e)*sigmoid(-m)
}

// sorted is the loss of optimal transport in one dimension: the k-th smallest value of the policy (or of the chosen rows) is compared with
// the k-th smallest of the reference (of the rejected rows). Pairs with equal values keep their order.
func (d *DPO) sorted(t PairTerm, s *pairScratch) float64 {
	sides, n := s.sides, len(s.sides)/2
	s.order, s.other = s.order[:0], s.other[:0]
	for k := range n {
		s.order, s.other = append(s.order, k), append(s.other, k)
	}
	high := func(k int) float64 { return sides[2*k].logp - sides[2*k+1].logp }
	low := func(k int) float64 { return sides[2*k].ref - sides[2*k+1].ref }
	if t.Loss == PairAOTUnpaired {
		high = func(k int) float64 { return sides[2*k].ratio }
		low = func(k int) float64 { return sides[2*k+1].ratio }
	}
	slices.SortStableFunc(s.order, func(a, b int) int { return cmp.Compare(high(a), high(b)) })
	slices.SortStableFunc(s.other, func(a, b int) int { return cmp.Compare(low(a), low(b)) })
	loss := 0.0
	for rank := range n {
		i, j := s.order[rank], s.other[rank]
		k := sides[2*rank].scale * t.Weight * sides[2*rank].wpo
		value, slope := smoothed(d.Beta*(high(i)-low(j)), d.LabelSmoothing)
		loss += k * value
		slope *= k * d.Beta
		if t.Loss == PairAOT {
			sides[2*i].dLogp += slope
			sides[2*i+1].dLogp -= slope
		} else {
			sides[2*i].dRatio += slope
			sides[2*j+1].dRatio -= slope
		}
	}
	return loss
}

// sft is the token mean of the chosen rows' negative log-prob, for every pair the same.
func (d *DPO) sft(t PairTerm, sides []side) float64 {
	k, tokens, nll := 0.0, 0.0, 0.0
	for i := 0; i < len(sides); i += 2 {
		c := &sides[i]
		k += c.scale * t.Weight * c.wpo
		tokens += float64(c.tokens)
		nll += c.nll
	}
	for i := 0; i < len(sides); i += 2 {
		sides[i].dNLL += k / tokens
	}
	return k * (nll / tokens)
}
