package token

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const shared = "../../shared"

// open loads a tokenizer under ../shared once for all tests, or skips the test.
func open(t testing.TB, path string) Tokenizer {
	t.Helper()
	if _, err := os.Stat(filepath.Join(shared, path)); err != nil {
		t.Skipf("../shared absent: %v", err)
	}
	loadMu.Lock()
	defer loadMu.Unlock()
	if loaded[path] == nil {
		tok, err := Load(filepath.Join(shared, path))
		if err != nil {
			t.Fatal(err)
		}
		loaded[path] = tok
	}
	return loaded[path]
}

var (
	loadMu sync.Mutex
	loaded = map[string]Tokenizer{}
)

const (
	qwenPath   = "data/tokenizer_qwen3"
	gpt2Path   = "data/tokenizer_gpt2"
	gpt2GGUF   = "data/gguf_vocab/ggml-vocab-gpt-2.gguf"
	phi3GGUF   = "data/gguf_vocab/ggml-vocab-phi-3.gguf"
	smollmGGUF = "models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
)

type vector struct {
	Text, Decoded string
	IDs           []int32
}

func vectors(t testing.TB, name string) []vector {
	t.Helper()
	f, err := os.Open(filepath.Join(shared, "data/tokenizer_vectors", name))
	if err != nil {
		t.Skipf("../shared absent: %v", err)
	}
	defer f.Close()
	var list []vector
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 1<<24)
	for scan.Scan() {
		var v vector
		if err := json.Unmarshal(scan.Bytes(), &v); err != nil {
			t.Fatal(err)
		}
		list = append(list, v)
	}
	if len(list) < 100 || scan.Err() != nil {
		t.Fatalf("%s: %d vectors, %v", name, len(list), scan.Err())
	}
	return list
}

func TestVectors(t *testing.T) {
	for _, c := range []struct{ file, path string }{
		{"qwen3.jsonl", qwenPath},
		{"qwen3.jsonl", qwenPath + "/tokenizer.json"},
		{"gpt2.jsonl", gpt2Path},
		{"gpt2.jsonl", gpt2GGUF},
	} {
		tok := open(t, c.path)
		bad := 0
		for _, v := range vectors(t, c.file) {
			// The vectors hold look-alikes of special tokens; js-tiktoken leaves them text, the Hugging Face library cuts them out.
			o := EncodeOptions{Special: c.file == "qwen3.jsonl"}
			ids, spans := tok.EncodeOffsets(v.Text, o)
			if !slices.Equal(ids, v.IDs) {
				if bad++; bad < 5 {
					t.Errorf("%s: %q: got %v, want %v", c.path, v.Text, ids, v.IDs)
				}
			}
			if !slices.Equal(tok.Encode(v.Text, o), ids) {
				t.Errorf("%s: %q: Encode and EncodeOffsets differ", c.path, v.Text)
			}
			checkSpans(t, v.Text, ids, spans)
			if got := tok.Decode(v.IDs, false); got != v.Decoded {
				t.Errorf("%s: decoded %q, want %q", c.path, got, v.Decoded)
			}
		}
		if bad > 0 {
			t.Errorf("%s: %d vectors differ", c.path, bad)
		}
	}
}

// checkSpans holds spans against what EncodeOffsets promises.
func checkSpans(t testing.TB, text string, ids []int32, spans [][2]int) {
	t.Helper()
	at := 0
	for i, sp := range spans {
		if sp[0] != at || sp[1] < sp[0] {
			t.Fatalf("%q: token %d has bytes %v after one that ends at %d", text, i, sp, at)
		}
		at = sp[1]
	}
	if len(ids) != len(spans) || at != len(text) {
		t.Fatalf("%q: %d ids, %d spans, covered %d of %d bytes", text, len(ids), len(spans), at, len(text))
	}
}

func TestLlamaCppProbes(t *testing.T) {
	for _, path := range []string{gpt2GGUF, phi3GGUF} {
		t.Run(filepath.Base(path), func(t *testing.T) { llamaCppProbes(t, path) })
	}
}

func llamaCppProbes(t *testing.T, path string) {
	tok := open(t, path)
	in, err := os.ReadFile(filepath.Join(shared, path+".inp"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(filepath.Join(shared, path+".out"))
	if err != nil {
		t.Fatal(err)
	}
	texts := strings.Split(strings.TrimSuffix(string(in), "\n__ggml_vocab_test__\n"), "\n__ggml_vocab_test__\n")
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(texts) != len(lines) || len(texts) != 46 {
		t.Fatalf("%d texts and %d lines of ids", len(texts), len(lines))
	}
	for i, text := range texts {
		var want []int32
		for _, f := range strings.Fields(lines[i]) {
			id, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, int32(id))
		}
		if got := tok.Encode(text, EncodeOptions{}); !slices.Equal(got, want) {
			t.Errorf("%q: got %v, want %v", text, got, want)
		}
		ids, spans := tok.EncodeOffsets(text, EncodeOptions{})
		checkSpans(t, text, ids, spans)
		if got := tok.Decode(want, false); got != text {
			t.Errorf("%v: decoded %q, want %q", want, got, text)
		}
	}
}

func TestSmolLM2(t *testing.T) {
	tok := open(t, smollmGGUF)
	raw, err := os.ReadFile(filepath.Join(shared, "models/smollm2-135m-instruct/expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	type item struct {
		Text, Continuation_text string
		Tokens, Continuation    []int32
	}
	var want struct{ Tokenizer, Generations []item }
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatal(err)
	}
	if len(want.Tokenizer) != 45 || len(want.Generations) != 8 {
		t.Fatalf("%d texts, %d chats", len(want.Tokenizer), len(want.Generations))
	}
	for _, c := range slices.Concat(want.Tokenizer, want.Generations) {
		got, spans := tok.EncodeOffsets(c.Text, EncodeOptions{Special: true})
		if !slices.Equal(got, c.Tokens) {
			t.Errorf("%q: got %v, want %v", c.Text, got, c.Tokens)
		}
		checkSpans(t, c.Text, got, spans)
		if got := tok.Decode(c.Continuation, false); got != c.Continuation_text {
			t.Errorf("decoded %q, want %q", got, c.Continuation_text)
		}
	}
	if tok.BOS() != 1 || tok.EOS() != 2 || tok.PAD() != 2 || !slices.Equal(tok.EndIDs(), []int32{2, 0}) || tok.ChatTemplate() == "" {
		t.Errorf("bos %d eos %d pad %d ends %v", tok.BOS(), tok.EOS(), tok.PAD(), tok.EndIDs())
	}
}

func TestQwenConfig(t *testing.T) {
	tok := open(t, qwenPath)
	end, ok := tok.ID("<|im_end|>")
	if !ok || tok.EOS() != end || tok.EndIDs()[0] != end || tok.BOS() != -1 || tok.VocabSize() != 151669 || !tok.SpecialDefault() {
		t.Errorf("end %d %v eos %d bos %d ends %v size %d", end, ok, tok.EOS(), tok.BOS(), tok.EndIDs(), tok.VocabSize())
	}
	if tok.Name() != "tokenizer_qwen3" || !strings.Contains(tok.ChatTemplate(), "<|im_start|>") {
		t.Errorf("name %q, template %.40q", tok.Name(), tok.ChatTemplate())
	}
	if think, _ := tok.ID("<think>"); tok.IsSpecial(think) || !tok.IsSpecial(end) {
		t.Error("<think> is an added token, <|im_end|> a special one")
	}
	ids := tok.Encode("<think>a<|im_end|>", EncodeOptions{})
	if slices.Contains(ids, end) {
		t.Errorf("%v holds a special token that the text only spells", ids)
	}
	if got := tok.Decode(ids, true); got != "<think>a<|im_end|>" {
		t.Errorf("%q", got)
	}
}
