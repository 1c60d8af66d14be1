package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

type tokenVector struct {
	Text    string
	IDs     []int32
	Decoded *string
}

// TestTokenizerVectors compares ids and decoded texts with those of other people's tokenizers.
func TestTokenizerVectors(t *testing.T) {
	for vectors, tokenizer := range map[string]string{"qwen3": "tokenizer_qwen3", "gpt2": "tokenizer_gpt2"} {
		t.Run(vectors, func(t *testing.T) {
			path := sharedPath(t, "data", tokenizer)
			cases := readLines[tokenVector](t, sharedPath(t, "data", "tokenizer_vectors", vectors+".jsonl"))
			checkVectors(t, path, cases)
		})
	}
}

func checkVectors(t *testing.T, tokenizer string, cases []tokenVector) {
	t.Helper()
	var texts, ids []any
	for _, c := range cases {
		texts = append(texts, map[string]any{"text": c.Text})
		ids = append(ids, map[string]any{"ids": c.IDs})
	}
	bad := 0
	for i, r := range runVerb(t, texts, "encode", "--tokenizer", tokenizer) {
		if got := get[[]int32](t, r, "ids"); !slices.Equal(got, cases[i].IDs) {
			bad++
			t.Errorf("encode %q: %v, want %v", cases[i].Text, got, cases[i].IDs)
		}
	}
	for i, r := range runVerb(t, ids, "decode", "--tokenizer", tokenizer) {
		want := cases[i].Text
		if cases[i].Decoded != nil {
			want = *cases[i].Decoded
		}
		if got := get[string](t, r, "text"); got != want {
			bad++
			t.Errorf("decode %v: %q, want %q", cases[i].IDs, got, want)
		}
	}
	t.Logf("%d texts, %d faults", len(cases), bad)
}

// TestTiktoken runs a rank file through the verbs; token's tests have the vectors.
func TestTiktoken(t *testing.T) {
	path := filepath.Join(sharedPath(t, "data", "tokenizer_tiktoken"), "cl100k_base.tiktoken")
	encode := func(line map[string]any, encoding string) map[string]json.RawMessage {
		return runVerb(t, []any{line}, "encode", "--tokenizer", path, "--encoding", encoding)[0]
	}
	if got := get[[]int32](t, encode(map[string]any{"text": "hello world<|endoftext|>", "special": true}, "cl100k_base"), "ids"); asJSON(got) != "[15339,1917,100257]" {
		t.Errorf("special: %v", got)
	}
	if got := get[[]int32](t, encode(map[string]any{"text": "hello world<|endoftext|>"}, "cl100k_base"), "ids"); len(got) < 8 {
		t.Errorf("special tokens are ordinary text by default: %v", got)
	}
	if r := encode(map[string]any{"text": "a"}, "o200k_base"); r["unsupported"] == nil {
		t.Errorf("another encoding: %s", show(r))
	}
	if code, _, errOut := runHone(t, "tool", "encode", "--tokenizer", path); code != 2 || !strings.Contains(errOut, "--encoding") {
		t.Errorf("no encoding: %d %s", code, errOut)
	}
}

type smolExpected struct {
	Tokenizer []struct {
		Text   string
		Tokens []int32
	}
	Generations []struct {
		Messages json.RawMessage
		Text     string
		Tokens   []int32
	}
}

const smol = "SmolLM2-135M-Instruct.Q4_1.gguf"

func TestSmolTokenizerAndTemplate(t *testing.T) {
	dir := sharedPath(t, "models", "smollm2-135m-instruct")
	var want smolExpected
	readJSON(t, filepath.Join(dir, "expected.json"), &want)
	var cases []tokenVector
	for _, c := range want.Tokenizer {
		cases = append(cases, tokenVector{Text: c.Text, IDs: c.Tokens})
	}
	var contexts []any
	chats := want.Generations[:0]
	for _, g := range want.Generations {
		if g.Messages != nil {
			cases = append(cases, tokenVector{Text: g.Text, IDs: g.Tokens})
			contexts = append(contexts, map[string]any{"context": map[string]any{"messages": g.Messages, "add_generation_prompt": true}})
			chats = append(chats, g)
		}
	}
	if len(cases) == 0 || len(contexts) == 0 {
		t.Fatal("expected.json holds no tokenizer cases or no chats")
	}
	checkVectors(t, filepath.Join(dir, smol), cases)
	for i, r := range runVerb(t, contexts, "render", "--tokenizer", filepath.Join(dir, smol)) {
		if got := get[string](t, r, "text"); got != chats[i].Text {
			t.Errorf("chat %d: %q, want %q", i, got, chats[i].Text)
		}
	}
	t.Logf("%d texts, %d chats", len(cases), len(contexts))
}

// TestGGUFVocab runs llama.cpp's probes over vocabularies that its converter wrote. Probes end in the line feed before the marker.
func TestGGUFVocab(t *testing.T) {
	const marker = "\n__ggml_vocab_test__\n"
	dir := sharedPath(t, "data", "gguf_vocab")
	for _, name := range []string{"gpt-2", "phi-3"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(dir, "ggml-vocab-"+name+".gguf")
			probes, err := os.ReadFile(file + ".inp")
			if err != nil {
				t.Fatal(err)
			}
			answers, err := os.ReadFile(file + ".out")
			if err != nil {
				t.Fatal(err)
			}
			var lines []any
			for _, p := range strings.Split(strings.TrimSuffix(string(probes), marker), marker) {
				lines = append(lines, map[string]any{"text": p})
			}
			want := strings.Split(strings.TrimSuffix(string(answers), "\n"), "\n")
			if len(want) != len(lines) {
				t.Fatalf("%d probes and %d answers", len(lines), len(want))
			}
			replies := runVerb(t, lines, "encode", "--tokenizer", file)
			for i, r := range replies {
				got := strings.Trim(fmt.Sprint(get[[]int32](t, r, "ids")), "[]")
				if got != strings.Join(strings.Fields(want[i]), " ") {
					t.Errorf("probe %d %v: %s, want %s", i, lines[i], got, want[i])
				}
			}
			t.Logf("%d probes", len(lines))
		})
	}
}
