package sync_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dnadesign-maintainers/usr/remote/remotetest"
	"github.com/dnadesign-maintainers/usr/remote/remotetest/dataset"
	"github.com/dnadesign-maintainers/usr/sync"
)

// rowBytes is about what a row of the test datasets takes in the primary.
const rowBytes = 60

// writersRig has a dataset whose primary is of that many rows and was written six times, so that there are five snapshots,
// on the source, and counts what goes over the line. Long, the primary is of 45 MB and grows by one with each write.
func writersRig(t *testing.T, d sync.Direction) (r *rig, relay *remotetest.RelayServer, more int) {
	t.Helper()
	rows := shortOr(3<<20, 45<<20) / rowBytes
	more = rows / 45
	r = emptyRig(t, d)
	relay = r.overRelay(0)
	r.must(os.MkdirAll(r.src(), 0o755))
	r.must(dataset.Write(r.src(), dataset.Options{ID: faultID, Rows: rows}))
	for range 5 {
		r.must(dataset.Increment(r.src(), more))
	}
	return r, relay, more
}

// moved is how many bytes went over the line while it was done, both ways, with ssh's own and the conversation.
func moved(relay *remotetest.RelayServer, do func()) int64 {
	up, down := relay.Bytes()
	do()
	upNow, downNow := relay.Bytes()
	return upNow - up + downNow - down
}

// size is that of a file of the source.
func (r *rig) size(path string) int64 {
	r.Helper()
	info, err := os.Stat(filepath.Join(r.src(), path))
	r.must(err)
	return info.Size()
}

// TestWritersOnTheWire: what the writers do costs what is new in it. The first copy brings the primary and of each
// snapshot what differs; the newest is the primary itself. Three writes later the new snapshots are deltas of the old one,
// and the newest does not move at all. A file under a new name does not either.
func TestWritersOnTheWire(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d sync.Direction) {
		t.Parallel()
		r, relay, more := writersRig(t, d)
		primary, overlay := r.size("records.parquet"), r.size("_derived/infer/part-001.parquet")
		var rep *sync.Report
		fetched := moved(relay, func() { rep = r.transferred() })
		r.same()
		t.Logf("%s: first copy: %d bytes, of a primary of %d, five snapshots of it and overlays of %d", d, fetched, primary, overlay)
		if fetched > (primary+overlay)*11/10+600_000 || rep.Reused.Files != 1 || rep.Reused.Bytes != primary {
			t.Errorf("first copy: %d bytes, reused %+v", fetched, rep.Reused)
		}

		writes := map[sync.Direction]int{sync.Pull: 3, sync.Push: 2}[d]
		for range writes {
			r.must(dataset.Increment(r.src(), more))
		}
		grown := r.size("records.parquet") - primary
		fetched = moved(relay, func() { rep = r.transferred() })
		r.same()
		t.Logf("%s: %d writes: %d bytes, primary of %d, %d more", d, writes, fetched, primary, grown)
		if fetched > grown*3+600_000 || rep.Reused.Files != 1 {
			t.Errorf("%d writes: %d bytes, though the primary has grown by %d; reused %+v", writes, fetched, grown, rep.Reused)
		}

		r.noise("_artifacts/weights.bin", int64(shortOr(4<<20, 20<<20)))
		r.transferred()
		r.must(os.Rename(filepath.Join(r.src(), "_artifacts/weights.bin"), filepath.Join(r.src(), "_artifacts/renamed.bin")))
		fetched = moved(relay, func() { rep = r.transferred() })
		r.same()
		t.Logf("%s: renamed: %d bytes", d, fetched)
		if fetched > 200_000 || rep.Reused.Files != 1 {
			t.Errorf("renamed: %d bytes, reused %+v", fetched, rep.Reused)
		}
		r.clean()
	})
}

// TestReuseOfKept: what an undo took back comes from the generation when it is transferred again.
func TestReuseOfKept(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d sync.Direction) {
		t.Parallel()
		for _, damaged := range []bool{false, true} {
			r := emptyRig(t, d)
			relay := r.overRelay(0)
			r.write(r.src(), 1)
			r.transferred()
			r.noise("_artifacts/weights.bin", 6<<20)
			r.transferred()
			r.undone(modes())
			if damaged {
				r.damage(r.state("generations", faultKey, "*", "tree/_artifacts/weights.bin"))
			}
			var rep *sync.Report
			fetched := moved(relay, func() { rep = r.transferred() })
			r.same()
			if reused := rep.Reused.Files == 1 && fetched < 1<<20; reused == damaged {
				t.Errorf("damaged: %v: %d bytes, reused %+v", damaged, fetched, rep.Reused)
			}
			r.clean()
		}
	})
}

// TestReuseOfKeptInSync: each half of a sync asks the kept trees of its own destination.
func TestReuseOfKeptInSync(t *testing.T) {
	t.Parallel()
	r := emptyRig(t, sync.Push)
	r.overSSH(remotetest.Options{})
	r.write(r.src(), 1)
	r.transferred()
	r.noise("_artifacts/here.bin", 6<<20)
	r.transferred()
	r.undone(modes())
	r.direction = sync.Pull // the rest is the remote's
	r.noise("_artifacts/there.bin", 6<<20)
	p := r.open()
	defer p.Close()
	rep, err := p.Sync(r.Context(), faultID, modes())
	r.must(err)
	r.same()
	if rep.Reused.Files != 0 || rep.Push == nil || rep.Push.Reused.Files != 1 {
		t.Errorf("reused %+v; pushed %+v", rep.Reused, rep.Push)
	}
}

// damage changes bytes of a file under its size and time stamp.
func (r *rig) damage(pattern string) {
	r.Helper()
	found, err := filepath.Glob(pattern)
	r.must(err)
	if len(found) != 1 {
		r.Fatalf("%v", found)
	}
	info, err := os.Stat(found[0])
	r.must(err)
	f, err := os.OpenFile(found[0], os.O_WRONLY, 0)
	r.must(err)
	_, err = f.WriteAt([]byte("damage"), info.Size()/2)
	r.must(err)
	r.must(f.Close())
	r.must(os.Chtimes(found[0], info.ModTime(), info.ModTime()))
}

// TestFaultReuse: what is copied in place of being fetched is held against the source's digest. Where the file that it is
// copied from changes, is damaged or goes once it was read, the source brings it; once it was copied that is no matter.
func TestFaultReuse(t *testing.T) {
	const size = 2 << 20
	for _, over := range []string{"local", "ssh"} {
		both(t, func(t *testing.T, d sync.Direction) {
			t.Run(over, func(t *testing.T) {
				t.Parallel()
				r := emptyRig(t, d)
				if over == "ssh" {
					r.overSSH(remotetest.Options{})
				}
				r.write(r.src(), 1)
				r.noise("_artifacts/old.bin", size)
				r.transferred()
				for name, fault := range map[string]func(){
					"gone":        func() { r.must(os.Remove(filepath.Join(r.dst(), "_artifacts/old.bin"))) },
					"damaged":     func() { r.damage(filepath.Join(r.dst(), "_artifacts/old.bin")) },
					"another one": func() { r.must(replaceFile(filepath.Join(r.dst(), "_artifacts/old.bin"), "other\n")) },
					"a link": func() {
						r.must(os.Remove(filepath.Join(r.dst(), "_artifacts/old.bin")))
						r.must(os.Symlink("/etc/passwd", filepath.Join(r.dst(), "_artifacts/old.bin")))
					},
				} {
					if over == "ssh" && name != "gone" && name != "damaged" && !longFaults() {
						continue
					}
					for _, step := range []sync.Step{sync.StepClaim, sync.StepLock} {
						want := fmt.Sprintf("_artifacts/new of %s at %s.bin", name, step)
						r.must(os.Rename(filepath.Join(r.src(), "_artifacts/old.bin"), filepath.Join(r.src(), want)))
						r.atStep(sync.StepBegan{Step: step}, fault)
						m := modes()
						m.Force = true // for that is a change of the destination's own
						rep, err := r.run(d, m)
						r.observe = nil
						if err != nil {
							t.Fatalf("%s, %s: %v", name, step, err)
						}
						r.same()
						r.clean()
						if late := step == sync.StepLock; late != (rep.Reused.Files == 1) {
							t.Errorf("%s, %s: reused %+v", name, step, rep.Reused)
						}
						r.must(os.Rename(filepath.Join(r.src(), want), filepath.Join(r.src(), "_artifacts/old.bin")))
						r.transferred()
					}
				}
			})
		})
	}
}

// TestFaultTwinMoves: the writers go on after it was seen that the newest snapshot is the primary, before the primary is
// fetched and after. Both sides end as the source does.
func TestFaultTwinMoves(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d sync.Direction) {
		for _, step := range []sync.Step{sync.StepClaim, sync.StepLock} {
			r := emptyRig(t, d)
			r.must(os.MkdirAll(r.src(), 0o755))
			r.must(dataset.Write(r.src(), dataset.Options{ID: faultID, Rows: 3000}))
			r.transferred()
			r.must(dataset.Increment(r.src(), 100))
			r.atStep(sync.StepBegan{Step: step}, func() { r.must(dataset.Increment(r.src(), 100)) })
			rep := r.transferred()
			r.same()
			r.clean()
			if rep.Reused.Files == 0 {
				t.Errorf("%s: nothing reused", step)
			}
		}
	})
}
