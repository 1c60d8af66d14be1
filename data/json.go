package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

const maxDepth = 64 // of objects and arrays within a row; real rows stay below ten

// column is one top-level field of a row, as written.
type column struct {
	name  string
	value json.RawMessage
}

// columns splits a row, which has to be one JSON object, into its top-level fields. It is stricter than encoding/json, which lets
// pass duplicate keys, broken UTF-8 and halves of surrogate pairs, and would train on something other than what the file seems to say.
func columns(raw []byte) ([]column, error) {
	if !utf8.Valid(raw) {
		at := 0
		for at < len(raw) {
			r, n := utf8.DecodeRune(raw[at:])
			if r == utf8.RuneError && n == 1 {
				break
			}
			at += n
		}
		return nil, fmt.Errorf("byte %d of the row (0x%02x) is not UTF-8; convert the file to UTF-8", at+1, raw[at])
	}
	if err := json.Unmarshal(raw, new(json.RawMessage)); err != nil {
		return nil, explain(raw, err)
	}
	if raw[0] != '{' {
		return nil, fmt.Errorf("the row is %s; a row is an object: {\"prompt\": ..., \"completion\": ...}", kindOf(raw))
	}
	if err := checkNames(raw); err != nil {
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	var cols []column
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		cols = append(cols, column{t.(string), value})
	}
	return cols, nil
}

// checkNames walks a valid row for duplicate keys, deep nesting and lone surrogates.
func checkNames(raw []byte) error {
	if at := loneSurrogate(raw); at >= 0 {
		return fmt.Errorf(`%s is half of a surrogate pair and stands for no character; repair the text where it was written`, raw[at:at+6])
	}
	type level struct {
		object, value bool // value: the next token of an object is a value
		names         map[string]bool
	}
	var open []level
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	for {
		t, err := dec.Token()
		if err != nil { // io.EOF: the row was valid
			return nil
		}
		top := len(open) - 1
		if d, ok := t.(json.Delim); ok && (d == '}' || d == ']') {
			open = open[:top]
			continue
		}
		if top >= 0 && open[top].object {
			if !open[top].value {
				name := t.(string)
				if open[top].names[name] {
					return fmt.Errorf("key %q occurs twice in one object; keep one", name)
				}
				if open[top].names == nil {
					open[top].names = map[string]bool{}
				}
				open[top].names[name] = true
			}
			open[top].value = !open[top].value
		}
		if d, ok := t.(json.Delim); ok {
			if len(open) == maxDepth {
				return fmt.Errorf("more than %d objects and arrays within each other", maxDepth)
			}
			open = append(open, level{object: d == '{'})
		}
	}
}

// loneSurrogate returns the place of an escape \uD800..\uDFFF without its other half, or -1.
func loneSurrogate(raw []byte) int {
	for i := 0; i+1 < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		if raw[i+1] != 'u' {
			i++
			continue
		}
		c := escape(raw, i)
		switch {
		case c < 0xd800 || c > 0xdfff:
			i += 5
		case c < 0xdc00 && escape(raw, i+6) >= 0xdc00 && escape(raw, i+6) <= 0xdfff:
			i += 11
		default:
			return i
		}
	}
	return -1
}

func escape(raw []byte, i int) uint64 {
	if i+6 > len(raw) || raw[i] != '\\' || raw[i+1] != 'u' {
		return 0
	}
	c, err := strconv.ParseUint(string(raw[i+2:i+6]), 16, 16)
	if err != nil {
		return 0
	}
	return c
}

// explain says in the writer's terms what encoding/json found.
func explain(raw []byte, err error) error {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	at := int(min(max(syntax.Offset-1, 0), int64(len(raw)-1)))
	rest := raw[at:]
	before := bytes.TrimRight(raw[:at], " \t\r\n")
	where := fmt.Sprintf("column %d", at+1)
	switch {
	case syntax.Error() == "unexpected end of JSON input":
		return errors.New("the row ends in the middle of its JSON; a row takes exactly one line (was the file cut off, or is it one indented document? put its rows on single lines, or into one array [...])")
	case (rest[0] == '}' || rest[0] == ']') && bytes.HasSuffix(before, []byte(",")):
		return fmt.Errorf("%s: trailing comma before %q; remove it", where, rest[:1])
	case startsWord(raw, at, "NaN"), startsWord(raw, at, "Infinity"), startsWord(raw, at, "None"), startsWord(raw, at, "True"), startsWord(raw, at, "False"), startsWord(raw, at, "undefined"):
		return fmt.Errorf("%s: %.12q is not JSON (Python's json.dumps writes NaN unless allow_nan=False); write null, true, false or a number", where, rest)
	case rest[0] == '\'':
		return fmt.Errorf("%s: JSON strings take double quotes, not single ones", where)
	case rest[0] < 0x20:
		return fmt.Errorf("%s: a control character (0x%02x) stands bare in a string; write it as \\n, \\t or \\u%04x", where, rest[0], rest[0])
	case bytes.HasSuffix(before, []byte("}")):
		return fmt.Errorf("%s: something follows the row's closing brace; one row a line, without commas between lines", where)
	}
	return fmt.Errorf("%s: not JSON: %w", where, syntax)
}

// startsWord finds a bare word at the place of the error, or where the decoder got one letter into it ("N" of NaN, "Na" of Nan).
func startsWord(raw []byte, at int, word string) bool {
	for back := 0; back <= 1 && back <= at; back++ {
		if bytes.HasPrefix(raw[at-back:], []byte(word)) {
			return true
		}
	}
	return false
}

// kindOf names the type of a valid JSON value.
func kindOf(raw []byte) string {
	switch raw[0] {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}
