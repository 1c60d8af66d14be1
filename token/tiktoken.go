package token

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// tiktokenEncoding is what a rank file leaves out: how text is cut, and the special tokens.
type tiktokenEncoding struct {
	cut     string
	special map[string]int32
}

const endOfText = "<|endoftext|>"

var tiktokenEncodings = map[string]tiktokenEncoding{
	"r50k_base": {patternGPT2, map[string]int32{endOfText: 50256}},
	"cl100k_base": {patternLla3, map[string]int32{endOfText: 100257, "<|fim_prefix|>": 100258, "<|fim_middle|>": 100259, "<|fim_suffix|>": 100260,
		"<|endofprompt|>": 100276}},
}

// LoadTiktoken reads a rank file of OpenAI's tiktoken: a token in base64 and its rank, which is its id, on each line. encoding is r50k_base or
// cl100k_base; another one is an *ErrUnsupported.
func LoadTiktoken(path, encoding string) (Tokenizer, error) {
	e, ok := tiktokenEncodings[encoding]
	if !ok {
		return nil, fmt.Errorf("%s: %w", path, &ErrUnsupported{"tiktoken encoding " + encoding})
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("tokenizer: %w", err)
	}
	defer f.Close()
	ranks := map[string]int32{}
	scan := bufio.NewScanner(f)
	for line := 1; scan.Scan(); line++ {
		if scan.Text() == "" {
			continue
		}
		if err := readRank(ranks, scan.Text()); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, line, err)
		}
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t := &bpe{unkByte: -1, ignoreMerges: true, splits: []splitter{byScanner(scanners[e.cut])}}
	t.name = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	t.bos, t.eos, t.pad, t.unk = -1, e.special[endOfText], -1, -1
	if err := t.setRanks(ranks); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var added []addedToken
	for text, id := range e.special {
		if t.Bytes(id) != nil {
			return nil, fmt.Errorf("%s: rank %d is taken, but %s has %s there: it is a file of another encoding", path, id, encoding, text)
		}
		added = append(added, addedToken{id: id, content: text, special: true})
	}
	if err := t.addAdded(added); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t.setEnds()
	return &rankFile{t}, nil
}

// rankFile is a tokenizer of ranks, which knows special tokens by its encoding's name only: text from outside is ordinary text.
type rankFile struct{ *bpe }

func (*rankFile) SpecialDefault() bool { return false }

func readRank(ranks map[string]int32, line string) error {
	text, number, ok := strings.Cut(line, " ")
	b, err := base64.StdEncoding.DecodeString(text)
	rank, errRank := strconv.ParseInt(number, 10, 32)
	_, twice := ranks[string(b)]
	switch {
	case !ok || err != nil || errRank != nil || len(b) == 0 || rank < 0:
		return fmt.Errorf("%s is not a token in base64 and its rank", quote(line))
	case twice:
		return fmt.Errorf("token %q stands twice", b)
	}
	ranks[string(b)] = int32(rank)
	return nil
}

// setRanks enters tokens by their bytes. Any two neighbours whose bytes together are a token may be merged, the one of lowest rank first.
func (t *bpe) setRanks(ranks map[string]int32) error {
	size := int32(0)
	for text, rank := range ranks {
		if int(rank) > maxID(len(ranks)) {
			return fmt.Errorf("token %s has rank %d, far outside a vocabulary of %d", quote(text), rank, len(ranks))
		}
		size = max(size, rank+1)
	}
	t.setSize(int(size))
	t.plain, t.merges = ranks, map[uint64]merge{}
	for text, rank := range ranks {
		if t.bytes[rank] != nil {
			return fmt.Errorf("rank %d belongs to two tokens, one of them %s", rank, quote(text))
		}
		t.bytes[rank] = []byte(text)
		for i := 1; i < len(text); i++ {
			a, okA := ranks[text[:i]]
			b, okB := ranks[text[i:]]
			if okA && okB {
				t.merges[pair(a, b)] = merge{rank, rank}
			}
		}
	}
	for b := range t.byteID {
		id, ok := ranks[string([]byte{byte(b)})]
		if !ok {
			return fmt.Errorf("there is no token for byte 0x%02x: the file is cut short, or none of ranks", b)
		}
		t.byteID[b] = id
	}
	t.cache = newCache()
	return nil
}
