package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// TrainOn says which tokens of a row are trained.
type TrainOn string

// The values of config key train_on.
const (
	TrainAnswers TrainOn = "answers" // the completion, or every message of the assistant
	TrainLast    TrainOn = "last"    // the completion, or the last message of the assistant
	TrainAll     TrainOn = "all"     // every token, the prompt's too
)

// Codec turns text into tokens: the model's tokenizer, and its chat template if it has one.
type Codec struct {
	Encode func(before []int32, text string) ([]int32, error) // of text that goes on behind ids; adds no special tokens
	Begin  []int32                                            // stand before every row that no template renders; nil for most models
	End    []int32                                            // ids that end an answer; the first is appended to a completion that no template renders
	// Chat renders a conversation and gives each token its weight, 0 or 1; nil if the model has no chat template.
	Chat func(messages []Message, tools json.RawMessage, on TrainOn) (tokens []int32, weights []float32, err error)
}

// Example is a row in tokens. Weights[t] speaks of Tokens[t] as a target; both have the same length, and Weights[0] is 0, because
// nothing predicts the first token.
type Example struct {
	Tokens  []int32
	Weights []float32
	Source  string // "train.jsonl:17"; parts of a split row share it
}

// Trained returns the number of tokens with a weight.
func (e *Example) Trained() int {
	n := 0
	for _, w := range e.Weights {
		if w != 0 {
			n++
		}
	}
	return n
}

// Encode turns a row into tokens: through the chat template where there is one (a prompt is then the user's message and a completion the
// assistant's), else prompt, completion and end token one after the other. A row with no trained token, or whose trained tokens hold
// no end token, so that the model would not learn to stop, is an error.
func Encode(row *Row, c Codec, on TrainOn) (Example, error) {
	e, err := encode(row, c, on)
	if err == nil {
		err = trainable(row, &e, c, on)
	}
	if err != nil {
		return Example{}, fmt.Errorf("%s: %w", row.Source(), err)
	}
	return e, nil
}

func encode(row *Row, c Codec, on TrainOn) (e Example, err error) {
	e.Source = row.Source()
	switch on {
	case TrainAnswers, TrainLast, TrainAll:
	default:
		return e, fmt.Errorf("train_on: %q is none of %s, %s, %s", on, TrainAnswers, TrainLast, TrainAll)
	}
	if c.Chat == nil {
		return e, plain(row, c, on, &e)
	}
	messages := row.Messages
	if messages == nil {
		if row.Completion == "" {
			return e, errors.New("no trained token: the completion is empty; remove the row")
		}
		messages = []Message{{Role: "user", Content: row.Prompt}, {Role: "assistant", Content: row.Completion}}
	}
	e.Tokens, e.Weights, err = c.Chat(messages, row.Tools, on)
	if err == nil && len(e.Tokens) != len(e.Weights) {
		err = fmt.Errorf("the chat template gives %d tokens and %d weights", len(e.Tokens), len(e.Weights))
	}
	if len(e.Weights) > 0 {
		e.Weights[0] = 0
	}
	return e, err
}

func plain(row *Row, c Codec, on TrainOn, e *Example) error {
	switch {
	case row.Messages != nil:
		return errors.New("the row is a conversation and the model has no chat template; train a model that has one, or write prompt and completion")
	case row.Completion == "":
		return errors.New("no trained token: the completion is empty; remove the row")
	case len(c.End) == 0:
		return errors.New("the tokenizer has no end token, so the model cannot learn to stop")
	}
	prompt, err := c.Encode(c.Begin, row.Prompt)
	if err != nil {
		return fmt.Errorf("prompt: %w", err)
	}
	before := slices.Concat(c.Begin, prompt)
	completion, err := c.Encode(before, row.Completion)
	if err != nil {
		return fmt.Errorf("completion: %w", err)
	}
	e.Tokens = slices.Concat(before, completion, c.End[:1])
	e.Weights = make([]float32, len(e.Tokens))
	from := len(before)
	if on == TrainAll {
		from = len(c.Begin)
	}
	for t := max(from, 1); t < len(e.Weights); t++ {
		e.Weights[t] = 1
	}
	return nil
}

func trainable(row *Row, e *Example, c Codec, on TrainOn) error {
	if e.Trained() == 0 {
		if row.Messages != nil && !slices.ContainsFunc(row.Messages, func(m Message) bool { return m.Role == "assistant" }) {
			return fmt.Errorf("no trained token: no message has role %q; add an assistant message or set train_on: %s", "assistant", TrainAll)
		}
		return fmt.Errorf("no trained token with train_on: %s; remove the row or set train_on: %s", on, TrainAll)
	}
	for t, w := range e.Weights {
		if w != 0 && slices.Contains(c.End, e.Tokens[t]) {
			return nil
		}
	}
	return errors.New("no trained end token: the model would not learn to stop; end the conversation with a message of the assistant, and check that the chat template closes it with the model's end token (hone data show)")
}

// TooLong says what becomes of a row that is longer than the limit.
type TooLong string

// The values of config key too_long.
const (
	LongError    TooLong = "error"    // the default: the run does not start
	LongTruncate TooLong = "truncate" // the end is cut off, the end token with it
	LongSplit    TooLong = "split"    // parts of at most the limit; each begins with the last token of the part before, so that every target is trained once
)

// Counts sums up what EncodeAll did.
type Counts struct {
	Rows, Examples  int
	Tokens, Trained int // over all examples
	Longest         int // tokens of the longest row before any cut
	Truncated       int // rows
	Split           int // rows
	Dropped         int // examples without a trained token that a cut left behind
}

// EncodeAll encodes rows to examples of at most limit tokens (0: any length).
func EncodeAll(rows []Row, c Codec, on TrainOn, limit int, long TooLong) ([]Example, Counts, error) {
	counts := Counts{Rows: len(rows)}
	switch {
	case long != LongError && long != LongTruncate && long != LongSplit:
		return nil, counts, fmt.Errorf("too_long: %q is none of %s, %s, %s", long, LongError, LongTruncate, LongSplit)
	case limit < 0 || limit == 1:
		return nil, counts, fmt.Errorf("limit of %d tokens: a row needs at least 2", limit)
	}
	examples := make([]Example, 0, len(rows))
	for i := range rows {
		e, err := Encode(&rows[i], c, on)
		if err != nil {
			return nil, counts, err
		}
		counts.Longest = max(counts.Longest, len(e.Tokens))
		parts := []Example{e}
		if limit > 0 && len(e.Tokens) > limit {
			switch long {
			case LongTruncate:
				counts.Truncated++
				parts[0].Tokens, parts[0].Weights = e.Tokens[:limit], e.Weights[:limit]
			case LongSplit:
				counts.Split++
				parts = splitExample(e, limit)
			default:
				return nil, counts, fmt.Errorf("%s: %d tokens, and the limit is %d; shorten the row, raise the limit, or set too_long: %s or %s", e.Source, len(e.Tokens), limit, LongTruncate, LongSplit)
			}
		}
		for _, p := range parts {
			trained := p.Trained()
			if trained == 0 {
				counts.Dropped++
				continue
			}
			counts.Tokens += len(p.Tokens)
			counts.Trained += trained
			examples = append(examples, p)
		}
	}
	counts.Examples = len(examples)
	if len(rows) > 0 && len(examples) == 0 {
		return nil, counts, fmt.Errorf("too_long: %s with a limit of %d tokens leaves no trained token in any of %d rows; raise the limit", long, limit, len(rows))
	}
	return examples, counts, nil
}

func splitExample(e Example, limit int) []Example {
	var parts []Example
	for from := 0; from < len(e.Tokens)-1; from += limit - 1 {
		to := min(from+limit, len(e.Tokens))
		p := Example{Tokens: e.Tokens[from:to:to], Weights: slices.Clone(e.Weights[from:to]), Source: e.Source}
		p.Weights[0] = 0 // trained at the end of the part before
		parts = append(parts, p)
	}
	return parts
}
