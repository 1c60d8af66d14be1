// Package export writes a run's metrics in forms that other programs read: a table (CSV) and TensorBoard's event files.
package export

import (
	"bufio"
	"encoding/binary"
	"encoding/csv"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"path/filepath"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/hone-lm/hone/run"
)

// CSV writes one line for each row of metrics.jsonl and then of timing.jsonl: stage, step, kind, text, and a column for every name, in
// the order of first appearance. Values that a row does not have, or that are not finite, are empty.
func CSV(r *run.Run, w io.Writer) error {
	rows, err := read(r)
	if err != nil {
		return err
	}
	header := []string{"stage", "step", "kind", "text"}
	at := map[string]int{}
	for _, row := range rows {
		for _, v := range row.Values {
			if _, ok := at[v.Name]; !ok {
				at[v.Name] = len(header)
				header = append(header, v.Name)
			}
		}
	}
	out := csv.NewWriter(w)
	out.Write(header) // errors stay until Flush
	for _, row := range rows {
		line := make([]string, len(header))
		line[0], line[1], line[2], line[3] = row.Stage, strconv.Itoa(row.Step), row.Kind, row.Text
		for _, v := range row.Values {
			if !math.IsNaN(v.V) {
				line[at[v.Name]] = strconv.FormatFloat(v.V, 'g', -1, 64)
			}
		}
		out.Write(line)
	}
	out.Flush()
	return out.Error()
}

func read(r *run.Run) ([]run.Metrics, error) {
	rows, err := r.ReadMetrics(run.MetricsFile)
	if err != nil {
		return nil, err
	}
	timing, err := r.ReadMetrics(run.TimingFile)
	if err != nil {
		return nil, err
	}
	return append(rows, timing...), nil
}

// TensorBoard writes event files under dir, one folder for each kind of row (train, eval, time), and returns their names; start it with
// tensorboard --logdir dir. Steps count on over the stages, as in the report.
func TensorBoard(r *run.Run, dir string) ([]string, error) {
	rows, err := read(r)
	if err != nil {
		return nil, err
	}
	from := offsets(rows)
	var written []string
	for _, kind := range []string{run.KindTrain, run.KindEval, run.KindTime} {
		clock := newClock(rows)
		name := filepath.Join(dir, kind, fmt.Sprintf("events.out.tfevents.%010d.%s", int64(clock.created), r.ID))
		err := run.WriteAtomic(name, func(w io.Writer) error {
			out := bufio.NewWriter(w)
			if err := record(out, event(clock.created, 0, protowire.AppendString(protowire.AppendTag(nil, 3, protowire.BytesType), "brain.Event:2"))); err != nil {
				return err
			}
			for _, row := range rows {
				if row.Kind != kind {
					continue
				}
				if err := record(out, event(clock.at(row), int64(from[row.Stage]+row.Step), summary(row))); err != nil {
					return err
				}
			}
			return out.Flush()
		})
		if err != nil {
			return written, err
		}
		written = append(written, name)
	}
	return written, nil
}

// offsets returns the steps before each stage.
func offsets(rows []run.Metrics) map[string]int {
	var order []string
	length := map[string]int{}
	for _, row := range rows {
		if row.Kind == run.KindTime || row.Kind == run.KindEvent {
			continue
		}
		if _, ok := length[row.Stage]; !ok {
			order = append(order, row.Stage)
		}
		length[row.Stage] = max(length[row.Stage], row.Step)
	}
	from, sum := map[string]int{}, 0
	for _, s := range order {
		from[s] = sum
		sum += length[s]
	}
	return from
}

// clock tells when a step was made, from the times that the steps took.
type clock struct {
	created float64
	after   map[moment]float64 // seconds since the run began
	last    float64
}

type moment struct {
	stage string
	step  int
}

func newClock(rows []run.Metrics) *clock {
	c := &clock{created: run.Created(rows), after: map[moment]float64{}}
	sum := 0.0
	for _, row := range rows {
		if row.Kind != run.KindTime {
			continue
		}
		if s, ok := row.Get(run.Seconds); ok && !math.IsNaN(s) {
			sum += s
		}
		c.after[moment{row.Stage, row.Step}] = sum
	}
	return c
}

// at is the time of a row; one whose step took no time of its own (an evaluation before the first step) has that of the row before.
func (c *clock) at(row run.Metrics) float64 {
	if t, ok := c.after[moment{row.Stage, row.Step}]; ok {
		c.last = t
	}
	return c.created + c.last
}

// event encodes tensorflow.Event: wall_time = 1 (double), step = 2 (int64), then what is given (file_version = 3 or summary = 5).
func event(wallTime float64, step int64, what []byte) []byte {
	b := protowire.AppendTag(nil, 1, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, math.Float64bits(wallTime))
	if step != 0 {
		b = protowire.AppendTag(b, 2, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(step))
	}
	return append(b, what...)
}

// summary encodes the field summary of an event: values (1), each a tag (1) and a simple_value (2, float).
func summary(row run.Metrics) []byte {
	var values []byte
	for _, v := range row.Values {
		if math.IsNaN(v.V) {
			continue
		}
		one := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), v.Name)
		one = protowire.AppendFixed32(protowire.AppendTag(one, 2, protowire.Fixed32Type), math.Float32bits(float32(v.V)))
		values = protowire.AppendBytes(protowire.AppendTag(values, 1, protowire.BytesType), one)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, 5, protowire.BytesType), values)
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is the checksum of the TFRecord format.
func masked(data []byte) uint32 {
	c := crc32.Checksum(data, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}

// record writes one TFRecord: length (uint64, little endian), its checksum, the data, its checksum.
func record(w io.Writer, data []byte) error {
	head := binary.LittleEndian.AppendUint64(nil, uint64(len(data)))
	head = binary.LittleEndian.AppendUint32(head, masked(head))
	tail := binary.LittleEndian.AppendUint32(nil, masked(data))
	for _, part := range [][]byte{head, data, tail} {
		if _, err := w.Write(part); err != nil {
			return err
		}
	}
	return nil
}
