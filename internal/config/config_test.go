package config

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

type level int

func (l level) MarshalText() ([]byte, error) {
	return []byte([]string{"low", "high"}[l]), nil
}

func (l *level) UnmarshalText(b []byte) error {
	switch string(b) {
	case "low":
		*l = 0
	case "high":
		*l = 1
	default:
		return fmt.Errorf("%q is not one of low, high", b)
	}
	return nil
}

type clip struct {
	Low  float64 `yaml:"low" help:"ratio bound below 1"`
	High float64 `yaml:"high" help:"ratio bound above 1"`
}

func (c *clip) Validate() error {
	if c.Low < 0 || c.Low > 1 {
		return Errorf("low", "must be between 0 and 1, got %g", c.Low)
	}
	return nil
}

type common struct {
	Seed  uint64 `yaml:"seed" help:"random seed"`
	Model string `yaml:"model"`
}

func (c common) Validate() error {
	if c.Seed == 13 {
		return Errorf("seed", "13 is unlucky")
	}
	return nil
}

type other struct {
	Out string `yaml:"out"`
}

func (o other) Validate() error {
	if strings.Contains(o.Out, "..") {
		return Errorf("out", "must not leave the folder")
	}
	return nil
}

type grpo struct {
	LearningRate float64  `yaml:"learning_rate"`
	GroupSize    int      `yaml:"group_size"`
	Clip         clip     `yaml:"clip"`
	Tags         []string `yaml:"tags"`
	KL           *clip    `yaml:"kl"`
	Level        level    `yaml:"level"`
}

type stage struct {
	Name string `yaml:"name"`
	Clip clip   `yaml:"clip"`
}

type settings struct {
	common
	other
	Grpo   grpo              `yaml:"grpo"`
	Stages []stage           `yaml:"stages"`
	Named  map[string]clip   `yaml:"named"`
	Env    map[string]string `yaml:"env"`
	Wait   time.Duration     `yaml:"wait"`
	Small  int8              `yaml:"small"`
	F32    float32           `yaml:"f32"`
	Fast   bool              `yaml:"fast"`
	Pair   [2]int            `yaml:"pair"`
	Any    any               `yaml:"any"`
	Nums   []float64         `yaml:"nums"`
	hidden int               // no key: nothing outside can set it
}

func defaults() *settings {
	return &settings{
		common: common{Seed: 1, Model: "nano"},
		Grpo:   grpo{LearningRate: 1e-4, GroupSize: 8, Clip: clip{0.2, 0.28}, Tags: []string{"a"}, KL: &clip{0.1, 0.9}},
		Named:  map[string]clip{"x": {0.3, 0.4}},
		Wait:   time.Minute,
	}
}

func load(t *testing.T, src string, args ...string) *settings {
	t.Helper()
	s := defaults()
	if err := Load(s, "run.yaml", []byte(src), args); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestPartialKeepsDefaults(t *testing.T) {
	s := load(t, "grpo:\n  clip:\n    high: 0.5\n  kl: {low: 0.6}\nnamed:\n  x: {high: 1}\n  y: {low: 0.5}\n", "grpo.group_size=4", "named.x.low=0.9", "seed=7")
	want := defaults()
	want.hidden = s.hidden
	want.Grpo.Clip.High, want.Grpo.KL.Low, want.Grpo.GroupSize, want.Seed = 0.5, 0.6, 4, 7
	want.Named = map[string]clip{"x": {0.9, 1}, "y": {0.5, 0}}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("got %+v\nwant %+v", s, want)
	}
}

// Defaults are often package variables: what they point at must not change.
func TestSharedDefaultsAreNotWritten(t *testing.T) {
	shared := defaults()
	s := *shared
	if err := Load(&s, "f", []byte("grpo: {kl: {low: 0.6}, tags: [q]}\nnamed: {x: {low: 1}}"), []string{"env.A=b"}); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(shared, defaults()) {
		t.Errorf("the defaults were changed: %+v", shared)
	}
}

func TestErrorLeavesDst(t *testing.T) {
	s := defaults()
	if err := Load(s, "f", []byte("seed: 5\nmodel: x\n"), []string{"grpo.clip.low=7"}); err == nil {
		t.Fatal("no error")
	}
	if !reflect.DeepEqual(s, defaults()) {
		t.Errorf("dst was changed by a failed Load: %+v", s)
	}
}

func TestOverrideValues(t *testing.T) {
	for _, c := range []struct {
		arg  string
		get  func(*settings) any
		want any
	}{
		{"grpo.learning_rate=1e-4", func(s *settings) any { return s.Grpo.LearningRate }, 1e-4},
		{"grpo.learning_rate=3", func(s *settings) any { return s.Grpo.LearningRate }, 3.0},
		{"seed=1e6", func(s *settings) any { return s.Seed }, uint64(1000000)},
		{"seed=18446744073709551615", func(s *settings) any { return s.Seed }, uint64(math.MaxUint64)},
		{"small=-128", func(s *settings) any { return s.Small }, int8(-128)},
		{"small=010", func(s *settings) any { return s.Small }, int8(10)},
		{"fast=true", func(s *settings) any { return s.Fast }, true},
		{"wait=1h30m", func(s *settings) any { return s.Wait }, 90 * time.Minute},
		{"grpo.tags=[a b, hub:foo, 7up, \"x, y\"]", func(s *settings) any { return s.Grpo.Tags }, []string{"a b", "hub:foo", "7up", "x, y"}},
		{"grpo.tags=[]", func(s *settings) any { return s.Grpo.Tags }, []string{}},
		{"nums=[1, 2.5, 1e-3]", func(s *settings) any { return s.Nums }, []float64{1, 2.5, 1e-3}},
		{"pair=[3, 4]", func(s *settings) any { return s.Pair }, [2]int{3, 4}},
		{`model=C:\x`, func(s *settings) any { return s.Model }, `C:\x`},
		{`model=C:\new folder\t.gguf`, func(s *settings) any { return s.Model }, `C:\new folder\t.gguf`},
		{"model=hub:foo", func(s *settings) any { return s.Model }, "hub:foo"},
		{"model=a: b # c", func(s *settings) any { return s.Model }, "a: b # c"},
		{"model=a=b", func(s *settings) any { return s.Model }, "a=b"},
		{"model=123", func(s *settings) any { return s.Model }, "123"},
		{"model=true", func(s *settings) any { return s.Model }, "true"},
		{"model=", func(s *settings) any { return s.Model }, ""},
		{"model=[x", func(s *settings) any { return s.Model }, "[x"},
		{"model={{ text }}", func(s *settings) any { return s.Model }, "{{ text }}"},
		{`model="a\nb"`, func(s *settings) any { return s.Model }, "a\nb"},
		{`model='it''s'`, func(s *settings) any { return s.Model }, "it's"},
		{`model="a" and "b"`, func(s *settings) any { return s.Model }, `"a" and "b"`},
		{"model= two  words ", func(s *settings) any { return s.Model }, " two  words "},
		{"grpo.level=high", func(s *settings) any { return s.Grpo.Level }, level(1)},
		{"grpo.kl=null", func(s *settings) any { return s.Grpo.KL }, (*clip)(nil)},
		{"grpo.kl.high=0.5", func(s *settings) any { return *s.Grpo.KL }, clip{0.1, 0.5}},
		{"grpo.clip={low: 0, high: 1}", func(s *settings) any { return s.Grpo.Clip }, clip{0, 1}},
		{"env.PATH=/a:/b", func(s *settings) any { return s.Env["PATH"] }, "/a:/b"},
		{"any=[1, x]", func(s *settings) any { return s.Any }, []any{int64(1), "x"}},
		{"stages=[{name: a}, {name: b, clip: {low: 1}}]", func(s *settings) any { return s.Stages }, []stage{{Name: "a"}, {"b", clip{1, 0}}}},
	} {
		t.Run(c.arg, func(t *testing.T) {
			if got := c.get(load(t, "", c.arg)); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %#v, want %#v", got, c.want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		name, src string
		args      []string
		want      string
	}{
		{"typo", "seed: 1\ngrpo:\n  lerning_rate: 1", nil, `run.yaml:3:3: unknown key "grpo.lerning_rate": did you mean "grpo.learning_rate"?`},
		{"typo in an argument", "", []string{"grpo.grup_size=3"}, `argument "grpo.grup_size=3": unknown key "grpo.grup_size": did you mean "grpo.group_size"?`},
		{"typo of a section", "", []string{"gpro.group_size=3"}, `argument "gpro.group_size=3": unknown key "gpro": did you mean "grpo"?`},
		{"other level", "learning_rate: 1", nil, `run.yaml:1:1: unknown key "learning_rate": did you mean "grpo.learning_rate"?`},
		{"nothing near", "grpo:\n  clip: {zebra: 1}", nil, `run.yaml:2:10: unknown key "grpo.clip.zebra": in grpo.clip the keys are low, high`},
		{"duplicate", "seed: 1\nmodel: a\nseed: 2", nil, `run.yaml:3:1: key "seed" is given twice: keep one of the two`},
		{"duplicate in a flow", "grpo: {clip: {low: 0, low: 1}}", nil, `run.yaml:1:23: key "low" is given twice: keep one of the two`},
		{"duplicate in quotes", "seed: 1\n\"seed\": 2", nil, `run.yaml:2:1: key "seed" is given twice`},
		{"number", "grpo:\n  learning_rate: fast", nil, `run.yaml:2:18: grpo.learning_rate: expected a number, got "fast"`},
		{"quoted number", `seed: "1"`, nil, `run.yaml:1:7: seed: expected a whole number from 0, got the text "1"`},
		{"fraction", "seed: 1.5", nil, `run.yaml:1:7: seed: expected a whole number from 0, got "1.5"`},
		{"negative", "seed: -1", nil, `run.yaml:1:7: seed: expected a whole number from 0, got "-1"`},
		{"too large", "small: 200", nil, `run.yaml:1:8: small: "200" is out of range: -128 to 127`},
		{"too large float", "f32: 1e39", nil, `run.yaml:1:6: f32: "1e39" is out of range`},
		{"infinite", "grpo: {learning_rate: .inf}", nil, `grpo.learning_rate: expected a number, got ".inf"`},
		{"bool", "fast: yes", nil, `run.yaml:1:7: fast: expected true or false, got "yes"`},
		{"text", "model: 7", nil, `run.yaml:1:8: model: expected text (put it in quotes if that is what is meant), got "7"`},
		{"no value", "model:\nseed: 1", nil, `model: expected text (put it in quotes if that is what is meant), got nothing`},
		{"section", "grpo: 3", nil, `run.yaml:1:7: grpo: expected a section of keys (learning_rate, group_size, clip, tags, kl, level), got "3"`},
		{"list", "grpo: {tags: a}", nil, `run.yaml:1:14: grpo.tags: expected a list, such as [a, b], got "a"`},
		{"list of sections", "stages: [3]", nil, `run.yaml:1:10: stages[0]: expected a section of keys (name, clip), got "3"`},
		{"array", "pair: [1, 2, 3]", nil, `run.yaml:1:7: pair: expected a list of 2 values, got a list`},
		{"enum", "grpo: {level: mid}", nil, `run.yaml:1:15: grpo.level: "mid" is not one of low, high`},
		{"duration", "wait: 3", nil, `run.yaml:1:7: wait: expected a duration, such as 90s or 1h30m, got "3"`},
		{"range", "model: a\ngrpo:\n  clip:\n    low: 7", nil, `run.yaml:4:5: grpo.clip.low: must be between 0 and 1, got 7`},
		{"range in an argument", "grpo: {clip: {low: 0.5}}", []string{"grpo.clip.low=-1"}, `argument "grpo.clip.low=-1": grpo.clip.low: must be between 0 and 1, got -1`},
		{"range in a list", "stages:\n  - name: a\n  - clip: {low: 3}", nil, `run.yaml:3:12: stages[1].clip.low: must be between 0 and 1, got 3`},
		{"range in a map", "named:\n  q:\n    low: 2", nil, `run.yaml:3:5: named.q.low: must be between`},
		{"embedded", "seed: 13", nil, `run.yaml:1:1: seed: 13 is unlucky`},
		{"second embedded", "out: ../x", nil, `run.yaml:1:1: out: must not leave the folder`},
		{"syntax", "a: [1", nil, `run.yaml:1:4: sequence end token ']' not found`},
		{"documents", "seed: 1\n---\nseed: 2", nil, `run.yaml:3:5: a second YAML document starts here`},
		{"anchor", "seed: &a 1", nil, `anchors, aliases and merge keys are not supported`},
		{"merge", "grpo:\n  <<: {low: 1}", nil, `anchors, aliases and merge keys are not supported`},
		{"tag", "seed: !!int 1", nil, `run.yaml:1:7: Tag is not supported in settings`},
		{"scalar", "hello", nil, `run.yaml:1:1: expected a section of keys (`},
		{"not key=value", "", []string{"grpo"}, `argument "grpo": expected key=value`},
		{"empty key", "", []string{"=1"}, `argument "=1": expected key=value`},
		{"below a leaf", "", []string{"seed.x=1"}, `argument "seed.x=1": seed is a int and has no keys of its own`},
		{"bad list", "", []string{"nums=[1, x]"}, `argument "nums=[1, x]": nums[1]: expected a number, got "x"`},
		{"broken list", "", []string{"nums=[1,"}, `argument "nums=[1,": nums: "[1,": expected list of float`},
		{"override null", "", []string{"seed="}, `argument "seed=": seed: expected a whole number from 0, got nothing`},
		{"hidden", "hidden: 1", nil, `unknown key "hidden"`},
		{"deep brackets", "any: " + strings.Repeat("[", 20000), nil, `run.yaml:1:106: more than 50 levels deep`},
		{"deep dashes", strings.Repeat("- ", 20000), nil, `more than 50 levels deep`},
		{"deep and closed", "any: " + strings.Repeat("[", 60) + strings.Repeat("]", 60), nil, `more than 50 levels deep`},
		{"huge", strings.Repeat("#", maxBytes+1), nil, `is too much for a settings file`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := Load(defaults(), "run.yaml", []byte(c.src), c.args)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestDefaultsOutOfRange(t *testing.T) {
	s := defaults()
	s.Grpo.Clip.Low = 3
	err := Load(s, "", nil, nil)
	if err == nil || err.Error() != "defaults: grpo.clip.low: must be between 0 and 1, got 3" {
		t.Errorf("got %v", err)
	}
}

func TestMarshalRoundTrip(t *testing.T) {
	s := load(t, "", "model=a: b\n\"c\" \\ é \x00\x1f\u2028 #", "stages=[{name: a}, {name: 'true', clip: {low: 1}}]", "env.a b=1e5", "env.null=~", "nums=[1e-7, 3, 1e22]", "any={x: [1, 2.5, no]}", "f32=0.1")
	text, err := Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var back settings
	if err := Load(&back, "back.yaml", text, nil); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if !reflect.DeepEqual(&back, s) {
		t.Errorf("got %+v\nwant %+v\n%s", &back, s, text)
	}
	again, _ := Marshal(&back)
	if string(again) != string(text) {
		t.Errorf("second writing differs:\n%s\n%s", text, again)
	}
}

func TestMarshalText(t *testing.T) {
	text, err := Marshal(load(t, "stages: [{name: warm up}]"))
	if err != nil {
		t.Fatal(err)
	}
	want := `seed: 1
model: nano
out: ""
grpo:
  learning_rate: 0.0001
  group_size: 8
  clip:
    low: 0.2
    high: 0.28
  tags: [a]
  kl:
    low: 0.1
    high: 0.9
  level: low
stages:
  - name: "warm up"
    clip:
      low: 0
      high: 0
named:
  x:
    low: 0.3
    high: 0.4
env: {}
wait: 1m0s
small: 0
f32: 0
fast: false
pair: [0, 0]
any: null
nums: []
`
	if string(text) != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestMarshalRefusesNaN(t *testing.T) {
	s := defaults()
	s.Nums = []float64{math.NaN()}
	if _, err := Marshal(s); err == nil || !strings.Contains(err.Error(), "nums") {
		t.Errorf("got %v", err)
	}
}

func TestKeys(t *testing.T) {
	var lines []string
	for _, k := range Keys(defaults())[:7] {
		lines = append(lines, fmt.Sprintf("%s|%s|%s|%s", k.Path, k.Type, k.Default, k.Help))
	}
	want := "seed|int|1|random seed\nmodel|text|nano|\nout|text|\"\"|\ngrpo.learning_rate|float|0.0001|\ngrpo.group_size|int|8|\ngrpo.clip.low|float|0.2|ratio bound below 1\ngrpo.clip.high|float|0.28|ratio bound above 1"
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestNearest(t *testing.T) {
	keys := []string{"learning_rate", "lr", "clip", "group_size", "kl"}
	for _, c := range [][2]string{{"lerning_rate", "learning_rate"}, {"learningrate", "learning_rate"}, {"gruop_size", "group_size"}, {"ls", "lr"}, {"zzz", ""}, {"clipp", "clip"}, {"", ""}} {
		if got := Nearest(c[0], keys); got != c[1] {
			t.Errorf("Nearest(%q) = %q, want %q", c[0], got, c[1])
		}
	}
}

func TestOneOf(t *testing.T) {
	if err := OneOf("norm", "token_mean", "token_mean", "sum"); err != nil {
		t.Error(err)
	}
	err := OneOf("norm", "token_maen", "token_mean", "sum")
	if err == nil || err.Error() != `norm: "token_maen" is not one of token_mean, sum; did you mean "token_mean"?` {
		t.Errorf("got %v", err)
	}
}

// A Load that succeeds gives settings that Marshal writes and Load reads back to the same text.
func FuzzLoad(f *testing.F) {
	f.Add("seed: 1\ngrpo: {tags: [a, 'b'], clip: {low: 1}}\n", "model=x")
	f.Add("stages:\n- name: |\n    x\n  clip:\n    low: 0.5\n", `nums=[1]`)
	f.Add("any: {a: [1, {b: c}]}\nenv: {? x : y}\n", "any=- - -")
	f.Add("a: b: c\n\t- ]", "any=\"\\x00\"")
	f.Fuzz(func(t *testing.T, src, arg string) {
		s := defaults()
		if err := Load(s, "fuzz.yaml", []byte(src), []string{arg}); err != nil {
			return
		}
		text, err := Marshal(s)
		if err != nil {
			t.Fatalf("cannot write what was read: %v", err)
		}
		var back settings
		if err := Load(&back, "back.yaml", text, nil); err != nil {
			t.Fatalf("cannot read what was written: %v\n%s", err, text)
		}
		if again, _ := Marshal(&back); string(again) != string(text) {
			t.Fatalf("written twice, different:\n%s\n%s", text, again)
		}
	})
}

func TestTake(t *testing.T) {
	for _, c := range []struct{ src, value, rest, err string }{
		{"recipe: grpo\nseed: 1\n", "grpo", "\nseed: 1\n", ""},
		{"# first\nseed: 1\n\"recipe\": 'warm up' # why\nmodel: x", "warm up", "# first\nseed: 1\n\nmodel: x", ""},
		{"seed: 1\n", "", "seed: 1\n", ""},
		{"", "", "", ""},
		{"grpo:\n  recipe: x\n", "", "grpo:\n  recipe: x\n", ""},
		{"recipe: [a]", "", "", `f.yaml:1:9: recipe: expected a name, got a list`},
		{"recipe: |\n  grpo\nseed: 1", "", "", `on a line of its own`},
		{"{recipe: grpo, seed: 1}", "", "", `on a line of its own`},
		{"recipe: a\nrecipe: b", "", "", `given twice`},
		{"a: [", "", "", "f.yaml:1:4"},
	} {
		value, rest, err := Take("f.yaml", []byte(c.src), "recipe")
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: error %v, want %s", c.src, err, c.err)
			}
			continue
		}
		if err != nil || value != c.value || string(rest) != c.rest {
			t.Errorf("%q: %q, %q, %v", c.src, value, rest, err)
		}
	}
}

func TestOneKeyForTwoFields(t *testing.T) {
	var dst struct {
		A struct {
			clip
			X clip `yaml:",inline"`
		} `yaml:"a"`
	}
	err := Load(&dst, "", nil, nil)
	if err == nil || !strings.Contains(err.Error(), `two fields for the key "a.low"`) {
		t.Errorf("got %v", err)
	}
}

func TestInlineByTag(t *testing.T) {
	var dst struct {
		Common common `yaml:",inline"`
		Hooks  clip   `yaml:"-"`
	}
	if err := Load(&dst, "f", []byte("seed: 3"), []string{"model=x"}); err != nil || dst.Common.Seed != 3 || dst.Common.Model != "x" {
		t.Errorf("got %+v, %v", dst, err)
	}
	if err := Load(&dst, "f", []byte("seed: 13"), nil); err == nil || err.Error() != "f:1:1: seed: 13 is unlucky" {
		t.Errorf("got %v", err)
	}
}
