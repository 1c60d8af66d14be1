package toolcall

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what the readers take. A text beyond them is an error, not a slow answer.
const (
	MaxLength = 1 << 20 // bytes
	maxDepth  = 100     // brackets within brackets
	maxDigits = 4300    // of a whole number, as in Python
	maxBits   = 1 << 14 // of a computed whole number
	maxCalls  = 256     // of one answer
)

// SyntaxError says where a text stops being a list of calls.
type SyntaxError struct {
	Offset int // bytes from the beginning
	Line   int // from 1
	Column int // characters, from 1
	Msg    string
}

func (e *SyntaxError) Error() string {
	if e.Line == 1 {
		return fmt.Sprintf("column %d: %s", e.Column, e.Msg)
	}
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Msg)
}

func syntaxError(text string, offset int, format string, args ...any) *SyntaxError {
	offset = max(0, min(offset, len(text)))
	before := text[:offset]
	return &SyntaxError{
		Offset: offset,
		Line:   1 + strings.Count(before, "\n"),
		Column: 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]),
		Msg:    fmt.Sprintf(format, args...),
	}
}

// parser is a reader of Python calls and literals at byte at of s.
type parser struct {
	s      string
	at     int
	depth  int
	listed bool // the list's [ was there: comments may stand anywhere
}

func (p *parser) fail(at int, format string, args ...any) error {
	return syntaxError(p.s, at, format, args...)
}

// byte returns the next byte, 0 at the end.
func (p *parser) byte() byte {
	if p.at < len(p.s) {
		return p.s[p.at]
	}
	return 0
}

// ahead quotes what comes next, for messages.
func (p *parser) ahead() string {
	if p.at >= len(p.s) {
		return "the end"
	}
	return fmt.Sprintf("%q", strings.ToValidUTF8(p.s[p.at:min(len(p.s), p.at+12)], ""))
}

// space moves past white space, line ends and, within brackets, comments.
func (p *parser) space() {
	for p.at < len(p.s) {
		switch c := p.s[p.at]; {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f':
			p.at++
		case c == '\\' && strings.HasPrefix(p.s[p.at+1:], "\n"):
			p.at += 2
		case c == '#' && (p.listed || p.depth > 0):
			for p.at < len(p.s) && p.s[p.at] != '\n' {
				p.at++
			}
		default:
			return
		}
	}
}

// take moves past a token and the space around it, if it comes next.
func (p *parser) take(token string) bool {
	p.space()
	if !strings.HasPrefix(p.s[p.at:], token) {
		return false
	}
	p.at += len(token)
	p.space()
	return true
}

// enter guards against nesting that would exhaust the stack.
func (p *parser) enter() error {
	if p.depth++; p.depth > maxDepth {
		return p.fail(p.at, "brackets are nested more than %d deep", maxDepth)
	}
	return nil
}

// ParsePython reads a Python list of calls, [f(a=1), g.h(b=[2, 'x'])], as the leaderboard does: the brackets may be missing, the whole may
// stand between backticks. Values are literals, arithmetic on numbers, names (which become their text, as do calls without keywords), and
// calls with keywords, which become {name: {parameter: value}}. Errors are *SyntaxError.
func ParsePython(text string) ([]Call, error) {
	if len(text) > MaxLength {
		return nil, syntaxError(text, 0, "a text of %d bytes: at most %d are read", len(text), MaxLength)
	}
	if !utf8.ValidString(text) {
		return nil, syntaxError(text, 0, "the text is not UTF-8")
	}
	p := &parser{s: strings.TrimRight(text, "`\n ")}
	p.at = len(p.s) - len(strings.TrimLeft(p.s, "`\n "))
	if p.at == len(p.s) {
		return nil, p.fail(p.at, "the text is empty: a list of calls is [] or [f(a=1)]")
	}
	p.listed = p.take("[")
	calls := []Call{}
	for {
		if p.take("]") || p.at == len(p.s) {
			break
		}
		c, err := p.call()
		if err != nil {
			return nil, err
		}
		if calls = append(calls, c); len(calls) > maxCalls {
			return nil, p.fail(p.at, "more than %d calls", maxCalls)
		}
		if !p.take(",") && p.at < len(p.s) && p.byte() != ']' {
			return nil, p.fail(p.at, "a comma or the end of the list should stand before %s", p.ahead())
		}
	}
	if p.at < len(p.s) {
		return nil, p.fail(p.at, "%s stands behind the list of calls", p.ahead())
	}
	return calls, nil
}

// call reads name(...) of the list itself.
func (p *parser) call() (Call, error) {
	start := p.at
	name, err := p.dotted()
	if err != nil {
		return Call{}, err
	}
	if p.byte() != '(' {
		return Call{}, p.fail(start, "%q is no call: ( should stand before %s", name, p.ahead())
	}
	c := Call{Name: name, Args: &Dict{}}
	return c, p.arguments(&c)
}

// dotted reads a name of letters, digits and underscores with dots between its parts, and the space behind it.
func (p *parser) dotted() (string, error) {
	var parts []string
	for {
		n := p.name()
		if n == "" {
			return "", p.fail(p.at, "a function's name should stand before %s", p.ahead())
		}
		parts = append(parts, n)
		if !p.take(".") {
			return strings.Join(parts, "."), nil
		}
	}
}

// name reads an identifier, "" if none comes next.
func (p *parser) name() string {
	start := p.at
	for p.at < len(p.s) {
		r, n := utf8.DecodeRuneInString(p.s[p.at:])
		if r != '_' && !unicode.IsLetter(r) && (p.at == start || !unicode.IsDigit(r) && !unicode.Is(unicode.M, r)) {
			break
		}
		p.at += n
	}
	return p.s[start:p.at]
}

// arguments reads (...) into a call.
func (p *parser) arguments(c *Call) error {
	if err := p.enter(); err != nil {
		return err
	}
	defer func() { p.depth-- }()
	open := p.at
	p.take("(")
	for !p.take(")") {
		if p.at == len(p.s) {
			return p.fail(open, "the ( of %s is not closed", c.Name)
		}
		if err := p.argument(c); err != nil {
			return err
		}
		if !p.take(",") && p.byte() != ')' && p.at < len(p.s) {
			return p.fail(p.at, "a comma or ) should stand before %s", p.ahead())
		}
	}
	return nil
}

// argument reads name=value or a value. Words that Python reserves (from, class) are taken as names, since schemas use them.
func (p *parser) argument(c *Call) error {
	start := p.at
	if p.byte() == '*' {
		return p.fail(start, "unpacking with * is not read: write every argument")
	}
	if name := p.name(); name != "" && p.take("=") && p.byte() != '=' {
		if _, twice := c.Args.Get(name); twice {
			return p.fail(start, "argument %s of %s is given twice", name, c.Name)
		}
		v, err := p.value()
		if err != nil {
			return err
		}
		c.Args.put(name, v)
		return nil
	}
	p.at = start
	v, err := p.value()
	if err != nil {
		return err
	}
	if c.Args.Len() > 0 {
		return p.fail(start, "a value without a name follows named arguments of %s", c.Name)
	}
	c.Positional = append(c.Positional, v)
	return nil
}

// atom reads a literal, a name, a call, or something in brackets.
func (p *parser) atom() (Value, error) {
	start := p.at
	if _, ok := p.stringAhead(); ok {
		return p.text()
	}
	switch c := p.byte(); {
	case isDigit(c) || c == '.' && p.at+1 < len(p.s) && isDigit(p.s[p.at+1]):
		return p.number()
	case c == '[':
		items, _, err := p.items('[', ']')
		return List(items), err
	case c == '(':
		items, comma, err := p.items('(', ')')
		if err == nil && len(items) == 1 && !comma {
			return items[0], nil
		}
		return Tuple(items), err
	case c == '{':
		return p.dict()
	case strings.HasPrefix(p.s[p.at:], "..."):
		p.at += 3
		return "...", nil
	}
	if p.name() == "" {
		return nil, p.fail(start, "a value should stand before %s", p.ahead())
	}
	p.at = start
	return p.named()
}

// named reads True, False, None, another name, or a call.
func (p *parser) named() (Value, error) {
	start := p.at
	name, err := p.dotted()
	if err != nil {
		return nil, err
	}
	if p.byte() == '(' {
		c := Call{Name: name, Args: &Dict{}}
		if err := p.arguments(&c); err != nil {
			return nil, err
		}
		if c.Args.Len() == 0 {
			return strings.TrimSpace(p.s[start:p.at]), nil
		}
		return NewDict(name, c.Args), nil
	}
	switch name {
	case "True":
		return true, nil
	case "False":
		return false, nil
	case "None":
		return nil, nil
	}
	if strings.Contains(name, ".") {
		return nil, p.fail(start, "%s is no value: put text into quotes", name)
	}
	return name, nil
}

// items reads the values between two brackets; comma tells whether one stood behind the last.
func (p *parser) items(from, to byte) (items []Value, comma bool, err error) {
	if err := p.enter(); err != nil {
		return nil, false, err
	}
	defer func() { p.depth-- }()
	open := p.at
	p.take(string(from))
	items = []Value{}
	for !p.take(string(to)) {
		if p.at == len(p.s) {
			return nil, false, p.fail(open, "the %c is not closed", from)
		}
		v, err := p.value()
		if err != nil {
			return nil, false, err
		}
		items = append(items, v)
		if comma = p.take(","); !comma && p.byte() != to && p.at < len(p.s) {
			return nil, false, p.fail(p.at, "a comma or %c should stand before %s", to, p.ahead())
		}
	}
	return items, comma, nil
}

// dict reads {key: value, ...}; a later value of a key wins.
func (p *parser) dict() (Value, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	open := p.at
	p.take("{")
	d := &Dict{}
	for !p.take("}") {
		if p.at == len(p.s) {
			return nil, p.fail(open, "the { is not closed")
		}
		at := p.at
		key, err := p.value()
		if err != nil {
			return nil, err
		}
		if !p.take(":") {
			return nil, p.fail(p.at, "a colon should stand before %s", p.ahead())
		}
		v, err := p.value()
		if err != nil {
			return nil, err
		}
		if err := d.Set(key, v); err != nil {
			return nil, p.fail(at, "%v", err)
		}
		if !p.take(",") && p.byte() != '}' && p.at < len(p.s) {
			return nil, p.fail(p.at, "a comma or } should stand before %s", p.ahead())
		}
	}
	return d, nil
}
