package sync

import "time"

// Observer receives events while the engine works; the printers live behind it. The engine calls it from several
// goroutines, never after the command returned.
type Observer func(Event)

// Event is one of the types below.
type Event any

// StepBegan and StepEnded frame the steps of a command. A step names a point of design section 6.
type (
	StepBegan struct{ Step Step }
	StepEnded struct{ Step Step }
)

// Step is a stage of a command.
type Step string

// The steps, in the order in which a transfer takes them.
const (
	StepSurvey  Step = "survey"
	StepRecover Step = "recover"
	StepCompare Step = "compare"
	StepClaim   Step = "claim"
	StepCopy    Step = "copy"
	StepLock    Step = "lock"
	StepCatchUp Step = "catch-up"
	StepLink    Step = "link"
	StepVerify  Step = "verify"
	StepFlush   Step = "flush"
	StepPromote Step = "promote"
	StepRecord  Step = "record"
	StepSettle  Step = "settle"
	StepRestamp Step = "restamp"
)

// Progressed is how far a long step is. Total is 0 if it is not known.
type Progressed struct {
	Phase       string // PhaseTransfer, "hash local", "hash NAME"
	Done, Total int64  // bytes
	Files       int
}

// PhaseTransfer is the phase in which the bytes move.
const PhaseTransfer = "transfer"

// Queued reports that a place on a compute node is waited for, and with the zero time that it no longer is.
type Queued struct{ Since time.Time }

// Warned is a warning for the user that does not stop the command.
type Warned struct{ Text string }

// Ran is a command line that was started on this host.
type Ran struct{ Argv []string }

// Itemized is a line of rsync's own preview.
type Itemized struct{ Line string }

// step frames f.
func (o Observer) step(s Step, f func() error) error {
	o(StepBegan{s})
	err := f()
	if err == nil {
		o(StepEnded{s})
	}
	return err
}
