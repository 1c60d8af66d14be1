package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/hone-lm/hone/token"
)

// tokenizerFlags name the tokenizer of a verb.
type tokenizerFlags struct {
	Tokenizer string `required:"" help:"Hugging Face folder or tokenizer.json, .gguf file, a folder with encoder.json and vocab.bpe, or a .tiktoken rank file."`
	Encoding  string `help:"Of a .tiktoken rank file: r50k_base or cl100k_base."`
}

// withTokenizer serves every line with the tokenizer; a kind that is not built yet answers every line with its name.
func (f *tokenizerFlags) withTokenizer(a *app, verb func(t token.Tokenizer, line []byte) (any, error)) error {
	ranks := strings.EqualFold(filepath.Ext(f.Tokenizer), ".tiktoken")
	switch {
	case ranks && f.Encoding == "":
		return badCallf("%s: a rank file needs --encoding r50k_base or cl100k_base", f.Tokenizer)
	case !ranks && f.Encoding != "":
		return badCallf("--encoding belongs to .tiktoken files: leave it out for %s", f.Tokenizer)
	}
	var t token.Tokenizer
	var err error
	if ranks {
		t, err = token.LoadTiktoken(f.Tokenizer, f.Encoding)
	} else {
		t, err = token.Load(f.Tokenizer)
	}
	var u *token.ErrUnsupported
	switch {
	case errors.As(err, &u):
		return a.serve(func([]byte) (any, error) { return nil, unsupported(u.What) })
	case err != nil:
		return badCall{err}
	}
	return a.serve(func(line []byte) (any, error) { return verb(t, line) })
}

type encodeVerb struct{ tokenizerFlags }

func (encodeVerb) Help() string {
	return `Fields: "text", and optionally "special": recognise special tokens in the text (default true for Hugging Face files and GGUF, false for
others), "add_special": begin and end tokens as the tokenizer's own settings say (default false).

  $ echo '{"text": "<|im_start|>user\nHi"}' | hone tool encode --tokenizer SmolLM2-135M-Instruct.Q4_1.gguf
  {"ids":[1,4093,198,26843]}`
}

func (v *encodeVerb) Run(a *app) error {
	return v.withTokenizer(a, func(t token.Tokenizer, line []byte) (any, error) {
		var req struct {
			Text       string `json:"text"`
			Special    bool   `json:"special,omitempty"`
			AddSpecial bool   `json:"add_special,omitempty"`
		}
		req.Special = t.SpecialDefault()
		if err := decodeRequest(line, &req); err != nil {
			return nil, err
		}
		ids := t.Encode(req.Text, token.EncodeOptions{Special: req.Special, AddSpecial: req.AddSpecial})
		return map[string][]int32{"ids": append([]int32{}, ids...)}, nil
	})
}

type decodeVerb struct{ tokenizerFlags }

func (decodeVerb) Help() string {
	return `Fields: "ids", and optionally "skip_special": leave special tokens out (default false). Spaces are not tidied up; ill-formed bytes become
U+FFFD, one for each maximal ill-formed part.

  $ echo '{"ids": [1, 4093, 198, 26843]}' | hone tool decode --tokenizer SmolLM2-135M-Instruct.Q4_1.gguf
  {"text":"<|im_start|>user\nHi"}`
}

func (v *decodeVerb) Run(a *app) error {
	return v.withTokenizer(a, func(t token.Tokenizer, line []byte) (any, error) {
		var req struct {
			IDs         []int32 `json:"ids"`
			SkipSpecial bool    `json:"skip_special,omitempty"`
		}
		if err := decodeRequest(line, &req); err != nil {
			return nil, err
		}
		for i, id := range req.IDs {
			if t.Bytes(id) == nil && !t.IsSpecial(id) {
				return nil, fmt.Errorf("ids[%d] is %d, which the tokenizer does not have (its ids end at %d)", i, id, t.VocabSize()-1)
			}
		}
		return map[string]string{"text": t.Decode(req.IDs, req.SkipSpecial)}, nil
	})
}
