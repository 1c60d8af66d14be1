package token

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestOniguruma holds the pieces that Hugging Face's tokenizers 0.23.3 (Oniguruma) cuts with behaviour Isolated.
func TestOniguruma(t *testing.T) {
	for _, c := range []struct{ expr, text, want string }{
		{`[[:alpha:]]+`, "ab1é_", "ab|1|é|_"},
		{`[[:alpha:][:digit:]_]+`, "ab1 é_", "ab1| |é_"},
		{`[^[:space:]]+`, "a b", "a| |b"},
		{`[[:punct:]]`, "a$.b", "a|$|.|b"},
		{`\w+`, "x² ½_\u0903", "x²| |½_\u0903"},
		{`[\w]+`, "x²", "x|²"},
		{`\b`, "ab c", "ab| |c"},
		{`\h+`, "fxg", "f|xg"},
		{`^`, "a\nb\n", "a\n|b\n"},
		{`$`, "a\nb", "a|\nb"},
		{`(?m).+`, "a\nb", "a\nb"},
		{`.+`, "a\nb", "a|\n|b"},
		{`a{,2}b`, "aab{,2}", "aab|{,2}"},
		{`a{2,}?b`, "aab", "aab"},
		{`\p{^L}+`, "a1-b", "a|1-|b"},
		{`a[bc[d]]`, "adab", "ad|ab"},
		{` ?[^(\s|[.,!?…。，、।۔،])]+`, "Hi, you.", "Hi|,| you|."}, // BLOOM
		{`[\p{L}&&[^a-z]]+`, "abÉX", "ab|ÉX"},
		{`[&a]+`, "a&b", "a&|b"},
		{`[-a]+|\-`, "-a-b", "-a-|b"},
		{`[!"#\/\_\'~]+`, "a/_'\\", "a|/_'|\\"},
		{`(?i)k(?-i)s`, "KsKS", "Ks|KS"},
		{`(?i:s)x`, "SxSX", "Sx|SX"},
		{`[\x{4e00}-\x{9fff}]+|\u00e9|[\x61-\x62]`, "a日é", "a|日|é"},
		{`(?<n>.)\k<n>`, "aabc", "aa|bc"},
		{`[]a]+`, "]ab", "]a|b"},
	} {
		split, err := hfSplit(&c.expr, nil, isolated, false)
		if err != nil {
			t.Errorf("%s: %v", c.expr, err)
			continue
		}
		var got []string
		for _, p := range split(c.text, span{0, len(c.text)}, nil) {
			got = append(got, c.text[p.from:p.to])
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%s on %q: got %s, want %s", c.expr, c.text, s, c.want)
		}
	}
}

// TestOnigurumaRefused: what regexp2 would read in another way without an error.
func TestOnigurumaRefused(t *testing.T) {
	for _, expr := range []string{
		`[a-z&&[aeiou]]`, `[^a&&[^b]]`, `[a&&b]`, `[a[^b]]`, `[a-[b]]`, `[[:^alpha:]]`, `[[:nosuch:]]`, `\pL`, `(?i)\p{Lu}`, `(?i:\p{Lowercase})`, `(?x)a b`, `(?s).`,
		`a{2}?`, `a{1,2}+`, `\K`, `\G`, `\X`, `\O`, `(?~a)`, `[\W]`, `\p{Script=Han}`, `[a`, `\`, `[a\`, `[[:`,
	} {
		var u *ErrUnsupported
		if _, err := hfSplit(&expr, nil, isolated, false); !errors.As(err, &u) {
			t.Errorf("%s: got %v, want a refusal by name", expr, err)
		}
	}
}

func TestNormalizedAddedToken(t *testing.T) {
	tok, err := parseHF([]byte(small("", "", `{"type": "NFC"}`, `{"id": 9, "content": "e\u0301a", "normalized": true}, {"id": 10, "content": "ab"}`, "")))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"\u00e9ac", "e\u0301ac"} {
		if got := tok.Encode(text, EncodeOptions{}); !slices.Equal(got, []int32{9, 2}) {
			t.Errorf("%+q: got %v", text, got)
		}
	}
	if got := tok.Decode([]int32{9}, false); got != "e\u0301a" {
		t.Errorf("decoded as %+q", got)
	}
}

func FuzzOniguruma(f *testing.F) {
	for _, expr := range []string{patternGPT2, patternLla3, `[a[:alpha:]-\x{41}&&[^b]]{,3}(?i-m:x)\b\p{^L}`, `(?<=a)$`} {
		f.Add(expr, "aB1 é\n")
	}
	f.Fuzz(func(t *testing.T, expr, text string) {
		if len(expr) > 40 || len(text) > 40 { // a backtracking matcher may take its time with longer ones
			return
		}
		_, _ = fromOniguruma(expr)
	})
}
