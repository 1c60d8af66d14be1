package run

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strconv"
	"strings"
)

// Rollout is one row of rollouts/<stage>.jsonl: a sampled episode with everything that its gradient was made of. An episode whose context was
// rewritten between turns has a row for each segment.
type Rollout struct {
	Step    int              `json:"step"`
	Problem string           `json:"problem"`
	Sample  int              `json:"sample"`            // number within the problem's group
	Segment int              `json:"segment,omitempty"` // of the episode
	Text    string           `json:"text"`              // the episode's response
	Verdict string           `json:"verdict"`
	Reward  Float            `json:"reward"`
	Terms   map[string]Float `json:"terms,omitempty"` // what the reward is made of; a turn's own are named NAME/TURN
	Stop    string           `json:"stop"`
	Tokens  []int32          `json:"tokens"`
	Pieces  []string         `json:"pieces,omitempty"` // [token], the text that each token completes: joined they are the whole text
	Prompt  int              `json:"prompt"`           // tokens before the first one that is not the prompt's

	// What follows has one entry for each token from Prompt on: entry i speaks of Tokens[Prompt+i].
	Kinds     string            `json:"kinds,omitempty"` // a letter each, see KindLetters; empty when all were sampled
	LogProb   Column            `json:"logp_old"`        // nats, under the policy that sampled
	Advantage Column            `json:"advantage,omitempty"`
	Weights   map[string]Column `json:"weights,omitempty"` // by stream: the row's weight, 0 where its mask is off
	Scale     map[string]Short  `json:"scale,omitempty"`   // by stream: coefficient / denominator; a token's loss counts scale * weight
}

// KindLetters are the letters of Rollout.Kinds in the order of engine.Kind: prompt, demonstrated, sampled, forced, inserted, observed.
const KindLetters = "pdsfio"

// Short is a number written as one of a Column.
type Short float64

// MarshalJSON implements json.Marshaler.
func (x Short) MarshalJSON() ([]byte, error) { return appendShort(nil, float64(x)), nil }

func appendShort(out []byte, x float64) []byte {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return append(out, "null"...)
	}
	return strconv.AppendFloat(out, x, 'g', 5, 64)
}

// Column is a row of numbers, written with five significant digits; numbers that are not finite are written as null and read as NaN.
type Column []float32

// MarshalJSON implements json.Marshaler.
func (c Column) MarshalJSON() ([]byte, error) {
	out := append(make([]byte, 0, 8*len(c)+2), '[')
	for i, x := range c {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendShort(out, float64(x))
	}
	return append(out, ']'), nil
}

// UnmarshalJSON reads what MarshalJSON wrote; a lone number, as in rows of earlier versions, is a column of one.
func (c *Column) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '[' {
		b = append(append([]byte{'['}, b...), ']')
	}
	var read []*float32
	if err := json.Unmarshal(b, &read); err != nil {
		return err
	}
	*c = make(Column, len(read))
	for i, x := range read {
		if (*c)[i] = float32(math.NaN()); x != nil {
			(*c)[i] = *x
		}
	}
	return nil
}

// At returns entry i; a column of one says the same of every token, and outside a column there is 0.
func (c Column) At(i int) float64 {
	switch {
	case len(c) == 1:
		return float64(c[0])
	case i < 0 || i >= len(c):
		return 0
	}
	return float64(c[i])
}

// Rollouts reads the rows of a stage whose step is wanted; rows of other steps are passed over without being parsed.
func (r *Run) Rollouts(stage string, wanted func(step int) bool) ([]Rollout, error) {
	var rows []Rollout
	err := r.eachRollout(stage, func(line int, step int, row []byte) error {
		if !wanted(step) {
			return nil
		}
		var one Rollout
		if err := json.Unmarshal(row, &one); err != nil {
			return fmt.Errorf("%s:%d: %w; the file was changed by hand, or the disk is damaged", r.rolloutFile(stage), line, err)
		}
		rows = append(rows, one)
		return nil
	})
	return rows, err
}

// RolloutSteps counts a stage's rows by step.
func (r *Run) RolloutSteps(stage string) (map[int]int, error) {
	steps := map[int]int{}
	return steps, r.eachRollout(stage, func(line, step int, row []byte) error {
		steps[step]++
		return nil
	})
}

func (r *Run) rolloutFile(stage string) string { return r.Path(RolloutsDir + "/" + stage + ".jsonl") }

var rolloutPrefix = []byte(`{"step":`)

// eachRollout goes through the lines of a stage's file; a last line without its end is passed over.
func (r *Run) eachRollout(stage string, do func(line, step int, row []byte) error) error {
	if err := r.flushOne(RolloutsDir + "/" + stage + ".jsonl"); err != nil {
		return err
	}
	f, err := os.Open(r.rolloutFile(stage))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 1<<16)
	for line := 1; ; line++ {
		row, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		rest, ok := bytes.CutPrefix(row, rolloutPrefix)
		number, _, _ := bytes.Cut(rest, []byte(","))
		step, err := strconv.Atoi(string(number))
		if !ok || err != nil {
			return fmt.Errorf("%s:%d: the row does not begin with its step; the file was changed by hand, or the disk is damaged", f.Name(), line)
		}
		if err := do(line, step, row); err != nil {
			return err
		}
	}
}

// Span is a stretch of tokens [From, To) of a rollout whose value in a column is the same.
type Span struct {
	From, To int
	Value    float64 // 0 in the prompt
	Text     string
}

// Spans cuts a rollout's text where the value of a column changes.
func (r *Rollout) Spans(c Column) []Span {
	var out []Span
	for t := range r.Tokens {
		v := 0.0
		if t >= r.Prompt {
			v = c.At(t - r.Prompt)
		}
		if n := len(out); n == 0 || out[n-1].Value != v && !(math.IsNaN(v) && math.IsNaN(out[n-1].Value)) || t == r.Prompt {
			out = append(out, Span{From: t, To: t, Value: v})
		}
		s := &out[len(out)-1]
		s.To, s.Text = t+1, s.Text+r.Piece(t)
	}
	return out
}

// Piece is the text of token t; rows without texts show the id.
func (r *Rollout) Piece(t int) string {
	if t < len(r.Pieces) {
		return r.Pieces[t]
	}
	return "<" + strconv.Itoa(int(r.Tokens[t])) + ">"
}

// KindAt is the letter of token t.
func (r *Rollout) KindAt(t int) string {
	switch i := t - r.Prompt; {
	case i < 0:
		return "p"
	case i < len(r.Kinds):
		return r.Kinds[i : i+1]
	}
	return "s"
}

// Streams are the names of the streams that trained on the rollout, sorted.
func (r *Rollout) Streams() []string { return sortedKeys(r.Weights) }

// Summary is a line that says what became of the rollout.
func (r *Rollout) Summary() string {
	var terms []string
	for _, name := range sortedKeys(r.Terms) {
		terms = append(terms, fmt.Sprintf("%s %.3g", name, float64(r.Terms[name])))
	}
	text := fmt.Sprintf("%s sample %d: %s, reward %.3g", r.Problem, r.Sample, r.Verdict, float64(r.Reward))
	if r.Segment > 0 {
		text = fmt.Sprintf("%s sample %d segment %d: %s, reward %.3g", r.Problem, r.Sample, r.Segment, r.Verdict, float64(r.Reward))
	}
	if len(terms) > 0 {
		text += " (" + strings.Join(terms, ", ") + ")"
	}
	return fmt.Sprintf("%s, %d tokens, ended by %s", text, len(r.Tokens)-r.Prompt, r.Stop)
}
