package token

import (
	"slices"
	"strings"
	"testing"
)

// TestGGUFPre: how text is cut by names of tokenizer.ggml.pre. llama.cpp's vocabularies of deepseek-coder, deepseek-llm, falcon and qwen35 with
// their probe texts (models/ggml-vocab-*.gguf.inp and .out) gave the same ids in all 192 cases.
func TestGGUFPre(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"gpt-2", "it's 12 日本!  x", "it|'s| 12| 日本|!| | x"},
		{"smollm", "it's 12", "it|'s| |1|2"},
		{"qwen2", "IT'S 12\n!!\n", "IT|'S| |1|2|\n|!!\n"},
		{"qwen35", "हिन्दी 12", "हिन्दी| |1|2"},
		{"llama-bpe", "a 12345", "a| |123|45"},
		{"falcon", "a 1234567 b<=c", "a| |123|456|7| b|<=|c"},
		{"deepseek-coder", " a 12, 日本\n\n", " a| |1|2|,| |日本|\n|\n"},
		{"deepseek-llm", " a 12, 日本 \n", " a| |12|,| |日本| |\n"},
		{"deepseek-v3", "a 12345 x_y日本", "a| |123|45| x|_y|日本"},
		{"glm4", "a 12345", "a| |123|45"},
	} {
		i := slices.IndexFunc(ggufPres, func(p ggufPre) bool { return slices.Contains(p.names, c.name) })
		if i < 0 {
			t.Errorf("%s is not known", c.name)
			continue
		}
		pieces := []span{{0, len(c.text)}}
		for _, expr := range ggufPres[i].exprs {
			split, err := bySplit(expr, isolated, false)
			if err != nil {
				t.Fatal(err)
			}
			var next []span
			for _, p := range pieces {
				next = split(c.text, p, next)
			}
			pieces = next
		}
		var got []string
		for _, p := range pieces {
			got = append(got, c.text[p.from:p.to])
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%s on %q: %s, want %s", c.name, c.text, s, c.want)
		}
	}
}
