// Package sync keeps a dataset in step between two sides: it reads both, says how they relate, stages what
// differs, proves it, and switches the destination in one step.
//
// One transfer, in the order of the files that hold it:
//
//	snapshot.go   read a side: survey, classes, digests from the cache
//	relation.go   how the two sides relate, given their common base
//	plan.go       what a transfer would change, and whether it may
//	stage.go      bring the changed files into a private tree on the destination
//	transfer.go   the transaction: pre-copy, lock, catch up, verify, promote, settle
//	undo.go       put a generation back
//
// Pull and push are the same code with the ends exchanged.
package sync
