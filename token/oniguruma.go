package token

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// The expressions of tokenizer.json are written for Oniguruma with Ruby's syntax, and regexp2 reads .NET's: most of the two is the same,
// some is not, and what differs is often no error but another meaning (nested sets, &&, [[:alpha:]], \w, ^, (?m), {,n}). fromOniguruma
// rewrites an expression so that regexp2 matches what Oniguruma does, or refuses it by the name of the construct.
func fromOniguruma(expr string) (string, error) {
	p := &onigParser{in: expr, fold: []bool{false}}
	for p.at < len(p.in) {
		if err := p.next(); err != nil {
			return "", err
		}
	}
	return p.out.String(), nil
}

// Members of a set. Oniguruma counts every mark as part of a word, .NET does not; \w outside a set has Latin-1's fractions and superscripts besides.
const (
	onigAlpha = `\p{L}\p{Nl}\p{Other_Alphabetic}`
	onigPosW  = `\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}\p{Other_Alphabetic}`
	onigWord  = onigPosW + `²³¹¼-¾`
)

// onigPosix are the brackets such as [:alpha:], as members of a set.
var onigPosix = map[string]string{
	"alpha": onigAlpha, "digit": `\p{Nd}`, "alnum": onigAlpha + `\p{Nd}`, "upper": `\p{Lu}\p{Other_Uppercase}`, "lower": `\p{Ll}\p{Other_Lowercase}`,
	"space": `\s`, "blank": `\t\p{Zs}`, "punct": `\p{P}\p{S}`, "cntrl": `\p{Cc}`, "xdigit": `0-9a-fA-F`, "word": onigPosW,
}

// onigOutside are the parts of an expression outside sets that are spelt otherwise.
var onigOutside = map[string]string{
	"^": `(?:\A|(?<=\n)(?!\z))`, "$": `(?=\n|\z)`, // at every line
	`\w`: "[" + onigWord + "]", `\W`: "[^" + onigWord + "]",
	`\b`: "(?:(?<=[" + onigWord + "])(?![" + onigWord + "])|(?<![" + onigWord + "])(?=[" + onigWord + "]))",
	`\B`: "(?:(?<=[" + onigWord + "])(?=[" + onigWord + "])|(?<![" + onigWord + "])(?![" + onigWord + "]))",
	`\h`: "[0-9a-fA-F]", `\H`: "[^0-9a-fA-F]",
}

type onigParser struct {
	in   string
	at   int
	out  strings.Builder
	fold []bool // of each open group: case is ignored
}

func onigRefuse(what string) error { return &ErrUnsupported{"expression with " + what} }

func (p *onigParser) rest() string { return p.in[p.at:] }

func (p *onigParser) copy(n int) {
	p.out.WriteString(p.in[p.at : p.at+n])
	p.at += n
}

// next rewrites the next part of the expression outside sets.
func (p *onigParser) next() error {
	switch c := p.in[p.at]; c {
	case '^', '$':
		p.out.WriteString(onigOutside[string(c)])
		p.at++
	case '\\':
		text, err := p.escape(false)
		p.out.WriteString(text)
		return err
	case '[':
		p.at++
		members, negated, err := p.set(0)
		if negated {
			p.out.WriteString("[^" + members + "]")
		} else {
			p.out.WriteString("[" + members + "]")
		}
		return err
	case '(':
		return p.open()
	case ')':
		if len(p.fold) > 1 {
			p.fold = p.fold[:len(p.fold)-1]
		}
		p.copy(1)
	case '{':
		return p.count()
	default:
		p.copy(1)
	}
	return nil
}

// open reads the beginning of a group and its flags.
func (p *onigParser) open() error {
	fold := p.fold[len(p.fold)-1]
	if !strings.HasPrefix(p.rest(), "(?") {
		p.fold = append(p.fold, fold)
		p.copy(1)
		return nil
	}
	flags, _, _ := strings.Cut(p.rest()[2:], ":")
	if i := strings.IndexByte(flags, ')'); i >= 0 {
		flags = flags[:i]
	}
	if strings.HasPrefix(p.rest()[2:], "~") {
		return onigRefuse("an absence group (?~")
	}
	if strings.HasPrefix(p.rest()[2:], "#") || flags == "" || strings.Trim(flags, "imxsna-") != "" { // a comment, a look-around, a name ...
		p.fold = append(p.fold, fold)
		p.copy(2)
		return nil
	}
	on := true
	p.out.WriteString("(?")
	for _, f := range flags {
		switch f {
		case '-':
			on = false
			p.out.WriteByte('-')
		case 'i':
			fold = on
			p.out.WriteByte('i')
		case 'm': // the dot matches line breaks, too
			p.out.WriteByte('s')
		default:
			return onigRefuse("the flag " + string(f))
		}
	}
	p.at += 2 + len(flags)
	if strings.HasPrefix(p.rest(), ")") { // to the end of the group around it
		p.fold[len(p.fold)-1] = fold
	} else {
		p.fold = append(p.fold, fold)
	}
	if p.at < len(p.in) {
		p.copy(1)
	}
	return nil
}

// count reads a quantifier in braces. Outside one, a brace is a brace.
func (p *onigParser) count() error {
	body, after, ok := strings.Cut(p.rest()[1:], "}")
	low, high, pair := strings.Cut(body, ",")
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	switch {
	case !ok || !digits(low) && !(low == "" && pair && digits(high)) || pair && high != "" && !digits(high):
		p.copy(1)
		return nil
	case strings.HasPrefix(after, "+"), !pair && strings.HasPrefix(after, "?"): // there they repeat the repetition
		return onigRefuse("{" + body + "}" + after[:1])
	case low == "":
		p.out.WriteString("{0," + high + "}")
		p.at += len(body) + 2
		return nil
	}
	p.copy(len(body) + 2)
	return nil
}

// escape rewrites what begins with a backslash; inSet gives members of a set.
func (p *onigParser) escape(inSet bool) (string, error) {
	if p.at+1 >= len(p.in) {
		return "", onigRefuse(`a single \ at its end`)
	}
	c, n := utf8.DecodeRuneInString(p.in[p.at+1:])
	text := p.in[p.at : p.at+1+n]
	switch c {
	case 'p', 'P':
		return p.property()
	case 'w', 'h':
		if inSet {
			text = map[rune]string{'w': onigPosW, 'h': `0-9a-fA-F`}[c]
		} else {
			text = onigOutside[text]
		}
	case 'W', 'H', 'b', 'B':
		if inSet && c != 'b' {
			return "", onigRefuse(text + " inside a set")
		}
		if !inSet {
			text = onigOutside[text]
		}
	case 'N', 'O', 'K', 'G', 'g', 'y', 'Y', 'C', 'M', 'X':
		return "", onigRefuse(text)
	default:
		if c < utf8.RuneSelf && !unicode.IsLetter(c) && !unicode.IsDigit(c) { // a character that stands for itself
			text = literal(c)
		}
	}
	p.at += 1 + n
	return text, nil
}

// property reads \p{Name}, \P{Name} and \p{^Name}.
func (p *onigParser) property() (string, error) {
	name, _, ok := strings.Cut(p.in[p.at+2:], "}")
	if !strings.HasPrefix(name, "{") || !ok {
		return "", onigRefuse(p.in[p.at:p.at+2] + " without {}")
	}
	kind := p.in[p.at+1 : p.at+2]
	p.at += 2 + len(name) + 1
	name = name[1:]
	if bare, negated := strings.CutPrefix(name, "^"); negated {
		name = bare
		kind = map[string]string{"p": "P", "P": "p"}[kind]
	}
	if strings.ContainsAny(name, "=:") {
		return "", onigRefuse(`\p{` + name + `}`)
	}
	if l := strings.ToLower(name); p.fold[len(p.fold)-1] && (l == "lu" || l == "ll" || l == "lt" || strings.Contains(l, "case")) {
		return "", onigRefuse(`\p{` + name + `} where case is ignored`)
	}
	return `\` + kind + `{` + name + `}`, nil
}

// set reads the members of a set, of which the bracket has been read, up to its closing bracket. Sets within it add their members.
func (p *onigParser) set(depth int) (members string, negated bool, err error) {
	if strings.HasPrefix(p.rest(), "^") {
		negated = true
		p.at++
	}
	var out strings.Builder
	for first := true; p.at < len(p.in); first = false {
		rest := p.rest()
		switch {
		case rest[0] == ']' && !first:
			p.at++
			return out.String(), negated, nil
		case strings.HasPrefix(rest, "&&"):
			text, err := p.except(depth, negated)
			return out.String() + text, false, err
		case strings.HasPrefix(rest, "[:"):
			text, err := p.posix()
			if err != nil {
				return "", false, err
			}
			out.WriteString(text)
		case rest[0] == '[':
			p.at++
			inner, not, err := p.set(depth + 1)
			if err != nil {
				return "", false, err
			}
			if not {
				return "", false, onigRefuse("a negated set inside a set")
			}
			out.WriteString(inner)
		default:
			text, err := p.member()
			if err != nil {
				return "", false, err
			}
			out.WriteString(text)
		}
	}
	return "", false, onigRefuse("a set that does not end")
}

// except reads the end of [members&&[^others]], which .NET writes as [members-[others]]. Other intersections are refused.
func (p *onigParser) except(depth int, negated bool) (string, error) {
	const name = "&& (an intersection of sets)"
	if depth > 0 || negated || !strings.HasPrefix(p.rest(), "&&[^") {
		return "", onigRefuse(name)
	}
	p.at += len("&&[")
	others, _, err := p.set(depth + 1)
	if err == nil && !strings.HasPrefix(p.rest(), "]") {
		err = onigRefuse(name)
	}
	p.at++
	return "-[" + others + "]", err
}

// posix reads [:name:].
func (p *onigParser) posix() (string, error) {
	name, _, ok := strings.Cut(p.rest()[2:], ":]")
	text, known := onigPosix[name]
	if !ok || !known {
		return "", onigRefuse("the bracket [:" + quoteless(name) + ":]")
	}
	p.at += 2 + len(name) + 2
	return text, nil
}

func quoteless(s string) string { return strings.Trim(quote(s), `"`) }

// member reads a character of a set or a range of characters.
func (p *onigParser) member() (string, error) {
	low, single, err := p.single()
	if err != nil || !single {
		return low, err
	}
	rest := p.rest()
	if len(rest) < 2 || rest[0] != '-' || rest[1] == ']' {
		return low, nil
	}
	if rest[1] == '[' {
		return "", onigRefuse("a range up to a set")
	}
	p.at++
	high, single, err := p.single()
	if err == nil && !single {
		err = onigRefuse("a range up to " + high)
	}
	return low + "-" + high, err
}

// single reads one character of a set, written so that it can only be that; or an escape for several (single is false).
func (p *onigParser) single() (text string, single bool, err error) {
	r, n := utf8.DecodeRuneInString(p.rest())
	if r != '\\' {
		p.at += n
		return literal(r), true, nil
	}
	before := p.at
	if text, err = p.escape(true); err != nil {
		return "", false, err
	}
	if strings.ContainsAny(p.in[before+1:before+2], "xuc01234567") {
		text += p.number(p.in[before+1])
	}
	return text, !strings.ContainsAny(p.in[before+1:before+2], "pPwhdDsSR"), nil
}

// literal writes a character so that it stands for itself, in sets and outside.
func literal(r rune) string {
	if strings.ContainsRune(`\.+*?()|[]{}^$#-&`, r) || r < utf8.RuneSelf && unicode.IsSpace(r) {
		return escape(string(r))
	}
	return string(r)
}

// number reads the rest of an escape that gives a character by its number: \x41, \x{e9}, \u00e9, \cA, \101.
func (p *onigParser) number(kind byte) string {
	from, digits, limit := p.at, "0123456789abcdefABCDEF", 2
	switch kind {
	case 'u':
		limit = 4
	case 'c':
		p.at = min(p.at+1, len(p.in))
		return p.in[from:p.at]
	case 'x':
		if body, _, ok := strings.Cut(p.rest(), "}"); ok && strings.HasPrefix(body, "{") {
			p.at += len(body) + 1
			return p.in[from:p.at]
		}
	default:
		digits = "01234567"
	}
	for p.at < len(p.in) && p.at-from < limit && strings.IndexByte(digits, p.in[p.at]) >= 0 {
		p.at++
	}
	return p.in[from:p.at]
}
