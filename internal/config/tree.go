package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// maxBytes and maxDepth bound a settings file: the parser's memory grows with the square of the nesting (half a megabyte of opening
// brackets took more than 20 GB), and it may recurse until the stack is gone.
const (
	maxBytes = 64 << 10
	maxDepth = 50
)

type kind int

const (
	null kind = iota
	scalar
	list
	mapping
)

// node is a YAML value reduced to what settings need. Scalars keep their text: the field's type says how to read it.
type node struct {
	kind   kind
	text   string
	quoted bool   // a string whatever it looks like
	at     string // "file:3:5" or `argument "a=1"`
	items  []*node
	pairs  []pair
}

type pair struct {
	name  string
	at    string
	value *node
}

// what names a node's kind of value in an error.
func (n *node) what() string {
	switch {
	case n.kind == null:
		return "nothing"
	case n.kind == list:
		return "a list"
	case n.kind == mapping:
		return "keys and values"
	case n.quoted:
		return "the text " + quoteShort(n.text)
	}
	return quoteShort(n.text)
}

func quoteShort(s string) string {
	if len(s) > 60 {
		s = strings.ToValidUTF8(s[:60], "") + "..."
	}
	return fmt.Sprintf("%q", s)
}

// parse reads one YAML document. A document without content is nil.
func parse(file string, src []byte) (n *node, err error) {
	if len(src) > maxBytes {
		return nil, fmt.Errorf("%s: %d bytes is too much for a settings file (the limit is %d): was a data file named by mistake?", file, len(src), maxBytes)
	}
	// The parser is known to panic on some malformed documents (its own issue list); for a reader of settings that is a syntax error.
	defer func() {
		if r := recover(); r != nil {
			n, err = nil, fmt.Errorf("%s: not valid YAML (the parser gave up: %v)", file, r)
		}
	}()
	tokens := lexer.Tokenize(string(src))
	if err := checkDepth(file, tokens); err != nil {
		return nil, err
	}
	f, perr := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // addPairs reports them, with a remedy
	if perr != nil {
		return nil, syntaxError(file, perr)
	}
	var docs []ast.Node
	for _, d := range f.Docs {
		if d.Body != nil {
			docs = append(docs, d.Body)
		}
	}
	switch len(docs) {
	case 0:
		return nil, nil
	case 1:
		return convert(file, docs[0], 0)
	}
	return nil, fmt.Errorf("%s: a second YAML document starts here; settings are one document", place(file, docs[1].GetToken()))
}

// checkDepth refuses what nests too deep before the parser sees it: brackets, and "- - - -" on one line.
func checkDepth(file string, tokens token.Tokens) error {
	open, dashes, line := 0, 0, 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			open++
		case token.SequenceEndType, token.MappingEndType:
			open--
		case token.SequenceEntryType, token.MappingKeyType:
			if t.Position.Line != line {
				dashes, line = 0, t.Position.Line
			}
			dashes++
		}
		if open+dashes > 2*maxDepth {
			return fmt.Errorf("%s: more than %d levels deep", place(file, t), maxDepth)
		}
	}
	return nil
}

func place(file string, t *token.Token) string {
	if t == nil || t.Position == nil {
		return file
	}
	return fmt.Sprintf("%s:%d:%d", file, t.Position.Line, t.Position.Column)
}

func syntaxError(file string, err error) error {
	var e yaml.Error
	if errors.As(err, &e) {
		return fmt.Errorf("%s: %s", place(file, e.GetToken()), e.GetMessage())
	}
	return fmt.Errorf("%s: not valid YAML: %w", file, err)
}

func convert(file string, a ast.Node, depth int) (*node, error) {
	at := place(file, a.GetToken())
	if depth > maxDepth {
		return nil, fmt.Errorf("%s: more than %d levels deep", at, maxDepth)
	}
	n := &node{kind: scalar, at: at}
	switch a := a.(type) {
	case *ast.NullNode:
		n.kind = null
	case *ast.StringNode:
		t := a.GetToken().Type
		n.text, n.quoted = a.Value, t == token.SingleQuoteType || t == token.DoubleQuoteType
	case *ast.LiteralNode:
		n.text, n.quoted = a.Value.Value, true
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		n.text = a.GetToken().Value
	case *ast.SequenceNode:
		n.kind = list
		for _, v := range a.Values {
			item, err := convert(file, v, depth+1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
		}
	case *ast.MappingNode:
		return n, n.addPairs(file, a.Values, depth)
	case *ast.MappingValueNode:
		return n, n.addPairs(file, []*ast.MappingValueNode{a}, depth)
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return nil, fmt.Errorf("%s: anchors, aliases and merge keys are not supported: write the value out", at)
	default:
		return nil, fmt.Errorf("%s: %s is not supported in settings: write a plain value", at, a.Type())
	}
	return n, nil
}

func (n *node) addPairs(file string, values []*ast.MappingValueNode, depth int) error {
	n.kind = mapping
	seen := map[string]bool{}
	for _, v := range values {
		at := place(file, v.Key.GetToken())
		key, err := convert(file, v.Key, depth+1)
		if err != nil {
			return err
		}
		if key.kind != scalar {
			return fmt.Errorf("%s: expected a key, got %s", at, key.what())
		}
		if seen[key.text] {
			return fmt.Errorf("%s: key %q is given twice: keep one of the two", at, key.text)
		}
		seen[key.text] = true
		value, err := convert(file, v.Value, depth+1)
		if err != nil {
			return err
		}
		n.pairs = append(n.pairs, pair{name: key.text, at: at, value: value})
	}
	return nil
}
