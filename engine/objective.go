package engine

// Scope says how much an objective must see at once to give a derivative.
type Scope uint8

const (
	ScopeToken    Scope = iota // a token's derivative depends on that token alone: one pass through the vocabulary head
	ScopeSequence              // on its whole sequence
	ScopeUnit                  // on all sequences of its unit (a preference pair)
	ScopeBatch                 // on the whole optimiser step: the loop scores it first
)

// View is what an objective sees of one row: the columns of tokens [From, To) of Row.Seq. Column entry i speaks of token From+i.
// Columns that the objective's Needs did not ask for are nil. The objective ADDS its derivative into the D columns; it must touch
// only tokens where Row.Mask is true.
type View struct {
	Row       *Row
	From, To  int
	LogProb   []float32 // nats, at the sequence's temperature
	Entropy   []float32 // nats
	Value     []float32 // value head, read before the token
	LastValue float32   // value after the last token
	Term      []float32 // the stream's row term (Needs().Term)

	DLogProb, DEntropy, DValue, DTerm []float64

	Wide *Wide // nil in training
}

// Wide holds the inputs of a view in float64, each [token of the sequence] like a channel and nil where there is none. Engines leave
// View.Wide nil: it serves to hold an objective against results that others computed in float64, whose inputs float32 columns cannot
// carry (the ratio of two log-probs of -20 is off by 2e-6 after rounding them). Losses of tokens and policies read what is set there
// instead of the columns; preference losses do not.
type Wide struct {
	LogProb, Value, Weight []float64
	Chan                   map[string][]float64
}

// Objective turns columns into a loss. Implementations live in package objective; derivatives are closed forms on flat slices.
//
// Eval is called with the views of one token range (ScopeToken: any range of one row, several calls a row), one row (ScopeSequence),
// the rows of one unit in batch order (ScopeUnit), or all rows (ScopeBatch). It returns the loss of those views, scaled by Row.Scale,
// and adds d loss / d column. Tally receives diagnostics; it may be nil.
type Objective interface {
	Name() string
	Scope() Scope
	Needs() Want // columns beyond log-probs
	Eval(views []View, tally *Tally) (loss float64)
}

// LogitRow is one row of logits as a RowTerm sees it. Its slices belong to the engine: they must not be changed, nor kept after the call.
type LogitRow struct {
	Seq    *Sequence
	T      int       // the row predicts Seq.Tokens[T]
	Logits []float32 // [vocabulary], divided by the temperature
	LSE    float32   // log-sum-exp of Logits: log p_i = Logits[i] - LSE

	// The row of a Taught term's frozen model for the same token, divided by the same temperature; nil for other terms.
	Teacher    []float32 // [vocabulary]
	TeacherLSE float32
}

// RowTerm is a function of one whole row of logits (tempered teacher, full KL, top-k distillation): the one mechanism for losses that
// need more than the target's log-prob and the entropy. Value returns the term; Grad ADDS weight * d term / d row.Logits. Both are called
// from several goroutines at a time, for tokens that a row of the stream has in its mask (Score: all tokens but the first); a term may write
// only what belongs to the row's token.
type RowTerm interface {
	Name() string
	Value(row LogitRow) float32
	Grad(row LogitRow, weight float32, dLogits []float32)
}

// Taught is a RowTerm that compares the row with that of a frozen model of the same engine, read on the same tokens: the engine runs both, so
// that nobody holds tokens x vocabulary. No gradient flows to the teacher.
type Taught interface {
	RowTerm
	Teacher() Frozen
}

// Tally sums named diagnostics in a fixed order: the mean of a name is Sum/Weight.
type Tally struct{ Items []TallyItem }

// TallyItem is one named sum.
type TallyItem struct {
	Name        string
	Sum, Weight float64
}

// Add adds value*weight under the name.
func (t *Tally) Add(name string, value, weight float64) {
	if t == nil {
		return
	}
	for i := range t.Items {
		if t.Items[i].Name == name {
			t.Items[i].Sum += value * weight
			t.Items[i].Weight += weight
			return
		}
	}
	t.Items = append(t.Items, TallyItem{name, value * weight, weight})
}

// Mean returns the weighted mean of a name and whether it was tallied.
func (t *Tally) Mean(name string) (float64, bool) {
	if t != nil {
		for _, it := range t.Items {
			if it.Name == name && it.Weight != 0 {
				return it.Sum / it.Weight, true
			}
		}
	}
	return 0, false
}

// Reset empties the tally and keeps its memory.
func (t *Tally) Reset() { t.Items = t.Items[:0] }

// ChannelReader is implemented by objectives that read channels of the sequence: an engine checks that they are filled before any arithmetic.
type ChannelReader interface{ Channels() []string }

// RowChecker is implemented by objectives that want more of their settings or rows than ChannelReader says: an engine calls it with the rows
// of a stream, their lengths and channels checked, before any arithmetic.
type RowChecker interface{ CheckRows(rows []Row) error }
