package token

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// charMode is what byte-pair encoding over characters has besides (SentencePiece's BPE, as in Llama 2, Mistral, Phi-3 and Gemma): spaces are
// written as U+2581, and a character outside the vocabulary becomes the pieces <0x00> to <0xFF> of its bytes.
type charMode struct {
	ids      map[rune]int32 // pieces of one character
	byteIDs  [256]int32     // pieces of bytes, -1: there is none
	size     []int          // [id] bytes of the piece as the vocabulary writes it
	fallback bool           // a character outside the vocabulary becomes its bytes; false: it becomes unk
	strip    stripRule
	prefix   prefixRule
	rewrite  bool // spaces of the stretches between added tokens are marked; false: the normaliser has seen to them
}

// stripRule says what decoding leaves out in front.
type stripRule uint8

const (
	stripNothing stripRule = iota
	stripSpace             // one space
	stripToken             // all spaces of the first token
)

// prefixRule says before which stretches between added tokens a space goes.
type prefixRule uint8

const (
	prefixNever  prefixRule = iota
	prefixFirst             // before the one at the start of the text, unless it begins with a space
	prefixAlways            // before each that does not begin with a space
	prefixAll               // before each, even if it begins with one (llama.cpp)
)

// before reports whether a space goes before s.
func (p prefixRule) before(s string, first bool) bool {
	spaced := strings.HasPrefix(s, " ") || strings.HasPrefix(s, spaceMark)
	return p == prefixAll || !spaced && (p == prefixAlways || p == prefixFirst && first)
}

const spaceMark = "▁"

// noChar is the id of a character outside the vocabulary while its piece is merged: below -1, which marks nodes that are gone.
// Invalid bytes stand above all characters.
func noChar(r rune) int32 { return -2 - r }

func (c *charMode) symbols(ids []int32, s string) []int32 {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			r = utf8.MaxRune + 1 + rune(s[i])
		}
		i += n
		id, ok := c.ids[r]
		if !ok {
			id = noChar(r)
		}
		ids = append(ids, id)
	}
	return ids
}

// expand replaces characters outside the vocabulary by the pieces of their bytes, or by unk.
func (t *bpe) expand(out, merged []int32) []int32 {
	unknown := false
	for _, id := range merged {
		if id >= 0 {
			out, unknown = append(out, id), false
			continue
		}
		if more, ok := t.chars.bytesOf(out, -2-id); ok {
			out, unknown = more, false
			continue
		}
		if t.unkByte >= 0 && !(unknown && t.fuseUnk) {
			out = append(out, t.unkByte)
		}
		unknown = true
	}
	return out
}

func (c *charMode) bytesOf(out []int32, r rune) ([]int32, bool) {
	if !c.fallback {
		return out, false
	}
	var b []byte
	if r > utf8.MaxRune {
		b = []byte{byte(r - utf8.MaxRune - 1)}
	} else {
		b = utf8.AppendRune(nil, r)
	}
	for _, x := range b {
		if c.byteIDs[x] < 0 {
			return out, false
		}
	}
	for _, x := range b {
		out = append(out, c.byteIDs[x])
	}
	return out, true
}

// sizeOf returns how many bytes of s, which begins where the token's part does, the token stands for.
func (t *bpe) sizeOf(id int32, s string) int {
	switch {
	case t.chars == nil && id == t.unkByte:
		return 1
	case t.chars == nil:
		return len(t.bytes[id])
	case id != t.unkByte:
		return t.chars.size[id]
	}
	n := 0
	for n < len(s) {
		r, w := utf8.DecodeRuneInString(s[n:])
		if _, known := t.chars.ids[r]; n > 0 && (known || !t.fuseUnk) {
			break
		}
		n += w
	}
	return n
}

// bytePiece reads a piece such as <0x0A>.
func bytePiece(text string) (byte, bool) {
	if len(text) != 6 || !strings.HasPrefix(text, "<0x") || text[5] != '>' {
		return 0, false
	}
	n, err := strconv.ParseUint(text[3:5], 16, 8)
	return byte(n), err == nil && strings.ToUpper(text[3:5]) == text[3:5]
}

// setChars enters the pieces of a vocabulary over characters.
func (t *bpe) setChars(tokens map[string]int32) error {
	if err := t.reserve(tokens); err != nil {
		return err
	}
	c := t.chars
	c.ids, c.size, t.plain = map[rune]int32{}, make([]int, len(t.bytes)), tokens
	for b := range c.byteIDs {
		c.byteIDs[b], t.byteID[b] = -1, -1
	}
	for text, id := range tokens {
		if t.bytes[id] != nil {
			return fmt.Errorf("vocab: id %d belongs to two tokens, one of them %s", id, quote(text))
		}
		t.bytes[id] = []byte(strings.ReplaceAll(text, spaceMark, " "))
		c.size[id] = len(text)
		if b, ok := bytePiece(text); ok {
			t.bytes[id], c.byteIDs[b], c.size[id] = []byte{b}, id, 1
		} else if r, n := utf8.DecodeRuneInString(text); n == len(text) && n > 0 {
			c.ids[r] = id
		}
	}
	t.cache = newCache()
	return nil
}

// setScores makes the merges of a SentencePiece vocabulary: any two neighbours whose characters together are a piece may be merged, the piece of
// the highest score first. A part may be a single character that is no piece.
func (t *bpe) setScores(tokens map[string]int32, scores []float64) {
	order := slices.Clone(scores)
	slices.SortFunc(order, func(a, b float64) int { return cmp.Compare(b, a) })
	order = slices.Compact(order)
	rank := make(map[float64]int32, len(order))
	for i, s := range order {
		rank[s] = int32(i)
	}
	part := func(s string) (int32, bool) {
		if id, ok := tokens[s]; ok {
			return id, true
		}
		r, n := utf8.DecodeRuneInString(s)
		return noChar(r), n == len(s)
	}
	t.merges = map[uint64]merge{}
	for text, id := range tokens {
		if _, isByte := bytePiece(text); isByte {
			continue
		}
		for i := range text {
			if i == 0 {
				continue
			}
			a, okA := part(text[:i])
			b, okB := part(text[i:])
			if okA && okB {
				t.merges[pair(a, b)] = merge{rank[scores[id]], id}
			}
		}
	}
}

// marked writes spaces as U+2581, with one in front if prefix says so. The second result has the offset in s of every byte of the first and of
// its end.
func marked(s string, prefix bool) (string, []int) {
	out, at := make([]byte, 0, len(s)+16), make([]int, 0, len(s)+17)
	put := func(text string, from int) {
		out = append(out, text...)
		for range len(text) {
			at = append(at, from)
		}
	}
	if prefix {
		put(spaceMark, 0)
	}
	for i := range len(s) {
		if s[i] == ' ' {
			put(spaceMark, i)
		} else {
			put(s[i:i+1], i)
		}
	}
	return string(out), append(at, len(s))
}

// Decode of a vocabulary over characters leaves out the space that encoding put in front.
func (t *bpe) Decode(ids []int32, skipSpecial bool) string {
	if t.chars == nil || t.chars.strip == stripNothing {
		return t.vocab.Decode(ids, skipSpecial)
	}
	if skipSpecial {
		kept := make([]int32, 0, len(ids))
		for _, id := range ids {
			if !t.IsSpecial(id) {
				kept = append(kept, id)
			}
		}
		ids = kept
	}
	if t.chars.strip == stripSpace || len(ids) == 0 {
		return strings.TrimPrefix(t.vocab.Decode(ids, false), " ")
	}
	return strings.ReplaceAll(t.vocab.Decode(ids[:1], false), " ", "") + t.vocab.Decode(ids[1:], false)
}

// ID also finds pieces that are written with U+2581 or as bytes.
func (t *bpe) ID(text string) (int32, bool) {
	if id, ok := t.vocab.ID(text); ok || t.chars == nil {
		return id, ok
	}
	if id, ok := t.plain[strings.ReplaceAll(text, " ", spaceMark)]; ok {
		return id, true
	}
	if len(text) == 1 && t.chars.byteIDs[text[0]] >= 0 {
		return t.chars.byteIDs[text[0]], true
	}
	return -1, false
}
