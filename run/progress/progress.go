// Package progress shows how far a run is: one live bar a stage on a terminal, a plain line every few seconds anywhere else.
//
//	sft   ━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 600/600   loss 0.48  31.2k tok/s   0:39
//	grpo  ━━━━━━━━━━━╸                 118/280   reward 0.24  acc 31.0 %  12.4k sampled/s   0:31 left
//
// Nothing here reaches a result: errors of the terminal are ignored, and a call that comes sooner than a tenth of a second after the
// last drawing only notes its arguments.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/term"
)

const (
	redraw    = 100 * time.Millisecond // on a terminal
	plainLine = 5 * time.Second        // elsewhere
	barCells  = 28
	nameCells = 5
)

var (
	accent = lipgloss.NewStyle().Foreground(lipgloss.Cyan)
	strong = lipgloss.NewStyle().Bold(true)
	faint  = lipgloss.NewStyle().Faint(true)
)

// Field is one figure beside the bar: "loss 0.48". Without a name the text stands alone: "31.2k tok/s".
type Field struct{ Name, Text string }

// Display writes to one screen or file. Its methods, and those of its bars, may be called from many goroutines.
type Display struct {
	mu    sync.Mutex
	out   io.Writer
	live  bool
	color bool
	width func() int
	now   func() time.Time
	bar   *Bar // the one being drawn
	drawn bool // its line is on the screen, the cursor at its end
}

// New returns a display on w, usually os.Stderr. It is live when w is a terminal that understands escape codes.
func New(w io.Writer) *Display {
	d := &Display{out: w, now: time.Now}
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(f.Fd()) || os.Getenv("TERM") == "dumb" {
		return d
	}
	lipgloss.EnableLegacyWindowsANSI(f)
	profile := colorprofile.Detect(f, os.Environ()) // honours NO_COLOR
	d.live, d.color = true, profile > colorprofile.ASCII
	d.out = &colorprofile.Writer{Forward: f, Profile: profile}
	d.width = func() int {
		width, _, err := term.GetSize(f.Fd())
		if err != nil || width < 20 {
			return 80
		}
		return width
	}
	return d
}

// Bar is the progress of one stage.
type Bar struct {
	d           *Display
	name        string
	total       int
	step, first int // first: the step of the first Set, above 0 in a resumed run
	fields      []Field
	begun, last time.Time
	set, done   bool
	under       *Bar // an aside's: the bar that comes back after it
}

// Stage begins the bar of a stage of total steps (0: not known). A bar that is still going is finished first.
func (d *Display) Stage(name string, total int) *Bar {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bar != nil {
		d.bar.finish("")
	}
	now := d.now()
	d.bar = &Bar{d: d, name: name, total: total, begun: now, last: now}
	if d.live {
		d.draw()
	}
	return d.bar
}

// Aside begins the bar of something that a stage waits for, such as an evaluation. It leaves no line when it is Gone, and the stage's bar comes back.
func (d *Display) Aside(name string, total int) *Bar {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	d.bar = &Bar{d: d, name: name, total: total, begun: now, last: now, under: d.bar}
	return d.bar
}

// Gone ends an aside.
func (b *Bar) Gone() {
	d := b.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if b.done {
		return
	}
	b.done = true
	d.erase()
	if d.bar == b {
		d.bar = b.under
	}
}

// Set says that step steps are done, with the figures of the last one.
func (b *Bar) Set(step int, fields ...Field) {
	d := b.d
	d.mu.Lock()
	defer d.mu.Unlock()
	if b.done {
		return
	}
	if !b.set {
		b.set, b.first = true, step
	}
	b.step = step
	b.fields = append(b.fields[:0], fields...)
	now := d.now()
	wait := plainLine
	if d.live {
		wait = redraw
	}
	if now.Sub(b.last) < wait {
		return
	}
	b.last = now
	if d.live {
		d.draw()
	} else {
		fmt.Fprintln(d.out, b.text(b.left(now)))
	}
}

// Done leaves the bar's last line on the screen, with the summary in place of the figures if it is not empty, and the time taken.
func (b *Bar) Done(summary string) {
	b.d.mu.Lock()
	defer b.d.mu.Unlock()
	b.finish(summary)
}

func (b *Bar) finish(summary string) {
	if b.done {
		return
	}
	b.done = true
	if summary != "" {
		b.fields = append(b.fields[:0], Field{Text: summary})
	}
	d := b.d
	took := Clock(d.now().Sub(b.begun))
	if d.live {
		d.erase()
		fmt.Fprintln(d.out, ansi.Truncate(b.line(took, d.width()), d.width(), "…"))
	} else {
		fmt.Fprintln(d.out, b.text(took))
	}
	if d.bar == b {
		d.bar = nil
	}
}

// Line prints a line of its own (or several); a live bar stays below it.
func (d *Display) Line(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.erase()
	fmt.Fprintln(d.out, text)
	if d.live && d.bar != nil {
		d.draw()
	}
}

// Close leaves the screen in order for whatever is printed next: call it also when a run ends in an error.
func (d *Display) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.drawn {
		fmt.Fprintln(d.out)
		d.drawn = false
	}
	d.bar = nil
}

func (d *Display) erase() {
	if d.drawn {
		fmt.Fprint(d.out, "\r"+ansi.EraseLineRight)
		d.drawn = false
	}
}

func (d *Display) draw() {
	width := d.width() - 1 // a full last column would wrap on some terminals
	line := ansi.Truncate(d.bar.line(d.bar.left(d.now()), width), width, "…")
	fmt.Fprint(d.out, "\r"+line+ansi.EraseLineRight)
	d.drawn = true
}

// left is the time to go at the speed so far; empty before there is a speed.
func (b *Bar) left(now time.Time) string {
	made := b.step - b.first
	if made <= 0 || b.total <= b.step {
		return ""
	}
	elapsed := now.Sub(b.begun)
	return Clock(time.Duration(float64(elapsed)/float64(made)*float64(b.total-b.step))) + " left"
}

// text is the plain line.
func (b *Bar) text(end string) string {
	return strings.Join(nonEmpty(fmt.Sprintf("%-*s %s", nameCells, b.name, b.count()), figures(b.fields), end), "   ")
}

// line is the live line; the bar gives way to the figures where the screen is narrow.
func (b *Bar) line(end string, width int) string {
	tail := strings.Join(nonEmpty(b.count(), figures(b.fields), end), "   ")
	name := fmt.Sprintf("%-*s", nameCells, b.name)
	cells := min(barCells, width-ansi.StringWidth(name)-ansi.StringWidth(tail)-2)
	if b.total <= 0 || cells < 6 {
		return strong.Render(name) + " " + tail
	}
	return strong.Render(name) + " " + b.cells(cells) + " " + tail
}

func (b *Bar) cells(n int) string {
	halves := 2 * n * min(max(b.step, 0), b.total) / b.total
	full := strings.Repeat("━", halves/2)
	if halves%2 == 1 {
		full += "╸"
	}
	rest := n - ansi.StringWidth(full)
	if !b.d.color {
		return full + strings.Repeat(" ", rest)
	}
	return accent.Render(full) + faint.Render(strings.Repeat("━", rest))
}

func (b *Bar) count() string {
	if b.total <= 0 {
		return fmt.Sprintf("%d", b.step)
	}
	total := fmt.Sprintf("%d", b.total)
	return fmt.Sprintf("%*d/%s", len(total), b.step, total)
}

func figures(fields []Field) string {
	parts := make([]string, 0, len(fields))
	for _, f := range fields {
		if f.Name != "" {
			parts = append(parts, f.Name+" "+f.Text)
		} else if f.Text != "" {
			parts = append(parts, f.Text)
		}
	}
	return strings.Join(parts, "  ")
}

func nonEmpty(parts ...string) []string {
	kept := parts[:0]
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return kept
}

// Clock writes a duration as 0:39 or 1:02:03.
func Clock(d time.Duration) string {
	s := int(max(d, 0).Round(time.Second) / time.Second)
	if s < 3600 {
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
}

// Count writes a count or rate in few letters: 950, 31.2k, 1.2M, 3.4G.
func Count(n float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if n >= u.size*0.99995 { // so that 999,999 does not become 1000.0k
			return fmt.Sprintf("%.1f%s", n/u.size, u.name)
		}
	}
	return fmt.Sprintf("%.0f", n)
}
