package ssh

import "testing"

func TestQuickCiphers(t *testing.T) {
	const quick = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr"
	for _, list := range defaultCiphers {
		if got := quickCiphers(list, true); got != quick {
			t.Errorf("%s becomes %q", list, got)
		}
		if got := quickCiphers(list, false); got != "" {
			t.Errorf("without instructions %s becomes %q", list, got)
		}
	}
	for _, configured := range []string{"", "chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com,chacha20-poly1305@openssh.com"} {
		if got := quickCiphers(configured, true); got != "" {
			t.Errorf("%q, which somebody has configured, becomes %q", configured, got)
		}
	}
}
