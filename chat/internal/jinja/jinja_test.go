package jinja

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2025, 7, 10, 12, 0, 0, 0, time.UTC)

func render(template string, context []byte) (string, error) {
	tpl, err := Parse(template)
	if err != nil {
		return "", err
	}
	v, err := FromJSON(context)
	if err != nil {
		return "", err
	}
	res, err := tpl.Render(v.(*Dict).Strings(), noon)
	return res.Text, err
}

func TestLimits(t *testing.T) {
	for _, c := range []struct{ template, err string }{
		{"{{ 'a' * 100000000000 }}", "OverflowError"},
		{"{{ range(10000000) }}", "OverflowError"},
		{"{% set ns = namespace(s='ab') %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", "OverflowError"},
		{"{% set ns = namespace(s=[1]) %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", "OverflowError"},
		{"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"},
		{"{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "without end"},
		{"{{ " + strings.Repeat("(", 10000) + "1" + strings.Repeat(")", 10000) + " }}", "deep"},
		{strings.Repeat("{% if 1 %}", 10000), "deep"},
		{"{{ " + strings.Repeat("not ", 10000) + "1 }}", "deep"},
		{"{{ 9223372036854775807 + 1 }}", "OverflowError"},
		{"a\n\n{{ x.y.z }}", "line 3: UndefinedError: 'x' is undefined"},
		{"a\n{% if %}{% endif %}", "line 2"},
		{"{{ messages.append(1) }}", "SecurityError"},
		{"{{ 1 | nofilter }}", "No filter named"},
		{"{{ 1 is notest }}", "No test named"},
		{"{% include 'x' %}", `unknown tag "include"`},
		{"{{ 1 / 0 }}", "ZeroDivisionError"},
	} {
		got, err := render(c.template, []byte(`{"messages":[]}`))
		if err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%.60q: %.60q, %v; want an error with %q", c.template, got, err, c.err)
		}
	}
}

// TestAgainstPython holds random templates against what Python rendered from them.
func TestAgainstPython(t *testing.T) {
	raw, err := os.ReadFile("testdata/python.json")
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Context json.RawMessage
		Cases   [][2]*string // template, text; null: Python raises
	}
	if err := json.Unmarshal(raw, &f); err != nil || len(f.Cases) < 200 {
		t.Fatalf("%d cases, %v", len(f.Cases), err)
	}
	for _, c := range f.Cases {
		got, err := render(*c[0], f.Context)
		switch want := c[1]; {
		case want == nil && err == nil:
			t.Errorf("%q: %q where Python raises", *c[0], got)
		case want != nil && (err != nil || got != *want):
			t.Errorf("%q:\n got %q, %v\nwant %q", *c[0], got, err, *want)
		}
	}
}
