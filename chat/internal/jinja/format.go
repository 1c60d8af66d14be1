package jinja

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

func pad(s, id string, args []Value, kw *Dict) (Value, error) {
	p, err := params(id, args, kw, "width", "fillchar")
	if err != nil {
		return nil, err
	}
	if !given(p[0]) {
		return nil, typeError("%s expected at least 1 argument, got 0", id)
	}
	width, err := integer(id, p[0])
	if err != nil {
		return nil, err
	}
	fill := " "
	if given(p[1]) {
		fill = str(p[1])
	}
	if utf8.RuneCountInString(fill) != 1 {
		return nil, typeError("The fill character must be exactly one character long")
	}
	n := width - utf8.RuneCountInString(s)
	if n <= 0 {
		return s, nil
	}
	if n > maxText {
		return nil, errors.New(tooLarge)
	}
	left := 0
	switch id {
	case "rjust":
		left = n
	case "center":
		left = n/2 + n&width&1 // as CPython rounds
	case "zfill":
		if s != "" && (s[0] == '-' || s[0] == '+') {
			return s[:1] + strings.Repeat("0", n) + s[1:], nil
		}
		return strings.Repeat("0", n) + s, nil
	}
	return strings.Repeat(fill, left) + s + strings.Repeat(fill, n-left), nil
}

// format is str.format without format specifications.
func format(s string, args []Value, kw *Dict) (Value, error) {
	var b strings.Builder
	next, manual := 0, false
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c == '{' || c == '}') && i+1 < len(s) && s[i+1] == c {
			b.WriteByte(c)
			i++
			continue
		}
		if c != '{' {
			b.WriteByte(c)
			continue
		}
		end := strings.IndexByte(s[i:], '}')
		if end < 0 {
			return nil, errors.New("ValueError: expected '}' before end of string")
		}
		field := s[i+1 : i+end]
		i += end
		if strings.ContainsAny(field, ":!.[") {
			return nil, fmt.Errorf("format: {%s}: format specifications are not read", field)
		}
		automatic := field == ""
		if automatic {
			field = strconv.Itoa(next)
			next++
		}
		if n, err := strconv.Atoi(field); err == nil {
			if manual = manual || !automatic; manual && next > 0 {
				return nil, errors.New("ValueError: cannot switch between manual and automatic field numbering")
			}
			if n < 0 || n >= len(args) {
				return nil, errors.New("IndexError: Replacement index out of range for positional args tuple")
			}
			b.WriteString(str(args[n]))
			continue
		}
		var v Value
		ok := false
		if kw != nil {
			v, ok = kw.get(field)
		}
		if !ok {
			return nil, fmt.Errorf("KeyError: '%s'", field)
		}
		b.WriteString(str(v))
	}
	return b.String(), nil
}

// percent is the % operator of a text: %s %r %d %i %f %.3f %%.
func percent(s string, v Value) (Value, error) {
	args := []Value{v}
	if l, ok := v.(*List); ok && l.Tuple {
		args = l.Items
	}
	var b strings.Builder
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		j := i + 1
		for j < len(s) && (s[j] == '.' || '0' <= s[j] && s[j] <= '9') && j < i+6 {
			j++
		}
		if j == len(s) {
			return nil, errors.New("ValueError: incomplete format")
		}
		verb, flags := s[j], s[i+1:j]
		i = j
		if verb == '%' {
			b.WriteByte('%')
			continue
		}
		if n == len(args) {
			return nil, typeError("not enough arguments for format string")
		}
		arg := args[n]
		n++
		f, k, isInt, ok := number(arg)
		switch {
		case verb == 's' && flags == "":
			b.WriteString(str(arg))
		case verb == 'r' && flags == "":
			b.WriteString(repr(arg))
		case (verb == 'd' || verb == 'i') && ok:
			if !isInt {
				k = int64(f)
			}
			fmt.Fprintf(&b, "%"+flags+"d", k)
		case verb == 'f' && ok:
			fmt.Fprintf(&b, "%"+flags+"f", f)
		default:
			return nil, typeError("%%%s%c with %s is not read", flags, verb, typeName(arg))
		}
	}
	if kind := typeName(v); n < len(args) && kind != "dict" && kind != "list" && kind != "Undefined" { // what has keys may be left over
		return nil, typeError("not all arguments converted during string formatting")
	}
	return b.String(), nil
}
