package chat

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/hone-lm/hone/chat/internal/jinja"
)

// Message is one turn of a conversation.
type Message struct {
	Role    string
	Content string
	// Raw is the whole JSON object as it was written if it holds more than a role and a text (tool_calls, a list of content parts ...);
	// templates then see it in place of the two fields.
	Raw json.RawMessage
}

// UnmarshalJSON reads a message object. "role" must be a text; "content" may be a text, null, absent, or anything else that only the
// template understands, which is kept in Raw.
func (m *Message) UnmarshalJSON(b []byte) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(b, &fields); err != nil {
		return fmt.Errorf("message: %w", err)
	}
	*m = Message{}
	if err := json.Unmarshal(fields["role"], &m.Role); err != nil || m.Role == "" {
		return fmt.Errorf(`message %.80s: "role" must be a text`, b)
	}
	content, has := fields["content"]
	plain := has && len(fields) == 2 && len(content) > 0 && content[0] == '"'
	if has && len(content) > 0 && content[0] == '"' {
		if err := json.Unmarshal(content, &m.Content); err != nil {
			return fmt.Errorf(`message %.80s: "content": %w`, b, err)
		}
	}
	if !plain {
		m.Raw = bytes.Clone(b)
	}
	return nil
}

// MarshalJSON writes the message as it was read.
func (m Message) MarshalJSON() ([]byte, error) {
	if m.Raw != nil {
		return m.Raw, nil
	}
	return json.Marshal(struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}{m.Role, m.Content})
}

// value is the message as templates see it.
func (m Message) value() (jinja.Value, error) {
	if m.Raw != nil {
		return jinja.FromJSON(m.Raw)
	}
	d := jinja.NewDict()
	d.Set("role", m.Role)
	d.Set("content", m.Content)
	return d, nil
}
