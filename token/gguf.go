package token

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hone-lm/hone/internal/ggufmeta"
)

// Metadata gives the key-values of a GGUF file; ok is false where a key is missing or has another type. The model package's reader and
// internal/ggufmeta have it.
type Metadata interface {
	String(key string) (value string, ok bool)
	Strings(key string) (values []string, ok bool)
	Ints(key string) (values []int64, ok bool) // a single integer is a list of one
	Floats(key string) (values []float64, ok bool)
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

const (
	patternQwen35 = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternDeep3  = "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+" +
		`|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternCJK = `[一-龥\x{0800}-一가-\x{D7FF}]+`
	// the letters of deepseek-llm's expression: those with a case, of Unicode 11
	patternDeepLetters = `\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+`
)

var ggufPres = []ggufPre{
	{names: []string{"gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4", "gigachat", "a.x-4.0", "mellum"}, exprs: []string{patternGPT2}},
	{names: []string{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"}, exprs: []string{`\p{N}`, patternGPT2}},
	{names: []string{"qwen2", "stablelm2", "deepseek-r1-qwen", "hunyuan", "megrez", "kormo", "f2llmv2", "solar-open", "grok-2"}, exprs: []string{patternQwen}},
	{names: []string{"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"}, exprs: []string{patternLla3}, ignoreMerges: true, addBOS: true},
	{names: []string{"dbrx", "smaug-bpe", "chatglm-bpe"}, exprs: []string{patternLla3}},
	{names: []string{"glm4", "glm5"}, exprs: []string{patternLla3}, ignoreMerges: true},
	{names: []string{"qwen35"}, exprs: []string{patternQwen35}},
	{names: []string{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"}, exprs: []string{`\p{N}{1,3}`, `[一-龥\x{3040}-ゟ゠-ヿ]+`, patternDeep3}},
	{names: []string{"deepseek-coder"}, exprs: []string{`[\r\n]`, `\s?\p{L}+`, `\s?\p{P}+`, patternCJK, `\p{N}`}},
	{names: []string{"deepseek-llm"}, exprs: []string{`[\r\n]`, patternDeepLetters, `\s?[!-/:-~！-／：-～‘-‟\x{3000}-。]+`, `\s+\z`, patternCJK, `\p{N}+`}},
	{names: []string{"falcon"}, exprs: []string{"[\\p{P}\\$\\+<=>\\^~\\|`]+",
		`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`, `[0-9][0-9][0-9]`}},
	{names: []string{"default", ""}, exprs: []string{`[\p{P}\$\+<=>\^~\|]+`,
		`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`, `\p{N}+`, `[0-9][0-9][0-9]`}},
}

// Token types of tokenizer.ggml.token_type.
const (
	ggufUnknown     = 2
	ggufControl     = 3
	ggufUserDefined = 4
)

// FromGGUF builds the tokenizer that a GGUF file's metadata describes. Byte-level BPE (tokenizer.ggml.model gpt2) and SentencePiece's BPE (llama)
// are read; another model is an *ErrUnsupported, and so is an unknown tokenizer.ggml.pre: guessed rules give wrong ids in silence.
func FromGGUF(meta Metadata) (Tokenizer, error) {
	const prefix = "tokenizer.ggml."
	kind, ok := meta.String(prefix + "model")
	if !ok {
		return nil, fmt.Errorf("no tokenizer in this file: %smodel is missing", prefix)
	}
	if kind == "llama" {
		return pieces(meta, prefix)
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
	return t, t.ggufSpecial(meta, prefix, pre.addBOS)
}

// ggufSpecial reads the ids of special tokens, what is added at the ends, the name and the chat template.
func (t *bpe) ggufSpecial(meta Metadata, prefix string, addBOS bool) error {
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
		return err
	}
	if on, ok := meta.Bool(prefix + "add_bos_token"); (on || !ok && addBOS) && t.bos >= 0 {
		t.begin = []int32{t.bos}
	}
	if on, _ := meta.Bool(prefix + "add_eos_token"); on && t.eos >= 0 {
		t.end = []int32{t.eos}
	}
	t.name, _ = meta.String("general.name")
	t.template, _ = meta.String("tokenizer.chat_template")
	return nil
}

func (t *bpe) ggufVocab(meta Metadata, prefix string) error {
	tokens, added, err := ggufTokens(meta, prefix)
	if err != nil {
		return err
	}
	lines, ok := meta.Strings(prefix + "merges")
	if !ok {
		return fmt.Errorf("%smerges is missing or not an array of strings", prefix)
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

// ggufTokens reads the vocabulary and the tokens that are cut out of the text before anything else.
func ggufTokens(meta Metadata, prefix string) (map[string]int32, []addedToken, error) {
	list, ok := meta.Strings(prefix + "tokens")
	if !ok {
		return nil, nil, fmt.Errorf("%stokens is missing or not an array of strings", prefix)
	}
	types, ok := meta.Ints(prefix + "token_type")
	if ok && len(types) != len(list) {
		return nil, nil, fmt.Errorf("%stoken_type has %d entries and %stokens has %d", prefix, len(types), prefix, len(list))
	}
	tokens := make(map[string]int32, len(list))
	var added []addedToken
	for id, text := range list {
		if was, twice := tokens[text]; twice {
			return nil, nil, fmt.Errorf("%stokens: %d and %d are both %s", prefix, was, id, quote(text))
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
	return tokens, added, nil
}

// pieces builds the tokenizer of a SentencePiece vocabulary (llama.cpp, llm_tokenizer_spm): the whole of each stretch between special tokens is
// merged at once, with a space in front.
func pieces(meta Metadata, prefix string) (Tokenizer, error) {
	t := &bpe{unkByte: -1, chars: &charMode{fallback: true}}
	tokens, added, err := ggufTokens(meta, prefix)
	if err != nil {
		return nil, err
	}
	scores, ok := meta.Floats(prefix + "scores")
	if !ok || len(scores) != len(tokens) {
		return nil, fmt.Errorf("%sscores has %d entries and %stokens has %d", prefix, len(scores), prefix, len(tokens))
	}
	if i := slices.IndexFunc(scores, func(s float64) bool { return s != s }); i >= 0 {
		return nil, fmt.Errorf("%sscores[%d] is no number", prefix, i)
	}
	if err := t.setChars(tokens); err != nil {
		return nil, err
	}
	t.setScores(tokens, scores)
	t.chars.rewrite = true
	if space, given := meta.Bool(prefix + "add_space_prefix"); space || !given {
		t.chars.prefix, t.chars.strip = prefixAll, stripSpace
	}
	name, _ := meta.String("general.name")
	if n := strings.ToLower(name); strings.Contains(n, "phi-3") || strings.Contains(n, "phi3") { // as llama.cpp: the file does not say so
		for i := range added {
			c := added[i].content
			added[i].rstrip = c == "</s>" || c != "<unk>" && c != "<s>" && c != "<|endoftext|>"
		}
	}
	if err := t.addAdded(added); err != nil {
		return nil, err
	}
	if err := t.ggufSpecial(meta, prefix, true); err != nil {
		return nil, err
	}
	t.unkByte = t.unk
	return t, nil
}
