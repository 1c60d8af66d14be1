package jinja

// Expressions.
type (
	expr interface{}

	constant struct{ v Value }
	name     struct{ id string }
	array    struct {
		items []expr
		tuple bool
	}
	dictionary struct{ keys, vals []expr }
	attribute  struct {
		of expr
		id string
	}
	item  struct{ of, key expr }
	slice struct{ from, to, step expr } // each may be nil
	unary struct {
		op string // "-", "+", "not"
		x  expr
	}
	binary struct {
		op   string
		a, b expr
	}
	logic struct {
		or   bool
		a, b expr
	}
	concat     struct{ parts []expr }
	comparison struct {
		first expr
		ops   []string
		rest  []expr
	}
	choice struct{ cond, yes, no expr } // no may be nil
	call   struct {
		fn expr
		arguments
	}
	filter struct {
		of expr // nil: the body of a block
		id string
		arguments
		line int
	}
	test struct {
		of expr
		id string
		arguments
		line int
	}
	arguments struct {
		args    []expr
		names   []string // of kwargs
		kwargs  []expr
		star    expr // *args
		starred expr // **kwargs
	}
)

// Statements.
type (
	stmt interface{}

	text  struct{ s string }
	print struct {
		x    expr
		line int
	}
	ifElse struct {
		conds  []expr // one more body than conds: else
		bodies [][]stmt
		line   int
	}
	forLoop struct {
		target     expr
		in, cond   expr // cond may be nil
		body, none []stmt
		recursive  bool
		line       int
	}
	set struct {
		target expr // name, array of names, or attribute of a namespace
		x      expr
		line   int
	}
	setBlock struct {
		target expr
		filter expr // nil: none
		body   []stmt
		line   int
	}
	macro struct {
		id       string
		params   []string
		defaults []expr // of the last parameters
		body     []stmt
		// what the body reads of the arguments that no parameter takes
		varargs, kwargs, caller bool
		line                    int
	}
	callBlock struct {
		call expr
		macro
	}
	filterBlock struct {
		filter expr
		body   []stmt
		line   int
	}
	with struct {
		targets []expr
		values  []expr
		body    []stmt
		line    int
	}
	generation struct{ body []stmt }
	block      struct{ body []stmt }
	jump       struct{ err error } // break, continue
)
