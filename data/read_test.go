package data

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func file(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func zip(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(s))
	z.Close()
	return b.String()
}

func TestRead(t *testing.T) {
	const row = `{"prompt":"2+2=","completion":" 4"}`
	for name, c := range map[string]struct {
		content string
		opt     Options
		lines   []int
	}{
		"jsonl":            {row + "\n" + row + "\n", Options{}, []int{1, 2}},
		"no last line end": {row + "\n" + row, Options{}, []int{1, 2}},
		"blank lines":      {"\n\n" + row + "\n  \t\n" + row + "\n\n", Options{}, []int{3, 5}},
		"crlf":             {row + "\r\n" + row + "\r\n", Options{}, []int{1, 2}},
		"bom":              {"\xef\xbb\xbf" + row + "\n", Options{}, []int{1}},
		"array":            {"[" + row + ",\n\n" + row + "]\n", Options{}, []int{1, 3}},
		"array, indented":  {"\n[\n  {\n    \"prompt\": \"2+2=\",\n    \"completion\": \" 4\"\n  },\n  " + row + "\n]", Options{}, []int{3, 7}},
		"bom, crlf, array": {"\xef\xbb\xbf\r\n[\r\n" + row + "\r\n]\r\n", Options{}, []int{3}},
		"gz":               {zip(row + "\n" + row), Options{}, []int{1, 2}},
		"gz array":         {zip("[\n" + row + "]"), Options{}, []int{2}},
		"columns":          {`{"q":"2+2=","a":" 4","prompt":7}`, Options{"q", "a"}, []int{1}},
		"other fields":     {`{"id":[1,{"x":null}],"prompt":"2+2=","completion":" 4","tools":3}`, Options{}, []int{1}},
		"escapes":          {`{"pr\u006fmpt":"2+2\u003d","completion":" 4"}`, Options{}, []int{1}},
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t, "train.jsonl", c.content)
			rows, err := Read(path, c.opt)
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) != len(c.lines) {
				t.Fatalf("%d rows, want %d", len(rows), len(c.lines))
			}
			for i, r := range rows {
				if r.Prompt != "2+2=" || r.Completion != " 4" || r.Messages != nil || r.File != path || r.Line != c.lines[i] {
					t.Errorf("row %d: %+v, want line %d", i, r, c.lines[i])
				}
			}
		})
	}
}

func TestReadNumbers(t *testing.T) {
	rows, err := Read(file(t, "svamp.json", `[{"Body":"How many?","Answer":145.0},{"Body":7,"Answer":"x"}]`), Options{"Body", "Answer"})
	if err != nil || rows[0].Completion != "145.0" || rows[1].Prompt != "7" {
		t.Errorf("%+v, %v", rows, err)
	}
}

func TestReadMessages(t *testing.T) {
	rows, err := Read(file(t, "chat.jsonl", `{"prompt":"kept apart","messages":[{"role":"user","content":"hi\n"},{"role":"assistant","content":"é😀"}],"tools":[{"b":1,"a":2}]}`), Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := rows[0]
	if len(r.Messages) != 2 || r.Messages[0].Role != "user" || r.Messages[0].Content != "hi\n" || r.Messages[1].Content != "é😀" || string(r.Tools) != `[{"b":1,"a":2}]` || r.Prompt != "" {
		t.Errorf("%+v", r)
	}
}

func TestReadToolCalls(t *testing.T) {
	const call = `{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}`
	rows, err := Read(file(t, "chat.jsonl", `{"messages":[{"role":"user","content":"hi"},`+call+`]}`), Options{})
	if err != nil || rows[0].Messages[1].Content != "" || string(rows[0].Messages[1].Raw) != call {
		t.Errorf("%+v, %v", rows, err)
	}
}

func TestReadErrors(t *testing.T) {
	ok := `{"prompt":"p","completion":"c"}` + "\n"
	for name, c := range map[string]struct{ content, want string }{
		"trailing comma":     {ok + `{"prompt":"p","completion":"c",}`, "train.jsonl:2: column 32: trailing comma"},
		"comma in list":      {`{"prompt":"p","completion":"c","x":[1,]}`, "trailing comma"},
		"commas of lines":    {`{"prompt":"p","completion":"c"},` + "\n" + ok, "train.jsonl:1: column 32: something follows the row's closing brace"},
		"two rows":           {`{"prompt":"p","completion":"c"}{"prompt":"p","completion":"c"}`, "something follows"},
		"array, comma":       {"[\n" + ok + ",\n]", "train.jsonl:3: trailing comma before the closing ]"},
		"array, open":        {"[" + ok, "ends after 1 rows without its closing ]"},
		"array, cut":         {"[" + ok + `,{"prompt":`, "cut off"},
		"array, more":        {"[" + ok + "]\n" + ok, "something follows the closing ]"},
		"array, bad row":     {"[" + ok + ",\n3]", "train.jsonl:3: the row is a number"},
		"array, broken row":  {"[" + ok + ",{'a':1}]", "after 1 rows"},
		"nan":                {`{"prompt":"p","completion":"c","x":NaN}`, "NaN"},
		"infinity":           {`{"prompt":"p","completion":"c","x":-Infinity}`, "json.dumps writes NaN"},
		"python":             {`{"prompt":"p","completion":None}`, "null"},
		"single quotes":      {`{'prompt':'p'}`, "double quotes"},
		"indented":           {"{\n  \"prompt\": \"p\",\n", "train.jsonl:1: the row ends in the middle"},
		"duplicate":          {`{"prompt":"p","completion":"c","prompt":"q"}`, `key "prompt" occurs twice`},
		"duplicate, deep":    {`{"prompt":"p","completion":"c","x":[{"a":1,"\u0061":2}]}`, `key "a" occurs twice`},
		"deep":               {`{"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, "more than 64"},
		"very deep":          {strings.Repeat(`{"x":`, 20000) + "1" + strings.Repeat("}", 20000), "exceeded max depth"},
		"utf-8":              {"{\"prompt\":\"p\xff\",\"completion\":\"c\"}", "byte 13 of the row (0xff) is not UTF-8"},
		"surrogate":          {`{"prompt":"a\ud83d.","completion":"c"}`, `\ud83d is half`},
		"low surrogate":      {`{"prompt":"\\\udc00","completion":"c"}`, `\udc00 is half`},
		"control":            {"{\"prompt\":\"a\tb\",\"completion\":\"c\"}", "control character (0x09)"},
		"number":             {ok + "17", "train.jsonl:2: the row is a number"},
		"list":               {ok + "[1]", "the row is a list"},
		"wrong type":         {`{"prompt":3,"completion":"c"}`, `column "prompt" is a number; write a string`},
		"null":               {`{"prompt":"p","completion":null}`, `column "completion" is null`},
		"prompt of messages": {`{"prompt":[{"role":"user","content":"x"}],"completion":"c"}`, `"messages"`},
		"gsm8k":              {`{"question":"q","answer":"a"}`, `has "question", "answer"; say prompt=question completion=answer`},
		"sharegpt":           {`{"conversations":[]}`, `write the conversation as "messages"`},
		"unknown":            {`{"x":1}`, "say which columns"},
		"no columns":         {`{}`, "no columns"},
		"both":               {`{"prompt":"p","completion":"c","messages":[]}`, "keep one form"},
		"no messages":        {`{"messages":[]}`, "empty list"},
		"messages a string":  {`{"messages":"hi"}`, "is a string"},
		"message a string":   {`{"messages":["hi"]}`, "messages[0]: is a string"},
		"role":               {`{"messages":[{"role":"user","content":"x"},{"role":"gpt","content":"x"}]}`, `messages[1]: role "gpt" is called "assistant"`},
		"odd role":           {`{"messages":[{"role":"narrator","content":"x"}]}`, "none of system"},
		"capital":            {`{"messages":[{"Role":"user","content":"x"}]}`, `messages[0]: no "role"`},
		"no role":            {`{"messages":[{"content":"x"}]}`, `messages[0]: no "role"`},
		"no content":         {`{"messages":[{"role":"user"}]}`, `no "content"`},
		"null content":       {`{"messages":[{"role":"assistant","content":null}]}`, `"content" is null`},
		"weight":             {`{"messages":[{"role":"assistant","content":"x","weight":0}]}`, `messages[0]: "weight" is not read`},
		"content":            {`{"messages":[{"role":"user","content":3}]}`, `"content" is a number`},
		"empty":              {"", "holds no rows"},
		"blank":              {" \n\r\n", "holds no rows"},
		"empty array":        {"[]", "holds no rows"},
		"parquet":            {"PAR1....", "a Parquet file"},
		"utf-16":             {"\xff\xfe{\x00", "UTF-16"},
		"gzip, damaged":      {"\x1f\x8b\x08", "damaged gzip"},
		"gzip, cut":          {zip(strings.Repeat(ok, 100))[:60], "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			path := file(t, "train.jsonl", c.content)
			rows, err := Read(path, Options{})
			if err == nil {
				t.Fatalf("read %d rows, wanted an error with %q", len(rows), c.want)
			}
			if !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path) {
				t.Errorf("error %q, wanted %q", err, c.want)
			}
			if len(err.Error()) > 400+len(path) {
				t.Errorf("error of %d characters", len(err.Error()))
			}
		})
	}
	for _, c := range []struct {
		opt  Options
		want string
	}{{Options{Prompt: "prompt"}, "name both or none"}, {Options{"prompt", "solution"}, `no column "solution"; the row has "prompt", "completion"`}, {Options{"prompt", "x"}, `no column "x"`}} {
		if _, err := Read(file(t, "x.jsonl", ok), c.opt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, wanted %q", err, c.want)
		}
	}
	if _, err := Read(file(t, "x.csv", "a,b\n"), Options{}); err == nil || !strings.Contains(err.Error(), "convert") {
		t.Errorf("csv: %v", err)
	}
	if _, err := Read(filepath.Join(t.TempDir(), "absent"), Options{}); err == nil {
		t.Error("no error for a file that is not there")
	}
}

func TestReadHugeLine(t *testing.T) {
	if testing.Short() {
		t.Skip("65 MiB")
	}
	path := file(t, "x.jsonl", `{"prompt":"`+strings.Repeat("x", maxRowBytes)+`","completion":"c"}`)
	if _, err := Read(path, Options{}); err == nil || !strings.Contains(err.Error(), "x.jsonl:1: the line is longer than 64 MiB") {
		t.Errorf("error %v", err)
	}
}

func TestReadShared(t *testing.T) {
	for path, c := range map[string]struct {
		opt  Options
		rows int
	}{
		"gsm8k/train.jsonl":         {Options{"question", "answer"}, 7473},
		"svamp/SVAMP.first700.json": {Options{"Body", "Answer"}, 700},
		"mawps_family/AddSub.json":  {Options{"sQuestion", "lSolutions"}, -1},
	} {
		full := filepath.Join("..", "..", "shared", "data", path)
		if _, err := os.Stat(full); err != nil {
			t.Skip("../shared absent: ", err)
		}
		rows, err := Read(full, c.opt)
		if c.rows < 0 {
			if err == nil || !strings.Contains(err.Error(), `column "lSolutions" is a list`) {
				t.Errorf("%s: %v", path, err)
			}
			continue
		}
		if err != nil || len(rows) != c.rows {
			t.Errorf("%s: %d rows, %v", path, len(rows), err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{"[{\"prompt\":\"p\",\"completion\":\"c\"}]", "{\"messages\":[{\"role\":\"user\",\"content\":\"\\ud83d\\ude00\"}]}\r\n", "\xef\xbb\xbf\n{}", "[,]", zip("{}"), "{\"a\":NaN}", "{\"prompt\":\"p\",\"completion\":\"c\",}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		rows, err := read(bytes.NewReader(content), "fuzz.jsonl", Options{})
		if err != nil {
			if !strings.HasPrefix(err.Error(), "fuzz.jsonl:") {
				t.Fatalf("error without its place: %v", err)
			}
			return
		}
		last := 0
		for _, r := range rows {
			if r.Line < max(last, 1) || r.Line > bytes.Count(content, []byte("\n"))+1 && content[0] != 0x1f {
				t.Fatalf("line %d after %d", r.Line, last)
			}
			last = r.Line
			again, err := read(bytes.NewReader(r.Raw), "again", Options{}) // a row means the same alone
			if err != nil && !bytes.ContainsAny(r.Raw, "\r\n") || err == nil && len(again) != 1 {
				t.Fatalf("%q read again: %d rows, %v", r.Raw, len(again), err)
			}
		}
	})
}
