package token

import "strconv"

// The byte tokenizer of small models: ids 0 to 255 are bytes, then six special tokens, then 64 tags. Ids 326 to 335 stand for nothing;
// they round the vocabulary up to a multiple of 16, which the vocabulary head's kernels like.
const (
	ByteBOS       = 256
	ByteEOS       = 257
	BytePAD       = 258
	ByteUser      = 259
	ByteAssistant = 260
	ByteSystem    = 261
	byteTags      = 262 // the first tag
	byteVocab     = 336
)

var byteSpecial = []string{"<|bos|>", "<|eos|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|system|>"}

// byteTagNames are the 64 spare single-id tags.
func byteTagNames() []string {
	var tags []string
	for _, n := range []string{"think", "plan", "execute", "path", "parallel", "summary", "tool", "result", "answer"} {
		tags = append(tags, "<"+n+">", "</"+n+">")
	}
	for d := range 10 {
		tags = append(tags, "<level"+string(rune('0'+d))+">")
	}
	for k := 0; len(tags) < 64; k++ {
		tags = append(tags, "<tag"+strconv.Itoa(k)+">")
	}
	return tags
}

// byteTemplate is the chat template of the byte tokenizer: every turn begins with one token, the assistant's ends with one.
const byteTemplate = `{% for m in messages %}{% if m.role == 'system' %}<|system|>{% elif m.role == 'user' %}<|user|>` +
	`{% else %}<|assistant|>{% endif %}{{ m.content }}{% if m.role == 'assistant' %}<|eos|>{% endif %}{% endfor %}` +
	`{% if add_generation_prompt %}<|assistant|>{% endif %}`

type byteTokenizer struct{ vocab }

var theBytes = func() *byteTokenizer {
	t := &byteTokenizer{vocab{name: "bytes", plain: map[string]int32{}, template: byteTemplate}}
	t.setSize(byteVocab)
	for b := range 256 {
		t.bytes[b] = []byte{byte(b)}
		t.plain[string(t.bytes[b])] = int32(b)
	}
	var added []addedToken
	for i, name := range byteSpecial {
		added = append(added, addedToken{id: ByteBOS + int32(i), content: name, special: true})
	}
	for i, name := range byteTagNames() {
		added = append(added, addedToken{id: byteTags + int32(i), content: name})
	}
	if err := t.addAdded(added); err != nil {
		panic(err) // the table above is constant
	}
	t.bos, t.eos, t.pad, t.unk = ByteBOS, ByteEOS, BytePAD, -1
	t.setEnds()
	return t
}()

// Bytes returns the byte tokenizer: ids 0 to 255 are the bytes, 256 <|bos|>, 257 <|eos|>, 258 <|pad|>, 259 <|user|>, 260 <|assistant|>,
// 261 <|system|>, 262 to 325 the tags <think>, </think> ... <level0> ... <tag0> ..., 326 to 335 unused. Special tokens and tags are
// read from text only where EncodeOptions.Special asks for it.
func Bytes() Tokenizer { return theBytes }

func (t *byteTokenizer) SpecialDefault() bool { return false }

func (t *byteTokenizer) Encode(text string, o EncodeOptions) []int32 {
	ids, _ := t.EncodeOffsets(text, o)
	return ids
}

func (t *byteTokenizer) EncodeOffsets(text string, o EncodeOptions) ([]int32, [][2]int) {
	ids, spans := make([]int32, 0, len(text)+2), make([][2]int, 0, len(text)+2)
	put := func(id int32, from, to int) { ids, spans = append(ids, id), append(spans, [2]int{from, to}) }
	if o.AddSpecial {
		put(ByteBOS, 0, 0)
	}
	for i := 0; i < len(text); {
		if o.Special {
			if a := t.added.at(text, i); a != nil {
				put(a.id, i, i+len(a.content))
				i += len(a.content)
				continue
			}
		}
		put(int32(text[i]), i, i+1)
		i++
	}
	return ids, spans
}
