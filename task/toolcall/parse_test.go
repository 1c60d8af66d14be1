package toolcall

import (
	"errors"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Left is a text, right what Python makes of it.
func TestParsePython(t *testing.T) {
	for text, want := range map[string]string{
		"[]":                                 "[]",
		"f()":                                "[f()]",
		"[f(a=1, b='x'), g.h(c=[1, 2.5])]":   "[f(a=1, b='x'), g.h(c=[1, 2.5])]",
		"f(a=1), g(b=2)":                     "[f(a=1), g(b=2)]",
		"[f(a=1)":                            "[f(a=1)]",
		"f(a=1)]":                            "[f(a=1)]",
		" `[f(a=1),]`\n":                     "[f(a=1)]",
		"[f( a = 1 ,\n b = 2 # two\n)]":      "[f(a=1, b=2)]",
		"f(a={'k': [True, False, None]})":    "[f(a={'k': [True, False, None]})]",
		"f(a={1: 2, 1.0: 3})":                "[f(a={1: 3})]",
		"f(a=(1,), b=(), c=(1), d=(1, 2))":   "[f(a=(1,), b=(), c=1, d=(1, 2))]",
		"f(a=-5, b=+5, c=--5, d=-0.0)":       "[f(a=-5, b=5, c=5, d=-0.0)]",
		"f(a=0x1F, b=0o17, c=0b11, d=1_000)": "[f(a=31, b=15, c=3, d=1000)]",
		"f(a=1., b=.5, c=1e3, d=1E-7, e=00)": "[f(a=1.0, b=0.5, c=1000.0, d=1e-07, e=0)]",
		"f(a=1e16, b=123456789012345.0)":     "[f(a=1e+16, b=123456789012345.0)]",
		"f(a=12345678901234567890)":          "[f(a=12345678901234567890)]",
		"f(a=1e999, b=-1e999)":               "[f(a=1e999, b=-1e999)]",
		`f(a="it's", b='say "x"')`:           `[f(a="it's", b='say "x"')]`,
		`f(a='\'"')`:                         `[f(a='\'"')]`,
		`f(a='\n\t\\\x41\u00e9\101\q')`:      `[f(a='\n\t\\AéA\\q')]`,
		`f(a=r'\n', b=u'x', c=R"\"")`:        `[f(a='\\n', b='x', c='\\"')]`,
		`f(a='''it's
two''')`: `[f(a="it's\ntwo")]`,
		"f(a='a' \"b\")":                       "[f(a='ab')]",
		"f(a='x' + 'y')":                       "[f(a='xy')]",
		"f(a='a\\\nb')":                        "[f(a='ab')]",
		`f(a='\ud83d')`:                        "[f(a='\uFFFD')]",
		"f(a=2*60, b=1/4, c=7//2, d=-7//2)":    "[f(a=120, b=0.25, c=3, d=-4)]",
		"f(a=-7%3, b=2**10, c=-2**2, d=2-3-4)": "[f(a=2, b=1024, c=-4, d=-5)]",
		"f(a=(1+2)*3, b=1.5*2, c=True+1)":      "[f(a=9, b=3.0, c=2)]",
		"f(a=name, b=true, c=...)":             "[f(a='name', b='true', c='...')]",
		"f(a=now(), b=g(1, 'x'))":              "[f(a='now()', b=\"g(1, 'x')\")]",
		"f(a=g(x=1))":                          "[f(a={'g': {'x': 1}})]",
		"f(1, 'x', a=2)":                       "[f(1, 'x', a=2)]",
		"f(from='a', class=1, été=2)":          "[f(from='a', class=1, été=2)]",
		"rent(b=1), burf(u=2)":                 "[rent(b=1), burf(u=2)]",
	} {
		calls, err := ParsePython(text)
		if err != nil || Python(calls) != want {
			t.Errorf("%s\n got %s (%v)\nwant %s", text, Python(calls), err, want)
		}
	}
}

func TestParsePythonErrors(t *testing.T) {
	deep := "f(a=" + strings.Repeat("[", maxDepth+1)
	for _, c := range []struct {
		text   string
		offset int
		want   string
	}{
		{"", 0, "empty"},
		{"Sorry", 0, "no call"},
		{"# Title\nText", 0, "function's name"},
		{"#### [f()]", 0, "function's name"},
		{"I cannot do that", 0, "no call"},
		{"[f(a=1)] and more", 9, "behind the list"},
		{"[[f()]]", 1, "function's name"},
		{"f(a=1, a=2)", 7, "given twice"},
		{"f(a=1, 2)", 7, "without a name"},
		{"f(*x)", 2, "unpacking"},
		{"f(a=1", 1, "not closed"},
		{"f(a=[1", 4, "not closed"},
		{"f(a={'x' 1})", 9, "colon"},
		{"f(a='x)", 4, "not closed"},
		{"f(a='x\n')", 4, "not closed on its line"},
		{"f(a=b'x')", 4, "bytes"},
		{"f(a=f'{x}')", 4, "format strings"},
		{"f(a=3j)", 4, "no number"},
		{"f(a=007)", 4, "begin with 0"},
		{"f(a=1__0)", 4, "between two digits"},
		{"f(a=1_)", 4, "between two digits"},
		{"f(a=0x)", 4, "no number"},
		{"f(a=1x)", 4, "no number"},
		{"f(a=b.c)", 4, "quotes"},
		{"f(a=1 if x else 2)", 6, "comma or )"},
		{"f(a={[]: 1})", 5, "dictionary key"},
		{"f(a=1/0)", 5, "division by zero"},
		{"f(a=9**9**9)", 5, "too large"},
		{"f(a=2**-1)", 5, "too large"},
		{"f(a='x'*3)", 7, "numbers only"},
		{"f(a=-'x')", 4, "numbers only"},
		{`f(a='\xg0')`, 5, "hexadecimal"},
		{`f(a='\N{DASH}')`, 5, "write the character"},
		{"f(a='\\", 5, "ends in an escape"},
		{"f(a=\n b=1)", 7, "comma or )"},
		{"f(a=1)\ng(b=2)", 7, "comma"},
		{deep, len(deep) - 2, "nested"},
		{"f(a=" + strings.Repeat("-", maxDepth+1) + "1)", 3 + maxDepth, "nested"},
		{"f(a=" + strings.Repeat("1**", maxDepth+1) + "1)", 4 + 3*maxDepth, "nested"},
		{"f(a=" + strings.Repeat("9", maxDigits+1) + ")", 4, "digits"},
		{strings.Repeat("f(),", maxCalls+1), 4*maxCalls + 3, "more than 256 calls"},
		{"f(a='\xff')", 0, "UTF-8"},
		{strings.Repeat(" ", MaxLength+1), 0, "bytes"},
	} {
		_, err := ParsePython(c.text)
		var e *SyntaxError
		if !errors.As(err, &e) || e.Offset != c.offset || !strings.Contains(e.Msg, c.want) {
			t.Errorf("%.40q: %v at %+v, want %d ... %s", c.text, err, e, c.offset, c.want)
		}
	}
	_, err := ParsePython("[f(a='é',\n b=?)]")
	if want := "line 2, column 4: a value should stand before \"?)]\""; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		`{"name": "f", "arguments": {"a": 1, "b": [1.0, null]}}`: "[f(a=1, b=[1.0, None])]",
		` [{"name": "f", "arguments": {}}, {"name": "g"}]`:       "[f(), g()]",
		"[]": "[]",
		`{"function": "f", "parameters": {"a": true}}`:                                                                 "[f(a=True)]",
		`{"type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}`:                                   "[f(a=1)]",
		`[{"f": {"a": 1}}, {"g": {}}]`:                                                                                 "[f(a=1), g()]",
		"I look.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call><tool_call>{\"name\": \"g\"}": "[f(a=1), g()]",
		"<TOOLCALL>[f(a=1), g()]</TOOLCALL> done":                                                                      "[f(a=1), g()]",
		"```python\n[f(a=1)]\n```\nThat is it.":                                                                        "[f(a=1)]",
		"```json\n{\"name\": \"f\"}\n```":                                                                              "[f()]",
		"```[f(a=1)]```":                                                                                               "[f(a=1)]",
		"<think>maybe [g()] or <tool_call>?</think>\n[f(a=1)]":                                                         "[f(a=1)]",
		`{"name": "f", "arguments": {"a": 1, "a": 2}}`:                                                                 "[f(a=2)]",
		"{\"name\": \"f\", \"arguments\": {\"a\": 12345678901234567890, \"b\": 1e2, \"c\": -0, \"d\": 1.5}}":           "[f(a=12345678901234567890, b=100.0, c=0, d=1.5)]",
	} {
		calls, err := Parse(text)
		if err != nil || Python(calls) != want {
			t.Errorf("%s\n got %s (%v)\nwant %s", text, Python(calls), err, want)
		}
	}
	for _, c := range []struct {
		text   string
		offset int
		want   string
	}{
		{`{"name": "f"`, 12, "not complete"},
		{`{"name": "f"} {}`, 13, "behind the JSON value"},
		{`{"arguments": {}, "x": 1}`, 0, "no name"},
		{`{"name": "f", "arguments": [1]}`, 0, "are a list"},
		{`{"name": "f", "arguments": "no"}`, 0, "call 1: the arguments of f"},
		{`[{"name": "f"}, 3]`, 0, "call 2"},
		{"<think>x</think> f(a=?)", 21, "value"},
		{"<tool_call>f(a=1)</tool_call>\n<tool_call>f(a=?)</tool_call>", 45, "value"},
		{"```python\nf(a=?)```", 14, "value"},
		{"[" + strings.Repeat(`{"a":`, maxDepth+2), -1, "nested"},
		{"[" + strings.Repeat(`{"name":"f"},`, maxCalls) + `{"name":"f"}]`, 0, "more than 256"},
		{`{"name": "f", "arguments": {"a": ` + strings.Repeat("1", maxDigits+1) + "}}", -1, "digits"},
		{strings.Repeat(" ", MaxLength+1), 0, "bytes"},
	} {
		_, err := Parse(c.text)
		var e *SyntaxError
		if !errors.As(err, &e) || c.offset >= 0 && e.Offset != c.offset || !strings.Contains(e.Msg, c.want) {
			t.Errorf("%.60q: %v at %+v, want %d ... %s", c.text, err, e, c.offset, c.want)
		}
	}
}

// drawValue makes any value; json leaves out what JSON has not.
func drawValue(t *rapid.T, depth int, json bool) Value {
	top := 8
	if depth == 0 {
		top = 5
	}
	switch rapid.IntRange(0, top).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return rapid.Int64().Draw(t, "int")
	case 3:
		n := new(big.Int).Lsh(big.NewInt(rapid.Int64().Draw(t, "big")), 70)
		return whole(n)
	case 4:
		return rapid.Float64().Draw(t, "float")
	case 5:
		return rapid.String().Draw(t, "text")
	case 6:
		l := List{}
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			l = append(l, drawValue(t, depth-1, json))
		}
		return l
	case 7:
		if json {
			return "no tuple"
		}
		u := Tuple{}
		for range rapid.IntRange(0, 3).Draw(t, "items") {
			u = append(u, drawValue(t, depth-1, json))
		}
		return u
	}
	d := &Dict{}
	for range rapid.IntRange(0, 3).Draw(t, "entries") {
		var key Value = rapid.String().Draw(t, "key")
		if !json && rapid.Bool().Draw(t, "number") {
			key = rapid.Float64().Draw(t, "key")
		}
		if err := d.Set(key, drawValue(t, depth-1, json)); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// What is written reads back as the same calls, with the same types.
func TestWrittenReadsBack(t *testing.T) {
	name := rapid.StringMatching(`[a-zA-Z_][a-z0-9_]{0,5}(\.[a-z_][a-z0-9]{0,3})?`)
	rapid.Check(t, func(t *rapid.T) {
		asJSON := rapid.Bool().Draw(t, "json")
		calls := []Call{}
		for range rapid.IntRange(0, 3).Draw(t, "calls") {
			c := Call{Name: name.Draw(t, "name"), Args: &Dict{}}
			for range rapid.IntRange(0, 3).Draw(t, "args") {
				c.Args.put(rapid.StringMatching(`[a-z_][a-z0-9_]{0,5}`).Draw(t, "arg"), drawValue(t, 3, asJSON))
			}
			calls = append(calls, c)
		}
		text := Python(calls)
		if asJSON {
			parts := make([]string, len(calls))
			for i, c := range calls {
				var err error
				if parts[i], err = c.JSON(); err != nil {
					t.Fatal(err)
				}
			}
			text = "[" + strings.Join(parts, ", ") + "]"
		}
		back, err := Parse(text)
		if err != nil || Python(back) != Python(calls) || !Equal(decoded(back), decoded(calls)) {
			t.Fatalf("%s\nreads back as %s (%v)", text, Python(back), err)
		}
		if s := Match(calls, back); !s.Strict || s.Graded != 1 || s.Right != s.Values {
			t.Fatalf("%s does not match itself: %+v", text, s)
		}
		if r := Rate(calls, Python(calls)); r != Excellent {
			t.Fatalf("%s is rated %s against itself", Python(calls), r)
		}
	})
}

func TestEqual(t *testing.T) {
	for _, c := range []struct {
		a, b        Value
		equal, same bool
	}{
		{int64(1), 1.0, true, true},
		{int64(1), true, true, false},
		{false, 0.0, true, false},
		{1e20, whole(new(big.Int).Exp(big.NewInt(10), big.NewInt(20), nil)), true, true},
		{"a B.", "ab", false, true},
		{"it's", `it"s`, false, true},
		{List{int64(1)}, Tuple{1.0}, false, true},
		{List{"A"}, List{"a"}, false, true},
		{NewDict("a", int64(1), "b", "X"), NewDict("b", "x", "a", 1.0), false, true},
		{NewDict("a", int64(1)), NewDict("b", int64(1)), false, false},
		{nil, nil, true, true},
		{nil, "", false, false},
		{"1", int64(1), false, false},
		{List{}, "", false, false},
	} {
		for _, swap := range []bool{false, true} {
			a, b := c.a, c.b
			if swap {
				a, b = b, a
			}
			if Equal(a, b) != c.equal || Same(a, b) != c.same {
				t.Errorf("%s and %s: equal %t, same %t", Repr(a), Repr(b), Equal(a, b), Same(a, b))
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"[f(a=1, b=[..])]", "f(a=-1.5e3, b='x\\n', c={'k': (1,)})", `{"name": "f", "arguments": {"a": [1, {"b": null}]}}`,
		"<tool_call>{\"name\": \"f\"}</tool_call>", "```python\nf(a=2**9)\n```", "<think>x</think>[]", "f(a=r'\\', b=u\"\"\"x\"\"\")", "f(a=g(h(i(1))))", "f(a=0x_1)", "[f(", "\x00`\xff",
	} {
		f.Add(s)
	}
	gold := []Call{{Name: "f", Args: NewDict("a", int64(1))}}
	q := &Question{Category: "simple_python", Functions: List{NewDict("name", "f", "parameters", NewDict("properties", NewDict("a", NewDict("type", "integer"))))}, Answers: List{NewDict("f", NewDict("a", List{int64(1)}))}}
	f.Fuzz(func(t *testing.T, s string) {
		if got := strings.Join(Pieces(s), ""); got != s {
			t.Fatalf("%q in pieces is %q", s, got)
		}
		Rate(gold, s)
		calls, err := Parse(s)
		if err != nil {
			var e *SyntaxError
			if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(s) || e.Line < 1 || e.Column < 1 {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if _, err := q.JudgeCalls(calls); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if m := Match(gold, calls); !(m.Graded >= 0 && m.Graded <= 1) {
			t.Fatalf("%q: %+v", s, m)
		}
		for _, c := range calls {
			if _, err := c.JSON(); err != nil && !strings.Contains(err.Error(), "has no JSON") {
				t.Fatalf("%q: %v", s, err)
			}
		}
	})
}
