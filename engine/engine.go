package engine

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/hone-lm/hone/token"
)

// Capability is a named thing that an engine can do. A recipe states what it needs; a mismatch is one error before any work.
type Capability string

const (
	CapLogProb     Capability = "log_prob"    // class 1
	CapSample      Capability = "sample"      // class 1
	CapFrozen      Capability = "frozen"      // class 1: frozen copies that score and sample
	CapTemperature Capability = "temperature" // class 2: temperature inside Score and Backward
	CapEntropy     Capability = "entropy"     // class 2
	CapTopK        Capability = "top_k"       // class 2
	CapValue       Capability = "value"       // class 2: value head
	CapHidden      Capability = "hidden"      // class 2: hidden states
	CapRowTerms    Capability = "row_terms"   // class 3
	CapGradients   Capability = "gradients"   // class 3: named buffers, dot products, look-ahead
	CapHide        Capability = "hide"        // class 3: branch masks and positions
	CapMix         Capability = "mix"         // class 3: mixed input embeddings
	CapRules       Capability = "rules"       // class 3: rules on logits while sampling
	CapBlend       Capability = "blend"       // class 2: moving-average copies
	CapBatchScope  Capability = "batch_scope" // objectives that see the whole step
)

// Capabilities is a set of flags.
type Capabilities map[Capability]bool

// NotYet is the error for a capability that the engine does not offer.
type NotYet struct {
	Engine string
	What   Capability
}

func (e *NotYet) Error() string {
	return fmt.Sprintf("%s is not offered by the %s engine: choose a recipe or setting that does not need it, or another engine", e.What, e.Engine)
}

// Check returns one error naming everything in need that the engine lacks.
func (i Info) Check(who string, need []Capability) error {
	var missing []string
	for _, c := range need {
		if !i.Caps[c] {
			missing = append(missing, string(c))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("%s needs %s, which the %s engine does not offer: run it on an engine that does, or change the settings that ask for it", who, strings.Join(missing, ", "), i.Engine)
}

// Info describes an engine and its model.
type Info struct {
	Engine     string // "local", "tinker", "tabular"
	Model      string // where it came from
	Params     int64
	Trainable  int64
	Context    int // longest sequence in tokens
	VocabSize  int
	Precision  string // "f32" or "bf16": of the products of linear layers and the head; "f32 over Q4_1, Q8_0" with weights that are kept quantised
	Kernels    string // "avx512", "avx2", "go"
	Threads    int
	Caps       Capabilities
	Tokenizer  token.Tokenizer
	MicroBatch int // tokens of one micro-batch
}

// Engine trains and samples one language model. Score and Sample may be called from many goroutines; Backward and Step from one.
type Engine interface {
	Info() Info
	// Sample draws N sequences for each prompt, [prompt][sample]. Sequences hold the prompt, the drawn tokens and the channels ChanOld
	// and ChanDrawn. What a sample holds depends on its prompt, Params and Key alone, never on its neighbours.
	Sample(ctx context.Context, prompts []Prompt) ([][]*Sequence, error)
	// Score runs the model without a gradient.
	Score(ctx context.Context, seqs []*Sequence, want Want) ([]*Scores, error)
	// Backward runs a normalised batch forward and backward and ADDS to the gradient. Each distinct Sequence is forwarded once, but for
	// those of batch-scope streams (twice: they are scored before the objective is called) and for each gradient buffer that it goes to.
	Backward(ctx context.Context, b *Batch) (Stats, error)
	// Step clips, updates and clears the gradient. A step without a gradient is skipped and counted.
	Step(ctx context.Context, o Optim) (Update, error)
	// Freeze copies the model as it is now (adapter included); "base" is the model with its adapter switched off.
	Freeze(ctx context.Context, name string) (Frozen, error)
	// Open loads another checkpoint or model.
	Open(ctx context.Context, name, ref string) (Frozen, error)
	// Gradients gives access to named gradient buffers.
	Gradients() (Gradients, error)
	// Save and Load carry everything that changes: trained weights, frozen copies, optimiser, counters. Weights that never change
	// (a base under an adapter) are not written; Load refuses a state made on another base.
	Save(ctx context.Context, w io.Writer) error
	Load(ctx context.Context, r io.Reader) error
	// LoadWeights takes the weights of a saved state and starts a fresh optimiser: how a stage begins from a named checkpoint.
	LoadWeights(ctx context.Context, r io.Reader) error
	// Export writes the model (or its adapter) as a folder that others read, and reads it back before it reports success.
	Export(ctx context.Context, dir string) error
	Close() error
}

// Frozen is a model that no optimiser changes: it scores and samples, can be blended towards the trained weights, and is saved with the engine.
type Frozen interface {
	Name() string
	Score(ctx context.Context, seqs []*Sequence, want Want) ([]*Scores, error)
	Sample(ctx context.Context, prompts []Prompt) ([][]*Sequence, error)
	// Blend moves the copy: w <- decay*w + (1-decay)*trained.
	Blend(ctx context.Context, decay float64) error
}

// Prompt asks for N samples that continue Seq.
type Prompt struct {
	Seq    *Sequence // tokens to continue; Forced tokens keep their kind and get their log-probs from Score
	N      int
	Params Params
	Key    Key // sample i draws from Key.With(i)
	Rules  []Rule
}

// Params are sampling parameters. The zero value samples at temperature 1 without truncation.
type Params struct {
	Temperature       float32 // 0 means 1
	Greedy            bool    // take the best token (lowest id on a tie); the sequence carries Temp 1
	TopK              int     // 0 = off
	TopP              float32 // 0 or 1 = off
	MinP              float32 // 0 = off
	RepetitionPenalty float32 // 0 or 1 = off
	MaxTokens         int     // new tokens at most; 0 = until the context is full
	StopIDs           []int32
	Stop              []string
}

// Truncates reports whether the drawn distribution differs from the policy at Temperature: it is then logged as a mismatch.
func (p Params) Truncates() bool {
	return p.Greedy || p.TopK > 0 || (p.TopP > 0 && p.TopP < 1) || p.MinP > 0 || (p.RepetitionPenalty != 0 && p.RepetitionPenalty != 1)
}

// Rule changes the logits of the next token while sampling (embedded engine only).
type Rule interface {
	Apply(seq *Sequence, logits []float32)
}

// Want says what Score should return beyond log-probs.
type Want struct {
	Temp        float32 // temperature of everything that Score returns, such as log-probs of a heated teacher; 0 = each sequence's own
	Entropy     bool
	EntropyTemp float32 // of the entropy alone; 0 = the one above
	TopK        int
	Value       bool    // of the value head, and the value after the last token
	Hidden      bool    // after the final norm
	Term        RowTerm // for every token but the first
}

// Capabilities returns the flags that a Want asks for.
func (w Want) Capabilities() []Capability {
	var c []Capability
	if w.Temp != 0 {
		c = append(c, CapTemperature)
	}
	if w.Entropy {
		c = append(c, CapEntropy)
	}
	if w.TopK > 0 {
		c = append(c, CapTopK)
	}
	if w.Value {
		c = append(c, CapValue)
	}
	if w.Hidden {
		c = append(c, CapHidden)
	}
	if w.Term != nil {
		c = append(c, CapRowTerms)
	}
	return c
}

// Scores are per-token results of one sequence; entry t speaks of Tokens[t] given Tokens[:t], entry 0 is 0.
type Scores struct {
	LogProb   []float32
	Entropy   []float32
	TopID     [][]int32 // [token][k], best first
	TopLogP   [][]float32
	Value     []float32
	LastValue float32
	Term      []float32
	Hidden    [][]float32 // [token][hidden]
}

// Stats are the results of one Backward.
type Stats struct {
	Streams   []StreamStats
	Sequences int
	Tokens    int // forwarded, those of a second pass included
	Trained   int // tokens in at least one mask
}

// StreamStats is one stream's loss (coefficient included) and diagnostics.
type StreamStats struct {
	Name  string
	Loss  float64
	Tally Tally
}

// Loss returns the sum over streams.
func (s Stats) Loss() float64 {
	sum := 0.0
	for _, st := range s.Streams {
		sum += st.Loss
	}
	return sum
}

// Optim are the settings of one AdamW update (Loshchilov and Hutter 2019).
type Optim struct {
	LR          float64
	Beta1       float64
	Beta2       float64
	Eps         float64
	WeightDecay float64            // on tensors with two dimensions
	Clip        float64            // global L2 norm; 0 = off
	Groups      map[string]float64 // learning-rate factor by parameter group (GroupValueHead); nil = 1
}

// GroupValueHead is the parameter group of the value head's weight and bias.
const GroupValueHead = "value_head"

// Update is the result of one Step.
type Update struct {
	Step    int64   // updates made so far, this one included
	Norm    float64 // global L2 norm of the gradient before clipping
	Clipped bool
	Skipped bool // no gradient: nothing was changed
	LR      float64
}

// Gradients are named gradient buffers: streams with Into = name add there instead of to the optimiser's gradient. A buffer is there from the
// first Backward that names it, or from Clear; what nothing has been added to reads as zero, and any other name is an error. Buffers outlive
// Step and are part of a saved state; LoadWeights drops them. The name "" is the optimiser's own gradient. A failed Backward empties the
// buffers that it was to add to, as it does the optimiser's gradient.
type Gradients interface {
	// Norm returns the L2 norm, as Step would report it.
	Norm(name string) (float64, error)
	// Dot returns the inner product, summed in float64.
	Dot(a, b string) (float64, error)
	// LookAhead runs fn with the weights moved to w + scale*gradient[name], then puts them back to the bit. fn may call Score, Sample and
	// Backward; what would keep the moved weights (Step, Save, Load, Export, another LookAhead) is refused.
	LookAhead(ctx context.Context, name string, scale float64, fn func() error) error
	// Merge adds weight*gradient[name] to the optimiser's gradient; Clear empties a buffer.
	Merge(name string, weight float64) error
	Clear(name string) error
}
