// Package arith reads and evaluates arithmetic that a model wrote, exactly and within bounds. Nothing is ever run as code.
//
// Parse reads the four operations over whole and decimal numbers into a tree that Eval turns into an exact fraction. Python evaluates the
// wider expressions that reasoning-gym's countdown scorer hands to SymPy.
package arith

import (
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// Bounds of what Parse accepts. An answer beyond them is an error, not a slow evaluation.
const (
	MaxLength = 400 // bytes of text
	MaxDepth  = 40  // nested parentheses and signs
	MaxDigits = 18  // of one number
)

// Errors that callers tell apart.
var (
	ErrDivideByZero = errors.New("division by zero")
	ErrTooLarge     = errors.New("too long or too deeply nested")
)

// Expr is a node: a number (Op 0) or an operation (Op one of + - * /, or '~' for a sign change of X).
type Expr struct {
	Op    byte
	Value *big.Rat // of a number
	Int   int64    // of a whole number; IsInt tells
	IsInt bool
	X, Y  *Expr
}

// Number returns the node of a whole number.
func Number(n int64) *Expr { return &Expr{Value: new(big.Rat).SetInt64(n), Int: n, IsInt: true} }

// Parse reads an expression: numbers, + - * /, signs and parentheses, with the signs of print (× ÷ − ·) as synonyms.
func Parse(text string) (*Expr, error) {
	if len(text) > MaxLength {
		return nil, fmt.Errorf("expression of %d bytes: %w", len(text), ErrTooLarge)
	}
	p := parser{s: text}
	e, err := p.sum(0)
	if err != nil {
		return nil, err
	}
	if p.peek() != 0 {
		return nil, p.errorf("unexpected %q", p.rest())
	}
	return e, nil
}

type parser struct {
	s string
	i int
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("byte %d: %s", p.i, fmt.Sprintf(format, args...))
}

// rest returns the next few bytes for a message.
func (p *parser) rest() string { return strings.ToValidUTF8(p.s[p.i:min(len(p.s), p.i+12)], "") }

var synonyms = []struct {
	sign string
	op   byte
}{{"×", '*'}, {"·", '*'}, {"÷", '/'}, {"−", '-'}}

// peek skips spaces and returns the next byte, printed operators as their ASCII synonym, or 0 at the end. A NUL in the text is refused by
// the callers, which compare the position with the length.
func (p *parser) peek() byte {
	for p.i < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.i]) >= 0 {
		p.i++
	}
	if p.i >= len(p.s) {
		return 0
	}
	if c := p.s[p.i]; c < 0x80 {
		if c == 0 {
			return 0xff
		}
		return c
	}
	for _, syn := range synonyms {
		if strings.HasPrefix(p.s[p.i:], syn.sign) {
			return syn.op
		}
	}
	return 0xff
}

// skip moves past the operator that peek returned.
func (p *parser) skip() {
	for _, syn := range synonyms {
		if strings.HasPrefix(p.s[p.i:], syn.sign) {
			p.i += len(syn.sign)
			return
		}
	}
	p.i++
}

func (p *parser) sum(depth int) (*Expr, error) {
	left, err := p.product(depth)
	for err == nil && (p.peek() == '+' || p.peek() == '-') {
		op := p.peek()
		p.skip()
		var right *Expr
		if right, err = p.product(depth); err == nil {
			left = &Expr{Op: op, X: left, Y: right}
		}
	}
	return left, err
}

func (p *parser) product(depth int) (*Expr, error) {
	left, err := p.factor(depth)
	for err == nil && (p.peek() == '*' || p.peek() == '/') {
		op := p.peek()
		p.skip()
		var right *Expr
		if right, err = p.factor(depth); err == nil {
			left = &Expr{Op: op, X: left, Y: right}
		}
	}
	return left, err
}

func (p *parser) factor(depth int) (*Expr, error) {
	if depth > MaxDepth {
		return nil, fmt.Errorf("byte %d: %w", p.i, ErrTooLarge)
	}
	switch c := p.peek(); {
	case c == '(':
		p.i++
		e, err := p.sum(depth + 1)
		if err != nil {
			return nil, err
		}
		if p.peek() != ')' {
			return nil, p.errorf("a closing parenthesis is missing")
		}
		p.i++
		return e, nil
	case c == '-' || c == '+':
		p.skip()
		x, err := p.factor(depth + 1)
		if err != nil || c == '+' {
			return x, err
		}
		return &Expr{Op: '~', X: x}, nil
	case c >= '0' && c <= '9':
		return p.number()
	case c == 0:
		return nil, p.errorf("the expression ends too early")
	default:
		return nil, p.errorf("unexpected %q", p.rest())
	}
}

func (p *parser) number() (*Expr, error) {
	start, points := p.i, 0
	for p.i < len(p.s) && (p.s[p.i] >= '0' && p.s[p.i] <= '9' || p.s[p.i] == '.') {
		if p.s[p.i] == '.' {
			points++
		}
		p.i++
	}
	text := p.s[start:p.i]
	if points > 1 || text[len(text)-1] == '.' {
		return nil, p.errorf("%q is not a number", text)
	}
	if len(text)-points > MaxDigits {
		return nil, fmt.Errorf("byte %d: number of %d digits: %w", start, len(text)-points, ErrTooLarge)
	}
	v, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil, p.errorf("%q is not a number", text)
	}
	e := &Expr{Value: v}
	if points == 0 {
		e.IsInt, e.Int = true, v.Num().Int64()
	}
	return e, nil
}

// Eval returns the exact value. Its size is bounded by the text's: an expression holds at most MaxLength digits.
func (e *Expr) Eval() (*big.Rat, error) {
	if e.Op == 0 {
		return e.Value, nil
	}
	x, err := e.X.Eval()
	if err != nil {
		return nil, err
	}
	if e.Op == '~' {
		return new(big.Rat).Neg(x), nil
	}
	y, err := e.Y.Eval()
	if err != nil {
		return nil, err
	}
	return Apply(e.Op, x, y)
}

// Apply returns x op y, exactly.
func Apply(op byte, x, y *big.Rat) (*big.Rat, error) {
	switch op {
	case '+':
		return new(big.Rat).Add(x, y), nil
	case '-':
		return new(big.Rat).Sub(x, y), nil
	case '*':
		return new(big.Rat).Mul(x, y), nil
	case '/':
		if y.Sign() == 0 {
			return nil, ErrDivideByZero
		}
		return new(big.Rat).Quo(x, y), nil
	}
	return nil, fmt.Errorf("unknown operator %q", op)
}

// Ints returns the whole numbers in the order of the text, and whether all numbers are whole.
func (e *Expr) Ints() ([]int64, bool) {
	ok := true
	var out []int64
	var walk func(*Expr)
	walk = func(e *Expr) {
		if e == nil {
			return
		}
		if e.Op == 0 {
			out, ok = append(out, e.Int), ok && e.IsInt
			return
		}
		walk(e.X)
		walk(e.Y)
	}
	walk(e)
	return out, ok
}

// precedence orders nodes by how tightly they bind.
func (e *Expr) precedence() int {
	switch e.Op {
	case '+', '-':
		return 1
	case '*', '/':
		return 2
	case '~':
		return 3
	}
	return 4
}

// String writes the expression with no more parentheses than Parse needs to read the same value back.
func (e *Expr) String() string {
	var b strings.Builder
	e.write(&b)
	return b.String()
}

func (e *Expr) write(b *strings.Builder) {
	switch e.Op {
	case 0:
		if e.IsInt {
			fmt.Fprintf(b, "%d", e.Int)
		} else if digits, exact := e.Value.FloatPrec(); exact {
			b.WriteString(e.Value.FloatString(digits))
		} else {
			b.WriteString(e.Value.RatString())
		}
	case '~':
		b.WriteByte('-')
		wrap(b, e.X, e.X.precedence() < 3)
	default:
		wrap(b, e.X, e.X.precedence() < e.precedence())
		b.WriteByte(e.Op)
		loose := e.Op == '-' || e.Op == '/' // a-(b+c) and a/(b*c) keep theirs
		wrap(b, e.Y, e.Y.precedence() < e.precedence() || loose && e.Y.precedence() == e.precedence())
	}
}

func wrap(b *strings.Builder, e *Expr, parens bool) {
	if !parens {
		e.write(b)
		return
	}
	b.WriteByte('(')
	e.write(b)
	b.WriteByte(')')
}
