package rsync

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKilledOutright: after SIGKILL of this program its rsync ends soon, and keeps the partial file.
func TestKilledOutright(t *testing.T) {
	if top := os.Getenv("USR_TEST_KILLED"); top != "" { // the program that is killed
		tr := Transfer{FromDir: top + "/src", ToDir: top + "/stage", PartialDir: ".partial", Files: []string{"big"}, Bwlimit: "4m"}
		tr.Progress = func(int64) { fmt.Println("moving") }
		_, err := tr.Run(t.Context())
		t.Fatal(err)
	}
	b := newBed(t)
	put(t, filepath.Join(b.src, "big"), noise(64<<20))
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledOutright$")
	cmd.Env = append(os.Environ(), "USR_TEST_KILLED="+filepath.Dir(b.src))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); !strings.HasPrefix(line, "moving") {
		t.Errorf("%q %v", line, err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	awaitFile(t, filepath.Join(b.stage, ".partial", "big"))
	time.Sleep(200 * time.Millisecond)
	noProcessWith(t, b.stage)
}
