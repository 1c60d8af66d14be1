package chat

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/hone-lm/hone/token"
)

var loaded sync.Map

// load opens a tokenizer under ../shared once for all tests, or skips the test.
func load(t testing.TB, path string) token.Tokenizer {
	t.Helper()
	path = filepath.Join(shared, path)
	if tok, ok := loaded.Load(path); ok {
		return tok.(token.Tokenizer)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("../shared absent: %v", err)
	}
	tok, err := token.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	loaded.Store(path, tok)
	return tok
}

const (
	smollm = "models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
	qwen   = "data/tokenizer_qwen3"
)

func template(t testing.TB, source string, tok token.Tokenizer) *Template {
	t.Helper()
	tmpl, err := New(source, tok)
	if err != nil {
		t.Fatal(err)
	}
	return tmpl
}

func say(turns ...string) []Message {
	var msgs []Message
	for i, text := range turns {
		msgs = append(msgs, Message{Role: []string{"user", "assistant"}[i%2], Content: text})
	}
	return msgs
}

// trainedText returns the parts of the text that bear weight, one string a run.
func trainedText(tok token.Tokenizer, got Trained) []string {
	var runs []string
	for i, id := range got.IDs {
		if got.Weights[i] == 0 {
			continue
		}
		if i == 0 || got.Weights[i-1] == 0 {
			runs = append(runs, "")
		}
		runs[len(runs)-1] += tok.Token(id)
	}
	return runs
}

func TestTrainTokens(t *testing.T) {
	const plain = `{% for m in messages %}{{ m.role + ': ' + m.content }}{% if not loop.last %}|{% endif %}{% endfor %}{% if add_generation_prompt %}|assistant: {% endif %}`
	const blocks = "{%- for m in messages %}\n{%- if m.role == 'assistant' %}\n{{- '<|assistant|>' }}\n{%- generation %}\n" +
		"{{- m.content + eos_token }}\n{%- endgeneration %}\n{%- else %}\n{{- '<|user|>' + m.content }}\n{%- endif %}\n{%- endfor %}"
	hi := say("Hi", "Hello!", "2+2?", " 4\n")
	for _, c := range []struct {
		name, path, source, on string
		msgs                   []Message
		want                   []string
	}{
		{"nano", "", "", Answers, hi, []string{"Hello!<|eos|>", " 4\n<|eos|>"}},
		{"nano, last", "", "", Last, hi, []string{" 4\n<|eos|>"}},
		{"nano, all", "", "", All, hi, []string{"<|user|>Hi<|assistant|>Hello!<|eos|><|user|>2+2?<|assistant|> 4\n<|eos|>"}},
		{"no end token", "", plain, Answers, hi, []string{"Hello!", " 4\n"}},
		{"blocks", "", blocks, Answers, hi, []string{"Hello!<|eos|>", " 4\n<|eos|>"}},
		{"blocks, last", "", blocks, Last, hi, []string{" 4\n<|eos|>"}},
		{"smollm", smollm, "", Answers, hi, []string{"Hello!<|im_end|>", " 4\n<|im_end|>"}},
		{"qwen", qwen, "", Answers, hi[:2], []string{"<think>\n\n</think>\n\nHello!<|im_end|>"}},
		{"qwen drops thoughts", qwen, "", Answers, say("Hi", "<think>\nx\n</think>\n\nHello!", "2+2?", "4"),
			[]string{"Hello!<|im_end|>", "<think>\n\n</think>\n\n4<|im_end|>"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tok := token.Bytes()
			if c.path != "" {
				tok = load(t, c.path)
			}
			tmpl := template(t, c.source, tok)
			got, err := TrainTokens(tok, tmpl, c.msgs, nil, c.on)
			if err != nil {
				t.Fatal(err)
			}
			if runs := trainedText(tok, got); !slices.Equal(runs, c.want) {
				t.Errorf("trained %q, want %q", runs, c.want)
			}
			if tok.Decode(got.IDs, false) != got.Text || len(got.Weights) != len(got.IDs) {
				t.Errorf("ids decode to %q, text is %q", tok.Decode(got.IDs, false), got.Text)
			}
		})
	}
}

func TestTrainTokensErrors(t *testing.T) {
	tok := token.Bytes()
	for _, c := range []struct {
		name, source, on string
		msgs             []Message
		want             string
	}{
		{"no answer", "", Answers, say("Hi"), "no assistant message"},
		{"wrong on", "", "some", say("Hi", "Ho"), `train on "some"`},
		{"backwards", `{% for m in messages | reverse %}{{ m.content }}{% endfor %}`, Answers, say("a", "b"), "message 2: cannot tell"},
		{"raises", `{% if messages[-1].role == 'user' %}{{ raise_exception('no user last') }}{% endif %}{{ messages[0].content }}`, Answers, say("a", "b"), "no user last"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := TrainTokens(tok, template(t, c.source, tok), c.msgs, nil, c.on)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// TestPromptIsPrefix: what the model saw before it answered is what training on the conversation begins with.
func TestPromptIsPrefix(t *testing.T) {
	word := rapid.SampledFrom([]string{"a", " ", "\n", "  ", "5", "12", "é", "e\u0301", "'s", "<think>", "<|im_end|>", "<|eos|>", "!", "\t", "文"})
	for _, path := range []string{"", smollm} {
		t.Run(path, func(t *testing.T) {
			tok := token.Bytes()
			if path != "" {
				tok = load(t, path)
			}
			tmpl := template(t, "", tok)
			rapid.Check(t, func(t *rapid.T) {
				var turns []string
				for range 2 * rapid.IntRange(1, 3).Draw(t, "pairs") {
					turns = append(turns, strings.Join(rapid.SliceOfN(word, 1, 6).Draw(t, "turn"), ""))
				}
				msgs := say(turns...)
				full, err := TrainTokens(tok, tmpl, msgs, nil, Answers)
				if err != nil {
					t.Fatal(err)
				}
				for n := 1; n < len(msgs); n += 2 {
					prompt, err := PromptTokens(tok, tmpl, msgs[:n], nil)
					if err != nil {
						t.Fatal(err)
					}
					if len(prompt) >= len(full.IDs) || !slices.Equal(prompt, full.IDs[:len(prompt)]) {
						t.Fatalf("prompt %v is not a prefix of %v", prompt, full.IDs)
					}
					if full.Weights[len(prompt)] != 1 || full.Weights[len(prompt)-1] != 0 {
						t.Fatalf("weights %v around token %d", full.Weights, len(prompt))
					}
				}
			})
		})
	}
}

func TestSmolLM2Chats(t *testing.T) {
	tok := load(t, smollm)
	var want struct {
		Generations []struct {
			Messages []Message
			Text     string
			Tokens   []int32
		}
	}
	readShared(t, "models/smollm2-135m-instruct/expected.json", &want)
	if len(want.Generations) != 8 {
		t.Fatalf("%d chats", len(want.Generations))
	}
	tmpl := template(t, "", tok)
	for _, c := range want.Generations {
		text, err := tmpl.Render(c.Messages, RenderOptions{AddGenerationPrompt: true})
		if err != nil || text != c.Text {
			t.Errorf("rendered %q, %v, want %q", text, err, c.Text)
		}
		ids, err := PromptTokens(tok, tmpl, c.Messages, nil)
		if err != nil || !slices.Equal(ids, c.Tokens) {
			t.Errorf("ids %v, %v, want %v", ids, err, c.Tokens)
		}
	}
}

// TestTrainTokensSpacePrefix: a vocabulary that puts a space in front of every text must not put one where a rendering is cut into parts.
func TestTrainTokensSpacePrefix(t *testing.T) {
	tok, err := token.Load(filepath.Join("..", "token", "testdata", "space-prefix"))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := template(t, "{% for m in messages %}{% if m.role == 'user' %}Q: {{ m.content }}\n{% else %}A:{% generation %}{{ m.content }}\n{% endgeneration %}{% endif %}{% endfor %}{% if add_generation_prompt %}A:{% endif %}", tok)
	msgs := say("one", "two", "three", "four")
	got, err := TrainTokens(tok, tmpl, msgs, nil, Answers)
	if err != nil {
		t.Fatal(err)
	}
	if back := tok.Decode(got.IDs, false); back != got.Text || got.Text != "Q: one\nA:two\nQ: three\nA:four\n" {
		t.Errorf("the tokens say %q, the text is %q", back, got.Text)
	}
	prompt, err := PromptTokens(tok, tmpl, msgs[:3], nil)
	if err != nil || !slices.Equal(prompt, got.IDs[:len(prompt)]) {
		t.Errorf("the prompt %v is no beginning of %v: %v", prompt, got.IDs, err)
	}
}
