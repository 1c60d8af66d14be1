package arith

import (
	"errors"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Python returns what float(sympy.parse_expr(text)) returns for expressions over numbers, and an error where that raises.
//
// It covers what such an expression can hold and still become a number: Python's literals, operators, comparisons and conditionals,
// SymPy's factorial sign, its constants and the usual functions. Names that mean nothing are symbols: they compare (hence "this is not it"
// is a truth value, which float accepts), but arithmetic with them gives no number. It evaluates a tree within bounds and runs no code:
// numbers that would outgrow maxBits continue as floats.
func Python(text string) (float64, error) {
	if len(text) > maxPython {
		return 0, ErrTooLarge
	}
	tokens, err := pyTokens(text)
	if err != nil {
		return 0, err
	}
	p := pyParser{tokens: tokens}
	v := p.ternary()
	if p.failed || p.i != len(p.tokens) {
		return 0, errPython
	}
	return v.float()
}

const (
	maxPython   = 20000  // bytes of text
	maxNesting  = 190    // Python's own parser gives up at 200
	maxBits     = 200000 // of an exact number
	maxPyDigits = 4300   // of one literal, Python's own limit
)

var errPython = errors.New("not an expression with a value")

var pyKeywords = []string{"and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif", "else", "except", "finally", "for", "from",
	"global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield"}

// pyToken is an operator or keyword (kind 'o'), a name ('n'), a string ('s') or a number ('v').
type pyToken struct {
	kind  byte
	text  string
	value pyValue
}

// pyTokens splits text as Python's tokenizer does. Line ends count only inside brackets and at either end.
func pyTokens(text string) ([]pyToken, error) {
	s := strings.TrimFunc(text, unicode.IsSpace)
	var out []pyToken
	depth := 0
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '\n' && depth == 0 && len(out) > 0:
			if strings.TrimFunc(stripComments(s[i:]), unicode.IsSpace) != "" {
				return nil, errPython // a second statement
			}
			i = len(s)
		case c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\n':
			i++
		case c == '\\' && i+1 < len(s) && s[i+1] == '\n':
			i += 2
		case c == '#':
			for i < len(s) && s[i] != '\n' {
				i++
			}
		default:
			t, n := pyToken1(s[i:])
			if n == 0 || t.text == "!" && i > 0 && s[i-1] == ' ' {
				return nil, errPython // SymPy knows the factorial sign only where it touches its number
			}
			// SymPy writes the tokens back without the spaces between operators, so "* *" becomes a power.
			if last := len(out) - 1; t.kind == 'o' && last >= 0 && out[last].kind == 'o' && out[last].text+t.text != "!=" && slices.Contains(pyOperators, out[last].text+t.text) {
				t.text = out[last].text + t.text
				out = out[:last]
			}
			if t.text == "(" {
				depth++
			} else if t.text == ")" {
				depth--
			}
			out, i = append(out, t), i+n
		}
	}
	return out, nil
}

func stripComments(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		code, _, _ := strings.Cut(line, "#")
		b.WriteString(code)
	}
	return b.String()
}

var pyOperators = []string{"**", "//", "<<", ">>", "<=", ">=", "==", "!=", "+", "-", "*", "/", "%", "(", ")", ",", "<", ">", "=", "&", "|", "^", "~", "!"}

// pyToken1 reads one token and returns how many bytes it took, 0 for none.
func pyToken1(s string) (pyToken, int) {
	c := s[0]
	switch {
	case c >= '0' && c <= '9' || c == '.' && len(s) > 1 && s[1] >= '0' && s[1] <= '9':
		return pyNumber(s)
	case c == '"' || c == '\'':
		end := strings.IndexByte(s[1:], c)
		if end < 0 || strings.ContainsAny(s[1:1+end], "\\\n") {
			return pyToken{}, 0
		}
		return pyToken{kind: 's', text: "\"" + s[1:1+end]}, end + 2
	}
	n := 0
	for j, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (j == 0 || !unicode.IsDigit(r)) {
			break
		}
		n = j + len(string(r))
	}
	if n > 0 {
		if slices.Contains(pyKeywords, s[:n]) {
			return pyToken{kind: 'o', text: s[:n]}, n
		}
		return pyToken{kind: 'n', text: s[:n]}, n
	}
	for _, op := range pyOperators {
		if strings.HasPrefix(s, op) {
			return pyToken{kind: 'o', text: op}, len(op)
		}
	}
	return pyToken{}, 0
}

// pyNumber reads a literal: 12, 1_000, 0x1f, 1.5, .5, 5., 1e3. Leading zeros are an error in Python, but for zero itself.
func pyNumber(s string) (pyToken, int) {
	if len(s) > 1 && s[0] == '0' && strings.IndexByte("xXoObB", s[1]) >= 0 {
		n := 2
		for n < len(s) && (s[n] == '_' || s[n] >= '0' && s[n] <= '9' || s[n]|32 >= 'a' && s[n]|32 <= 'f') {
			n++
		}
		v, ok := new(big.Int).SetString(s[:n], 0)
		if !ok {
			return pyToken{}, 0
		}
		return pyToken{kind: 'v', value: exact(new(big.Rat).SetInt(v))}, n
	}
	n, isFloat := digits(s), false
	if n < len(s) && s[n] == '.' {
		n, isFloat = n+1+digits(s[n+1:]), true
	}
	if n < len(s) && s[n]|32 == 'e' {
		m := n + 1
		if m < len(s) && (s[m] == '+' || s[m] == '-') {
			m++
		}
		if d := digits(s[m:]); d > 0 {
			n, isFloat = m+d, true
		}
	}
	text := s[:n]
	if strings.Contains(text, "__") || strings.Contains(text, "_.") || strings.HasSuffix(text, "_") || len(text) > maxPyDigits {
		return pyToken{}, 0
	}
	text = strings.ReplaceAll(text, "_", "")
	if n < len(s) && s[n]|32 == 'j' {
		return pyToken{kind: 'v', value: pyValue{kind: symbol}}, n + 1
	}
	if isFloat {
		f, _ := strconv.ParseFloat(text, 64) // out of range gives an infinity, as SymPy's Float does when it is asked for a float
		return pyToken{kind: 'v', value: floating(f)}, n
	}
	if text[0] == '0' && strings.Trim(text, "0") != "" {
		return pyToken{}, 0
	}
	v, ok := new(big.Rat).SetString(text)
	if !ok {
		return pyToken{}, 0
	}
	return pyToken{kind: 'v', value: exact(v)}, n
}

func digits(s string) int {
	n := 0
	for n < len(s) && (s[n] >= '0' && s[n] <= '9' || s[n] == '_' && n > 0) {
		n++
	}
	return n
}

// pyValue is what a subexpression is worth.
type pyValue struct {
	kind pyKind
	rat  *big.Rat
	f    float64
	on   bool
	name string // of a symbol or the text of a string
}

type pyKind byte

const (
	bad      pyKind = iota // an exception
	rational               // Integer, Rational
	floats                 // Float, and the infinities and nan
	truth                  // Python's bool
	relation               // SymPy's Boolean: no number, but with a truth value
	symbol                 // anything else
	zoo                    // complex infinity
	text                   // a string
)

func exact(r *big.Rat) pyValue {
	if r.Num().BitLen() > maxBits || r.Denom().BitLen() > maxBits {
		f, _ := r.Float64()
		return floating(f)
	}
	return pyValue{kind: rational, rat: r}
}
func floating(f float64) pyValue { return pyValue{kind: floats, f: f} }
func boolean(on bool) pyValue    { return pyValue{kind: truth, on: on} }

// float is Python's float(v).
func (v pyValue) float() (float64, error) {
	switch v.kind {
	case rational:
		f, _ := v.rat.Float64()
		return f, nil
	case floats:
		return v.f, nil
	case truth:
		if v.on {
			return 1, nil
		}
		return 0, nil
	case text:
		if t := strings.TrimSpace(v.name); !strings.ContainsAny(t, "xXpP_") {
			if f, err := strconv.ParseFloat(t, 64); err == nil || errors.Is(err, strconv.ErrRange) {
				return f, nil
			}
		}
	}
	return 0, errPython
}

// bool is Python's bool(v); ok is false where that raises.
func (v pyValue) bool() (on, ok bool) {
	switch v.kind {
	case bad:
		return false, false
	case rational:
		return v.rat.Sign() != 0, true
	case floats:
		return v.f != 0, true
	case truth, relation:
		return v.on, v.kind == truth || v.name == ""
	case text:
		return v.name != "", true
	case symbol:
		return v.name != "None", true
	}
	return true, true
}

// number turns Python's truth values into 0 and 1, as arithmetic does.
func (v pyValue) number() pyValue {
	if v.kind == truth {
		f, _ := v.float()
		return exact(new(big.Rat).SetInt64(int64(f)))
	}
	return v
}

func (v pyValue) isZero() bool { return v.kind == rational && v.rat.Sign() == 0 }

func (v pyValue) isInt() bool { return v.kind == rational && v.rat.IsInt() }

func (v pyValue) isInf() bool { return v.kind == floats && math.IsInf(v.f, 0) }

func (v pyValue) isNaN() bool { return v.kind == floats && math.IsNaN(v.f) }
