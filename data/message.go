package data

// Message is one turn of a conversation.
type Message struct{ Role, Content string }
