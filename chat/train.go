package chat

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/hone-lm/hone/chat/internal/jinja"
	"github.com/hone-lm/hone/token"
)

// Trained is a conversation as tokens. The three slices speak of the same rendering.
type Trained struct {
	Text    string
	IDs     []int32
	Weights []float32 // [len(IDs)] 1 where the model learns to write the token, 0 elsewhere
}

// What TrainTokens trains on.
const (
	Answers = "answers" // every assistant message
	Last    = "last"    // the last assistant message
	All     = "all"     // every token
)

// TrainTokens renders a conversation once, encodes it, and gives weight 1 to the assistant's words with the token that ends the turn.
//
// Where an answer begins and ends comes from the template's {% generation %} blocks if it has any, else from rendering the messages
// before it with the generation prompt, which must be a prefix of the whole. A template for which that does not hold is an error that
// names the message. The text is encoded in parts, cut where an answer begins and ends: what the model sees before an answer is then
// exactly PromptTokens, though a merge across the cut would make fewer tokens.
func TrainTokens(tok token.Tokenizer, t *Template, msgs []Message, tools json.RawMessage, on string) (Trained, error) {
	if !slices.Contains([]string{Answers, Last, All}, on) {
		return Trained{}, fmt.Errorf("train on %q: write %s, %s or %s", on, Answers, Last, All)
	}
	text, answers, err := t.answers(tok, msgs, RenderOptions{Tools: tools})
	if err != nil {
		return Trained{}, err
	}
	if len(answers) == 0 && on != All {
		return Trained{}, fmt.Errorf("chat template of %s: there is no assistant message to train on", t.name)
	}
	trained := answers
	if on == Last {
		trained = answers[len(answers)-1:]
	}
	out := Trained{Text: text}
	for _, p := range parts(text, answers) {
		ids := token.Continue(tok, out.IDs, text[p.from:p.to], token.EncodeOptions{Special: true})
		w := float32(0)
		if on == All || slices.Contains(trained, p) {
			w = 1
		}
		out.IDs = append(out.IDs, ids...)
		for range ids {
			out.Weights = append(out.Weights, w)
		}
	}
	return out, nil
}

// PromptTokens renders messages with the generation prompt and encodes them: what the model sees before it answers. For a template that
// only appends they are a prefix of the ids that TrainTokens gives for the same messages and an answer.
func PromptTokens(tok token.Tokenizer, t *Template, msgs []Message, tools json.RawMessage) ([]int32, error) {
	o := RenderOptions{Tools: tools, AddGenerationPrompt: true}
	text, answers, err := t.answers(tok, msgs, o)
	if err != nil { // a template that does not show where earlier answers lie still gives a prompt
		if text, err = t.Render(msgs, o); err != nil {
			return nil, err
		}
		answers = nil
	}
	var ids []int32
	for _, p := range parts(text, answers) {
		ids = append(ids, token.Continue(tok, ids, text[p.from:p.to], token.EncodeOptions{Special: true})...)
	}
	return ids, nil
}

// span is a range of bytes of a text, [from, to).
type span struct{ from, to int }

// parts cuts text at the ends of spans, which ascend. Empty parts are left out.
func parts(text string, spans []span) []span {
	var out []span
	at := 0
	put := func(to int) {
		if at < to {
			out = append(out, span{at, to})
			at = to
		}
	}
	for _, s := range spans {
		put(s.from)
		put(s.to)
	}
	put(len(text))
	return out
}

// answers renders messages and finds the assistant's part of each of its turns, with the token that ends it.
func (t *Template) answers(tok token.Tokenizer, msgs []Message, o RenderOptions) (string, []span, error) {
	res, err := t.render(msgs, o)
	if err != nil {
		return "", nil, err
	}
	text := res.Text
	if len(res.Generation) > 0 && !res.Lost {
		return text, blocks(tok, text, res.Generation), nil
	}
	var spans []span
	for i, m := range msgs {
		if m.Role != "assistant" {
			continue
		}
		s, err := t.answer(tok, text, msgs, i, o)
		if err != nil {
			return "", nil, err
		}
		if n := len(spans); n > 0 && s.from < spans[n-1].to {
			return "", nil, t.lost(i, "it begins before the answer before it ends")
		}
		spans = append(spans, s)
	}
	return text, spans, nil
}

// blocks turns what {% generation %} blocks wrote into answers: parts that touch are one, empty ones are left out, and an end token that
// follows belongs to the answer, whether the template has it in the block or not.
func blocks(tok token.Tokenizer, text string, list []jinja.Span) []span {
	var out []span
	for _, g := range list {
		if n := len(out); n > 0 && out[n-1].to == g.From {
			out[n-1].to = g.To
		} else if g.From < g.To {
			out = append(out, span{g.From, g.To})
		}
	}
	for i := range out {
		s := &out[i]
		if lastEnd(tok, text[s.from:s.to]) == s.to-s.from {
			continue
		}
		for _, id := range tok.EndIDs() {
			if name := tok.Token(id); strings.HasPrefix(text[s.to:], name) {
				s.to += len(name)
				break
			}
		}
	}
	return out
}

func (t *Template) lost(i int, why string) error {
	return fmt.Errorf("chat template of %s: message %d: cannot tell which tokens are the assistant's: %s; "+
		"put {%% generation %%} blocks around them in the template, or train on %s tokens", t.name, i+1, why, All)
}

// answer finds message i in text by rendering the conversation up to it.
func (t *Template) answer(tok token.Tokenizer, text string, msgs []Message, i int, o RenderOptions) (span, error) {
	o.AddGenerationPrompt = true
	before, err := t.Render(msgs[:i], o)
	if err != nil {
		return span{}, t.lost(i, "the messages before it cannot be rendered alone ("+err.Error()+")")
	}
	o.AddGenerationPrompt = false
	if !strings.HasPrefix(text, before) {
		// A template may open the assistant's turn with something (an empty <think> block) that it leaves out in the whole.
		if before, err = t.Render(msgs[:i], o); err != nil || !strings.HasPrefix(text, before) {
			return span{}, t.lost(i, "the conversation does not begin with the rendering of the messages before it")
		}
		return span{}, t.lost(i, "the generation prompt is not part of the rendered answer")
	}
	s := span{len(before), len(text)}
	through, err := t.Render(msgs[:i+1], o)
	if err == nil && len(through) >= len(before) && strings.HasPrefix(text, through) {
		s.to = len(through)
		if end := lastEnd(tok, text[s.from:s.to]); end > 0 {
			s.to = s.from + end
		}
		return s, nil
	}
	// A template may write a turn otherwise once another follows (Qwen3 drops the thoughts): then the turn ends at the first end token
	// after its content.
	content := msgs[i].Content
	if _, said, ok := strings.Cut(content, "</think>"); ok {
		content = said
	}
	content = strings.TrimSpace(content)
	at := strings.Index(text[s.from:], content)
	if at < 0 {
		return span{}, t.lost(i, "the rendered answer does not hold its content")
	}
	at += s.from + len(content)
	end := firstEnd(tok, text[at:])
	if end < 0 {
		return span{}, t.lost(i, "no end-of-turn token follows its content")
	}
	s.to = at + end
	return s, nil
}

// lastEnd returns where the last end token in s ends, 0 if there is none.
func lastEnd(tok token.Tokenizer, s string) int {
	end := 0
	for _, id := range tok.EndIDs() {
		name := tok.Token(id)
		if i := strings.LastIndex(s, name); i >= 0 {
			end = max(end, i+len(name))
		}
	}
	return end
}

// firstEnd returns where the first end token in s ends, -1 if there is none.
func firstEnd(tok token.Tokenizer, s string) int {
	first, end := len(s)+1, -1
	for _, id := range tok.EndIDs() {
		name := tok.Token(id)
		if i := strings.Index(s, name); i >= 0 && i < first {
			first, end = i, i+len(name)
		}
	}
	return end
}
