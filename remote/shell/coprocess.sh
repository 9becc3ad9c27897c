# The remote half of a session. It runs in whatever POSIX sh the host has, from the standard input of ssh, and
# leaves nothing behind but data, locks and the state directory.
#
# A request is a line "VERB SIZE ARG..." and SIZE bytes; arguments and bytes are escaped for printf %b. An answer is
# a body and a line "TOKEN STATUS MESSAGE" after a newline. One request is under way at a time, but for "beat",
# which has no answer. The main shell holds the locks: descriptor 8 the claim, 9 the dataset, 5 the
# earlier tool's transfers. What can take long
# runs beside it without those descriptors, and the main shell goes on listening.
LC_ALL=C LANGUAGE=C; export LC_ALL LANGUAGE
unset CDPATH BLOCKSIZE POSIXLY_CORRECT
set -f
token=$1 patience=$2
claim= lock= dog= job= payload=
exec 3>&1
if stat -c %i / >/dev/null 2>&1; then
  modegroup='stat -c %a:%g --' stat='stat -c' record="@$token x%f %s %.9Y %.9Z %d %i %g %n"
  # busybox tells fractions of a second in words alone.
  case $(stat -c %.9Y /) in *.*) ;; *) record="@$token w%f %s %y %z %d %i %g %n";; esac
  about() { f=$1; shift; stat -c "$f" -- "$@"; }
else
  modegroup='stat -f %Mp%Lp:%g --' stat='stat -f' record="@$token %p %z %Fm %Fc %d %i %g %N"
  about() { # the few formats that are used, in BSD's words
  case $1 in %d) f=%d;; %i) f=%i;; %Y) f=%Fm;; *) f='%Mp%Lp %g';; esac
  shift; stat -f "$f" -- "$@"; }
fi
# FreeBSD's find has a -printf that knows neither %P nor fractions.
case $(find / -prune -printf '%T@%P' 2>/dev/null) in *.*) lister='find';; *) lister='stat';; esac

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
# enter: cd whose failure is told in the system's words. Below the state directory no link is followed, for others may
# put one there.
enter() {
  case $1/ in
  */.usr-sync/*)
    below=$1/ outer=${below%%/.usr-sync/*}
    below=.usr-sync/${below#*/.usr-sync/}
    cd -P -- "$outer/" 2>/dev/null || missing "$outer/"
    while [ -n "$below" ]; do
      name=${below%%/*} below=${below#*/}
      [ -z "$name" ] || step "$name" || missing "$1"
    done;;
  *) cd -P -- "$1" 2>/dev/null || missing "$1";;
  esac
}
missing() { ls -ld -- "$1/." >/dev/null; exit 1; }
# step: into a directory of ours that is here; 1 if there is none. Where a link took its place meanwhile, where we are has
# another name than it should, or is not what has that name.
step() {
  if [ -L "./$1" ] || { [ -e "./$1" ] && [ ! -d "./$1" ]; }; then planted "${PWD%/}/$1"; fi
  [ -e "./$1" ] || return 1
  at=${PWD%/}/$1
  cd -P -- "./$1" 2>/dev/null || missing "$at"
  if [ "$PWD" != "$at" ] || [ -L "$at" ] || ! [ . -ef "$at" ]; then planted "$at"; fi
}
planted() { # what lies in the place of something of ours
  is='not what usr makes'
  if [ -L "$1" ]; then is='a symbolic link'
  elif [ -d "$1" ]; then is='a directory'
  elif [ -f "$1" ]; then is='a file'
  elif [ -p "$1" ]; then is='a fifo'; fi
  printf '%s: %s\n' "$1" "$is" >&2; exit 43
}
# sound: each can be entered.
sound() { for d do (enter "$d") || exit $?; done; }
plainfile() { [ ! -L "$1" ] && { [ ! -e "$1" ] || [ -f "$1" ]; }; }
# isrun: a name that is given to a run; what else lies among runs is somebody's own.
isrun() { case $1 in *[!0-9TZ.a-f-]*) return 1;; ????????T??????.??????Z-??????) ;; *) return 1;; esac; }
readable() { [ -f "$1" ] && [ -r "$1" ] || { ls -- "$1" >/dev/null && cat -- "$1" >/dev/null; exit 1; }; }
# harden: make names durable; an old sync flushes everything instead, as does one that cannot be asked for a directory.
harden() { said=$(sync -- "$@" 2>&1) || hardened; }
hardened() { # whether a sync that said $said and failed had lost something
  case $said in *'Input/output'*|*'No space'*|*quota*|*'Read-only'*) printf '%s\n' "$said" >&2; return 1;; esac
  sync
}

# The watchdog: without a sign of life the whole process group goes, and the locks with it.
stop=
arm() {
  disarm
  # A start-up file may have had TERM ignored, which no shell can undo.
  [ -n "$stop" ] || if [ -z "$(sh -c 'kill -s TERM $$; echo ignored')" ]; then stop=TERM; else stop=USR1; fi
  [ -n "$claim$lock" ] && [ "$patience" -gt 0 ] || return 0
  (
    exec 3>&- 5>&- 8>&- 9>&-
    before=$! # of the main shell; a signal may come when sleep is there and no variable knows it
    # -9, for a child that is still the shell may have caught a milder signal when it becomes sleep.
    trap '[ "$!" = "$before" ] || kill -9 $!; exit 0' $stop
    sleep "$patience" &
    wait $!
    kill -9 -$$ || kill -9 $$ $job
  ) </dev/null >/dev/null 2>&1 &
  dog=$!
}
disarm() { [ -z "$dog" ] || { kill -s "$stop" "$dog"; wait "$dog"; dog=; } 2>/dev/null; }

# -- locks, in the main shell ---------------------------------------------------------------------------------

# locker: flock(1), or where systems come without it perl.
locker=
learn_locker() {
  if have flock; then
    locker=flock
    if flock --help 2>&1 | grep -q -e -w; then locker='flock -w'; fi
  else
    case $(uname -s) in Linux) return 1;; esac
    have perl || return 1
    locker=perl
  fi
}
take_flock() { # descriptor seconds; it is passed by name, for some shells keep theirs to themselves
  case $locker$2 in
  perl0) eval "perl -e 'exit 0 if flock STDIN, 6; exit 1 if \$!{EWOULDBLOCK}; print STDERR \$!; exit 2' <&$1";;
  perl*) eval "perl -e '\$SIG{ALRM} = sub { exit 1 }; alarm $2; exit 0 if flock STDIN, 2; print STDERR \$!; exit 2' <&$1";;
  'flock -w'[1-9]*) eval "flock -w $2 $1 $1>&$1";;
  *)
    polls=0
    until eval "flock -n $1 $1>&$1"; do
      st=$?
      [ $st = 1 ] && [ $polls -lt "$2" ] || return $st
      polls=$((polls + 1))
      sleep 1
    done;;
  esac
}
# leads: whether a path leads to what a descriptor has. On BSD's /dev/fd no file is the same as another.
leads() { # path descriptor
  [ ! -L "$1" ] || return 1
  case $stat in
  'stat -f'*) [ "$(eval "stat -f %d:%i <&$2")" = "$(stat -f %d:%i -- "$1")" ];;
  *) [ ! -e "/dev/fd/$2" ] || [ "$1" -ef "/dev/fd/$2" ];;
  esac
}
obtain() { # descriptor, path, seconds: status 0 held, 40 busy, 41 cannot be locked, 42 no flock
  [ -n "$locker" ] || learn_locker || { err='flock is not there'; return 42; }
  plainfile "$2" || { err=$( (planted "$2") 2>&1 ); return 43; }
  if err=$( ( : >>"$2" ) 2>&1 ); then eval "exec $1>>\"\$2\""
  elif ( : <"$2" ) 2>/dev/null; then eval "exec $1<\"\$2\""
  else return 41; fi
  err=$(take_flock "$1" "$3" 2>&1); got=$?
  if [ $got = 0 ] && leads "$2" "$1"; then err=; return 0; fi
  eval "exec $1>&-"
  case $got in 0|1) err=; return 40;; esac
  case $err in *'Bad file'*|*'not permitted'*|*'not supported'*|*'No locks'*) return 41;; esac
  return 1
}
main_claim() { # root key seconds
  [ -z "$claim" ] || { err="$claim is claimed"; return 1; }
  learn_renamer
  err=$( (makestate "$1" journal) 2>&1) || return $?
  obtain 8 "$1/.usr-sync/journal/$2.lock" "$3" && claim=$1/.usr-sync/journal/$2.lock
}
main_lock() { # live seconds
  [ -z "$lock" ] || { err="$lock is locked"; return 1; }
  [ -d "$1" ] || { err="$1: No such file or directory"; return 1; }
  makelock "$1" .usr.lock
  obtain 9 "$1/.usr.lock" "$2" || return $?
  fence "$1" "$2"; st=$?
  [ $st = 0 ] || { exec 9>&-; return $st; }
  lock=$1/.usr.lock
}
# fence: the lock that the earlier tool holds through its own transfers, where there is one, on descriptor 5. That tool
# makes it under .usr.lock; an rsync of it may have it still when its session, and that lock, are gone.
fence() { # live seconds
  if [ ! -e "$1/.usr.transfer.lock" ] && [ ! -L "$1/.usr.transfer.lock" ]; then return 0; fi
  obtain 5 "$1/.usr.transfer.lock" "$2"; st=$?
  case $st in 40) return 44;; 41) return 0;; esac
  return $st
}
main_unlock() { exec 5>&- 9>&-; lock=; }
main_release() { exec 8>&-; claim=; }
main_locked() {
  [ -n "$lock" ] || { err='the lock is not held'; return 1; }
  leads "$lock" 9 || { err="$lock was replaced"; return 1; }
}
do_holder() { # path
  set +f
  n=$(inode "$1")
  for p in $(awk -v n="$n" '$2 == "FLOCK" || $2 == "POSIX" || $2 == "OFDLCK" { split($6, a, ":"); if (a[3] == n) print $5 }' /proc/locks 2>/dev/null) \
    $(find -L /proc/[0-9]*/fd -maxdepth 1 -samefile "$1" 2>/dev/null | sed 's,/proc/\([0-9]*\)/.*,\1,'); do
    # busybox' ps knows no -p.
    what=$(ps -o args= -p "$p" 2>/dev/null || tr '\000' ' ' <"/proc/$p/cmdline" 2>/dev/null) && [ -n "$what" ] || continue
    case $what in *'dd bs=1 count='*' usr '*) what="usr of ${what##* }";; esac
    printf '%s, pid %s of %s on %s' "$(printf %s "$what" | head -c 200)" "$p" "$(ps -o user= -p "$p" 2>/dev/null || stat -c %U "/proc/$p")" "$(uname -n)"
    began=$(ps -o lstart= -p "$p" 2>/dev/null) && printf ' since %s' "$began"
    return 0
  done
}

# -- the loop -------------------------------------------------------------------------------------------------

perform() { # verb args: $st and $err are how it went, the body went to the answer
  err=$( set -e; verb=$1; shift; root=$1; run=$3; "do_$verb" "$@" 2>&1 1>&3 3>&- ); st=$?
}
decode() { v=${1#=}; case $v in *\\*) v=$(printf '%b.' "$v"); v=${v%.};; esac; }

serve() {
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
    claim|stagefile|lock|unlock|release|locked|job) "main_$verb" "$@"; st=$?; arm; trailer $st "$err";;
    promote|recover) disarm; perform "$verb" "$@"; arm; trailer $st "$err";;
    *) ( exec 5>&- 8>&- 9>&-; perform "$verb" "$@"; trailer $st "$err" ) </dev/null & job=$!;;
    esac
  done
  # The client is gone: nothing of ours may linger.
  [ -z "$dog$job" ] || kill -9 -$$ 2>/dev/null || kill -9 $dog $job 2>/dev/null
  exit 0
}
