package token

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is a token that is cut out of the text before anything else looks at it (added_tokens of tokenizer.json).
type addedToken struct {
	id                         int32
	content                    string
	find                       string // what is looked for: content, in its normal form if normalized
	special                    bool   // a control token: matched only where special tokens are parsed, left out by skipSpecial
	singleWord, lstrip, rstrip bool   // matches whole words only; takes the white space on its left, on its right
	normalized                 bool   // is looked for in the normalised text
}

// matcher finds added tokens: leftmost first, of several at one place the longest.
type matcher struct {
	first  [256][]addedToken // by first byte, longest first
	byText map[string]int32
}

func newMatcher(list []addedToken) *matcher {
	m := &matcher{byText: map[string]int32{}}
	for _, a := range list {
		if a.find == "" {
			a.find = a.content
		}
		b := a.find[0]
		m.first[b] = append(m.first[b], a)
		m.byText[a.content] = a.id
	}
	for b := range m.first {
		slices.SortStableFunc(m.first[b], func(x, y addedToken) int { return len(y.find) - len(x.find) })
	}
	return m
}

func (m *matcher) id(text string) (int32, bool) {
	if m == nil {
		return -1, false
	}
	id, ok := m.byText[text]
	return id, ok
}

// next returns the first token at or after place from, its span with the white space that it strips, which never begins before left, and where
// to look on: right behind the token, so that one may be found in white space that another has stripped. A token that is refused (a
// special one where special is false, a part of a word) is passed over with all its bytes. All this as the Hugging Face library does.
func (m *matcher) next(s string, from, left int, special bool) (*addedToken, span, int) {
	for at := from; at < len(s); {
		a := m.at(s, at)
		if a == nil {
			at++
			continue
		}
		to := at + len(a.find)
		if a.special && !special || a.singleWord && (endsWithWord(s[:at]) || startsWithWord(s[to:])) {
			at = to
			continue
		}
		sp := span{at, to}
		if a.lstrip {
			sp.from = max(left, len(strings.TrimRightFunc(s[:at], unicode.IsSpace)))
		}
		if a.rstrip {
			sp.to = len(s) - len(strings.TrimLeftFunc(s[to:], unicode.IsSpace))
		}
		return a, sp, to
	}
	return nil, span{}, 0
}

func (m *matcher) at(s string, at int) *addedToken {
	list := m.first[s[at]]
	for i := range list {
		if strings.HasPrefix(s[at:], list[i].find) {
			return &list[i]
		}
	}
	return nil
}

func endsWithWord(s string) bool {
	r, n := utf8.DecodeLastRuneInString(s)
	return n > 0 && isWord(r)
}

func startsWithWord(s string) bool {
	r, n := utf8.DecodeRuneInString(s)
	return n > 0 && isWord(r)
}

// isWord is \w of Unicode regular expressions (UTS 18, annex C).
func isWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.In(r, unicode.M, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic, unicode.Join_Control)
}
