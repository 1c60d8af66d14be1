// Package data reads training rows, turns them into tokens with weights, and puts them in order: shuffling, batches, packing, splits.
package data

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const maxRowBytes = 64 << 20 // a longer line is surely not a row

// Row is one training row: either Prompt and Completion, or Messages.
type Row struct {
	Prompt, Completion string
	Messages           []Message       // nil for a row with prompt and completion
	Tools              json.RawMessage // the column "tools" of a row with messages, as written; nil without one
	File               string          // the file as it was named
	Line               int             // where the row begins, from 1
	Raw                json.RawMessage // the whole row as written
}

// Source names the row's place: "train.jsonl:17".
func (r *Row) Source() string { return fmt.Sprintf("%s:%d", r.File, r.Line) }

// Options name the columns of rows that are neither prompt/completion nor messages. Either both are set or none.
type Options struct {
	Prompt     string // config key prompt=
	Completion string // config key completion=
}

// Read reads a file of rows: JSON Lines or one JSON array, gzip-compressed or not (told by content, not by name), in UTF-8 with or
// without a byte order mark. A row is an object with "prompt" and "completion", or with "messages" (and "tools"), or with the two
// columns that opt names, strings or numbers; other fields are kept in Raw only. Blank lines are passed over. The error names the
// file, the line and the remedy; no rows at all is an error.
func Read(path string, opt Options) ([]Row, error) {
	if (opt.Prompt == "") != (opt.Completion == "") {
		return nil, fmt.Errorf("%s: columns prompt=%s completion=%s: name both or none", path, opt.Prompt, opt.Completion)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows, err := read(f, path, opt)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s: the file holds no rows", path)
	}
	return rows, nil
}

func read(f io.Reader, path string, opt Options) (rows []Row, err error) {
	err = scan(f, path, func(line int, raw json.RawMessage, cols []column) error {
		row := Row{File: path, Line: line, Raw: raw}
		if err := row.fill(cols, opt); err != nil {
			return err
		}
		rows = append(rows, row)
		return nil
	})
	return rows, err
}

// scan hands every row of a file, split into its columns, to take; an error of take gets the file and the line.
func scan(f io.Reader, path string, take func(line int, raw json.RawMessage, cols []column) error) error {
	in := bufio.NewReaderSize(f, 1<<16)
	if head, _ := in.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("%s: damaged gzip file: %w", path, err)
		}
		in = bufio.NewReaderSize(z, 1<<16)
	}
	if err := refuse(in, path); err != nil {
		return err
	}
	array, lines, err := skipSpace(in)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	p := parser{file: path, take: take}
	if array {
		return p.array(in, lines)
	}
	return p.lines(in, lines)
}

// refuse names the formats that people hand in by mistake, and skips a byte order mark.
func refuse(in *bufio.Reader, path string) error {
	head, _ := in.Peek(4)
	for _, c := range []struct{ magic, what string }{
		{"PAR1", "a Parquet file"},
		{"PK\x03\x04", "a zip file"},
		{"\x28\xb5\x2f\xfd", "a zstd file"},
		{"\xff\xfe", "in UTF-16"},
		{"\xfe\xff", "in UTF-16"},
		{"ARRO", "an Arrow file"},
	} {
		if bytes.HasPrefix(head, []byte(c.magic)) {
			return fmt.Errorf("%s: the file is %s; convert it to JSON Lines in UTF-8 (.jsonl, .jsonl.gz)", path, c.what)
		}
	}
	if ext := strings.ToLower(filepath.Ext(path)); ext == ".csv" || ext == ".tsv" {
		return fmt.Errorf("%s: tables of this kind are not read; convert the file to JSON Lines (.jsonl)", path)
	}
	if bytes.HasPrefix(head, []byte("\xef\xbb\xbf")) {
		in.Discard(3)
	}
	return nil
}

// skipSpace passes over leading blank space, counts its line ends, and tells whether an array begins.
func skipSpace(in *bufio.Reader) (array bool, lines int, err error) {
	for {
		c, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			return false, lines, nil
		}
		if err != nil {
			return false, lines, err
		}
		switch c {
		case '\n':
			lines++
		case ' ', '\t', '\r':
		default:
			return c == '[', lines, in.UnreadByte()
		}
	}
}

type parser struct {
	file string
	take func(line int, raw json.RawMessage, cols []column) error
	rows int // taken
}

func (p *parser) fail(line int, err error) error { return fmt.Errorf("%s:%d: %w", p.file, line, err) }

// lines reads one row a line, the first of them line number before+1.
func (p *parser) lines(in *bufio.Reader, before int) error {
	for line := before + 1; ; line++ {
		raw, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return p.fail(line, err)
		}
		if trimmed := bytes.TrimSpace(raw); len(trimmed) > 0 {
			if err := p.add(line, trimmed); err != nil {
				return p.fail(line, err)
			}
		}
		if err != nil {
			return nil
		}
	}
}

// readLine returns the next line in memory of its own.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxRowBytes {
			return nil, fmt.Errorf("the line is longer than %d MiB; one row a line, or one JSON array that begins with [", maxRowBytes>>20)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

// array reads the elements of one JSON array.
func (p *parser) array(in io.Reader, before int) error {
	at := &lineCounter{in: in, line: before + 1}
	dec := json.NewDecoder(at)
	if _, err := dec.Token(); err != nil { // the bracket that skipSpace saw
		return p.fail(before+1, err)
	}
	for dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return p.fail(at.lineOf(dec.InputOffset()), arrayError(err, p.rows))
		}
		line := at.lineOf(dec.InputOffset() - int64(len(raw)))
		if len(raw) > maxRowBytes {
			return p.fail(line, fmt.Errorf("the row is longer than %d MiB", maxRowBytes>>20))
		}
		if err := p.add(line, raw); err != nil {
			return p.fail(line, err)
		}
	}
	_, err := dec.Token()
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("something follows the closing ] of the array; remove it, or write one row a line without brackets")
	}
	return p.fail(at.lineOf(dec.InputOffset()), arrayError(err, p.rows))
}

func arrayError(err error, rows int) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the array ends after %d rows without its closing ]; was the file cut off?", rows)
	}
	if text := err.Error(); strings.Contains(text, "looking for beginning of value") && strings.Contains(text, "']'") {
		return errors.New("trailing comma before the closing ]; remove it")
	}
	return fmt.Errorf("after %d rows of the array: not JSON: %w", rows, err)
}

// lineCounter remembers where lines end, so that a decoder's offset becomes a line number.
type lineCounter struct {
	in   io.Reader
	read int64
	ends []int64 // offsets of line ends not passed yet
	line int     // line number before the first of ends
}

func (l *lineCounter) Read(b []byte) (int, error) {
	n, err := l.in.Read(b)
	for i, c := range b[:n] {
		if c == '\n' {
			l.ends = append(l.ends, l.read+int64(i))
		}
	}
	l.read += int64(n)
	return n, err
}

// lineOf returns the line of an offset; offsets only grow from call to call.
func (l *lineCounter) lineOf(offset int64) int {
	n := 0
	for n < len(l.ends) && l.ends[n] < offset {
		n++
	}
	l.line += n
	l.ends = l.ends[n:]
	return l.line
}

func (p *parser) add(line int, raw json.RawMessage) error {
	cols, err := columns(raw)
	if err == nil {
		err = p.take(line, raw, cols)
	}
	if err == nil {
		p.rows++
	}
	return err
}

// value returns a column of a row as written, nil without it.
func value(cols []column, name string) json.RawMessage {
	i := slices.IndexFunc(cols, func(c column) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return cols[i].value
}

// fill reads what is trained on.
func (row *Row) fill(cols []column, opt Options) (err error) {
	get := func(name string) json.RawMessage { return value(cols, name) }
	switch messages := get("messages"); {
	case opt.Prompt != "":
		if row.Prompt, err = text(cols, opt.Prompt, get(opt.Prompt), true); err != nil {
			return err
		}
		row.Completion, err = text(cols, opt.Completion, get(opt.Completion), true)
	case messages != nil && get("prompt") != nil && get("completion") != nil:
		err = errors.New(`the row has "messages" and also "prompt" and "completion"; keep one form, or say prompt=prompt completion=completion`)
	case messages != nil:
		row.Tools = get("tools")
		row.Messages, err = decodeMessages(messages)
	case get("prompt") != nil && get("completion") != nil:
		if row.Prompt, err = text(cols, "prompt", get("prompt"), false); err != nil {
			return err
		}
		row.Completion, err = text(cols, "completion", get("completion"), false)
	default:
		err = unknownColumns(cols)
	}
	return err
}

// text reads a column of text. A column that was named in the config may also hold numbers (an answer), which stand as they are written.
func text(cols []column, name string, raw json.RawMessage, numbers bool) (string, error) {
	if raw == nil {
		return "", fmt.Errorf("no column %q; the row has %s", name, names(cols))
	}
	if raw[0] == '"' {
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	}
	if numbers && kindOf(raw) == "a number" {
		return string(raw), nil
	}
	hint := "write a string"
	if raw[0] == '[' {
		hint = `write a string, or put the conversation into "messages"`
	}
	return "", fmt.Errorf("column %q is %s; %s", name, kindOf(raw), hint)
}

func names(cols []column) string {
	if len(cols) == 0 {
		return "no columns"
	}
	var quoted []string
	for _, c := range cols {
		if len(quoted) == 12 {
			quoted = append(quoted, "...")
			break
		}
		quoted = append(quoted, fmt.Sprintf("%q", c.name))
	}
	return strings.Join(quoted, ", ")
}

// commonPairs are the column names of well-known data sets.
var commonPairs = [][2]string{
	{"question", "answer"}, {"instruction", "output"}, {"instruction", "response"}, {"input", "output"}, {"query", "response"},
	{"problem", "solution"}, {"question", "response"}, {"prompt", "response"}, {"prompt", "answer"}, {"prompt", "chosen"}, {"Question", "Answer"}, {"Body", "Answer"},
}

func unknownColumns(cols []column) error {
	has := func(name string) bool {
		return slices.ContainsFunc(cols, func(c column) bool { return c.name == name })
	}
	suggest := "say which columns to train on with prompt=COLUMN completion=COLUMN"
	for _, pair := range commonPairs {
		if has(pair[0]) && has(pair[1]) {
			suggest = fmt.Sprintf("say prompt=%s completion=%s", pair[0], pair[1])
			break
		}
	}
	if has("conversations") || has("conversation") {
		suggest = `write the conversation as "messages": [{"role": "user", "content": ...}, {"role": "assistant", "content": ...}]`
	}
	return fmt.Errorf(`neither "prompt" and "completion" nor "messages" in the row, which has %s; %s`, names(cols), suggest)
}
