package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/hone-lm/hone/data"
)

type dataCmd struct {
	Show  dataShowCmd  `cmd:"" help:"Print rows as tokens with their training weights."`
	Check dataCheckCmd `cmd:"" help:"Read and encode every row; list what is wrong, count what is right."`
}

func (dataCmd) Help() string {
	return `FILE holds rows as JSON Lines or one JSON array, gzip-compressed or not: "prompt" and "completion", or "messages", or two columns named
with --prompt and --completion. They are encoded as training encodes them, with the model's tokenizer and chat template.

  hone data show train.jsonl --model SmolLM2-135M-Instruct.Q4_1.gguf
  hone data show train.jsonl --row 17 --tokens
  hone data check gsm8k.jsonl --prompt question --completion answer --model SmolLM2-135M-Instruct.Q4_1.gguf --limit 1024`
}

// dataFlags say which rows are meant and how they become tokens.
type dataFlags struct {
	File       string `arg:"" help:"Rows as JSON Lines or one JSON array."`
	Model      string `default:"nano" help:"Model whose tokenizer and chat template are used: a folder or .gguf file; nano: bytes."`
	Prompt     string `help:"Column that holds the prompt."`
	Completion string `help:"Column that holds the completion."`
	TrainOn    string `enum:"answers,last,all" default:"answers" help:"Trained tokens: answers, last (answer only), all."`
	JSON       bool   `name:"json" help:"One JSON object instead of text."`
}

func (f *dataFlags) read() ([]data.Row, *textCodec, error) {
	codec, err := openCodec(f.Model)
	if err != nil {
		return nil, nil, err
	}
	rows, err := data.Read(f.File, data.Options{Prompt: f.Prompt, Completion: f.Completion})
	return rows, codec, err
}

type dataShowCmd struct {
	dataFlags
	Row    int  `help:"Only the row that begins on this line of the file."`
	Rows   int  `default:"3" help:"How many rows from the first."`
	Tokens bool `help:"One line a token: number, id, weight, text."`
}

// shownRow is one row of "hone data show --json".
type shownRow struct {
	Source  string    `json:"source"`
	Trained int       `json:"trained"`
	Tokens  []int32   `json:"tokens"`
	Weights []float32 `json:"weights"`
	Texts   []string  `json:"texts"`
}

func (c *dataShowCmd) Run(a *app) error {
	rows, codec, err := c.read()
	if err != nil {
		return err
	}
	if c.Row > 0 {
		i := slices.IndexFunc(rows, func(r data.Row) bool { return r.Line == c.Row })
		if i < 0 {
			return badCallf("%s: no row begins on line %d; the first begins on line %d, the last on line %d", c.File, c.Row, rows[0].Line, rows[len(rows)-1].Line)
		}
		rows = rows[i : i+1]
	}
	shown := []shownRow{}
	for i := range rows[:min(len(rows), max(c.Rows, 1))] {
		e, err := data.Encode(&rows[i], codec.Codec, data.TrainOn(c.TrainOn))
		if err != nil {
			return err
		}
		r := shownRow{Source: e.Source, Trained: e.Trained(), Tokens: e.Tokens, Weights: e.Weights}
		for _, id := range e.Tokens {
			r.Texts = append(r.Texts, codec.tok.Token(id))
		}
		shown = append(shown, r)
	}
	if c.JSON {
		return a.printJSON(map[string]any{"rows": shown})
	}
	for _, r := range shown {
		fmt.Fprintf(a.out, "%s  %d tokens, %d trained\n", r.Source, len(r.Tokens), r.Trained)
		if c.Tokens {
			r.printTokens(a.out)
		} else {
			fmt.Fprintln(a.out, indent(r.marked()))
		}
	}
	if !c.Tokens {
		fmt.Fprintln(a.out, "trained tokens stand between » and «; --tokens lists every one")
	}
	return nil
}

// marked writes the row's text with marks around what is trained. Bytes of a character that tokens share come out whole.
func (r *shownRow) marked() string {
	var b strings.Builder
	on := false
	for t, text := range r.Texts {
		if trained := r.Weights[t] != 0; trained != on {
			b.WriteString(map[bool]string{true: "»", false: "«"}[trained])
			on = trained
		}
		b.WriteString(text)
	}
	if on {
		b.WriteString("«")
	}
	return strings.ToValidUTF8(b.String(), "\ufffd")
}

func (r *shownRow) printTokens(out io.Writer) {
	t := newTable(out)
	for i, id := range r.Tokens {
		t.row("", strconv.Itoa(i), strconv.Itoa(int(id)), strconv.FormatFloat(float64(r.Weights[i]), 'g', -1, 32), strconv.Quote(r.Texts[i]))
	}
	t.flush()
}

type dataCheckCmd struct {
	dataFlags
	Limit   int    `help:"Longest row in tokens; 0 = any."`
	TooLong string `enum:"error,truncate,split" default:"error" help:"What becomes of longer rows: error, truncate, split."`
}

// checkedData is what "hone data check --json" prints.
type checkedData struct {
	File      string   `json:"file"`
	Rows      int      `json:"rows"`
	Examples  int      `json:"examples"`
	Tokens    int      `json:"tokens"`
	Trained   int      `json:"trained"`
	Median    int      `json:"median_tokens"`
	Longest   int      `json:"longest_tokens"`
	Truncated int      `json:"truncated"`
	Split     int      `json:"split"`
	Dropped   int      `json:"dropped"`
	Repeated  int      `json:"repeated"` // rows that are the same as an earlier one
	Faulty    int      `json:"faulty"`
	Faults    []string `json:"faults"` // the first of them
}

const shownFaults = 20

func (c *dataCheckCmd) Run(a *app) error {
	rows, codec, err := c.read()
	if err != nil {
		return err
	}
	got, err := c.check(rows, codec)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := a.printJSON(got); err != nil {
			return err
		}
	} else {
		c.print(a, got)
	}
	if got.Faulty > 0 {
		return fmt.Errorf("%s: %d of %d rows cannot be trained on; repair or remove them", c.File, got.Faulty, got.Rows)
	}
	return nil
}

func (c *dataCheckCmd) check(rows []data.Row, codec *textCodec) (*checkedData, error) {
	got := &checkedData{File: c.File, Rows: len(rows), Faults: []string{}}
	var lengths []int
	seen := map[string]bool{}
	for i := range rows {
		// Row by row, so that one fault does not hide the next.
		examples, n, err := data.EncodeAll(rows[i:i+1], codec.Codec, data.TrainOn(c.TrainOn), c.Limit, data.TooLong(c.TooLong))
		if err != nil {
			if c.Limit < 0 || c.Limit == 1 {
				return nil, badCall{err}
			}
			got.Faulty++
			if len(got.Faults) < shownFaults {
				got.Faults = append(got.Faults, oneLine(err.Error()))
			}
			continue
		}
		lengths = append(lengths, n.Longest)
		got.Examples += n.Examples
		got.Tokens += n.Tokens
		got.Trained += n.Trained
		got.Truncated += n.Truncated
		got.Split += n.Split
		got.Dropped += n.Dropped
		key := fmt.Sprint(examples[0].Tokens)
		if seen[key] {
			got.Repeated++
		}
		seen[key] = true
	}
	if len(lengths) > 0 {
		slices.Sort(lengths)
		got.Median, got.Longest = lengths[len(lengths)/2], lengths[len(lengths)-1]
	}
	return got, nil
}

func (c *dataCheckCmd) print(a *app, got *checkedData) {
	for _, f := range got.Faults {
		fmt.Fprintln(a.out, f)
	}
	if more := got.Faulty - len(got.Faults); more > 0 {
		fmt.Fprintf(a.out, "... and %d more\n", more)
	}
	t := newTable(a.out)
	t.row("rows", strconv.Itoa(got.Rows))
	t.row("examples", strconv.Itoa(got.Examples))
	t.row("tokens", fmt.Sprintf("%d, %d trained", got.Tokens, got.Trained))
	t.row("length", fmt.Sprintf("median %d, longest %d tokens", got.Median, got.Longest))
	for _, n := range []struct {
		name  string
		count int
	}{{"truncated", got.Truncated}, {"split", got.Split}, {"dropped", got.Dropped}, {"repeated", got.Repeated}, {"faulty", got.Faulty}} {
		if n.count > 0 {
			t.row(n.name, strconv.Itoa(n.count))
		}
	}
	t.flush()
	if got.Faulty == 0 {
		fmt.Fprintf(a.out, "next: hone data show %s --model %s\n", c.File, c.Model)
	}
}
