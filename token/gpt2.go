package token

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// loadGPT2 reads OpenAI's two files: a JSON object of tokens and ids, and the merges, one a line.
func loadGPT2(vocabPath, mergesPath string) (Tokenizer, error) {
	raw, err := os.ReadFile(vocabPath)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	lines, err := os.ReadFile(mergesPath)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	var tokens map[string]int32
	if err := json.Unmarshal(raw, &tokens); err != nil {
		return nil, fmt.Errorf("%s: %w", vocabPath, err)
	}
	pairs, err := parseMerges(string(lines))
	if err != nil {
		return nil, fmt.Errorf("%s:%w", mergesPath, err)
	}
	t := &bpe{unkByte: -1, splits: []splitter{byScanner(scanGPT2)}}
	t.name = "gpt2"
	if err := t.setVocab(tokens, pairs); err != nil {
		return nil, fmt.Errorf("%s and %s: %w", vocabPath, filepath.Base(mergesPath), err)
	}
	const end = "<|endoftext|>"
	t.bos, t.eos, t.pad, t.unk = -1, -1, -1, -1
	var added []addedToken
	if id, ok := tokens[end]; ok {
		added = []addedToken{{id: id, content: end, special: true}}
		t.bos, t.eos = id, id
	}
	if err := t.addAdded(added); err != nil {
		return nil, fmt.Errorf("%s: %w", vocabPath, err)
	}
	t.setEnds()
	return &gpt2{t}, nil
}

// gpt2 is the tokenizer of the two files. They know no special tokens but by convention, so text from outside is ordinary text.
type gpt2 struct{ *bpe }

func (*gpt2) SpecialDefault() bool { return false }

func parseMerges(text string) ([][2]string, error) {
	var pairs [][2]string
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if line == "" || n == 1 && strings.HasPrefix(line, "#version") {
			continue
		}
		var m hfMerge
		if err := m.parse(line); err != nil {
			return nil, fmt.Errorf("%d: %w", n, err)
		}
		pairs = append(pairs, m)
	}
	return pairs, nil
}
