package verify

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/zeebo/blake3"
)

func hostileManifest() Manifest {
	m := Manifest{{Path: "\x01extreme", Kind: Char, Class: Ignored, Mode: 0o7777, Gid: math.MaxUint32, Size: math.MaxInt64,
		Mtime: math.MinInt64, Ctime: math.MaxInt64, Dev: math.MaxUint64, Ino: math.MaxUint64}}
	for i, name := range hostileNames {
		m = append(m, Entry{Path: name, Kind: Directory, Class: Class(i % 8), Mode: 0o2755, Mtime: int64(i)},
			Entry{Path: name + "/" + name, Kind: File, Class: Class(i % 8), Size: int64(i), Ino: uint64(i), Digest: sha256.Sum256([]byte(name))})
	}
	slices.SortFunc(m, ComparePaths)
	return m
}

func encode(t testing.TB, algorithm string, m Manifest) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := WriteManifest(&out, algorithm, m); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestManifestRoundTrip(t *testing.T) {
	long := Manifest{{Path: strings.Repeat("\xff", maxPath), Kind: File}}
	for _, m := range []Manifest{nil, hostileManifest(), long, bigManifest(3000)} {
		for _, algorithm := range []string{"", BLAKE3, SHA256} {
			got, back, err := ReadManifest(iotest.HalfReader(bytes.NewReader(encode(t, algorithm, m))))
			if err != nil || got != algorithm || !slices.Equal(back, m) {
				t.Errorf("%d entries, %q: %q, %d entries, %v", len(m), algorithm, got, len(back), err)
			}
		}
	}
}

func TestManifestForm(t *testing.T) {
	got := string(encode(t, BLAKE3, Manifest{{Path: "a\n\xff", Kind: File, Class: Auxiliary, Mode: 0o640, Gid: 5, Size: 1, Mtime: 2, Ctime: 3, Dev: 6, Ino: 7}}))
	body := "usr-manifest 1 blake3 1\nf auxiliary 640 5 1 2 3 6 7 - \"a\\n\\xff\"\n"
	if want := body + fmt.Sprintf("end 1 %x\n", blake3.Sum256([]byte(body))); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestWriteManifestRefuses(t *testing.T) {
	for _, m := range []Manifest{
		{{Path: "b", Kind: File}, {Path: "a", Kind: File}}, {{Path: "a", Kind: File}, {Path: "a", Kind: File}},
		{{Path: "", Kind: File}}, {{Path: "../a", Kind: File}}, {{Path: "/a", Kind: File}}, {{Path: "a/", Kind: File}}, {{Path: "a//b", Kind: File}},
		{{Path: "./a", Kind: File}}, {{Path: "a\x00", Kind: File}}, {{Path: "a"}}, {{Path: "a", Kind: 'x'}}, {{Path: "a", Kind: File, Class: 8}},
		{{Path: "a", Kind: File, Mode: 0o10000}}, {{Path: "a", Kind: File, Size: -1}}, {{Path: strings.Repeat("a", maxPath+1), Kind: File}},
	} {
		if err := WriteManifest(io.Discard, BLAKE3, m); err == nil {
			t.Errorf("%+v was accepted", m)
		}
	}
	if err := WriteManifest(io.Discard, "md5", nil); err == nil {
		t.Error("md5 was accepted")
	}
	if err := WriteManifest(fullDisk{}, BLAKE3, bigManifest(3000)); !errors.Is(err, errFull) {
		t.Error(err)
	}
}

var errFull = errors.New("no space")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

// Whatever byte is lost, added or altered, nothing is returned.
func TestReadManifestRejectsEveryDamage(t *testing.T) {
	whole := encode(t, BLAKE3, hostileManifest()[:6])
	for i := range whole {
		altered := bytes.Clone(whole)
		altered[i] ^= 1
		for what, damaged := range map[string][]byte{
			"cut": whole[:i], "altered": altered, "without": slices.Delete(bytes.Clone(whole), i, i+1), "doubled": slices.Insert(bytes.Clone(whole), i, whole[i]),
		} {
			_, m, err := ReadManifest(bytes.NewReader(damaged))
			var damage *DamageError
			if !errors.As(err, &damage) || m != nil {
				t.Fatalf("%s at %d: %v, %v", what, i, m, err)
			}
		}
	}
	if _, _, err := ReadManifest(bytes.NewReader(append(whole, 'x'))); err == nil {
		t.Error("an appendix was accepted")
	}
}

// sealed gives lines the right checksum, so that only their sense can be wrong.
func sealed(count int, lines string) string {
	return lines + fmt.Sprintf("end %d %x\n", count, blake3.Sum256([]byte(lines)))
}

func TestReadManifestRejectsNonsense(t *testing.T) {
	const line = "f primary 644 0 1 2 3 4 5 - "
	header := func(n int) string { return fmt.Sprintf("usr-manifest 1 blake3 %d\n", n) }
	for want, text := range map[string]string{
		"line 3: not in ascending order":                     sealed(2, header(2)+line+"\"b\"\n"+line+"\"a\"\n"),
		"line 4: not in ascending order":                     sealed(3, header(3)+line+"\"a\"\n"+line+"\"b\"\n"+line+"\"b\"\n"),
		"line 2: the path is not a plain relative one":       sealed(1, header(1)+line+"\"../b\"\n"),
		"line 2: the path holds a NUL":                       sealed(1, header(1)+line+"\"b\\x00\"\n"),
		"line 2: the path is not quoted as it should be":     sealed(1, header(1)+line+"`b`\n"),
		"line 2: fields are missing":                         sealed(1, header(1)+"f primary 644\n"),
		"line 2: unknown class":                              sealed(1, header(1)+strings.Replace(line, "primary", "prime", 1)+"\"b\"\n"),
		"line 2: unknown kind":                               sealed(1, header(1)+"x"+line[1:]+"\"b\"\n"),
		"line 2: not a number":                               sealed(1, header(1)+strings.Replace(line, "644", "648", 1)+"\"b\"\n"),
		"line 2: impossible mode":                            sealed(1, header(1)+strings.Replace(line, "644", "100644", 1)+"\"b\"\n"),
		"line 2: negative size":                              sealed(1, header(1)+strings.Replace(line, " 1 ", " -1 ", 1)+"\"b\"\n"),
		"line 2: not a digest":                               sealed(1, header(1)+strings.Replace(line, "- ", "abc ", 1)+"\"b\"\n"),
		"line 2: the line is too long":                       header(1) + strings.Repeat("x", 2*maxLine),
		"line 2: it ends in the middle":                      header(100 << 20),
		"line 1: impossible number of entries \"999999999\"": header(999999999),
		"line 1: impossible number of entries \"-1\"":        header(-1),
		"line 1: unknown algorithm \"md5\"":                  "usr-manifest 1 md5 0\n",
		"line 1: version \"2\" is not known to this program": "usr-manifest 2 something new\n",
		"line 1: this is not a manifest":                     "PAR1\n",
		"line 1: it ends in the middle":                      "",
		"line 3: something follows the end":                  sealed(0, header(0)) + "x",
		"line 2: the checksum does not match":                header(0) + "end 0 00\n",
		"line 2: not a number ":                              sealed(1, header(1)+strings.Replace(line, "644", strings.Repeat("9", 5000), 1)+"\"b\"\n"),
	} {
		_, m, err := ReadManifest(strings.NewReader(text))
		if want = "cannot read manifest: " + strings.TrimSpace(want); err == nil || err.Error() != want || m != nil {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, _, err := ReadManifest(iotest.ErrReader(errFull)); !errors.Is(err, errFull) {
		t.Error(err)
	}
}

func FuzzReadManifest(f *testing.F) {
	f.Add(encode(f, BLAKE3, hostileManifest()))
	f.Add([]byte(sealed(0, "usr-manifest 1 - 0\n")))
	f.Fuzz(func(t *testing.T, text []byte) {
		algorithm, m, err := ReadManifest(bytes.NewReader(text))
		if err != nil {
			return
		}
		if _, back, err := ReadManifest(bytes.NewReader(encode(t, algorithm, m))); err != nil || !slices.Equal(back, m) {
			t.Errorf("%v: %q", err, text)
		}
	})
}

// Past the checksum, which no fuzzer would get right.
func FuzzParseEntry(f *testing.F) {
	for _, e := range hostileManifest() {
		f.Add(appendEntry(nil, &e)[:len(appendEntry(nil, &e))-1])
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := parseEntry(line)
		if err != nil || checkEntry(&e, "") != "" {
			return
		}
		again := appendEntry(nil, &e)
		if back, err := parseEntry(again[:len(again)-1]); err != nil || back != e || bytes.Count(again, []byte("\n")) != 1 {
			t.Errorf("%q became %q: %v", line, again, err)
		}
	})
}

func FuzzPathRoundTrip(f *testing.F) {
	for _, name := range hostileNames {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, path string) {
		m := Manifest{{Path: path, Kind: File}}
		var out bytes.Buffer
		if WriteManifest(&out, BLAKE3, m) != nil {
			return
		}
		if _, back, err := ReadManifest(&out); err != nil || back[0].Path != path {
			t.Errorf("%q became %+v, %v", path, back, err)
		}
	})
}

func bigManifest(n int) Manifest {
	m := make(Manifest, n)
	for i := range m {
		m[i] = Entry{Path: fmt.Sprintf("_derived/infer/model-%03d/part-%08d.parquet", i/1000, i), Kind: File, Class: Derived, Mode: 0o644, Gid: 1000,
			Size: int64(i) * 4096, Mtime: 1763900000123456789, Ctime: 1763900000123456789, Dev: 2049, Ino: uint64(i), Digest: sha256.Sum256([]byte{byte(i)})}
	}
	return m
}

func BenchmarkWriteManifest200k(b *testing.B) {
	m := bigManifest(200_000)
	b.ReportAllocs()
	for b.Loop() {
		if err := WriteManifest(io.Discard, BLAKE3, m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadManifest200k(b *testing.B) {
	text := encode(b, BLAKE3, bigManifest(200_000))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := ReadManifest(bytes.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFingerprint200k(b *testing.B) {
	m := bigManifest(200_000)
	b.ReportAllocs()
	for b.Loop() {
		Fingerprint(m)
	}
}
