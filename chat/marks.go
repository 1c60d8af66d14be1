package chat

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Marks stand around the assistant's words in a rendering with {% generation %} blocks. They are noncharacters of Unicode, which text
// must not hold.
const (
	markOpen  = "\uFDD0"
	markClose = "\uFDD1"
)

var generationTag = regexp.MustCompile(`\{%([-+]?)\s*(end)?generation\s*([-+]?)%\}`)

// withMarks puts marks where {% generation %} blocks begin and end; has is false if there are none. The tags become pairs of ifs, so
// that white space is treated as before.
func withMarks(source string) (marked string, has bool) {
	marked = generationTag.ReplaceAllStringFunc(source, func(tag string) string {
		m := generationTag.FindStringSubmatch(tag)
		has = true
		if m[2] == "end" {
			return "{%" + m[1] + " endif %}{{ '" + markClose + "' }}{% endif " + m[3] + "%}"
		}
		return "{%" + m[1] + " if true %}{{ '" + markOpen + "' }}{% if true " + m[3] + "%}"
	})
	return marked, has
}

// marks renders with marks and returns the spans between them as places in text, the rendering without.
func (t *Template) marks(text string, msgs []Message, o RenderOptions) ([]span, error) {
	if strings.Contains(text, markOpen) || strings.Contains(text, markClose) {
		return nil, fmt.Errorf("chat template of %s: a message holds U+FDD0 or U+FDD1, which Unicode reserves: take them out", t.name)
	}
	rendered, err := t.render(t.marked, msgs, o)
	if err != nil {
		return nil, err
	}
	var spans []span
	var plain strings.Builder
	for rest := rendered; ; {
		head, tail, ok := strings.Cut(rest, markOpen)
		plain.WriteString(head)
		if !ok {
			break
		}
		body, after, ok := strings.Cut(tail, markClose)
		if !ok || strings.Contains(body, markOpen) {
			return nil, errNested(t.name)
		}
		from := plain.Len()
		plain.WriteString(body)
		if body != "" {
			spans = append(spans, span{from, plain.Len()})
		}
		rest = after
	}
	if plain.String() != text {
		return nil, errNested(t.name)
	}
	return spans, nil
}

func errNested(name string) error {
	return errors.New("chat template of " + name + ": its {% generation %} blocks are nested, or their text is changed after they end")
}
