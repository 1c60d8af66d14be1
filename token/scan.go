package token

import (
	"unicode"
	"unicode/utf8"
)

// The pre-tokeniser expressions in wide use, each with a scanner by hand: some twenty times faster than a backtracking matcher, and
// linear in the length of the text.
const (
	patternGPT2 = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	patternQwen = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternLla3 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// scanner returns the end of the piece that begins at s[i]; i < len(s).
type scanner func(s string, i int) int

var scanners = map[string]scanner{
	patternGPT2: scanGPT2,
	patternQwen: func(s string, i int) int { return scanLlama(s, i, 1) },
	patternLla3: func(s string, i int) int { return scanLlama(s, i, 3) },
}

type class uint8

const (
	other class = iota // neither of the following
	letter
	number
	space   // white space but for:
	newline // \r and \n
)

var asciiClass = func() (t [128]class) {
	for r := range rune(128) {
		t[r] = classOf(r)
	}
	return t
}()

func classOf(r rune) class {
	switch {
	case r == '\n' || r == '\r':
		return newline
	case unicode.IsLetter(r):
		return letter
	case unicode.IsNumber(r):
		return number
	case unicode.IsSpace(r):
		return space
	}
	return other
}

// classAt returns the class and length of the character at s[i]; a byte that is not UTF-8 is a character of class other.
func classAt(s string, i int) (class, int) {
	if i >= len(s) {
		return other, 0
	}
	if c := s[i]; c < utf8.RuneSelf {
		return asciiClass[c], 1
	}
	r, n := utf8.DecodeRuneInString(s[i:])
	return classOf(r), n
}

// run returns the end of the run of class c from i on, at most limit characters (0: any number).
func run(s string, i int, c class, limit int) int {
	for k := 0; i < len(s) && (limit == 0 || k < limit); k++ {
		d, n := classAt(s, i)
		if d != c {
			break
		}
		i += n
	}
	return i
}

func scanGPT2(s string, i int) int {
	if s[i] == '\'' {
		if n := contraction(s[i+1:], false); n > 0 {
			return i + 1 + n
		}
	}
	c, _ := classAt(s, i)
	if s[i] == ' ' {
		if next, n := classAt(s, i+1); n > 0 && next != space && next != newline {
			return run(s, i+1, next, 0)
		}
	}
	if c != space && c != newline {
		return run(s, i, c, 0)
	}
	end, last, _ := blanks(s, i)
	return beforeWord(s, i, end, last)
}

func scanLlama(s string, i, digits int) int {
	if s[i] == '\'' {
		if n := contraction(s[i+1:], true); n > 0 {
			return i + 1 + n
		}
	}
	c, n := classAt(s, i)
	switch c {
	case letter:
		return run(s, i, letter, 0)
	case number:
		return run(s, i, number, digits)
	case other, space:
		next, m := classAt(s, i+n)
		if m > 0 && next == letter {
			return run(s, i+n, letter, 0)
		}
		if c == other || s[i] == ' ' && m > 0 && next == other {
			return run(s, run(s, i+n, other, 0), newline, 0)
		}
	}
	end, last, lines := blanks(s, i)
	if lines > i {
		return lines // \s*[\r\n]+
	}
	return beforeWord(s, i, end, last)
}

// blanks returns the end of the white space from i on, the start of its last character, and the end of its last line break (0: none).
func blanks(s string, i int) (end, last, lines int) {
	last = i
	for i < len(s) {
		c, n := classAt(s, i)
		if c != space && c != newline {
			break
		}
		last = i
		i += n
		if c == newline {
			lines = i
		}
	}
	return i, last, lines
}

// beforeWord is `\s+(?!\S)|\s+`: the last blank before a word is left to the word, unless it is the only one.
func beforeWord(s string, i, end, last int) int {
	if end < len(s) && last > i {
		return last
	}
	return end
}

// contraction returns the length of s, t, re, ve, m, ll or d at the start of s, 0 if there is none. fold ignores case; the long s
// (U+017F) folds to s.
func contraction(s string, fold bool) int {
	at := func(i int) byte {
		if i >= len(s) {
			return 0
		}
		if c := s[i]; fold && 'A' <= c && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return s[i]
	}
	switch c := at(0); c {
	case 's', 't', 'm', 'd':
		return 1
	case 'r', 'v':
		if at(1) == 'e' {
			return 2
		}
	case 'l':
		if at(1) == 'l' {
			return 2
		}
	case 0xC5:
		if fold && at(1) == 0xBF {
			return 2
		}
	}
	return 0
}
