# shellcheck shell=sh
# Schedulers of one node for scheduler.go, which sets D, the directory of the files, A and B, two ports, and ME.

configure_slurm() {
  (umask 077; head -c 1024 /dev/urandom >"$D/munge.key")
  mkdir -p "$D/state" "$D/spool"
  cat >"$D/slurm.conf" <<X
ClusterName=test
SlurmctldHost=$(uname -n)(127.0.0.1)
SlurmUser=$ME
SlurmdUser=$ME
AuthType=auth/munge
AuthInfo=socket=$D/munge.sock
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
ReturnToService=2
SlurmctldPidFile=$D/slurmctld.pid
SlurmdPidFile=$D/slurmd.pid
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool
SlurmctldLogFile=$D/slurmctld.log
SlurmdLogFile=$D/slurmd.log
SlurmctldPort=$A
SlurmdPort=$B
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
KillWait=2
MinJobAge=10
NodeName=$(uname -n) NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
X
}
ready_slurm() { # daemon
  case $1 in
  0) munge -n -S "$D/munge.sock" >/dev/null;;
  1) scontrol ping | grep -q UP;;
  2) [ "$(sinfo -h -o %t)" = idle ];;
  esac
}

configure_sge() {
  spool=$D/spool
  mkdir -p "$D/root/c/common" "$spool/qmaster/job_scripts" "$spool/execd"
  for x in bin lib util utilbin; do ln -s "/var/lib/gridengine/$x" "$D/root/$x"; done
  printf 'localhost %s\n' "$(uname -n)" >"$D/root/c/common/host_aliases"
  echo localhost >"$D/root/c/common/act_qmaster"
  cat >"$D/root/c/common/bootstrap" <<X
admin_user              none
default_domain          none
ignore_fqdn             false
spooling_method         classic
spooling_lib            libspoolc
spooling_params         $D/root/c/common;$spool/qmaster
binary_path             /usr/sbin
qmaster_spool_dir       $spool/qmaster
security_mode           none
listener_threads        1
worker_threads          1
scheduler_threads       1
X
  cd /usr/lib/gridengine || return
  shared=/usr/share/gridengine
  ./spoolinit classic libspoolc "$D/root/c/common;$spool/qmaster" init &&
    sed -e "s,^execd_spool_dir .*,execd_spool_dir $spool/execd," -e 's/^min_\([ug]id\) .*/min_\1 0/' \
      -e 's,^mailer .*,mailer /bin/true,' -e 's/^load_report_time.*/load_report_time 00:00:02/' "$shared/default-configuration" >"$D/conf" &&
    ./spooldefaults configuration "$D/conf" &&
    ./spooldefaults complexes "$shared/util/resources/centry" &&
    ./spooldefaults usersets "$shared/util/resources/usersets" &&
    ./spooldefaults managers "$ME"
}
# template REQUEST LINE...: what qconf shows, with lines of another value.
template() {
  request=$1; shift
  qconf "$request" >"$D/t" || return
  for line do sed "s%^${line%% *} .*%$line%" "$D/t" >"$D/t2" && mv "$D/t2" "$D/t" || return; done
}
ready_sge() { # daemon
  case $1 in
  0)
    qconf -sh >/dev/null && [ ! -e "$D/asked" ] || return 1
    : >"$D/asked"
    qconf -as localhost
    printf '%s\n' 'hostname localhost' 'load_scaling NONE' 'complex_values NONE' 'user_lists NONE' 'xuser_lists NONE' \
      'projects NONE' 'xprojects NONE' 'usage_scaling NONE' 'report_variables NONE' >"$D/t" && qconf -Ae "$D/t" || return
    printf '%s\n' 'pe_name smp' 'slots 99' 'user_lists NONE' 'xuser_lists NONE' 'start_proc_args NONE' 'stop_proc_args NONE' \
      'allocation_rule $pe_slots' 'control_slaves FALSE' 'job_is_first_task TRUE' 'urgency_slots min' 'accounting_summary FALSE' \
      'qsort_args NONE' >"$D/t" && qconf -Ap "$D/t" || return
    template -ssconf 'schedule_interval 0:0:1' 'flush_submit_sec 1' 'flush_finish_sec 1' 'load_formula slots' && qconf -Msconf "$D/t" || return
    template -sq 'qname all.q' 'hostlist localhost' 'slots 2' 'load_thresholds NONE' 'shell /bin/sh' 'tmpdir /tmp' 'pe_list smp' 'ckpt_list NONE' &&
      qconf -Aq "$D/t";;
  1) qhost -h localhost | grep -q ' lx-' && ! qstat -f | grep -q 'localhost.* au';;
  esac
}
