package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The parts of tokenizer.json (github.com/huggingface/tokenizers). What is not read here is refused by name; "truncation" and
// "padding" are left to the caller: an encoder that cuts text in silence would be a trap.
type hfFile struct {
	AddedTokens []struct {
		ID         int32
		Content    string
		SingleWord bool `json:"single_word"`
		Lstrip     bool
		Rstrip     bool
		Normalized bool
		Special    bool
	} `json:"added_tokens"`
	Normalizer    json.RawMessage
	PreTokenizer  json.RawMessage `json:"pre_tokenizer"`
	PostProcessor json.RawMessage `json:"post_processor"`
	Decoder       json.RawMessage
	Model         *hfModel
}

type hfModel struct {
	Type         string
	Dropout      *float64
	Unk          *string `json:"unk_token"`
	Prefix       *string `json:"continuing_subword_prefix"`
	Suffix       *string `json:"end_of_word_suffix"`
	FuseUnk      bool    `json:"fuse_unk"`
	ByteFallback bool    `json:"byte_fallback"`
	IgnoreMerges bool    `json:"ignore_merges"`
	Vocab        json.RawMessage
	Merges       []hfMerge
}

// hfMerge is written as "a b", or since version 0.20 of the library as ["a", "b"].
type hfMerge [2]string

func (m *hfMerge) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		var p []string
		if err := json.Unmarshal(b, &p); err != nil {
			return err
		}
		if len(p) != 2 {
			return fmt.Errorf("a merge of %d parts; it has two", len(p))
		}
		*m = hfMerge{p[0], p[1]}
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	return m.parse(s)
}

func (m *hfMerge) parse(s string) error {
	a, b, ok := strings.Cut(s, " ")
	if !ok || a == "" || b == "" || strings.Contains(b, " ") {
		return fmt.Errorf("merge %s is not two tokens with a space between", quote(s))
	}
	*m = hfMerge{a, b}
	return nil
}

// loadHF reads a tokenizer.json, and tokenizer_config.json, generation_config.json and chat_template.jinja beside it if they are there.
func loadHF(path string) (Tokenizer, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	t, err := parseHF(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	dir := filepath.Dir(path)
	if abs, err := filepath.Abs(dir); err == nil {
		t.name = filepath.Base(abs)
	}
	if err := t.readConfig(dir); err != nil {
		return nil, err
	}
	return t, nil
}

func parseHF(raw []byte) (*bpe, error) {
	var f hfFile
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("not a tokenizer.json: %w", err)
	}
	t := &bpe{unkByte: -1}
	t.bos, t.eos, t.pad, t.unk = -1, -1, -1, -1
	if !hasPart(f.PreTokenizer, "ByteLevel") && (hasPart(f.PreTokenizer, "Metaspace") || f.Model != nil && f.Model.ByteFallback) {
		t.chars = &charMode{}
	}
	if err := t.hfModel(f.Model); err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	if err := t.hfNormalizer(f.Normalizer); err != nil {
		return nil, fmt.Errorf("normalizer: %w", err)
	}
	var added []addedToken
	for _, a := range f.AddedTokens {
		find := a.Content
		if a.Normalized {
			find, _ = normalised(find, t.norms, false)
		}
		added = append(added, addedToken{a.ID, a.Content, find, a.Special, a.SingleWord, a.Lstrip, a.Rstrip, a.Normalized})
	}
	if err := t.addAdded(added); err != nil {
		return nil, err
	}
	byteLevel, err := t.hfPreTokenizer(f.PreTokenizer, true)
	if err == nil && !byteLevel && t.chars == nil {
		err = errors.New("there is neither ByteLevel nor Metaspace nor byte_fallback: other kinds of vocabulary are not read")
	}
	if err != nil {
		return nil, fmt.Errorf("pre_tokenizer: %w", err)
	}
	if err := t.hfPostProcessor(f.PostProcessor); err != nil {
		return nil, fmt.Errorf("post_processor: %w", err)
	}
	decoder := hfDecoder
	if t.chars != nil {
		decoder = t.hfCharDecoder
	}
	if err := decoder(f.Decoder); err != nil {
		return nil, fmt.Errorf("decoder: %w", err)
	}
	t.setEnds()
	return t, nil
}

func (t *bpe) hfModel(m *hfModel) error {
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	switch {
	case m == nil:
		return errors.New("missing")
	case m.Type != "" && m.Type != "BPE":
		return fmt.Errorf("type %q: %w", m.Type, &ErrUnsupported{"tokenizer model " + m.Type})
	case m.Dropout != nil && *m.Dropout != 0:
		return fmt.Errorf("dropout %g: encoding would be random; set it to null", *m.Dropout)
	case text(m.Prefix) != "":
		return fmt.Errorf("continuing_subword_prefix %q: %w", *m.Prefix, &ErrUnsupported{"continuing_subword_prefix"})
	case text(m.Suffix) != "":
		return fmt.Errorf("end_of_word_suffix %q: %w", *m.Suffix, &ErrUnsupported{"end_of_word_suffix"})
	case m.ByteFallback && t.chars == nil:
		return fmt.Errorf("byte_fallback: %w", &ErrUnsupported{"byte_fallback"})
	}
	var tokens map[string]int32
	if err := json.Unmarshal(m.Vocab, &tokens); err != nil {
		return fmt.Errorf("vocab: %w", err)
	}
	pairs := make([][2]string, len(m.Merges))
	for i, p := range m.Merges {
		pairs[i] = p
	}
	if t.chars == nil {
		if err := t.setVocab(tokens, pairs); err != nil {
			return err
		}
	} else {
		t.chars.fallback = m.ByteFallback
		if err := t.setChars(tokens); err != nil {
			return err
		}
		if err := t.setMerges(tokens, pairs); err != nil {
			return err
		}
	}
	if m.Unk != nil {
		id, ok := tokens[*m.Unk]
		if !ok {
			return fmt.Errorf("unk_token %q is not in the vocabulary", *m.Unk)
		}
		t.unk, t.unkByte = id, id
	}
	t.fuseUnk, t.ignoreMerges = m.FuseUnk, m.IgnoreMerges
	return nil
}

// part decodes one part of the pipeline. null and a missing part give type "".
func part(raw json.RawMessage, v any) (string, error) {
	var head struct{ Type string }
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return "", nil
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return "", err
	}
	if head.Type == "" {
		return "", errors.New("there is no type")
	}
	return head.Type, json.Unmarshal(raw, v)
}

func (t *bpe) hfNormalizer(raw json.RawMessage) error {
	var p struct {
		Normalizers []json.RawMessage
		Pattern     struct{ Regex, String *string }
		Content     string
		Prepend     string
	}
	kind, err := part(raw, &p)
	if err != nil {
		return err
	}
	switch kind {
	case "":
	case "NFC":
		t.norms = append(t.norms, normaliser{apply: nfc})
	case "Prepend":
		t.norms = append(t.norms, prepended(p.Prepend))
	case "Replace":
		if p.Pattern.String == nil || *p.Pattern.String == "" {
			return &ErrUnsupported{"normalizer Replace with a regular expression"}
		}
		t.norms = append(t.norms, replaced(*p.Pattern.String, p.Content))
	case "Sequence":
		for i, r := range p.Normalizers {
			if err := t.hfNormalizer(r); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
	default:
		return fmt.Errorf("%w; NFC, Prepend, Replace and Sequence are", &ErrUnsupported{"normalizer " + kind})
	}
	return nil
}

// hfPreTokenizer adds the splitters of one part and reports whether it was, or ended in, ByteLevel.
func (t *bpe) hfPreTokenizer(raw json.RawMessage, first bool) (byteLevel bool, err error) {
	var p struct {
		PreTokenizers    []json.RawMessage `json:"pretokenizers"`
		AddPrefixSpace   *bool             `json:"add_prefix_space"`
		UseRegex         *bool             `json:"use_regex"`
		IndividualDigits bool              `json:"individual_digits"`
		Pattern          struct{ Regex, String *string }
		Behavior         string
		Invert           bool
		metaspace
	}
	kind, err := part(raw, &p)
	if err != nil {
		return false, err
	}
	switch kind {
	case "":
	case "Sequence":
		for i, r := range p.PreTokenizers {
			if byteLevel {
				return false, fmt.Errorf("[%d] comes after ByteLevel, where text is no longer text: %w", i, &ErrUnsupported{"a pre-tokenizer after ByteLevel"})
			}
			if byteLevel, err = t.hfPreTokenizer(r, first && i == 0); err != nil {
				return false, fmt.Errorf("[%d]: %w", i, err)
			}
		}
	case "ByteLevel":
		byteLevel = true
		if p.AddPrefixSpace == nil || *p.AddPrefixSpace { // true is the library's default
			if !first {
				return false, fmt.Errorf("%w", &ErrUnsupported{"add_prefix_space after another pre-tokenizer"})
			}
			t.prefixSpace = true
		}
		if p.UseRegex == nil || *p.UseRegex {
			t.splits = append(t.splits, byScanner(scanGPT2))
		}
	case "Metaspace":
		return false, t.hfMetaspace(&p.metaspace, p.AddPrefixSpace)
	case "Digits":
		t.splits = append(t.splits, byDigits(p.IndividualDigits))
	case "Split":
		split, err := hfSplit(p.Pattern.Regex, p.Pattern.String, p.Behavior, p.Invert)
		if err != nil {
			return false, fmt.Errorf("Split: %w", err)
		}
		t.splits = append(t.splits, split)
	default:
		return false, fmt.Errorf("%w; ByteLevel, Metaspace, Digits, Split and Sequence are", &ErrUnsupported{"pre_tokenizer " + kind})
	}
	return byteLevel, nil
}

func hfSplit(expr, text *string, behavior string, invert bool) (splitter, error) {
	switch {
	case expr != nil && text == nil:
		if _, known := scanners[*expr]; known {
			return bySplit(*expr, behavior, invert)
		}
		translated, err := fromOniguruma(*expr)
		if err != nil {
			return nil, fmt.Errorf("expression %s: %w", quote(*expr), err)
		}
		return bySplit(translated, behavior, invert)
	case text != nil && expr == nil && *text != "":
		return bySplit(escape(*text), behavior, invert)
	}
	return nil, errors.New("pattern is neither a Regex nor a String")
}

func (t *bpe) hfPostProcessor(raw json.RawMessage) error {
	var p struct {
		Processors    []json.RawMessage
		Single        []templateItem
		SpecialTokens map[string]struct{ IDs []int32 } `json:"special_tokens"`
	}
	kind, err := part(raw, &p)
	if err != nil {
		return err
	}
	switch kind {
	case "", "ByteLevel": // ByteLevel moves offsets, never ids
	case "Sequence":
		for i, r := range p.Processors {
			if err := t.hfPostProcessor(r); err != nil {
				return fmt.Errorf("[%d]: %w", i, err)
			}
		}
	case "TemplateProcessing":
		ids := map[string][]int32{}
		for name, s := range p.SpecialTokens {
			ids[name] = s.IDs
		}
		return t.hfTemplate(p.Single, ids)
	default:
		return fmt.Errorf("%w; ByteLevel, TemplateProcessing and Sequence are", &ErrUnsupported{"post_processor " + kind})
	}
	return nil
}

type templateItem struct {
	SpecialToken *struct{ ID string }
	Sequence     *struct{ ID string }
}

// hfTemplate reads what stands before and after a single text.
func (t *bpe) hfTemplate(items []templateItem, ids map[string][]int32) error {
	var sides [2][]int32
	side := 0
	for i, item := range items {
		switch {
		case item.Sequence != nil:
			if item.Sequence.ID != "A" || side == 1 {
				return fmt.Errorf("single[%d]: a template for one text holds the sequence A once", i)
			}
			side = 1
		case item.SpecialToken != nil:
			list, ok := ids[item.SpecialToken.ID]
			if !ok {
				return fmt.Errorf("single[%d]: %q is not among special_tokens", i, item.SpecialToken.ID)
			}
			for _, id := range list {
				if t.Bytes(id) == nil {
					return fmt.Errorf("special token %q has id %d, which the vocabulary lacks", item.SpecialToken.ID, id)
				}
			}
			sides[side] = append(sides[side], list...)
		default:
			return fmt.Errorf("single[%d] is neither SpecialToken nor Sequence", i)
		}
	}
	if side == 0 {
		return errors.New("single does not hold the sequence A")
	}
	t.begin, t.end = slices.Concat(sides[0], t.begin), slices.Concat(t.end, sides[1])
	return nil
}

func hfDecoder(raw json.RawMessage) error {
	var p struct{ Decoders []json.RawMessage }
	kind, err := part(raw, &p)
	if err != nil {
		return err
	}
	switch {
	case kind == "" || kind == "ByteLevel":
		return nil
	case kind == "Sequence" && len(p.Decoders) == 1:
		return hfDecoder(p.Decoders[0])
	}
	return fmt.Errorf("%w; ByteLevel is", &ErrUnsupported{"decoder " + kind})
}
