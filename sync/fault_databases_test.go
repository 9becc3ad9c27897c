package sync_test

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnadesign-maintainers/usr/sync"
)

const databasePath = "_artifacts/_densegen_ids.sqlite"

// sqlScript opens a database in WAL mode and does what it is told, a line at a time. A trailing ok tells that it is done.
const sqlScript = `
import sqlite3, sys, threading, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, check_same_thread=False)
db.execute("PRAGMA journal_mode=WAL")
db.execute("CREATE TABLE IF NOT EXISTS ids (id INTEGER PRIMARY KEY, a, b)")
stop = []
def busy():
    n = 0
    while not stop:
        n += 1
        db.execute("INSERT INTO ids (a, b) VALUES (?, ?)", (n, n))
        if n % 50 == 0: db.execute("PRAGMA wal_checkpoint(PASSIVE)")
for line in sys.stdin:
    do, _, arg = line.strip().partition(" ")
    if do == "sql": print(db.execute(arg).fetchall(), flush=True)
    if do == "busy": t = threading.Thread(target=busy); t.start()
    if do == "rest": stop.append(1); t.join()
    print("ok", flush=True)
stop.append(1)
if sys.argv[2] == "kill": sys.stdout.flush(); import os; os._exit(0)
db.close()
`

// database is a program that has a database open.
type database struct {
	*testing.T
	in  io.WriteCloser
	out *bufio.Reader
	cmd *exec.Cmd
}

// openDatabase: a program that is killed leaves the log behind.
func (r *rig) openDatabase(file, end string) *database {
	r.Helper()
	r.must(os.MkdirAll(filepath.Dir(file), 0o755))
	cmd := exec.Command("python3", "-c", sqlScript, file, end)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	r.must(err)
	out, err := cmd.StdoutPipe()
	r.must(err)
	r.must(cmd.Start())
	db := &database{T: r.T, in: in, out: bufio.NewReader(out), cmd: cmd}
	r.Cleanup(db.close)
	db.do("sql SELECT 1")
	return db
}

func (d *database) do(line string) (said string) {
	d.Helper()
	io.WriteString(d.in, line+"\n")
	for {
		text, err := d.out.ReadString('\n')
		if err != nil {
			d.Fatal(err)
		}
		if text == "ok\n" {
			return said
		}
		said += text
	}
}

func (d *database) close() {
	if d.cmd.ProcessState == nil {
		d.in.Close()
		d.cmd.Wait()
	}
}

// rows is what a copy of the database says, with its integrity.
func (r *rig) rows(dir string) string {
	r.Helper()
	copied := r.TempDir()
	for _, suffix := range []string{"", "-wal"} {
		text, err := os.ReadFile(filepath.Join(dir, databasePath+suffix))
		if err == nil {
			r.must(os.WriteFile(filepath.Join(copied, "db"+suffix), text, 0o644))
		} else if suffix == "" {
			r.Fatal(err)
		}
	}
	db := r.openDatabase(filepath.Join(copied, "db"), "close")
	defer db.close()
	return db.do("sql PRAGMA integrity_check") + db.do("sql SELECT count(*), sum(a), sum(b) FROM ids")
}

// TestFaultDatabase: a database and its log arrive as one, with all that was committed, and what another program keeps
// in memory of the old one does not come to lie beside the new one.
func TestFaultDatabase(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		for _, inPlace := range []bool{false, true} {
			r := wayRig(t, d, ssh)
			r.options = func(o *sync.Options) { o.NoExchange = inPlace }
			r.databaseArrives()
		}
	})
}

func (r *rig) databaseArrives() {
	r.Helper()
	file := filepath.Join(r.src(), databasePath)
	first := r.openDatabase(file, "close")
	first.do("sql INSERT INTO ids (a, b) VALUES (1, 1)")
	first.close()
	r.transferred() // at rest: one file
	reader := r.openDatabase(filepath.Join(r.dst(), databasePath), "kill")
	if rep := r.diff(); rep.Relation != sync.InSync {
		r.Errorf("a database that is merely open: %s, %v", rep.Relation, rep.Changes)
	}
	second := r.openDatabase(file, "kill")
	second.do("sql INSERT INTO ids (a, b) VALUES (2, 2)") // in the log, with the database as it was
	want := r.rows(r.src())
	r.transferred()
	if got := r.rows(r.dst()); got != want || !strings.Contains(got, "ok") || !strings.Contains(got, "(2, 3, 3)") {
		r.Errorf("%s, want %s", got, want)
	}
	if _, err := os.Lstat(filepath.Join(r.dst(), databasePath+"-shm")); err == nil {
		r.Error("the old database's shared memory lies beside the new one")
	}
	// A program that has the old one open writes to that alone.
	reader.do("sql INSERT INTO ids (a, b) VALUES (99, 99)")
	reader.do("sql PRAGMA wal_checkpoint(TRUNCATE)")
	if got := r.rows(r.dst()); got != want {
		r.Errorf("after a write to the old one: %s, want %s", got, want)
	}
	reader.close()
	second.close()
	r.same()
	r.clean()
}

// TestFaultBusyDatabase: one that is written to is not copied in halves: it is named, with the ways out. One that can be
// rebuilt stays what it was, and the rest is transferred.
func TestFaultBusyDatabase(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		r := wayRig(t, d, ssh)
		r.openDatabase(filepath.Join(r.src(), databasePath), "close").close()
		r.transferred()
		before := r.rows(r.dst())
		writer := r.openDatabase(filepath.Join(r.src(), databasePath), "close")
		writer.do("busy")
		time.Sleep(50 * time.Millisecond)
		r.must(replaceFile(filepath.Join(r.src(), "records.parquet"), "primary 2\n"))
		_, err := r.run(d, modes())
		var moving *sync.MismatchError
		if !errors.As(err, &moving) || !moving.Moving || !slices.Equal(moving.Databases, []string{databasePath}) {
			t.Fatalf("%v", err)
		}
		if got := r.rows(r.dst()); got != before {
			t.Errorf("the database changed: %s, was %s", got, before)
		}
		r.profile.Rebuildable = []string{databasePath}
		r.transferred()
		if got := r.content(r.dst())["records.parquet"]; got != "primary 2\n" {
			t.Errorf("the rest was not transferred: %q", got)
		}
		if got := r.rows(r.dst()); got != before || !r.warned(databasePath) {
			t.Errorf("%s, was %s; said: %q", got, before, r.warnings)
		}
		writer.do("rest")
		writer.close()
		r.transferred()
		if got, want := r.rows(r.dst()), r.rows(r.src()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		r.clean()
	})
}

// TestFaultRebuildable: that one was opened, or written to, at the destination is no reason to refuse a pull. A push
// leaves alone what the remote has rebuilt.
func TestFaultRebuildable(t *testing.T) {
	everyWay(t, func(t *testing.T, d sync.Direction, ssh bool) {
		r := wayRig(t, d, ssh)
		r.profile.Rebuildable = []string{databasePath}
		there := r.openDatabase(filepath.Join(r.src(), databasePath), "close")
		there.do("sql INSERT INTO ids (a, b) VALUES (1, 1)")
		there.close()
		r.transferred()
		before := r.rows(r.src())
		here := r.openDatabase(filepath.Join(r.dst(), databasePath), "close")
		here.do("sql INSERT INTO ids (a, b) VALUES (5, 5)")
		here.close()
		rebuilt := r.rows(r.dst())
		if rep := r.diff(); rep.Relation != sync.LocalBehind {
			t.Errorf("relation %s", rep.Relation)
		}
		want := before
		if d == sync.Push {
			want = rebuilt
		}
		for _, text := range []string{"primary 2\n", "primary 3\n"} {
			r.must(replaceFile(filepath.Join(r.src(), "records.parquet"), text))
			r.transferred()
			if r.content(r.dst())["records.parquet"] != text || r.rows(r.dst()) != want {
				t.Errorf("%s, want %s", r.rows(r.dst()), want)
			}
		}
		if d == sync.Push && !r.warned(databasePath) {
			t.Errorf("nothing said: %q", r.warnings)
		}
		m := modes()
		m.Force = true
		_, err := r.run(d, m)
		r.must(err)
		if got := r.rows(r.dst()); got != before {
			t.Errorf("forced: %s, want %s", got, before)
		}
		r.clean()
	})
}
