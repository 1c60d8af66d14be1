package chat

import "strings"

// rewrite changes a template where the library reads it otherwise than Python's Jinja:
//   - one newline at the end of the source is dropped, and line ends become \n;
//   - filters of package filters.go take the place of the library's, under a name of their own;
//   - "{{{" becomes "{{ {", and string literals side by side become one if their quotes are the same.
//
// Text outside of tags, comments and raw blocks stay as they are.
func rewrite(source string) string {
	source = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(source)
	source = strings.TrimSuffix(source, "\n")
	var out strings.Builder
	for i := 0; i < len(source); {
		rest := source[i:]
		var end int
		switch {
		case strings.HasPrefix(rest, "{#"):
			if end = strings.Index(rest, "#}"); end < 0 {
				end = len(rest)
			}
			out.WriteString(rest[:end])
		case strings.HasPrefix(rest, "{%"), strings.HasPrefix(rest, "{{"):
			var tag string
			tag, end = rewriteTag(rest)
			out.WriteString(tag)
			if name := strings.TrimSpace(strings.Trim(rest[2:end], "-+%} ")); rest[1] == '%' && name == "raw" {
				if raw := strings.Index(rest[end:], "endraw"); raw >= 0 {
					out.WriteString(rest[end : end+raw])
					end += raw
				}
			}
		default:
			end = 1
			out.WriteByte(rest[0])
		}
		i += end
	}
	return out.String()
}

// rewriteTag rewrites the tag at the start of s and returns it with the length of the original.
func rewriteTag(s string) (string, int) {
	closer := "}}"
	if s[1] == '%' {
		closer = "%}"
	}
	var out strings.Builder
	out.WriteString(s[:2])
	i, braces := 2, 0
	if strings.HasPrefix(s[2:], "{") {
		out.WriteByte(' ')
	}
	literal := -1 // where the string literal that was written last ends in out, if only blanks follow it
	for i < len(s) {
		switch c := s[i]; {
		case braces <= 0 && strings.HasPrefix(s[i:], closer):
			out.WriteString(closer)
			return out.String(), i + 2
		case c == '\'' || c == '"':
			n := literalEnd(s, i)
			if text := out.String(); literal >= 0 && text[literal-1] == c {
				out.Reset()
				out.WriteString(text[:literal-1])
				out.WriteString(s[i+1 : n])
			} else {
				out.WriteString(s[i:n])
			}
			i, literal = n, out.Len()
			continue
		case c == '|' && !strings.HasPrefix(s[i:], "||"):
			n := i + 1
			for n < len(s) && strings.IndexByte(" \t\n", s[n]) >= 0 {
				n++
			}
			out.WriteString(s[i:n])
			if _, own := filters[word(s[n:])]; own {
				out.WriteString(ownFilter)
			}
			i, literal = n, -1
			continue
		case c == '{':
			braces++
		case c == '}':
			braces--
			// The library ends a tag at the first "}}", in a literal of dictionaries too.
			if closer == "}}" && strings.HasPrefix(s[i+1:], "}") && braces >= 0 {
				out.WriteString("} ")
				i, literal = i+1, -1
				continue
			}
		}
		if strings.IndexByte(" \t\n", s[i]) < 0 {
			literal = -1
		}
		out.WriteByte(s[i])
		i++
	}
	return out.String(), i
}

// literalEnd returns the end of the string literal that begins at s[i].
func literalEnd(s string, i int) int {
	quote := s[i]
	for i++; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		} else if s[i] == quote {
			return i + 1
		}
	}
	return len(s)
}

// word returns the identifier at the start of s.
func word(s string) string {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return s[:i]
		}
	}
	return s
}
