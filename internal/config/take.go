package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Take cuts a top-level key with a plain value out of YAML text: for the one key that says which struct the rest belongs to. Its line is
// left empty, so that places in later errors stay true. A key that is not there gives "".
func Take(file string, src []byte, key string) (value string, rest []byte, err error) {
	root, err := parse(file, src)
	if err != nil {
		return "", nil, err
	}
	if root == nil || root.kind != mapping {
		return "", src, nil
	}
	for _, p := range root.pairs {
		if p.name != key {
			continue
		}
		if p.value.kind != scalar {
			return "", nil, wrongType(p.value, key, "a name")
		}
		lines := strings.Split(string(src), "\n")
		line, column := lineAndColumn(p.at)
		if column != 1 || line > len(lines) || !strings.HasPrefix(p.value.at, fmt.Sprintf("%s:%d:", file, line)) || strings.HasPrefix(strings.TrimSpace(lines[line-1]), "{") {
			return "", nil, fmt.Errorf("%s: write %q with its value on a line of its own", p.at, key)
		}
		lines[line-1] = ""
		rest = []byte(strings.Join(lines, "\n"))
		if again, err := parse(file, rest); err != nil || again != nil && again.kind != mapping {
			return "", nil, fmt.Errorf("%s: write %q with its value on a line of its own", p.at, key) // the value goes on below
		}
		return p.value.text, rest, nil
	}
	return "", src, nil
}

// lineAndColumn reads the numbers at the end of a place.
func lineAndColumn(at string) (line, column int) {
	parts := strings.Split(at, ":")
	if len(parts) < 3 {
		return 0, 0
	}
	line, _ = strconv.Atoi(parts[len(parts)-2])
	column, _ = strconv.Atoi(parts[len(parts)-1])
	return line, column
}
