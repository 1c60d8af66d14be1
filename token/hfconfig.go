package token

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// readConfig reads what stands beside tokenizer.json: names of special tokens, the chat template, ids that end an answer.
func (t *bpe) readConfig(dir string) error {
	var c struct {
		BOS      specialName     `json:"bos_token"`
		EOS      specialName     `json:"eos_token"`
		PAD      specialName     `json:"pad_token"`
		UNK      specialName     `json:"unk_token"`
		Template json.RawMessage `json:"chat_template"`
	}
	config := filepath.Join(dir, "tokenizer_config.json")
	for _, path := range []string{config, filepath.Join(dir, "special_tokens_map.json")} { // the second only fills gaps
		old := c
		if err := readJSON(path, &c); err != nil {
			return err
		}
		for _, p := range []struct{ now, was *specialName }{{&c.BOS, &old.BOS}, {&c.EOS, &old.EOS}, {&c.PAD, &old.PAD}, {&c.UNK, &old.UNK}} {
			if *p.was != "" {
				*p.now = *p.was
			}
		}
	}
	for _, s := range []struct {
		id   *int32
		key  string
		name specialName
	}{{&t.bos, "bos_token", c.BOS}, {&t.eos, "eos_token", c.EOS}, {&t.pad, "pad_token", c.PAD}, {&t.unk, "unk_token", c.UNK}} {
		if s.name == "" {
			continue
		}
		if *s.id = t.find(string(s.name)); *s.id < 0 {
			return fmt.Errorf("%s: %s %q is not in tokenizer.json: the two files are not from the same model", config, s.key, s.name)
		}
	}
	var err error
	if t.template, err = chatTemplate(c.Template); err != nil {
		return fmt.Errorf("%s: chat_template: %w", config, err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "chat_template.jinja")); err == nil {
		t.template = string(b) // newer files keep it here, and it has precedence
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var g struct {
		EOS idList `json:"eos_token_id"`
	}
	if err := readJSON(filepath.Join(dir, "generation_config.json"), &g); err != nil {
		return err
	}
	t.setEnds(g.EOS...)
	return nil
}

func readJSON(path string, v any) error {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// specialName is a token's text, written as a string or as an object with content.
type specialName string

func (s *specialName) UnmarshalJSON(b []byte) error {
	if b[0] == '{' {
		var o struct{ Content string }
		err := json.Unmarshal(b, &o)
		*s = specialName(o.Content)
		return err
	}
	return json.Unmarshal(b, (*string)(s))
}

// idList is one id or a list of ids.
type idList []int32

func (l *idList) UnmarshalJSON(b []byte) error {
	if b[0] == '[' || string(b) == "null" {
		return json.Unmarshal(b, (*[]int32)(l))
	}
	*l = make(idList, 1)
	return json.Unmarshal(b, &(*l)[0])
}

// chatTemplate reads a template, or of a list of named ones the one called default.
func chatTemplate(raw json.RawMessage) (string, error) {
	if len(raw) == 0 || raw[0] == 'n' {
		return "", nil
	}
	if raw[0] == '[' {
		var list []struct{ Name, Template string }
		if err := json.Unmarshal(raw, &list); err != nil {
			return "", err
		}
		for _, t := range list {
			if t.Name == "default" {
				return t.Template, nil
			}
		}
		return "", fmt.Errorf("%d templates and none is called default", len(list))
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}
