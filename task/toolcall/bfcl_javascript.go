package toolcall

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/dlclark/regexp2/v2"
)

var (
	jsFloat  = regexp.MustCompile(`^-?\d+(\.\d+)?\n?$`)
	jsBigint = regexp.MustCompile(`^-?\d+n\n?$`)
	jsRows   = regexp.MustCompile(`^(\[\s*\[.*?\]\s*(,\s*\[.*?\]\s*)*\]|\bnew\s+Array\(\s*\[.*?\]\s*(,\s*\[.*?\]\s*)*\))`)
	jsRow    = regexp.MustCompile(`\[(.*?)\]`)
	jsArray  = regexp.MustCompile(`^(?:\[(.*?)\]|\bnew\s+Array\((.*?)\))`)
	jsObject = regexp.MustCompile(`^\{(.*?)\}`)
	jsPairs  = regexp2.MustCompile(`([^:]+):\s*(.*?)(?:,\s*(?=[^,]+:)|$)`)
)

// convertJS turns JavaScript code into a value of the declared type; inner is the type of an array's items, "" if not known.
func convertJS(text, declared, inner string) (Value, error) {
	if len(text) > maxCode {
		return nil, fmt.Errorf("code of %d bytes: at most %d are read", len(text), maxCode)
	}
	var v Value
	switch {
	case declared == "String" && quotedJS(text):
		return unquoted(text), nil
	case declared == "integer" && wholeNumber.MatchString(text):
		v = pythonInt(text)
	case declared == "float" && jsFloat.MatchString(text):
		v = pythonFloat(text)
	case declared == "Bigint" && jsBigint.MatchString(text):
		v = pythonInt(strings.TrimRight(text, "n\n"))
	case declared == "Boolean" && (text == "true" || text == "false"):
		v = text == "true"
	case declared == "dict":
		return jsDict(text)
	case declared == "array":
		return jsList(text, inner)
	default:
		return text, nil
	}
	return v, nil
}

func quotedJS(text string) bool {
	return strings.HasPrefix(text, `"`) && strings.HasSuffix(text, `"`) || strings.HasPrefix(text, "'") && strings.HasSuffix(text, "'")
}

// jsList reads [[...], ...], [...] and new Array(...).
func jsList(text, inner string) (Value, error) {
	code := strings.TrimSpace(text)
	out := List{}
	if rows := jsRows.FindString(code); rows != "" {
		for i, m := range jsRow.FindAllStringSubmatch(rows, -1) {
			body := strings.TrimSpace(m[1])
			if i == 0 {
				body = strings.TrimPrefix(body, "[")
			}
			row := List{}
			for part := range strings.SplitSeq(body, ",") {
				row = append(row, jsValue(part))
			}
			out = append(out, row)
		}
		return out, nil
	}
	m := jsArray.FindStringSubmatch(code)
	if m == nil {
		return code, nil
	}
	body := strings.TrimSpace(m[1] + m[2]) // one of them is empty
	if body == "" {
		return out, nil
	}
	for part := range strings.SplitSeq(body, ",") {
		v := jsValue(part)
		if inner != "" {
			var err error
			if v, err = convertJS(strings.TrimSpace(part), inner, ""); err != nil {
				return nil, err
			}
		}
		out = append(out, v)
	}
	return out, nil
}

// jsDict reads {key: value, ...}.
func jsDict(text string) (Value, error) {
	code := strings.TrimSpace(text)
	out := &Dict{}
	if code == "{}" {
		return out, nil
	}
	object := jsObject.FindStringSubmatch(code)
	if object == nil {
		return code, nil
	}
	m, err := jsPairs.FindStringMatch(object[1])
	for ; m != nil && err == nil; m, err = jsPairs.FindNextMatch(m) {
		key := strings.Trim(strings.TrimSpace(m.GroupByNumber(1).String()), `'"`)
		value := strings.TrimSpace(m.GroupByNumber(2).String())
		var v Value
		switch {
		case strings.HasPrefix(value, "[") && strings.HasSuffix(value, "]"):
			v, err = jsList(value, "")
		case strings.HasPrefix(value, "{") && strings.HasSuffix(value, "}"):
			v, err = jsDict(value)
		default:
			v = jsValue(strings.Trim(value, `'"`))
		}
		if err != nil {
			return nil, err
		}
		out.put(key, v)
	}
	return out, err
}

// jsValue reads a value whose type nothing tells.
func jsValue(text string) Value {
	text = strings.TrimSpace(text)
	switch {
	case text == "true" || text == "false":
		return text == "true"
	case quotedJS(text):
		return unquoted(text)
	}
	return numberOrText(text)
}
