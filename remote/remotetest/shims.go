package remotetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Shim writes an executable shell script into dir, to be found before the real program of that name when dir
// stands first on a PATH. What bore the name in dir before is replaced, never written through.
func Shim(dir, name, script string) error {
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755)
}

// Real is the absolute path of a program on this process's PATH, for the scripts below. It panics where there is
// none: a test bed without the program is of no use.
func Real(name string) string {
	path, err := exec.LookPath(name)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		panic(fmt.Sprintf("cannot build a test without %s: %v", name, err))
	}
	return path
}

// HidePath fills dir with links to every program on PATH but the named ones, so that a PATH of dir alone is this
// machine without them. Shims may be put into dir afterwards.
func HidePath(dir string, without ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, from := range filepath.SplitList(os.Getenv("PATH")) {
		entries, _ := os.ReadDir(from) // PATH may name what does not exist
		for _, e := range entries {
			if slices.Contains(without, e.Name()) {
				continue
			}
			if err := os.Symlink(filepath.Join(from, e.Name()), filepath.Join(dir, e.Name())); err != nil && !os.IsExist(err) {
				return err
			}
		}
	}
	return nil
}

// Refuse is the script of a program that does not know some options: it stands for an older or another version.
// An argument is refused if it is one of the options or begins with one followed by "=".
func Refuse(real string, options ...string) string {
	return fmt.Sprintf(`for a in "$@"; do
  case $a in
  %s) echo "${0##*/}: $a: unknown option" >&2; exit 1 ;;
  esac
done
exec %s "$@"`, optionPattern(options), shellQuote(real))
}

// optionPattern is the pattern of a case, for the options themselves and for them with a value.
func optionPattern(options []string) string {
	var words []string
	for _, o := range options {
		words = append(words, shellQuote(o), shellQuote(o+"=")+"*")
	}
	return strings.Join(words, "|")
}

// unknownTo313 are options that rsync 3.1.3, the one of Enterprise Linux 8, does not have (rsync's NEWS).
var unknownTo313 = []string{"--old-args", "--no-old-args", "--secluded-args", "--trust-sender", "--mkpath", "--fsync",
	"--stderr", "--compress-choice", "--zc", "--checksum-choice", "--cc", "--max-alloc", "--atimes", "--open-noatime",
	"--crtimes", "--write-devices", "--copy-devices", "--copy-as", "--early-input", "--stop-after", "--stop-at",
	"--no-msgs2stderr"}

// Rsync313 is the script of an rsync that calls itself 3.1.3 and refuses what 3.1.3 does not know.
func Rsync313(real string) string {
	return `case "$*" in
--version|-V) printf 'rsync  version 3.1.3  protocol version 31\nCapabilities:\n    64-bit files, 64-bit inums, 64-bit timestamps, 64-bit long ints,\n    socketpairs, hardlinks, symlinks, IPv6, batchfiles, inplace,\n    append, ACLs, xattrs, iconv, symtimes, prealloc\n'; exit 0 ;;
esac
` + Refuse(real, unknownTo313...)
}

// OpenRsync is the script of what macOS has in rsync's place: it says who it is and refuses what it lacks.
func OpenRsync(real string) string {
	return `case "$*" in
--version|-V) printf 'openrsync: protocol version 29\nrsync version 2.6.9 compatible\n'; exit 0 ;;
esac
` + Refuse(real, "--info", "-s", "--append-verify", "--outbuf", "--no-inc-recursive", "--protect-args", "--modify-window")
}

// FileFlags is the script of an rsync with the patch fileflags.diff, as Homebrew and MacPorts build it: what it itemizes has
// a twelfth character, for BSD's file flags. It is for the side that prints.
func FileFlags(real string) string {
	return fmt.Sprintf(`case " $* " in *" --server "*|*" --version "*) exec %[1]s "$@";; esac
exec 4>&1
code=$( { { %[1]s "$@" 3>&-; echo $? >&3; } | perl -pe '
  BEGIN { $| = 1; $/ = \1 }
  # a byte at a time, for rsync prints records of progress without an end of line
  $line .= $_; $line = "" if /[\r\n]/;
  if ($line =~ /^[A-Z2-7]{26} [<>ch.][fdLDS].{8}(.)\|$/) { $_ = ($1 eq "+" || $1 eq " " ? $1 : ".") . "|" }
' >&4; } 3>&1 )
exit "$code"`, shellQuote(real))
}

// Unverified is the script of an rsync that cannot go on with the interrupted files that it is given in a partial
// directory, which is somewhere in stage: an absolute one, as receivers 3.4.0 to 3.4.3 (rsync's issue 715), or with any set,
// whichever. Where it has failed it adds a line to log.
func Unverified(real, stage, log string, any bool) string {
	pattern := "--partial-dir=/*"
	if any {
		pattern = "--partial-dir=*"
	}
	return fmt.Sprintf(`for a in "$@"; do
  case $a in
  %s) if [ -n "$(find %s -path '*partial*' -type f 2>/dev/null)" ]; then
    echo failed >> %s
    echo 'ERROR: _derived/big.parquet failed verification -- update put into partial-dir.' >&2
    exit 23
  fi ;;
  esac
done
exec %s "$@"`, pattern, shellQuote(stage), shellQuote(log), shellQuote(real))
}

// FlipByte is the script of an rsync that does its work and then changes one byte in the middle of every staged
// copy of rel below root's state directory. The size stays, and the time too if keepTime. Files with further hard
// links are left alone: they are not rsync's work, and live might be at the other end.
func FlipByte(real, root, rel string, keepTime bool) string {
	restore := ":"
	if keepTime {
		restore = `touch -r "$f.time" "$f"`
	}
	return fmt.Sprintf(`%s "$@"
code=$?
find %s/.usr-sync/stage -type f -links 1 -path %s 2>/dev/null | while IFS= read -r f; do
  touch -r "$f" "$f.time"
  at=$(( $(wc -c < "$f") / 2 ))
  old=$(od -An -tu1 -j "$at" -N1 "$f")
  printf "\\$(printf %%o $(( (old + 1) %% 256 )))" | dd of="$f" bs=1 seek="$at" conv=notrunc 2>/dev/null
  %s
  rm -f "$f.time"
done
exit $code`, shellQuote(real), shellQuote(root), shellQuote("*/tree/"+globQuote(rel)), restore)
}

// KillTransfer is the script of an ssh whose rsync connections are killed (SIGKILL) as soon as some file that is
// being staged below root exceeds n bytes; the first `times` of them, counted in the file counter. Everything else
// passes.
func KillTransfer(real, root, counter string, n int64, times int) string {
	return fmt.Sprintf(`case " $* " in *" --server "*) ;; *) exec %[1]s "$@" ;; esac
[ -e %[2]s ] || : > %[2]s
[ "$(wc -l < %[2]s)" -lt %[3]d ] || exec %[1]s "$@"
exec 3<&0
%[1]s "$@" <&3 &
child=$!
exec 3<&-
while kill -0 $child 2>/dev/null; do
  if [ -n "$(find %[4]s/.usr-sync/stage -type f -links 1 -size +%[5]dc 2>/dev/null | head -n 1)" ]; then
    echo killed >> %[2]s
    kill -KILL $child
    break
  fi
done
wait $child
exit $?`, shellQuote(real), shellQuote(counter), times, shellQuote(root), n)
}

// Failing is the script of a program that prints a message and ends with a code, the first `times` times that it
// is run with an argument equal to when ("" is always), counted in the file counter; then it is the real one.
func Failing(real, when, counter, message string, code, times int) string {
	condition := "hit=1"
	if when != "" {
		condition = `hit=; for a in "$@"; do if [ "$a" = ` + shellQuote(when) + ` ]; then hit=1; fi; done`
	}
	return fmt.Sprintf(`%s
[ -e %[3]s ] || : > %[3]s
if [ -n "$hit" ] && [ "$(wc -l < %[3]s)" -lt %[4]d ]; then
  echo failed >> %[3]s
  printf '%%s\n' %[5]s >&2
  exit %[6]d
fi
exec %[2]s "$@"`, condition, shellQuote(real), shellQuote(counter), times, shellQuote(message), code)
}

// Counting is the script of a program that adds a line with its arguments to the file log, then does its work.
// What it adds is one line a run, whatever the arguments hold.
func Counting(real, log string) string {
	return fmt.Sprintf(`printf '%%s\n' "$(printf '%%s ' "$@" | tr '\n' ' ')" >> %s
exec %s "$@"`, shellQuote(log), shellQuote(real))
}

func globQuote(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// BusyBox fills dir with the applets of the busybox on this process's PATH and with links to the named programs, so that a
// PATH of dir alone is a host that has nothing else, such as Alpine or a router.
func BusyBox(dir string, with ...string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if out, err := exec.Command(Real("busybox"), "--install", "-s", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot install the applets of busybox: %w: %s", err, out)
	}
	for _, name := range with {
		link := filepath.Join(dir, name)
		if err := os.Remove(link); err != nil && !os.IsNotExist(err) {
			return err
		}
		if err := os.Symlink(Real(name), link); err != nil {
			return err
		}
	}
	return nil
}

// BSD fills dir with links to every program on PATH, and with FreeBSD's in the place of GNU's, as far as they differ in what a
// remote shell uses. Its find has a -printf, which knows no %P; flock(1), b3sum, openssl and sha256sum are not there.
func BSD(dir string) error {
	if err := HidePath(dir, "flock", "b3sum", "openssl", "sha256sum"); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "stat.pl"), []byte(strings.ReplaceAll(bsdStat, "REAL", Real("stat"))), 0o644); err != nil {
		return err
	}
	for name, script := range map[string]string{
		"stat":  shellQuote(Real("perl")) + " " + shellQuote(filepath.Join(dir, "stat.pl")) + ` "$@"`,
		"sync":  "[ $# = 0 ]",
		"uname": shellQuote(Real("uname")) + ` "$@" | sed s/Linux/FreeBSD/`,
		"find":  `case "$*" in *%P*) echo "find: -printf: unknown directive" >&2; exit 1 ;; esac` + "\n" + Refuse(Real("find"), "-ignore_readdir_race"),
		"cp":    Refuse(Real("cp"), "--help", "--parents", "-t", "-lP"),
		"mv":    OldMove(),
		"ln":    `[ "$1" != -P ] || { echo "ln: illegal option -- P" >&2; exit 1; }` + "\nexec " + shellQuote(Real("ln")) + ` "$@"`,
		"chmod": Refuse(Real("chmod"), "--reference"),
		"touch": `case "$*" in *@*) echo "touch: out of range or illegal time specification" >&2; exit 1 ;; esac` + "\nexec " + shellQuote(Real("touch")) + ` "$@"`,
	} {
		if err := Shim(dir, name, script); err != nil {
			return err
		}
	}
	return nil
}

// OldMove is the script of an mv that knows neither --help nor a target that is no directory, as macOS has it.
func OldMove() string {
	return Refuse(Real("mv"), "--help", "-T", "-fT", "-nT", "-n", "--no-copy", "--exchange")
}

// bsdStat is BSD's stat, as far as its formats are used, on this host's. Without a name it tells of its standard input.
const bsdStat = `use strict;
die "stat: illegal option\n" unless $ARGV[0] eq "-f";
shift; my $format = shift; shift if @ARGV and $ARGV[0] eq "--";
my $bad = 0;
for my $name (@ARGV ? @ARGV : "/dev/stdin") {
	my @s = @ARGV ? lstat $name : stat STDIN;
	unless (@s) { warn "stat: $name: $!\n"; $bad = 1; next }
	chomp(my $times = do { open my $p, "-|", "REAL", "-c", "%.9Y %.9Z", "--", $name; <$p> });
	my ($m, $c) = split / /, $times;
	my %v = (d => $s[0], i => $s[1], p => sprintf("%o", $s[2]), g => $s[5], z => $s[7], m => int $m, Fm => $m, Fc => $c,
		Mp => sprintf("%o", $s[2] >> 9 & 7), Lp => sprintf("%03o", $s[2] & 0777), N => $name);
	(my $line = $format) =~ s/%(Fm|Fc|Mp|Lp|[dipgzmN])/$v{$1}/g;
	print "$line\n";
}
exit $bad;
`
