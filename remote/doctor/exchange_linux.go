package doctor

import "golang.org/x/sys/unix"

// exchangeHere swaps two directories in one step.
func exchangeHere(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}
