package toolcall

import (
	"fmt"
	"strings"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

var ignored = strings.NewReplacer(" ", "", ",", "", ".", "", "/", "", "-", "", "_", "", "*", "", "^", "")

// Standard is the form in which the leaderboard compares strings: lower case without spaces and ,./-_*^, with one kind of quotes.
func Standard(s string) string {
	s = ignored.Replace(s)
	for i := range len(s) {
		if s[i] >= 0x80 { // Python's lower knows the final sigma and letters that become two
			return strings.ReplaceAll(cases.Lower(language.Und).String(s), "'", `"`)
		}
	}
	return strings.ReplaceAll(strings.ToLower(s), "'", `"`)
}

// standard puts strings into their standard form and leaves other values alone.
func standard(v Value) Value {
	if s, ok := v.(string); ok {
		return Standard(s)
	}
	return v
}

func standardAll(items []Value) List {
	out := make(List, len(items))
	for i, v := range items {
		out[i] = standard(v)
	}
	return out
}

// elements is what Python iterates over.
func elements(v Value) ([]Value, error) {
	switch v := v.(type) {
	case List:
		return v, nil
	case Tuple:
		return v, nil
	case string:
		var out []Value
		for _, r := range v {
			out = append(out, string(r))
		}
		return out, nil
	case *Dict:
		var out []Value
		for _, it := range v.Items() {
			out = append(out, it.Key)
		}
		return out, nil
	}
	return nil, fmt.Errorf("the row has %s where a list of accepted values should stand", Repr(v))
}

// sequence is what Python can count and index from 0: a dictionary with keys is not.
func sequence(v Value) ([]Value, error) {
	if d, ok := v.(*Dict); ok && d.Len() > 0 {
		return nil, fmt.Errorf("the row has the dictionary %s where a list of accepted values should stand", Repr(v))
	}
	return elements(v)
}

// contains is Python's in.
func contains(in, v Value) (bool, error) {
	switch in := in.(type) {
	case string:
		s, ok := v.(string)
		if !ok {
			return false, fmt.Errorf("%s cannot be looked for in the text %q", Repr(v), in)
		}
		return strings.Contains(in, s), nil
	case *Dict:
		hash, err := hashText(v)
		if err != nil {
			return false, err
		}
		_, ok := in.lookup(hash)
		return ok, nil
	}
	items, err := elements(in)
	for _, x := range items {
		if Equal(x, v) {
			return true, nil
		}
	}
	return false, err
}

// compareStructured compares dictionaries, lists of them, strings and lists by their own rules; structured is false for other types.
func compareStructured(value Value, options []Value, want, inner kind) (errorType string, structured bool, err error) {
	switch {
	case want == kindDict:
		errorType, err = compareDict(value, options)
	case want == kindList && inner == kindDict:
		errorType, err = compareDictList(value, options)
	case want == kindStr:
		errorType = compareString(value, options)
	case want == kindList:
		errorType, err = compareList(value, options)
	default:
		return "", false, nil
	}
	return errorType, true, err
}

func compareString(value Value, options []Value) string {
	got := standard(value)
	for _, o := range options {
		if s, ok := o.(string); ok && Standard(s) == got {
			return ""
		}
	}
	return "value_error:string"
}

// compareList wants an accepted list with the same items, strings in standard form at the first level only.
func compareList(value Value, options []Value) (string, error) {
	items, err := elements(value)
	if err != nil {
		return "", err
	}
	got := standardAll(items)
	found := false
	for _, o := range options {
		items, err := sequence(o)
		if err != nil {
			return "", err
		}
		found = found || equalItems(got, standardAll(items))
	}
	if found {
		return "", nil
	}
	return "value_error:list/tuple", nil
}

// compareDict wants an accepted dictionary {key: [accepted values]} whose keys are those of value, but for ones that may be left out. The
// error type is that of the last accepted dictionary.
func compareDict(value Value, options []Value) (string, error) {
	got, ok := value.(*Dict)
	if !ok {
		return "", fmt.Errorf("%s stands where a dictionary should", Repr(value))
	}
	errorType := "dict_checker:unclear"
	for _, o := range options {
		if Equal(o, "") {
			continue
		}
		accepted, ok := o.(*Dict)
		if !ok {
			return "", fmt.Errorf("the row has %s where an accepted dictionary should stand", Repr(o))
		}
		e, err := compareKeys(got, accepted)
		if err != nil {
			return "", err
		}
		if e == "" {
			return "", nil
		}
		errorType = e
	}
	return errorType, nil
}

func compareKeys(got, accepted *Dict) (errorType string, err error) {
	for _, it := range got.Items() {
		hash, err := hashText(it.Key)
		if err != nil {
			return "", err
		}
		options, ok := accepted.lookup(hash)
		if !ok {
			errorType = "value_error:dict_key"
			break
		}
		values, err := sequence(options)
		if err != nil {
			return "", err
		}
		if ok, err := contains(standardAll(values), standard(it.Value)); err != nil {
			return "", err
		} else if !ok {
			errorType = "value_error:dict_value"
			break
		}
	}
	for _, it := range accepted.Items() {
		hash, err := hashText(it.Key)
		if err != nil {
			return "", err
		}
		if _, ok := got.lookup(hash); ok {
			continue
		}
		optional, err := contains(it.Value, "")
		if err != nil {
			return "", err
		}
		if !optional {
			return "value_error:dict_key", nil
		}
	}
	return errorType, nil
}

// compareDictList compares lists of dictionaries in their order. The error type is that of the last accepted list.
func compareDictList(value Value, options []Value) (string, error) {
	items, err := elements(value)
	if err != nil {
		return "", err
	}
	errorType := "list_dict_checker:unclear"
	for _, o := range options {
		accepted, err := sequence(o)
		if err != nil {
			return "", err
		}
		if len(items) != len(accepted) {
			errorType = "value_error:list_dict_count"
			continue
		}
		good := true
		for i, item := range items {
			e, err := compareDict(item, accepted[i:i+1])
			if err != nil {
				return "", err
			}
			if e != "" {
				errorType, good = e, false
				break
			}
		}
		if good {
			return "", nil
		}
	}
	return errorType, nil
}
