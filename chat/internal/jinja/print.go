package jinja

import (
	"strings"

	"github.com/hone-lm/hone/internal/pyrepr"
)

// str is Python's str().
func str(v Value) string {
	switch x := v.(type) {
	case string:
		return x
	case Markup:
		return string(x)
	case *Undefined:
		return ""
	}
	return repr(v)
}

// repr is Python's repr().
func repr(v Value) string {
	var b strings.Builder
	writeRepr(&b, v)
	return b.String()
}

func writeRepr(b *strings.Builder, v Value) {
	if scalar, ok := pyrepr.Scalar(v); ok {
		b.WriteString(scalar)
		return
	}
	switch x := v.(type) {
	case Markup:
		b.WriteString("Markup(")
		b.WriteString(pyrepr.Quoted(string(x)))
		b.WriteByte(')')
	case *Generator:
		if x.view == "" {
			b.WriteString("<generator>")
			return
		}
		b.WriteString(x.view + "(")
		writeRepr(b, list(x.items))
		b.WriteByte(')')
	case *Undefined:
		b.WriteString("Undefined")
	case *List:
		writeList(b, x)
	case *Dict:
		b.WriteByte('{')
		for i, k := range x.keys {
			if i > 0 {
				b.WriteString(", ")
			}
			writeRepr(b, k)
			b.WriteString(": ")
			writeRepr(b, x.vals[i])
		}
		b.WriteByte('}')
	case *Namespace:
		b.WriteString("<Namespace ")
		writeRepr(b, x.attrs)
		b.WriteByte('>')
	default:
		b.WriteString("<" + typeName(v) + ">")
	}
}

func writeList(b *strings.Builder, x *List) {
	if x.shown != "" {
		b.WriteString(x.shown)
		return
	}
	open, end := "[", "]"
	if x.Tuple {
		open, end = "(", ")"
		if len(x.Items) == 1 {
			end = ",)"
		}
	}
	b.WriteString(open)
	for i, item := range x.Items {
		if i > 0 {
			b.WriteString(", ")
		}
		writeRepr(b, item)
	}
	b.WriteString(end)
}
