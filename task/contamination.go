package task

import (
	"hash/maphash"
	"iter"
	"slices"
	"strings"
	"unicode"
)

// DefaultNGram is the length, in words, of the passages that Contamination compares.
const DefaultNGram = 13

// Overlap says that an evaluation text shares a passage with training texts.
type Overlap struct {
	Eval  int    // index of the evaluation text
	Train int    // index of the first training text that holds the passage
	Hits  int    // training texts that hold any such passage
	Text  string // the passage, as normalised words
}

// Contamination finds evaluation texts that occur in training texts: a common run of n words (n <= 0: DefaultNGram), or the whole text where it
// has fewer words; a text of fewer than five words must be a whole training text. Words are compared without case and punctuation; arithmetic
// signs count as words. A passage that many evaluation texts share is their template and does not count: more than half of them, or more
// than ten. The result is in the order of the evaluation texts.
func Contamination(train iter.Seq[string], eval []string, n int) []Overlap {
	if n <= 0 {
		n = DefaultNGram
	}
	c := &contamination{n: n, seed: maphash.MakeSeed(), grams: map[int]map[uint64][]passage{}, found: map[int]*Overlap{}}
	c.index(eval)
	i := 0
	for text := range train {
		c.look(i, text)
		i++
	}
	var out []Overlap
	for e := range eval {
		if o := c.found[e]; o != nil {
			out = append(out, *o)
		}
	}
	return out
}

const shortText = 5 // words; below, a text is too common to be looked for inside others

// passage is words[from:from+length] of an evaluation text.
type passage struct {
	eval, from int
	whole      bool // matches only a whole training text
}

type contamination struct {
	n     int
	seed  maphash.Seed
	words [][]string
	grams map[int]map[uint64][]passage // by length, by hash
	found map[int]*Overlap
}

func (c *contamination) hash(words []string) uint64 {
	var h maphash.Hash
	h.SetSeed(c.seed) // differs from run to run: it decides nothing, since matches are compared word by word
	for _, w := range words {
		h.WriteString(w)
		h.WriteByte(0)
	}
	return h.Sum64()
}

func (c *contamination) add(p passage, words []string) {
	if c.grams[len(words)] == nil {
		c.grams[len(words)] = map[uint64][]passage{}
	}
	h := c.hash(words)
	c.grams[len(words)][h] = append(c.grams[len(words)][h], p)
}

func (c *contamination) index(eval []string) {
	for e, text := range eval {
		words := normalWords(text)
		c.words = append(c.words, words)
		if len(words) == 0 {
			continue
		}
		c.add(passage{e, 0, true}, words)
		length := min(c.n, len(words))
		if length < shortText {
			continue
		}
		for from := 0; from+length <= len(words); from++ {
			c.add(passage{e, from, false}, words[from:from+length])
		}
	}
	// Templates: passages of n words that too many different texts hold. Whole texts always count.
	limit := min(10, max(1, len(eval)/2))
	for length, byHash := range c.grams { // the order does not matter: each list is treated alone
		for h, list := range byHash {
			texts := map[int]bool{}
			for _, p := range list {
				if !p.whole && len(c.words[p.eval]) > length {
					texts[p.eval] = true
				}
			}
			if len(texts) > limit {
				byHash[h] = slices.DeleteFunc(list, func(p passage) bool { return texts[p.eval] && !p.whole })
			}
		}
	}
}

// look compares one training text with every passage.
func (c *contamination) look(train int, text string) {
	words := normalWords(text)
	hit := map[int]passage{}
	lengths := map[int]int{}
	for length, byHash := range c.grams { // the order does not matter: the earliest and longest passage is kept
		for from := 0; from+length <= len(words); from++ {
			for _, p := range byHash[c.hash(words[from:from+length])] {
				if p.whole && length != len(words) || !slices.Equal(c.words[p.eval][p.from:p.from+length], words[from:from+length]) {
					continue
				}
				if l, ok := lengths[p.eval]; !ok || length > l || length == l && p.from < hit[p.eval].from {
					hit[p.eval], lengths[p.eval] = p, length
				}
			}
		}
	}
	for e, p := range hit {
		if o := c.found[e]; o != nil {
			o.Hits++
			continue
		}
		c.found[e] = &Overlap{Eval: e, Train: train, Hits: 1, Text: strings.Join(c.words[e][p.from:p.from+lengths[e]], " ")}
	}
}

// normalWords splits a text into what Contamination compares: runs of letters and digits in lower case, and the signs of arithmetic.
func normalWords(text string) []string {
	var out []string
	start := -1
	for i, r := range text {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' {
			if start < 0 {
				start = i
			}
			continue
		}
		if start >= 0 {
			out = append(out, strings.ToLower(text[start:i]))
			start = -1
		}
		if strings.ContainsRune("+-*/=<>^%&|!", r) {
			out = append(out, string(r))
		}
	}
	if start >= 0 {
		out = append(out, strings.ToLower(text[start:]))
	}
	return out
}
