package task

import (
	"hash/maphash"
	"iter"
	"maps"
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

// Contamination finds evaluation texts that occur in training texts: whole (a text of fewer than five words must be a whole training text),
// or with a common run of n words (n <= 0: DefaultNGram). Words are compared without case and punctuation; arithmetic signs count as words.
//
// A run counts only if at least a third of its words are specific, that is, occur in no more than a fifth of the evaluation texts (two, if
// those are few): questions made from one template share long runs without being the same question. The result is in the order of the
// evaluation texts.
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

// passage is a run of words of an evaluation text that begins at from. Of a whole text, only the first n words are indexed.
type passage struct {
	eval, from int
	whole      bool
}

type contamination struct {
	n     int
	seed  maphash.Seed
	words [][]string                   // of the evaluation texts
	grams map[int]map[uint64][]passage // by length (n, or less for shorter texts), by hash
	found map[int]*Overlap             // by evaluation text
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

func (c *contamination) index(eval []string) {
	texts := map[string]int{} // in how many evaluation texts a word occurs
	for _, text := range eval {
		words := normalWords(text)
		c.words = append(c.words, words)
		for _, w := range slices.Compact(slices.Sorted(slices.Values(words))) {
			texts[w]++
		}
	}
	common := max(2, len(eval)/5)
	for e, words := range c.words {
		length := min(c.n, len(words))
		if length == 0 {
			continue
		}
		if c.grams[length] == nil {
			c.grams[length] = map[uint64][]passage{}
		}
		add := func(p passage) {
			h := c.hash(words[p.from : p.from+length])
			c.grams[length][h] = append(c.grams[length][h], p)
		}
		add(passage{e, 0, true})
		for from := 0; length == c.n && from+length <= len(words); from++ {
			specific := 0
			for _, w := range words[from : from+length] {
				if texts[w] <= common {
					specific++
				}
			}
			if 3*specific >= length {
				add(passage{e, from, false})
			}
		}
	}
}

// match returns the words of a passage that begin at words[0], or nil.
func (c *contamination) match(p passage, length int, words []string, isWholeText bool) []string {
	want := c.words[p.eval][p.from:]
	if !p.whole {
		want = want[:length]
	}
	if len(want) > len(words) || p.whole && len(want) < shortText && !(isWholeText && len(want) == len(words)) || !slices.Equal(want, words[:len(want)]) {
		return nil
	}
	return want
}

// look compares one training text with every passage; of several matches with one evaluation text the longest counts, then the first.
func (c *contamination) look(train int, text string) {
	words := normalWords(text)
	hit := map[int][]string{}
	for _, length := range slices.Sorted(maps.Keys(c.grams)) {
		for from := 0; from+length <= len(words); from++ {
			for _, p := range c.grams[length][c.hash(words[from:from+length])] {
				if got := c.match(p, length, words[from:], from == 0); len(got) > len(hit[p.eval]) {
					hit[p.eval] = got
				}
			}
		}
	}
	for e, got := range hit { // each evaluation text for itself: the order does not matter
		if o := c.found[e]; o != nil {
			o.Hits++
			continue
		}
		c.found[e] = &Overlap{Eval: e, Train: train, Hits: 1, Text: strings.Join(got, " ")}
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
