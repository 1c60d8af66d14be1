package toolcall

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Categories whose answers are calls that can be judged one by one.
var Categories = []string{
	"simple_python", "simple_java", "simple_javascript", "multiple", "parallel", "parallel_multiple", "irrelevance",
	"live_simple", "live_multiple", "live_parallel", "live_parallel_multiple", "live_irrelevance", "live_relevance",
}

// UnsupportedError names a category of the leaderboard that is known but needs more than one list of calls.
type UnsupportedError struct{ Category string }

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("category %q needs an environment of its own and is not built; there are %s", e.Category, strings.Join(Categories, ", "))
}

// CheckCategory says whether a category can be judged.
func CheckCategory(category string) error {
	if slices.Contains(Categories, category) {
		return nil
	}
	for _, word := range []string{"multi_turn", "memory", "web_search", "format_sensitivity", "exec_", "rest", "sql", "chatable"} {
		if strings.HasPrefix(category, word) {
			return &UnsupportedError{category}
		}
	}
	return fmt.Errorf("unknown category %q: the categories are %s", category, strings.Join(Categories, ", "))
}

// Bench is a folder with files of the leaderboard: BFCL_v4_CATEGORY.json with a question a line, and under the same name in possible_answer
// the accepted answers. A category's files are read when it is first asked for. It may be used from many goroutines.
type Bench struct {
	dir  string
	mu   sync.Mutex
	read map[string]*category
}

type category struct {
	questions []*Question
	byID      map[string]*Question
	err       error
}

// OpenBench opens a folder, which must exist.
func OpenBench(dir string) (*Bench, error) {
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is a file", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: want a folder with BFCL_v4_CATEGORY.json and possible_answer", err)
	}
	return &Bench{dir: dir, read: map[string]*category{}}, nil
}

// Questions returns a category's rows in the order of the file, also those that have no answer in possible_answer.
func (b *Bench) Questions(name string) ([]*Question, error) {
	c, err := b.category(name)
	if err != nil {
		return nil, err
	}
	return c.questions, nil
}

// Question returns one row.
func (b *Bench) Question(category, id string) (*Question, error) {
	c, err := b.category(category)
	if err != nil {
		return nil, err
	}
	q, ok := c.byID[id]
	if !ok {
		return nil, fmt.Errorf("%s has no row %q", b.file(category), id)
	}
	if q.Answers == nil && !asksForNone(category) && !asksForAny(category) {
		return nil, fmt.Errorf("%s has %q, possible_answer has it not: the two files are not of one version", b.file(category), id)
	}
	return q, nil
}

func (b *Bench) file(category string) string {
	return filepath.Join(b.dir, "BFCL_v4_"+category+".json")
}

func (b *Bench) category(name string) (*category, error) {
	if err := CheckCategory(name); err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.read[name]
	if c == nil {
		c = &category{byID: map[string]*Question{}}
		c.err = c.load(b.file(name), name)
		b.read[name] = c
	}
	return c, c.err
}

func (c *category) load(path, name string) error {
	err := eachLine(path, func(row *Dict) error {
		q, err := readQuestion(row, name)
		if err != nil {
			return err
		}
		if c.byID[q.ID] != nil {
			return fmt.Errorf("id %q is given twice", q.ID)
		}
		c.byID[q.ID] = q
		c.questions = append(c.questions, q)
		return nil
	})
	if err != nil || asksForNone(name) || asksForAny(name) {
		return err
	}
	path = filepath.Join(filepath.Dir(path), "possible_answer", filepath.Base(path))
	return eachLine(path, func(row *Dict) error {
		id, _ := row.Get("id")
		s, _ := id.(string)
		truth, _ := row.Get("ground_truth")
		list, ok := truth.(List)
		if !ok || len(list) == 0 {
			return fmt.Errorf("row %q: ground_truth is no list of calls", s)
		}
		if q := c.byID[s]; q != nil {
			q.Answers = list
		}
		return nil
	})
}

// eachLine reads a file of one JSON object a line.
func eachLine(path string, fn func(*Dict) error) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w: the folder has no rows of this category", err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: %w", path, err)
		}
		if text := string(bytes.TrimSpace(line)); text != "" {
			v, bad := DecodeJSON(text)
			row, ok := v.(*Dict)
			if bad == nil && !ok {
				bad = errors.New("want one JSON object a line")
			}
			if bad == nil {
				bad = fn(row)
			}
			if bad != nil {
				return fmt.Errorf("%s:%d: %w", path, n, bad)
			}
		}
		if err != nil {
			return nil
		}
	}
}

// readQuestion reads a row {"id", "question": [[{"role", "content"}, ...]], "function": [...]}.
func readQuestion(row *Dict, category string) (*Question, error) {
	id, _ := row.Get("id")
	q := &Question{Category: category}
	var ok bool
	if q.ID, ok = id.(string); !ok || q.ID == "" {
		return nil, errors.New(`"id" is no text`)
	}
	f, _ := row.Get("function")
	if q.Functions, ok = f.(List); !ok {
		return nil, fmt.Errorf(`row %q: "function" is no list`, q.ID)
	}
	turns, _ := row.Get("question") // a list of turns, one here, which are lists of messages
	list, _ := turns.(List)
	for _, turn := range list {
		messages, _ := turn.(List)
		for _, m := range messages {
			d, _ := m.(*Dict)
			role, _ := d.Get("role")
			content, _ := d.Get("content")
			var one Message
			if one.Role, ok = role.(string); !ok {
				return nil, fmt.Errorf("row %q: a message without a role", q.ID)
			}
			one.Content, _ = content.(string)
			q.Messages = append(q.Messages, one)
		}
	}
	return q, nil
}

// Gold returns one accepted list of calls: of each parameter's accepted values the first that is not "". It is nil where no call is asked
// for. Java and JavaScript values are plain ones, not the code that those categories' answers hold.
func (q *Question) Gold() ([]Call, error) {
	var out []Call
	for _, a := range q.Answers {
		name, params, err := single(a)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", q.ID, err)
		}
		doc, err := q.describe(a)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", q.ID, err)
		}
		_, declared, _, err := signature(doc)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", q.ID, err)
		}
		if q.Underscores {
			name = strings.ReplaceAll(name, ".", "_")
		}
		c := Call{Name: name, Args: &Dict{}}
		for _, it := range params.Items() {
			key, _ := it.Key.(string)
			options, _ := it.Value.(List)
			if _, known := declared.Get(key); !known { // some answers list parameters that the function has not
				continue
			}
			if v, ok := firstAccepted(options); ok {
				c.Args.put(key, choose(v))
			}
		}
		out = append(out, c)
	}
	return out, nil
}

// firstAccepted returns the first value that is not ""; ok is false where the parameter can only be left out.
func firstAccepted(options List) (v Value, ok bool) {
	for _, o := range options {
		if !Equal(o, "") {
			return o, true
		}
	}
	return nil, false
}

// choose turns accepted dictionaries {key: [values]}, also within a list, into one that they accept.
func choose(v Value) Value {
	switch v := v.(type) {
	case *Dict:
		out := &Dict{}
		for _, it := range v.Items() {
			options, ok := it.Value.(List)
			if !ok {
				return v
			}
			if o, ok := firstAccepted(options); ok {
				_ = out.Set(it.Key, o) // a key already
			}
		}
		return out
	case List:
		out := make(List, len(v))
		for i, x := range v {
			out[i] = x
			if d, ok := x.(*Dict); ok {
				out[i] = choose(d)
			}
		}
		return out
	}
	return v
}
