package verify

import "strings"

// What SQLite keeps beside a database X that is in use: the index of its log in shared memory, which speaks for one host
// only, its write-ahead log, and the journal of a transaction under way, without which X may not be read.
const (
	sharedMemorySuffix = "-shm"
	logSuffix          = "-wal"
	journalSuffix      = "-journal"
)

// databaseSuffixes are the usual names of databases. A database of another name is known by the files beside it.
var databaseSuffixes = []string{".sqlite", ".sqlite3", ".db", ".db3"}

// Database returns the path of the database that a file stands beside, if SQLite names files like that; else the path
// itself.
func Database(path string) string {
	for _, suffix := range []string{sharedMemorySuffix, logSuffix, journalSuffix} {
		if of, ok := strings.CutSuffix(path, suffix); ok && of != "" && !strings.HasSuffix(of, "/") {
			return of
		}
	}
	return path
}

// sharedMemory recognizes the shared memory of a database by its name alone.
func sharedMemory(path string) bool {
	of, ok := strings.CutSuffix(path, sharedMemorySuffix)
	return ok && NamedDatabase(of)
}

// NamedDatabase reports whether a file is named as databases are.
func NamedDatabase(path string) bool {
	for _, suffix := range databaseSuffixes {
		if strings.HasSuffix(path, suffix) {
			return true
		}
	}
	return false
}

// Classify sets the classes of a whole listing, which is in order of path. Beside a file X, X-shm and an empty X-wal count
// as SQLite's own and hold no data.
func (c *Classifier) Classify(m Manifest) {
	for i := range m {
		m[i].Class = c.Class(m[i].Path)
		if m[i].Class.Synced() && m.volatile(&m[i]) {
			m[i].Class = Runtime
		}
	}
}

// volatile reports whether SQLite makes the file for as long as a database is open.
func (m Manifest) volatile(e *Entry) bool {
	empty := e.Size == 0 && strings.HasSuffix(e.Path, logSuffix)
	if e.Kind != File || !empty && !strings.HasSuffix(e.Path, sharedMemorySuffix) {
		return false
	}
	db := m.Find(Database(e.Path))
	return db != nil && db != e && db.Kind == File
}

// Unit lists the paths that a database and SQLite's files beside it may have. They are useful only together.
func Unit(database string) []string {
	return []string{database, database + journalSuffix, database + logSuffix}
}
