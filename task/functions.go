package task

import (
	"fmt"

	"github.com/hone-lm/hone/task/toolcall"
)

// Functions returns the descriptions of the functions that a problem offers.
func Functions(p *Problem) (toolcall.List, error) {
	switch data := p.Data.(type) {
	case *BFCL:
		return jsonList(data.Functions)
	case *ToolCalls:
		out := make(toolcall.List, len(data.Tools))
		for i := range data.Tools {
			out[i] = data.Tools[i].doc()
		}
		return out, nil
	}
	return nil, fmt.Errorf("problem %s of task %s offers no functions: choose tool_calls or bfcl", p.ID, p.Task)
}
