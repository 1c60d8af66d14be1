package token

import (
	"strings"
	"unicode/utf8"
)

// lossy turns bytes into valid UTF-8: every maximal ill-formed part becomes one U+FFFD (Unicode standard, section 3.9, "substitution
// of maximal subparts"; the same as Rust's from_utf8_lossy and Python's errors="replace").
func lossy(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var s strings.Builder
	s.Grow(len(b) + 8)
	for len(b) > 0 {
		if r, n := utf8.DecodeRune(b); r != utf8.RuneError || n > 1 {
			s.Write(b[:n])
			b = b[n:]
			continue
		}
		s.WriteString("\uFFFD")
		b = b[illFormed(b):]
	}
	return s.String()
}

// illFormed returns the length of the maximal ill-formed part at the start of b.
func illFormed(b []byte) int {
	lo, hi, need := byte(0x80), byte(0xBF), 0 // bounds of the second byte; continuation bytes of the sequence
	switch c := b[0]; {
	case c >= 0xC2 && c <= 0xDF:
		need = 1
	case c >= 0xE0 && c <= 0xEF:
		need = 2
		if c == 0xE0 {
			lo = 0xA0 // overlong below
		} else if c == 0xED {
			hi = 0x9F // surrogates above
		}
	case c >= 0xF0 && c <= 0xF4:
		need = 3
		if c == 0xF0 {
			lo = 0x90
		} else if c == 0xF4 {
			hi = 0x8F // above U+10FFFF
		}
	}
	n := 1
	for n <= need && n < len(b) && lo <= b[n] && b[n] <= hi {
		n++
		lo, hi = 0x80, 0xBF
	}
	return n
}
