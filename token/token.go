// Package token turns text into token ids and back: byte-level BPE as in GPT-2, Llama 3, Qwen and SmolLM2 (Hugging Face's tokenizer.json,
// GPT-2's two files, GGUF metadata, tiktoken's rank files), BPE over characters as in Llama 2, Mistral and Phi-3 (tokenizer.json, GGUF), and a
// tokenizer of bytes for small models.
//
// A Tokenizer is immutable and safe for concurrent use. Encoding is a function of text and options alone.
package token

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// EncodeOptions say how text becomes ids.
type EncodeOptions struct {
	Special    bool // special tokens written in the text become their ids; false: they are ordinary text
	AddSpecial bool // add BOS and EOS as the tokenizer's configuration says
	Joined     bool // the text goes on behind ordinary text: a vocabulary that puts a space in front of every text puts none here
}

// Tokenizer encodes and decodes text.
type Tokenizer interface {
	// Name says where the tokenizer came from.
	Name() string
	// Encode returns the ids of text.
	Encode(text string, o EncodeOptions) []int32
	// EncodeOffsets returns the ids and, for each id, the range [from, to) of bytes of text that it stands for. Spans ascend, do not overlap and together
	// cover the text; a token that stands for no byte of text (BOS) has an empty one. Where normalisation changed a character, a token
	// that holds a part of it may span the whole or nothing.
	EncodeOffsets(text string, o EncodeOptions) (ids []int32, spans [][2]int)
	// Decode returns the text of ids without any clean-up of spaces. Ill-formed bytes become U+FFFD, one for each maximal ill-formed
	// part. skipSpecial leaves out special tokens. An id outside the vocabulary gives no text.
	Decode(ids []int32, skipSpecial bool) string
	// Bytes returns the bytes that id stands for, nil if there is no such id. The slice is shared; do not change it.
	Bytes(id int32) []byte
	// VocabSize is one more than the highest id.
	VocabSize() int
	// ID returns the id of the single token that stands for exactly this text, special and added tokens first.
	ID(text string) (int32, bool)
	// IsSpecial reports whether id is a special (control) token.
	IsSpecial(id int32) bool
	// Token returns the text of id: Bytes as a string, "" if there is no such id.
	Token(id int32) string
	// BOS, EOS, PAD and UNK return the ids of these tokens, -1 when there is none.
	BOS() int32
	EOS() int32
	PAD() int32
	UNK() int32
	// EndIDs lists the ids that end an answer, EOS first. The slice is shared; do not change it.
	EndIDs() []int32
	// SpecialDefault is the default of EncodeOptions.Special where text comes from outside: true for Hugging Face files and GGUF.
	SpecialDefault() bool
	// ChatTemplate returns the Jinja chat template that came with the tokenizer, "" when there is none.
	ChatTemplate() string
}

// Continue encodes text that goes on behind ids: behind a special token, or none, it is a text of its own, else it is joined to what stands there.
func Continue(t Tokenizer, before []int32, text string, o EncodeOptions) []int32 {
	o.Joined = len(before) > 0 && !t.IsSpecial(before[len(before)-1])
	return t.Encode(text, o)
}

// ErrUnsupported is the error of a tokenizer kind that is known but not built yet.
type ErrUnsupported struct{ What string }

func (e *ErrUnsupported) Error() string { return "not built yet: " + e.What }

// Load reads the tokenizer at path: a Hugging Face folder or its tokenizer.json, a .gguf file, or a folder with encoder.json and
// vocab.bpe (vocab.json and merges.txt). Errors name the file and the place; a kind that is not built yet is an *ErrUnsupported.
func Load(path string) (Tokenizer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	if info.IsDir() {
		return loadFolder(path)
	}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".gguf":
		return loadGGUF(path)
	case ".tiktoken":
		return nil, fmt.Errorf("%s: a rank file does not say how text is cut: name its encoding (LoadTiktoken, or --encoding in hone tool)", path)
	case ".model":
		return nil, fmt.Errorf("%s: %w", path, &ErrUnsupported{"SentencePiece models"})
	case ".json":
		return loadHF(path)
	}
	return nil, fmt.Errorf("%s: not a tokenizer: expected a folder, tokenizer.json or a .gguf file", path)
}

func loadFolder(dir string) (Tokenizer, error) {
	has := func(name string) bool {
		_, err := os.Stat(filepath.Join(dir, name))
		return err == nil
	}
	switch {
	case has("tokenizer.json"):
		return loadHF(filepath.Join(dir, "tokenizer.json"))
	case has("encoder.json") && has("vocab.bpe"):
		return loadGPT2(filepath.Join(dir, "encoder.json"), filepath.Join(dir, "vocab.bpe"))
	case has("vocab.json") && has("merges.txt"):
		return loadGPT2(filepath.Join(dir, "vocab.json"), filepath.Join(dir, "merges.txt"))
	case has("tokenizer.model"):
		return nil, fmt.Errorf("%s: %w", dir, &ErrUnsupported{"SentencePiece models"})
	}
	return nil, fmt.Errorf("%s: no tokenizer here: expected tokenizer.json, or encoder.json and vocab.bpe", dir)
}

// turnEnds are the names of tokens that close a turn or a text in formats in use.
var turnEnds = []string{"<|endoftext|>", "<|end_of_text|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|return|>", "<|end_of_turn|>", "<end_of_turn>", "<turn|>", "<|endofturn|>", "<｜end▁of▁sentence｜>"}
