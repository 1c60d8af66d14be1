package main

import (
	"encoding/json"
	"errors"

	"github.com/hone-lm/hone/chat"
	"github.com/hone-lm/hone/data"
	"github.com/hone-lm/hone/token"
)

// textCodec is a model's tokenizer and chat template as rows need them.
type textCodec struct {
	data.Codec
	tok token.Tokenizer
}

// openCodec reads the tokenizer of a model; nano is the byte tokenizer.
func openCodec(model string) (*textCodec, error) {
	tok := token.Bytes()
	if model != "nano" {
		var err error
		if tok, err = token.Load(model); err != nil {
			return nil, err
		}
	}
	return newCodec(tok)
}

func newCodec(tok token.Tokenizer) (*textCodec, error) {
	c := &textCodec{tok: tok}
	c.Encode = func(before []int32, text string) ([]int32, error) {
		return token.Continue(tok, before, text, token.EncodeOptions{}), nil
	}
	c.End = tok.EndIDs()
	if begin := tok.Encode("", token.EncodeOptions{AddSpecial: true}); len(begin) > 0 && begin[0] == tok.BOS() {
		c.Begin = begin[:1]
	}
	template, err := chat.New("", tok)
	if errors.Is(err, chat.ErrNoTemplate) {
		return c, nil // prompt and completion one after the other
	}
	if err != nil {
		return nil, err
	}
	c.Chat = func(messages []data.Message, tools json.RawMessage, on data.TrainOn) ([]int32, []float32, error) {
		turns := make([]chat.Message, len(messages))
		for i, m := range messages {
			turns[i] = chat.Message{Role: m.Role, Content: m.Content}
			if m.Raw != nil {
				if err := json.Unmarshal(m.Raw, &turns[i]); err != nil {
					return nil, nil, err
				}
			}
		}
		got, err := chat.TrainTokens(tok, template, turns, tools, string(on))
		return got.IDs, got.Weights, err
	}
	return c, nil
}
