# What the remote shell reads: facts, listings, digests. See coprocess.sh.

now() { t=$(date +%s%N); case $t in *N) t=${t%N} t=${t%\%}000000000;; esac; }
do_hello() {
  uname=$(uname -snm)
  set -- $uname
  put system "$1"; put host "$2"; put machine "$3"
  put lister $lister; put watchdog "$patience"
  if learn_locker; then put flock "${locker%% *}"; fi
  for tool in b3sum openssl sha256sum shasum; do if have $tool; then put hash $tool; fi; done
}
# above: $near is the nearest directory on the way to a path that is there, $rest what is missing below it; 1 if something
# else is in the way.
above() {
  near=${1%/} rest=
  while [ ! -d "$near/" ]; do
    if [ -e "$near" ] || [ -L "$near" ]; then return 1; fi
    rest=/${near##*/}$rest near=${near%/*}
  done
}
# locate: $real is where a path leads, also if nothing is $there yet; $near is the nearest directory that is.
locate() {
  above "$1" || fail "$near: Not a directory"
  there=
  [ -x "$near/" ] || fail "$near: Permission denied"
  near=$(cd -P -- "$near/" && pwd -P && echo .) || exit 1
  near=${near%??}
  [ -n "$rest" ] || there=1
  real=${near%/}$rest
  [ -n "$real" ] || real=/
}
entry='%y %s %T@ %C@ %D %i %m %G %P\0' # what find tells of one
list() {
  enter "$1"
  if [ $lister = find ]; then
    find . -mindepth 1 -ignore_readdir_race -printf "$entry"
  else # no NUL to be had: the token marks where a record begins
    find . ! -name . -exec $stat "$record" {} +
  fi
}
do_stat() { # file
  [ -e "$1" ] || [ -L "$1" ] || { ls -ld -- "$1" >/dev/null; exit 1; }
  cd -- "${1%/*}/" || exit 1
  if [ $lister = find ]; then find "./${1##*/}" -prune -printf '%y %s %T@ %C@ %D %i %m %G %p\0'
  else $stat "$record" "./${1##*/}"; fi
}
do_list() { # dir; "names" where no more is needed than a directory tells without a look at each file in it
  if [ -n "${2-}" ] && [ $lister = find ]; then enter "$1"; find . -mindepth 1 -ignore_readdir_race -printf '%y 0 0 0 0 %i 0 0 %P\0'
  else list "$1"; fi
}
# ours: nothing but what usr makes is in the places that a transfer goes to; else $p is not.
ours() { # S key
  for p in "$1" "$1/stage" "$1/stage/$2" "$1/stage/$2/partial" "$1/journal" "$1/generations" "$1/generations/$2" "$1/spare" "$1/spare/$2"; do
    if [ -L "$p" ] || { [ -e "$p" ] && [ ! -d "$p" ]; }; then return 1; fi
  done
  for p in "$1/journal/$2" "$1/journal/$2.lock"; do plainfile "$p" || return 1; done
}
# remains: what runs have left, dead or alive.
remains() { # S key
  [ ! -e "$1/journal/$2" ] || put journal 1
  set +f
  for d in "$1/stage/$2"/*/; do
    d=${d%/}
    case ${d##*/} in '*'|partial*|*%new-*) ;; *) [ -L "$d" ] || put stage "${d##*/}";; esac
  done
  set -f
  [ ! -d "$1/stage/$2/partial" ] || [ -z "$(ls -A -- "$1/stage/$2/partial" | head -n 1)" ] || put partial 1
}
last_line() { line=${1##*
}; }
# registry: the sum of a root's registry.yaml.
registry() {
  [ -e "$1/registry.yaml" ] || { echo none; return; }
  [ ! -f "$1/registry.yaml" ] || { (hasher sha256 && $large <"$1/registry.yaml" | cut -c -64) 2>/dev/null || :; }
}
# about_root: $S is the state directory of a root, $state what is there of it.
about_root() { # root
  locate "$1"
  put root "$real"
  [ -z "$there" ] || put rootid "$(about %i "$near")"
  S=$1/.usr-sync state=$near
  [ ! -d "$S" ] || state=$S
  naming "$near"
}
# naming: how names are taken there, as far as looking for some tells. Nothing is written.
naming() { # directory
  folds= bad=$1/$(printf '\377')
  if [ -d "$1/.usr-sync" ]; then
    [ ! -d "$1/.USR-SYNC" ] || folds=1
  else
    other=${1%/*}/$(printf %s "${1##*/}" | tr A-Za-z a-zA-Z)
    [ "$other" = "$1" ] || ! [ "$other" -ef "$1" ] || folds=1
  fi
  [ -z "$folds" ] || put names case
  case $( ( : <"$bad" ) 2>&1 || :) in *Invalid*|*'llegal byte'*) put names utf8;; esac
}
# spelled: whether the directories of an id are called so, where names are one that differ in case.
spelled() ( # root id
  [ -n "$folds" ] || return 0
  cd -- "$1/" || return 0
  rest=$2/
  set +f
  while [ -n "$rest" ]; do
    name=${rest%%/*} rest=${rest#*/} found=
    for d in * .*; do [ "$d" != "$name" ] || found=1; done
    [ -n "$found" ] || return 1
    cd -- "./$name/" || return 0
  done
)
space() {
  last_line "$(df -Pk -- "$state" 2>/dev/null)"; put space "$line"
  last_line "$(df -Pi -- "$state" 2>/dev/null)"; put inodes "$line"
}
do_survey() { # root id key, sum of a listing that need not be told again
  about_root "$1"
  ours "$S" "$3" || planted "$p"
  [ -n "$4" ] || put registry "$(registry "$1")"
  locate "$1/$2"
  parent=$near
  [ -z "$there" ] || parent=$real/..
  put live "$real"; put exists "$there"
  [ -z "$there" ] || spelled "$1" "$2" || put misspelt 1
  key=$3 known=$4
  devices=$(about %d "$state" "$parent" "$near")
  set -- $devices; put devices "$*"
  space
  remains "$S" "$key"
  now; put now "$t"
  [ -n "$there" ] || return 0
  log=$real/.events.log
  if [ -f "$log" ] && [ ! -L "$log" ]; then readable "$log"; put events "$(wc -l <"$log")"; fi
  if [ -n "$known" ] && sum=$( { hasher sha256 && list "$real" | $large; } 2>/dev/null ) && [ "${sum%% *}" = "$known" ]; then
    put same 1
    return 0
  fi
  put list "$token"
  list "$real"
}
# do_surveys: the same of many, where find is GNU's, without a process for each. What is odd about one is told by a survey of
# its own ("alone"); so is a group of which not all could be read, or more than is good to keep at once.
do_surveys() { # root; a word for each group, which holds lines, an id and its key in turns
  about_root "$1"
  put registry "$(registry "$1")"
  space
  now; put now "$t"
  root=$1 device=$(about %d "$state") at=
  for group in $payload; do
    decode "$group"
    (IFS='
'; survey_group $v)
    printf '\0'; put end ''
  done
}
survey_group() { # id key ...
  n=$#
  while [ "$n" -gt 0 ]; do
    id=$1 key=$2 n=$((n - 2)); shift 2
    put id "$id"
    if above "$root/$id" && ours "$S" "$key" && cd -P -- "$near/" 2>/dev/null; then near=$PWD
    else put alone 1; continue; fi
    real=${near%/}$rest parent=$near
    put live "$real"
    if [ -z "$rest" ]; then
      put exists 1
      set -- "$@" "$real"
      parent=${near%/*}/
    fi
    [ "$parent" = "$at" ] || { at=$parent dev=$(about %d "$parent"); }
    put devices "$device $dev"
    remains "$S" "$key"
  done
  cd /
  lines=$(log_lines "$@") || return 0
  put lines "$lines"
  [ $# -gt 0 ] || { put whole 1; return 0; }
  { ! find "$@" -ignore_readdir_race -printf "$entry" 2>/dev/null || put whole 1; } | head -c 4000000
}
log_lines() { # datasets: lines and path of each log
  n=$#
  for d do [ ! -f "$d/.events.log" ] || [ -L "$d/.events.log" ] || set -- "$@" "$d/.events.log"; done
  shift "$n"
  [ $# = 0 ] || wc -l "$@"
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
# In a job what is hashed is told with its stamps, those of before and those of after, for the other end to hold against
# its listing.
hashers=2 stamp=: stampone=:
main_job() { # by as many processes as the job may run; it ends where no sign of life comes
  claim=job
  stamp="$stat '$record' -- \"\$@\"" stampone="$stat '${record% *} ./' -- \"\$p\" || echo"
  for n in "${NSLOTS-}" "${SLURM_CPUS_ON_NODE-}" "${LSB_DJOB_NUMPROC-}" "${NCPUS-}" "$(nproc 2>/dev/null)"; do
    case $n in ''|0|*[!0-9]*) ;; *) hashers=$n; break;; esac
  done
}
# batches: tools that do not write line by line themselves are made to, for the lines of several processes meet here. A shell
# reads byte by byte, so that awk does it where there is one.
batches() { # size tool
  case $stamp$2 in
  :b3sum*|:sha256sum*) xargs -0 -n "$1" -P "$hashers" $2; return;;
  esac
  lines='while IFS= read -r l; do printf "%s\n" "$l"; done'
  ! have awk || lines="awk '{ print; fflush() }'"
  xargs -0 -n "$1" -P "$hashers" sh -c "{ $stamp; $2"' "$@"; '"$stamp"'; } | '"$lines" sh
}
# regular: those of the names on standard input that are files: a tool would wait for a fifo's writer.
regular() { xargs -0 -n 5000 sh -c 'exec find "$@" -prune -type f -print0' sh; }
# blocks: a packet for many lines instead of one for each.
blocks() { dd ibs=4096 obs=32768; }
do_hash() { # algorithm dir; a word of ordinary names for large, middling and small files: lines in any order, bad ones
  # among them; what is missing is asked again
  hasher "$1"; enter "$2"
  set +e
  exec 2>/dev/null
  set -- $payload
  [ "$1" = = ] || printf %b "${1#=}" | regular | batches 1 "$large"
  [ "$2" = = ] || printf %b "${2#=}" | regular | batches 16 "$large"
  [ "$3" = = ] || printf %b "${3#=}" | regular | batches 2000 "$small" | blocks
  return 0
}
do_present() { # as do_hash, after a line with the clock
  now; printf '%s\n' "$t"
  do_hash "$@"
}
do_hash1() { # algorithm dir, any names: a line for each in the same order, which begins with ! for an error; in a job
  # between two of stamps, but for what is no file
  hasher "$1"; enter "$2"
  names | xargs -0 sh -c '
    for p do
      [ -f "$p" ] || [ ! -e "$p" ] || { echo "!not a regular file"; continue; }
      '"$stampone"'
      if out=$( { '"$large"' <"$p"; } 2>&1 ); then printf "%.64s\n" "$out"; else printf "!%s\n" "$(printf %s "$out" | tr "\n" " ")"; fi
      '"$stampone"'
    done' sh || :
}
do_prefix() { hasher "$1"; readable "$2"; head -c "$3" -- "$2" | $large; }
do_range() { readable "$1"; tail -c "$2" -- "$1" | head -c "$3"; }
do_generations() { # root key
  G=$1/.usr-sync/generations/$2
  for d in "$1/.usr-sync" "${G%/*}"; do # one that cannot be entered may hold some
    if [ -d "$d" ] && [ ! -x "$d" ]; then fail "$d: Permission denied"; fi
  done
  [ -e "$G" ] || [ -L "$G" ] || return 0
  enter "$G"
  set +f
  for d in *; do
    if kept "$d"; then put run "$d"; put tree "$G/$d/tree"; put whole 1
    elif kept "$d" only; then put run "$d"; put tree "$G/$d/only"
    else continue; fi
    if [ ! -L "$d/info" ] && [ -f "$d/info" ]; then put info "$(cat -- "$d/info")"; else put info ''; fi
    for name in unique lately; do
      if [ ! -L "$d/$name" ] && [ -f "$d/$name" ]; then put "$name" "$(tr -cd '\000' <"$d/$name" | wc -c)"; fi
    done
  done
}
# files: those of a dataset with their sizes. The other end knows the classes.
files() {
  cd -P -- "$1" 2>/dev/null || return 0
  if [ $lister = find ]; then find . -type f -printf 'file=%s %P\0' 2>/dev/null || :
  else printf 'stat='; find . -type f -exec $stat "$record" {} + 2>/dev/null || :; printf '\0'; fi
}
do_datasets() { # root, 1: with their files
  enter "$1"; ls -- . >/dev/null
  set +f
  for d in */ */*/; do
    d=${d%/}
    case $d in archived/*|archived) continue;; esac
    [ -f "$d/records.parquet" ] || continue
    put id "$d"
    [ "$2" = 1 ] || continue
    if [ $lister = find ]; then
      put mtime "$(find -L "./$d/records.parquet" -prune -printf %T@)"
    else
      put mtime "$(about %Y "$d/records.parquet")"
    fi
    (files "./$d")
    if [ -f "$d/.events.log" ]; then put last "$(tail -c 65536 -- "$d/.events.log" 2>/dev/null | tail -n 2; echo .)"; fi
  done
}
do_glance() { # root, "ids" if those are wanted; names below it: what is there of them. No directory of a dataset is read.
  enter "$1"
  if [ -n "${2-}" ]; then
    set +f
    for d in */; do
      d=${d%/}
      [ "$d" != archived ] || continue
      if [ -f "$d/records.parquet" ]; then put id "$d"; continue; fi
      for s in "$d"/*/; do [ ! -f "${s}records.parquet" ] || put id "${s%/}"; done
    done
    set -f
  fi
  now; put now "$t"
  put list "$token"
  [ -n "$payload" ] || return 0
  if [ $lister = find ]; then
    names | xargs -0 sh -c 'exec find "$@" -prune -printf "%y %s %T@ %C@ %D %i %m %G %p\0"' sh 2>/dev/null || :
  else
    names | xargs -0 $stat "$record" 2>/dev/null || :
  fi
}
do_run() { script=$(names); set +e; eval "$script"; }
