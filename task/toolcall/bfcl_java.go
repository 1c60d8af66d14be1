package toolcall

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// The leaderboard's Java and JavaScript rows give every argument as a text with code, which is turned into a value by the declared type
// before it is judged. What does not look like a literal of its type stays a text, so that it fails the type check or stands for a
// variable. The patterns are those of BFCL v4; they are no parsers of the two languages.

const kindSet kind = "set"

var java = &dialect{
	name: "java",
	types: map[string]kind{
		"byte": kindInt, "short": kindInt, "integer": kindInt, "long": kindInt, "float": kindFloat, "double": kindFloat,
		"boolean": kindBool, "char": kindStr, "String": kindStr, "any": kindStr,
		"Array": kindList, "ArrayList": kindList, "Queue": kindList, "Stack": kindList, "Set": kindSet, "HashMap": kindDict, "Hashtable": kindDict,
	},
	nested:  []string{"Array", "ArrayList"},
	convert: convertJava,
}

var javascript = &dialect{
	name: "js",
	types: map[string]kind{
		"String": kindStr, "integer": kindInt, "float": kindFloat, "Bigint": kindInt, "Boolean": kindBool,
		"dict": kindDict, "array": kindList, "any": kindStr,
	},
	nested:  []string{"array"},
	convert: convertJS,
}

// languageOf tells a category's language by the words in its name.
func languageOf(category string) *dialect {
	switch {
	case strings.Contains(category, "javascript"):
		return javascript
	case strings.Contains(category, "java"):
		return java
	}
	return python
}

const maxCode = 1 << 16 // bytes of one argument: the patterns take more than linear time

// In these patterns a line feed may stand at the end, as Python's $ allows.
var (
	wholeNumber  = regexp.MustCompile(`^-?\d+\n?$`)
	javaLong     = regexp.MustCompile(`^-?\d+[lL]\n?$`)
	javaFloat    = regexp.MustCompile(`^-?\d+(\.\d+)?([eE][+-]?\d+)?[fF]\n?$`)
	javaDouble   = regexp.MustCompile(`^-?\d+(\.\d+)?([eE][+-]?\d+)?\n?$`)
	javaAsList   = regexp.MustCompile(`new\s+ArrayList<\w*>\(Arrays\.asList\((.+?)\)\)`)
	javaAdds     = regexp.MustCompile(`(?s)new\s+ArrayList<\w*>\(\)\s*\{\{\s*(.+?)\s*\}\}`)
	javaAdd      = regexp.MustCompile(`add\((.+?)\)`)
	javaNewList  = regexp.MustCompile(`new\s+ArrayList<\w*>\(\)`)
	javaNewArray = regexp.MustCompile(`new\s+\w+\[\]\s*\{(.*?)\}`)
	javaPuts     = regexp.MustCompile(`(?s)new\s+HashMap<.*?>\s*\(\)\s*\{\s*\{?\s*(.*?)\s*\}?\s*\}`)
	javaPut      = regexp.MustCompile(`put\("(.*?)",\s*(.*?)\)`)
	javaNewMap   = regexp.MustCompile(`(?s)new\s+HashMap<.*?>\s*\(\)`)
)

// convertJava turns Java code into a value of the declared type; inner is the type of a list's items, "" if not known.
func convertJava(text, declared, inner string) (Value, error) {
	if len(text) > maxCode {
		return nil, fmt.Errorf("code of %d bytes: at most %d are read", len(text), maxCode)
	}
	pattern, cut := (*regexp.Regexp)(nil), ""
	switch declared {
	case "byte", "short", "integer":
		pattern = wholeNumber
	case "long":
		pattern, cut = javaLong, "lL"
	case "float":
		pattern, cut = javaFloat, "fF"
	case "double":
		pattern = javaDouble
	case "boolean":
		if text == "true" || text == "false" {
			return text == "true", nil
		}
		return text, nil
	case "char", "String", "any":
		return text, nil
	case "ArrayList":
		return javaList(text, inner)
	case "Array":
		return javaArray(text, inner)
	case "HashMap":
		return javaMap(text), nil
	default:
		return nil, fmt.Errorf("type %s: the leaderboard itself converts no values of it", declared)
	}
	if !pattern.MatchString(text) {
		return text, nil
	}
	digits := strings.TrimRight(strings.TrimSuffix(text, "\n"), cut)
	if declared == "float" || declared == "double" {
		return pythonFloat(digits), nil
	}
	return pythonInt(digits), nil
}

// javaList reads new ArrayList<>(Arrays.asList(...)) and new ArrayList<>() {{ add(...); }}.
func javaList(text, inner string) (Value, error) {
	var parts []string
	if m := javaAsList.FindStringSubmatch(text); m != nil {
		parts = strings.Split(m[1], ",")
	} else if m := javaAdds.FindStringSubmatch(text); m != nil {
		for _, add := range javaAdd.FindAllStringSubmatch(m[1], -1) {
			parts = append(parts, add[1])
		}
	} else if !javaNewList.MatchString(text) {
		return text, nil
	}
	out := List{}
	for _, part := range parts {
		part = strings.TrimSpace(part)
		if inner == "char" || inner == "String" {
			out = append(out, unquoted(part))
			continue
		}
		v, err := javaItem(part, inner)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// javaArray reads new T[]{...}.
func javaArray(text, inner string) (Value, error) {
	m := javaNewArray.FindStringSubmatch(text)
	if m == nil {
		return text, nil
	}
	out := List{}
	for part := range strings.SplitSeq(m[1], ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		v, err := javaItem(part, inner)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func javaItem(text, declared string) (Value, error) {
	if declared == "" {
		return javaValue(text), nil
	}
	return convertJava(text, declared, "")
}

// javaMap reads new HashMap<>() {{ put("key", value); }}.
func javaMap(text string) Value {
	m := javaPuts.FindStringSubmatch(text)
	if m == nil && !javaNewMap.MatchString(text) {
		return text
	}
	out := &Dict{}
	if m != nil && strings.TrimSpace(m[1]) != "" {
		for _, put := range javaPut.FindAllStringSubmatch(m[1], -1) {
			out.put(put[1], javaValue(strings.TrimSpace(put[2])))
		}
	}
	return out
}

// javaValue reads a value whose type nothing tells.
func javaValue(text string) Value {
	switch {
	case text == "true" || text == "false":
		return text == "true"
	case strings.HasPrefix(text, `"`) && strings.HasSuffix(text, `"`):
		return unquoted(text)
	case javaLong.MatchString(text):
		return pythonInt(strings.TrimRight(text, "lL\n"))
	case javaFloat.MatchString(text):
		return pythonFloat(strings.TrimRight(text, "fF\n"))
	}
	return numberOrText(text)
}

// unquoted drops the first and the last character.
func unquoted(text string) string {
	r := []rune(text)
	if len(r) < 2 {
		return ""
	}
	return string(r[1 : len(r)-1])
}

// numberOrText is what Python's int, else float, make of a text, else the text.
func numberOrText(text string) Value {
	if v := pythonInt(text); v != nil {
		return v
	}
	if v := pythonFloat(text); v != nil {
		return v
	}
	return text
}

var (
	intForm   = regexp.MustCompile(`^[+-]?\d+(_\d+)*$`)
	floatForm = regexp.MustCompile(`^[+-]?(\d+(_\d+)*\.?|\d*\.?\d+(_\d+)*|\d+(_\d+)*\.\d+(_\d+)*)([eE][+-]?\d+(_\d+)*)?$`)
)

// pythonInt is Python's int(text), nil where that raises.
func pythonInt(text string) Value {
	if text = strings.TrimSpace(text); !intForm.MatchString(text) || len(text) > maxDigits {
		return nil
	}
	n, ok := new(big.Int).SetString(strings.ReplaceAll(text, "_", ""), 10)
	if !ok {
		return nil
	}
	return whole(n)
}

// pythonFloat is Python's float(text), nil where that raises.
func pythonFloat(text string) Value {
	text = strings.TrimSpace(text)
	switch strings.ToLower(strings.TrimLeft(text, "+-")) {
	case "inf", "infinity", "nan":
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil
		}
		return v
	}
	if !floatForm.MatchString(text) {
		return nil
	}
	v, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	if err != nil && !math.IsInf(v, 0) {
		return nil
	}
	return v
}
