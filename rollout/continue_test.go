package rollout

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/task"
	"github.com/hone-lm/hone/token"
)

// TestContinuations: what follows a prompt gets no space of its own from a vocabulary that begins every text with one, and in the others
// has the ids of a text that stands alone.
func TestContinuations(t *testing.T) {
	prefix, err := token.Load(filepath.Join("..", "token", "testdata", "space-prefix"))
	if err != nil {
		t.Fatal(err)
	}
	tokenizers := []token.Tokenizer{prefix, token.Bytes()}
	if smol, err := token.Load(filepath.Join("..", "..", "shared", "models", "smollm2-135m-instruct", "SmolLM2-135M-Instruct.Q4_1.gguf")); err == nil {
		tokenizers = append(tokenizers, smol)
	}
	p := &task.Problem{Question: "1+2="}
	for _, tok := range tokenizers {
		f := &Format{Tok: tok, Opening: "so "}
		check := func(what string, s *engine.Sequence, err error, want string, alone ...string) {
			t.Helper()
			if err != nil {
				t.Fatalf("%s: %s: %v", tok.Name(), what, err)
			}
			if got := tok.Decode(s.Tokens, true); got != want {
				t.Errorf("%s: %s says %q, want %q", tok.Name(), what, got, want)
			}
			ids := tok.Encode("1+2=\n", token.EncodeOptions{AddSpecial: true})
			for _, text := range alone {
				ids = append(ids, tok.Encode(text, token.EncodeOptions{Special: true})...)
			}
			if tok != prefix && !slices.Equal(ids, s.Tokens[:len(ids)]) {
				t.Errorf("%s: %s has ids %v, want %v", tok.Name(), what, s.Tokens, ids)
			}
		}
		s, err := f.Prompt(p)
		check("the opening", s, err, "1+2=\nso ", "so ")
		s, err = f.Demo(p, "3!")
		check("a demonstration", s, err, "1+2=\n3!", "3!")
		s, err = f.DemoParts(p, []DemoPart{{Text: "a"}, {Text: "b c"}, {Text: "d"}})
		check("parts", s, err, "1+2=\nab cd", "a", "b c", "d")
	}
}
