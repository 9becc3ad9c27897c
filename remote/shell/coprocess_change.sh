# What the remote shell changes: state directory, stages, promotion, recovery. See coprocess.sh.

# like: group first, for that clears setgid; a group that this user may not give is let be. Without the zeros chmod
# leaves setgid of directories alone.
like() { m=$1 g=$2; shift 2; chgrp "$g" "$@" 2>/dev/null || :; chmod "00$m" "$@"; }
# makestate: S and the directory of these names below it, which is entered. In a root that a group writes to S is the
# group's as well: whoever runs next must be able to recover what this run leaves.
makestate() { # root name...
  enter "$1"
  shift
  if ! step .usr-sync; then
    attributes=$(about '%a %g' .) || exit 1
    mkdir -m 700 -- ./.usr-sync || exit 1
    step .usr-sync || exit 1
    mode=0${attributes%% *} gid=${attributes##* }
    [ $((mode & 020)) = 0 ] || like "$(printf %o $((02700 | (mode & 070))))" "$gid" .
  fi
  [ -e ./.gitignore ] || [ -L ./.gitignore ] || (set -C; echo '*' >./.gitignore) || exit 1
  attributes= state=.
  for name do
    if ! step "$name"; then
      [ -n "$attributes" ] || attributes=$(about '%a %g' "$state") || exit 1
      mkdir -m 700 -- "./$name" || [ -d "./$name" ] || exit 1
      step "$name" || exit 1
      like ${attributes%% *} ${attributes##* } .
    fi
    state=$state/..
  done
}
# fresh: a new file of this text. What has its name goes; a link or fifo is not written to.
fresh() { # file text
  [ ! -e "$1" ] && [ ! -L "$1" ] || rm -f -- "$1"
  (set -C; printf %s "$2" >"$1")
}
do_stage() { # root key run live
  held "$1" "$2"
  R=$1/.usr-sync/stage/$2/$3
  if [ -e "$R" ] || [ -L "$R" ]; then fail "$R: File exists"; fi
  makestate "$1" stage "$2" "$3" copies
  enter "$R"
  mkdir -- tree
  step tree
  locate "$4"
  attributes=$(about '%a %g' "$near/.")
  mode=0${attributes%% *} gid=${attributes##* }
  if [ -z "$there" ]; then
    own=$(about '%a %g' .) parent=$mode
    mode=0${own%% *}; mode=$((mode & 0777))
    if [ $((parent & 02000)) != 0 ]; then mode=$((mode | 02000))
    elif [ "$(uname -s)" != Darwin ]; then gid=$(id -g); fi
    mode=0$(printf %o $mode)
  fi
  like "${mode#0}" "$gid" .
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
do_link() { sound "$2"; enter "$1"; place "$2" -lP ''; }
do_copy() { sound "$2"; enter "$1"; place "$2" -pP ''; }
do_copyas() { # tree; three words a file: from, to, time
  sound "$1"
  enter "$1"
  if cp --help 2>&1 | grep -q -e --reflink; then clone=--reflink=auto; else clone=; fi
  names | xargs -0 -n 300 sh -c '
    clone=$1; shift
    while [ $# -gt 0 ]; do
      mkdir -p -- "./${2%"${2##*/}"}" && rm -f -- "./$2" && cp -pP $clone -- "$1" "./$2" && touch -d "@$3" -- "./$2" || exit 1
      shift 3
    done' sh "$clone"
}
# What a writer without the lock left in the old tree while the trees were switched. ln makes nothing that is there.
do_movein() { # old live ./file
  sound "$1"
  mkdir -p -- "$2/${3%/*}"
  ln -P -- "$1/$3" "$2/$3"
  rm -f -- "$1/$3"
}
do_swapin() { # old live ./file
  sound "$1"
  ln -P -- "$2/$3" "$1/../aside"
  mv -f -- "$1/$3" "$2/$3"
  mv -f -- "$1/../aside" "$1/$3"
}
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
  rm -rf -- "$@" 2>/dev/null || { find "$@" -type d -exec chmod u+rwx {} \; 2>/dev/null || :; rm -rf -- "$@"; }
}
# droprun: the directory of a run here, but for what is not ours. A tree is renamed before it goes, so that no generation
# is part of itself.
droprun() { # name
  (
    step "$1" || exit 0
    if [ -e tree ] || [ -L tree ]; then mvt tree gone; fi
    erase $parts
  ) || exit $?
  rmdir -- "./$1" 2>/dev/null || :
}
parts='./tree ./gone ./old ./copies ./info ./info%new ./aside' # all that is made in the directory of a run
do_remove() { # root dir: the stage of a dataset, a run, or what is in one, and nothing else
  S=$1/.usr-sync
  case $2/ in *//*|*/./*|*/../*) fail "it is not below $S";; "$S"/?*) ;; *) fail "it is not below $S";; esac
  [ -e "$2" ] || [ -L "$2" ] || return 0
  dir=$2 IFS=/
  set -- ${2#"$S/"}
  unset IFS
  case $#$1 in 2stage|[3-9]stage|??stage|[3-9]generations|??generations) ;; *) fail 'it is nothing that usr removes';; esac
  [ $# = 2 ] || isrun "$3" || fail 'it is nothing that usr removes'
  case " $parts " in *" ./${4-tree} "*) ;; *) fail 'it is nothing that usr removes';; esac
  enter "${dir%/*}"
  case $# in
  2)
    step "$2"
    set +f
    for d in *; do
      [ ! -L "$d" ] && [ -d "$d" ] || continue
      if isrun "$d"; then droprun "$d"; continue; fi
      case $d in partial|partial.[0-9]|partial.[0-9][0-9]) erase "./$d";; esac
    done
    enter "$S/stage"; rmdir -- "./$2" 2>/dev/null || :;;
  3) droprun "$3";;
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
  do_flush "$1"
  mvt "$1/$2" "$3"
  harden "${3%/*}/"
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
  sound "$T" "$S/journal"
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
  fresh "$R/info" "$7
"
  new=$(inode "$T")
  [ "$new" != 0 ] || fail "$T: No such file or directory"
  fresh "$J.tmp" "run=$3
live=$live
inode=$new
replaces=$replaces
keep=$keep
"
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
    if [ "$mv_knows_T" = 1 ]; then mv -nT -- "$T" "$live"; else mvt "$T" "$live"; fi
    [ "$(inode "$live")" = "$new" ] || fail "$live: File exists"
  elif [ "$1" = 0 ] || ! exchange "$T" "$live"; then twice "$live"
  fi
  harden "${live%/*}" "$R"
}
# finish: what remains after the switch, whether for the first time or again after a death in the middle.
finish() { # key
  [ -d "$R" ] || return 0
  [ ! -e "$R/old" ] || mvt "$R/old" "$T"
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
  held "$1" "$2"; paths "$1" "$2" -
  root=$1 key=$2
  [ -e "$J" ] || return 0
  sound "$S/journal"
  plainfile "$J" || planted "$J"
  run= live= new= replaces= keep=
  while IFS= read -r line; do
    case $line in run=*) run=${line#*=};; live=*) live=${line#*=};; inode=*) new=${line#*=};; replaces=*) replaces=${line#*=};; keep=*) keep=${line#*=};; esac
  done <"$J"
  case $run in ''|*/*|.|..) run=; esac
  case $new in ''|0|*[!0-9]*) run=; esac
  case $live$replaces$keep in /*[01][01]) ;; *) run=; esac
  [ -n "$run" ] || fail "$J: the journal is damaged"
  paths "$1" "$2" "$run"
  [ ! -e "$R" ] || sound "$R"
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
# surplus: a run of ours that may go.
surplus() { [ ! -L "$1" ] && [ -d "$1" ] && isrun "$1" && case $spared in *" $1 "*) false;; esac; }
do_settle() { # root key keep spared...: the spared runs stay, and are not counted
  held "$1" "$2"; paths "$1" "$2" -
  if [ -e "$J" ] || [ -L "$J" ]; then sound "$S/journal"; rm -f -- "$J"; harden "$S/journal"; fi
  key=$2 keep=$3
  shift 3
  spared=" $* "
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
      droprun "$d"
    done
  fi
  enter "$S"
  rmdir -- "stage/$key/partial" "stage/$key" "generations/$key" 2>/dev/null || :
}
# kept: a name here is a generation's.
kept() { isrun "$1" && [ ! -L "$1" ] && [ ! -L "$1/tree" ] && [ -d "$1/tree" ]; }
