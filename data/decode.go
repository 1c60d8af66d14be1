package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

var roles = []string{"system", "developer", "user", "assistant", "tool"}

// otherRoles are names that other formats have for the same roles.
var otherRoles = map[string]string{"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatgpt": "assistant", "observation": "tool", "function": "tool", "ipython": "tool"}

// decodeMessages reads a conversation in OpenAI's form.
func decodeMessages(raw json.RawMessage) ([]Message, error) {
	if raw[0] != '[' {
		return nil, fmt.Errorf(`column "messages" is %s; it is a list of {"role": ..., "content": ...}`, kindOf(raw))
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New(`column "messages" is an empty list; remove the row or give it a conversation`)
	}
	messages := make([]Message, len(list))
	for i, m := range list {
		if err := decodeMessage(m, &messages[i]); err != nil {
			return nil, fmt.Errorf("messages[%d]: %w", i, err)
		}
	}
	return messages, nil
}

func decodeMessage(raw json.RawMessage, m *Message) error {
	if raw[0] != '{' {
		return fmt.Errorf(`is %s; write {"role": ..., "content": ...}`, kindOf(raw))
	}
	var fields map[string]json.RawMessage // not a struct, which would take "Role" for "role"
	if err := json.Unmarshal(raw, &fields); err != nil {
		return err
	}
	if fields["weight"] != nil { // passing over it would train what the file says not to train
		return errors.New(`"weight" is not read; remove it and say train_on: last, or keep only conversations that are to be trained whole`)
	}
	m.Raw = raw
	var err error
	if m.Role, err = messageText("role", fields["role"]); err != nil {
		return err
	}
	if !slices.Contains(roles, m.Role) {
		if is, ok := otherRoles[strings.ToLower(m.Role)]; ok {
			return fmt.Errorf("role %q is called %q here; rename it", m.Role, is)
		}
		return fmt.Errorf("role %q is none of %s", m.Role, strings.Join(roles, ", "))
	}
	if calls := fields["tool_calls"]; calls != nil && calls[0] == '[' && (fields["content"] == nil || fields["content"][0] == 'n') {
		return nil
	}
	m.Content, err = messageText("content", fields["content"])
	return err
}

func messageText(name string, raw json.RawMessage) (string, error) {
	if raw == nil {
		return "", fmt.Errorf("no %q", name)
	}
	var s string
	if raw[0] != '"' {
		return "", fmt.Errorf("%q is %s; write a string", name, kindOf(raw))
	}
	err := json.Unmarshal(raw, &s)
	return s, err
}
