package token

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func openRanks(t *testing.T, encoding string) Tokenizer {
	t.Helper()
	tok, err := LoadTiktoken(filepath.Join(shared, "data/tokenizer_tiktoken", encoding+".tiktoken"), encoding)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("../shared absent: no rank files")
	}
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestTiktokenVectors(t *testing.T) {
	for _, c := range []struct{ encoding, file string }{{"cl100k_base", "cl100k_base.jsonl"}, {"r50k_base", "gpt2.jsonl"}} {
		tok := openRanks(t, c.encoding)
		for _, v := range vectors(t, c.file) {
			ids, spans := tok.EncodeOffsets(v.Text, EncodeOptions{})
			if !slices.Equal(ids, v.IDs) {
				t.Errorf("%s: %q: got %v, want %v", c.encoding, v.Text, ids, v.IDs)
			}
			checkSpans(t, v.Text, ids, spans)
			if got := tok.Decode(v.IDs, false); got != v.Decoded {
				t.Errorf("%s: decoded %q, want %q", c.encoding, got, v.Decoded)
			}
		}
	}
}

// TestTiktokenPlans runs the plans that Microsoft's library wrote for the two encodings.
func TestTiktokenPlans(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(shared, "data/tokenizer_tiktoken", "TestPlans.txt"))
	if err != nil {
		t.Skip("../shared absent: no test plans")
	}
	count, toks := map[string]int{}, map[string]Tokenizer{}
	for _, block := range strings.Split("\n"+strings.ReplaceAll(string(raw), "\r\n", "\n"), "\nEncodingName: ")[1:] {
		name, rest, _ := strings.Cut(block, "\n")
		if _, ok := tiktokenEncodings[name]; !ok {
			continue
		}
		at := strings.LastIndex(rest, "\nEncoded: ")
		text := strings.TrimPrefix(rest[:at], "Sample: ")
		var want []int32
		for _, f := range strings.FieldsFunc(rest[at+len("\nEncoded: "):], func(r rune) bool { return strings.ContainsRune("[], \n", r) }) {
			n, err := strconv.Atoi(f)
			if err != nil {
				t.Fatalf("%s: %q", name, f)
			}
			want = append(want, int32(n))
		}
		if toks[name] == nil {
			toks[name] = openRanks(t, name)
		}
		if got := toks[name].Encode(text, EncodeOptions{Special: true}); !slices.Equal(got, want) {
			t.Errorf("%s: %q: got %v, want %v", name, text, got, want)
		}
		count[name]++
	}
	if count["cl100k_base"] < 60 || count["r50k_base"] < 60 {
		t.Errorf("plans: %v", count)
	}
}

func TestTiktokenRefused(t *testing.T) {
	line := func(text string, rank int) string {
		return fmt.Sprintf("%s %d\n", base64.StdEncoding.EncodeToString([]byte(text)), rank)
	}
	whole := ""
	for b := range 256 {
		whole += line(string([]byte{byte(b)}), b)
	}
	path := filepath.Join(t.TempDir(), "x.tiktoken")
	load := func(text string) (Tokenizer, error) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return LoadTiktoken(path, "r50k_base")
	}
	// "bc" has the lowest rank; "abc" is a token that whole pieces become at once; abcd merges bc, then abc, then all.
	tok, err := load(whole + line("bc", 256) + line("abc", 257) + line("abcd", 258))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]int32{"abc": {257}, "xabcy": {'x', 257, 'y'}, "abcd": {258}, "abce bc": {257, 'e', ' ', 256}} {
		if got := tok.Encode(text, EncodeOptions{}); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"", "no token for byte 0x00"},
		{whole[:1000], "x.tiktoken:"},
		{whole + "!! 256", "base64"},
		{whole + "YWI=", "x.tiktoken:257"},
		{whole + line("ab", -1), "rank"},
		{whole + line("a", 300), "twice"},
		{whole + line("ab", 97), "two tokens"},
		{whole + line("ab", 2000000000), "far outside"},
		{whole + line("ab", 50256), "another encoding"},
	} {
		if _, err := load(c.text); err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%.20q: error %v, want %q", c.text, err, c.want)
		}
	}
}
