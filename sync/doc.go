// Package sync keeps a dataset in step between two sides: it reads both, works out how they relate, stages what differs,
// proves it, and switches the destination in one step.
//
// One transaction, in the order of the files that hold it; transfer.go is the map:
//
//	transfer.go   a command from its first step to its last, and retry.go: once more after a lost line
//	look.go       both sides as one listing shows them
//	decide.go     how they relate (relation.go), and the plan (plan.go): what the destination is to become, from where
//	claim.go      the run lock of the destination, and what a dead run left there
//	stage.go      a private tree for what is incoming, and fill.go: how it gets there, by origin
//	locks.go      the dataset locks, and catchup.go: what moved meanwhile
//	prove.go      every file of the new tree against what the plan expects
//	promote.go    the switch, and late.go: what a writer without the lock did meanwhile
//	record.go     common base (base.go), hash cache and log (store.go), retention.go, report (audit.go)
//
// diff.go only looks; undo.go is a transaction whose source is a kept tree; file.go replaces one file. A side is either
// sync/local (system calls) or remote/shell (a shell on another host); pull and push are the same code with the ends
// exchanged.
package sync
