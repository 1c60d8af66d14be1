// Package strictjson splits JSON objects into ordered fields and refuses what encoding/json lets pass: keys that stand twice, bytes that are
// not UTF-8, text after the object. Keys are compared exactly, where encoding/json ignores case.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// Field is one entry of an object, in file order.
type Field struct {
	Key string
	Raw json.RawMessage
}

// Null reports whether the value is null.
func (f Field) Null() bool { return string(f.Raw) == "null" }

// ErrUTF8 is wrapped by Object's error for bytes that are not UTF-8.
var ErrUTF8 = errors.New("not valid UTF-8")

// Object splits one JSON object; white space may stand around it.
func Object(data []byte) ([]Field, error) {
	if !utf8.Valid(data) {
		return nil, ErrUTF8
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	tok, err := dec.Token()
	if err != nil {
		return nil, notJSON(err)
	}
	if tok != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	var fields []Field
	seen := map[string]bool{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, notJSON(err)
		}
		key, ok := tok.(string)
		if !ok {
			return nil, fmt.Errorf("a key is %v, not a string", tok)
		}
		if seen[key] {
			return nil, fmt.Errorf("key %q stands twice", key)
		}
		seen[key] = true
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, fmt.Errorf("key %q: %w", key, notJSON(err))
		}
		fields = append(fields, Field{key, raw})
	}
	if _, err := dec.Token(); err != nil {
		return nil, notJSON(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("text follows the JSON object")
	}
	return fields, nil
}

func notJSON(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("not valid JSON: it ends too early")
	}
	return fmt.Errorf("not valid JSON: %w", err)
}

// Array splits one JSON array.
func Array(data []byte) ([]json.RawMessage, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(data, &list); err != nil || list == nil {
		return nil, errors.New("not a JSON array")
	}
	return list, nil
}
