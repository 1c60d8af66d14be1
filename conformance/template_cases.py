"""Chat templates and single features of Jinja, rendered by jinja2 in the environment of transformers.

    python conformance/template_cases.py OUT SHARED FOLDER_OF_TEMPLATES [...]

The folders hold published templates (*.jinja), such as those in the packages trl, axolotl and llama-cpp-python; without one only the
features are tested.
"""
import copy
import datetime
import glob
import json
import os
import sys

from transformers.utils import chat_template_utils

from common import Cases

NOW = datetime.datetime(2025, 7, 10, 12, 0)


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather <now> & \"later\" in a city's centre.\nTwo lines.", "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "The city, e.g. Zürich 'old'"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"}, "days": {"type": "integer", "minimum": 1},
        "where": {"type": "object", "properties": {"lat": {"type": "number"}, "lon": {"type": "number", "nullable": True}}, "required": ["lat"]},
        "tags": {"type": "array", "items": {"type": "string"}}, "any": {"anyOf": [{"type": "string"}, {"type": "null"}]}, "more": {"type": ["string", "null"]}}, "required": ["city"]},
        "return": {"type": "string", "description": "text"}}},
    {"type": "function", "function": {"name": "nothing", "description": "", "parameters": {"type": "object", "properties": {}}}},
]
ARGS = {"city": "Zürich \"x\" <b>&", "days": 3, "where": {"lat": 47.0, "lon": -8.5e-7}, "tags": ["a", "b'c"], "flag": True, "none": None, "big": 12345678901234567890}


def call(name, args, id="call_1"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": args}}


def contexts():
    base = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "tools": None, "documents": None}
    user, answer = {"role": "user", "content": " What's up? <x> & \"y\"\n"}, {"role": "assistant", "content": "Fine, thanks.\n"}
    system = {"role": "system", "content": "Be brief."}
    think = {"role": "assistant", "content": "<think>\nhm, 1 < 2\n</think>\n\nYes."}
    reasoned = {"role": "assistant", "content": "Yes.", "reasoning_content": "It\nis so."}
    parts = {"role": "user", "content": [{"type": "text", "text": "Look: "}, {"type": "text", "text": "here."}]}
    image = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}
    tool = {"role": "tool", "content": "{\"t\": 21.5}", "name": "get_weather", "tool_call_id": "call_1"}
    out = {
        "user": [user],
        "turns": [user, answer, user],
        "system": [system, user, answer, {"role": "user", "content": "And now?"}],
        "developer": [{"role": "developer", "content": "Only verse."}, user],
        "think": [user, think, {"role": "user", "content": "Sure?"}, reasoned, user],
        "think-last": [system, user, reasoned],
        "parts": [system, parts, {"role": "assistant", "content": [{"type": "text", "text": "Ok."}]}, user],
        "image": [image],
        "empty": [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}],
        "no-messages": [],
        "assistant-first": [answer, user],
        "two-users": [user, user],
        "call": [user, {"role": "assistant", "content": "", "tool_calls": [call("get_weather", ARGS)]}, tool, {"role": "assistant", "content": "21.5 degrees."}, user],
        "call-text": [user, {"role": "assistant", "content": "Let me look.", "tool_calls": [call("get_weather", json.dumps(ARGS))]}, tool],
        "call-null": [system, user, {"role": "assistant", "content": None, "tool_calls": [call("get_weather", ARGS), call("nothing", {}, "call_2")]}, tool, {**tool, "tool_call_id": "call_2", "name": "nothing", "content": "ok"}],
        "call-missing-content": [user, {"role": "assistant", "tool_calls": [call("nothing", {}, "abcdefghi")]}, {**tool, "tool_call_id": "abcdefghi"}, user],
        "call-mistral": [user, {"role": "assistant", "content": "", "tool_calls": [call("get_weather", ARGS, "a1b2c3d4e")]}, {**tool, "tool_call_id": "a1b2c3d4e"}, answer],
        "call-plain": [user, {"role": "assistant", "content": "", "tool_calls": [{"name": "get_weather", "arguments": {"city": "Bern"}}]}, tool],
        "call-think": [user, {"role": "assistant", "content": "", "reasoning_content": "I need a tool.", "tool_calls": [call("get_weather", {"city": "Bern"})]}, tool, reasoned, user],
        "call-thinking-key": [user, {"role": "assistant", "content": "So.", "thinking": "Deep.", "tool_calls": [call("get_weather", {"city": "Bern"})]}, tool],
        "tool-json": [user, {"role": "assistant", "content": "", "tool_calls": [call("get_weather", {"city": "Bern"})]}, {**tool, "content": {"t": 21.5, "ok": True}}],
        "tool-list": [user, {"role": "assistant", "content": "", "tool_calls": [call("get_weather", {"city": "Bern"})]}, {**tool, "content": [{"type": "text", "text": "21"}]}],
        "unknown-role": [{"role": "critic", "content": "Hm."}],
        "number": [{"role": "user", "content": 5}],
        "unicode": [{"role": "user", "content": "日本語 \u00a0 👍🏽 e\u0301 \u2028 \t|"}, {"role": "assistant", "content": "</think> tricky {{ x }} {% y %}"}, user],
    }
    for name, messages in out.items():
        more = [{"add_generation_prompt": True}, {"add_generation_prompt": False}]
        if "call" in name or name in ("system", "user", "turns", "tool-json", "tool-list", "parts"):
            more += [{"add_generation_prompt": True, "tools": TOOLS}]
        if name in ("user", "think", "system", "call"):
            more += [{"add_generation_prompt": True, "enable_thinking": t} for t in (True, False)]
            more += [{"add_generation_prompt": True, "tools": TOOLS, "documents": [{"title": "T", "text": "Some \"text\".", "contents": "x", "doc_id": 1}], "reasoning_effort": "high", "thinking": True, "date_string": "1 Jan 2025", "xml_tools": None, "python_tools": [], "builtin_tools": ["web"], "keep_past_thinking": True, "preserve_thinking": True, "model_identity": "I am.", "controls": {"length": "short"}, "citation_options": "off", "custom_system_prompt": "C"}]
        for k, m in enumerate(more):
            yield f"{name}/{k}", {**base, "messages": messages, **m}


VALUES = ["5", "-3", "0", "2.5", "1e100", "-0.0", "'a b'", "''", "'Él<&>\"'", "'abc'", "' x '", "'12'", "'-7.5'", "true", "false", "none", "[]", "[3, 1, 2]", "['b', 'A', 'c']", "[1, 'a', none, 2.0]", "{}", "{'b': 1, 'a': [2]}",
          "[{'n': 2, 'g': 'x'}, {'n': 1, 'g': 'y'}, {'n': 3, 'g': 'x'}]", "(1, 2)", "undefined_thing", "range(4)", "'a,b,,c'", "[[1, 2], [3]]", "10**20", "'ẞß ŉ Ω'", "dict(a=1)", "messages", "'line one\\nline two\\n\\n'"]
FILTERS = """abs attr('n') batch(2) batch(2,'-') capitalize center(9) default('d') default('d',true) d dictsort dictsort(false,'value') dictsort(reverse=true) escape e filesizeformat filesizeformat(true) first float float(1.5)
    forceescape format format(1) groupby('g') groupby('g',default='q') indent indent(2,true) indent('>>') indent(width=3,blank=true) int int(7) int(0,16) items join join('-') join(',','n') join(attribute='n') last length count list lower map('upper')
    map(attribute='n') map(attribute='n',default=9) max max(attribute='n') max(case_sensitive=true) min pprint random reject('odd') rejectattr('n') rejectattr('n','eq',1) replace('a','b') replace('a','b',1) reverse round round(1) round(1,'floor') round(0,'ceil') safe select
    select('number') selectattr('n') selectattr('n','gt',1) slice(2) slice(2,'-') sort sort(true) sort(attribute='n') sort(attribute='g,n') sort(case_sensitive=true) string striptags sum sum(attribute='n') sum(start=5) title tojson tojson(indent=2) trim trim('ax ') truncate(3) truncate(3,true)
    truncate(5,true,'.',0) unique unique(attribute='g') unique(case_sensitive=true) upper urlencode urlize wordcount wordwrap(4) wordwrap(3,false) xmlattr nosuchfilter map('int')|list select|list map('length')|list reverse|list batch(2)|list slice(3)|list unique|list items|list dictsort|list groupby('g')|list map('default','z')|list selectattr('n','defined')|list""".split()
TESTS = "boolean callable defined divisibleby(2) eq(5) equalto('abc') escaped even false filter float ge(2) gt(2) greaterthan(2) in([1,5,'a']) integer iterable le(2) lower lt(2) lessthan(2) mapping ne(5) none number odd sameas(none) sequence string test true undefined upper nosuchtest".split()
METHODS = """upper() lower() strip() strip('a') lstrip() rstrip() lstrip(' x') split() split(',') split(' ',1) split('b',maxsplit=1) rsplit(',',1) splitlines() splitlines(true) startswith('a') startswith(('x','a')) endswith('c') endswith('c',1) find('b') rfind('b') index('b') count('b') count('') replace('b','X') replace('b','X',1)
    title() capitalize() swapcase() isdigit() isalpha() isalnum() isspace() isupper() islower() isnumeric() isdecimal() isidentifier() istitle() join(['x','y']) zfill(6) center(8,'*') ljust(6) rjust(6,'.') partition('b') rpartition('b') removeprefix('a') removesuffix('c') format(1,2) encode() casefold() expandtabs(4)
    items() keys() values() get('a') get('q') get('q',9) items()|list keys()|list copy() pop() append(4) extend([1]) insert(0,9) update({'z':1}) setdefault('k',2) index(1) count(1) sort() reverse() clear() a b n 0 length nosuch nosuch() __class__ is_integer() bit_length() lower""".split()
EXPRS = r"""
1+2*3-4/5 | 7//2 | -7//2 | 7%3 | -7%3 | 7.5%2 | -7.5//2 | 2**10 | 2**-1 | 2**0.5 | -2**2 | 1/0 | 5//0 | 1 ~ 2 | 'a' ~ none ~ true ~ 1.0 | 'a'*3 | 3*'ab' | [1]*3 | [1]+[2] | 'a'+'b' | 'a'+1 | 1+'a' | [1]+(2,) | 1 == 1.0 | '1' == 1 | true == 1 | none == false | 1 < 2 < 3 | 3 > 2 > 2 | 'a' < 'b' | 'a' < 1
| [1,2] < [1,3] | 1 in [1] | 'a' in 'abc' | 'a' not in {'a':1} | 1 in {'a':1} | 1 in 'abc' | not 1 | not '' and 1 | 0 or 'x' | '' and 1 | none or [] | 1 if 0 | 1 if 0 else 2 | (1 if 1) ~ 'x' | 'a' if undefined_thing else 'b' | undefined_thing.x | undefined_thing.x.y | undefined_thing['x'] | undefined_thing() | undefined_thing is defined
| messages[0].role | messages[0]['nothing'] | messages[9] | messages[-1].content | messages[1:] | messages[::-1][0].role | messages[:1] | 'hello'[1] | 'hello'[-1] | 'hello'[1:3] | 'hello'[::-1] | 'hello'[::2] | 'hello'[10] | 'hello'[10:] | [1,2,3][1:] | [1,2,3][-2:] | (1,2,3)[1] | {'a':1}.a | {'a':1}['b'] | {'a':1}.items | {'items':1}.items | {'items':1}['items']
| {'a': 1, 'b': {'c': [1, 2.0, none, true, 'x']}} | [1, 2.5, 'a', none, true, [], {}, ()] | (1,) | () | 'it''s' | 'it\'s' | "say \"hi\"" | 'a\nb\tc\\' | ['a\nb', "it's", 'q"q', 'b\\c', '\x00', 'é', '\u2028'] | 1e16 | 1e15 | 123456789.123 | 1e-5 | 0.0001 | 1.0 | 1.5e300 | 100000000000000000000 | 0.1+0.2 | 1_000 | 0x1F | 0b11 | 0o17 | 1.e3 | 5.0|int | '5'|int + 1 | '0x1f'|int(0,16) | 'ff'|int(base=16)
| true | True | none | None | false ~ False | none ~ '' | [none, true] | loop | self | namespace(a=1).a | namespace(a=1) is mapping | range(5)|list | range(2,10,3)|list | range(5,0,-2)|list | range(3) | range(3)[1] | range(10)|length | dict(a=1,b=2) | dict([('a',1)]) | cycler('a','b').next() | joiner(', ')() | lipsum is callable | strftime_now('%Y-%m-%d %H:%M:%S %j %A %B %p %I %y %a %b %e %-d %%') | raise_exception('no') | raise_exception()
| 'a'|upper~'b' | ('a'~'b')|upper | -1|abs | (-1)|abs | 1|string|length | 'a b'|title|replace(' ','_') | [1,2]|map('string')|join('+') | messages|map(attribute='role')|join(',') | messages|selectattr('role','equalto','user')|list|length | messages|selectattr('role','in',['user','tool'])|map(attribute='role')|list | messages|rejectattr('role','==','user')|list|count | messages|groupby('role')|length | messages|first is mapping | messages|last|tojson | messages|tojson(indent=1)|length
| 'a' is string and 1 is number | 1 is not none | 1 is odd is true | x is defined or true | 'abc' is in 'abcdef' | 3 is divisibleby 3 | 3 is divisibleby(2) | 'A' is upper | [] is sequence | 'a' is iterable | {} is mapping | 1 is eq 1 | 1 is gt(0) | none is none | undefined_thing is none | undefined_thing is undefined | undefined_thing|default('x') | none|default('x') | none|default('x',true) | ''|default('x',true) | undefined_thing|length | undefined_thing|list | undefined_thing|tojson | undefined_thing + 1 | undefined_thing == undefined_thing | undefined_thing ~ 'a' | not undefined_thing
| '%s and %d' % ('a', 3) | '%05.2f|%-5s|%x|%r' % (3.14159, 'a', 255, 'q') | '%s' % [1] | '%(a)s' % {'a': 1} | '{} {1}'.format(1, 2) | '{0} {1} {0}'.format('a', 'b') | '{:>5}|{:<5}|{:^5}|{:05d}|{:.2f}|{:,}'.format('a', 'b', 'c', 42, 3.14159, 1234567) | '{a}'.format(a=1) | '{0[a]} {0.a}'.format({'a': 1}) | 'x'.join(['a', 'b']) | 'x'.join([1]) | ','.join(messages|map(attribute='role')) | 'abc'.upper | 'abc'.upper().lower() | {'a': 1}.get('b', {}).get('c') | {'a': {'b': 2}}['a']['b'] | {1: 'a'}[1] | {true: 'a'}[1] | {'a': 1, 'a': 2} | {'a': 1} == {'a': 1.0}
| 5 is integer | 5.0 is integer | true is integer | true is number | true is boolean | 5 is float | '5' is number | 1 is sameas 1 | true is sameas true | 'a' is sameas 'a' | [1] is sameas [1] | (1, 2) is sequence | range(3) is iterable | messages[0].keys()|list | messages[0].items()|list | messages[0]|items|list | messages[0]|dictsort | messages[0]|length | messages[0] | messages[0].content | messages[0].content|trim|tojson | messages[0].content.strip().split(' ')[-1] | messages|length > 1 and messages[1].role == 'assistant' | 'a' in messages[0] | 'role' in messages[0] | 'role' in messages[0].keys()
| 3.0 | 3.10 | 1e3 | 12345678901234567890 | 1.7976931348623157e308*10 | 0.1|round(20) | 2.675|round(2) | 2.5|round | 3.5|round | -2.5|round|int | 1234.5|round(-2) | 10|round(1) | 7|float | '7.50'|float | 'x'|float | 'x'|int | none|int | 3.99|int | '3.99'|int | ' 12 '|int | true|int | 1e3|int | 9007199254740993 | 9007199254740993/1 | 10**30 | (10**30)|string|length | -5 // 2 | -5 % 3 | 5 % -3 | 5.5 // -2 | 1 // 0.3 | 1 % 0.1
""".replace("\n", " ").split(" | ")
BLOCKS = [
    "{% for m in messages %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.previtem.role if loop.previtem is defined }}{{ loop.nextitem.role if loop.nextitem is defined }}{{ loop.cycle('a','b') }}{{ loop.changed(m.role) }};{% endfor %}",
    "{% for k, v in messages[0].items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in messages[0] %}{{ k }}{% endfor %}", "{% for x in [] %}a{% else %}none{% endfor %}", "{% for x in [1,2,3] if x != 2 %}{{ loop.index }}{{ x }}{% else %}n{% endfor %}",
    "{% for x in [1,2,3,4] %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 4 %}{% break %}{% endif %}{{ x }}{% endfor %}", "{% for a, b in [(1,2),(3,4)] %}{{ a+b }},{% endfor %}", "{% for a, b in [(1,2,3)] %}{{ a }}{% endfor %}", "{% for c in 'abc' %}{{ c }}-{% endfor %}", "{% for x in undefined_thing %}a{% endfor %}", "{% for x in none %}a{% endfor %}", "{% for x in 5 %}a{% endfor %}",
    "{% for x in [[1,[2]],[3]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}", "{% set x = 1 %}{% for i in [1,2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}", "{% set ns = namespace(x=1) %}{% for i in [1,2] %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}{{ ns.y }}", "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}{{ ns['b'] }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set x %}he{{ 1 }}llo{% endset %}{{ x|upper }}{{ x is string }}", "{% set x | upper %}ab{% endset %}{{ x }}", "{% set x = [] %}{% set _ = x.append(1) %}{{ x }}{{ x.append(2) }}{{ x }}", "{% set d = {} %}{% set _ = d.update({'a': 1}) %}{{ d }}", "{% set d.a = 1 %}{{ d }}",
    "{% if 1 %}a{% elif 2 %}b{% else %}c{% endif %}", "{% if x is not defined %}u{% endif %}", "{% if messages and messages[0].role == 'user' %}y{% endif %}", "{%- if true -%}  a  {%- endif -%}  b", "  {% if true %}\n  a\n  {% endif %}\nb\n", "a {#- c -#} b", "{#\nlong\n#}\nx", "  {%+ if true +%}\n a {% endif %}", "a\n{{- 'b' -}}\n c", "{{ 'a' }}\n{{ 'b' }}\n\n", "{% raw %}{{ x }}{% endraw %}", "{%- raw -%} {% x %} {%- endraw -%} y",
    "{% macro m(a, b=2, *args, **kw) %}{{ a }}{{ b }}{{ args }}{{ kw }}{{ varargs }}{% endmacro %}{{ m(1) }}", "{% macro m(a, b=2) %}[{{ a }}{{ b }}{{ varargs }}{{ kwargs }}]{% endmacro %}{{ m(1) }}{{ m(1, 3, 4, 5) }}{{ m(b=1, a=0, c=9) }}{{ m() }}{{ m.name }}{{ m.arguments }}", "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(3) }}", "{% macro w() %}<{{ caller() }}>{% endmacro %}{% call w() %}in{% endcall %}", "{% macro w() %}<{{ caller(1) }}>{% endmacro %}{% call(x) w() %}in{{ x }}{% endcall %}", "{% macro m() %}{{ messages[0].role }}{{ q }}{% endmacro %}{% set q = 5 %}{{ m() }}", "{% macro m(x) %}a{% endmacro %}{{ m(1)|upper }}{{ m(1) ~ 'b' }}{{ m(1) is string }}", "{% macro m() -%}\n  a\n{%- endmacro %}{{ m()|length }}",
    "{% filter upper|replace('A','x') %}abc{% endfilter %}", "{% with a=1, b=2 %}{{ a+b }}{% endwith %}{{ a }}", "{% block b %}x{% endblock %}", "{% generation %}a{{ 1 }}{% endgeneration %}b", "{% include 'x' %}", "{% import 'x' as y %}", "{% extends 'x' %}", "{% do x.append(1) %}", "{% autoescape true %}{{ '<' }}{% endautoescape %}", "{% nosuch %}", "{% if %}", "{% for x in [1] %}", "{{ x", "{{ 'a }}", "{% endif %}", "{{ 1 +}}", "{{ a b }}", "{{ [1, 2 }}", "{{ }}", "{{ {'a' 1} }}", "{{ (1 }}", "{{ a..b }}", "{{ 'a'.b.c }}", "{{ not }}",
    "{{ caller }}", "{{ loop.index }}", "{% for i in range(3) %}{% for j in range(2) %}{{ loop.index }}{{ i }}{{ j }} {% endfor %}{{ loop.index }}{% endfor %}", "{% for i in range(3) %}{% set outer = loop %}{% for j in range(2) %}{{ outer.index }}{% endfor %}{% endfor %}", "{% for m in messages|selectattr('role','equalto','user') %}{{ loop.length }}{{ loop.last }}{% endfor %}", "{% for i in range(1000000) %}{% if i > 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{{ messages|map('tojson')|join('|') }}", "{% for g, items in messages|groupby('role') %}{{ g }}:{{ items|length }};{% endfor %}", "{% for g in [{'a':1,'b':2},{'a':1,'b':3}]|groupby('a') %}{{ g.grouper }}{{ g.list }}{{ g[0] }}{% endfor %}",
    "{{ '<b>'|e }}{{ '<b>'|safe }}{{ ('<b>'|e) ~ '<' }}{{ '<'|e|e }}{{ '<'|escape|length }}", "{{ [1,2,3]|sum }}{{ [[1],[2]]|sum(start=[]) }}", "{{ 'x' if messages[0].content is string else 'y' }}", "{%- set s = 'a' -%}{%- if s -%}\n  {{- s }}\n{%- endif %}", "\n{{ 1 }}\n", "{{ 1 }}\n\n", "a\r\nb\r\n", "{{ '\\r\\n' }}x", "{% set x = 'a\nb' %}{{ x }}", "\t{% if true %}x{% endif %}\n\t{# c #}\n\ty", "x {% if true %} y {% endif %} z", "{% if true %}\n\n a{% endif %}\n\n\nb", "{{- '\n' -}}", "{%- for x in [1,2] %}\n  {{ x }}\n{%- endfor %}\n",
    "{{ messages[0].content[:3] + '...' }}", "{{ messages[0]['content'].split('\n')[0] }}", "{{ ''.join(['a','b']) }}", "{{ {'a': messages[0].role}.items()|list }}", "{{ (messages|first).role }}", "{{ messages.0.role }}", "{{ messages[0]|attr('role') }}", "{% set content = messages[0].content if messages[0].content is string else '' %}{{ content|trim }}", "{{ [messages[0].role, 'b']|join(': ') }}", "{{ 'a' 'b' }}", "{{ 1, 2 }}", "{{ (1, 2)|tojson }}", "{{ ['é', '\\u00e9', 'a/b', '</script>', \"'\"]|tojson }}", "{{ {'z': 1, 'a': 1.0, 'n': none, 't': true, 'l': [], 'd': {}}|tojson }}", "{{ {'z': 1, 'a': [1, {'q': 2}], 'l': [], 'd': {}}|tojson(indent=4) }}", "{{ {'b': 1, 'a': 2}|tojson(sort_keys=true) }}", "{{ [1, 2]|tojson(separators=(',', ':')) }}", "{{ 'é'|tojson(ensure_ascii=true) }}", "{{ {1: 2, none: 3, true: 4, 1.5: 5}|tojson }}", "{{ 1e400 }}{{ 1e400|tojson }}", "{{ range(3)|tojson }}", "{{ messages[0].content|tojson|tojson }}", "{{ {'a': 1}|string }}{{ [1]|string }}{{ none|string }}", "{{ '\\x41\\u0042\\101\\N{DIGIT ONE}' }}", "{{ \"a'b\" ~ 'c\"d' }}", "{{ ['a', \"b'c\", 'd\"e', 'f\\'g\"h'] }}",
]


def render(env_cache, template, context):
    try:
        compiled = env_cache.get(template)
        if compiled is None:
            compiled = env_cache[template] = chat_template_utils._compile_jinja_template(template)
        return {"text": compiled.render(**copy.deepcopy(context))}
    except Exception as e:
        return {"error": f"{type(e).__name__}: {e}"}


def main(out, shared, *folders):
    chat_template_utils.datetime = Clock
    cache, now = {}, "2025-07-10T12:00:00"
    golden = json.load(open(os.path.join(shared, "data/chat_templates/golden_trl.json")))
    every = list(contexts()) + [("golden/" + k, {**v, "add_generation_prompt": True}) for k, v in golden["contexts"].items()]
    for folder in folders:
        for path in sorted(glob.glob(os.path.join(folder, "*.jinja"))):
            name = os.path.basename(path)[:-6]
            source = open(path, encoding="utf-8").read()
            c = Cases(out, f"template-{os.path.basename(os.path.dirname(os.path.abspath(path)))}-{name}")
            for note, context in every:
                c.add(["render"], {"template": source, "context": context, "now": now}, render(cache, source, context), note=note)
            c.close()
    context = next(contexts())[1]
    context["messages"] = [{"role": "user", "content": " Hi there "}, {"role": "assistant", "content": "Yo"}, {"role": "user", "content": "Bye"}]
    groups = {
        "filters": [f"{{{{ ({v})|{f} }}}}" for f in FILTERS if f != "random" for v in VALUES],
        "tests": [f"{{{{ ({v}) is {t} }}}}" for t in TESTS for v in VALUES],
        "methods": [f"{{{{ ({v}).{m} }}}}" for m in METHODS for v in VALUES],
        "operators": [f"{{{{ ({a}) {op} ({b}) }}}}" for op in ("+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", ">=", "in", "and", "or") for a in VALUES[:24] for b in VALUES[:24] if not (op == "*" and "10**20" in a + b)],
        "expressions": [f"{{{{ {e.strip()} }}}}" for e in EXPRS],
        "blocks": BLOCKS,
    }
    for name, list_ in groups.items():
        c = Cases(out, "jinja-" + name)
        for template in list_:
            want = render({}, template, context)
            if " at 0x" in want.get("text", ""):  # an address of Python's
                continue
            c.add(["render"], {"template": template, "context": context, "now": now}, want)
        c.close()


main(*sys.argv[1:])
