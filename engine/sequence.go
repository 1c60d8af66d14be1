// Package engine is the seam between methods and machines: what a method says about tokens (Sequence, Row, Stream, Batch),
// what it may ask of a model (Engine, Frozen, Scores), and how it states a loss (Objective).
//
// engine/local runs everything in this process on the CPU; engine/enginetest holds an exact tabular engine for tests.
package engine

import (
	"fmt"

	"github.com/hone-lm/hone/internal/rng"
)

// Key names a stream of random numbers: a function of what the numbers are for, never of how many were drawn before.
type Key = rng.Key

// NewKey returns the key of a purpose under a seed, refined by parts such as step, problem and sample.
func NewKey(seed uint64, purpose string, parts ...uint64) Key {
	return rng.New(seed, purpose, parts...)
}

// ItemID says where a sequence comes from. It is written to logs and is part of random keys; it never influences arithmetic.
type ItemID struct {
	Problem string `json:"problem,omitempty"`
	Sample  int    `json:"sample,omitempty"` // number within its group
	Round   int    `json:"round,omitempty"`  // refill or self-training round
	Node    int    `json:"node,omitempty"`   // node of a search tree or branch
}

// Kind says who wrote a token.
type Kind uint8

const (
	KindPrompt   Kind = iota // the question, system turn, template
	KindDemo                 // an expert's token, trained on as a demonstration
	KindSampled              // drawn from the policy
	KindForced               // an expert's ids put into the policy's mouth (prefixes, branches); log-probs are filled by Score
	KindInserted             // put there by the runtime (tags, summaries' openings): never trained
	KindObserved             // tool output, environment text: never trained
)

// StopReason says why sampling of a sequence ended.
type StopReason string

const (
	NotStopped  StopReason = ""
	StopEOS     StopReason = "eos"         // a stop id, part of the sequence
	StopText    StopReason = "stop_string" // a stop string; the tokens that made it are part of the sequence
	StopLength  StopReason = "length"      // MaxTokens reached
	StopContext StopReason = "context"     // the model's context is full
	StopEnv     StopReason = "env"         // the environment ended the episode
)

// Span names a part of a sequence: a turn, a plan, a thought. It covers Tokens[From:To].
type Span struct {
	From int    `json:"from"`
	To   int    `json:"to"`
	Turn int    `json:"turn,omitempty"`
	Name string `json:"name"`
}

// Hide cuts attention between branches: queries in [From, To) do not see keys in [KeyFrom, KeyTo).
type Hide struct{ From, To, KeyFrom, KeyTo int }

// Mix replaces the input embedding at position At by (1-Weight)*E[Tokens[At]] + Weight*E[Other].
type Mix struct {
	At     int
	Other  int32
	Weight float32
}

// Channels are named per-token constants, each with one entry per token: ChanOld, ChanRef, ChanAdvantage ...
type Channels map[string][]float32

// Names of the channels that more than one package writes or reads.
const (
	ChanOld       = "logp_old"   // log-prob under the untruncated policy that sampled, at Temp
	ChanDrawn     = "logp_drawn" // log-prob under the distribution really drawn from (after top-k, top-p, penalties)
	ChanRef       = "logp_ref"   // log-prob under a frozen reference
	ChanAdvantage = "advantage"
	ChanReturn    = "return"
	ChanValueOld  = "value_old"
)

// Sequence is one line of tokens. Per-token slices have len(Tokens); entry t speaks of Tokens[t] as a TARGET, predicted from Tokens[:t].
// Entry 0 of log-probs is therefore never read.
type Sequence struct {
	ID     ItemID
	Tokens []int32
	Kind   []Kind // nil means all KindPrompt
	Chan   Channels
	Spans  []Span
	Stop   StopReason
	Temp   float32 // logits are divided by Temp in Sample, Score and Backward; 0 means 1. A greedy sample carries Temp 1
	Unit   int64   // sequences of one unit (a preference pair) stay in one micro-batch; 0 = alone
	Policy int64   // optimiser update that sampled it

	Pos  []int32 // positions, nil = 0, 1, 2 ...
	Hide []Hide  // nil = plain causal attention
	Mix  []Mix   // nil = plain input embeddings
}

// Label names the sequence in errors.
func (s *Sequence) Label() string { return fmt.Sprintf("%q sample %d", s.ID.Problem, s.ID.Sample) }

// Temperature returns Temp, with 0 read as 1.
func (s *Sequence) Temperature() float32 {
	if s.Temp == 0 {
		return 1
	}
	return s.Temp
}

// Channel returns the named channel, or nil.
func (s *Sequence) Channel(name string) []float32 { return s.Chan[name] }

// SetChannel stores a channel and returns it; it makes the slice when values is nil.
func (s *Sequence) SetChannel(name string, values []float32) []float32 {
	if values == nil {
		values = make([]float32, len(s.Tokens))
	}
	if s.Chan == nil {
		s.Chan = Channels{}
	}
	s.Chan[name] = values
	return values
}

// KindAt returns the kind of token t.
func (s *Sequence) KindAt(t int) Kind {
	if s.Kind == nil {
		return KindPrompt
	}
	return s.Kind[t]
}

// Count returns the number of tokens of a kind.
func (s *Sequence) Count(k Kind) int {
	n := 0
	for t := range s.Tokens {
		if s.KindAt(t) == k {
			n++
		}
	}
	return n
}
