# shellcheck shell=bash
# Common to the scripts beside it, which source it: messages, and the installation of what they need.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

die() {
  say "error: cannot $*"
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# An ordinary user's PATH seldom holds the directories where sshd is.
have_sshd() {
  have sshd || [ -x /usr/sbin/sshd ] || [ -x /usr/local/sbin/sshd ] || [ -x /opt/homebrew/sbin/sshd ]
}

# macOS has a program of another origin under rsync's name, which lacks options that we pass.
have_rsync() { have rsync && ! rsync --version 2>&1 | grep -q openrsync; }

has_tool() {
  case $1 in
    sshd) have_sshd ;;
    rsync) have_rsync ;;
    slurm) have slurmctld || [ -x /usr/sbin/slurmctld ] ;;
    gridengine) have sge_qmaster || [ -x /usr/sbin/sge_qmaster ] ;;
    *) have "$1" ;;
  esac
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif ! have sudo; then
    die "run '$*': it needs root, and there is no sudo"
  elif [ -t 0 ]; then
    sudo "$@"
  else
    sudo -n "$@"
  fi
}

manager() {
  local m
  for m in apt-get dnf brew; do
    if have "$m"; then
      echo "$m"
      return
    fi
  done
}

# package MANAGER TOOL: what the tool's package is called there.
package() {
  case $1:$2 in
    apt-get:ssh | apt-get:ssh-keygen) echo openssh-client ;;
    dnf:ssh | dnf:ssh-keygen) echo openssh-clients ;;
    brew:ssh | brew:ssh-keygen | brew:sshd) echo openssh ;;
    *:sshd) echo openssh-server ;;
    apt-get:flock | dnf:flock) echo util-linux ;;
    dnf:fish | dnf:b3sum) echo "epel-release $2" ;; # in order: the second comes from the first
    apt-get:cc) echo gcc libc6-dev ;;
    *:cc) echo gcc ;;
    *:mkfs.ext4) echo e2fsprogs ;;
    *:mkfs.exfat) echo exfatprogs ;;
    apt-get:mount.exfat-fuse) echo exfat-fuse ;;
    *:mount.exfat-fuse) echo fuse-exfat ;;
    *:mkfs.xfs) echo xfsprogs ;;
    *:setfacl) echo acl ;;
    *:setfattr) echo attr ;;
    apt-get:slurm) echo slurm-wlm munge ;;
    apt-get:gridengine) echo gridengine-master gridengine-exec gridengine-client ;;
    dnf:shellcheck) echo epel-release ShellCheck ;;
    *) echo "$2" ;;
  esac
}

updated=

# install_packages MANAGER PACKAGE...: quiet unless it fails.
install_packages() {
  local m=$1 log code=0
  shift
  log=$(mktemp)
  case $m in
    apt-get)
      if [ -z "$updated" ]; then
        as_root apt-get update -qq >"$log" 2>&1 </dev/null || true # an old list may do
        updated=yes
      fi
      as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >>"$log" 2>&1 </dev/null || code=$?
      ;;
    dnf) for p in "$@"; do as_root dnf install -y -q "$p" >>"$log" 2>&1 </dev/null || code=$?; done ;;
    brew) brew install --quiet "$@" >"$log" 2>&1 </dev/null || code=$? ;;
  esac
  [ "$code" = 0 ] || tail -n 5 "$log" >&2
  rm -f "$log"
  return "$code"
}

# install_idle MANAGER PACKAGE...: a server that is installed for the tests must not become one for the network.
install_idle() {
  local m=$1 policy=/usr/sbin/policy-rc.d made=
  if [ "$m" = apt-get ] && [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    made=yes
  fi
  local code=0
  install_packages "$@" || code=$?
  [ -z "$made" ] || as_root rm -f "$policy"
  return "$code"
}

install_sshd() {
  local code=0
  # shellcheck disable=SC2046 # a package may need another
  install_idle "$1" $(package "$1" sshd) || code=$?
  if have systemctl; then
    as_root systemctl disable --now ssh.service ssh.socket sshd.service >/dev/null 2>&1 </dev/null || true
    say "sshd was installed for the tests and is switched off as a service"
  fi
  return "$code"
}

install_tool() {
  local m
  m=$(manager)
  [ -n "$m" ] || return 1
  # shellcheck disable=SC2046 # a package may need another
  case $1 in
    sshd) install_sshd "$m" ;;
    slurm | gridengine)
      install_idle "$m" $(package "$m" "$1") || return
      ! have systemctl || as_root systemctl disable munge slurmctld slurmd gridengine-master gridengine-exec >/dev/null 2>&1 </dev/null || true
      ;;
    *) install_packages "$m" $(package "$m" "$1") ;;
  esac
}

# need TOOL...: installs the missing ones or gives up.
need() {
  local tool
  for tool; do
    has_tool "$tool" && continue
    say "installing $tool"
    install_tool "$tool" && hash -r && has_tool "$tool" && continue
    die "install $tool (apt-get, dnf and brew are known): install it by hand and run this again"
  done
}

# want TOOL...: installs the missing ones where that is possible.
want() {
  local tool
  for tool; do
    has_tool "$tool" && continue
    say "installing $tool"
    install_tool "$tool" && hash -r && has_tool "$tool" && continue
    say "going on without $tool: this system has no package of it"
  done
}

need_go() { have go || die "find go: install Go 1.26 or newer from https://go.dev/dl/"; }

# Tests that run as root look at the ordinary case too, which takes an account that can run commands.
need_ordinary_user() {
  [ "$(id -u)" = 0 ] && have useradd || return 0
  ! awk -F: '$3 != 0 && $7 ~ /\/(sh|bash|dash|zsh|ksh|fish|tcsh|csh)$/ { found = 1 } END { exit !found }' /etc/passwd || return 0
  say "adding the account usr-test: there is no ordinary user here"
  useradd --system --no-create-home --home-dir / --shell /bin/sh --password '*' usr-test
}
