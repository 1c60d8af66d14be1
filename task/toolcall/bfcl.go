package toolcall

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Judgement is a verdict of the leaderboard. ErrorType is its name for what is wrong, such as "value_error:string"; some valid answers have
// "simple_function_checker:unclear" there, as in the leaderboard's own results.
type Judgement struct {
	Valid     bool
	ErrorType string // "" = none
	Detail    string // what is wrong, in words
}

func bad(errorType, format string, args ...any) Judgement {
	return Judgement{ErrorType: errorType, Detail: fmt.Sprintf(format, args...)}
}

// Question is one row of the leaderboard: what is asked, the functions on offer, and the accepted answers.
type Question struct {
	ID        string
	Category  string // simple_python, live_parallel_multiple, irrelevance ...
	Messages  []Message
	Functions List // descriptions, *Dict each
	Answers   List // {name: {parameter: [accepted values]}} for each call; nil where no call is judged
	// Underscores accepts names with _ where a function's has a dot (math_hypot for math.hypot) and no others: for models whose interface
	// allows no dots in names.
	Underscores bool
}

// Message is one turn of a question.
type Message struct{ Role, Content string }

// dialect is what a category's function descriptions and argument values are written in.
type dialect struct {
	name    string // in error types
	types   map[string]kind
	nested  []string // types whose items are checked, too
	convert func(text, declared, inner string) (Value, error)
}

var python = &dialect{
	types: map[string]kind{
		"string": kindStr, "integer": kindInt, "float": kindFloat, "boolean": kindBool,
		"array": kindList, "tuple": kindList, "dict": kindDict, "any": kindStr,
	},
	nested: []string{"array", "tuple"},
}

// asksForNone tells categories where any call is wrong; asksForAny those where any call is right.
func asksForNone(category string) bool { return strings.Contains(category, "irrelevance") }
func asksForAny(category string) bool  { return category == "live_relevance" }

// JudgeCalls is Judge for calls that Parse has read.
func (q *Question) JudgeCalls(calls []Call) (Judgement, error) { return q.Judge(decoded(calls)) }

// Judge gives the leaderboard's verdict on a decoded list of calls, [{name: {parameter: value}}, ...]. It reproduces the AST checker of BFCL
// v4 (ShishirPatil/gorilla, 2026-03-23), quirks included: types are checked one level deep, strings compare without case, spaces and
// ,./-_*^, a whole number does for a float, "" among the accepted values means that a parameter may be left out, and a text where another
// type is declared is taken for a variable's name if such is accepted. An error means that the row cannot be judged at all.
func (q *Question) Judge(calls Value) (Judgement, error) {
	list, isCalls := callList(calls)
	empty := !isCalls || len(list) == 0
	switch {
	case asksForNone(q.Category):
		if !empty {
			return bad("irrelevance_error:decoder_success", "a call where no function fits"), nil
		}
		return Judgement{Valid: true}, nil
	case asksForAny(q.Category):
		if empty {
			return bad("relevance_error:decoder_failed", "no call where a function fits"), nil
		}
		return Judgement{Valid: true}, nil
	case !isCalls:
		return bad("ast_decoder:decoder_wrong_output_format", "want a list of {name: {parameter: value}}"), nil
	}
	c := &checker{q: q, lang: languageOf(q.Category)}
	j, err := c.check(list)
	if err != nil {
		return Judgement{}, fmt.Errorf("%s: %w", q.ID, err)
	}
	return j, nil
}

// callList reports whether a value is a list of one-name objects, each with an object of arguments.
func callList(v Value) ([]*Dict, bool) {
	list, ok := v.(List)
	if !ok {
		return nil, false
	}
	out := make([]*Dict, len(list))
	for i, item := range list {
		d, ok := item.(*Dict)
		if !ok || d.Len() != 1 {
			return nil, false
		}
		if _, ok := d.items[0].Value.(*Dict); !ok {
			return nil, false
		}
		out[i] = d
	}
	return out, true
}

// checker judges one answer.
type checker struct {
	q    *Question
	lang *dialect
}

// check dispatches on the category, by the words in its name.
func (c *checker) check(calls []*Dict) (Judgement, error) {
	answers := c.q.Answers
	if len(answers) == 0 || len(c.q.Functions) == 0 {
		return Judgement{}, errors.New("the row has no functions or no possible answers")
	}
	switch {
	case strings.Contains(c.q.Category, "parallel"):
		return c.parallel(calls)
	case strings.Contains(c.q.Category, "multiple"):
		if len(calls) != len(answers) {
			return bad("multiple_function_checker:wrong_count", "%d calls, want %d", len(calls), len(answers)), nil
		}
		doc, err := c.q.describe(answers[0])
		if err != nil {
			return Judgement{}, err
		}
		return c.function(doc, calls[0], answers[0])
	}
	if len(calls) != 1 {
		return bad("simple_function_checker:wrong_count", "%d calls, want 1", len(calls)), nil
	}
	doc, ok := c.q.Functions[0].(*Dict)
	if !ok {
		return Judgement{}, errors.New("the function's description is no object")
	}
	return c.function(doc, calls[0], answers[0])
}

// parallel looks for a call that each answer accepts, in the answers' order: a call is taken by the first answer that accepts it.
func (c *checker) parallel(calls []*Dict) (Judgement, error) {
	if len(calls) != len(c.q.Answers) {
		return bad("parallel_function_checker_no_order:wrong_count", "%d calls, want %d", len(calls), len(c.q.Answers)), nil
	}
	taken := make([]bool, len(calls))
	for i, answer := range c.q.Answers {
		doc, err := c.q.describe(answer)
		if err != nil {
			return Judgement{}, err
		}
		found, last := false, ""
		for k, call := range calls {
			if taken[k] {
				continue
			}
			j, err := c.function(doc, call, answer)
			if err != nil {
				return Judgement{}, err
			}
			if j.Valid {
				taken[k], found = true, true
				break
			}
			last = j.Detail
		}
		if !found {
			return bad("parallel_function_checker_no_order:cannot_find_match", "no call does for answer %d: %s", i+1, last), nil
		}
	}
	return Judgement{Valid: true}, nil
}

// describe finds the description of the function that an answer names.
func (q *Question) describe(answer Value) (*Dict, error) {
	name, _, err := single(answer)
	if err != nil {
		return nil, err
	}
	for _, f := range q.Functions {
		if d, ok := f.(*Dict); ok {
			if n, _ := d.Get("name"); Equal(n, name) {
				return d, nil
			}
		}
	}
	return nil, fmt.Errorf("function %q of the possible answer is not among those described", name)
}

// single returns the name and the parameters of a possible answer.
func single(answer Value) (string, *Dict, error) {
	d, ok := answer.(*Dict)
	if !ok || d.Len() == 0 {
		return "", nil, errors.New("a possible answer is not {name: {parameter: [values]}}")
	}
	name, _ := d.items[0].Key.(string)
	params, ok := d.items[0].Value.(*Dict)
	if !ok {
		return "", nil, fmt.Errorf("the possible answer for %s has no parameters", name)
	}
	return name, params, nil
}

// signature reads a function's description: its name, the declared parameters, and those that must be given.
func signature(doc *Dict) (name string, params *Dict, required List, err error) {
	n, _ := doc.Get("name")
	name, _ = n.(string)
	p, _ := doc.Get("parameters")
	schema, _ := p.(*Dict)
	props, _ := schema.Get("properties")
	params, ok := props.(*Dict)
	if name == "" || !ok {
		return "", nil, nil, fmt.Errorf("the description of function %q has no name or no parameters.properties", name)
	}
	r, _ := schema.Get("required")
	required, _ = r.(List)
	return name, params, required, nil
}

// function judges one call against one description and one possible answer.
func (c *checker) function(doc, call *Dict, answer Value) (Judgement, error) {
	name, declared, required, err := signature(doc)
	if err != nil {
		return Judgement{}, err
	}
	_, accepted, err := single(answer)
	if err != nil {
		return Judgement{}, err
	}
	if c.q.Underscores {
		name = strings.ReplaceAll(name, ".", "_")
	}
	given, ok := call.Get(name)
	if !ok {
		return bad("simple_function_checker:wrong_func_name", "no call of %s", name), nil
	}
	args := given.(*Dict) // callList has looked
	for _, r := range required {
		if has, err := contains(args, r); err != nil {
			return Judgement{}, err
		} else if !has {
			return bad("simple_function_checker:missing_required", "%s: required parameter %s is missing", name, Repr(r)), nil
		}
	}
	// A parameter of a structured type resets what a valid answer reports.
	result := Judgement{Valid: true, ErrorType: "simple_function_checker:unclear"}
	for _, it := range args.Items() {
		key, _ := it.Key.(string)
		schema, known := declared.Get(key)
		options, listed := accepted.Get(key)
		if !known || !listed {
			return bad("simple_function_checker:unexpected_param", "%s has no parameter %s", name, Repr(it.Key)), nil
		}
		j, structured, err := c.argument(key, schema, it.Value, options)
		if err != nil {
			return Judgement{}, fmt.Errorf("parameter %s of %s: %w", key, name, err)
		}
		if !j.Valid {
			return j, nil
		}
		if structured {
			result = Judgement{Valid: true}
		}
	}
	for _, it := range accepted.Items() {
		key, _ := it.Key.(string)
		if _, ok := args.Get(key); ok {
			continue
		}
		if optional, err := contains(it.Value, ""); err != nil {
			return Judgement{}, err
		} else if !optional {
			return bad("simple_function_checker:missing_optional", "%s: parameter %s is missing and may not be left out", name, key), nil
		}
	}
	return result, nil
}

// argument judges one value; structured tells that strings, lists or dictionaries were compared by their own rules.
func (c *checker) argument(key string, schema, value, accepted Value) (j Judgement, structured bool, err error) {
	declared, want, inner, err := c.declared(schema)
	if err != nil {
		return j, false, err
	}
	if c.lang.convert != nil {
		text, ok := value.(string)
		if !ok {
			return bad("type_error:"+c.lang.name, "%s is a %s, want a string with %s code", key, kindOf(value), c.lang.name), false, nil
		}
		if value, err = c.lang.convert(text, declared, inner); err != nil {
			return j, false, err
		}
	}
	if t, ok := value.(Tuple); ok && declared == "tuple" {
		value = List(t)
	}
	if n, ok := integer(value); ok && kindOf(value) == kindInt && declared == "float" && c.lang == python {
		if value, ok = asFloat(n); !ok {
			return bad("type_error:simple", "%s is too large for a float", key), false, nil
		}
	}
	options, err := elements(accepted)
	if err != nil {
		return j, false, err
	}
	innerKind := noKind
	if inner != "" {
		innerKind = c.lang.types[inner]
	}
	errorType, variable, err := typed(value, options, want, innerKind)
	if err != nil {
		return j, false, err
	}
	if errorType != "" {
		return bad(errorType, "%s is %s, a %s; want %s", key, Repr(value), kindOf(value), declared), false, nil
	}
	if !variable {
		if errorType, structured, err = compareStructured(value, options, want, innerKind); structured || err != nil {
			return verdict(errorType, key, value, accepted), structured, err
		}
	}
	if !slices.ContainsFunc(options, func(o Value) bool { return Equal(o, value) }) {
		return verdict("value_error:others", key, value, accepted), false, nil
	}
	return Judgement{Valid: true}, false, nil
}

func verdict(errorType, key string, value, accepted Value) Judgement {
	if errorType == "" {
		return Judgement{Valid: true}
	}
	return bad(errorType, "%s is %s; accepted: %s", key, Repr(value), Repr(accepted))
}

// declared reads a parameter's type and, for types whose items are checked, that of its items ("" for others).
func (c *checker) declared(schema Value) (declared string, want kind, inner string, err error) {
	read := func(v Value) (string, error) {
		d, _ := v.(*Dict)
		t, _ := d.Get("type")
		name, _ := t.(string)
		if _, ok := c.lang.types[name]; !ok {
			return "", fmt.Errorf("type %s is unknown: the types are %s", Repr(t), typeNames(c.lang))
		}
		return name, nil
	}
	if declared, err = read(schema); err != nil {
		return "", noKind, "", err
	}
	if slices.Contains(c.lang.nested, declared) {
		items, _ := schema.(*Dict).Get("items")
		if inner, err = read(items); err != nil {
			return "", noKind, "", fmt.Errorf("items: %w", err)
		}
	}
	return declared, c.lang.types[declared], inner, nil
}

func typeNames(l *dialect) string {
	names := make([]string, 0, len(l.types))
	for n := range l.types {
		names = append(names, n)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// typed returns "" when a value has the declared type (and its items theirs), or the error type. variable tells that the accepted values are
// of another type than the declared one, so that the value is compared as it stands.
func typed(value Value, options []Value, want, inner kind) (errorType string, variable bool, err error) {
	possible := noKind // the type of the first accepted value
	for _, o := range options {
		if !Equal(o, "") {
			possible = kindOf(o)
			break
		}
	}
	failed := ""
	if kindOf(value) == want {
		variable = possible != noKind && possible != want
		if inner == noKind {
			return "", variable, nil
		}
		ok, err := itemsTyped(value, options, inner)
		if ok || err != nil {
			return "", variable, err
		}
		failed = "type_error:nested"
	}
	if possible != noKind && kindOf(value) == possible {
		return failed, true, nil
	}
	return "type_error:simple", false, nil
}

// itemsTyped asks whether some accepted value gives all items their type; an accepted value that is no list asks nothing.
func itemsTyped(value Value, options []Value, inner kind) (bool, error) {
	items, err := elements(value)
	if err != nil {
		return false, err
	}
	for _, o := range options {
		list, ok := o.(List)
		if !ok {
			return true, nil
		}
		good := true
		for _, item := range items {
			errorType, _, err := typed(item, list, inner, noKind)
			if err != nil {
				return false, err
			}
			if errorType != "" {
				good = false
				break
			}
		}
		if good {
			return true, nil
		}
	}
	return false, nil
}
