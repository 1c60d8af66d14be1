package main

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/hone-lm/hone/chat"
	"github.com/hone-lm/hone/data"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/token"
)

// TestContinuations: completions and later turns get no space of their own from a vocabulary that begins every text with one.
func TestContinuations(t *testing.T) {
	prefix, err := token.Load(filepath.Join("..", "..", "token", "testdata", "space-prefix"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tok := range []token.Tokenizer{prefix, token.Bytes()} {
		c, err := newCodec(tok)
		if err != nil {
			t.Fatal(err)
		}
		c.Chat = nil
		e, err := data.Encode(&data.Row{Prompt: "1+2", Completion: "=3"}, c.Codec, data.TrainAnswers)
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.Decode(e.Tokens, true); got != "1+2=3" || e.Trained() != len("=3")+1 {
			t.Errorf("%s: prompt and completion say %q with %d trained tokens, want %q with 3", tok.Name(), got, e.Trained(), "1+2=3")
		}

		f := &rollout.Format{Tok: tok}
		if f.Template, err = chat.New("{% for m in messages %}{{ m.content }};{% endfor %}", tok); err != nil {
			t.Fatal(err)
		}
		k := &talk{f: f, text: "q;a", messages: []chat.Message{{Role: "user", Content: "q"}, {Role: "assistant", Content: "a"}, {Role: "user", Content: "r"}}}
		k.tokens = tok.Encode(k.text, token.EncodeOptions{})
		before := slices.Clone(k.tokens)
		if err := k.ask("r"); err != nil {
			t.Fatal(err)
		}
		if got := tok.Decode(k.tokens, false); got != "q;a;r;" || !slices.Equal(k.tokens[:len(before)], before) {
			t.Errorf("%s: the conversation says %q, want %q behind the tokens %v: %v", tok.Name(), got, "q;a;r;", before, k.tokens)
		}
	}
}
