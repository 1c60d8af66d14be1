package jinja

import (
	"errors"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type filterFunc = func(r *run, v Value, args []Value, kw *Dict) (Value, error)

// named lists the parameters of a filter; f gets them in order, missing{} for what was not given.
func named(names string, f func(v Value, p []Value) (Value, error)) filterFunc {
	list := strings.Fields(names)
	return func(_ *run, v Value, args []Value, kw *Dict) (Value, error) {
		p, err := params("filter", args, kw, list...)
		if err != nil {
			return nil, err
		}
		return f(v, p)
	}
}

func textFilter(f func(s string) Value) filterFunc {
	return named("", func(v Value, _ []Value) (Value, error) { return f(str(v)), nil })
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;")

// filters are those of Jinja that chat templates may meet; the ones for web pages (urlize, xmlattr, filesizeformat ...) are left out.
var filters = map[string]filterFunc{
	"abs":         named("", absolute),
	"attr":        named("name", attrFilter),
	"batch":       named("linecount fill_with", batch),
	"capitalize":  textFilter(func(s string) Value { return capitalize(s) }),
	"center":      named("width", func(v Value, p []Value) (Value, error) { return pad(str(v), "center", p, nil) }),
	"count":       named("", lengthFilter),
	"d":           named("default_value boolean", defaultFilter),
	"default":     named("default_value boolean", defaultFilter),
	"dictsort":    named("case_sensitive by reverse", dictsort),
	"e":           textFilter(func(s string) Value { return Markup(escaper.Replace(s)) }),
	"escape":      textFilter(func(s string) Value { return Markup(escaper.Replace(s)) }),
	"first":       named("", first),
	"float":       named("default", floatFilter),
	"forceescape": textFilter(func(s string) Value { return Markup(escaper.Replace(s)) }),
	"format": func(_ *run, v Value, args []Value, kw *Dict) (Value, error) {
		if kw != nil {
			return percent(str(v), kw)
		}
		return percent(str(v), tuple(args...))
	},
	"groupby": named("attribute default case_sensitive", groupby),
	"indent":  named("width first blank", indent),
	"int":     named("default base", intFilter),
	"items":   named("", itemsFilter),
	"join":    named("d attribute", join),
	"last":    named("", last),
	"length":  named("", lengthFilter),
	"list": named("", func(v Value, _ []Value) (Value, error) {
		items, err := iterate(v)
		return list(slices.Clone(items)), err
	}),
	"lower": textFilter(func(s string) Value { return strings.ToLower(s) }),
	"map":   mapFilter,
	"max":   named("case_sensitive attribute", func(v Value, p []Value) (Value, error) { return extreme(v, p, 1) }),
	"min":   named("case_sensitive attribute", func(v Value, p []Value) (Value, error) { return extreme(v, p, -1) }),
	"reject": func(r *run, v Value, args []Value, kw *Dict) (Value, error) {
		return choose(r, v, args, kw, false, false)
	},
	"rejectattr": func(r *run, v Value, args []Value, kw *Dict) (Value, error) {
		return choose(r, v, args, kw, true, false)
	},
	"replace": named("old new count", replaceFilter),
	"reverse": named("", reverse),
	"round":   named("precision method", round),
	"safe":    textFilter(func(s string) Value { return Markup(s) }),
	"select": func(r *run, v Value, args []Value, kw *Dict) (Value, error) {
		return choose(r, v, args, kw, false, true)
	},
	"selectattr": func(r *run, v Value, args []Value, kw *Dict) (Value, error) {
		return choose(r, v, args, kw, true, true)
	},
	"slice":     named("slices fill_with", sliceFilter),
	"sort":      named("reverse case_sensitive attribute", sortFilter),
	"string":    textFilter(func(s string) Value { return s }),
	"sum":       named("attribute start", sum),
	"title":     textFilter(func(s string) Value { return titleFilter(s) }),
	"tojson":    named("ensure_ascii indent separators sort_keys", tojson),
	"trim":      named("chars", trim),
	"truncate":  named("length killwords end leeway", truncate),
	"unique":    named("case_sensitive attribute", unique),
	"upper":     textFilter(func(s string) Value { return upper(s) }),
	"urlencode": named("", urlencode),
	"wordcount": textFilter(func(s string) Value { return int64(len(fieldsOf(s))) }),
}

func fieldsOf(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsNumber(r) })
}

func flag(v Value, standard bool) bool {
	if !given(v) {
		return standard
	}
	return truthy(v)
}

func absolute(v Value, _ []Value) (Value, error) {
	if u, ok := v.(*Undefined); ok {
		return nil, u.err()
	}
	f, i, isInt, ok := number(v)
	switch {
	case !ok:
		return nil, typeError("bad operand type for abs(): '%s'", typeName(v))
	case isInt && i < 0:
		return -i, nil
	case isInt:
		return i, nil
	}
	return math.Abs(f), nil
}

func attrFilter(v Value, p []Value) (Value, error) {
	if u, ok := v.(*Undefined); ok {
		return nil, u.err()
	}
	id := str(p[0])
	if _, isDict := v.(*Dict); isDict && method(v, id) == nil {
		return undefined("'dict object' has no attribute '%s'", id), nil // |attr sees no keys
	}
	return getattr(v, id)
}

func lengthFilter(v Value, _ []Value) (Value, error) {
	n, err := length(v)
	return int64(n), err
}

func defaultFilter(v Value, p []Value) (Value, error) {
	_, isUndefined := v.(*Undefined)
	if !isUndefined && !(flag(p[1], false) && !truthy(v)) {
		return v, nil
	}
	if !given(p[0]) {
		return "", nil
	}
	return p[0], nil
}

func first(v Value, _ []Value) (Value, error) {
	items, err := iterate(v)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return undefined("No first item, sequence was empty."), nil
	}
	return items[0], nil
}

func last(v Value, _ []Value) (Value, error) {
	if g, ok := v.(*Generator); ok && g.view == "" {
		return nil, typeError("'generator' object is not reversible")
	}
	items, err := iterate(v)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return undefined("No last item, sequence was empty."), nil
	}
	return items[len(items)-1], nil
}

func intFilter(v Value, p []Value) (Value, error) {
	if u, ok := v.(*Undefined); ok {
		return nil, u.err()
	}
	standard := Value(int64(0))
	if given(p[0]) {
		standard = p[0]
	}
	base := 10
	if given(p[1]) {
		var err error
		if base, err = integer("int", p[1]); err != nil {
			return nil, err
		}
	}
	if isBig(v) {
		return v, nil
	}
	if s, ok := v.(string); ok {
		if n, ok := parseInt(strings.TrimFunc(s, isSpace), base); ok {
			return n, nil
		}
		f, err := strconv.ParseFloat(strings.TrimFunc(s, isSpace), 64)
		if err != nil {
			return standard, nil
		}
		v = f
	}
	f, i, isInt, ok := number(v)
	switch {
	case !ok || math.IsNaN(f) || math.IsInf(f, 0):
		return standard, nil
	case math.Abs(f) >= 1<<63:
		return bigFrom(f), nil
	case isInt:
		return i, nil
	}
	return int64(f), nil
}

// parseInt is Python's int(text, base); a prefix such as 0x may stand before the digits of its base.
func parseInt(s string, base int) (Value, bool) {
	s = strings.ReplaceAll(s, "_", "")
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, s = strings.TrimPrefix(s[:1], "+"), s[1:]
	}
	prefix := map[int]string{16: "0x", 8: "0o", 2: "0b"}[base]
	if prefix != "" && len(s) > 2 && strings.ToLower(s[:2]) == prefix {
		s = s[2:]
	}
	if n, err := strconv.ParseInt(sign+s, base, 64); err == nil {
		return n, true
	}
	if base != 10 || strings.Trim(s, "0123456789") != "" {
		return nil, false
	}
	return parseBig(sign + s)
}

func floatFilter(v Value, p []Value) (Value, error) {
	if u, ok := v.(*Undefined); ok {
		return nil, u.err()
	}
	if s, ok := v.(string); ok {
		if f, err := strconv.ParseFloat(strings.TrimFunc(s, isSpace), 64); err == nil {
			return f, nil
		}
	}
	if f, _, _, ok := number(v); ok {
		return f, nil
	}
	if given(p[0]) {
		return p[0], nil
	}
	return 0.0, nil
}

func itemsFilter(v Value, _ []Value) (Value, error) {
	switch x := v.(type) {
	case *Undefined:
		return &Generator{}, nil
	case *Dict:
		return &Generator{items: x.items()}, nil
	}
	return nil, typeError("Can only get item pairs from a mapping.")
}

func join(v Value, p []Value) (Value, error) {
	items, err := iterate(v)
	if err != nil {
		return nil, err
	}
	get, err := getter(p[1], nil)
	if err != nil {
		return nil, err
	}
	sep := ""
	if given(p[0]) {
		sep = str(p[0])
	}
	out := make([]string, len(items))
	size := 0
	for i, it := range items {
		if it, err = get(it); err != nil {
			return nil, err
		}
		out[i] = str(it)
		if size += len(out[i]) + len(sep); size > maxText {
			return nil, errors.New(tooLarge)
		}
	}
	return strings.Join(out, sep), nil
}

func replaceFilter(v Value, p []Value) (Value, error) {
	if !given(p[0]) || !given(p[1]) {
		return nil, typeError("replace: old and new have to be given")
	}
	args := []Value{str(p[0]), str(p[1])}
	if given(p[2]) && p[2] != nil {
		args = append(args, p[2])
	}
	return replace(str(v), args, nil)
}

func reverse(v Value, _ []Value) (Value, error) {
	if s, ok := v.(string); ok {
		r := []rune(s)
		slices.Reverse(r)
		return string(r), nil
	}
	items, err := iterate(v)
	if err != nil {
		return nil, typeError("argument must be iterable")
	}
	items = slices.Clone(items)
	slices.Reverse(items)
	return &Generator{items: items}, nil
}

func round(v Value, p []Value) (Value, error) {
	if u, ok := v.(*Undefined); ok {
		return nil, u.err()
	}
	f, i, isInt, ok := number(v)
	if !ok {
		return nil, typeError("type %s doesn't define __round__ method", typeName(v))
	}
	precision := 0
	if given(p[0]) {
		var err error
		if precision, err = integer("round", p[0]); err != nil {
			return nil, err
		}
	}
	precision = max(-308, min(308, precision))
	method := "common"
	if given(p[1]) {
		method = str(p[1])
	}
	scale := math.Pow(10, float64(precision))
	switch method {
	case "ceil": // + 0, because the whole number between is an int in Python, which knows no -0
		return (math.Ceil(f*scale) + 0) / scale, nil
	case "floor":
		return (math.Floor(f*scale) + 0) / scale, nil
	case "common":
	default:
		return nil, errors.New("FilterArgumentError: method must be common, ceil or floor")
	}
	if isInt && precision >= 0 {
		return i, nil
	}
	if precision < 0 {
		f = math.RoundToEven(f*scale) / scale
		if isInt {
			return int64(f), nil
		}
		return f, nil
	}
	f, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', precision, 64), 64) // correctly rounded, ties to even, as in Python
	return f, err
}

// titleFilter is not str.title: words begin after blanks, hyphens and opening brackets only.
func titleFilter(s string) string {
	start := true
	return strings.Map(func(r rune) rune {
		was := start
		start = isSpace(r) || strings.ContainsRune("-({[<", r)
		if was {
			return unicode.ToTitle(r)
		}
		return unicode.ToLower(r)
	}, s)
}

func tojson(v Value, p []Value) (Value, error) {
	w := &jsonWriter{ascii: flag(p[0], false), sort: flag(p[3], false), item: ", ", name: ": "}
	if given(p[1]) && p[1] != nil {
		step, isText := p[1].(string)
		if !isText {
			n, err := integer("tojson: indent", p[1])
			if err != nil {
				return nil, err
			}
			step = strings.Repeat(" ", max(0, min(n, 1000)))
		}
		w.indent, w.item = &step, ","
	}
	if given(p[2]) && p[2] != nil {
		l, ok := p[2].(*List)
		if !ok || len(l.Items) != 2 {
			return nil, typeError("tojson: separators are a pair")
		}
		w.item, w.name = str(l.Items[0]), str(l.Items[1])
	}
	err := w.value(v, 0)
	return w.b.String(), err
}

func trim(v Value, p []Value) (Value, error) {
	if !given(p[0]) || p[0] == nil {
		return strings.TrimFunc(str(v), isSpace), nil
	}
	return strip(str(v), "strip", p, nil)
}

// urlencode quotes a text, or the pairs of a mapping or a list.
func urlencode(v Value, _ []Value) (Value, error) {
	var pairs []Value
	switch x := v.(type) {
	case *Dict:
		pairs = x.items()
	case *List, *Generator:
		pairs, _ = iterate(v)
	default:
		return strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(str(v)), "+", "%20"), "%2F", "/"), nil
	}
	out := make([]string, len(pairs))
	for i, p := range pairs {
		kv, err := iterate(p)
		if err != nil || len(kv) != 2 {
			return nil, errors.New("ValueError: urlencode takes a text or pairs")
		}
		out[i] = url.QueryEscape(str(kv[0])) + "=" + url.QueryEscape(str(kv[1]))
	}
	return strings.Join(out, "&"), nil
}

func indent(v Value, p []Value) (Value, error) {
	step := "    "
	if given(p[0]) {
		if s, ok := p[0].(string); ok {
			step = s
		} else {
			n, err := integer("indent", p[0])
			if err != nil {
				return nil, err
			}
			step = strings.Repeat(" ", max(0, min(n, 1000)))
		}
	}
	text, ok := v.(string)
	if !ok {
		return nil, typeError("indent takes a str, not %s", typeName(v))
	}
	lines := splitLines(text+"\n", false)
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
			if line != "" || flag(p[2], false) {
				b.WriteString(step)
			}
		} else if flag(p[1], false) {
			b.WriteString(step)
		}
		b.WriteString(line)
	}
	return b.String(), nil
}

func truncate(v Value, p []Value) (Value, error) {
	num := [2]int{255, 5}
	for i, at := range [2]int{0, 3} {
		if given(p[at]) {
			var err error
			if num[i], err = integer("truncate", p[at]); err != nil {
				return nil, err
			}
		}
	}
	end := "..."
	if given(p[2]) {
		end = str(p[2])
	}
	if n, err := length(v); err != nil || n <= num[0]+num[1] {
		return v, err
	}
	s, ok := v.(string)
	if !ok {
		return nil, typeError("truncate takes a str, not %s", typeName(v))
	}
	tail := utf8.RuneCountInString(end)
	cut := string([]rune(s)[:max(0, num[0]-tail)])
	if !flag(p[1], false) {
		if i := strings.LastIndexByte(cut, ' '); i >= 0 {
			cut = cut[:i]
		}
	}
	return cut + end, nil
}
