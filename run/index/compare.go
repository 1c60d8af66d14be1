package index

import (
	"database/sql"
	"fmt"
	"math"

	"github.com/hone-lm/hone/run"
)

// Setting is one line of a comparison: a config key and its value in each run; "" where a run does not have it.
type Setting struct {
	Name   string
	Values []string
}

// Figure is one line of a comparison: the last value of a metric in a stage in each run; NaN where a run does not have it.
type Figure struct {
	Stage, Kind, Name string // Kind: train or eval
	Values            []float64
}

// Comparison puts runs side by side.
type Comparison struct {
	IDs     []string
	Differ  []Setting // settings that are not the same in all of the runs
	Figures []Figure
}

// Compare puts runs side by side; ids may be prefixes as in run.Open.
func (x *Index) Compare(ids ...string) (*Comparison, error) {
	if len(ids) < 2 {
		return nil, fmt.Errorf("comparison of %d runs: name two or more", len(ids))
	}
	c := &Comparison{}
	for _, id := range ids {
		r, err := run.Open(x.root, id)
		if err != nil {
			return nil, err
		}
		c.IDs = append(c.IDs, r.ID)
	}
	if err := x.Refresh(); err != nil {
		return nil, err
	}
	var settings []Setting
	at := map[string]int{}
	atFigure := map[[3]string]int{}
	for i, id := range c.IDs {
		err := x.each("SELECT name, value FROM config WHERE run = ? ORDER BY n", id, func(rows *sql.Rows) error {
			var name, value string
			err := rows.Scan(&name, &value)
			j, ok := at[name]
			if !ok {
				j = len(settings)
				at[name] = j
				settings = append(settings, Setting{Name: name, Values: make([]string, len(c.IDs))})
			}
			settings[j].Values[i] = value
			return err
		})
		if err != nil {
			return nil, err
		}
		err = x.each("SELECT stage, kind, name, value FROM final WHERE run = ? ORDER BY n", id, func(rows *sql.Rows) error {
			var f Figure
			var value sql.NullFloat64
			err := rows.Scan(&f.Stage, &f.Kind, &f.Name, &value)
			key := [3]string{f.Stage, f.Kind, f.Name}
			j, ok := atFigure[key]
			if !ok {
				j = len(c.Figures)
				atFigure[key] = j
				for range c.IDs {
					f.Values = append(f.Values, math.NaN())
				}
				c.Figures = append(c.Figures, f)
			}
			if value.Valid {
				c.Figures[j].Values[i] = value.Float64
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	for _, s := range settings {
		for _, v := range s.Values[1:] {
			if v != s.Values[0] {
				c.Differ = append(c.Differ, s)
				break
			}
		}
	}
	return c, nil
}

func (x *Index) each(query, id string, scan func(*sql.Rows) error) error {
	rows, err := x.db.Query(query, id)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
