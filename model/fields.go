package model

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/hone-lm/hone/model/internal/strictjson"
)

// fields reads the entries of a JSON object by name, remembers which were asked for, and keeps the first error.
type fields struct {
	list  []strictjson.Field
	index map[string]int
	used  map[string]bool
	err   error
}

func parseFields(data []byte) (*fields, error) {
	list, err := strictjson.Object(data)
	if err != nil {
		return nil, err
	}
	f := &fields{list: list, index: map[string]int{}, used: map[string]bool{}}
	for i, x := range list {
		f.index[x.Key] = i
	}
	return f, nil
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
}

// get returns the raw value; false when the key is absent or null. The key counts as understood.
func (f *fields) get(key string) (json.RawMessage, bool) {
	f.used[key] = true
	i, ok := f.index[key]
	if !ok || f.list[i].Null() {
		return nil, false
	}
	return f.list[i].Raw, true
}

func read[T any](f *fields, key, what string, absent T) T {
	raw, ok := f.get(key)
	if !ok {
		return absent
	}
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		f.fail("%s is %s; expected %s", key, clip(raw), what)
		return absent
	}
	return v
}

func (f *fields) float(key string, absent float64) float64 {
	return read(f, key, "a number", absent)
}
func (f *fields) bool(key string, absent bool) bool { return read(f, key, "true or false", absent) }
func (f *fields) string(key, absent string) string  { return read(f, key, "a string", absent) }

// int accepts 8 and 8.0.
func (f *fields) int(key string, absent int) int {
	v := f.float(key, float64(absent))
	if v != math.Trunc(v) || math.Abs(v) > 1<<53 {
		f.fail("%s is %v; expected an integer", key, v)
		return absent
	}
	return int(v)
}

// need is int for a key that must be there.
func (f *fields) need(key string) int {
	if _, ok := f.get(key); !ok {
		f.fail("%s is missing", key)
		return 0
	}
	return f.int(key, 0)
}

// ids reads a token id or a list of them.
func (f *fields) ids(key string) []int32 {
	raw, ok := f.get(key)
	if !ok {
		return nil
	}
	var one int32
	var list []int32
	if json.Unmarshal(raw, &one) == nil {
		return []int32{one}
	}
	if json.Unmarshal(raw, &list) != nil {
		f.fail("%s is %s; expected a token id or a list of them", key, clip(raw))
	}
	return list
}

// object reads a nested object; nil when absent.
func (f *fields) object(key string) *fields {
	raw, ok := f.get(key)
	if !ok {
		return nil
	}
	o, err := parseFields(raw)
	if err != nil {
		f.fail("%s: %v", key, err)
		return nil
	}
	return o
}

// done returns the first error, or an error that names a key nobody asked for. Null values and keys that harmless accepts are let pass.
func (f *fields) done(harmless func(strictjson.Field) bool, remedy string) error {
	if f.err != nil {
		return f.err
	}
	for _, x := range f.list {
		if !f.used[x.Key] && !x.Null() && !harmless(x) {
			return fmt.Errorf("field %q (%s) is not known here; %s", x.Key, clip(x.Raw), remedy)
		}
	}
	return nil
}

// clip shortens a value for an error message.
func clip(raw []byte) string {
	s := strings.Join(strings.Fields(string(raw)), " ")
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
