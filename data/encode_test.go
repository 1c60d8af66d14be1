package data

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const end = 256

func bytesOf(text string) ([]int32, error) {
	if strings.Contains(text, "\x00") {
		return nil, errors.New("a zero byte")
	}
	var ids []int32
	for _, b := range []byte(text) {
		ids = append(ids, int32(b))
	}
	return ids, nil
}

func codec() Codec {
	return Codec{Encode: func(_ []int32, text string) ([]int32, error) { return bytesOf(text) }, End: []int32{end}}
}

// chatCodec closes every message with the end token and trains those of the assistant.
func chatCodec() Codec {
	c := codec()
	c.Chat = func(messages []Message, _ json.RawMessage, on TrainOn) (tokens []int32, weights []float32, err error) {
		for i, m := range messages {
			body, _ := bytesOf(m.Content)
			w := float32(0)
			if on == TrainAll || m.Role == "assistant" && (on == TrainAnswers || i == len(messages)-1) {
				w = 1
			}
			tokens, weights = append(tokens, int32(m.Role[0])), append(weights, 0)
			for _, b := range append(body, end) {
				tokens, weights = append(tokens, b), append(weights, w)
			}
		}
		return tokens, weights, nil
	}
	return c
}

func show(e Example) string {
	var b strings.Builder
	for t, id := range e.Tokens {
		s := "$"
		if id < end {
			s = string(rune(id))
		}
		if e.Weights[t] != 0 {
			s = strings.ToUpper("[" + s + "]")
		}
		b.WriteString(s)
	}
	return strings.ReplaceAll(b.String(), "][", "")
}

func TestEncode(t *testing.T) {
	talk := []Message{{Role: "user", Content: "hi"}, {Role: "assistant", Content: "yo"}, {Role: "user", Content: "so"}, {Role: "assistant", Content: "ok"}}
	withBegin := codec()
	withBegin.Begin = []int32{'^'}
	for name, c := range map[string]struct {
		row   Row
		codec Codec
		on    TrainOn
		want  string
	}{
		"plain":          {Row{Prompt: "ab", Completion: "cd"}, codec(), TrainAnswers, "ab[CD$]"},
		"plain, all":     {Row{Prompt: "ab", Completion: "cd"}, codec(), TrainAll, "a[BCD$]"},
		"no prompt":      {Row{Completion: "cd"}, codec(), TrainAnswers, "c[D$]"},
		"begin":          {Row{Completion: "cd"}, withBegin, TrainAnswers, "^[CD$]"},
		"template":       {Row{Prompt: "ab", Completion: "cd"}, chatCodec(), TrainAnswers, "uab$a[CD$]"},
		"messages":       {Row{Messages: talk}, chatCodec(), TrainAnswers, "uhi$a[YO$]uso$a[OK$]"},
		"messages, last": {Row{Messages: talk}, chatCodec(), TrainLast, "uhi$ayo$uso$a[OK$]"},
	} {
		e, err := Encode(&c.row, c.codec, c.on)
		if err != nil || show(e) != c.want {
			t.Errorf("%s: %s, %v, want %s", name, show(e), err, c.want)
		}
	}
}

func TestEncodeErrors(t *testing.T) {
	bare := codec()
	bare.End = nil
	open := chatCodec()
	open.End = []int32{999}
	user := []Message{{Role: "user", Content: "hi"}}
	for _, c := range []struct {
		row   Row
		codec Codec
		on    TrainOn
		want  string
	}{
		{Row{Prompt: "a"}, codec(), TrainAnswers, "no trained token: the completion is empty"},
		{Row{Prompt: "a"}, chatCodec(), TrainAnswers, "no trained token: the completion is empty"},
		{Row{Prompt: "a", Completion: "\x00"}, codec(), TrainAnswers, "completion: a zero byte"},
		{Row{Prompt: "a", Completion: "b"}, bare, TrainAnswers, "no end token"},
		{Row{Prompt: "a", Completion: "b"}, open, TrainAnswers, "no trained end token"},
		{Row{Messages: user}, codec(), TrainAnswers, "no chat template"},
		{Row{Messages: user}, chatCodec(), TrainAnswers, `no message has role "assistant"; add an assistant message or set train_on: all`},
		{Row{Messages: append(user, Message{Role: "assistant", Content: "x"}, Message{Role: "user", Content: "y"})}, chatCodec(), TrainLast, "no trained token with train_on: last"},
		{Row{Prompt: "a", Completion: "b"}, codec(), "prompts", `train_on: "prompts" is none of`},
	} {
		c.row.File, c.row.Line = "train.jsonl", 17
		_, err := Encode(&c.row, c.codec, c.on)
		if err == nil || !strings.HasPrefix(err.Error(), "train.jsonl:17: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}

func TestTooLong(t *testing.T) {
	rows := []Row{{Prompt: "ab", Completion: "cdefg", File: "x.jsonl", Line: 3}, {Prompt: "abcdef", Completion: "g", File: "x.jsonl", Line: 4}, {Prompt: "a", Completion: "b"}}
	for _, c := range []struct {
		limit int
		long  TooLong
		want  string
	}{
		{0, LongError, "ab[CDEFG$] abcdef[G$] a[B$] {3 3 19 10 8 0 0 0}"},
		{8, LongError, "ab[CDEFG$] abcdef[G$] a[B$] {3 3 19 10 8 0 0 0}"},
		{4, LongTruncate, "ab[CD] a[B$] {3 2 7 4 8 2 0 1}"},
		{4, LongSplit, "ab[CD] d[EFG] g[$] def[G] g[$] a[B$] {3 6 19 10 8 0 2 1}"},
		{5, LongError, "x.jsonl:3: 8 tokens, and the limit is 5"},
		{2, LongTruncate, "a[B] {3 1 2 1 8 3 0 2}"},
		{1, LongTruncate, "at least 2"},
		{4, "drop", `too_long: "drop" is none of`},
	} {
		examples, counts, err := EncodeAll(rows, codec(), TrainAnswers, c.limit, c.long)
		got := ""
		for _, e := range examples {
			got += show(e) + " "
		}
		got += fmt.Sprint(counts)
		if err != nil && !strings.Contains(err.Error(), c.want) || err == nil && got != c.want {
			t.Errorf("limit %d, %s: got %s, %v, want %s", c.limit, c.long, got, err, c.want)
		}
	}
	if _, _, err := EncodeAll(rows[:2], codec(), TrainAnswers, 2, LongTruncate); err == nil || !strings.Contains(err.Error(), "leaves no trained token") {
		t.Errorf("nothing left: %v", err)
	}
}

// Splitting trains every trained token exactly once, after the token that stood before it.
func TestSplitTrainsEverythingOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(1, 40, -1).Filter(func(s string) bool { return !strings.Contains(s, "\x00") })
		row := Row{Prompt: text.Draw(t, "prompt"), Completion: text.Draw(t, "completion")}
		whole, err := Encode(&row, codec(), TrainAnswers)
		if err != nil {
			t.Fatal(err)
		}
		limit := rapid.IntRange(2, 50).Draw(t, "limit")
		parts, counts, err := EncodeAll([]Row{row}, codec(), TrainAnswers, limit, LongSplit)
		if err != nil || counts.Trained != whole.Trained() {
			t.Fatalf("%d tokens trained of %d, %v", counts.Trained, whole.Trained(), err)
		}
		var want, got [][2]int32
		for i := 1; i < len(whole.Tokens); i++ {
			if whole.Weights[i] != 0 {
				want = append(want, [2]int32{whole.Tokens[i-1], whole.Tokens[i]})
			}
		}
		for _, p := range parts {
			if len(p.Tokens) > limit || p.Weights[0] != 0 {
				t.Fatalf("part %s with a limit of %d", show(p), limit)
			}
			for i := 1; i < len(p.Tokens); i++ {
				if p.Weights[i] != 0 {
					got = append(got, [2]int32{p.Tokens[i-1], p.Tokens[i]})
				}
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}
