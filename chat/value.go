package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/ardanlabs/jinja"
)

// maxDepth bounds the nesting of a JSON value.
const maxDepth = 200

// fromJSON reads one JSON value, with the members of objects in the order in which they are written (templates print them) and integers
// apart from floats.
func fromJSON(b []byte) (jinja.Value, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := readValue(d, 0)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return jinja.Undefined(), err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return jinja.Undefined(), fmt.Errorf("more than one JSON value, at byte %d", d.InputOffset())
	}
	return v, nil
}

func readValue(d *json.Decoder, depth int) (jinja.Value, error) {
	t, err := d.Token()
	if err != nil {
		return jinja.Undefined(), err
	}
	switch t := t.(type) {
	case nil:
		return jinja.None(), nil
	case bool:
		return jinja.NewBool(t), nil
	case string:
		return jinja.NewString(t), nil
	case json.Number:
		return number(t)
	}
	if depth == maxDepth {
		return jinja.Undefined(), fmt.Errorf("JSON is nested deeper than %d levels, at byte %d", maxDepth, d.InputOffset())
	}
	if t == json.Delim('[') {
		var items []jinja.Value
		for d.More() {
			v, err := readValue(d, depth+1)
			if err != nil {
				return v, err
			}
			items = append(items, v)
		}
		_, err = d.Token()
		return jinja.NewList(items), err
	}
	dict := jinja.NewDict()
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return dict, err
		}
		v, err := readValue(d, depth+1)
		if err != nil {
			return v, err
		}
		dict.AsDict().Set(key.(string), v)
	}
	_, err = d.Token()
	return dict, err
}

func number(n json.Number) (jinja.Value, error) {
	if !strings.ContainsAny(n.String(), ".eE") {
		if i, err := n.Int64(); err == nil {
			return jinja.NewInt(i), nil
		}
	}
	f, err := n.Float64()
	if err != nil {
		return jinja.Undefined(), fmt.Errorf("number %s does not fit: %w", n, err)
	}
	return jinja.NewFloat(f), nil
}
