# What the doctor tries on a host, with the functions of coprocess.sh. One stage runs at a time.
# shellcheck shell=sh disable=SC2154,SC2034

# attempt NAME COMMAND...: whether it works, and what it says if not. A function says "&&" throughout: -e is off where
# a condition is evaluated.
attempt() {
  name=$1; shift
  if out=$( ("$@") 2>&1 ); then put "$name" ''; return 0; fi
  put "$name" "${out:-it fails without a word}"
  return 1
}

stage_look() { # base run: "" is no base directory to look at
  put shell "${SHELL-}"
  scratch=
  [ -z "$1" ] || look_base "$1" "$2"
  [ -n "$scratch" ] || { scratch=$(mktemp -d "${TMPDIR:-/tmp}/usr-doctor-XXXXXX") && put scratch "$scratch"; }
}
look_base() {
  attempt base enter "$1" || return 0
  if [ -r "$1" ]; then put readable 1; fi
  put registry "$(registry "$1")"
  put type "$(file_system "$1")"
  put space "$(df -Pk -- "$1" 2>/dev/null | tail -n 1)"
  put inodes "$(df -Pi -- "$1" 2>/dev/null | tail -n 1)"
  S=$1/.usr-sync made=
  if [ -d "$S" ]; then # what a doctor left who was killed
    find "$S" -name 'doctor-*' -prune -type d -mmin +60 -exec rm -rf -- {} + 2>/dev/null
  else made=1
  fi
  if attempt writable makestate "$1" "doctor-$2"; then scratch=$S/doctor-$2; put scratch "$scratch"; put made "$made"
  elif [ -n "$made" ]; then rm -f -- "$S/.gitignore" 2>/dev/null; rmdir -- "$S" 2>/dev/null
  fi
}
file_system() {
  df -PT -- "$1" 2>/dev/null | awk 'NR == 2 { print $2; ok = 1 } END { exit !ok }' && return
  mount | awk -v d="$(df -P -- "$1" | awk 'NR == 2 { print $1 }')" '$1 == d { sub(/.*\(/, ""); sub(/[,)].*/, ""); print; exit }'
}

# Everything that a promotion does, in the scratch directory of the base directory.
stage_try() { # base run
  enter "$1/.usr-sync/doctor-$2"
  top=$1/.usr-doctor-$2
  twodirs; : >lockfile
  attempt write change "$top"
  traits
  attempt rename renamed "$top"
  if exchange a b && [ "$(cat a/file)" = b ]; then put exchange "$way"; else put noexchange "$renamer"; fi
  if learn_locker; then attempt lock locking; fi
  put names "$(namings)"
}
# stage_traits: what the local root's file system can do, in a new directory there.
stage_traits() { # directory
  mkdir -- "$1" && cd -- "$1" || exit 1
  put type "$(file_system .)"
  twodirs
  traits
}
twodirs() { mkdir a b; echo a >a/file; echo b >b/file; }
traits() {
  attempt links linked
  attempt clones cloned
  if have setfacl; then attempt 'access lists' listed; fi
}
# namings: which names are one there, and whether others than UTF-8 are refused.
namings() {
  mkdir names && cd names || return
  : >a
  [ ! -e A ] || echo case
  composed=$(printf '\303\251') apart=$(printf 'e\314\201') bad=$(printf '\377')
  : >"$composed"
  [ ! -e "$apart" ] || echo form
  ( : >"$bad" ) 2>/dev/null || echo utf8
}
change() { mkdir "$1" && echo x >"$1/file" && mv "$1/file" "$1/other" && rm "$1/other" && rmdir "$1"; }
linked() { $hardlink -- a/file a/link && { [ a/file -ef a/link ] || { echo 'another inode'; false; }; }; }
renamed() { mvt a "$1" && mvt "$1" a && [ -f a/file ]; }
cloned() { cp --reflink=always a/file a/clone || cp -c a/file a/clone; }
# listed: in place directories stay, and with them their lists.
listed() {
  setfacl -m u:54321:r-x a && list a || return 1
  [ -n "$renamer" ] || learn_renamer
  [ "$renamer" = mv ] || { mkdir c && (printf '.\0' | xattrs dress a c) && list c; }
}
list() { getfacl -nc "$1" 2>/dev/null | grep '^user:54321:r-x' >/dev/null || fail "$1 has none"; }
# locking: this process has the lock, another does not get it, and gets it when it is released.
locking() {
  obtain 9 lockfile 0 || fail "${err:-it is held by nobody and yet not free}"
  if another; then fail 'two processes hold the same lock'; fi
  exec 9>&-
  another || fail 'a released lock stays held'
}
another() ( exec 9>&- 6>>lockfile; take_flock 6 0 )

# stage_rsync: the real options, from a directory into another, where half of a file has arrived before.
stage_rsync() { # scratch rsync argument...
  cd -- "$1" || exit 1
  rsync=$2; shift 2
  have "$rsync" || { put missing 1; return 0; }
  put version "$("$rsync" --version 2>&1 | head -n 3)"
  mkdir -p from to/partial basis
  head -c 100000 /dev/zero >to/partial/file; (cat to/partial/file; echo x) >from/file
  out=$(printf './file\0' | "$rsync" "$@" 2>&1 >/dev/null) || {
    case $out in *'failed verification'*)
      put resume "$out"
      rm -rf to; mkdir to
      out=$(printf './file\0' | "$rsync" "$@" 2>&1 >/dev/null) && out=;;
    esac
    [ -z "$out" ] || put refused "$out"
  }
  if [ -f to/file ]; then put copied 1; fi
  rm -rf from to basis
}

# stage_odd makes names to be listed. Not every file system takes a line feed.
stage_odd() {
  cd -- "$1" && mkdir odd && : >'odd/a b' && : >odd/-n
  if (: >"odd/new
line") 2>/dev/null; then put feed 1; fi
}

stage_hash() { # tool bytes: of abc, or of so many zeros
  case $1 in
  b3sum) tool='b3sum --no-mmap --num-threads 1';; openssl) tool='openssl dgst -sha256 -r';;
  shasum) tool='shasum -a 256';; *) tool=$1;;
  esac
  if [ "$2" = 0 ]; then printf abc | $tool; else head -c "$2" /dev/zero | $tool >/dev/null; fi
}

stage_clean() { # scratch made
  case $1 in
  */.usr-sync/doctor-*) (enter "${1%/*}" && erase "./${1##*/}");;
  */usr-doctor-*) erase "$1";;
  esac
  case $1 in
  */.usr-sync/doctor-*)
    S=${1%/*}
    rmdir -- "${S%/*}/.usr-doctor-${1##*/doctor-}" 2>/dev/null
    if [ "$2" = 1 ]; then rm -f -- "$S/.gitignore"; rmdir -- "$S" 2>/dev/null || echo '*' >"$S/.gitignore"; fi;;
  esac
}

stage=$1; shift
"stage_$stage" "$@"
