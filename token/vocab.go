package token

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// vocab is the table of ids, shared by every kind of tokenizer here.
type vocab struct {
	name     string
	bytes    [][]byte         // [id]; nil where no token has this id
	special  []bool           // [id]
	plain    map[string]int32 // bytes of an ordinary token -> id
	added    *matcher         // added tokens that are found in the text as it is
	addedN   *matcher         // added tokens that are found in normalised text; nil: none
	bos      int32
	eos      int32
	pad      int32
	unk      int32
	ends     []int32
	template string
}

func (v *vocab) Name() string          { return v.name }
func (v *vocab) VocabSize() int        { return len(v.bytes) }
func (v *vocab) BOS() int32            { return v.bos }
func (v *vocab) EOS() int32            { return v.eos }
func (v *vocab) PAD() int32            { return v.pad }
func (v *vocab) UNK() int32            { return v.unk }
func (v *vocab) EndIDs() []int32       { return v.ends }
func (v *vocab) Token(id int32) string { return string(v.Bytes(id)) }
func (v *vocab) ChatTemplate() string  { return v.template }

func (v *vocab) Bytes(id int32) []byte {
	if id < 0 || int(id) >= len(v.bytes) {
		return nil
	}
	return v.bytes[id]
}

func (v *vocab) IsSpecial(id int32) bool {
	return id >= 0 && int(id) < len(v.special) && v.special[id]
}

func (v *vocab) ID(text string) (int32, bool) {
	for _, m := range []*matcher{v.added, v.addedN} {
		if id, ok := m.id(text); ok {
			return id, true
		}
	}
	id, ok := v.plain[text]
	return id, ok
}

func (v *vocab) Decode(ids []int32, skipSpecial bool) string {
	b := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		if skipSpecial && v.IsSpecial(id) {
			continue
		}
		b = append(b, v.Bytes(id)...)
	}
	return lossy(b)
}

// maxID bounds the highest id of a vocabulary with so many entries: a wild id in a file must not become a wild allocation.
func maxID(entries int) int { return 4*entries + 1<<16 }

// setSize makes room for ids below n.
func (v *vocab) setSize(n int) {
	v.bytes = append(v.bytes, make([][]byte, max(0, n-len(v.bytes)))...)
	v.special = append(v.special, make([]bool, max(0, n-len(v.special)))...)
}

// addAdded enters the added tokens into the table and builds the matchers.
func (v *vocab) addAdded(list []addedToken) error {
	entries, size := len(v.bytes)+len(list), len(v.bytes)
	for i, a := range list {
		switch {
		case a.content == "":
			return fmt.Errorf("added_tokens[%d] is empty", i)
		case !utf8.ValidString(a.content):
			return fmt.Errorf("added_tokens[%d] %q is not UTF-8", i, a.content)
		case a.id < 0 || int(a.id) > maxID(entries):
			return fmt.Errorf("added_tokens[%d] %q has id %d, far outside a vocabulary of %d", i, a.content, a.id, entries)
		}
		size = max(size, int(a.id)+1)
	}
	v.setSize(size)
	var raw, normalised []addedToken
	for _, a := range list {
		v.bytes[a.id] = []byte(a.content)
		v.special[a.id] = a.special
		if a.normalized {
			normalised = append(normalised, a)
		} else {
			raw = append(raw, a)
		}
	}
	v.added = newMatcher(raw)
	if len(normalised) > 0 {
		v.addedN = newMatcher(normalised)
	}
	return nil
}

// setEnds fills the list of end tokens: eos, the ids of the configuration, and every token named like the end of a turn.
func (v *vocab) setEnds(more ...int32) {
	v.ends = nil
	put := func(id int32) {
		for _, have := range v.ends {
			if have == id {
				return
			}
		}
		if v.Bytes(id) != nil {
			v.ends = append(v.ends, id)
		}
	}
	put(v.eos)
	for _, id := range more {
		put(id)
	}
	for _, name := range turnEnds {
		if id, ok := v.added.id(name); ok {
			put(id)
		}
	}
}

// find returns the id of a token by the text in configuration files, which may name it as the vocabulary writes it.
func (v *vocab) find(text string) int32 {
	if id, ok := v.ID(text); ok {
		return id
	}
	if b, ok := fromByteLevel(text); ok {
		if id, ok := v.plain[string(b)]; ok {
			return id
		}
	}
	return -1
}

func quote(s string) string {
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "..."
	}
	return fmt.Sprintf("%q", s)
}
