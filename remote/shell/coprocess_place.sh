# The switch in place: a stage's entries are brought into live, one by one. See remote.Promotion and coprocess.sh.

# mover: a phase of it, by one process. "permitted" refuses what would fail half-way; "bring" brings in what is added, what is
# replaced, then the primary; "log" the event log; "clear" moves out what goes. What is done already is not done again.
# No line begins with a space once it is sent, hence the bars.
mover() { # phase kind: A, M or D is what becomes of the log
  case $renamer in
  perl) perl -MErrno -e "$mover_perl" "$1" "$R" "$live" "$2";;
  mv) "mover_$1" "$2";;
  *) $renamer -c 'import sys; exec(sys.argv.pop(1).replace("\n|", "\n"))' "$mover_python" "$1" "$R" "$live" "$2";;
  esac
}
mover_perl='
  my ($phase, $R, $live, $kind) = @ARGV;
  my ($T, $O, $log) = ("$R/tree", "$R/old", ".events.log");
  sub fail { print STDERR "$_[0]: $!\n"; exit 1 }
  sub there { my @s = lstat $_[0]; @s ? \@s : undef }
  sub isdir { my @s = lstat $_[0]; @s && -d _ }
  sub above { my @d; for (my $i = index $_[0], "/"; $i > 0; $i = index $_[0], "/", $i + 1) { push @d, substr $_[0], 0, $i } @d }
  sub spot { my ($n, $p) = @_; ($n ? "$R/late.$n" : $O) . ($p eq "" ? "" : "/$p") }
  sub makedirs { my ($n, @d) = @_;
    for ("", @d) {
      my $to = spot($n, $_);
      next if isdir($to);
      mkdir $to or fail($to);
      my @s = stat "$live/$_" or next;
      chown -1, $s[5], $to;
      chmod $s[2] & 07777 | 0700, $to or fail($to);
    } }
  sub mv { my ($from, $to) = @_;
    return 1 if rename $from, $to;
    return 0 unless $!{EACCES};
    my (%mode, $ok, $why);
    for ($from, $to) { m{(.*)/}s; $mode{$1} = (stat $1)[2] & 07777 unless -w $1 }
    chmod $mode{$_} | 0700, $_ for keys %mode;
    $ok = rename $from, $to; $why = $!;
    chmod $mode{$_}, $_ for keys %mode;
    $! = $why;
    $ok }
  sub second { my ($from, $to) = @_;
    return if link $from, $to;
    fail($to) unless $!{EPERM} || $!{EMLINK} || $!{ENOSYS} || $!{EOPNOTSUPP} || $!{EINVAL};
    unlink "$R/aside";
    system("cp", "-pP", "--", $from, "$R/aside") == 0 && rename "$R/aside", $to or fail($to) }
  sub save { my $p = shift;
    for (my $n = 0; ; $n++) {
      my $to = spot($n, $p);
      my $was = there($to);
      if (!$was) { makedirs($n, above($p)); return second("$live/$p", $to) }
      my $is = there("$live/$p") or return;
      return if $was->[0] == $is->[0] && $was->[1] == $is->[1];
      return if $was->[7] == $is->[7] && system("cmp", "-s", $to, "$live/$p") == 0;
    } }
  sub aside { my $p = shift;
    my $n = 0;
    $n++ while there(spot($n, $p));
    makedirs($n, above($p));
    mv("$live/$p", spot($n, $p)) or fail("$live/$p") }
  sub put { my $p = shift;
    my ($from, $to) = ("$T/$p", "$live/$p");
    return unless there($from);
    my $dir = isdir($from);
    for (above($p)) {
      next if isdir("$live/$_");
      aside($_) if there("$live/$_");
      return if mv("$T/$_", "$live/$_");
      fail("$live/$_") unless $!{ENOTEMPTY} || $!{EEXIST};
    }
    if (!$dir) { # a rename would replace what another program makes there in the same moment
      my ($is, $was) = (link($from, $to), there($from));
      $is ||= there($to);
      if ($is && (!ref $is || $is->[0] == $was->[0] && $is->[1] == $was->[1])) { unlink $from or fail($from); return }
    }
    if (there($to)) {
      return if $dir && isdir($to);
      $dir || isdir($to) ? aside($p) : save($p);
    }
    mv($from, $to) or fail($to) }
  sub drop { there("$O/$_[0]") || !there("$live/$_[0]") || aside($_[0]) }
  sub records { my $f;
    open $f, "<", "$R/$_[0]" or fail("$R/$_[0]");
    local $/ = "\0";
    map { chomp; [substr($_, 0, 1), substr $_, 2] } <$f> }
  if ($phase eq "log") { # the time that this takes is that of its writers
    $kind eq "D" ? drop($log) : put($log);
    exit;
  }
  my @dirs = records("dirs");
  my @files = grep { $_->[1] ne $log } records("changes");
  sub rank { $_[0][1] eq "records.parquet" ? 2 : $_[0][0] eq "M" }
  if ($phase eq "permitted") {
    my %seen;
    for (@files) {
      my $d = "$live/$_->[1]";
      do { $d =~ s{/[^/]*$}{}s } until -d $d;
      next if $seen{$d}++ || -o $d;
      next if -w $d && -x _;
      $! = 13;
      fail($d);
    }
  } elsif ($phase eq "bring") {
    drop($_->[1]) for grep { $_->[0] ne "A" && $_->[1] =~ /.-(shm|wal|journal)\z/s } @files; # of a database that becomes another one
    put($_->[1]) for (sort { rank($a) <=> rank($b) } grep { $_->[0] ne "D" } @files), grep { $_->[0] eq "A" } @dirs;
  } else {
    drop($_->[1]) for grep { $_->[0] eq "D" } @files;
    for (reverse grep { $_->[0] eq "D" } @dirs) { makedirs(0, above("$_->[1]/")) if rmdir "$live/$_->[1]" }
  }'
mover_python='
|import errno, os, stat, subprocess, sys
|phase, R, live, kind = [os.fsencode(a) for a in sys.argv[1:]]
|T, O, log = R + b"/tree", R + b"/old", b".events.log"
|def there(p):
|    try: return os.lstat(p)
|    except (FileNotFoundError, NotADirectoryError): return None
|def isdir(p):
|    s = there(p)
|    return s is not None and stat.S_ISDIR(s.st_mode)
|def above(p): return [p[:i] for i in range(1, len(p)) if p[i:i + 1] == b"/"]
|def spot(n, p): return (R + b"/late.%d" % n if n else O) + (b"/" + p if p else b"")
|def makedirs(n, dirs):
|    for d in [b""] + dirs:
|        to = spot(n, d)
|        if isdir(to): continue
|        os.mkdir(to)
|        try: s = os.stat(live + b"/" + d)
|        except OSError: continue
|        try: os.chown(to, -1, s.st_gid)
|        except OSError: pass
|        os.chmod(to, s.st_mode & 0o7777 | 0o700)
|def mv(a, b):
|    try: return os.rename(a, b)
|    except PermissionError as e:
|        if e.errno != errno.EACCES: raise
|    dirs = dict((d, os.stat(d).st_mode & 0o7777) for d in map(os.path.dirname, (a, b)) if not os.access(d, os.W_OK))
|    for d in dirs: os.chmod(d, dirs[d] | 0o700)
|    try: os.rename(a, b)
|    finally:
|        for d in dirs: os.chmod(d, dirs[d])
|def second(a, b):
|    try: return os.link(a, b, follow_symlinks=False)
|    except OSError as e:
|        if e.errno not in (errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL): raise
|    if there(R + b"/aside"): os.remove(R + b"/aside")
|    subprocess.check_call(["cp", "-pP", "--", a, R + b"/aside"])
|    os.rename(R + b"/aside", b)
|def save(p):
|    n = 0
|    while True:
|        to = spot(n, p)
|        was, now = there(to), there(live + b"/" + p)
|        if was is None:
|            makedirs(n, above(p))
|            return second(live + b"/" + p, to)
|        if now is None or (was.st_dev, was.st_ino) == (now.st_dev, now.st_ino): return
|        if was.st_size == now.st_size and subprocess.call(["cmp", "-s", to, live + b"/" + p]) == 0: return
|        n += 1
|def aside(p):
|    n = 0
|    while there(spot(n, p)): n += 1
|    makedirs(n, above(p))
|    mv(live + b"/" + p, spot(n, p))
|def put(p):
|    a, b = T + b"/" + p, live + b"/" + p
|    if not there(a): return
|    for d in above(p):
|        if isdir(live + b"/" + d): continue
|        if there(live + b"/" + d): aside(d)
|        try: return mv(T + b"/" + d, live + b"/" + d)
|        except OSError as e:
|            if e.errno not in (errno.ENOTEMPTY, errno.EEXIST): raise
|    if not isdir(a): # a rename would replace what another program makes there in the same moment
|        try: os.link(a, b, follow_symlinks=False)
|        except OSError: pass
|        is_, was = there(b), there(a)
|        if is_ and (is_.st_dev, is_.st_ino) == (was.st_dev, was.st_ino): return os.remove(a)
|    if there(b):
|        if isdir(a) and isdir(b): return
|        (aside if isdir(a) or isdir(b) else save)(p)
|    mv(a, b)
|def drop(p):
|    if not there(O + b"/" + p) and there(live + b"/" + p): aside(p)
|def records(name):
|    with open(R + b"/" + name, "rb") as f: return [(r[:1], r[2:]) for r in f.read().split(b"\0") if r]
|def permitted(dirs):
|    for d in dirs:
|        while not os.path.isdir(d): d = os.path.dirname(d)
|        if os.stat(d).st_uid != os.geteuid() and not os.access(d, os.W_OK | os.X_OK): raise OSError(errno.EACCES, os.strerror(errno.EACCES), d)
|def run():
|    if phase == b"log": return (drop if kind == b"D" else put)(log)
|    dirs = records(b"dirs")
|    files = [c for c in records(b"changes") if c[1] != log]
|    if phase == b"permitted": permitted(sorted(set(os.path.dirname(live + b"/" + p) for _, p in files)))
|    elif phase == b"bring":
|        for k, p in files:
|            if k != b"A" and p.endswith((b"-shm", b"-wal", b"-journal")): drop(p)
|        for p in [c[1] for c in sorted(files, key=lambda c: 2 if c[1] == b"records.parquet" else c[0] == b"M") if c[0] != b"D"] + [p for k, p in dirs if k == b"A"]: put(p)
|    else:
|        for k, p in files:
|            if k == b"D": drop(p)
|        for k, p in reversed(dirs):
|            if k != b"D": continue
|            try: os.rmdir(live + b"/" + p)
|            except OSError: continue
|            makedirs(0, above(p + b"/"))
|try: run()
|except OSError as e: sys.exit("%s: %s" % (os.fsdecode(e.filename2 or e.filename or b""), e.strerror))'

# The same by a process for each call, where there is neither perl nor Python.
mover_permitted() {
  if tr '\0' '\n' <"$R/changes" | grep -q "$soh"; then fail "$live: neither perl nor python3 is there, and mv alone cannot move a name with a control character"; fi
}
soh=$(printf '\001')
each() { # command file kinds...: the command for each path
  command=$1 file=$2; shift 2
  for kinds do
    tr '\0\n' '\n\001' <"$R/$file" | while IFS= read -r record; do
      case $record in $kinds' '*) ;; *) continue;; esac
      record=${record#* }
      case $record in *"$soh"*) record=$(printf '%s.' "$record" | tr '\001' '\n'); record=${record%.};; esac
      $command "$record"
    done
  done
}
isreal() { [ -d "$1" ] && [ ! -L "$1" ]; }
therein() { [ -e "$1" ] || [ -L "$1" ]; }
mover_bring() {
  each bring_first changes M D
  each bring_file changes A M
  each bring_primary changes '[AM]'
  each bring_put dirs A
}
bring_first() { case $1 in *-shm|*-wal|*-journal) bring_drop "$1";; esac; } # of a database that becomes another one
bring_file() { case $1 in records.parquet|.events.log) ;; *) bring_put "$1";; esac; }
bring_primary() { [ "$1" != records.parquet ] || bring_put "$1"; }
mover_log() { if [ "$1" = D ]; then bring_drop .events.log; else bring_put .events.log; fi; }
mover_clear() {
  each clear_file changes D
  # Those below come before those above.
  tr '\0\n' '\n\001' <"$R/dirs" | sed -n 's/^D //p' | sort -r | while IFS= read -r dir; do
    rmdir -- "$live/$dir" 2>/dev/null && makedirs 0 "$dir/" || :
  done
}
clear_file() { [ "$1" = .events.log ] || bring_drop "$1"; }
spot() { if [ "$1" = 0 ]; then at=$R/old/$2; else at=$R/late.$1/$2; fi; }
makedirs() { # n path: the directories above it
  spot "$1" ''
  isreal "$at" || { mkdir -- "$at"; likelive "$at" .; }
  path=$2 dir=
  while :; do
    case $path in */*) ;; *) break;; esac
    dir=$dir${path%%/*} path=${path#*/}
    spot "$1" "$dir"
    isreal "$at" || { mkdir -- "$at"; likelive "$at" "$dir"; }
    dir=$dir/
  done
}
likelive() { # directory path
  [ -d "$live/$2" ] || return 0
  attributes=$(about '%a %g' "$live/$2/.")
  like "$(printf %o $((0${attributes%% *} | 0700)))" "${attributes##* }" "$1"
}
bring_aside() { # path
  n=0
  while spot $n "$1"; therein "$at"; do n=$((n + 1)); done
  makedirs $n "$1"; spot $n "$1"
  mvt "$live/$1" "$at"
}
bring_save() { # path
  n=0
  while spot $n "$1"; therein "$at"; do
    if [ "$at" -ef "$live/$1" ] || cmp -s "$at" "$live/$1"; then return 0; fi
    n=$((n + 1))
  done
  makedirs $n "$1"; spot $n "$1"
  if $hardlink -- "$live/$1" "$at" 2>/dev/null; then return; fi
  rm -f -- "$R/aside"
  cp -pP -- "$live/$1" "$R/aside"
  mvt "$R/aside" "$at"
}
bring_put() { # path
  therein "$T/$1" || return 0
  rest=$1 way=
  while :; do
    case $rest in */*) ;; *) break;; esac
    way=$way${rest%%/*} rest=${rest#*/}
    if ! isreal "$live/$way"; then
      ! therein "$live/$way" || bring_aside "$way"
      if mvt "$T/$way" "$live/$way"; then return; fi
      isreal "$live/$way" || exit 1
    fi
    way=$way/
  done
  if ! isreal "$T/$1" && ! isreal "$live/$1"; then # a rename would replace what another program makes there in the same moment
    $hardlink -- "$T/$1" "$live/$1" 2>/dev/null || :
    if [ "$T/$1" -ef "$live/$1" ] && [ ! -L "$live/$1" ]; then rm -f -- "$T/$1"; return; fi
  fi
  if therein "$live/$1"; then
    if isreal "$T/$1" && isreal "$live/$1"; then return; fi
    if isreal "$T/$1" || isreal "$live/$1"; then bring_aside "$1"; else bring_save "$1"; fi
  fi
  mvt "$T/$1" "$live/$1"
}
bring_drop() { # path
  if therein "$R/old/$1" || ! therein "$live/$1"; then return 0; fi
  bring_aside "$1"
}

# -- the steps ------------------------------------------------------------------------------------------------------

log_kind() { log=$(tr '\0' '\n' <"$R/changes" | sed -n 's/^\([AMD]\) \.events\.log$/\1/p'); }
begin_inplace() { # directories log-size seconds: up to the journal there is a way back
  fresh_names "$R/dirs" "$1"
  harden "$R/dirs"
  mover permitted ''
  log_kind
  if [ -n "$log" ]; then hold "$live" "$3"; letgo; fi
  makestate "$root" stage "$key" "$run" old
  cd /
  staged=-1
  [ ! -e "$T/.events.log" ] || staged=$(($(wc -c <"$T/.events.log")))
  case $2 in -) listed=-1;; *) listed=$2;; esac
}
inplace() {
  held=0
  log_kind
  mover bring ''
  if [ -n "$log" ]; then
    cut_log
    hold "$live" 30
    now; since=$t
    inplace_log
    letgo
    now; held=$((t - since))
  fi
  mover clear ''
  do_flush "$live"
  find "$T" -depth -type d -exec rmdir -- {} + || fail "$T: not every file could be moved"
  finish_inplace
}
# cut_log: a staged log that was written to before a death loses what was added.
cut_log() {
  if [ -e "$T/.events.log" ] && [ "$(wc -c <"$T/.events.log")" -gt "$staged" ]; then
    rm -f -- "$R/aside"
    head -c "$staged" -- "$T/.events.log" >"$R/aside"
    mvt "$R/aside" "$T/.events.log"
  fi
}
# inplace_log: what live's log has got since it was listed follows the staged one.
inplace_log() {
  end=$listed
  if [ -e "$T/.events.log" ]; then
    [ "$listed" -lt 0 ] || follow "$live/.events.log" "$listed" "$T/.events.log"
  elif [ "$staged" -ge 0 ]; then return
  fi
  mover log "$log"
  [ "$listed" -lt 0 ] || follow "$R/old/.events.log" "$end" "$live/.events.log" # of who took no lock
}
finish_inplace() {
  if [ "$keep" = 0 ]; then enter "${R%/*}"; droprun "${R##*/}"; return; fi
  [ ! -e "$R/old" ] || mvt "$R/old" "$T"
  enter "$R"; erase ./copies ./dirs; cd /
  makestate "$root" generations "$key"
  cd /
  mvt "$R" "$G/$run"
  harden "$S/stage/$key" "$G"
}
# unmoved: nothing of live was touched yet.
unmoved() {
  [ -z "$(find "$R/old" ! -type d | head -n 1)" ] &&
    [ "$(find "$T" ! -type d -exec echo x \; | wc -l)" -eq "$(tr '\0\n' '\n ' <"$R/changes" | grep -c '^[AM] ')" ]
}
resume_inplace() {
  [ -e "$R" ] || return 0
  mkdir -p -- "$live"
  if [ -z "$lock" ]; then
    makelock "$live" .usr.lock
    st=0; obtain 9 "$live/.usr.lock" 30 || st=$?
    case $st in 0) ;; 40) put busy "$live/.usr.lock"; exit 40;; *) fail "$live/.usr.lock: ${err:-it cannot be locked}";; esac
  fi
  if [ "$(inode "$T")" = "$new" ]; then inplace; else finish_inplace; fi
}
