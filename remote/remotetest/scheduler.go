package remotetest

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Scheduler is a real one that has this machine, and the two slots that it is said to have, for a cluster.
type Scheduler struct {
	Name    string            // "slurm" or "sge"
	Command string            // that has a command run in a job, as a profile's compute names it
	Env     map[string]string // by which its programs find it, for a Server and for the methods below

	dir     string
	daemons []*exec.Cmd
	fill    string // takes every slot
	cancel  string // ends every job
	jobs    string // prints a line for each job
}

//go:embed scheduler.sh
var schedulerScript string

// StartScheduler starts one, "slurm" or "sge", whose files are in dir. It needs the programs of Debian's slurm-wlm and munge,
// or gridengine-master, gridengine-exec and gridengine-client.
func StartScheduler(name, dir string) (s *Scheduler, err error) {
	s = &Scheduler{Name: name, dir: dir}
	defer func() {
		if err != nil {
			s.Stop()
			err = fmt.Errorf("cannot start %s: %w%s", name, err, s.logs())
		}
	}()
	var daemons []string
	switch name {
	case "slurm":
		s.Env = map[string]string{"SLURM_CONF": dir + "/slurm.conf"}
		s.Command = "srun -n1"
		s.fill, s.cancel, s.jobs = "sbatch -n2 -o /dev/null --wrap 'sleep 600'", "scancel -u $ME", "squeue -h"
		daemons = []string{
			"munged --foreground --force --key-file=$D/munge.key --socket=$D/munge.sock --pid-file=$D/munged.pid --log-file=$D/munged.log --seed-file=$D/munged.seed",
			"slurmctld -D -c", "slurmd -D"}
	case "sge":
		s.Env = map[string]string{"SGE_ROOT": dir + "/root", "SGE_CELL": "c", "SGE_ND": "1"}
		s.Command = "qrsh -now n -pty n -l h_rt=2:00:00"
		s.fill, s.cancel, s.jobs = "qsub -b y -pe smp 2 -o /dev/null -j y sleep 600", `qdel -f "*"`, "qstat | tail -n +3"
		daemons = []string{"sge_qmaster", "sge_execd"}
	}
	me, err := user.Current()
	if err != nil {
		return s, err
	}
	s.Env["ME"], s.Env["D"] = me.Username, dir
	for _, port := range []string{"A", "B"} {
		free, err := freePort()
		if err != nil {
			return s, err
		}
		s.Env[port] = strconv.Itoa(free)
	}
	s.Env["SGE_QMASTER_PORT"], s.Env["SGE_EXECD_PORT"] = s.Env["A"], s.Env["B"]
	if out, err := s.run(schedulerScript + "\nconfigure_" + name).CombinedOutput(); err != nil {
		return s, fmt.Errorf("%w: %s", err, out)
	}
	for i, daemon := range daemons {
		c := s.run("exec " + daemon + " >>$D/out 2>&1")
		c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := c.Start(); err != nil {
			return s, err
		}
		s.daemons = append(s.daemons, c)
		if err := s.wait(schedulerScript + fmt.Sprintf("\nready_%s %d", name, i)); err != nil {
			return s, err
		}
	}
	return s, nil
}

// run is a shell with the scheduler's environment.
func (s *Scheduler) run(script string) *exec.Cmd {
	c := exec.Command("sh", "-c", script)
	c.Dir, c.Env = s.dir, append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	for name, value := range s.Env {
		c.Env = append(c.Env, name+"="+value)
	}
	return c
}

func (s *Scheduler) wait(script string) error {
	var out []byte
	var err error
	for range 150 {
		if out, err = s.run(script).CombinedOutput(); err == nil {
			return nil
		}
		time.Sleep(200 * time.Millisecond)
	}
	return fmt.Errorf("%w: %s", err, out)
}

// Fill takes every slot with a job of no use, and returns when it runs.
func (s *Scheduler) Fill() error {
	if out, err := s.run(s.fill).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return s.wait(s.jobs + ` | grep -q ' [rR] '`)
}

// Cancel ends every job, as scancel and qdel do.
func (s *Scheduler) Cancel() error {
	out, err := s.run(s.cancel).CombinedOutput()
	if err != nil && len(s.Jobs()) > 0 {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// Jobs are the lines of the scheduler's own list, waiting jobs and running ones.
func (s *Scheduler) Jobs() []string {
	out, _ := s.run(s.jobs).Output()
	return slices.Collect(strings.Lines(string(out)))
}

// Idle waits until there is no job.
func (s *Scheduler) Idle() error {
	return s.wait(`jobs=$(` + s.jobs + `) && echo "$jobs" && [ -z "$jobs" ]`)
}

// Stop ends the jobs and the daemons.
func (s *Scheduler) Stop() {
	if len(s.daemons) > 1 {
		_ = s.Cancel()
		_ = s.Idle()
	}
	for i := len(s.daemons) - 1; i >= 0; i-- {
		c := s.daemons[i]
		_ = c.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(5*time.Second, func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) })
		_ = c.Wait()
		timer.Stop()
	}
}

// logs are the ends of what the daemons have written.
func (s *Scheduler) logs() (text string) {
	for _, pattern := range []string{"*.log", "out", "spool/qmaster/messages"} {
		files, _ := filepath.Glob(filepath.Join(s.dir, pattern))
		for _, file := range files {
			b, _ := os.ReadFile(file)
			text += "\n" + file + ":\n" + string(b[max(0, len(b)-1000):])
		}
	}
	return text
}
