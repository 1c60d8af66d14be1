package task

import (
	"math/big"
	"strings"
)

// Final finds the answer in a response: what follows the last "<answer>" (up to its end tag), "####", "\boxed{" (up to its brace),
// "answer is" or "answer:", or "|"; else the whole text. marked tells whether there was such a mark.
func Final(response string) (answer string, marked bool) {
	if i := strings.LastIndex(response, "<answer>"); i >= 0 {
		answer, _, _ = strings.Cut(response[i+len("<answer>"):], "</answer>")
		return strings.TrimSpace(answer), true
	}
	if i := strings.LastIndex(response, "####"); i >= 0 {
		return strings.TrimSpace(response[i+len("####"):]), true
	}
	if i := strings.LastIndex(response, `\boxed{`); i >= 0 {
		return strings.TrimSpace(braced(response[i+len(`\boxed{`):])), true
	}
	if i, n := lastPhrase(response); i >= 0 {
		return strings.TrimSpace(response[i+n:]), true
	}
	if i := strings.LastIndexByte(response, '|'); i >= 0 {
		return strings.TrimSpace(response[i+1:]), true
	}
	return strings.TrimSpace(response), false
}

// braced returns the text up to the closing brace of a group that is already open.
func braced(s string) string {
	depth := 1
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return s[:i]
			}
		}
	}
	return s
}

// lastPhrase finds the last "answer is" or "answer:" in any case; n is its length.
func lastPhrase(s string) (at, n int) {
	at = -1
	for i := 0; i+6 < len(s); i++ {
		if s[i]|32 != 'a' || !strings.EqualFold(s[i:i+6], "answer") {
			continue
		}
		rest := s[i+6:]
		switch {
		case rest[0] == ':':
			at, n = i, 7
		case len(rest) >= 3 && strings.EqualFold(rest[:3], " is"):
			at, n = i, 9
			if len(rest) > 3 && rest[3] == ':' {
				n = 10
			}
		}
	}
	return at, n
}

// oneLine returns the line of a response that holds its answer: after a mark the first line that is not empty, else the last one.
func oneLine(response string) string {
	answer, marked := Final(response)
	line := ""
	for l := range strings.Lines(answer) {
		if l = strings.TrimSpace(l); l != "" {
			line = l
			if marked {
				break
			}
		}
	}
	return line
}

// FinalNumber reads the number that a response ends in: after a mark (see Final) the first number of that line, or the one after the last
// "=" of its first sentence; else the last number of the text. Thousands' commas, currency signs, units, percent signs and full stops are
// passed over; a fraction a/b counts as one number. text is the number as it was written.
func FinalNumber(response string) (value *big.Rat, text string, ok bool) {
	answer, marked := Final(response)
	if marked {
		for line := range strings.Lines(answer) {
			line = firstSentence(line)
			if i := strings.LastIndexByte(line, '='); i >= 0 {
				if v, t, _, ok := nextNumber(line, i+1); ok {
					return v, t, true
				}
			}
			if v, t, _, ok := nextNumber(line, 0); ok {
				return v, t, true
			}
		}
		answer = response // a mark with nothing behind it
	}
	for at := 0; ; {
		v, t, end, found := nextNumber(answer, at)
		if !found {
			return value, text, ok
		}
		value, text, ok, at = v, t, true, end
	}
}

// firstSentence cuts a line at a full stop that ends a sentence.
func firstSentence(line string) string {
	if i := strings.Index(line, ". "); i >= 0 {
		return line[:i]
	}
	return line
}

const maxNumber = 60 // digits of a number worth reading

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// nextNumber finds the first number at or after byte at and the byte behind it.
func nextNumber(s string, at int) (value *big.Rat, text string, end int, ok bool) {
	for i := max(at, 0); i < len(s); i++ {
		point := s[i] == '.' && i+1 < len(s) && isDigit(s[i+1]) && (i == 0 || !isDigit(s[i-1]))
		if !isDigit(s[i]) && !point {
			continue
		}
		end = numberEnd(s, i)
		digits := strings.ReplaceAll(s[i:end], ",", "")
		if end < len(s)-1 && s[end] == '/' && isDigit(s[end+1]) && !strings.Contains(digits, ".") {
			e := end + 1
			for e < len(s) && isDigit(s[e]) {
				e++
			}
			if strings.Trim(s[end+1:e], "0") != "" {
				digits, end = digits+s[end:e], e
			}
		}
		if len(digits) > maxNumber {
			i = end - 1
			continue
		}
		v, good := new(big.Rat).SetString(digits)
		if !good {
			i = end - 1
			continue
		}
		if negative(s, i) {
			v.Neg(v)
			digits = "-" + digits
		}
		return v, digits, end, true
	}
	return nil, "", len(s), false
}

// numberEnd returns the byte behind the number that starts at i: digits, commas before groups of three, at most one point before a digit.
func numberEnd(s string, i int) int {
	point := false
	for i < len(s) {
		switch {
		case isDigit(s[i]):
			i++
		case s[i] == ',' && !point && group(s[i+1:]):
			i += 4
		case s[i] == '.' && !point && i+1 < len(s) && isDigit(s[i+1]):
			point = true
			i++
		default:
			return i
		}
	}
	return i
}

// group reports whether exactly three digits come next.
func group(s string) bool {
	return len(s) >= 3 && isDigit(s[0]) && isDigit(s[1]) && isDigit(s[2]) && (len(s) == 3 || !isDigit(s[3]))
}

// negative looks for a sign that touches the number or its currency sign: "-5", "-$5", "$-5", "= −5". After an operand ("10-5", "10 -5",
// "x-5") it is a subtraction.
func negative(s string, i int) bool {
	before := strings.TrimRight(s[:i], "$€£")
	cut, found := strings.CutSuffix(before, "-")
	if !found {
		cut, found = strings.CutSuffix(before, "−")
	}
	if !found {
		return false
	}
	cut = strings.TrimRight(cut, "$€£")
	operand := strings.TrimRight(cut, " ")
	if operand == "" {
		return true
	}
	c := operand[len(operand)-1]
	letter := c|32 >= 'a' && c|32 <= 'z'
	return !isDigit(c) && c != ')' && (!letter || operand != cut)
}
