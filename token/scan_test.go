package token

import (
	"slices"
	"strings"
	"testing"

	"github.com/dlclark/regexp2/v2"
	"pgregory.net/rapid"
)

// awkward draws text out of pieces on which pre-tokenisers trip, and any other characters.
var awkward = rapid.Custom(func(t *rapid.T) string {
	piece := rapid.OneOf(
		rapid.SampledFrom([]string{" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\u2028", "\u0085", "'s", "'S", "'LL", "'ve", "'", "ſ", "'ſ", "a", "Zé",
			"e\u0301", "1", "234", "٣", "½", "Ⅷ", ".", "!?", "_", "<|endoftext|>", "<think>", "文字", "👩‍🚀", "\x00", "\u200b", "K"}),
		rapid.Map(rapid.Rune(), func(r rune) string { return string(r) }),
	)
	return strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "pieces"), "")
})

func TestScannersEqualExpressions(t *testing.T) {
	for expr, next := range scanners {
		re := regexp2.MustCompile(expr)
		t.Run(quote(expr), rapid.MakeCheck(func(t *rapid.T) {
			s := awkward.Draw(t, "text")
			matches, err := re.FindAllStringIndex(s, -1)
			if err != nil {
				t.Fatal(err)
			}
			var want, got []span
			for _, m := range matches {
				want = append(want, span{m[0], m[1]})
			}
			if got = byScanner(next)(s, span{0, len(s)}, nil); !slices.Equal(got, want) {
				t.Fatalf("%q: the scanner cuts %v, the expression %v", s, got, want)
			}
		}))
	}
}

// TestMergeLongEqualsShort: the heap and the plain search take the same merges.
func TestMergeLongEqualsShort(t *testing.T) {
	tok := open(t, gpt2Path).(*gpt2).bpe
	rapid.Check(t, func(t *rapid.T) {
		s := awkward.Draw(t, "text") + strings.Repeat(awkward.Draw(t, "again"), rapid.IntRange(0, 20).Draw(t, "times"))
		var short, long work
		short.ids, long.ids = tok.symbols(nil, s), tok.symbols(nil, s)
		if len(short.ids) < 2 {
			return
		}
		tok.mergeShort(&short)
		tok.mergeLong(&long)
		if !slices.Equal(short.ids, long.ids) {
			t.Fatalf("%q: %v and %v", s, short.ids, long.ids)
		}
	})
}

func TestRoundTrip(t *testing.T) {
	toks := []Tokenizer{Bytes(), open(t, gpt2Path), open(t, smollmGGUF)}
	rapid.Check(t, func(t *rapid.T) {
		s := awkward.Draw(t, "text")
		for _, tok := range toks {
			if b, ok := tok.(*bpe); ok && strings.ContainsFunc(s, func(r rune) bool { return lacks(b, r) }) {
				continue
			}
			for _, special := range []bool{false, true} {
				ids, spans := tok.EncodeOffsets(s, EncodeOptions{Special: special})
				if got := tok.Decode(ids, false); got != s {
					t.Fatalf("%s: %q comes back as %q", tok.Name(), s, got)
				}
				for i, sp := range spans {
					if string(tok.Bytes(ids[i])) != s[sp[0]:sp[1]] {
						t.Fatalf("%s: token %d of %q is %q, its span %q", tok.Name(), i, s, tok.Bytes(ids[i]), s[sp[0]:sp[1]])
					}
				}
			}
		}
	})
}

func TestSplitBehaviours(t *testing.T) {
	for _, c := range []struct {
		behavior string
		invert   bool
		want     string
	}{
		{removed, false, "the|final|countdown"},
		{isolated, false, "the|-|final|-|-|countdown"},
		{withPrevious, false, "the-|final-|-|countdown"},
		{withNext, false, "the|-final|-|-countdown"},
		{contiguous, false, "the|-|final|--|countdown"},
		{removed, true, "-|-|-"},
	} {
		split, err := bySplit(escape("-"), c.behavior, c.invert)
		if err != nil {
			t.Fatal(err)
		}
		const s = "the-final--countdown"
		var got []string
		for _, sp := range split(s, span{0, len(s)}, nil) {
			got = append(got, s[sp.from:sp.to])
		}
		if strings.Join(got, "|") != c.want {
			t.Errorf("%s %t: %s, want %s", c.behavior, c.invert, strings.Join(got, "|"), c.want)
		}
	}
	if _, err := bySplit("a", "Sideways", false); err == nil {
		t.Error("an unknown behaviour is taken")
	}
	if _, err := bySplit("(", isolated, false); err == nil {
		t.Error("a broken expression is taken")
	}
}

// lacks reports whether the vocabulary has no token for a byte of r: SmolLM2 lacks some control characters, which are left out, as the
// reference implementations do.
func lacks(t *bpe, r rune) bool {
	return slices.ContainsFunc([]byte(string(r)), func(b byte) bool { return t.byteID[b] < 0 })
}

// TestLongRun: a run longer than the matcher's usual stack is still cut as the expression says.
func TestLongRun(t *testing.T) {
	split, err := bySplit(`(?:ab|a|bb?)+x|\s+(?!\S)|\s+`, isolated, false)
	if err != nil {
		t.Fatal(err)
	}
	s := strings.Repeat("ab", 200_000) + "x" + strings.Repeat(" ", 200_000) + "y"
	want := []span{{0, 400_001}, {400_001, 600_000}, {600_000, 600_001}, {600_001, 600_002}}
	if got := split(s, span{0, len(s)}, nil); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got[:min(len(got), 6)], want)
	}
}
