package claim

import (
	"fmt"
	"strconv"
	"strings"
)

// Axis is one setting of a sweep with its values.
type Axis struct {
	Key    string
	Values []string
}

// ParseAxis reads key=a,b,c or key=1..3; a comma that belongs to a value is written \, .
func ParseAxis(setting string) (Axis, error) {
	key, text, ok := strings.Cut(setting, "=")
	if !ok || key == "" {
		return Axis{}, fmt.Errorf("%q: write key=value, key=a,b or key=1..3", setting)
	}
	if from, to, ok := strings.Cut(text, ".."); ok {
		a, err1 := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		if err1 == nil && err2 == nil {
			if b < a || b-a > 999 {
				return Axis{}, fmt.Errorf("%q: want a range that grows, of at most 1000 values", setting)
			}
			x := Axis{Key: key}
			for i := a; i <= b; i++ {
				x.Values = append(x.Values, strconv.Itoa(i))
			}
			return x, nil
		}
	}
	x, value := Axis{Key: key}, strings.Builder{}
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text) && text[i+1] == ',':
			value.WriteByte(',')
			i++
		case text[i] == ',':
			x.Values = append(x.Values, value.String())
			value.Reset()
		default:
			value.WriteByte(text[i])
		}
	}
	x.Values = append(x.Values, value.String())
	return x, nil
}

// Grid returns a job for every combination, the last axis changing first. Axes with one value are plain settings.
func Grid(recipeName string, axes []Axis) []Job {
	jobs := []Job{{Name: recipeName, Recipe: recipeName}}
	for _, x := range axes {
		var next []Job
		for _, j := range jobs {
			for _, v := range x.Values {
				n := Job{Name: j.Name, Recipe: recipeName, Settings: append(append([]string(nil), j.Settings...), x.Key+"="+v)}
				if len(x.Values) > 1 {
					n.Name += "-" + slug(x.Key[strings.LastIndexByte(x.Key, '.')+1:]+v)
				}
				next = append(next, n)
			}
		}
		jobs = next
	}
	return jobs
}
