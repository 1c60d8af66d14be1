package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

var plainMethods = map[string]func(s string) Value{
	"upper":      func(s string) Value { return upper(s) },
	"lower":      func(s string) Value { return strings.ToLower(s) },
	"casefold":   func(s string) Value { return strings.ReplaceAll(strings.ToLower(s), "ß", "ss") },
	"title":      func(s string) Value { return title(s) },
	"capitalize": func(s string) Value { return capitalize(s) },
	"swapcase": func(s string) Value {
		return strings.Map(func(r rune) rune {
			if unicode.IsUpper(r) {
				return unicode.ToLower(r)
			}
			return unicode.ToUpper(r)
		}, s)
	},
	"isspace": func(s string) Value { return every(s, isSpace) },
	"isalpha": func(s string) Value { return every(s, unicode.IsLetter) },
	"isalnum": func(s string) Value {
		return every(s, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })
	},
	"isdigit":   func(s string) Value { return every(s, unicode.IsDigit) },
	"isdecimal": func(s string) Value { return every(s, unicode.IsDigit) },
	"isnumeric": func(s string) Value { return every(s, unicode.IsNumber) },
	"isupper":   func(s string) Value { return cased(s, unicode.IsLower, unicode.IsUpper) },
	"islower":   func(s string) Value { return cased(s, unicode.IsUpper, unicode.IsLower) },
}

func every(s string, ok func(rune) bool) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !ok(r) }) < 0
}

// cased reports whether s has a character for which yes holds and none for which no does.
func cased(s string, no, yes func(rune) bool) bool {
	return strings.IndexFunc(s, no) < 0 && strings.IndexFunc(s, yes) >= 0
}

func title(s string) string {
	word := false
	return strings.Map(func(r rune) rune {
		was := word
		word = unicode.IsLetter(r)
		if was {
			return unicode.ToLower(r)
		}
		return unicode.ToTitle(r)
	}, s)
}

func capitalize(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	return string(unicode.ToTitle(r)) + strings.ToLower(s[n:])
}

// upper is str.upper for the characters that one meets: of those that become several, the German ss and the ligatures.
func upper(s string) string { return strings.ToUpper(longUpper.Replace(s)) }

var longUpper = strings.NewReplacer("ß", "SS", "ŉ", "ʼN", "ﬀ", "FF", "ﬁ", "FI", "ﬂ", "FL", "ﬃ", "FFI", "ﬄ", "FFL", "ﬅ", "ST", "ﬆ", "ST")
