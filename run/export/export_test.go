package export

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/hone-lm/hone/run"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func example(t *testing.T) *run.Run {
	t.Helper()
	r, err := run.Create(t.TempDir(), "sft", []byte("recipe: sft\n"))
	check(t, err)
	t.Cleanup(func() { r.Close() })
	row := func(stage string, step int, kind string, values ...run.Value) {
		check(t, r.Metrics(run.Metrics{Stage: stage, Step: step, Kind: kind, Values: values}))
	}
	row("base", 0, run.KindEval, run.Value{Name: "accuracy", V: 0.25})
	row("sft", 1, run.KindTrain, run.Value{Name: "loss", V: 2.5}, run.Value{Name: "grad_norm", V: math.NaN()})
	row("sft", 2, run.KindTrain, run.Value{Name: "loss", V: 1.5}, run.Value{Name: "grad_norm", V: 1e-7})
	row("grpo", 1, run.KindTrain, run.Value{Name: "reward, \"x\"", V: 1})
	check(t, r.Metrics(run.Metrics{Stage: "grpo", Step: 1, Kind: run.KindNote, Text: "a\nnote"}))
	check(t, r.Timing(run.Metrics{Stage: "sft", Step: 1, Kind: run.KindTime, Values: []run.Value{{Name: "seconds", V: 0.5}}}))
	check(t, r.Timing(run.Metrics{Stage: "sft", Step: 2, Kind: run.KindTime, Values: []run.Value{{Name: "seconds", V: 0.25}}}))
	return r
}

func TestCSV(t *testing.T) {
	var out bytes.Buffer
	check(t, CSV(example(t), &out))
	lines, err := csv.NewReader(&out).ReadAll()
	check(t, err)
	want := []string{
		`stage|step|kind|text|accuracy|loss|grad_norm|reward, "x"|time|seconds`,
		`base|0|eval||0.25|||||`,
		`sft|1|train|||2.5||||`,
		`sft|2|train|||1.5|1e-07|||`,
		`grpo|1|train|||||1||`,
		"grpo|1|note|a\nnote||||||",
	}
	for i, w := range want {
		if got := strings.Join(lines[i], "|"); got != w {
			t.Errorf("line %d is %s, want %s", i, got, w)
		}
	}
	if len(lines) != len(want)+3 { // created, two steps
		t.Errorf("%d lines", len(lines))
	}
}

// The checksums are those of the CRC catalogue and of TensorFlow's own test of the mask.
func TestChecksum(t *testing.T) {
	if got := masked([]byte("123456789")); got != (0xe3069283>>15|0xe3069283<<17&0xffffffff)+0xa282ead8&0xffffffff {
		t.Errorf("%#x", got)
	}
	// The head of every event file that TensorFlow writes: a record of 24 bytes with file_version. Those files begin with 18 00 00 00 00 00 00 00 a3 7f 4b 22.
	if got := masked([]byte{24, 0, 0, 0, 0, 0, 0, 0}); got != 0x224b7fa3 {
		t.Errorf("checksum of length 24: %#x", got)
	}
}

type parsed struct {
	wall   float64
	step   int64
	ver    string
	values map[string]float32
}

func parse(t *testing.T, name string) (all []parsed) {
	t.Helper()
	data, err := os.ReadFile(name)
	check(t, err)
	for len(data) > 0 {
		n := binary.LittleEndian.Uint64(data)
		if binary.LittleEndian.Uint32(data[8:]) != masked(data[:8]) || binary.LittleEndian.Uint32(data[12+n:]) != masked(data[12:12+n]) {
			t.Fatal("wrong checksum")
		}
		e := parsed{values: map[string]float32{}}
		fields(t, data[12:12+n], func(num protowire.Number, v uint64, b []byte) {
			switch num {
			case 1:
				e.wall = math.Float64frombits(v)
			case 2:
				e.step = int64(v)
			case 3:
				e.ver = string(b)
			case 5:
				fields(t, b, func(_ protowire.Number, _ uint64, value []byte) {
					var tag string
					fields(t, value, func(num protowire.Number, v uint64, b []byte) {
						if num == 1 {
							tag = string(b)
						} else {
							e.values[tag] = math.Float32frombits(uint32(v))
						}
					})
				})
			}
		})
		all = append(all, e)
		data = data[16+n:]
	}
	return all
}

func fields(t *testing.T, b []byte, each func(protowire.Number, uint64, []byte)) {
	t.Helper()
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		var v uint64
		var s []byte
		switch typ {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.Fixed64Type:
			v, n = protowire.ConsumeFixed64(b)
		case protowire.Fixed32Type:
			var w uint32
			w, n = protowire.ConsumeFixed32(b)
			v = uint64(w)
		case protowire.BytesType:
			s, n = protowire.ConsumeBytes(b)
		}
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		each(num, v, s)
		b = b[n:]
	}
}

func TestTensorBoard(t *testing.T) {
	r := example(t)
	dir := t.TempDir()
	names, err := TensorBoard(r, dir)
	check(t, err)
	if len(names) != 3 || !strings.HasPrefix(names[0], filepath.Join(dir, "train", "events.out.tfevents.")) {
		t.Fatalf("files %v", names)
	}
	train := parse(t, names[0])
	if len(train) != 4 || train[0].ver != "brain.Event:2" {
		t.Fatalf("%+v", train)
	}
	created := train[0].wall
	for i, want := range []parsed{
		{wall: created + 0.5, step: 1, values: map[string]float32{"loss": 2.5}},
		{wall: created + 0.75, step: 2, values: map[string]float32{"loss": 1.5, "grad_norm": 1e-7}},
		{wall: created + 0.75, step: 3, values: map[string]float32{`reward, "x"`: 1}},
	} {
		got := train[i+1]
		if math.Abs(got.wall-want.wall) > 1e-6 || got.step != want.step || len(got.values) != len(want.values) {
			t.Errorf("event %d: %+v, want %+v", i, got, want)
		}
		for k, v := range want.values {
			if got.values[k] != v {
				t.Errorf("event %d: %s is %g", i, k, got.values[k])
			}
		}
	}
	if eval := parse(t, names[1]); len(eval) != 2 || eval[1].values["accuracy"] != 0.25 || eval[1].step != 0 {
		t.Errorf("%+v", eval)
	}
	if created < 1.6e9 {
		t.Errorf("created at %f", created)
	}
}
