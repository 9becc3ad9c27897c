package sync_test

import (
	"strings"
	"testing"

	"github.com/dnadesign-maintainers/usr/sync"
)

const onExt4 = "truncate -s 64M $d/image; mkfs.ext4 -q -F $d/image; mount -o loop $d/image $m"

// TestFaultImmutable: a file in a generation that chattr(1) keeps from being removed is named, and stops nothing.
func TestFaultImmutable(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d sync.Direction) {
		t.Parallel()
		r := rigOn(t, d, onExt4)
		r.write(r.src(), 2)
		r.transferred()
		r.sh(r.state("generations", faultKey), "chattr +i */tree/records.parquet")
		for v := 3; v < 5; v++ {
			r.write(r.src(), v)
			r.transferred()
			r.is(r.dst(), v)
		}
		if !r.warned("stays for now") {
			t.Errorf("%v", r.warnings)
		}
		r.sh(r.state("generations", faultKey), "chattr -i */gone/records.parquet")
		r.next(5 - 1)
		r.clean()
	})
}

// TestFaultFixed: what chattr(1) keeps from being renamed in live is found before anything moves.
func TestFaultFixed(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d sync.Direction) {
		for _, c := range []struct {
			chattr            string
			exchange, inPlace bool // whether it is refused
			long              bool
		}{
			{"+i records.parquet", false, true, false},
			{"+a .events.log", false, true, true},
			{"+a _views", false, true, false},
			{"+i _views", false, true, true},
			{"+i _artifacts", true, true, false}, // by exchange files in it get copies in the old tree
			{"+i _artifacts/constant", false, false, true},
			{"+i .", true, true, true},
			{"+i .events.lock", true, false, true},
			{"+i .usr.lock", false, false, true},
		} {
			for _, inPlace := range []bool{false, true} {
				refused := c.exchange && !inPlace || c.inPlace && inPlace
				if (c.long || !refused) && !longFaults() {
					continue
				}
				t.Run(strings.ReplaceAll(c.chattr, "/", "%")+map[bool]string{true: " in place"}[inPlace], func(t *testing.T) {
					t.Parallel()
					r := emptyRig(t, d)
					r.rooted(mounted(t, onExt4))
					r.options = func(o *sync.Options) { o.NoExchange = inPlace }
					r.write(r.src(), 1)
					r.transferred()
					r.write(r.src(), 2)
					r.sh(r.dst(), "touch .usr.lock .events.lock; chattr "+c.chattr)
					_, err := r.run(r.direction, modes())
					r.sh(r.dst(), "chattr -R -ia .; chattr -ia . .usr.lock .events.lock")
					if !refused {
						r.must(err)
					} else if err == nil || !strings.Contains(err.Error(), "immutable or append-only") {
						t.Errorf("%v", err)
					} else {
						r.is(r.dst(), 1)
					}
					r.next(2)
				})
			}
		}
	})
}
