package remotetest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// echo is a server that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func relay(t *testing.T, to string, delay time.Duration, rate int64) (*RelayServer, net.Conn) {
	t.Helper()
	r, err := Relay(to, delay, rate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.Port()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return r, c
}

func TestRelayDelaysButDoesNotThrottle(t *testing.T) {
	r, c := relay(t, echo(t), 50*time.Millisecond, 0)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<19) // 8 MB
	began := time.Now()
	go func() {
		_, _ = c.Write(sent)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	took := time.Since(began)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes came back, %v", len(got), err)
	}
	if took < 100*time.Millisecond || took > 5*time.Second {
		t.Errorf("8 MB there and back took %v", took)
	}
	if up, down := r.Bytes(); up != int64(len(sent)) || down != up {
		t.Errorf("counted %d up, %d down", up, down)
	}
}

func TestRelayRate(t *testing.T) {
	_, c := relay(t, echo(t), 0, 1<<20)
	began := time.Now()
	go func() {
		_, _ = c.Write(make([]byte, 1<<19))
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || len(got) != 1<<19 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("512 kB at 1 MB/s took %v", took)
	}
}

func TestRelayStallAndResume(t *testing.T) {
	r, c := relay(t, echo(t), 0, 0)
	r.Stall()
	_, _ = c.Write([]byte("x"))
	_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Fatalf("%d bytes passed a stalled relay", n)
	}
	r.Resume()
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
}

func TestRelayCut(t *testing.T) {
	r, c := relay(t, echo(t), 0, 0)
	r.CutAfter(10)
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = c.Write(make([]byte, 20))
	if _, err := io.ReadAll(c); err == nil {
		t.Error("the connection ended well")
	}
	if r.Connections() != 1 {
		t.Errorf("%d connections", r.Connections())
	}
	r.Refuse(true)
	if c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.Port())); err == nil {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a refused connection carries data")
		}
	}
}

func TestRelayCarriesSSH(t *testing.T) {
	s := server(t, Options{})
	r, _ := relay(t, fmt.Sprintf("127.0.0.1:%d", s.Port()), 10*time.Millisecond, 0)
	config, err := s.WriteConfig("via", r.Port(), "ServerAliveInterval 5")
	if err != nil {
		t.Fatal(err)
	}
	cmd := ssh(s, Alias, "echo through")
	cmd.Args[2] = config
	if out, err := cmd.Output(); err != nil || string(out) != "through\n" {
		t.Errorf("%v: %q", err, out)
	}
}
