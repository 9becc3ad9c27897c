package sync

// SetSpareFrom has small datasets put together in a spare as well.
func (p *Pair) SetSpareFrom(n int) { p.spareFrom = n }
