package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"unicode/utf8"
)

// Pair is a preference: two rows with one prompt, of which the chosen answer is the better one. Both rows name the same place.
type Pair struct{ Chosen, Rejected Row }

// Labelled is a row whose answer is desirable or not.
type Labelled struct {
	Row
	Desirable bool
}

// ReadPairs reads a file of preferences in the files that Read reads and the row formats of TRL: "prompt", "chosen" and "rejected", as
// texts or as lists of messages; without a prompt, or with a text beside lists, the prompt is what both answers begin with. An answer in
// messages is one message of the assistant.
func ReadPairs(path string) (pairs []Pair, err error) {
	err = readWith(path, func(line int, raw json.RawMessage, cols []column) error {
		p, err := readPair(cols)
		if err != nil {
			return err
		}
		for _, r := range []*Row{&p.Chosen, &p.Rejected} {
			r.File, r.Line, r.Raw = path, line, raw
		}
		pairs = append(pairs, p)
		return nil
	})
	return pairs, err
}

// ReadLabelled reads a file of single answers: "prompt", "completion" and "label" (true or false), as texts or lists of messages. A row of
// ReadPairs gives two: the chosen answer is desirable, the rejected one is not.
func ReadLabelled(path string) (rows []Labelled, err error) {
	err = readWith(path, func(line int, raw json.RawMessage, cols []column) error {
		add := func(r Row, desirable bool) {
			r.File, r.Line, r.Raw = path, line, raw
			rows = append(rows, Labelled{r, desirable})
		}
		if value(cols, "label") == nil && value(cols, "chosen") != nil {
			p, err := readPair(cols)
			if err == nil {
				add(p.Chosen, true)
				add(p.Rejected, false)
			}
			return err
		}
		prompt, completion, label := value(cols, "prompt"), value(cols, "completion"), value(cols, "label")
		if prompt == nil || completion == nil || label == nil {
			return fmt.Errorf(`an answer with a label has "prompt", "completion" and "label", and the row has %s`, names(cols))
		}
		if kindOf(label) != "a boolean" {
			return fmt.Errorf(`column "label" is %s; write true (desirable) or false`, kindOf(label))
		}
		r, err := answerRow(cols, prompt, completion, "completion")
		if err == nil {
			add(r, label[0] == 't')
		}
		return err
	})
	return rows, err
}

// readWith hands a file's rows to take; no rows at all is an error.
func readWith(path string, take func(line int, raw json.RawMessage, cols []column) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	n := 0
	err = scan(f, path, func(line int, raw json.RawMessage, cols []column) error {
		n++
		return take(line, raw, cols)
	})
	if err == nil && n == 0 {
		err = fmt.Errorf("%s: the file holds no rows", path)
	}
	return err
}

func readPair(cols []column) (p Pair, err error) {
	prompt, chosen, rejected := value(cols, "prompt"), value(cols, "chosen"), value(cols, "rejected")
	if chosen == nil || rejected == nil {
		return p, fmt.Errorf(`a preference has "chosen" and "rejected", and mostly "prompt"; the row has %s`, names(cols))
	}
	if kindOf(chosen) != kindOf(rejected) {
		return p, fmt.Errorf(`column "chosen" is %s and "rejected" is %s; write both alike`, kindOf(chosen), kindOf(rejected))
	}
	switch {
	case prompt != nil && kindOf(prompt) == kindOf(chosen):
		if p.Chosen, err = answerRow(cols, prompt, chosen, "chosen"); err == nil {
			p.Rejected, err = answerRow(cols, prompt, rejected, "rejected")
		}
	case chosen[0] == '[':
		p, err = implicitMessages(cols, chosen, rejected)
	case prompt != nil:
		err = fmt.Errorf(`column "prompt" is %s and "chosen" is %s; write both as texts or both as lists of messages`, kindOf(prompt), kindOf(chosen))
	default:
		p, err = implicitText(cols, chosen, rejected)
	}
	if err == nil && same(&p.Chosen, &p.Rejected) {
		err = errors.New(`"chosen" and "rejected" are the same answer, which prefers nothing; remove the row`)
	}
	return p, err
}

// answerRow joins a prompt and an answer, both texts or both lists of messages.
func answerRow(cols []column, prompt, answer json.RawMessage, name string) (r Row, err error) {
	if prompt[0] != '[' || answer[0] != '[' {
		if r.Prompt, err = text(cols, "prompt", prompt, false); err == nil {
			r.Completion, err = text(cols, name, answer, false)
		}
		return r, err
	}
	if r.Messages, err = decodeMessages(prompt); err != nil {
		return r, fmt.Errorf(`column "prompt": %w`, err)
	}
	last, err := decodeMessages(answer)
	if err != nil {
		return r, fmt.Errorf("column %q: %w", name, err)
	}
	if len(last) != 1 || last[0].Role != "assistant" {
		return r, fmt.Errorf(`column %q: the answer has %d messages, the first by %q; write one message of the assistant and put what stands before it into "prompt"`, name, len(last), last[0].Role)
	}
	r.Messages, r.Tools = append(r.Messages, last[0]), value(cols, "tools")
	return r, nil
}

// implicitMessages reads two conversations that differ in their last message, the answer.
func implicitMessages(cols []column, chosen, rejected json.RawMessage) (p Pair, err error) {
	for _, c := range []struct {
		name string
		raw  json.RawMessage
		row  *Row
	}{{"chosen", chosen, &p.Chosen}, {"rejected", rejected, &p.Rejected}} {
		m, err := decodeMessages(c.raw)
		if err != nil {
			return p, fmt.Errorf("column %q: %w", c.name, err)
		}
		if len(m) < 2 || m[len(m)-1].Role != "assistant" {
			return p, fmt.Errorf(`column %q: %d messages, the last by %q; without a column "prompt" of messages a conversation has a question and ends with a message of the assistant`, c.name, len(m), m[len(m)-1].Role)
		}
		c.row.Messages, c.row.Tools = m, value(cols, "tools")
	}
	a, b := p.Chosen.Messages, p.Rejected.Messages
	if len(a) != len(b) {
		return p, fmt.Errorf(`"chosen" has %d messages and "rejected" %d; they may differ in the last one alone`, len(a), len(b))
	}
	for i := range a[:len(a)-1] {
		if !sameMessage(a[i], b[i]) {
			return p, fmt.Errorf(`messages[%d] of "chosen" and "rejected" differ; only the last one, the answer, may`, i)
		}
	}
	return p, nil
}

// implicitText takes the beginning that two texts share as the prompt; a space before the answers belongs to them, as in TRL.
func implicitText(cols []column, chosen, rejected json.RawMessage) (p Pair, err error) {
	a, err := text(cols, "chosen", chosen, false)
	if err != nil {
		return p, err
	}
	b, err := text(cols, "rejected", rejected, false)
	if err != nil {
		return p, err
	}
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	for n > 0 && n < len(a) && !utf8.RuneStart(a[n]) {
		n--
	}
	if n > 0 && a[n-1] == ' ' {
		n--
	}
	if n == 0 {
		return p, errors.New(`the row has no "prompt", and "chosen" and "rejected" do not begin alike; add the column "prompt"`)
	}
	p.Chosen, p.Rejected = Row{Prompt: a[:n], Completion: a[n:]}, Row{Prompt: b[:n], Completion: b[n:]}
	return p, nil
}

func same(a, b *Row) bool {
	if a.Messages == nil {
		return a.Completion == b.Completion
	}
	return sameMessage(a.Messages[len(a.Messages)-1], b.Messages[len(b.Messages)-1])
}

// sameMessage compares what was written, but for white space between its fields.
func sameMessage(a, b Message) bool {
	var x, y bytes.Buffer
	return a.Role == b.Role && a.Content == b.Content && json.Compact(&x, a.Raw) == nil && json.Compact(&y, b.Raw) == nil && bytes.Equal(x.Bytes(), y.Bytes())
}
