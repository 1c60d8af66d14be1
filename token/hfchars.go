package token

import (
	"encoding/json"
	"fmt"
)

// hasPart reports whether a part of the pipeline is of the kind, or holds one that is.
func hasPart(raw json.RawMessage, kind string) bool {
	var p struct {
		Type          string
		PreTokenizers []json.RawMessage `json:"pretokenizers"`
	}
	if len(raw) == 0 || json.Unmarshal(raw, &p) != nil {
		return false
	}
	for _, r := range p.PreTokenizers {
		if hasPart(r, kind) {
			return true
		}
	}
	return p.Type == kind
}

// metaspace are the fields of the pre-tokeniser and the decoder of this name.
type metaspace struct {
	Replacement   string
	PrependScheme string `json:"prepend_scheme"` // first, always or never
	Split         *bool
}

// scheme returns prepend_scheme, or what the older add_prefix_space says.
func (m *metaspace) scheme(addPrefixSpace *bool) (string, error) {
	s := m.PrependScheme
	switch {
	case m.Replacement != spaceMark:
		return "", fmt.Errorf("replacement %q: %w", m.Replacement, &ErrUnsupported{"Metaspace with another replacement than U+2581"})
	case s == "" && addPrefixSpace != nil && !*addPrefixSpace:
		s = "never"
	case s == "":
		s = "always"
	}
	if s != "first" && s != "always" && s != "never" {
		return "", fmt.Errorf("prepend_scheme %q is none of first, always and never", s)
	}
	return s, nil
}

func (t *bpe) hfMetaspace(m *metaspace, addPrefixSpace *bool) error {
	scheme, err := m.scheme(addPrefixSpace)
	switch {
	case err != nil:
		return err
	case t.chars == nil:
		return &ErrUnsupported{"Metaspace together with ByteLevel"}
	case len(t.splits) > 0 || t.chars.rewrite:
		return &ErrUnsupported{"Metaspace after another pre-tokenizer"}
	}
	t.chars.rewrite, t.chars.prefix = true, map[string]prefixRule{"never": prefixNever, "first": prefixFirst, "always": prefixAlways}[scheme]
	if m.Split == nil || *m.Split {
		split, err := bySplit(escape(spaceMark), withNext, false)
		if err != nil {
			return err
		}
		t.splits = append(t.splits, split)
	}
	return nil
}

// hfCharDecoder reads the decoder of a vocabulary over characters: U+2581 becomes a space, bytes become text, one space in front goes.
func (t *bpe) hfCharDecoder(raw json.RawMessage) error {
	var p struct {
		Decoders       []json.RawMessage
		Pattern        struct{ String *string }
		Content        string
		Start, Stop    int
		AddPrefixSpace *bool `json:"add_prefix_space"`
		metaspace
	}
	kind, err := part(raw, &p)
	if err != nil {
		return err
	}
	switch {
	case kind == "Sequence":
		for i, r := range p.Decoders {
			if err := t.hfCharDecoder(r); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
	case kind == "Replace" && p.Pattern.String != nil && *p.Pattern.String == spaceMark && p.Content == " ":
	case kind == "ByteFallback", kind == "Fuse":
	case kind == "Strip" && p.Content == " " && p.Start == 0 && p.Stop == 0:
	case kind == "Strip" && p.Content == " " && p.Start == 1 && p.Stop == 0 && t.chars.strip == stripNothing:
		t.chars.strip = stripSpace
	case kind == "Metaspace":
		scheme, err := p.scheme(p.AddPrefixSpace)
		if err == nil && scheme != "never" {
			t.chars.strip = stripToken
		}
		return err
	default:
		return fmt.Errorf("%w; Metaspace and the sequence of Replace, ByteFallback, Fuse and Strip are", &ErrUnsupported{"decoder " + kind + " for a vocabulary over characters"})
	}
	return nil
}
