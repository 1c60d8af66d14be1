package chat

import (
	"fmt"
	"time"

	"github.com/ardanlabs/jinja"
	"github.com/ncruces/go-strftime"
)

// prepare turns a source into what the library compiles: plain without {% generation %} tags, marked with marks in their place.
func prepare(source string) (plain, marked string, has bool, err error) {
	source = rewrite(source)
	marked, has = withMarks(source)
	return source, marked, has, nil
}

// compile compiles a prepared source. The library does not promise not to panic on a wrong template.
func compile(source string) (t *jinja.Template, err error) {
	defer func() {
		if r := recover(); r != nil {
			t, err = nil, fmt.Errorf("the template cannot be compiled: %v", r)
		}
	}()
	return jinja.Compile(source)
}

// run renders a compiled template; a panic of the library becomes an error.
func run(p *jinja.Template, data map[string]jinja.Value, now time.Time) (text string, err error) {
	defer func() {
		if r := recover(); r != nil {
			text, err = "", fmt.Errorf("the template fails: %v", r)
		}
	}()
	if now.IsZero() {
		now = time.Now()
	}
	data["strftime_now"] = jinja.NewCallable("strftime_now", func(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
		if len(args) != 1 || !args[0].IsString() {
			return jinja.Undefined(), fmt.Errorf("strftime_now takes one format")
		}
		return jinja.NewString(strftime.Format(args[0].AsString(), now)), nil
	})
	for name, f := range filters {
		data[ownFilter+name] = jinja.NewCallable(name, f)
	}
	return p.RenderValues(data)
}
