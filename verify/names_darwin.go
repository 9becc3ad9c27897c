package verify

import "os"

func (w *walker) readNames(f *os.File, dir string) error { return w.read(f, dir) }
