package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind uint8

const (
	tData kind = iota // text between tags
	tVarBegin
	tVarEnd
	tBlockBegin
	tBlockEnd
	tName
	tString
	tInt
	tFloat
	tOp
	tEOF
)

type lexeme struct {
	kind kind
	text string // of a string its value
	line int
}

// lexer cuts a template into lexemes as jinja2/lexer.py does with trim_blocks and lstrip_blocks on.
type lexer struct {
	s         string
	at        int
	line      int
	lineStart bool // the last lexeme ended in a line break
	out       []lexeme
}

func lex(source string) ([]lexeme, error) {
	source = strings.ReplaceAll(strings.ReplaceAll(source, "\r\n", "\n"), "\r", "\n")
	l := &lexer{s: strings.TrimSuffix(source, "\n"), line: 1, lineStart: true}
	for l.at < len(l.s) {
		if err := l.next(); err != nil {
			return nil, fmt.Errorf("line %d: %w", l.line, err)
		}
	}
	l.emit(tEOF, "")
	return l.out, nil
}

func (l *lexer) emit(k kind, text string) { l.out = append(l.out, lexeme{k, text, l.line}) }

// skip moves on by n bytes and counts lines.
func (l *lexer) skip(n int) {
	part := l.s[l.at : l.at+n]
	l.line += strings.Count(part, "\n")
	if n > 0 {
		l.lineStart = part[n-1] == '\n'
	}
	l.at += n
}

// next reads the text up to the next tag, and the tag.
func (l *lexer) next() error {
	rest := l.s[l.at:]
	open := 0
	for ; open < len(rest); open++ {
		if rest[open] == '{' && open+1 < len(rest) && strings.IndexByte("{%#", rest[open+1]) >= 0 {
			break
		}
	}
	text := rest[:open]
	if open == len(rest) {
		l.data(text, len(text))
		return nil
	}
	tag, sign := rest[open+1], byte(0)
	if open+2 < len(rest) && (rest[open+2] == '-' || rest[open+2] == '+') {
		sign = rest[open+2]
	}
	kept := text
	switch {
	case sign == '-':
		kept = strings.TrimRightFunc(text, isSpace)
	case sign == 0 && tag != '{':
		from := strings.LastIndexByte(text, '\n') + 1
		if (from > 0 || l.lineStart) && strings.TrimLeftFunc(text[from:], isSpace) == "" {
			kept = text[:from]
		}
	}
	l.data(kept, len(text))
	head := 2
	if sign != 0 {
		head = 3
	}
	switch tag {
	case '#':
		l.skip(head)
		return l.comment()
	case '%':
		if n := rawTag(l.s[l.at+head:], "raw"); n > 0 {
			l.skip(head + n)
			return l.raw()
		}
		l.skip(head)
		l.emit(tBlockBegin, "{%")
		return l.inside(tBlockEnd)
	}
	l.skip(head)
	l.emit(tVarBegin, "{{")
	return l.inside(tVarEnd)
}

func (l *lexer) data(kept string, n int) {
	if kept != "" {
		l.emit(tData, kept)
	}
	l.skip(n)
}

// closing returns the length of the end of a tag at the start of s with what it swallows: "-" all white space, else a block's end one
// line break. 0: no end here.
func closing(s, end string, trim bool) int {
	if len(s) > 2 && s[0] == '-' && strings.HasPrefix(s[1:], end) {
		return len(s) - len(strings.TrimLeftFunc(s[3:], isSpace))
	}
	if trim && len(s) > 2 && s[0] == '+' && strings.HasPrefix(s[1:], end) {
		return 3
	}
	if !strings.HasPrefix(s, end) {
		return 0
	}
	if trim && len(s) > 2 && s[2] == '\n' {
		return 3
	}
	return 2
}

func (l *lexer) comment() error {
	rest := l.s[l.at:]
	for i := range len(rest) {
		if c := rest[i]; c == '#' || c == '-' || c == '+' {
			if n := closing(rest[i:], "#}", true); n > 0 {
				l.skip(i + n)
				return nil
			}
		}
	}
	return fmt.Errorf("a comment is not closed")
}

// rawTag returns the length of `raw %}` (or endraw) at the start of s.
func rawTag(s, word string) int {
	t := strings.TrimLeftFunc(s, isSpace)
	if !strings.HasPrefix(t, word) {
		return 0
	}
	t = strings.TrimLeftFunc(t[len(word):], isSpace)
	n := closing(t, "%}", word == "endraw")
	if n == 0 || word == "raw" && t[0] == '+' {
		return 0
	}
	return len(s) - len(t) + n
}

func (l *lexer) raw() error {
	rest := l.s[l.at:]
	for i := 0; ; i += 2 {
		j := strings.Index(rest[i:], "{%")
		if j < 0 {
			return fmt.Errorf("a raw block is not closed")
		}
		i += j
		head, text := 2, rest[:i]
		if i+2 < len(rest) && rest[i+2] == '-' {
			head, text = 3, strings.TrimRightFunc(text, isSpace)
		} else if i+2 < len(rest) && rest[i+2] == '+' {
			head = 3
		} else if from := strings.LastIndexByte(text, '\n') + 1; from > 0 && strings.TrimLeftFunc(text[from:], isSpace) == "" {
			text = text[:from]
		}
		if n := rawTag(rest[i+head:], "endraw"); n > 0 {
			l.data(text, i)
			l.skip(head + n)
			return nil
		}
	}
}

// inside reads the lexemes of a tag up to its end.
func (l *lexer) inside(end kind) error {
	mark := "}}"
	if end == tBlockEnd {
		mark = "%}"
	}
	var open []byte // brackets: a tag does not end inside of them
	for l.at < len(l.s) {
		rest := l.s[l.at:]
		if len(open) == 0 {
			if n := closing(rest, mark, end == tBlockEnd); n > 0 {
				l.emit(end, mark)
				l.skip(n)
				return nil
			}
		}
		r, n := utf8.DecodeRuneInString(rest)
		switch {
		case isSpace(r):
			l.skip(n)
		case '0' <= r && r <= '9':
			if err := l.number(rest); err != nil {
				return err
			}
		case r == '_' || unicode.IsLetter(r):
			n = len(rest) - len(strings.TrimLeftFunc(rest, isIdent))
			l.emit(tName, rest[:n])
			l.skip(n)
		case r == '\'' || r == '"':
			if err := l.text(rest); err != nil {
				return err
			}
		default:
			op := operator(rest)
			if op == "" {
				return fmt.Errorf("unexpected character %q", r)
			}
			var err error
			if open, err = balance(open, op); err != nil {
				return err
			}
			l.emit(tOp, op)
			l.skip(len(op))
		}
	}
	return fmt.Errorf("a tag is not closed: expected %s", mark)
}

func isIdent(r rune) bool {
	return r == '_' || unicode.IsLetter(r) || unicode.In(r, unicode.Nd, unicode.Mn, unicode.Mc, unicode.Nl)
}

func balance(open []byte, op string) ([]byte, error) {
	switch c := op[0]; c {
	case '(', '[', '{':
		return append(open, c), nil
	case ')', ']', '}':
		want := map[byte]byte{')': '(', ']': '[', '}': '{'}[c]
		if len(open) == 0 || open[len(open)-1] != want {
			return nil, fmt.Errorf("unexpected %q", op)
		}
		return open[:len(open)-1], nil
	}
	return open, nil
}

func operator(s string) string {
	if len(s) > 1 {
		switch s[:2] {
		case "//", "**", "==", "!=", ">=", "<=":
			return s[:2]
		}
	}
	if strings.IndexByte("+-/*%~[](){}><=.:|,;", s[0]) >= 0 {
		return s[:1]
	}
	return ""
}

func (l *lexer) number(s string) error {
	digits := func(i int) int {
		for i < len(s) && ('0' <= s[i] && s[i] <= '9' || s[i] == '_' && i+1 < len(s) && '0' <= s[i+1] && s[i+1] <= '9') {
			i++
		}
		return i
	}
	if len(s) > 2 && s[0] == '0' && strings.IndexByte("xXoObB", s[1]) >= 0 {
		n := 2
		for n < len(s) && (s[n] == '_' || '0' <= s[n] && s[n] <= '9' || 'a' <= s[n]|0x20 && s[n]|0x20 <= 'f') {
			n++
		}
		l.emit(tInt, s[:n])
		l.skip(n)
		return nil
	}
	n, k := digits(0), tInt
	afterDot := l.at > 0 && l.s[l.at-1] == '.' // a.1.b: 1 is an index
	if !afterDot {
		if n+1 < len(s) && s[n] == '.' && '0' <= s[n+1] && s[n+1] <= '9' {
			n, k = digits(n+1), tFloat
		}
		if n < len(s) && s[n]|0x20 == 'e' {
			m := n + 1
			if m < len(s) && (s[m] == '+' || s[m] == '-') {
				m++
			}
			if m < len(s) && '0' <= s[m] && s[m] <= '9' {
				n, k = digits(m), tFloat
			}
		}
	}
	l.emit(k, strings.ReplaceAll(s[:n], "_", ""))
	l.skip(n)
	return nil
}

func (l *lexer) text(s string) error {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			v, err := unescape(s[1:i])
			if err != nil {
				return err
			}
			l.emit(tString, v)
			l.skip(i + 1)
			return nil
		}
	}
	return fmt.Errorf("a string is not closed")
}

// unescape reads Python's escapes; an unknown one stays as it is.
func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	simple := map[byte]byte{'n': '\n', 't': '\t', 'r': '\r', 'a': 7, 'b': 8, 'f': 12, 'v': 11, '\\': '\\', '\'': '\'', '"': '"'}
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		c := s[i]
		if to, ok := simple[c]; ok {
			b.WriteByte(to)
			continue
		}
		size := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
		switch {
		case c == '\n': // a line goes on
		case '0' <= c && c <= '7':
			n := i
			for n < len(s) && n < i+3 && '0' <= s[n] && s[n] <= '7' {
				n++
			}
			v, _ := strconv.ParseUint(s[i:n], 8, 32)
			b.WriteRune(rune(v))
			i = n - 1
		case size > 0:
			if i+1+size > len(s) {
				return "", fmt.Errorf(`a \%c escape is cut short`, c)
			}
			v, err := strconv.ParseUint(s[i+1:i+1+size], 16, 32)
			if err != nil || v > unicode.MaxRune {
				return "", fmt.Errorf(`\%s is no character`, s[i:i+1+size])
			}
			i += size
			if 0xD800 <= v && v < 0xDC00 && i+6 < len(s) && s[i+1] == '\\' && s[i+2] == 'u' {
				if low, err := strconv.ParseUint(s[i+3:i+7], 16, 32); err == nil && 0xDC00 <= low && low < 0xE000 {
					v = 0x10000 + (v-0xD800)<<10 + (low - 0xDC00)
					i += 6
				}
			}
			b.WriteRune(rune(v))
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}
