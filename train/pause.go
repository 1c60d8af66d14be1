package train

import (
	"cmp"
	"fmt"
	"time"

	"github.com/hone-lm/hone/run"
)

// pauseTurns is how many looks at a full disk there are before a write is tried although the free space has not grown: a quota may have changed,
// which it does not show.
const pauseTurns = 30

// pause is run.Run.Full: it waits for room. Asked to stop, it gives the write up; the last state is whole.
func (s *Session) pause(full error) error {
	if full == nil {
		s.full = false
		s.Display.Line("there is room again: the run goes on")
		return nil
	}
	if !s.full {
		s.full = true
		s.Display.Line(fmt.Sprintf("the run pauses: %v. Free some space and it goes on; Ctrl-C stops it, and hone resume takes it up later", full))
	}
	before, known := run.Free(s.Run.Dir)
	for range pauseTurns {
		if s.stop.Load() {
			return fmt.Errorf("stopped while there is no room: %w", full)
		}
		time.Sleep(cmp.Or(s.PollDisk, time.Second))
		if now, _ := run.Free(s.Run.Dir); known && now > before {
			break
		}
	}
	return nil
}
