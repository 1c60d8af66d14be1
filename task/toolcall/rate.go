package toolcall

import (
	"errors"
	"regexp"
	"strings"
)

// Rating is a judgement of a text of calls, which may be unfinished.
type Rating string

const (
	Excellent  Rating = "A" // the gold calls, or a beginning of them
	Acceptable Rating = "B" // right functions and parameters, one value is wrong
	Fair       Rating = "C" // right functions
	Poor       Rating = "D" // anything else
)

// Rate judges a Python call list, or the beginning of one, against the gold calls: what is not written yet is not held against it, a call
// that is closed must be whole, and so must a list that is closed. It stands in for iTool's judge model, whose criteria are function names,
// parameter names and values, with a correct fragment counted as excellent (arXiv 2501.09766; the rule for each grade is ours).
func Rate(gold []Call, text string) Rating {
	f, err := fragment(text)
	if len(gold) == 0 { // words, or an empty list
		if err == nil && (len(f.calls) > 0 || f.name != "") || err != nil && (strings.HasPrefix(strings.TrimSpace(text), "[") || callMark.MatchString(text)) {
			return Poor
		}
		return Excellent
	}
	if err != nil {
		return Poor
	}
	n := len(f.calls)
	if n > len(gold) || f.closed && n < len(gold) {
		return Poor
	}
	if f.name != "" && !f.nameFits(gold) {
		return Poor
	}
	if n == 0 {
		return Excellent
	}
	gain := make([]float64, n*len(gold)) // [written][gold]: 1 for the name, 1 for the parameters, less than 1 for right values
	for i := range f.calls {
		for k, g := range gold {
			gain[i*len(gold)+k] = f.fit(i, g)
		}
	}
	params, wrong := true, 0
	for i, k := range assign(gain, n, len(gold)) {
		fit := gain[i*len(gold)+k]
		if fit < 1 {
			return Poor
		}
		params = params && fit >= 2
		wrong += wrongValues(gold[k], f.calls[i])
	}
	switch {
	case params && wrong == 0:
		return Excellent
	case params && wrong == 1:
		return Acceptable
	}
	return Fair
}

// callMark is what words do not have: a name with an argument list or a value right behind it.
var callMark = regexp.MustCompile(`\w[(=]`)

// written is the readable beginning of a call list.
type written struct {
	calls  []Call
	open   bool   // the last call is not closed
	param  string // of the open call: a parameter whose value is not complete
	name   string // what there is of a function's name that is not complete
	closed bool   // the list has its ]
}

// nameFits asks whether a gold function that is not used up begins with the unfinished name.
func (f *written) nameFits(gold []Call) bool {
	left := map[string]int{}
	for _, g := range gold {
		left[g.Name]++
	}
	for _, c := range f.calls {
		left[c.Name]--
	}
	for name, n := range left {
		if n > 0 && strings.HasPrefix(name, f.name) {
			return true
		}
	}
	return false
}

// fit is how well written call i does for a gold call: 0 for another function, 1 and more for the right one, 2 and more with the right
// parameters.
func (f *written) fit(i int, gold Call) float64 {
	c := f.calls[i]
	if c.Name != gold.Name {
		return 0
	}
	open := f.open && i == len(f.calls)-1
	params := len(c.Positional) == 0
	for _, it := range c.Args.Items() {
		if _, ok := gold.Args.Get(it.Key.(string)); !ok {
			params = false
		}
	}
	if open && f.param != "" {
		_, known := gold.Args.Get(f.param)
		_, twice := c.Args.Get(f.param)
		params = params && known && !twice
	}
	if !open && c.Args.Len() != gold.Args.Len() {
		params = false
	}
	fit := 1 + 1/float64(2+wrongValues(gold, c))
	if params {
		fit++
	}
	return fit
}

// wrongValues counts arguments whose value is not that of the gold call.
func wrongValues(gold, c Call) int {
	n := 0
	for _, it := range c.Args.Items() {
		if v, ok := gold.Args.Get(it.Key.(string)); ok && !Same(v, it.Value) {
			n++
		}
	}
	return n
}

var errBroken = errors.New("no beginning of a call list")

// fragment reads as much of a call list as stands there; an error means that nothing written behind it could make it one.
func fragment(text string) (*written, error) {
	f := &written{}
	if len(text) > MaxLength {
		return nil, errBroken
	}
	p := &parser{s: strings.ToValidUTF8(text, "\uFFFD")}
	p.space()
	if p.at == len(p.s) {
		return f, nil
	}
	if p.listed = p.take("["); !p.listed {
		return nil, errBroken
	}
	for p.at < len(p.s) && len(f.calls) <= maxCalls {
		if p.take("]") {
			f.closed = true
			if p.at < len(p.s) {
				return nil, errBroken
			}
			return f, nil
		}
		if err := f.call(p); err != nil || f.open || f.name != "" {
			return f, err
		}
		if !p.take(",") && p.at < len(p.s) && p.byte() != ']' {
			return nil, errBroken
		}
	}
	return f, nil
}

func (f *written) call(p *parser) error {
	start := p.at
	name, err := p.dotted()
	if p.at == len(p.s) { // "f", "f." or, after an error, nothing that could go on
		if f.name = strings.TrimSpace(p.s[start:]); f.name == "" {
			return errBroken
		}
		return nil
	}
	if err != nil || !p.take("(") {
		return errBroken
	}
	f.calls = append(f.calls, Call{Name: name, Args: &Dict{}})
	c := &f.calls[len(f.calls)-1]
	f.open = true
	for p.at < len(p.s) {
		if p.take(")") {
			f.open = false
			return nil
		}
		if done, err := f.argument(p, c); done || err != nil {
			return err
		}
	}
	return nil
}

// argument reads one argument; done means that the text ends within it.
func (f *written) argument(p *parser, c *Call) (done bool, err error) {
	start := p.at
	name := p.name()
	if p.space(); p.at == len(p.s) {
		return true, nil // an unfinished name says nothing yet
	}
	if name != "" && p.take("=") {
		f.param = name
		if p.at == len(p.s) {
			return true, nil
		}
	} else {
		name, p.at = "", start
	}
	v, err := p.value()
	ended := p.at == len(p.s)
	if ended && (err != nil || !strings.ContainsAny(p.s[len(p.s)-1:], `'")]}`+" \n")) {
		return true, nil // the value may go on
	}
	if err != nil {
		return false, errBroken
	}
	f.param = ""
	if _, twice := c.Args.Get(name); name == "" || twice {
		c.Positional = append(c.Positional, v)
	} else {
		c.Args.put(name, v)
	}
	if !p.take(",") && p.byte() != ')' && p.at < len(p.s) {
		return false, errBroken
	}
	return false, nil
}

// Pieces cuts a text of calls behind each ". ", ", ", "=" and "(", where iTool's tree search lets branches part. The pieces joined are the text.
func Pieces(text string) []string {
	var out []string
	from := 0
	for i := range len(text) {
		end := i + 1
		switch {
		case text[i] == '=' || text[i] == '(':
		case text[i] == ' ' && i > from && (text[i-1] == '.' || text[i-1] == ','):
		default:
			continue
		}
		out = append(out, text[from:end])
		from = end
	}
	if from < len(text) {
		out = append(out, text[from:])
	}
	return out
}

// Overlap is the share of common words, |A and B| / min(|A|, |B|) over the sets of words between spaces; 0 where a text has none.
func Overlap(a, b string) float64 {
	words := func(s string) map[string]bool {
		set := map[string]bool{}
		for _, w := range strings.Fields(s) {
			set[w] = true
		}
		return set
	}
	x, y := words(a), words(b)
	n := 0
	for w := range x {
		if y[w] {
			n++
		}
	}
	if len(x) == 0 || len(y) == 0 {
		return 0
	}
	return float64(n) / float64(min(len(x), len(y)))
}

// Difficulty is what orders examples from easy to hard: first the calls in the answer, then the tools to choose from, then the length of
// their descriptions in bytes. (iTool names the three criteria; their order is ours.)
type Difficulty struct{ Calls, Tools, Length int }

// DifficultyOf measures an example: the functions to choose from and the calls of its answer.
func DifficultyOf(functions List, gold []Call) (Difficulty, error) {
	docs, err := Docs(functions)
	return Difficulty{Calls: len(gold), Tools: len(functions), Length: len(docs)}, err
}

// Less reports whether d is easier than o.
func (d Difficulty) Less(o Difficulty) bool {
	if d.Calls != o.Calls {
		return d.Calls < o.Calls
	}
	if d.Tools != o.Tools {
		return d.Tools < o.Tools
	}
	return d.Length < o.Length
}
