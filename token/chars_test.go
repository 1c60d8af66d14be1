package token

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

const (
	charDecoder = `{"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
		{"type": "Strip", "content": " ", "start": 1, "stop": 0}]}`
	legacyNorm = `{"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}`
)

// chars is a tokenizer.json over characters: <unk> ▁ a b ab ▁a ▁ab and the bytes of é and of a line feed.
func chars(norm, pre, decoder, model string) string {
	or := func(s, or string) string {
		if s == "" {
			return or
		}
		return s
	}
	return fmt.Sprintf(`{"added_tokens": [{"id": 20, "content": "<s>", "special": true}, {"id": 21, "content": "</s>", "special": true, "rstrip": true}, {"id": 22, "content": "  "}],
		"normalizer": %s, "pre_tokenizer": %s, "post_processor": null, "decoder": %s, "model": {"type": "BPE", "unk_token": "<unk>", %s
		"vocab": {"<unk>": 0, "▁": 1, "a": 2, "b": 3, "ab": 4, "▁a": 5, "▁ab": 6, "<0xC3>": 7, "<0xA9>": 8, "<0x0A>": 9}, "merges": ["a b", "▁ ab", "▁ a"]}}`,
		or(norm, "null"), or(pre, "null"), or(decoder, charDecoder), or(model, `"byte_fallback": true, "fuse_unk": true,`))
}

// TestChars holds ids that Hugging Face's tokenizers 0.23.3 gives.
func TestChars(t *testing.T) {
	metaspace := func(scheme, split string) string {
		return fmt.Sprintf(`{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "%s", "split": %s}`, scheme, split)
	}
	for _, c := range []struct {
		name, file, text string
		want             []int32
		back             string // "": text
	}{
		{"legacy", chars(legacyNorm, "", "", ""), "ab a", []int32{6, 5}, ""},
		{"legacy, a space in front", chars(legacyNorm, "", "", ""), " ab", []int32{1, 6}, ""},
		{"legacy, after a special token", chars(legacyNorm, "", "", ""), "<s>ab<s>a", []int32{20, 6, 20, 5}, "<s> ab<s> a"},
		{"bytes", chars(legacyNorm, "", "", ""), "aé\n", []int32{5, 7, 8, 9}, ""},
		{"no bytes for it", chars(legacyNorm, "", "", ""), "aßxb", []int32{5, 0, 3}, "a<unk>b"},
		{"unk for each", chars(legacyNorm, "", "", `"byte_fallback": true,`), "aßxb", []int32{5, 0, 0, 3}, "a<unk><unk>b"},
		{"no fallback", chars("", metaspace("always", "false"), "", `"fuse_unk": true,`), "é\nb", []int32{1, 0, 3}, "<unk>b"},
		{"first", chars("", metaspace("first", "false"), "", ""), "a<s>a", []int32{5, 20, 2}, "a<s>a"},
		{"always", chars("", metaspace("always", "false"), "", ""), "a<s>a", []int32{5, 20, 5}, "a<s> a"},
		{"always, but not twice", chars("", metaspace("always", "false"), "", ""), " a", []int32{5}, "a"},
		{"never", chars("", metaspace("never", "false"), "", ""), "ab", []int32{4}, ""},
		{"white space that another token has stripped", chars("", metaspace("never", "false"), "", ""), "</s>  a", []int32{21, 22, 2}, "</s>  a"},
		{"decoder Metaspace", chars("", metaspace("always", "true"), `{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}`, ""), "ab ab", []int32{6, 6}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			tok, err := parseHF([]byte(c.file))
			if err != nil {
				t.Fatal(err)
			}
			ids, spans := tok.EncodeOffsets(c.text, EncodeOptions{Special: true})
			if !slices.Equal(ids, c.want) || !slices.Equal(tok.Encode(c.text, EncodeOptions{Special: true}), ids) {
				t.Errorf("got %v, want %v", ids, c.want)
			}
			checkSpans(t, c.text, ids, spans)
			want := c.back
			if want == "" {
				want = c.text
			}
			if got := tok.Decode(c.want, false); got != want {
				t.Errorf("decoded %q, want %q", got, want)
			}
		})
	}
	tok, err := parseHF([]byte(chars(legacyNorm, "", "", "")))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]int32{" ab": 6, "▁ab": 6, "\n": 9, "</s>": 21, "x": -1} {
		if got, ok := tok.ID(text); got != want || ok != (want >= 0) {
			t.Errorf("ID(%q) is %d, %t, want %d", text, got, ok, want)
		}
	}
}

// TestJoined: text that goes on behind other text gets no space in front; behind a special token it does again.
func TestJoined(t *testing.T) {
	for _, c := range []struct {
		file, text  string
		alone, want []int32
	}{
		{chars(legacyNorm, "", "", ""), "ab<s>ab", []int32{6, 20, 6}, []int32{4, 20, 6}},
		{chars("", `{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first"}`, "", ""), "ab<s>ab", []int32{6, 20, 4}, []int32{4, 20, 4}},
		{small(`{"type": "ByteLevel", "add_prefix_space": true}`, "", "", "", ""), "ab", []int32{3, 5}, []int32{5}},
		{small("", "", "", "", ""), "ab", []int32{5}, []int32{5}},
	} {
		tok, err := parseHF([]byte(c.file))
		if err != nil {
			t.Fatal(err)
		}
		if got := tok.Encode(c.text, EncodeOptions{Special: true}); !slices.Equal(got, c.alone) {
			t.Errorf("alone: %v, want %v", got, c.alone)
		}
		if got := tok.Encode(c.text, EncodeOptions{Special: true, Joined: true}); !slices.Equal(got, c.want) {
			t.Errorf("joined: %v, want %v", got, c.want)
		}
	}
}

// meta is GGUF metadata.
type meta map[string]any

func (m meta) String(k string) (string, bool)      { v, ok := m[k].(string); return v, ok }
func (m meta) Strings(k string) ([]string, bool)   { v, ok := m[k].([]string); return v, ok }
func (m meta) Ints(k string) ([]int64, bool)       { v, ok := m[k].([]int64); return v, ok }
func (m meta) Floats(k string) ([]float64, bool)   { v, ok := m[k].([]float64); return v, ok }
func (m meta) Bool(k string) (value bool, ok bool) { value, ok = m[k].(bool); return }

// TestPieces: the highest score is merged first, of equal ones the leftmost, and a part may be a character that is no piece.
func TestPieces(t *testing.T) {
	const p = "tokenizer.ggml."
	file := func() meta {
		return meta{p + "model": "llama", p + "tokens": []string{"<unk>", "<s>", "</s>", "▁", "a", "b", "c", "ab", "bc", "▁ab", "<0x64>", "éa", "aa"},
			p + "scores":     []float64{0, 0, 0, -9, -9, -9, -9, -2, -1, -3, 0, -1, -4},
			p + "token_type": []int64{2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 6, 1, 1}, p + "bos_token_id": []int64{1}, p + "eos_token_id": []int64{2}, p + "unknown_token_id": []int64{0}}
	}
	tok, err := FromGGUF(file())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		o    EncodeOptions
		want []int32
		back string
	}{
		{"ab", EncodeOptions{}, []int32{9}, "ab"},
		{"abc", EncodeOptions{}, []int32{3, 4, 8}, "abc"}, // bc before ab
		{"aaa", EncodeOptions{}, []int32{3, 12, 4}, "aaa"},
		{"éa", EncodeOptions{}, []int32{3, 11}, "éa"},
		{"dx", EncodeOptions{}, []int32{3, 10, 0}, "d<unk>"},
		{"ab", EncodeOptions{AddSpecial: true}, []int32{1, 9}, "<s> ab"},
		{"ab</s>b", EncodeOptions{Special: true}, []int32{9, 2, 3, 5}, "ab</s> b"},
		{"", EncodeOptions{}, nil, ""},
	} {
		ids, spans := tok.EncodeOffsets(c.text, c.o)
		if !slices.Equal(ids, c.want) {
			t.Errorf("%q: got %v, want %v", c.text, ids, c.want)
		}
		checkSpans(t, c.text, ids, spans)
		if got := tok.Decode(c.want, false); got != c.back {
			t.Errorf("%v: decoded %q, want %q", c.want, got, c.back)
		}
	}
	long := strings.Repeat("abcab", 40) // by the heap
	if got := tok.Decode(tok.Encode(long, EncodeOptions{}), false); got != long {
		t.Errorf("a long text comes back as %q", got)
	}
	bare := file()
	bare[p+"add_space_prefix"] = false
	if tok, err = FromGGUF(bare); err != nil || !slices.Equal(tok.Encode("ab ab", EncodeOptions{}), []int32{7, 9}) {
		t.Errorf("without a space in front: %v %v", tok.Encode("ab ab", EncodeOptions{}), err)
	}
	short := file()
	short[p+"scores"] = []float64{1}
	if _, err := FromGGUF(short); err == nil || !strings.Contains(err.Error(), "scores has 1 entries") {
		t.Errorf("scores: %v", err)
	}
}
