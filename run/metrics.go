package run

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
)

// Kinds of Metrics rows.
const (
	KindTrain = "train" // metrics.jsonl: one a step
	KindEval  = "eval"  // metrics.jsonl: one a suite at an evaluation point; Step 0 is before the stage
	KindNote  = "note"  // metrics.jsonl: a decision of the loop (stopped early, reverted, warning), in Text
	KindTime  = "time"  // timing.jsonl: one a step
	KindEvent = "event" // timing.jsonl: see Run.Event
)

// Names of values that reports, the index and exports know. Any other name is drawn and exported just the same.
// An evaluation of several suites puts the suite before the name: "gsm8k/accuracy", "gsm8k/accuracy_low".
const (
	Loss         = "loss"
	Reward       = "reward"
	Accuracy     = "accuracy"       // share in [0, 1]
	AccuracyLow  = "accuracy_low"   // ends of its 95 % interval
	AccuracyHigh = "accuracy_high"  //
	Problems     = "n"              // problems evaluated
	Gain         = "gain"           // paired difference of accuracy to the stage before
	GainLow      = "gain_low"       //
	GainHigh     = "gain_high"      //
	Entropy      = "entropy"        // nats a token
	Length       = "length"         // sampled tokens a completion
	GradNorm     = "grad_norm"      // before clipping
	Trained      = "trained"        // tokens that this step trained on
	Sampled      = "sampled"        // tokens that this step sampled
	Seconds      = "seconds"        // timing.jsonl: wall time of this step
	TokensPerSec = "tokens_per_s"   // timing.jsonl
	FLOPs        = "flops"          // timing.jsonl: 6 x parameters x tokens forwarded in training (4 x for an adapter) + 2 x parameters x tokens sampled
	Updates      = "updates"        // timing.jsonl: optimiser updates of this step
	PeakRSS      = "peak_rss_bytes" // timing.jsonl: largest resident memory of the process so far
)

// AccuracyAt names the accuracy of answers that are cut at so many tokens: accuracy_at_64, with _low and _high.
func AccuracyAt(tokens int) string { return fmt.Sprintf("%s_at_%d", Accuracy, tokens) }

// Value is one named number of a row.
type Value struct {
	Name string
	V    float64
}

// Metrics is one row of metrics.jsonl or timing.jsonl, written flat and in this order:
//
//	{"stage":"sft","step":20,"kind":"train","loss":0.48,"grad_norm":1.2}
//
// Numbers that are not finite are written as null and read back as NaN.
type Metrics struct {
	Stage  string
	Step   int
	Kind   string
	Text   string // written as "text" unless empty
	Values []Value
}

// Get returns the value of that name.
func (m Metrics) Get(name string) (v float64, ok bool) {
	for _, x := range m.Values {
		if x.Name == name {
			return x.V, true
		}
	}
	return math.NaN(), false
}

// find returns the value of a metric; without it, the first that belongs to a suite: "gsm8k/accuracy" for "accuracy".
func (m Metrics) find(metric string) (v float64, ok bool) {
	if v, ok = m.Get(metric); ok {
		return v, true
	}
	for _, x := range m.Values {
		if strings.HasSuffix(x.Name, "/"+metric) {
			return x.V, true
		}
	}
	return math.NaN(), false
}

// MarshalJSON writes the row; a name that occurs twice is an error.
func (m Metrics) MarshalJSON() ([]byte, error) {
	out := []byte(`{"stage":`)
	out = appendString(out, m.Stage)
	out = fmt.Appendf(out, `,"step":%d,"kind":`, m.Step)
	out = appendString(out, m.Kind)
	if m.Text != "" {
		out = appendString(append(out, `,"text":`...), m.Text)
	}
	for i, v := range m.Values {
		if reserved(v.Name) || slices.ContainsFunc(m.Values[:i], func(w Value) bool { return w.Name == v.Name }) {
			return nil, fmt.Errorf("metrics of stage %s, step %d: value named %q is empty, reserved or there twice", m.Stage, m.Step, v.Name)
		}
		out = append(appendString(append(out, ','), v.Name), ':')
		number, err := Float(v.V).MarshalJSON()
		if err != nil {
			return nil, err
		}
		out = append(out, number...)
	}
	return append(out, '}'), nil
}

func reserved(name string) bool {
	return name == "" || name == "stage" || name == "step" || name == "kind" || name == "text"
}

func appendString(out []byte, s string) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.Encode(s) // a string cannot fail
	return append(out, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...)
}

// UnmarshalJSON reads a row back with its values in their order.
func (m *Metrics) UnmarshalJSON(data []byte) error {
	*m = Metrics{}
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return errors.New("a row is one JSON object")
	}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return err
		}
		name := t.(string) // a key: the decoder refuses anything else
		var into any
		var number *float64
		switch name {
		case "stage":
			into = &m.Stage
		case "step":
			into = &m.Step
		case "kind":
			into = &m.Kind
		case "text":
			into = &m.Text
		default:
			into = &number
		}
		if err := dec.Decode(into); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		if into == any(&number) {
			v := Value{name, math.NaN()}
			if number != nil {
				v.V = *number
			}
			m.Values = append(m.Values, v)
		}
	}
	return nil
}

// Float is a number in a row of JSON that is written as null where it is not finite.
type Float float64

// MarshalJSON implements json.Marshaler.
func (f Float) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(f))
}

// Sample is one row of samples/<stage>.jsonl: what the model said at an evaluation point.
type Sample struct {
	Stage      string `json:"stage"`
	Step       int    `json:"step"`
	Problem    string `json:"problem"` // the problem's id
	Prompt     string `json:"prompt"`
	Completion string `json:"completion"`
	Verdict    string `json:"verdict"` // as the grader names it: correct, wrong, unparsed, timeout, error
	Reward     Float  `json:"reward"`
}

// Metrics appends a row to metrics.jsonl.
func (r *Run) Metrics(m Metrics) error { return r.Append(MetricsFile, m) }

// Timing appends a row to timing.jsonl.
func (r *Run) Timing(m Metrics) error { return r.Append(TimingFile, m) }

// Sample appends a sample text.
func (r *Run) Sample(s Sample) error { return r.Append(SamplesDir+"/"+s.Stage+".jsonl", s) }

// ReadMetrics reads the rows of metrics.jsonl or timing.jsonl; none when the file does not exist yet.
func (r *Run) ReadMetrics(file string) ([]Metrics, error) {
	if err := r.flushOne(file); err != nil {
		return nil, err
	}
	return readRows[Metrics](r.Path(file))
}

// ReadSamples reads the sample texts of a stage.
func (r *Run) ReadSamples(stage string) ([]Sample, error) {
	file := SamplesDir + "/" + stage + ".jsonl"
	if err := r.flushOne(file); err != nil {
		return nil, err
	}
	return readRows[Sample](r.Path(file))
}

// readRows reads a file of rows. A last line without its end is passed over: the writer is still at it, or was killed there.
func readRows[T any](name string) ([]T, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var rows []T
	in := bufio.NewReaderSize(f, 1<<16)
	for line := 1; ; line++ {
		data, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		var row T
		if err := json.Unmarshal(data, &row); err != nil {
			return nil, fmt.Errorf("%s:%d: %w; the file was changed by hand, or the disk is damaged", name, line, err)
		}
		rows = append(rows, row)
	}
}

// LowerIsBetter tells metrics that fall as a model improves from those that rise: losses, perplexities, error counts.
func LowerIsBetter(metric string) bool {
	for _, end := range []string{"loss", "perplexity", "ppl", "errors"} {
		if strings.HasSuffix(metric, end) {
			return true
		}
	}
	return false
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, cmp.Compare[string])
	return keys
}
