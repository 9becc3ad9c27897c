package doctor

import "golang.org/x/sys/unix"

// exchangeHere swaps two directories in one step.
func exchangeHere(a, b string) error { return unix.RenamexNp(a, b, unix.RENAME_SWAP) }
