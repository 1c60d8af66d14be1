package toolcall

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

// whole keeps a whole number as int64 where it fits.
func whole(n *big.Int) Value {
	if n.IsInt64() {
		return n.Int64()
	}
	return n
}

// number reads a number literal: decimal, hexadecimal, octal, binary, floats; underscores between digits. Complex numbers are refused.
func (p *parser) number() (Value, error) {
	start := p.at
	if len(p.s)-p.at > 1 && p.s[p.at] == '0' {
		if base := map[byte]int{'x': 16, 'o': 8, 'b': 2}[p.s[p.at+1]|0x20]; base != 0 {
			p.at += 2
			return p.digits(start, base)
		}
	}
	p.run()
	float := false
	if p.byte() == '.' {
		float = true
		p.at++
		p.run()
	}
	if c := p.byte(); c == 'e' || c == 'E' {
		mark := p.at
		p.at++
		if c := p.byte(); c == '+' || c == '-' {
			p.at++
		}
		if isDigit(p.byte()) {
			float = true
			p.run()
		} else {
			p.at = mark
		}
	}
	text := p.s[start:p.at]
	if isName(p.byte()) || p.byte() >= utf8.RuneSelf {
		return nil, p.fail(start, "%q is no number", p.s[start:min(len(p.s), p.at+8)])
	}
	if strayUnderscore(text) {
		return nil, p.fail(start, "%q: an underscore stands between two digits", text)
	}
	text = strings.ReplaceAll(text, "_", "")
	if float {
		v, err := strconv.ParseFloat(text, 64)
		if err != nil && !math.IsInf(v, 0) {
			return nil, p.fail(start, "%q is no number", text)
		}
		return v, nil
	}
	if len(text) > 1 && text[0] == '0' && strings.Trim(text, "0") != "" {
		return nil, p.fail(start, "%q: a whole number does not begin with 0", text)
	}
	if len(text) > maxDigits {
		return nil, p.fail(start, "a number with %d digits: at most %d are read", len(text), maxDigits)
	}
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		return nil, p.fail(start, "%q is no number", text)
	}
	return whole(n), nil
}

// strayUnderscore reports an underscore that is not between two digits.
func strayUnderscore(text string) bool {
	for i := range len(text) {
		if text[i] == '_' && (i+1 == len(text) || !isDigit(text[i+1]) || i == 0 || !isDigit(text[i-1])) {
			return true
		}
	}
	return false
}

// run moves past digits and underscores.
func (p *parser) run() {
	for isDigit(p.byte()) || p.byte() == '_' {
		p.at++
	}
}

// digits reads the rest of a whole number of another base; start is where its "0x" stands.
func (p *parser) digits(start, base int) (Value, error) {
	from := p.at
	for isName(p.byte()) {
		p.at++
	}
	text := p.s[from:p.at]
	if strings.Contains(text, "__") || strings.HasSuffix(text, "_") || len(text) > maxDigits {
		return nil, p.fail(start, "%.40q is no number", p.s[start:p.at])
	}
	n, ok := new(big.Int).SetString(strings.ReplaceAll(text, "_", ""), base)
	if !ok || n.Sign() < 0 {
		return nil, p.fail(start, "%.40q is no number", p.s[start:p.at])
	}
	return whole(n), nil
}

// stringAhead returns the length of a string's prefix (r, u, b, f and their pairs) and whether a string begins here.
func (p *parser) stringAhead() (prefix int, ok bool) {
	for prefix < 3 && p.at+prefix < len(p.s) {
		switch p.s[p.at+prefix] | 0x20 {
		case 'r', 'u', 'b', 'f':
			prefix++
			continue
		}
		break
	}
	c := byte(0)
	if p.at+prefix < len(p.s) {
		c = p.s[p.at+prefix]
	}
	return prefix, c == '\'' || c == '"'
}

// text reads one or more adjacent string literals.
func (p *parser) text() (Value, error) {
	var b strings.Builder
	for {
		prefix, ok := p.stringAhead()
		if !ok {
			return b.String(), nil
		}
		letters := strings.ToLower(p.s[p.at : p.at+prefix])
		if strings.ContainsAny(letters, "bf") || len(letters) > 1 {
			return nil, p.fail(p.at, "a string with the prefix %q: bytes and format strings are not read", letters)
		}
		p.at += prefix
		if err := p.oneString(&b, letters == "r"); err != nil {
			return nil, err
		}
		p.space()
	}
}

// oneString reads a string from its opening quotes.
func (p *parser) oneString(b *strings.Builder, raw bool) error {
	start := p.at
	quote := p.s[p.at : p.at+1]
	if triple := strings.Repeat(quote, 3); strings.HasPrefix(p.s[p.at:], triple) {
		quote = triple
	}
	p.at += len(quote)
	for p.at < len(p.s) {
		c := p.s[p.at]
		switch {
		case strings.HasPrefix(p.s[p.at:], quote):
			p.at += len(quote)
			return nil
		case c == '\n' && len(quote) == 1:
			return p.fail(start, "the string is not closed on its line")
		case c == '\\' && raw && p.at+1 < len(p.s):
			b.WriteString(p.s[p.at : p.at+2])
			p.at += 2
		case c == '\\':
			if err := p.escape(b); err != nil {
				return err
			}
		default:
			b.WriteByte(c)
			p.at++
		}
	}
	return p.fail(start, "the string is not closed")
}

var simpleEscapes = map[byte]string{'\n': "", '\\': "\\", '\'': "'", '"': `"`, 'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v"}

// escape reads one escape sequence. As in Python, an unknown one stays as it stands.
func (p *parser) escape(b *strings.Builder) error {
	start := p.at
	p.at++
	if p.at == len(p.s) {
		return p.fail(start, "the text ends in an escape sequence")
	}
	c := p.s[p.at]
	if s, ok := simpleEscapes[c]; ok {
		p.at++
		b.WriteString(s)
		return nil
	}
	if c >= '0' && c <= '7' {
		from := p.at
		for p.at < len(p.s) && p.at < from+3 && p.s[p.at] >= '0' && p.s[p.at] <= '7' {
			p.at++
		}
		n, _ := strconv.ParseUint(p.s[from:p.at], 8, 32)
		b.WriteRune(rune(n))
		return nil
	}
	width := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
	switch {
	case c == 'N':
		return p.fail(start, `the escape \N{...} is not read: write the character itself`)
	case width == 0:
		b.WriteByte('\\')
		return nil
	case p.at+1+width > len(p.s):
		return p.fail(start, `\%c needs %d hexadecimal digits`, c, width)
	}
	n, err := strconv.ParseUint(p.s[p.at+1:p.at+1+width], 16, 32)
	if err != nil || n > utf8.MaxRune {
		return p.fail(start, `\%c needs %d hexadecimal digits of a character`, c, width)
	}
	p.at += 1 + width
	b.WriteRune(rune(n)) // half a surrogate pair becomes U+FFFD
	return nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isName reports the bytes of ASCII names.
func isName(c byte) bool { return isDigit(c) || c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }
