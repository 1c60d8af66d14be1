package chat

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/hone-lm/hone/token"
)

func TestEnvironment(t *testing.T) {
	for _, c := range []struct{ template, want string }{
		{"a\n", "a"},
		{"a\r\nb", "a\nb"},
		{"{{ 'it\\'s' ' b' }}", "it's b"},
		{"{{{'a': {'b': 1}}['a']['b']}}", "1"},
		{"{% raw %}{{ x | tojson }}{% endraw %}!", "{{ x | tojson }}!"},
		{"{# x | tojson }} #}{{ d | tojson }}", `{"z": 1, "a": [1.0, 1e+16, null, true, "é<\n"]}`},
		{"{{ d.a | tojson(indent=2) }}", "[\n  1.0,\n  1e+16,\n  null,\n  true,\n  \"é<\\n\"\n]"},
		{"{{ d.a | tojson(ensure_ascii=true, separators=(',', ':')) }}", `[1.0,1e+16,null,true,"\u00e9<\n"]`},
		{"{{ {} | tojson(indent=2) }}{{ [] | tojson(indent=2) }}", "{}[]"},
		{"{{ d | tojson(sort_keys=true) }}", `{"a": [1.0, 1e+16, null, true, "é<\n"], "z": 1}`},
		{"{{ strftime_now('%d %b %Y') }}", "10 Jul 2025"},
		{"{% filter upper %}a{% endfilter %}{{ 'a|tojson' }}", "Aa|tojson"},
		{"{% for x in [1,2,3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "13"},
	} {
		got, err := RenderContext(c.template, []byte(`{"d": {"z": 1, "a": [1.0, 1e16, null, true, "é<\n"]}}`), now)
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v, want %q", c.template, got, err, c.want)
		}
	}
}

func TestRenderErrors(t *testing.T) {
	for _, c := range []struct{ template, context, want string }{
		{"{{ raise_exception('no tools here') }}", "{}", "no tools here"},
		{"{% if %}", "{}", "line 1: expected an expression"},
		{"a", "[1]", "must be a JSON object"},
		{"a", `{"a": 1} 2`, "more than one"},
		{"a", strings.Repeat("[", 10000), "nested more than"},
		{"{{ x | tojson }}", "{}", "Undefined is not JSON"},
	} {
		if _, err := RenderContext(c.template, []byte(c.context), now); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s over %.40s: got %v, want an error with %q", c.template, c.context, err, c.want)
		}
	}
}

func TestMessage(t *testing.T) {
	for _, c := range []struct {
		in, role, content string
		raw               bool
	}{
		{`{"role":"user","content":"a"}`, "user", "a", false},
		{`{"content":"a","role":"user"}`, "user", "a", false},
		{`{"role":"assistant","content":null,"tool_calls":[]}`, "assistant", "", true},
		{`{"role":"user","content":[{"type":"text","text":"a"}]}`, "user", "", true},
		{`{"role":"user","content":"a","name":"x"}`, "user", "a", true},
	} {
		var m Message
		if err := json.Unmarshal([]byte(c.in), &m); err != nil || m.Role != c.role || m.Content != c.content || (m.Raw != nil) != c.raw {
			t.Errorf("%s: got %+v, %v", c.in, m, err)
		}
		if out, err := json.Marshal(m); err != nil || c.raw && string(out) != c.in {
			t.Errorf("%s: written as %s, %v", c.in, out, err)
		}
	}
	for _, in := range []string{`{}`, `{"role":1,"content":"a"}`, `{"role":"","content":"a"}`, `[]`, `"a"`} {
		if err := json.Unmarshal([]byte(in), new(Message)); err == nil {
			t.Errorf("%s: no error", in)
		}
	}
}

func TestToolsAndContext(t *testing.T) {
	tmpl := template(t, "{{ eos_token }}{% if tools %}{{ tools[0].name }}{% else %}none{% endif %}{{ x }}", token.Bytes())
	got, err := tmpl.Render(nil, RenderOptions{Context: map[string]json.RawMessage{"x": json.RawMessage("3")}})
	if err != nil || got != "<|eos|>none3" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err = tmpl.Render(nil, RenderOptions{Tools: json.RawMessage(`[{"name":"f"}]`)}); err != nil || got != "<|eos|>f" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err = tmpl.Render(nil, RenderOptions{Tools: json.RawMessage(`[`)}); err == nil || !strings.Contains(err.Error(), "tools") {
		t.Errorf("%v", err)
	}
}

func FuzzRender(f *testing.F) {
	f.Add("{% for m in messages %}{{ m | tojson }}{% endfor %}", `{"messages":[{"a":1.5}]}`)
	f.Add("{% generation %}{{{'a':1}}}{% endgeneration %}", "{}")
	f.Fuzz(func(t *testing.T, template, context string) {
		_, _ = RenderContext(template, []byte(context), now) // must not panic
	})
}
