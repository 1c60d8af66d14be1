package recipe

import (
	"path/filepath"
	"testing"

	"github.com/hone-lm/hone/data"
	"github.com/hone-lm/hone/rollout"
	"github.com/hone-lm/hone/token"
)

// A completion gets no space of its own from a vocabulary that begins every text with one.
func TestCodecContinues(t *testing.T) {
	tok, err := token.Load(filepath.Join("..", "token", "testdata", "space-prefix"))
	if err != nil {
		t.Fatal(err)
	}
	c := (&Build{Format: &rollout.Format{Tok: tok}}).codec()
	e, err := data.Encode(&data.Row{Prompt: "1+2", Completion: "=3"}, c, data.TrainAnswers)
	if err != nil {
		t.Fatal(err)
	}
	if got := tok.Decode(e.Tokens, true); got != "1+2=3" || e.Trained() != len("=3")+1 {
		t.Errorf("%q with %d trained tokens", got, e.Trained())
	}
}
