package token

import (
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// A normaliser rewrites a text.
type normaliser struct {
	apply func(s string) (string, []int) // the second result has the offset in s of every byte of the first and of its end; nil: nothing has changed
	front bool                           // it puts something in front
}

// normalised applies the normalisers one after the other; joined: but for those that put something in front.
func normalised(s string, list []normaliser, joined bool) (string, []int) {
	var at []int
	for _, f := range list {
		if joined && f.front {
			continue
		}
		next, map2 := f.apply(s)
		if map2 != nil && at != nil {
			for i, k := range map2 {
				map2[i] = at[k]
			}
		}
		if map2 != nil {
			at = map2
		}
		s = next
	}
	return s, at
}

// replaced is Replace with a text as its pattern.
func replaced(old, content string) normaliser {
	return normaliser{apply: func(s string) (string, []int) {
		if !strings.Contains(s, old) {
			return s, nil
		}
		var out []byte
		var at []int
		for i := 0; i < len(s); {
			if strings.HasPrefix(s[i:], old) {
				out = append(out, content...)
				for range len(content) {
					at = append(at, i)
				}
				i += len(old)
				continue
			}
			out, at = append(out, s[i]), append(at, i)
			i++
		}
		return string(out), append(at, len(s))
	}}
}

// prepended is Prepend: content before every text but the empty one.
func prepended(content string) normaliser {
	return normaliser{front: true, apply: func(s string) (string, []int) {
		if s == "" {
			return s, nil
		}
		at := make([]int, len(content)+len(s)+1)
		for i := range len(s) + 1 {
			at[len(content)+i] = i
		}
		return content + s, at
	}}
}

// maxMarks is the number of combining marks in a row above which x/text inserts U+034F (stream-safe text, UAX 15 section 13). Other
// implementations do not, so longer runs are composed here.
const maxMarks = 30

// nfc returns the NFC form of s and, if that differs from s, the offset in s of every byte of the result and of its end.
func nfc(s string) (string, []int) {
	if norm.NFC.IsNormalString(s) && !longRun(s) {
		return s, nil
	}
	out := make([]byte, 0, len(s)+8)
	at := make([]int, 0, len(s)+9)
	for from := 0; from < len(s); {
		to := from + segment(s[from:])
		n := len(out)
		if runes := utf8.RuneCountInString(s[from:to]); runes > maxMarks {
			out = append(out, compose(s[from:to])...)
		} else {
			out = norm.NFC.AppendString(out, s[from:to])
		}
		same := string(out[n:]) == s[from:to]
		for i := range out[n:] {
			if same {
				at = append(at, from+i)
			} else {
				at = append(at, from) // no finer map: a changed character is one piece
			}
		}
		from = to
	}
	return string(out), append(at, len(s))
}

// segment returns the length of the first part of s that is normalised on its own: a starter that combines with nothing before it and
// all that may combine with it.
func segment(s string) int {
	_, n := utf8.DecodeRuneInString(s)
	for n < len(s) {
		p := norm.NFC.PropertiesString(s[n:])
		if p.BoundaryBefore() || p.Size() == 0 {
			return n
		}
		n += p.Size()
	}
	return n
}

func longRun(s string) bool {
	run := 0
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			i, run = i+1, 0
			continue
		}
		p := norm.NFC.PropertiesString(s[i:])
		if run++; p.CCC() == 0 && p.BoundaryBefore() {
			run = 0
		}
		if run > maxMarks {
			return true
		}
		i += max(1, p.Size())
	}
	return false
}

// compose is the algorithm of UAX 15 for one segment: decompose, order marks by combining class, compose.
func compose(s string) string {
	type char struct {
		r     rune
		class uint8
	}
	var list []char
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		whole := norm.NFD.PropertiesString(s[i : i+n]).Decomposition()
		if whole == nil {
			whole = []byte(norm.NFD.String(string(r))) // Hangul has no entry in the table
		}
		for _, d := range string(whole) {
			list = append(list, char{d, norm.NFD.PropertiesString(string(d)).CCC()})
		}
		i += n
	}
	for i := 0; i < len(list); { // marks between two starters, in stable order
		j := i
		for j < len(list) && list[j].class > 0 {
			j++
		}
		slices.SortStableFunc(list[i:j], func(a, b char) int { return int(a.class) - int(b.class) })
		i = j + 1
	}
	starter := -1
	out := list[:0:0]
	for _, c := range list {
		if starter >= 0 {
			last := out[len(out)-1].class
			blocked := len(out)-1 > starter && last >= c.class
			if r := []rune(norm.NFC.String(string([]rune{out[starter].r, c.r}))); !blocked && len(r) == 1 {
				out[starter].r = r[0]
				continue
			}
		}
		if c.class == 0 {
			starter = len(out)
		}
		out = append(out, c)
	}
	var b []rune
	for _, c := range out {
		b = append(b, c.r)
	}
	return string(b)
}
