package jinja

import "testing"

// TestPython holds what jinja2 3.1.6 with markupsafe 3.0 renders in the environment of transformers; "" with raises: it raises.
func TestPython(t *testing.T) {
	const context = `{"t": "a<b", "big": 12345678901234567890, "neg": -98765432109876543210, "d": {"b": 1, "a": [2]}}`
	for _, c := range []struct {
		template, want string
		raises         bool
	}{
		// A text that is marked as safe escapes what is added to it.
		{"{{ '<i>'|safe + t + '</i>' }}", "<i>a&lt;b&lt;/i&gt;", false},
		{"{{ t + '<i>'|safe }}", "a&lt;b<i>", false},
		{"{{ '<i>'|safe ~ t }}", "<i>a<b", false},
		{"{{ t|e|e }}|{{ t|e|forceescape }}|{{ t|e|upper }}|{{ t|e|replace('l', '<') }}", "a&lt;b|a&amp;lt;b|A&LT;B|a&<t;b", false},
		{"{{ ('%s-%s'|safe) % (t, 1) }}|{{ '%s'|safe|format(t) }}", "a&lt;b-1|a&lt;b", false},
		{"{{ ('-'|safe).join([t, 'x']) }}|{{ ('a-b'|safe).split('-')[0] + t }}|{{ ('{}'|safe).format(t) }}", "a&lt;b-x|aa&lt;b|a&lt;b", false},
		{"{{ ('x'|safe).replace('x', t) }}|{{ ('ab'|safe)[0] + t }}|{{ ('ab'|safe)[1:] + t }}|{{ ('<'|safe) * 2 + t }}", "a&lt;b|aa&lt;b|ba&lt;b|<<a&lt;b", false},
		{"{{ t|safe == t }}{{ 'a' in t|safe }}{{ t|safe is string }}{{ t|safe is escaped }}{{ t is escaped }}{{ (t|safe)|length }}", "TrueTrueTrueTrueFalse3", false},
		{"{{ [t|safe] }}{{ t|safe|tojson }}{{ {t|safe: 1}[t] }}", `[Markup('a<b')]"a<b"1`, false},
		{"{% set x = ''|safe %}{{ 'no' if not x }}{{ x + 1 }}", "", true},
		// Integers beyond 64 bits.
		{"{{ big }}|{{ [neg] }}|{{ big|tojson }}|{{ {big: 1}[big] }}|{{ big == big }}|{{ big > 1 }}|{{ neg < 0.5 }}|{{ big is integer }}|{{ big|int }}|{{ big|string|length }}",
			"12345678901234567890|[-98765432109876543210]|12345678901234567890|1|True|True|True|True|12345678901234567890|20", false},
		{"{{ 100000000000000000000 }}|{{ '100000000000000000000'|int }}|{{ 1e20|int }}|{{ [big, 1, neg]|sort }}", "100000000000000000000|100000000000000000000|100000000000000000000|[-98765432109876543210, 1, 12345678901234567890]", false},
		// Ranges and views are no lists.
		{"{{ range(3) }}|{{ range(1, 9, 2) }}|{{ range(3)|list }}|{{ range(3) == [0, 1, 2] }}|{{ range(5)[1] }}", "range(0, 3)|range(1, 9, 2)|[0, 1, 2]|False|1", false},
		{"{{ range(3)|tojson }}", "", true},
		{"{{ range(2) + [1] }}", "", true},
		{"{{ d.items() }}|{{ d.keys() }}|{{ d.values() }}", "dict_items([('b', 1), ('a', [2])])|dict_keys(['b', 'a'])|dict_values([1, [2]])", false},
		// The rest.
		{"{% set n = namespace(a=1) %}{{ n['a'] }}", "1", false},
		{"{{ '0x1f'|int(0, 16) }}|{{ '-0b11'|int(base=2) }}|{{ '0x1f'|int }}", "31|-3|0", false},
		{"{{ 'straße'|upper }}|{{ 'ﬁn'.upper() }}", "STRASSE|FIN", false},
		{"{{ d|urlencode }}|{{ [['a b', 'c/d']]|urlencode }}|{{ 'a b/c'|urlencode }}", "b=1&a=%5B2%5D|a+b=c%2Fd|a%20b/c", false},
		{"{{ 'hello'.startswith('l', 2) }}{{ 'hello'.endswith('l', 0, -1) }}{{ 'hello'.find('l', 3) }}{{ 'hello'.count('l', 3) }}{{ 'é-é'.rfind('é', 1) }}{{ 'a'.find('', 5) }}", "TrueTrue312-1", false},
		{"{{ '{} {0}'.format(1, 2) }}", "", true},
		{"{{ (-0.0)|round(1, 'floor') }}|{{ 1e100.is_integer() }}", "0.0|True", false},
	} {
		got, err := render(c.template, []byte(context))
		if c.raises != (err != nil) || err == nil && got != c.want {
			t.Errorf("%s:\n got %q, %v\nwant %q", c.template, got, err, c.want)
		}
	}
}
