# The command that starts a job, on the login node, with a shell appended. It gets what comes on standard input and never
# a terminal. When that input ends it has a moment to end by itself, then it is told to: one that waits in a queue reads nothing.
# sshd gives each command a session of its own, so that the process group is ours alone.
exec 3<&0 4>&2 2>/dev/null
trap : INT TERM HUP
{
  cat <&3 || exit # the job has ended before its input
  trap '' INT TERM
  sleep 2; kill -s INT 0
  sleep 2; kill -s TERM 0
  sleep 6; kill -s KILL 0
} | {
  exec 2>&4 3<&- 4>&-
  COMMAND /bin/sh
  st=$?
  exec >/dev/null 2>&1
  trap '' INT TERM HUP
  kill -s HUP 0 # for those above, whatever they are at
  (sleep 1; kill -s HUP 0) & # a shell that is just made may miss one
  exit $st
}
exit $?
