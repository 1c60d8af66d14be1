package toolcall

import (
	"strings"
)

// Call is one call of a tool.
type Call struct {
	Name       string
	Args       *Dict   // named arguments: the keys are strings
	Positional []Value // arguments without names, which no judge accepts
}

// String writes the call as Python: book(city='rome', days=2).
func (c Call) String() string {
	var b strings.Builder
	b.WriteString(c.Name)
	b.WriteByte('(')
	reprItems(&b, c.Positional)
	for i, it := range c.Args.Items() {
		if i > 0 || len(c.Positional) > 0 {
			b.WriteString(", ")
		}
		b.WriteString(it.Key.(string))
		b.WriteByte('=')
		writeRepr(&b, it.Value)
	}
	b.WriteByte(')')
	return b.String()
}

// Python writes a list of calls: [f(a=1), g(b='x')].
func Python(calls []Call) string {
	parts := make([]string, len(calls))
	for i, c := range calls {
		parts[i] = c.String()
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// JSON writes the call as {"name": ..., "arguments": {...}}, the form of most chat templates.
func (c Call) JSON() (string, error) {
	args := c.Args
	if args == nil {
		args = &Dict{}
	}
	return EncodeJSON(NewDict("name", c.Name, "arguments", args))
}

// decoded is the leaderboard's form of calls, [{name: {parameter: value}}]; arguments without names are dropped, as there.
func decoded(calls []Call) List {
	out := make(List, len(calls))
	for i, c := range calls {
		args := c.Args
		if args == nil {
			args = &Dict{}
		}
		out[i] = NewDict(c.Name, args)
	}
	return out
}

// Parse reads the calls of a model's answer in whichever form it has: <tool_call> blocks, JSON, a Python call list, the latter two also
// in a fenced block. What stands before </think> is passed over. No calls at all ([]) is an answer; text without calls is a *SyntaxError,
// whose position is that in the whole text.
func Parse(answer string) ([]Call, error) {
	if len(answer) > MaxLength {
		return nil, syntaxError(answer, 0, "a text of %d bytes: at most %d are read", len(answer), MaxLength)
	}
	from := 0
	if i := strings.LastIndex(answer, "</think>"); i >= 0 {
		from = i + len("</think>")
	}
	for _, tag := range []string{"tool_call", "TOOLCALL"} {
		if strings.Contains(answer[from:], "<"+tag+">") {
			return blocks(answer, from, tag)
		}
	}
	from, to := trimmed(answer, from, len(answer))
	if body, ok := strings.CutPrefix(answer[from:to], "```"); ok {
		line, rest, found := strings.Cut(body, "\n")
		if found && strings.Trim(line, "abcdefghijklmnopqrstuvwxyz_ \r") == "" { // ```python
			from = to - len(rest)
		} else {
			from += 3
		}
		if i := strings.Index(answer[from:to], "```"); i >= 0 {
			to = from + i
		}
	}
	return parsePart(answer, from, to)
}

// trimmed narrows a range to what has no white space at its ends.
func trimmed(s string, from, to int) (int, int) {
	to = from + len(strings.TrimRight(s[from:to], " \t\r\n"))
	return to - len(strings.TrimLeft(s[from:to], " \t\r\n")), to
}

// parsePart reads one range as JSON or Python.
func parsePart(whole string, from, to int) ([]Call, error) {
	from, to = trimmed(whole, from, to)
	part := whole[from:to]
	parse := ParsePython
	if inner := strings.TrimLeft(strings.TrimPrefix(part, "["), " \t\r\n"); strings.HasPrefix(part, "{") || part != inner && strings.HasPrefix(inner, "{") {
		parse = ParseJSON
	}
	calls, err := parse(part)
	if err, ok := err.(*SyntaxError); ok && from > 0 {
		return nil, syntaxError(whole, from+err.Offset, "%s", err.Msg)
	}
	return calls, err
}

// blocks reads every <tag>...</tag>; the last may be unclosed, as when a stop token has replaced its end.
func blocks(s string, from int, tag string) ([]Call, error) {
	calls := []Call{}
	for {
		i := strings.Index(s[from:], "<"+tag+">")
		if i < 0 {
			return calls, nil
		}
		from += i + len(tag) + 2
		to, next := len(s), len(s)
		if i := strings.Index(s[from:], "</"+tag+">"); i >= 0 {
			to, next = from+i, from+i+len(tag)+3
		}
		more, err := parsePart(s, from, to)
		if err != nil {
			return nil, err
		}
		if calls = append(calls, more...); len(calls) > maxCalls {
			return nil, syntaxError(s, from, "more than %d calls", maxCalls)
		}
		from = next
	}
}
