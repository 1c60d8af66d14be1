package data

import "encoding/json"

// Message is one turn of a conversation. Content is empty for a turn that only calls tools.
type Message struct {
	Role, Content string
	Raw           json.RawMessage // the whole message as written: chat templates read tool_calls, name, reasoning_content ... from it; nil if it was not read from a file
}
