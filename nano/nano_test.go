package nano

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/hone-lm/hone/engine"
	"github.com/hone-lm/hone/engine/local"
	"github.com/hone-lm/hone/internal/rng"
	"github.com/hone-lm/hone/model"
	"github.com/hone-lm/hone/tensor"
	"github.com/hone-lm/hone/token"
)

func TestEmbeddedModel(t *testing.T) {
	m, err := Model()
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := model.New(Config(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(m.Config, fresh.Config) {
		t.Errorf("the embedded config.json says\n%+v, Config()\n%+v", m.Config, fresh.Config)
	}
	if n := m.Count(); n < 800_000 || n > 1_000_000 {
		t.Errorf("%d parameters; want about 0.85 million", n)
	}
	if m.Config.Vocab != token.Bytes().VocabSize() {
		t.Errorf("vocabulary of %d, the byte tokenizer has %d", m.Config.Vocab, token.Bytes().VocabSize())
	}
	if n := len(Weights()); n > 3<<20 {
		t.Errorf("%d bytes are embedded; at most 3 MiB are wanted", n)
	}
}

// answers continues each question greedily to the end token.
func answers(t *testing.T, questions []string) []string {
	t.Helper()
	m, err := Model()
	if err != nil {
		t.Fatal(err)
	}
	tok := token.Bytes()
	e, err := local.New(m, tok, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	prompts := make([]engine.Prompt, len(questions))
	for i, q := range questions {
		ids := append([]int32{tok.BOS()}, tok.Encode(q, token.EncodeOptions{Special: true})...)
		prompts[i] = engine.Prompt{Seq: &engine.Sequence{Tokens: ids, Kind: make([]engine.Kind, len(ids))}, N: 1,
			Params: engine.Params{Greedy: true, MaxTokens: 48, StopIDs: []int32{tok.EOS()}}}
	}
	got, err := e.Sample(context.Background(), prompts)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]string, len(got))
	for i, g := range got {
		out[i] = tok.Decode(g[0].Tokens[len(prompts[i].Seq.Tokens):], true)
	}
	return out
}

// Questions of which each kind has a floor that lies below what was measured (docs/nano.md).
func TestEmbeddedModelCalculates(t *testing.T) {
	if testing.Short() {
		t.Skip("samples a thousand answers")
	}
	key := rng.New(99, "questions")
	kinds := []struct {
		name  string
		floor float64
		ask   func(a, b int) (string, string)
	}{
		{"a+b to 20", 0.97, func(a, b int) (string, string) {
			a, b = 1+a%20, 1+b%20
			return fmt.Sprintf("%d+%d=", a, b), fmt.Sprint(a + b)
		}},
		{"a+b to 99", 0.8, func(a, b int) (string, string) { return fmt.Sprintf("%d+%d=", a, b), fmt.Sprint(a + b) }},
		{"a-b to 99", 0.75, func(a, b int) (string, string) {
			a, b = max(a, b), min(a, b)
			return fmt.Sprintf("%d-%d=", a, b), fmt.Sprint(a - b)
		}},
		{"a*b to 20", 0.97, func(a, b int) (string, string) {
			a, b = 1+a%20, 1+b%20
			return fmt.Sprintf("%d*%d=", a, b), fmt.Sprint(a * b)
		}},
		{"a/b", 0.97, func(a, b int) (string, string) {
			a, b = 1+a%20, 1+b%20
			return fmt.Sprintf("%d/%d=", a*b, b), fmt.Sprint(a)
		}},
		{"chat", 0.97, func(a, b int) (string, string) {
			a, b = 1+a%20, 1+b%20
			return fmt.Sprintf("<|user|>%d+%d=<|assistant|>", a, b), fmt.Sprint(a + b)
		}},
		{"worked sum", 0.97, func(a, b int) (string, string) {
			sum, ones, tens := a+b, a%10+b%10, a/10*10+b/10*10
			return fmt.Sprintf("%d+%d: ", a, b), fmt.Sprintf("%d+%d=%d, %d+%d=%d, %d+%d=%d", a%10, b%10, ones, a/10*10, b/10*10, tens, tens, ones, sum)
		}},
	}
	const each = 150
	var questions, want []string
	for k, kind := range kinds {
		for i := range uint64(each) {
			q, w := kind.ask(10+key.Intn(uint64(k)*1000+2*i, 90), 10+key.Intn(uint64(k)*1000+2*i+1, 90))
			questions, want = append(questions, q), append(want, w)
		}
	}
	got := answers(t, questions)
	for k, kind := range kinds {
		right := 0
		for i := k * each; i < (k+1)*each; i++ {
			if got[i] == want[i] {
				right++
			}
		}
		share := float64(right) / each
		t.Logf("%-14s %.3f  %s%s", kind.name, share, questions[k*each], got[k*each])
		if share < kind.floor {
			t.Errorf("%s: %.3f right, want %.2f or more", kind.name, share, kind.floor)
		}
	}
}

// Pretraining learns, depends neither on the number of threads nor on the vector width, and stops when asked.
func TestPretrain(t *testing.T) {
	if testing.Short() {
		t.Skip("trains for several seconds")
	}
	p := Pretraining{Seed: 1, Steps: 3, Rows: 5, LR: 2e-3}
	run := func(threads int) (weights [][]float32, losses []float64) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
		m, err := Pretrain(context.Background(), p, func(_ int, loss float64) { losses = append(losses, loss) })
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range m.Weights() {
			weights = append(weights, w.Data)
		}
		return weights, losses
	}
	one, losses := run(1)
	two, again := run(2)
	if !slices.EqualFunc(one, two, slices.Equal) || !slices.Equal(losses, again) {
		t.Errorf("one thread gives losses %v, two give %v, or other weights", losses, again)
	}
	if restore, ok := tensor.ForceKernelLevel("avx2"); ok {
		narrow, again := run(2)
		restore()
		if !slices.EqualFunc(one, narrow, slices.Equal) || !slices.Equal(losses, again) {
			t.Errorf("AVX2 gives losses %v, not %v, or other weights", again, losses)
		}
	}
	if len(losses) != 3 || !(losses[2] < losses[0]) {
		t.Errorf("losses %v; want three that fall", losses)
	}
	ctx, cancel := context.WithCancel(context.Background())
	steps := 0
	_, err := Pretrain(ctx, p, func(step int, _ float64) { steps = step; cancel() })
	if err == nil || !strings.Contains(err.Error(), "cancel") || steps != 1 {
		t.Errorf("cancelled in step 1: %v after %d steps", err, steps)
	}
}
