package token

import (
	"fmt"
	"path/filepath"
	"slices"

	"github.com/hone-lm/hone/internal/ggufmeta"
)

// Metadata gives the key-values of a GGUF file; ok is false where a key is missing or has another type. The model package's reader and
// internal/ggufmeta have it.
type Metadata interface {
	String(key string) (value string, ok bool)
	Strings(key string) (values []string, ok bool)
	Ints(key string) (values []int64, ok bool) // a single integer is a list of one
	Bool(key string) (value, ok bool)
}

func loadGGUF(path string) (Tokenizer, error) {
	meta, err := ggufmeta.Open(path)
	if err != nil {
		return nil, err
	}
	t, err := FromGGUF(meta)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if t.Name() == "" {
		t.(*bpe).name = filepath.Base(path)
	}
	return t, nil
}

// ggufPre is how text is cut before the merges, by the name in tokenizer.ggml.pre (llama.cpp, src/llama-vocab.cpp).
type ggufPre struct {
	names        []string
	exprs        []string
	ignoreMerges bool
	addBOS       bool // unless tokenizer.ggml.add_bos_token says otherwise
}

var ggufPres = []ggufPre{
	{names: []string{"gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling"}, exprs: []string{patternGPT2}},
	{names: []string{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"}, exprs: []string{`\p{N}`, patternGPT2}},
	{names: []string{"qwen2", "stablelm2", "deepseek-r1-qwen", "hunyuan", "megrez"}, exprs: []string{patternQwen}},
	{names: []string{"llama3", "llama-v3", "llama-bpe"}, exprs: []string{patternLla3}, ignoreMerges: true, addBOS: true},
	{names: []string{"dbrx", "smaug-bpe"}, exprs: []string{patternLla3}},
	{names: []string{"default", ""}, exprs: []string{`[\p{P}\$\+<=>\^~\|]+`,
		`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`, `\p{N}+`, `[0-9][0-9][0-9]`}},
}

// Token types of tokenizer.ggml.token_type.
const (
	ggufUnknown     = 2
	ggufControl     = 3
	ggufUserDefined = 4
)

// FromGGUF builds the tokenizer that a GGUF file's metadata describes. Byte-level BPE (tokenizer.ggml.model gpt2) is read; another
// model is an *ErrUnsupported, and so is an unknown tokenizer.ggml.pre: guessed rules give wrong ids in silence.
func FromGGUF(meta Metadata) (Tokenizer, error) {
	const prefix = "tokenizer.ggml."
	kind, ok := meta.String(prefix + "model")
	if !ok {
		return nil, fmt.Errorf("no tokenizer in this file: %smodel is missing", prefix)
	}
	if kind != "gpt2" {
		return nil, fmt.Errorf("%smodel: %w", prefix, &ErrUnsupported{"GGUF tokenizer " + kind})
	}
	name, _ := meta.String(prefix + "pre")
	i := slices.IndexFunc(ggufPres, func(p ggufPre) bool { return slices.Contains(p.names, name) })
	if i < 0 {
		return nil, fmt.Errorf("%spre: %w", prefix, &ErrUnsupported{"GGUF pre-tokenizer " + name})
	}
	pre := &ggufPres[i]
	t := &bpe{unkByte: -1, ignoreMerges: pre.ignoreMerges}
	if err := t.ggufVocab(meta, prefix); err != nil {
		return nil, err
	}
	for _, expr := range pre.exprs {
		split, err := bySplit(expr, isolated, false)
		if err != nil {
			return nil, err
		}
		t.splits = append(t.splits, split)
	}
	var err error
	id := func(key string) int32 {
		v, ok := meta.Ints(prefix + key)
		if !ok || len(v) != 1 || err != nil {
			return -1
		}
		if v[0] < 0 || v[0] >= int64(len(t.bytes)) {
			err = fmt.Errorf("%s%s is %d and the vocabulary has %d tokens", prefix, key, v[0], len(t.bytes))
			return -1
		}
		return int32(v[0])
	}
	t.bos, t.eos, t.pad, t.unk = id("bos_token_id"), id("eos_token_id"), id("padding_token_id"), id("unknown_token_id")
	t.setEnds(id("eot_token_id"), id("eom_token_id"))
	if err != nil {
		return nil, err
	}
	if on, ok := meta.Bool(prefix + "add_bos_token"); (on || !ok && pre.addBOS) && t.bos >= 0 {
		t.begin = []int32{t.bos}
	}
	if on, _ := meta.Bool(prefix + "add_eos_token"); on && t.eos >= 0 {
		t.end = []int32{t.eos}
	}
	t.name, _ = meta.String("general.name")
	t.template, _ = meta.String("tokenizer.chat_template")
	return t, nil
}

func (t *bpe) ggufVocab(meta Metadata, prefix string) error {
	list, ok := meta.Strings(prefix + "tokens")
	if !ok {
		return fmt.Errorf("%stokens is missing or not an array of strings", prefix)
	}
	types, ok := meta.Ints(prefix + "token_type")
	if ok && len(types) != len(list) {
		return fmt.Errorf("%stoken_type has %d entries and %stokens has %d", prefix, len(types), prefix, len(list))
	}
	lines, ok := meta.Strings(prefix + "merges")
	if !ok {
		return fmt.Errorf("%smerges is missing or not an array of strings", prefix)
	}
	tokens := make(map[string]int32, len(list))
	var added []addedToken
	for id, text := range list {
		if was, twice := tokens[text]; twice {
			return fmt.Errorf("%stokens: %d and %d are both %s", prefix, was, id, quote(text))
		}
		tokens[text] = int32(id)
		if types == nil || text == "" {
			continue
		}
		switch types[id] {
		case ggufControl, ggufUnknown:
			added = append(added, addedToken{id: int32(id), content: text, special: true})
		case ggufUserDefined:
			added = append(added, addedToken{id: int32(id), content: text})
		}
	}
	pairs := make([][2]string, len(lines))
	for i, line := range lines {
		var m hfMerge
		if err := m.parse(line); err != nil {
			return fmt.Errorf("%smerges[%d]: %w", prefix, i, err)
		}
		pairs[i] = m
	}
	if err := t.setVocab(tokens, pairs); err != nil {
		return fmt.Errorf("%stokens and merges: %w", prefix, err)
	}
	for _, a := range added { // a control token is never the result of merges
		delete(t.plain, string(t.bytes[a.id]))
	}
	return t.addAdded(added)
}
