package progress

import (
	"bytes"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
)

type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func fake(live bool) (*Display, *bytes.Buffer, *clock) {
	var out bytes.Buffer
	c := &clock{time.Unix(1e9, 0)}
	d := New(&out)
	d.now, d.live, d.width = c.now, live, func() int { return 100 }
	return d, &out, c
}

func TestPlain(t *testing.T) {
	d, out, c := fake(false)
	d.Line("nano 0.9M params")
	bar := d.Stage("grpo", 280)
	for step := range 60 {
		c.t = c.t.Add(250 * time.Millisecond)
		bar.Set(step+1, Field{"reward", "0.24"}, Field{"", "12.4k sampled/s"})
	}
	bar.Done("reward 0.30")
	bar.Set(61) // after the end: ignored
	bar.Done("twice")
	want := `nano 0.9M params
grpo   20/280   reward 0.24  12.4k sampled/s   1:08 left
grpo   40/280   reward 0.24  12.4k sampled/s   1:02 left
grpo   60/280   reward 0.24  12.4k sampled/s   0:56 left
grpo   60/280   reward 0.30   0:15
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

func TestLive(t *testing.T) {
	d, out, c := fake(true)
	bar := d.Stage("sft", 4)
	c.t = c.t.Add(time.Second)
	bar.Set(1, Field{"loss", "0.5"})
	c.t = c.t.Add(time.Second)
	bar.Set(2, Field{"loss", "0.4"})
	d.Line("a note")
	bar.Set(3, Field{"loss", "0.3"}) // sooner than 10 Hz: not drawn
	bar.Done("")
	screen := strings.Split(strings.ReplaceAll(ansi.Strip(out.String()), "\r", "\n"), "\n")
	full := strings.Repeat("━", 28)
	want := []string{
		"",
		"sft   " + strings.Repeat(" ", 28) + " 0/4",
		"sft   " + full[:7*3] + strings.Repeat(" ", 21) + " 1/4   loss 0.5",
		"sft   " + full[:14*3] + strings.Repeat(" ", 14) + " 2/4   loss 0.4   0:04 left",
		"a note", // on the erased line
		"",
		"sft   " + full[:14*3] + strings.Repeat(" ", 14) + " 2/4   loss 0.4   0:04 left",
		"sft   " + full[:21*3] + strings.Repeat(" ", 7) + " 3/4   loss 0.3   0:02",
		"",
	}
	if strings.Join(screen, "|") != strings.Join(want, "|") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(screen, "|\n"), strings.Join(want, "|\n"))
	}
}

func TestNarrow(t *testing.T) {
	for width := 20; width < 120; width++ {
		d, out, c := fake(true)
		d.width, d.color = func() int { return width }, true
		bar := d.Stage("grpo", 1000)
		for step := range 3 {
			c.t = c.t.Add(time.Second)
			bar.Set(step, Field{"reward", "0.24"}, Field{"acc", "31.0 %"}, Field{"entropy", "0.71"})
		}
		bar.Done("")
		for _, line := range strings.FieldsFunc(ansi.Strip(out.String()), func(r rune) bool { return r == '\r' || r == '\n' }) {
			if ansi.StringWidth(line) > width {
				t.Fatalf("width %d: line of %d cells: %s", width, ansi.StringWidth(line), line)
			}
		}
	}
}

func TestNewStageFinishesTheLast(t *testing.T) {
	d, out, _ := fake(false)
	d.Stage("sft", 0).Set(7)
	d.Stage("grpo", 10)
	d.Close()
	if want := "sft   7   0:00\n"; out.String() != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func TestUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0:00", 39 * time.Second: "0:39", 3723 * time.Second: "1:02:03", -time.Second: "0:00", 59*time.Minute + 59*time.Second + 600*time.Millisecond: "1:00:00"} {
		if got := Clock(d); got != want {
			t.Errorf("Clock(%v) is %s, want %s", d, got, want)
		}
	}
	for n, want := range map[float64]string{0: "0", 950: "950", 31234: "31.2k", 999_999: "1.0M", 1.2e6: "1.2M", 3.4e9: "3.4G"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%g) is %s, want %s", n, got, want)
		}
	}
}

// A call that draws nothing must not cost a step anything.
func TestThrottledSetAllocatesNothing(t *testing.T) {
	d, _, _ := fake(true)
	bar := d.Stage("sft", 1000)
	bar.Set(1, Field{"loss", "0.5"})
	if n := testing.AllocsPerRun(100, func() { bar.Set(2, Field{"loss", "0.5"}, Field{"acc", "1"}) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestConcurrent(t *testing.T) {
	d := New(&bytes.Buffer{})
	bar := d.Stage("sft", 100)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			bar.Set(i, Field{"loss", "1"})
			d.Line("note")
		})
	}
	wg.Wait()
	bar.Done("")
}

func TestNotATerminal(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if New(f).live {
		t.Error("a file counts as a terminal")
	}
}

// An aside takes the stage's place while it lasts, prints what takes long, and leaves nothing behind.
func TestAside(t *testing.T) {
	var out strings.Builder
	d := New(&out)
	now := time.Unix(0, 0)
	d.now = func() time.Time { return now }
	stage := d.Stage("sft", 10)
	aside := d.Aside("countdown", 500)
	aside.Set(16)
	now = now.Add(6 * time.Second)
	aside.Set(160)
	aside.Gone()
	aside.Gone()
	now = now.Add(6 * time.Second)
	stage.Set(5)
	stage.Done("")
	if got := out.String(); strings.Count(got, "countdown") != 1 || !strings.Contains(got, "160/500") || strings.Count(got, "sft") != 2 || strings.Index(got, "countdown") > strings.Index(got, "sft") {
		t.Errorf("shown:\n%s", got)
	}
}
