package objective

import (
	"math"
	"sync"

	"github.com/hone-lm/hone/engine"
)

// Temperature chooses by a row of logits what they are divided by. Of is called from several goroutines at a time.
type Temperature interface {
	Of(logits []float32, lse float32) float64
}

// FixedTemperature is the same for every row.
type FixedTemperature float64

func (t FixedTemperature) Of([]float32, float32) float64 { return float64(t) }

// EntropyTemperature is higher where a row is less certain. With H the entropy of softmax(z) in nats it is the tau in [Low, High] at which
//
//	entropy(softmax(z / tau)) = H + Rise sigmoid(Slope (H - Pivot))
//
// or the nearer end where none is. All three entropies are of the TopK largest logits alone; a row whose entropy over the whole vocabulary
// is at most Sure has Low.
type EntropyTemperature struct {
	Low, High float64
	Pivot     float64 // nats: entropy at which half of Rise is added
	Slope     float64 // 1/nats
	Rise      float64 // nats
	Sure      float64 // nats
	TopK      int     // 0 = all
}

// AroundPivot scales slope and rise with the pivot, so that small vocabularies, whose entropies are small, keep the curve's form. At 1.2 nats
// they are 2 and 0.5.
func AroundPivot(pivot float64) EntropyTemperature {
	return EntropyTemperature{Low: 1.1, High: 1.5, Pivot: pivot, Slope: 2.4 / pivot, Rise: pivot * 0.5 / 1.2, Sure: 0.03, TopK: 512}
}

// bisections halve [Low, High] to a millionth of it.
const bisections = 20

// heads holds the largest logits of a row while its temperature is sought.
var heads = sync.Pool{New: func() any { return new([]float64) }}

// Of implements Temperature.
func (e EntropyTemperature) Of(logits []float32, lse float32) float64 {
	if rowEntropy(logits, lse) <= e.Sure {
		return e.Low
	}
	head := heads.Get().(*[]float64)
	defer heads.Put(head)
	*head = largest((*head)[:0], logits, e.TopK)
	h := entropyAt(*head, 1)
	want := h + e.Rise/(1+math.Exp(-e.Slope*(h-e.Pivot)))
	low, high := e.Low, e.High
	switch {
	case want <= entropyAt(*head, low):
		return low
	case want >= entropyAt(*head, high):
		return high
	}
	for range bisections { // entropy grows with the temperature
		if mid := (low + high) / 2; entropyAt(*head, mid) < want {
			low = mid
		} else {
			high = mid
		}
	}
	return (low + high) / 2
}

// largest appends the k largest logits in no particular order, all when k is 0, less their maximum.
func largest(to []float64, logits []float32, k int) []float64 {
	if k <= 0 || k > len(logits) {
		k = len(logits)
	}
	for i, z := range logits {
		switch x := float64(z); {
		case i < k:
			if to = append(to, x); i == k-1 && k < len(logits) {
				for root := k/2 - 1; root >= 0; root-- {
					sink(to, root)
				}
			}
		case x > to[0]:
			to[0] = x
			sink(to, 0)
		}
	}
	top := math.Inf(-1)
	for _, x := range to {
		top = max(top, x)
	}
	for i := range to {
		to[i] -= top
	}
	return to
}

// sink restores the order of a heap whose smallest element comes first, below root.
func sink(heap []float64, root int) {
	for {
		least := root
		for child := 2*root + 1; child <= 2*root+2 && child < len(heap); child++ {
			if heap[child] < heap[least] {
				least = child
			}
		}
		if least == root {
			return
		}
		heap[root], heap[least] = heap[least], heap[root]
		root = least
	}
}

// entropyAt is the entropy in nats of softmax(z / tau) for logits whose largest is 0: log S - sum (z/tau) exp(z/tau) / S, S = sum exp(z/tau).
func entropyAt(z []float64, tau float64) float64 {
	sum, weighted := 0.0, 0.0
	for _, x := range z {
		x /= tau
		if p := math.Exp(x); p > 0 { // 0 log 0 is 0
			sum += p
			weighted += x * p
		}
	}
	return math.Log(sum) - weighted/sum
}

// logSumExpAt is the log-sum-exp of logits / tau.
func logSumExpAt(logits []float32, tau float64) float64 {
	top, sum := math.Inf(-1), 0.0
	for _, z := range logits {
		top = max(top, float64(z)/tau)
	}
	for _, z := range logits {
		sum += math.Exp(float64(z)/tau - top)
	}
	return top + math.Log(sum)
}

// ChanTemperature is where TemperedLogProb writes the temperature of each token, in sequences that have the channel.
const ChanTemperature = "temperature"

// TemperedLogProb is log softmax(z / tau)[y] of the row's own token y, with tau chosen by the row and held constant: scored on a frozen model
// it gives the targets of a heated teacher, of which a loss then needs no more than a channel. Tokens of other kinds than Kind have 0.
type TemperedLogProb struct {
	Temp Temperature
	Kind engine.Kind
}

func (TemperedLogProb) Name() string { return "tempered_log_prob" }

func (t TemperedLogProb) Value(row engine.LogitRow) float32 {
	if row.Seq.KindAt(row.T) != t.Kind {
		return 0
	}
	tau, z := t.Temp.Of(row.Logits, row.LSE), row.Logits[row.Seq.Tokens[row.T]]
	if c := row.Seq.Channel(ChanTemperature); c != nil {
		c[row.T] = float32(tau)
	}
	if tau == 1 { // the engine's own log-prob, to the bit
		return z - row.LSE
	}
	return float32(float64(z)/tau - logSumExpAt(row.Logits, tau))
}

// Grad implements engine.RowTerm: d/dz_k = (1[k = y] - q_k) / tau.
func (t TemperedLogProb) Grad(row engine.LogitRow, weight float32, dLogits []float32) {
	if row.Seq.KindAt(row.T) != t.Kind {
		return
	}
	tau := t.Temp.Of(row.Logits, row.LSE)
	lse, w := logSumExpAt(row.Logits, tau), float64(weight)/tau
	for k, z := range row.Logits {
		dLogits[k] -= float32(w * math.Exp(float64(z)/tau-lse))
	}
	dLogits[row.Seq.Tokens[row.T]] += float32(w)
}
