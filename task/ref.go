package task

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/hone-lm/hone/internal/config"
)

// Ref names a task with its settings, as text "countdown?level=4&max=50". Level 0 leaves the difficulty to the task's default or to the
// option levels ("2-4").
type Ref struct {
	Name    string
	Level   int
	Options map[string]any // strings, whole numbers, floats, booleans
}

// ParseRef reads the text form.
func ParseRef(text string) (Ref, error) {
	name, query, _ := strings.Cut(text, "?")
	r := Ref{Name: strings.TrimSpace(name)}
	if r.Name == "" {
		return r, fmt.Errorf("task %q: a name is missing; want for example countdown or countdown?level=4", text)
	}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		k, v, ok := strings.Cut(pair, "=")
		if !ok {
			return r, fmt.Errorf("task %q: option %q has no value; want %s=VALUE", text, pair, k)
		}
		k, err1 := url.PathUnescape(k) // a + stays a plus sign: operators are written with it
		v, err2 := url.PathUnescape(v)
		if err := errors.Join(err1, err2); err != nil {
			return r, fmt.Errorf("task %q: %w", text, err)
		}
		if k == "level" {
			n, err := strconv.Atoi(v)
			if err != nil {
				return r, fmt.Errorf("task %q: level %q is not a whole number; for several levels say levels=2-4", text, v)
			}
			r.Level = n
			continue
		}
		if r.Options == nil {
			r.Options = map[string]any{}
		}
		if _, twice := r.Options[k]; twice {
			return r, fmt.Errorf("task %q: option %s is given twice", text, k)
		}
		r.Options[k] = v
	}
	return r, nil
}

// String writes the text form, options in the order of their names.
func (r Ref) String() string {
	var pairs []string
	if r.Level != 0 {
		pairs = append(pairs, "level="+strconv.Itoa(r.Level))
	}
	for _, k := range slices.Sorted(maps.Keys(r.Options)) {
		v := strings.NewReplacer("%", "%25", "&", "%26").Replace(fmt.Sprint(r.Options[k]))
		pairs = append(pairs, k+"="+v)
	}
	if len(pairs) == 0 {
		return r.Name
	}
	return r.Name + "?" + strings.Join(pairs, "&")
}

// MarshalText and UnmarshalText let settings hold a Ref as text.
func (r Ref) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the text form and opens the task once, so that a misspelt name or option is found where it stands. File tasks read
// their file only in Problems.
func (r *Ref) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*r = Ref{}
		return nil
	}
	ref, err := ParseRef(string(text))
	if err != nil {
		return err
	}
	if _, err := Open(ref); err != nil {
		return err
	}
	*r = ref
	return nil
}

// entry is one registered task.
type entry struct {
	about string // one line
	open  func(*options) Task
	data  func() content // a fresh value of the task's data
}

var registry = map[string]entry{}

func register(name string, e entry) { registry[name] = e }

// Names lists the registered tasks in alphabetical order.
func Names() []string { return slices.Sorted(maps.Keys(registry)) }

// About returns a line that says what a task is, or "".
func About(name string) string { return registry[name].about }

// Get opens a task with its defaults.
func Get(name string) (Task, error) { return Open(Ref{Name: name}) }

func lookup(name string) (entry, error) {
	e, ok := registry[name]
	if !ok {
		return e, fmt.Errorf("unknown task %q%s: the tasks are %s", name, suggestion(name, Names()), strings.Join(Names(), ", "))
	}
	return e, nil
}

func suggestion(word string, names []string) string {
	if near := config.Nearest(word, names); near != "" {
		return fmt.Sprintf(" (did you mean %q?)", near)
	}
	return ""
}

// Open makes the task that a Ref names. An unknown option, a wrong type or a value out of range is an error that says what would be right.
func Open(r Ref) (Task, error) {
	e, err := lookup(r.Name)
	if err != nil {
		return nil, err
	}
	o := &options{task: r.Name, level: r.Level, given: r.Options}
	t := e.open(o)
	for _, k := range slices.Sorted(maps.Keys(r.Options)) {
		if !slices.Contains(o.known, k) {
			o.fail("unknown option %q%s: the options are %s", k, suggestion(k, o.known), strings.Join(o.known, ", "))
		}
	}
	if o.err != nil {
		return nil, o.err
	}
	return t, nil
}

// options reads the settings of a Ref; the first error is kept.
type options struct {
	task  string
	level int
	given map[string]any
	known []string
	err   error
}

func (o *options) fail(format string, args ...any) {
	if o.err == nil {
		o.err = fmt.Errorf("task %s: %s", o.task, fmt.Sprintf(format, args...))
	}
}

// text returns an option as it would be written, and whether it was given.
func (o *options) text(name string) (string, bool) {
	o.known = append(o.known, name)
	v, ok := o.given[name]
	if !ok {
		return "", false
	}
	switch v := v.(type) {
	case string:
		return strings.TrimSpace(v), true
	case bool, int, int64, uint64, float64:
		return fmt.Sprint(v), true
	}
	o.fail("%s is a %T; want one value", name, v)
	return "", false
}

func (o *options) int(name string, def, lo, hi int) int {
	s, ok := o.text(name)
	if !ok {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < lo || n > hi {
		o.fail("%s is %q; want a whole number from %d to %d", name, s, lo, hi)
		return def
	}
	return n
}

func (o *options) float(name string, def, lo, hi float64) float64 {
	s, ok := o.text(name)
	if !ok {
		return def
	}
	x, err := strconv.ParseFloat(s, 64)
	if err != nil || !(x >= lo && x <= hi) {
		o.fail("%s is %q; want a number from %g to %g", name, s, lo, hi)
		return def
	}
	return x
}

func (o *options) bool(name string) bool {
	s, ok := o.text(name)
	if !ok {
		return false
	}
	b, err := strconv.ParseBool(s)
	if err != nil {
		o.fail("%s is %q; want true or false", name, s)
	}
	return b
}

// choice returns one of the choices, the first by default.
func (o *options) choice(name string, choices ...string) string {
	s, ok := o.text(name)
	if !ok {
		return choices[0]
	}
	if !slices.Contains(choices, s) {
		o.fail("%s is %q%s; want one of %s", name, s, suggestion(s, choices), strings.Join(choices, ", "))
		return choices[0]
	}
	return s
}

// span reads "3" or "2-4" within [lo, hi].
func (o *options) span(name string, defLo, defHi, lo, hi int) (int, int) {
	s, ok := o.text(name)
	if !ok {
		return defLo, defHi
	}
	from, to, both := strings.Cut(s, "-")
	if !both {
		to = from
	}
	a, err1 := strconv.Atoi(from)
	b, err2 := strconv.Atoi(to)
	if err1 != nil || err2 != nil || a < lo || b > hi || a > b {
		o.fail("%s is %q; want a whole number or a range such as %d-%d, within %d to %d", name, s, lo, hi, lo, hi)
		return defLo, defHi
	}
	return a, b
}

// common are the settings of every generated task.
type common struct {
	name     string
	lo, hi   int // what Levels says
	from, to int // what level 0 draws from
	wording  Wording
}

// common reads the level (or levels) and the wording.
func (o *options) common(lo, hi, defLo, defHi int) common {
	c := common{name: o.task, lo: lo, hi: hi}
	c.from, c.to = o.span("levels", defLo, defHi, lo, hi)
	if o.level != 0 {
		if o.level < lo || o.level > hi {
			o.fail("level %d is outside %d to %d", o.level, lo, hi)
		}
		if _, both := o.given["levels"]; both {
			o.fail("level and levels are both given; keep one")
		}
		c.from, c.to = o.level, o.level
	}
	c.wording = Wording(o.choice("wording", string(Compact), string(Natural)))
	return c
}

// Name implements Task.
func (c *common) Name() string { return c.name }

// Levels implements Task.
func (c *common) Levels() (lo, hi int) { return c.lo, c.hi }

// level returns the level to generate, drawn when it is 0.
func (c *common) level(d *draw, level int) (int, error) {
	if level == 0 {
		return d.between(c.from, c.to), nil
	}
	if level < c.lo || level > c.hi {
		return 0, fmt.Errorf("task %s: level %d is outside %d to %d", c.name, level, c.lo, c.hi)
	}
	return level, nil
}
