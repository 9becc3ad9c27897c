# What the remote shell changes: state directory, stages, promotion, recovery. See coprocess.sh.

# like: group first, for that clears setgid; a group that this user may not give is let be. Without the zeros chmod
# leaves setgid of directories alone.
# What a file system has no mode for, such as FAT, is let be as well.
like() {
  m=$1 g=$2; shift 2
  chgrp "$g" "$@" 2>/dev/null || :
  refused=$(chmod "00$m" "$@" 2>&1) || modeless
}
modeless() { case $refused in *'not permitted'*|*'not implemented'*|*'not supported'*) ;; *) printf '%s\n' "$refused" >&2; return 1;; esac; }
# makestate: S and the directory of these names below it, which is entered. In a root that a group writes to S is the
# group's as well: whoever runs next must be able to recover what this run leaves.
makestate() { # root name...
  enter "$1"
  shift
  step .usr-sync || makefirst
  [ -e ./.gitignore ] || [ -L ./.gitignore ] || (set -C; echo '*' >./.gitignore) 2>/dev/null || [ -e ./.gitignore ] || fail "${PWD%/}/.gitignore: it cannot be made"
  attributes=
  for name do
    step "$name" && continue
    [ -n "$attributes" ] || attributes=$(about '%a %g' .) || exit 1
    mode=0${attributes%% *}
    makedir "./$name" || [ -d "./$name" ] || exit 1 # another transaction is as good
    # Below a directory with setgid it is what it is to be from the start: a death here leaves none that others cannot use.
    [ $((mode & 02000)) != 0 ] || [ $((mode & 070)) = 0 ] || like "${mode#0}" "${attributes##* }" "./$name"
    step "$name" || exit 1
  done
}
# makedir: with no more than $mode allows.
makedir() ( # dir
  hidden=$((0777 & ~mode))
  umask $((hidden / 64 * 100 + hidden / 8 % 8 * 10 + hidden % 8))
  exec mkdir -- "$1"
)
# makefirst: S is made beside, with mode, group and list, renamed and entered: a death on the way leaves none that others
# cannot use. Another session of this user makes the same one, and whoever makes it at the same time is as good. Plain mv,
# which replaces and may refuse, is not asked.
makefirst() {
  attributes=$(about '%a %g' .) || exit 1
  mode=0${attributes%% *}
  [ -n "$renamer" ] || learn_renamer
  made=./.usr-sync%new-$(id -u) attempts=0 last=
  [ $renamer != mv ] || made=./.usr-sync
  [ $((mode & 020)) = 0 ] && mode=0700 || mode=$((02700 | (mode & 070)))
  while ! step .usr-sync; do
    attempts=$((attempts + 1))
    [ $attempts -lt 20 ] || fail "${PWD%/}/.usr-sync: ${last##*: }"
    last=$(exec 2>&1
      makedir "$made" || { [ -O "$made" ] && [ -d "$made" ] && [ ! -L "$made" ]; } || exit 1
      xattrs list . "$made" system.posix_acl_access >/dev/null || exit 1
      [ $((mode)) = $((0700)) ] || like "$(printf %o "$mode")" "${attributes##* }" "$made" || exit 1
      [ "$made" = ./.usr-sync ] || renames n "$made" ./.usr-sync) || :
  done
  if [ "$made" != ./.usr-sync ] && [ -d "../$made" ]; then rmdir -- "../$made" 2>/dev/null || :; fi
}
# fresh: a new file of this text. What has its name goes; a link or fifo is not written to. Whoever may enter the state
# directory can read it, whatever the umask: he must be able to finish what a dead run began.
fresh() { # file text
  [ ! -e "$1" ] && [ ! -L "$1" ] || rm -f -- "$1"
  (set -C; umask 027; printf %s "$2" >"$1")
}
fresh_names() { # file escaped
  fresh "$1" ''
  printf %b "$2" >"$1"
}
do_stage() { # root key run live exchange: 1 where that is to be tried
  held "$1" "$2"
  R=$1/.usr-sync/stage/$2/$3
  if [ -e "$R" ] || [ -L "$R" ]; then fail "$R: File exists"; fi
  locate "$4"
  replaceable
  makestate "$1" stage "$2" "$3" copies
  enter "$R"
  mkdir -- tree
  step tree
  attributes=$(about '%a %g' "$near/.")
  mode=0${attributes%% *} gid=${attributes##* }
  if [ -z "$there" ]; then
    parent=$mode
    mode=$((0777 & ~0$(umask)))
    if [ -n "$(xattrs list "$near/." . system.posix_acl_default)" ]; then # which takes its place
      own=$(about '%a %g' .); mode=0${own%% *}; mode=$((mode & 0777))
    fi
    if [ $((parent & 02000)) != 0 ]; then mode=$((mode | 02000))
    elif [ "$(uname -s)" != Darwin ]; then gid=$(id -g); fi
    mode=0$(printf %o $mode)
  fi
  [ -z "$there" ] || printf '.\0' | xattrs dress "$near" .
  like "${mode#0}" "$gid" .
  if [ -n "$there" ]; then sameproject "$near"; fi
  naming "$1"
  [ -n "$whole" ] || set -- "$1" "$2" "$3" "$4" 0
  (tried "$R" "$5")
}
# replaceable: whether what locate has found can be replaced as a whole by this user ($whole), or entry by entry. Where
# neither is allowed it says so.
replaceable() {
  whole=1
  [ "$(id -u)" != 0 ] || return 0
  if [ ! -O "$near" ] && { [ ! -w "$near" ] || [ ! -x "$near" ]; }; then forbidden "$near" 'this user may not write to it'; fi
  [ -n "$there" ] || return 0
  up=${near%/*}/.
  if [ -k "$near" ] && [ ! -O "$near" ]; then forbidden "$near" 'it is sticky, so that nobody else can replace files in it'; fi
  if [ ! -w "$up" ] || { [ -k "$up" ] && [ ! -O "$up" ] && [ ! -O "$near" ]; }; then whole=; fi
}
# sameproject refuses a directory that takes in only what is in its own project (quotas), unless this one is in it as well.
sameproject() { # dir
  theirs=$(lsattr -pd -- "$1/." 2>/dev/null) || return 0
  ours=$(lsattr -pd -- . 2>/dev/null) || return 0
  set -- "$1" $theirs
  case $3 in *P*) ;; *) return 0;; esac
  theirs=$2
  set -- "$1" $ours
  [ "$theirs" = "$2" ] || fail "$1: its project (quota) is another: Invalid cross-device link"
}
forbidden() { # dir why
  owner=$(ls -ld -- "$1/." | awk '{ print $3 " (" $1 ")" }')
  fail "$1 belongs to $owner, and $2: Permission denied"
}
# tried: what a stage can count on, on directories and files that are new. There are file systems that report the success of an
# exchange, which one process is to make, and destroy; and such that show a file by another inode under each of its names.
tried() { # directory of a run, exchange: 1 where that is to be tried
  [ -n "$renamer" ] || learn_renamer
  enter "$1"
  mkdir -p -- try/a/in-a try/b/in-b || exit 1
  : >try/one
  if ! $hardlink -- try/one try/other 2>/dev/null; then :
  elif ! [ try/one -ef try/other ]; then put renumbers 1
  elif [ "$2" = 1 ] && [ $renamer != mv ]; then
    renames x try/a try/b 2>/dev/null || :
    if [ -d try/a/in-b ] && [ -d try/b/in-a ]; then put exchange 1; fi
  fi
  erase ./try
}
# place: the names, from the working directory to another, by "cp $how"; directories are made.
if cp --help 2>&1 | grep -q -e --parents; then gnu_cp=1; else gnu_cp=; fi
case $(ln -P / /dev/null/x 2>&1) in *option*) hardlink="ln";; *) hardlink='ln -P';; esac
place() { # to how existing: how is "-lP" or "-pP"; existing "same" passes over what is the same file there already
  names | xargs -0 -n 1000 sh -c '
    to=$1 how=$2 existing=$3 gnu=$4 hardlink=$5; shift 5
    dirs= skip=
    for p do
      if [ -d "$p" ] && [ ! -L "$p" ]; then dirs=1
      elif [ -e "$to/$p" ] || [ -L "$to/$p" ]; then
        [ "$existing" = same ] && [ "$p" -ef "$to/$p" ] || { echo "$to/$p: File exists" >&2; exit 1; }
        skip=1
      elif [ "$existing" = same ] && [ ! -e "$p" ] && [ ! -L "$p" ]; then skip=1
      fi
    done
    if [ -n "$dirs" ]; then
      for p do if [ -d "$p" ] && [ ! -L "$p" ]; then printf "%s\0" "$p"; fi; done | (cd -- "$to" && xargs -0 mkdir -p --) || exit 1
    fi
    if [ -n "$dirs$skip" ]; then
      for p do
        shift
        { [ -d "$p" ] && [ ! -L "$p" ]; } || { [ -n "$skip" ] && { [ -e "$to/$p" ] || { [ ! -e "$p" ] && [ ! -L "$p" ]; }; }; } || set -- "$@" "$p"
      done
      [ $# -gt 0 ] || exit 0
    fi
    if [ -n "$gnu" ]; then exec cp $how --parents -t "$to" -- "$@"; fi
    last=
    for p do
      d=${p%/*}
      [ "$d" = "$last" ] || mkdir -p -- "$to/$d" || exit 1
      last=$d
      if [ "$how" = -lP ]; then $hardlink -- "$p" "$to/$p"; else cp -pP -- "$p" "$to/$p"; fi || exit 1
    done' sh "$1" "$2" "$3" "$gnu_cp" "$hardlink"
}
# likewise: the directories on the way to the names become there what they are here.
likewise() { # to
  names | xargs -0 -n 1000 sh -c '
    last=.
    for d do
      while d=${d%/*} && [ "$d" != . ] && [ "$d" != "$last" ]; do
        [ ! -d "$d" ] || printf "%s\0" "$d"
        last=$d
      done
    done' | xargs -0 sh -c '
    to=$1 modegroup=$2; shift 2
    for d do
      is=$($modegroup "$d") || exit 1
      [ "$is" != "$($modegroup "$to/$d")" ] || continue
      chgrp "${is#*:}" "$to/$d" 2>/dev/null
      chmod "00${is%:*}" "$to/$d" || exit 1
    done' sh "$1" "$modegroup"
}
do_names() { # root key run file more; words: a list for an rsync that runs here
  held "$1" "$2"
  makestate "$1" stage "$2" "$3" names
  [ "$5" = 1 ] || fresh "./$4" ''
  names >>"./$4"
}
do_link() { # from to copy: 1 where what can have no second name is to be copied
  [ -e "$2" ] || [ -L "$2" ] || (enter "${2%/*}"; mkdir -- "./${2##*/}")
  sound "$2"; enter "$1"
  ! said=$( (place "$2" -lP '') 2>&1) || return 0
  case $said in
  *'not permitted'*|*'not supported'*|*'not implemented'*|*'Too many links'*|*'ross-device'*) ;;
  *) fail "$said";;
  esac
  if [ "$3" = 1 ]; then copying; place "$2" "$copied" same; return; fi
  (cd -- "$2" && names | xargs -0 rm -f -- 2>/dev/null) || :
  printf '%s\n' "$said" >&2
  exit 45
}
do_writable() { # dir
  enter "$1"
  if [ "$(id -u)" != 0 ]; then
    [ -z "$(find . -type d -perm -1000 ! -user "$(id -u)" | head -n 1)" ] || return 0
    find . -type d -exec sh -c 'for d do [ -O "$d" ] || { [ -w "$d" ] && [ -x "$d" ]; } || exit 1; done' sh {} + || return 0
  fi
  put writable 1
}
# copying: how cp is asked for a copy. One that shares blocks is made where it can be.
copying() { copied=-pP; ! cp --help 2>&1 | grep -q -e --reflink || copied='-pP --reflink=auto'; }
do_copy() { sound "$2"; enter "$1"; copying; place "$2" "$copied" ''; }
# timed: gives a file a time of modification, YYYY-MM-DDThh:mm:ss.nnnnnnnnnZ; busybox's touch knows no fractions.
timed='timed() {
  touch -c -m -d "$1" -- "$2" 2>/dev/null && return
  t=${1%.*}
  TZ=UTC0 touch -c -m -d "${t%T*} ${t#*T}" -- "$2"
}
'
eval "$timed"
# The spare: see Spare, Drop, UseSpare and Retire of a side.
do_spare() { held "$1" "$2"; makestate "$1" spare "$2"; } # root key
do_drop() { enter "$1"; names | dropped; } # dir; names
# dropped: names from standard input go, with what is below. No link is followed on the way to one.
dropped() {
  xargs -0 -n 1000 sh -c '
    last=.
    for p do
      d=${p%/*}
      [ "$d" != "$last" ] || continue
      last=$d
      while [ "$d" != . ]; do
        [ ! -L "$d" ] || { echo "$PWD/${d#./}: a symbolic link" >&2; exit 1; }
        d=${d%/*}
      done
    done
    rm -rf -- "$@" 2>/dev/null || { find "$@" -type d -exec chmod u+rwx {} \; 2>/dev/null; exec rm -rf -- "$@"; }' sh
}
do_usespare() { # root key run
  held "$1" "$2"; paths "$1" "$2" "$3"
  sound "$T" "$S/spare/$2"
  enter "$R"
  attributes=$(about '%a %g' ./tree)
  renames r tree gone r "$S/spare/$2" tree
  like ${attributes%% *} ${attributes##* } ./tree
  erase ./gone
}
do_retire() { # root key run; names
  held "$1" "$2"; paths "$1" "$2" "$3"
  sound "$G/$3/tree"
  [ ! -e "$S/spare/$2" ] || { enter "$S/spare"; erase "./$2"; }
  (enter "$G/$3"; thinned) || exit $?
  makestate "$1" spare
  mvt "$G/$3/tree" "./$2"
  step "$2"
  plainfile "$G/$3/changes" || planted "$G/$3/changes"
  {
    [ ! -e "$G/$3/changes" ] || xargs -0 sh -c 'for c do case $c in [MD]\ *) printf "./%s\0" "${c#??}";; esac; done' sh <"$G/$3/changes"
    names
    printf './.usr.lock\0'
  } | dropped
}
do_copyas() { # tree; three words a file: from, to, time
  sound "$1"
  enter "$1"
  copying
  names | xargs -0 -n 300 sh -c "$timed"'
    how=$1; shift
    while [ $# -gt 0 ]; do
      if [ -f "$1" ] && [ -r "$1" ] && [ ! -L "$1" ]; then
        mkdir -p -- "./${2%"${2##*/}"}" && rm -f -- "./$2" && cp $how -- "$1" "./$2" && timed "$3" "./$2" || exit 1
      fi
      shift 3
    done' sh "$copied"
}
# What a writer without the lock left in the old tree while the trees were switched. ln makes nothing that is there.
do_movein() { # old live ./file
  sound "$1"
  mkdir -p -- "$2/${3%/*}"
  $hardlink -- "$1/$3" "$2/$3"
  rm -f -- "$1/$3"
}
do_swapin() { # old live ./file
  sound "$1"
  $hardlink -- "$2/$3" "$1/../aside"
  renames r "$1/$3" "$2/$3" r "$1/../aside" "$1/$3"
}
do_setdirs() { # dir mode gid
  enter "$1"
  names | xargs -0 sh -c '
    mode=$1 gid=$2; shift 2
    for p do [ -d "$p" ] && [ ! -L "$p" ] || { echo "$p: Not a directory" >&2; exit 1; }; done
    chgrp "$gid" "$@" 2>/dev/null
    exec chmod "00$mode" "$@"' sh "$2" "$3"
}
# attributes: "dress" gives the directories named on standard input the extended attributes that those of the same names have in
# another place, and no more; "list" gives one directory a list of another one, for itself and for what is made in it, or none,
# and says whether there is one. Without perl and Python nothing does.
do_dress() { # from to
  sound "$2"
  names | xattrs dress "$1" "$2"
}
xattrs() { # dress from to | list from to attribute
  [ -n "$renamer" ] || learn_renamer
  case $(uname -m) in
  x86_64) numbers='192 189 195 198';; aarch64|riscv64) numbers='9 6 12 15';; *) numbers='0 0 0 0';;
  esac
  [ "$(uname -s)" = Linux ] || renamer_of=none
  case ${renamer_of-$renamer} in
  mv|none) ;;
  perl) perl -e "$xattrs_perl" $numbers "$@";;
  *) $renamer -c 'import sys; exec(sys.argv.pop(1).replace("\n|", "\n"))' "$xattrs_python" "$@";;
  esac
}
xattrs_perl='
  ($get, $set, $list, $drop, $what, $from, $to, $attribute) = @ARGV;
  exit unless $get;
  $_ += 0 for $get, $set, $list, $drop;
  ($access, $default) = map { "system.posix_acl_$_" } "access", "default";
  sub value { my ($p, $k) = @_; my $b = "\0" x 65536; my $n = syscall $get, $p, $k, $b, 65536; $n < 0 ? undef : substr $b, 0, $n }
  sub all { my $p = shift; my $b = "\0" x 65536; my $n = syscall $list, $p, $b, 65536;
    $n > 0 ? grep { $_ eq $access || $_ eq $default || !/^(system|security)[.]/ } split /\0/, substr $b, 0, $n : () }
  sub give { my ($p, $k, $v) = @_; syscall($set, $p, $k, $v, length $v, 0) == 0 || $k !~ /^system/ or die "$p: $!\n" }
  if ($what eq "list") {
    $v = value($from, $attribute);
    for ($access, $default) { defined $v ? give($to, $_, $v) : syscall $drop, $to, $_ }
    print 1 if defined $v;
    exit;
  }
  $/ = "\0";
  for $d (map { chomp; $_ } <STDIN>) {
    my ($x, $y) = ("$from/$d", "$to/$d");
    next unless -d $x;
    -d $y or mkdir $y or die "$y: $!\n";
    my %has = map { $_ => value($x, $_) } all($x);
    $has{$_} // syscall $drop, $y, $_ for all($y);
    give($y, $_, $has{$_}) for grep { defined $has{$_} } keys %has;
  }'
xattrs_python='
|import os, sys
|what, x, y = sys.argv[1], os.fsencode(sys.argv[2]), os.fsencode(sys.argv[3])
|lists = ["system.posix_acl_access", "system.posix_acl_default"]
|def value(p, k):
|    try: return os.getxattr(p, k, follow_symlinks=False)
|    except OSError: return None
|def every(p):
|    try: return [k for k in os.listxattr(p, follow_symlinks=False) if k in lists or not k.startswith(("system.", "security."))]
|    except OSError: return []
|def give(p, k, v):
|    try: os.setxattr(p, k, v, follow_symlinks=False) if v is not None else os.removexattr(p, k, follow_symlinks=False)
|    except OSError as e:
|        if v is not None and k in lists: sys.exit("%s: %s" % (os.fsdecode(p), e.strerror))
|if what == "list":
|    v = value(x, sys.argv[4])
|    for k in lists: give(y, k, v)
|    if v is not None: print(1, end="")
|else:
|    for d in sys.stdin.buffer.read().split(b"\0"):
|        a, b = x + b"/" + d, y + b"/" + d
|        if not d or not os.path.isdir(a): continue
|        if not os.path.isdir(b): os.mkdir(b)
|        has = every(a)
|        for k in every(b):
|            if k not in has: give(b, k, None)
|        for k in has: give(b, k, value(a, k))'
do_settime() { # live ./file inode seconds-that-it-has time
  enter "$1"
  [ -f "$2" ] && [ ! -L "$2" ] && [ "$(about %i "$2")" = "$3" ] || return 0
  has=$(about %Y "$2")
  [ "${has%%.*}" != "$4" ] || timed "$5" "$2"
}
do_flush() { # dir; names below it, or none for all of the file system
  enter "$1"
  if [ -z "$payload" ]; then said=$(sync -f -- . 2>&1) || hardened
  else said=$(names | xargs -0 -n 1000 sync -- 2>&1) || hardened; fi
}
erase() { # like rm -rf, also through directories without write permission, and files that Finder has locked
  rm -rf -- "$@" 2>/dev/null || {
    ! have chflags || chflags -R nouchg "$@" 2>/dev/null || :
    find "$@" -type d -exec chmod u+rwx {} \; 2>/dev/null || :
    rm -rf -- "$@"
  }
}
# droprun: the directory of a run here, but for what is not ours. A tree is renamed before it goes, so that no generation
# is part of itself.
droprun() { # name
  (
    step "$1" || exit 0
    if [ -e tree ] || [ -L tree ]; then mvt tree gone || exit 1; fi
    set +f
    for d in late.* stub.* aside.*; do
      case ${d#*.} in *[!0-9]*) continue;; esac
      [ -L "$d" ] || [ ! -d "$d" ] || erase "./$d" || exit 1
    done
    for d in *%new-*; do [ -L "$d" ] || [ ! -d "$d" ] || rmdir -- "./$d" 2>/dev/null || :; done
    erase $parts
  ) || { rmdir -- "./$1" 2>/dev/null || return 1; }
  rmdir -- "./$1" 2>/dev/null || :
}
parts='./tree ./gone ./old ./copies ./basis ./info ./info%new ./aside ./lock ./changes ./changes%new ./dirs ./dirs%new ./try
./unique ./unique%new ./sums ./sums%new ./lately ./lately%new ./only ./names' # all that is made in the directory of a run
do_remove() { # root dir: the stage of a dataset, a run, or what is in one, and nothing else
  S=$1/.usr-sync
  case $2/ in *//*|*/./*|*/../*) fail "it is not below $S";; "$S"/?*) ;; *) fail "it is not below $S";; esac
  [ -e "$2" ] || [ -L "$2" ] || return 0
  dir=$2 IFS=/
  set -- ${2#"$S/"}
  unset IFS
  case $#$1 in 2stage|2spare|[3-9]stage|??stage|[3-9]generations|??generations) ;; *) fail 'it is nothing that usr removes';; esac
  [ $# = 2 ] || isrun "$3" || fail 'it is nothing that usr removes'
  case " $(echo $parts) " in *" ./${4-tree} "*) ;; *) fail 'it is nothing that usr removes';; esac
  enter "${dir%/*}"
  case $#$1 in
  2spare) erase "./$2";;
  2*)
    step "$2"
    set +f
    left=0
    for d in *; do
      [ ! -L "$d" ] && [ -d "$d" ] || continue
      if isrun "$d"; then droprun "$d" || left=1; continue; fi
      case $d in partial|partial.[0-9]|partial.[0-9][0-9]|*%new-*) erase "./$d" || left=1;; esac
    done
    enter "$S/stage"; rmdir -- "./$2" 2>/dev/null || :
    return $left;;
  3*) droprun "$3";;
  *) erase "./${dir##*/}";;
  esac
}

# A single file has its stage beside it, for it may lie outside the root.
main_stagefile() { # file dir seconds
  [ -z "$claim" ] || { err="$claim is claimed"; return 1; }
  err=$( (do_stagefile "$1" "$2") 2>&1) || return
  obtain 8 "$2/lock" "$3" && claim=$2/lock && return
  got=$?
  [ -d "$2" ] || return 40 # another run has ended, and removed it
  return $got
}
do_stagefile() { # file dir
  mkdir -p -- "${1%/*}/" || exit 1
  if [ -L "$2" ]; then planted "$2"; fi
  [ -d "$2" ] || mkdir -m 700 -- "$2"
}
do_promotefile() { # dir name file
  harden "$1/$2"
  mvt "$1/$2" "$3"
  harden "${3%/*}/"
  do_dropfile "$1"
}
do_dropfile() { case $1 in /*.usr-stage) erase "$1";; *) fail "$1: it is not a stage";; esac; }

# -- promotion, in a child of the main shell that shares the lock's descriptor ------------------------------------

# renames: one process makes all the calls, each a rename(2): x exchanges, r renames, n replaces nothing where that can be
# asked for, l renames a lock file that may not be there. What cannot be renamed is never copied. Without perl and Python
# each call is a process of its own, and none exchanges.
renames() { # {x|r|n|l from to}...
  [ -n "$renamer" ] || learn_renamer
  case $renamer in
  mv)
    while [ $# -gt 0 ]; do
      case $1 in
      x) return 1;;
      [rn]) plainly "$2" "$3" || return 1;;
      l) plainly "$2" "$3" 2>/dev/null || :;;
      esac
      shift 3
    done;;
  perl) perl -e '
      ($nr, $at) = splice @ARGV, 0, 2;
      while (@ARGV) {
        ($how, $from, $to) = splice @ARGV, 0, 3;
        $flag = $how eq "x" ? 2 : $how ne "n" ? 0 : $at == -2 ? 4 : 1;
        next if $flag && $nr && syscall(0 + $nr, 0 + $at, $from, 0 + $at, $to, $flag) == 0;
        next if $how ne "x" && !($flag && $nr && $!{EEXIST}) && rename $from, $to;
        next if $how eq "l";
        print STDERR "$to: $!\n";
        exit 1;
      }' "$exchange_nr" "$exchange_at" "$@";;
  *) $renamer -c 'import ctypes, errno, os, sys
nr, at = map(int, sys.argv[1:3]); libc = ctypes.CDLL(None, use_errno=True)
flagged = libc.renameatx_np if nr == 488 else lambda *rest: libc.syscall(nr, *rest)
def new(a, b): return flagged(at, a, at, b, 4 if nr == 488 else 1) if nr else -1
calls = dict(x=lambda a, b: flagged(at, a, at, b, 2) if nr else -1, r=libc.rename, l=lambda a, b: libc.rename(a, b) * 0,
    n=lambda a, b: 0 if new(a, b) == 0 else -1 if nr and ctypes.get_errno() == errno.EEXIST else libc.rename(a, b))
for how, a, b in zip(*[iter(sys.argv[3:])] * 3): calls[how](os.fsencode(a), os.fsencode(b)) == 0 or sys.exit("%s: %s" % (b, os.strerror(ctypes.get_errno())))' \
    "$exchange_nr" "$exchange_at" "$@";;
  esac
}
renamer=
learn_renamer() {
  case $(uname -sm) in
  Linux*x86_64) exchange_nr=316 exchange_at=-100;; Linux*aarch64|Linux*riscv64) exchange_nr=276 exchange_at=-100;;
  Linux*ppc64*) exchange_nr=357 exchange_at=-100;; Linux*s390x) exchange_nr=347 exchange_at=-100;;
  Darwin*) exchange_nr=488 exchange_at=-2;; *) exchange_nr=0 exchange_at=0;;
  esac
  for renamer in perl python3 /usr/libexec/platform-python mv; do
    case $renamer in
    mv) mv_knows=
      case $(mv -T -- /dev/null/a /dev/null/b 2>&1) in *option*) ;; *) mv_knows=target;; esac
      ! mv --help 2>&1 | grep -q -e --no-copy || mv_knows=no-copy;;
    perl) have perl && perl -MErrno -e 1 </dev/null >/dev/null 2>&1;;
    *) have $renamer && $renamer -c 'import ctypes' </dev/null >/dev/null 2>&1;;
    esac && break
  done
}
# plainly: rename(2) by mv, never into a directory. An mv that does not know --no-copy is not asked where it might copy.
plainly() { # from to
  [ "$mv_knows" != no-copy ] || { mv -fT --no-copy -- "$1" "$2"; return; }
  if [ "$(place_of "$1")" != "$(place_of "$2")" ]; then echo "$2: Invalid cross-device link" >&2; return 1; fi
  [ "$mv_knows" != target ] || { mv -fT -- "$1" "$2"; return; }
  [ ! -d "$2" ] || { echo "$2: File exists" >&2; return 1; }
  mv -f -- "$1" "$2"
}
# place_of: device and mount of a directory entry; an overlay, which may refuse within itself, is like nothing else.
place_of() {
  case $1 in */*) d=${1%/*}/.;; *) d=.;; esac
  about %d "$d"
  case $(stat -f -c %T -- "$d" 2>/dev/null) in *overlay*) echo "$1";; esac
  awk -v path="$(cd -P -- "$d" && pwd -P)/" '
    { point = $5; sub(/\/*$/, "/", point) }
    index(path, point) == 1 && length(point) >= length(longest) { longest = point; id = $1 }
    END { print id }' /proc/self/mountinfo 2>/dev/null || :
}
mvt() { renames r "$1" "$2"; }
# exchange: two directories in one step. Only the inodes tell whether it happened.
exchange() { # a b
  want=$(inode "$1")
  renames x "$1" "$2" 2>/dev/null || :
  way=$renamer
  [ "$(inode "$2")" = "$want" ]
}
# makelock: where its group writes to the directory it is to write to the lock file, too.
makelock() { # dir name
  if [ -e "$1/$2" ] || [ -L "$1/$2" ]; then return 0; fi
  attributes=$(about '%a %g' "$1/.") || return 0
  shared=$((0${attributes%% *} & 020))
  ( [ $shared = 0 ] || umask g+rw; set -C; : >"$1/$2" ) 2>/dev/null || return 0
  [ $shared = 0 ] || chgrp "${attributes##* }" "$1/$2" 2>/dev/null || :
}
# hold: .events.lock of a directory, on descriptor 7. Writers refuse it unless it is one file with one name, and so do we.
# Where there is none and none can be made there is no writer either.
hold() { # dir seconds
  events_lock=$1/.events.lock tries=0
  while :; do
    makelock "$1" .events.lock
    [ ! -L "$events_lock" ] || fail "$events_lock: it is a symbolic link"
    st=0; obtain 7 "$events_lock" "$2" || st=$?
    tries=$((tries + 1))
    case $st in
    0) break;;
    40) [ "$got" = 0 ] && [ $tries -lt 100 ] || { put busy "$events_lock"; exit 40; };; # 0: it was replaced while we waited
    41) [ -e "$events_lock" ] || return 0; fail "$events_lock: it cannot be locked";;
    *) fail "$err";;
    esac
  done
  [ -n "$(find "$events_lock" -prune -type f -links 1)" ] || fail "$events_lock: it is not one regular file with one name"
}
letgo() { exec 7>&-; }
# follow: what a log holds beyond an offset is appended to another one. $end is up to where.
follow() { # log offset other
  end=$2
  [ -f "$1" ] && [ ! -L "$1" ] && ! [ "$1" -ef "$3" ] || return 0
  size=$(($(wc -c <"$1")))
  [ "$size" -gt "$2" ] || return 0
  [ ! -e "$3" ] || [ -z "$(tail -c 1 -- "$3")" ] || echo >>"$3"
  was=0; [ ! -e "$3" ] || was=$(($(wc -c <"$3")))
  tail -c "+$(($2 + 1))" -- "$1" | head -c $((size - $2)) >>"$3"
  end=$size
  [ "$(wc -c <"$3")" -ge $((was + end - $2)) ] || fail "$3: not every line of $1 could be appended"
}
# movable refuses, before anything moves, what would fail half-way whatever the modes: what chattr(1) holds, and another user's
# file in a sticky directory of another.
movable() (
  enter "$live"
  if [ "$(id -u)" != 0 ]; then
    stuck=$(moving | beneath '[ ! -k "$d" ] || [ -O "$d" ] || [ ! -e "$f" ] || [ -O "$f" ] || { echo "$f"; exit 255; }' 2>/dev/null | head -n 1)
    [ -z "$stuck" ] || forbidden "$live/${stuck%/*}" "it is sticky, so that nobody else can replace ${stuck##*/}"
  fi
  lsattr -d -- . >/dev/null 2>&1 || return 0
  fixed=$(moving | beneath 'printf "%s\0" "$d" "$f"' | xargs -0 lsattr -d -- 2>/dev/null | sed -n 's/^[^ ]*[ai][^ ]* //p' | head -n 1)
  [ -z "$fixed" ] || fail "$live/$fixed is immutable or append-only (chattr): Operation not permitted"
)
# moving: what a switch moves, each with a NUL: in place what changes; by exchange the directory itself, lock files, and what
# gets a copy in the old tree.
moving() {
  if [ $way = place ]; then tr '\0\n' '\n\001' <"$R/changes" | sed 's,^[AMD] ,./,' | tr '\n\001' '\0\n'; return; fi
  printf './.\0./.events.lock\0./.usr.lock\0./.usr.transfer.lock\0'
  if [ -d "$R/copies" ]; then (enter "$R/copies"; find . ! -type d -print0); fi
}
# beneath: a command for each name $f of its input and the directory $d that it is in, or would be.
beneath() { xargs -0 sh -c 'for f do d=${f%/*}; while [ ! -d "$d" ]; do d=${d%/*}; done; '"$1"'; done' sh; }
# keep_old makes a generation of the old tree; the new one stays behind as the stage of a dead run.
keep_old() {
  makestate "$root" generations "$key" "$run"
  [ ! -e "$R/info" ] || mvt "$R/info" "$G/$run/info"
  mvt "$R/old" "$G/$run/tree"
  rm -f -- "$G/$run/tree/.usr.lock" "$G/$run/tree/.events.lock" "$G/$run/tree/.usr.transfer.lock"
  harden "$G/$run"
}
# shed: the old tree holds no lock file. One that live lacks goes there: a death between exchange and rename leaves
# .events.lock behind. A link stands in for .usr.lock: whoever entered the directory before it was switched, and asks for the
# lock now, is to find the one in live and not to make another.
shed() { # tree live
  [ -d "$1" ] || return 0
  for name in .events.lock .usr.transfer.lock; do
    if [ -e "$2/$name" ] || [ ! -e "$1/$name" ]; then rm -f -- "$1/$name"; else mvt "$1/$name" "$2/$name"; fi
  done
  rm -f -- "$R/lock"
  ln -s -- "$2/.usr.lock" "$R/lock"
  mvt "$R/lock" "$1/.usr.lock"
}
# heal: earlier versions left second names of lock files.
heal() { # key
  for base in "$G" "$S/stage/$1"; do
    [ -e "$base" ] || [ -L "$base" ] || continue
    (
      [ -x "$base" ] || exit 0
      enter "$base"
      set +f
      for d in */tree */old; do
        if [ ! -d "$d" ] || [ -L "$d" ] || [ -L "${d%/*}" ]; then continue; fi
        for name in .usr.lock .events.lock .usr.transfer.lock; do
          [ -L "$d/$name" ] || rm -f -- "./$d/$name" 2>/dev/null || :
        done
      done
    ) || exit $?
  done
}
held() { [ "$claim" = "$1/.usr-sync/journal/$2.lock" ] || fail "dataset $2 is not claimed"; }
paths() { S=$1/.usr-sync; R=$S/stage/$2/$3; T=$R/tree; G=$S/generations/$2; J=$S/journal/$2; }
do_promote() { # root key run live keep in-place info log-size seconds; payload: names to carry, changes, directories, unique names, sums
  trap '' HUP # what is begun is finished
  held "$1" "$2"; paths "$1" "$2" "$3"
  sound "$T" "$S/journal"
  key=$2 live=$4 keep=$5 replaces=0 held=0 way=exchange
  set -- "$@" $payload
  [ ! -e "$J" ] || fail 'an earlier promotion is not settled'
  if [ -e "$live" ] || [ -L "$live" ]; then
    [ "$lock" = "$live/.usr.lock" ] || fail "$live: it is not locked: File exists"
    main_locked || fail "$err"
    replaces=1
    if [ "$6" = 1 ]; then way=place
    else payload=${10#=}; enter "$live"; place "$T" -lP same; likewise "$T"; cd /
    fi
  elif [ -n "$lock" ]; then fail "$live: No such file or directory"
  fi
  fresh_names "$R/changes" "${11#=}"
  [ $replaces = 0 ] || movable
  fresh "$R/info" "$7
"
  fresh_names "$R/unique" "${13#=}"
  fresh_names "$R/sums" "${14#=}"
  new=$(inode "$T")
  [ "$new" != 0 ] || fail "$T: No such file or directory"
  if [ $way = place ]; then
    begin_inplace "${12#=}" "$8" "$9"
    fresh "$J.tmp" "way=place
run=$3
live=$live
tree=$new
listed=$listed
staged=$staged
keep=$keep
"
  else fresh "$J.tmp" "run=$3
live=$live
inode=$new
replaces=$replaces
keep=$keep
"
  fi
  harden "$J.tmp" "$R/info" "$R/changes" "$R/unique" "$R/sums"
  mvt "$J.tmp" "$J"
  harden "$S/journal"
  set +e; (set -e; if [ $way = place ]; then inplace; else switch "$8" "$9"; finish "$key"; fi; put held "$held"); st=$?; set -e
  [ $st != 0 ] || return 0
  # Without effect: nothing to recover.
  if [ $way = place ]; then ! unmoved || rm -f -- "$J"
  else [ "$(inode "$live")" = "$new" ] || rm -f -- "$J"; fi
  exit $st
}
# switch: .events.lock is held exactly around it, so that no append straddles.
switch() { # log-size seconds: log-size is that of the log when it was listed; - lets the lines that it gained since stay behind
  if [ $replaces = 0 ]; then
    mkdir -p -- "${live%/*}"
    mvt "$T" "$live"
    [ "$(inode "$live")" = "$new" ] || fail "$live: File exists"
    harden "${live%/*}" "$R"
    return
  fi
  hold "$live" "$2"
  now; since=$t
  [ "$1" = - ] || follow "$live/.events.log" "$1" "$T/.events.log"
  why=$(renames x "$T" "$live" l "$T/.events.lock" "$live/.events.lock" 2>&1) || :
  [ "$(inode "$live")" = "$new" ] || fail "${why:-$live: it could not be exchanged}"
  [ "$1" = - ] || follow "$T/.events.log" "$end" "$live/.events.log" # of who took no lock
  letgo
  now; held=$((t - since))
  if [ "$1" = - ] || [ "$end" = "$1" ]; then harden "${live%/*}" "$R"; else harden "${live%/*}" "$R" "$live/.events.log"; fi
}
# finish: what remains after the switch, whether for the first time or again after a death in the middle.
finish() { # key
  [ -d "$R" ] || return 0
  [ ! -e "$R/old" ] || mvt "$R/old" "$T"
  shed "$T" "$live"
  if [ $replaces = 0 ] || [ $keep = 0 ] || [ ! -d "$T" ]; then enter "${R%/*}"; droprun "${R##*/}"; return; fi
  if [ -d "$R/copies" ]; then
    enter "$R/copies"
    find . -type d -print0 | xargs -0 sh -c '
      to=$1 live=$2; shift 2
      for d do
        mkdir -p -- "$to/$d" || exit 1
        locked=
        [ -w "$to/$d" ] || { chmod u+w "$to/$d" && locked=1; }
        # A namesake that live does not have is what a writer without the lock put there since: it stays.
        find "$d/." ! -name . -prune ! -type d -exec sh -c '\''
          to=$1 live=$2; shift 2
          for f do
            shift; n=${f##*/}
            if [ -e "$to/$n" ] && ! [ "$to/$n" -ef "$live/$n" ]; then rm -f -- "$f"; else set -- "$@" "$f"; fi
          done
          [ $# = 0 ] || exec mv -f -- "$@" "$to/"'\'' sh "$to/$d" "$live/$d" {} + || exit 1
        [ -z "$locked" ] || chmod u-w "$to/$d"
      done' sh "$T" "$live"
    [ -z "$(find . ! -type d | head -n 1)" ] || fail "$R/copies: not every file could be moved"
    enter "$R"
    erase ./copies
    cd /
  fi
  makestate "$root" generations "$1"
  mvt "$R" "$G/$run"
  harden "$S/stage/$1" "$G"
}
do_recover() { # root key: says run and whether forward
  trap '' HUP
  held "$1" "$2"; paths "$1" "$2" -
  root=$1 key=$2
  [ ! -e "$J" ] || resume
  heal "$key"
}
resume() {
  sound "$S/journal"
  plainfile "$J" || planted "$J"
  run= live= new= replaces= keep= way= listed= staged=
  while IFS= read -r line; do
    case $line in run=*) run=${line#*=};; live=*) live=${line#*=};; inode=*) new=${line#*=};; replaces=*) replaces=${line#*=};; keep=*) keep=${line#*=};;
    way=*) way=${line#*=};; tree=*) new=${line#*=};; listed=*) listed=${line#*=};; staged=*) staged=${line#*=};; esac
  done <"$J"
  case $run in ''|*/*|.|..) run=; esac
  case $new in ''|0|*[!0-9]*) run=; esac
  [ "$way" != place ] || replaces=1
  case $way,${listed#-},${staged#-} in ,,|place,*[0-9],*[0-9]) ;; *) run=;; esac
  case $listed$staged in *[!0-9-]*) run=;; esac
  case $live$replaces$keep in /*[01][01]) ;; *) run=; esac
  [ -n "$run" ] || fail "$J: the journal is damaged"
  paths "$root" "$key" "$run"
  [ ! -e "$R" ] || sound "$R"
  if [ "$way" = place ]; then forward=1; lone; resume_inplace
  else
    restore
    if [ $forward = 1 ]; then lone; finish "$key"; else rm -f -- "$J"; harden "$S/journal"; fi
  fi
  put run "$run"; put forward $forward
}
# lone: after a death nobody looks any more for what was late, so all that is kept counts as unique.
lone() { for d in "$R" "$G/$run"; do [ ! -d "$d" ] || (enter "$d"; rm -f -- ./unique); done; }
# restore sees to it that there is a live tree, if there was one, and says whether it is the new one. The old tree is aside
# only where an earlier version made two renames of a switch.
restore() {
  there=$(inode "$live") tree=$(inode "$T") old=$(inode "$R/old")
  forward=0
  if [ "$there" = "$new" ]; then forward=1
  elif [ "$there" != 0 ] && [ "$old" != 0 ]; then keep_old # another dataset
  elif [ "$there" != 0 ] || [ "$replaces" = 0 ]; then :
  elif [ "$tree" = "$new" ]; then mvt "$T" "$live"; forward=1; harden "${live%/*}"
  elif [ "$old" != 0 ]; then mvt "$R/old" "$live"; harden "${live%/*}"
  elif [ "$tree" != 0 ]; then # exchanged, and then the new tree was deleted
    [ ! -L "$T/.usr.lock" ] || rm -f -- "$T/.usr.lock"
    mvt "$T" "$live"; harden "${live%/*}"
  fi
}
# surplus: a run of ours that may go.
surplus() { [ ! -L "$1" ] && [ -d "$1" ] && isrun "$1" && case $spared in *" $1 "*) false;; esac; }
do_settle() { # root key keep spared...: the spared runs stay, and are not counted
  held "$1" "$2"; paths "$1" "$2" -
  if [ -e "$J" ] || [ -L "$J" ]; then sound "$S/journal"; rm -f -- "$J"; harden "$S/journal"; fi
  key=$2 keep=$3
  shift 3
  spared=" $* " left=0
  set +f
  if [ -e "$G" ] || [ -L "$G" ]; then
    enter "$G"
    whole=0
    for d in *; do ! surplus "$d" || ! kept "$d" || whole=$((whole + 1)); done
    for d in *; do
      surplus "$d" || continue
      if kept "$d"; then
        [ $whole -gt "$keep" ] || continue
        whole=$((whole - 1))
      fi
      droprun "$d" || left=1
    done
    for d in */gone; do # what could not be removed when it was thinned
      [ ! -d "$d" ] || [ -L "$d" ] || ! isrun "${d%/*}" || (enter "$G/${d%/*}"; erase ./gone) 2>/dev/null || :
    done
  fi
  enter "$S"
  rmdir -- "stage/$key/partial" "stage/$key" "generations/$key" 2>/dev/null || :
  return $left
}
# kept: a name here is a generation's, with its whole tree or, in the other directory, what is left of it.
kept() { isrun "$1" && [ ! -L "$1" ] && [ ! -L "$1/${2-tree}" ] && [ -d "$1/${2-tree}" ]; }
# do_thin gives the files of generations that stay a second name in another directory, and then drops the tree as a whole: a
# death on the way leaves the one or the other.
do_thin() { # root key run...
  held "$1" "$2"; paths "$1" "$2" -
  shift 2
  left=0
  for d do (enter "$G/$d"; thin) || left=$?; done
  return $left
}
thin() {
  if [ -L ./tree ] || [ ! -d ./tree ]; then return 0; fi
  thinned
  erase ./gone
  mvt ./tree ./gone
  erase ./gone
}
# thinned: what is to stay of the tree here has its second name.
thinned() {
  for name in unique lately; do plainfile "./$name" || planted "$PWD/$name"; done
  if ! step only; then
    attributes=$(about '%a %g' ./tree) || exit 1
    mkdir -m 700 -- ./only
    step only
    like ${attributes%% *} ${attributes##* } .
  fi
  cd ..
  step tree
  planted=$(find . -type l ! -path ./.usr.lock | head -n 1)
  [ -z "$planted" ] || planted "$PWD/${planted#./}"
  names() { { cat -- ../unique ../lately 2>/dev/null || :; } | xargs -0 sh -c 'for p do printf "./%s\0" "$p"; done' sh; }
  place ../only -lP same 2>/dev/null || place ../only -pP same || return 1
  cd ..
}
do_keeplate() { # root key run; the names
  held "$1" "$2"; paths "$1" "$2" -
  enter "$G/$3"
  rm -f -- ./lately
  (set -C; names >./lately)
  harden ./lately
}
