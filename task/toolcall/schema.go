package toolcall

import (
	"fmt"
	"strings"
)

// jsonTypes are JSON Schema's names for the types of function descriptions; others become "string", as on the leaderboard.
var jsonTypes = map[string]string{
	"integer": "integer", "number": "number", "float": "number", "string": "string", "boolean": "boolean", "bool": "boolean",
	"array": "array", "list": "array", "dict": "object", "object": "object", "tuple": "array", "any": "string",
	"byte": "integer", "short": "integer", "long": "integer", "double": "number", "char": "string", "ArrayList": "array", "Array": "array",
	"HashMap": "object", "Hashtable": "object", "Queue": "array", "Stack": "array", "Any": "string", "String": "string", "Bigint": "integer",
}

// Tools writes function descriptions as chat templates and OpenAI-style servers take them: a JSON list of {"type": "function", "function":
// {name, description, parameters}} with JSON Schema's type names.
func Tools(functions List) (string, error) {
	out := make(List, len(functions))
	for i, f := range functions {
		d, ok := f.(*Dict)
		if !ok {
			return "", fmt.Errorf("function %d: a %s, want a description {name, description, parameters}", i+1, kindOf(f))
		}
		out[i] = NewDict("type", "function", "function", jsonSchema(d, false))
	}
	return EncodeJSON(out)
}

// jsonSchema copies a description with JSON Schema's type names. Within "properties" keys are parameters' names, so a parameter that is
// called type stays as it is.
func jsonSchema(v Value, names bool) Value {
	switch v := v.(type) {
	case List:
		out := make(List, len(v))
		for i, x := range v {
			out[i] = jsonSchema(x, false)
		}
		return out
	case *Dict:
		out := &Dict{}
		for _, it := range v.Items() {
			key, _ := it.Key.(string)
			value := it.Value
			name, isText := value.(string)
			switch {
			case names:
				value = jsonSchema(value, false)
			case key == "type" && isText:
				t, ok := jsonTypes[name]
				if !ok {
					t = "string"
				}
				value = t
			case key == "default" || key == "enum":
			default:
				value = jsonSchema(value, key == "properties")
			}
			_ = out.Set(it.Key, value) // a key already
		}
		return out
	}
	return v
}

// Docs writes function descriptions as they are, one JSON object a line: for models whose chat template takes no tools.
func Docs(functions List) (string, error) {
	lines := make([]string, len(functions))
	for i, f := range functions {
		var err error
		if lines[i], err = EncodeJSON(f); err != nil {
			return "", fmt.Errorf("function %d: %w", i+1, err)
		}
	}
	return strings.Join(lines, "\n"), nil
}

// Instruction is the system turn for models whose chat template takes no tools: how to call, and the functions.
func Instruction(docs string) string {
	return `You can call the functions below. Answer with a list of calls and nothing else, as in
[name(parameter=value, parameter="text"), name(parameter=[1, 2])]
If no function fits, or a required value is missing, say so in words and call none.

Functions, one a line:
` + docs
}

// Signature writes a description in few bytes: book(city:string, days:integer?), with ? behind parameters that may be left out.
func Signature(doc *Dict) (string, error) {
	name, params, required, err := signature(doc)
	if err != nil {
		return "", err
	}
	parts := make([]string, 0, params.Len())
	for _, it := range params.Items() {
		key, _ := it.Key.(string)
		d, _ := it.Value.(*Dict)
		t, _ := d.Get("type")
		part := key
		if s, ok := t.(string); ok {
			part += ":" + s
		}
		if needed, _ := contains(required, key); !needed {
			part += "?"
		}
		parts = append(parts, part)
	}
	return name + "(" + strings.Join(parts, ", ") + ")", nil
}
