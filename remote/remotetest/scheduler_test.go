package remotetest

import "testing"

// TestSchedulers: both start, run a command, have their slots taken, and go.
func TestSchedulers(t *testing.T) {
	for _, name := range []string{"slurm", "sge"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := StartScheduler(name, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Stop()
			if out, err := s.run(s.Command + " echo through").CombinedOutput(); string(out) != "through\n" {
				t.Errorf("%q, %v", out, err)
			}
			if err := s.Idle(); err != nil { // it is listed for a moment longer
				t.Error(err)
			}
			if err := s.Fill(); err != nil {
				t.Error(err)
			}
			if jobs := s.Jobs(); len(jobs) != 1 {
				t.Errorf("jobs: %q", jobs)
			}
			if err := s.Cancel(); err != nil {
				t.Error(err)
			}
			if err := s.Idle(); err != nil {
				t.Error(err)
			}
		})
	}
}
