package token

import "unicode/utf8"

// byteRune is GPT-2's table of printable stand-ins for bytes (bytes_to_unicode in openai/gpt-2): vocabularies are written in them.
var byteRune = func() (t [256]rune) {
	next := rune(256)
	for b := range rune(256) {
		if '!' <= b && b <= '~' || 0xA1 <= b && b <= 0xAC || 0xAE <= b && b <= 0xFF {
			t[b] = b
		} else {
			t[b] = next
			next++
		}
	}
	return t
}()

var runeByte = func() map[rune]byte {
	m := make(map[rune]byte, 256)
	for b, r := range byteRune {
		m[r] = byte(b)
	}
	return m
}()

// fromByteLevel turns a token as vocabularies write it into its bytes; ok is false if it holds a character outside the table.
func fromByteLevel(s string) (b []byte, ok bool) {
	b = make([]byte, 0, len(s))
	for _, r := range s {
		c, known := byte(r), '!' <= r && r <= '~'
		if !known {
			if c, known = runeByte[r]; !known || r == utf8.RuneError {
				return nil, false
			}
		}
		b = append(b, c)
	}
	return b, true
}
