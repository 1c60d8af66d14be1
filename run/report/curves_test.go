package report

import (
	"bytes"
	"encoding/xml"
	"io"
	"math"
	"strings"
	"testing"
)

func TestWriteCurves(t *testing.T) {
	panels := []Panel{
		{Title: "parameters", X: "parameters", Lines: []PanelLine{{"speed", []float64{3e5, 1e6, 1.35e8}, []float64{0.2, 0.5, 0.6}}, {"memory", []float64{3e5, 1e6, 1.35e8}, []float64{1.1, 1, 0.9}}}},
		{Title: "streams", X: "streams", Lines: []PanelLine{{"speed", []float64{1, 8, 64}, []float64{0.7, 0.4, 0.5}}}},
		{Title: "alone", X: "tokens", Lines: []PanelLine{{"speed", []float64{128}, []float64{0.7}}}},
	}
	var out, again bytes.Buffer
	if err := WriteCurves(&out, panels); err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(out.Bytes())); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{">parameters<", ">streams<", ">135M<", ">64<", ">memory<"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the picture has no %s", want)
		}
	}
	if err := WriteCurves(&again, panels); err != nil || !bytes.Equal(out.Bytes(), again.Bytes()) {
		t.Error("the same panels give another picture")
	}
	panels[1].Lines[0].Y[1] = math.NaN()
	if err := WriteCurves(io.Discard, panels); err == nil {
		t.Error("a point that is no number was drawn")
	}
}
