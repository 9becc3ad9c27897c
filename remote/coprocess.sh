# The remote half of a session. It runs in whatever POSIX sh the host has, from the standard input of ssh, and
# leaves nothing behind but data, locks and the state directory.
#
# A request is a line "VERB SIZE ARG..." and SIZE bytes; arguments and bytes are escaped for printf %b. An answer is
# a body and a line "TOKEN STATUS MESSAGE" after a newline. One request is under way at a time, but for "beat",
# which has no answer. The main shell holds the locks: descriptor 8 the claim, 9 the dataset. What can take long
# runs beside it without those descriptors, and the main shell goes on listening.
LC_ALL=C LANGUAGE=C; export LC_ALL LANGUAGE
unset CDPATH BLOCKSIZE POSIXLY_CORRECT
set -f
token=$1 patience=$2
claim= lock= dog= job= payload=
exec 3>&1
if stat -c %i / >/dev/null 2>&1; then
  modegroup='stat -c %a:%g --'
  about() { f=$1; shift; stat -c "$f" -- "$@"; }
else
  modegroup='stat -f %Mp%Lp:%g --'
  about() { # the few formats that are used, in BSD's words
  case $1 in %d) f=%d;; %i) f=%i;; %Y) f=%Fm;; *) f='%Mp%Lp %g';; esac
  shift; stat -f "$f" -- "$@"; }
fi
if find / -prune -printf x >/dev/null 2>&1; then lister=find; else lister=stat; fi

fail() { printf '%s\n' "$*" >&2; exit 1; }
put() { printf '%s=%s\0' "$1" "$2"; }
have() { command -v "$1" >/dev/null 2>&1; }
names() { printf %b "$payload"; }
trailer() {
  said=$2
  case $said in *'
'*) said=$(printf %s "$said" | tail -c 2000 | tr '\n' '\001');; esac
  printf '\n%s %s %s\n' "$token" "$1" "$said"
}
inode() { [ -e "$1" ] || [ -L "$1" ] || { echo 0; return; }; about %i "$1"; }
# enter: cd whose failure is told in the system's words.
enter() { cd -- "$1" 2>/dev/null && return; ls -ld -- "$1/." >/dev/null; exit 1; }
readable() { [ -f "$1" ] && [ -r "$1" ] || { ls -- "$1" >/dev/null && cat -- "$1" >/dev/null; exit 1; }; }
# mvt: rename, never into a directory.
if mv --help 2>&1 | grep -q -e --no-target; then mvt() { mv -fT -- "$1" "$2"; }
else mvt() { [ ! -e "$2" ] || fail "$2: File exists"; mv -f -- "$1" "$2"; }
fi
# harden: make names durable; an old sync flushes everything instead.
harden() { sync -- "$@" 2>/dev/null || sync; }

# The watchdog: without a sign of life the whole process group goes, and the locks with it.
arm() {
  disarm
  [ -n "$claim$lock" ] && [ "$patience" -gt 0 ] || return 0
  (
    exec 3>&- 8>&- 9>&-
    nap=
    trap '[ -z "$nap" ] || kill $nap; exit 0' TERM
    sleep "$patience" & nap=$!
    wait $nap
    kill -9 -$$ || kill -9 $$ $job
  ) </dev/null >/dev/null 2>&1 &
  dog=$!
}
disarm() { [ -z "$dog" ] || { kill "$dog"; wait "$dog"; dog=; } 2>/dev/null; }

# -- locks, in the main shell ---------------------------------------------------------------------------------

flock_waits=
obtain() { # descriptor, path, seconds: status 0 held, 40 busy, 41 cannot be locked, 42 no flock
  have flock || { err='flock is not there'; return 42; }
  if err=$( ( : >>"$2" ) 2>&1 ); then eval "exec $1>>\"\$2\""
  elif ( : <"$2" ) 2>/dev/null; then eval "exec $1<\"\$2\""
  else return 41; fi
  how=-n
  if [ "$3" != 0 ]; then
    [ -n "$flock_waits" ] || { flock --help 2>&1 | grep -q -e -w && flock_waits=1 || flock_waits=0; }
    [ $flock_waits = 0 ] || how="-w $3"
  fi
  err=$(flock $how "$1" 2>&1); got=$?
  if [ $got = 0 ] && { [ ! -e "/dev/fd/$1" ] || [ "$2" -ef "/dev/fd/$1" ]; }; then err=; return 0; fi
  eval "exec $1>&-"
  case $got in 0|1) err=; return 40;; esac
  case $err in *'Bad file'*|*'not permitted'*|*'not supported'*|*'No locks'*) return 41;; esac
  return 1
}
main_claim() { # root key seconds
  [ -z "$claim" ] || { err="$claim is claimed"; return 1; }
  err=$( (makestate "$1" journal) 2>&1) || return 1
  obtain 8 "$1/.usr-sync/journal/$2.lock" "$3" && claim=$1/.usr-sync/journal/$2.lock
}
main_lock() { # live seconds
  [ -z "$lock" ] || { err="$lock is locked"; return 1; }
  [ -d "$1" ] || { err="$1: No such file or directory"; return 1; }
  obtain 9 "$1/.usr.lock" "$2" && lock=$1/.usr.lock
}
main_unlock() { exec 9>&-; lock=; }
main_release() { exec 8>&-; claim=; }
main_locked() {
  [ -n "$lock" ] || { err='the lock is not held'; return 1; }
  [ ! -e /dev/fd/9 ] || [ "$lock" -ef /dev/fd/9 ] || { err="$lock was replaced"; return 1; }
}
do_holder() { # path
  set +f
  n=$(inode "$1")
  for p in $(awk -v n="$n" '$2 == "FLOCK" || $2 == "POSIX" || $2 == "OFDLCK" { split($6, a, ":"); if (a[3] == n) print $5 }' /proc/locks 2>/dev/null) \
    $(find -L /proc/[0-9]*/fd -maxdepth 1 -samefile "$1" 2>/dev/null | sed 's,/proc/\([0-9]*\)/.*,\1,'); do
    what=$(ps -o args= -p "$p" 2>/dev/null) && [ -n "$what" ] || continue
    case $what in *'dd bs=1 count='*' usr '*) what="usr of ${what##* }";; esac
    printf '%s, pid %s of %s on %s since %s' "$(printf %s "$what" | head -c 200)" "$p" "$(ps -o user= -p "$p")" "$(uname -n)" "$(ps -o lstart= -p "$p")"
    return
  done
}

# -- reading --------------------------------------------------------------------------------------------------

now() { t=$(date +%s%N); case $t in *N) t=${t%N}000000000;; esac; }
do_hello() { # rsync
  put host "$(uname -n)"; put system "$(uname -s)"; put machine "$(uname -m)"
  now; put now "$t"
  put lister $lister; put watchdog "$patience"
  if have flock; then put flock 1; fi
  if have "${1:-rsync}"; then put rsync "$("${1:-rsync}" --version 2>/dev/null | head -n 1)"; fi
  for tool in b3sum openssl sha256sum shasum; do if have $tool; then put hash $tool; fi; done
}
# locate: $real is where a path leads, also if nothing is $there yet; $near is the nearest directory that is.
locate() {
  near=${1%/} rest=
  while [ ! -d "$near/" ]; do
    if [ -e "$near" ] || [ -L "$near" ]; then fail "$near: Not a directory"; fi
    rest=/${near##*/}$rest near=${near%/*}
  done
  [ -x "$near/" ] || fail "$near: Permission denied"
  near=$(cd -P -- "$near/" && pwd -P && echo .) || exit 1
  near=${near%??} there=
  [ -n "$rest" ] || there=1
  real=${near%/}$rest
  [ -n "$real" ] || real=/
}
list() {
  enter "$1"
  if [ $lister = find ]; then
    find . -mindepth 1 -ignore_readdir_race -printf '%y %s %T@ %C@ %D %i %m %G %P\0'
  else # no NUL to be had: the token marks where a record begins
    find . ! -name . -exec stat -f "$record" {} +
  fi
}
record="@$token %p %z %Fm %Fc %d %i %g %N"
do_stat() { # file
  [ -e "$1" ] || [ -L "$1" ] || { ls -ld -- "$1" >/dev/null; exit 1; }
  cd -- "${1%/*}/" || exit 1
  if [ $lister = find ]; then find "./${1##*/}" -prune -printf '%y %s %T@ %C@ %D %i %m %G %p\0'
  else stat -f "$record" "./${1##*/}"; fi
}
do_list() { list "$1"; }
do_survey() { # root id key
  locate "$1"
  S=$1/.usr-sync state=$near
  [ ! -d "$S" ] || state=$S
  locate "$1/$2"
  parent=$near
  [ -z "$there" ] || parent=$real/..
  put live "$real"; put exists "$there"
  put devices "$(about %d "$state" "$parent" "$near" | tr '\n' ' ')"
  put space "$(df -Pk -- "$state" 2>/dev/null | tail -n 1)"
  put inodes "$(df -Pi -- "$state" 2>/dev/null | tail -n 1)"
  [ ! -e "$S/journal/$3" ] || put journal 1
  set +f
  for d in "$S/stage/$3"/*/; do
    d=${d%/}
    case ${d##*/} in '*'|partial*) ;; *) [ -L "$d" ] || put stage "${d##*/}";; esac
  done
  [ ! -d "$S/stage/$3/partial" ] || [ -z "$(ls -A -- "$S/stage/$3/partial" | head -n 1)" ] || put partial 1
  now; put now "$t"
  [ -n "$there" ] || return 0
  log=$real/.events.log
  if [ -f "$log" ] && [ ! -L "$log" ]; then readable "$log"; put events "$(wc -l <"$log")"; fi
  put list "$token"
  list "$real"
}
hasher() { # algorithm: $small for many little files, $large for bytes; both print digest, two characters, name
  small= large=
  case $1 in
  blake3) ! have b3sum || small='b3sum --no-mmap --num-threads 1' large=$small;;
  sha256)
    for tool in 'openssl dgst -sha256 -r' 'shasum -a 256' sha256sum; do ! have "${tool%% *}" || small=$tool; done
    large=$small
    ! have openssl || large='openssl dgst -sha256 -r';;
  esac
  [ -n "$small" ] || fail "there is no tool for $1"
}
# pick: those of the names on standard input that find's conditions hold for. The names are ordinary ones.
pick() { xargs -0 -n 5000 sh -c 'c=$1; shift; exec find "$@" -prune $c' sh "$*" 2>/dev/null; }
lines() { printf '%s\n' "$1" | tr '\n' '\0'; }
# batches: tools that do not write line by line themselves are made to, for the lines of two processes meet here.
batches() { # size tool
  case $2 in
  b3sum*|sha256sum*) xargs -0 -n "$1" -P 2 $2;;
  *) xargs -0 -n "$1" -P 2 sh -c "$2"' "$@" | while IFS= read -r l; do printf "%s\n" "$l"; done' sh;;
  esac
}
do_hash() { # algorithm dir, ordinary names: lines in any order, bad ones among them; what is missing is asked again
  hasher "$1"; enter "$2"
  set +e
  exec 2>/dev/null
  big=$(names | pick '(' -size +127 -o ! -type f ')')
  if [ -z "$big" ]; then names | batches 500 "$small"; return 0; fi
  huge=$(lines "$big" | pick -type f -size +16383)
  [ -z "$huge" ] || lines "$huge" | batches 1 "$large"
  some=$(lines "$big" | pick -type f -size -16384)
  [ -z "$some" ] || lines "$some" | batches 16 "$large"
  names | pick -type f -size -128 -print0 | batches 500 "$small"
  return 0
}
do_hash1() { # algorithm dir, any names: a line for each in the same order, which begins with ! for an error
  hasher "$1"; enter "$2"
  names | xargs -0 sh -c '
    for p do
      [ -f "$p" ] || [ ! -e "$p" ] || { echo "!not a regular file"; continue; }
      if out=$( { '"$large"' <"$p"; } 2>&1 ); then printf "%.64s\n" "$out"; else printf "!%s\n" "$(printf %s "$out" | tr "\n" " ")"; fi
    done' sh || :
}
do_prefix() { hasher "$1"; readable "$2"; head -c "$3" -- "$2" | $large; }
do_range() { readable "$1"; tail -c "$2" -- "$1" | head -c "$3"; }
do_generations() { # root key
  set +f
  for d in "$1/.usr-sync/generations/$2"/*/; do
    [ -d "${d}tree" ] || continue
    d=${d%/}; put run "${d##*/}"; put tree "$d/tree"
    if [ -f "$d/info" ]; then put info "$(cat -- "$d/info")"; else put info ''; fi
  done
}
do_datasets() { # root
  enter "$1"; ls -- . >/dev/null
  set +f
  for d in */ */*/; do
    d=${d%/}
    case $d in archived/*|archived) continue;; esac
    [ -f "$d/records.parquet" ] || continue
    put id "$d"
    if [ $lister = find ]; then
      put mtime "$(find -L "./$d/records.parquet" -prune -printf %T@)"
      put sizes "$(find "./$d/" -type f -printf '%s\n' 2>/dev/null | awk '{ n++; s += $1 } END { printf "%d %.0f", n, s }')"
    else
      put mtime "$(about %Y "$d/records.parquet")"
      put sizes "$(find "./$d/" -type f -exec stat -f %z {} + 2>/dev/null | awk '{ n++; s += $1 } END { printf "%d %.0f", n, s }')"
    fi
    if [ -f "$d/.events.log" ]; then put last "$(tail -c 65536 -- "$d/.events.log" 2>/dev/null | tail -n 2; echo .)"; fi
  done
}
do_run() { script=$(names); set +e; eval "$script"; }

# -- changes --------------------------------------------------------------------------------------------------

# like: group first, for that clears setgid; a group that this user may not give is let be. Without the zeros chmod
# leaves setgid of directories alone.
like() { m=$1 g=$2; shift 2; chgrp "$g" "$@" 2>/dev/null || :; chmod "00$m" "$@"; }
# makestate: S and the directory of these names below it. In a root that a group writes to S is the group's as
# well: whoever runs next must be able to recover what this run leaves.
makestate() { # root name...
  S=$1/.usr-sync
  if [ ! -d "$S" ]; then
    attributes=$(about '%a %g' "$1/.") || exit 1
    mode=0${attributes%% *} gid=${attributes##* }
    mkdir -m 700 -- "$S" || exit 1
    [ $((mode & 020)) = 0 ] || like "$(printf %o $((02700 | (mode & 070))))" "$gid" "$S"
  fi
  [ -e "$S/.gitignore" ] || echo '*' >"$S/.gitignore" || exit 1
  shift
  made=$S attributes=
  for name do
    made=$made/$name
    [ ! -d "$made" ] || continue
    mkdir -m 700 -- "$made" || [ -d "$made" ] || exit 1
    [ -n "$attributes" ] || attributes=$(about '%a %g' "$S") || exit 1
    like ${attributes%% *} ${attributes##* } "$made"
  done
}
do_stage() { # root key run live
  held "$1" "$2"
  R=$1/.usr-sync/stage/$2/$3
  [ ! -e "$R" ] || fail "$R: File exists"
  makestate "$1" stage "$2" "$3"
  makestate "$1" stage "$2" "$3" copies
  mkdir -- "$R/tree"
  locate "$4"
  attributes=$(about '%a %g' "$near/.")
  mode=0${attributes%% *} gid=${attributes##* }
  if [ -z "$there" ]; then
    own=$(about '%a %g' "$R/tree") parent=$mode
    mode=0${own%% *}; mode=$((mode & 0777))
    if [ $((parent & 02000)) != 0 ]; then mode=$((mode | 02000))
    elif [ "$(uname -s)" != Darwin ]; then gid=$(id -g); fi
    mode=0$(printf %o $mode)
  fi
  like "${mode#0}" "$gid" "$R/tree"
}
# place: the names, from the working directory to another, by "cp $how"; directories are made.
if cp --help 2>&1 | grep -q -e --parents; then gnu_cp=1; else gnu_cp=; fi
place() { # to how existing: how is "-lP" or "-pP"; existing "same" passes over what is the same file there already
  names | xargs -0 -n 1000 sh -c '
    to=$1 how=$2 existing=$3 gnu=$4; shift 4
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
      if [ "$how" = -lP ]; then ln -P -- "$p" "$to/$p"; else cp -pP -- "$p" "$to/$p"; fi || exit 1
    done' sh "$1" "$2" "$3" "$gnu_cp"
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
do_link() { [ -d "$2" ] || enter "$2"; enter "$1"; place "$2" -lP ''; }
do_copy() { [ -d "$2" ] || enter "$2"; enter "$1"; place "$2" -pP ''; }
do_setdirs() { # dir mode gid
  enter "$1"
  names | xargs -0 sh -c '
    mode=$1 gid=$2; shift 2
    for p do [ -d "$p" ] && [ ! -L "$p" ] || { echo "$p: Not a directory" >&2; exit 1; }; done
    chgrp "$gid" "$@" 2>/dev/null
    exec chmod "00$mode" "$@"' sh "$2" "$3"
}
do_flush() { [ -d "$1" ] || enter "$1"; sync -f -- "$1" 2>/dev/null || sync; }
erase() { # like rm -rf, also through directories without write permission
  rm -rf -- "$@" 2>/dev/null || { find "$@" -type d -exec chmod u+rwx {} \; 2>/dev/null; rm -rf -- "$@"; }
}
do_remove() { # root dir
  S=$1/.usr-sync
  case $2/ in *//*|*/./*|*/../*) fail "it is not below $S";; "$S"/?*) ;; *) fail "it is not below $S";; esac
  [ -e "$2" ] || [ -L "$2" ] || return 0
  locate "$S"; state=$real
  locate "${2%/*}"
  case $real/ in "$state"/*) ;; *) fail "a symbolic link leads out of $S";; esac
  erase "$2"
}

# A single file has its stage beside it, for it may lie outside the root.
do_stagefile() { # file dir
  mkdir -p -- "${1%/*}/"
  [ -d "$2" ] || mkdir -m 700 -- "$2"
}
do_promotefile() { # dir file
  do_flush "$1"
  mvt "$1/${2##*/}" "$2"
  harden "${2%/*}/"
  do_dropfile "$1"
}
do_dropfile() { case $1 in /*.usr-stage) erase "$1";; *) fail "$1: it is not a stage";; esac; }

# -- promotion, in a child of the main shell that shares the lock's descriptor ------------------------------------

# exchange: one step for two directories, by whatever on the host can ask the kernel. Only the inodes tell whether
# it happened, for no two tools agree on how they fail.
exchange() { # a b
  want=$(inode "$1")
  case $(uname -sm) in
  Linux*x86_64) nr=316 at=-100;; Linux*aarch64|Linux*riscv64) nr=276 at=-100;; Linux*ppc64*) nr=357 at=-100;;
  Linux*s390x) nr=347 at=-100;; Darwin*) nr=488 at=-2;; *) nr= at=;;
  esac
  for way in mv exch perl python3 /usr/libexec/platform-python; do
    have $way || continue
    case $way in
    mv) mv -T --exchange -- "$1" "$2";;
    exch) exch "$1" "$2";;
    perl) [ -z "$nr" ] || perl -e '$a = $ARGV[2]; $b = $ARGV[3]; syscall(0 + $ARGV[0], 0 + $ARGV[1], $a, 0 + $ARGV[1], $b, 2)' $nr $at "$1" "$2";;
    *) [ -z "$nr" ] || $way -c 'import ctypes, os, sys
n, at = map(int, sys.argv[1:3]); a, b = map(os.fsencode, sys.argv[3:5])
ctypes.CDLL(None).syscall(n, at, a, at, b, 2)' $nr $at "$1" "$2";;
    esac >/dev/null 2>&1 </dev/null || :
    [ "$(inode "$2")" != "$want" ] || return 0
  done
  return 1
}
twice() { # live: a moment without live; what another program puts there in that moment is not overwritten
  mvt "$1" "$R/old"
  if [ -e "$1" ] || ! mvt "$T" "$1"; then
    [ -e "$1" ] || mvt "$R/old" "$1"
    exit 1
  fi
}
held() { [ "$claim" = "$1/.usr-sync/journal/$2.lock" ] || fail "dataset $2 is not claimed"; }
paths() { S=$1/.usr-sync; R=$S/stage/$2/$3; T=$R/tree; G=$S/generations/$2; J=$S/journal/$2; }
do_promote() { # root key run live keep exchange info
  held "$1" "$2"; paths "$1" "$2" "$3"
  live=$4 keep=$5 replaces=0
  [ ! -e "$J" ] || fail 'an earlier promotion is not settled'
  if [ -e "$live" ] || [ -L "$live" ]; then
    [ "$lock" = "$live/.usr.lock" ] || fail "$live: it is not locked: File exists"
    main_locked || fail "$err"
    replaces=1
    enter "$live"; place "$T" -lP same; likewise "$T"
    cd /
  elif [ -n "$lock" ]; then fail "$live: No such file or directory"
  fi
  printf '%s\n' "$7" >"$R/info"
  new=$(inode "$T")
  [ "$new" != 0 ] || fail "$T: No such file or directory"
  printf 'run=%s\nlive=%s\ninode=%s\nreplaces=%s\nkeep=%s\n' "$3" "$live" "$new" "$replaces" "$keep" >"$J.tmp"
  harden "$J.tmp" "$R/info"
  mvt "$J.tmp" "$J"
  harden "$S/journal"
  set +e; (set -e; switch "$6"); st=$?; set -e
  [ $st != 0 ] || { finish "$2"; return; }
  # Without effect: nothing to recover.
  [ "$(inode "$live")" = "$new" ] || [ -e "$R/old" ] || rm -f -- "$J"
  exit 1
}
switch() { # exchange allowed
  if [ $replaces = 0 ]; then
    mkdir -p -- "${live%/*}"
    # -n so that a dataset that appeared meanwhile stays what it is; rename(2) would replace an empty directory.
    if mv --help 2>&1 | grep -q -e --no-target; then mv -nT -- "$T" "$live"; else mvt "$T" "$live"; fi
    [ "$(inode "$live")" = "$new" ] || fail "$live: File exists"
  elif [ "$1" = 0 ] || ! exchange "$T" "$live"; then twice "$live"
  fi
  harden "${live%/*}" "$R"
}
# finish: what remains after the switch, whether for the first time or again after a death in the middle.
finish() { # key
  [ -d "$R" ] || return 0
  [ ! -e "$R/old" ] || mvt "$R/old" "$T"
  if [ $replaces = 0 ] || [ $keep = 0 ] || [ ! -d "$T" ]; then erase "$R"; return; fi
  if [ -d "$R/copies" ]; then
    cd -- "$R/copies"
    find . -type d -print0 | xargs -0 sh -c '
      to=$1; shift
      for d do
        mkdir -p -- "$to/$d" || exit 1
        locked=
        [ -w "$to/$d" ] || { chmod u+w "$to/$d" && locked=1; }
        find "$d/." ! -name . -prune ! -type d -exec sh -c '\''mv -f -- "$@" "$0/"'\'' "$to/$d" {} + || exit 1
        [ -z "$locked" ] || chmod u-w "$to/$d"
      done' sh "$T"
    [ -z "$(find . ! -type d | head -n 1)" ] || fail "$R/copies: not every file could be moved"
    cd /
    erase "$R/copies"
  fi
  makestate "$root" generations "$1"
  mvt "$R" "$G/$run"
  harden "$S/stage/$1" "$G"
}
do_recover() { # root key: says run and whether forward
  held "$1" "$2"; paths "$1" "$2" -
  root=$1 key=$2
  [ -e "$J" ] || return 0
  run= live= new= replaces= keep=
  while IFS= read -r line; do
    case $line in run=*) run=${line#*=};; live=*) live=${line#*=};; inode=*) new=${line#*=};; replaces=*) replaces=${line#*=};; keep=*) keep=${line#*=};; esac
  done <"$J"
  case $run in ''|*/*|.|..) run=; esac
  case $new in ''|0|*[!0-9]*) run=; esac
  case $live$replaces$keep in /*[01][01]) ;; *) run=; esac
  [ -n "$run" ] || fail "$J: the journal is damaged"
  paths "$1" "$2" "$run"
  restore
  if [ $forward = 1 ]; then finish "$2"; else rm -f -- "$J"; harden "$S/journal"; fi
  put run "$run"; put forward $forward
}
# restore sees to it that there is a live tree, if there was one, and says whether it is the new one.
restore() {
  there=$(inode "$live") tree=$(inode "$T") old=$(inode "$R/old")
  forward=0
  if [ "$there" = "$new" ]; then forward=1
  elif [ "$there" != 0 ] && [ "$old" != 0 ]; then # another program made live between the two renames
    makestate "$root" generations "$key" "$run"
    [ ! -e "$R/info" ] || mvt "$R/info" "$G/$run/info"
    mvt "$R/old" "$G/$run/tree"; harden "$G/$run"
  elif [ "$there" != 0 ] || [ "$replaces" = 0 ]; then :
  elif [ "$tree" = "$new" ]; then mvt "$T" "$live"; forward=1; harden "${live%/*}"
  elif [ "$old" != 0 ]; then mvt "$R/old" "$live"; harden "${live%/*}"
  elif [ "$tree" != 0 ]; then mvt "$T" "$live"; harden "${live%/*}" # exchanged, and then the new tree was deleted
  fi
}
do_settle() { # root key keep: a tree that is about to go is renamed first, so that no generation is part of itself
  held "$1" "$2"; paths "$1" "$2" -
  [ ! -e "$J" ] || { rm -f -- "$J"; harden "$S/journal"; }
  set +f
  whole=0
  for d in "$G"/*/; do [ ! -d "${d}tree" ] || whole=$((whole + 1)); done
  for d in "$G"/*/; do
    d=${d%/}
    [ -d "$d" ] || continue
    if [ -d "$d/tree" ]; then
      [ $whole -gt "$3" ] || continue
      whole=$((whole - 1))
      mvt "$d/tree" "$d/gone"
    fi
    erase "$d"
  done
  rmdir -- "$S/stage/$2/partial" "$S/stage/$2" "$G" 2>/dev/null || :
}

# -- the loop -------------------------------------------------------------------------------------------------

perform() { # verb args: $st and $err are how it went, the body went to the answer
  err=$( set -e; verb=$1; shift; root=$1; run=$3; "do_$verb" "$@" 2>&1 1>&3 3>&- ); st=$?
}
decode() { v=${1#=}; case $v in *\\*) v=$(printf '%b.' "$v"); v=${v%.};; esac; }

trailer 0 ''
while IFS=' ' read -r verb size rest; do
  [ "$verb" != beat ] || { arm; continue; }
  [ -z "$job" ] || { wait "$job"; job=; } 2>/dev/null
  payload=
  if [ "$size" -gt 0 ]; then
    payload=$(take "$size")
    [ ${#payload} -eq "$size" ] || break
  fi
  set --
  for a in $rest; do decode "$a"; set -- "$@" "$v"; done
  st=0 err=
  case $verb in
  quit) disarm; trailer 0 ''; exit 0;;
  claim|lock|unlock|release|locked) "main_$verb" "$@"; st=$?; arm; trailer $st "$err";;
  promote|recover) disarm; perform "$verb" "$@"; arm; trailer $st "$err";;
  *) ( exec 8>&- 9>&-; perform "$verb" "$@"; trailer $st "$err" ) </dev/null & job=$!;;
  esac
done
# The client is gone: nothing of ours may linger.
[ -z "$dog$job" ] || kill -9 -$$ 2>/dev/null || kill -9 $dog $job 2>/dev/null
exit 0
