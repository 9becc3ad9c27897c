package ssh

import (
	"runtime"
	"slices"

	"golang.org/x/sys/cpu"
)

// defaultCiphers are OpenSSH's defaults (ssh_config(5), Ciphers), by release. ChaCha20 comes first, for processors without
// AES instructions.
var defaultCiphers = []string{
	"chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com", // 6.7 to 9.9
	"chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr", // 10.0
}

// quickCiphers moves AES-GCM to the head of ssh's default list if the processor has instructions for it: it then costs a
// third of ChaCha20, and encryption is most of the cost of a transfer. The set of ciphers stays the same, and the host
// still chooses. "" means that somebody has configured a list, which stays.
func quickCiphers(configured string, instructions bool) string {
	if !instructions || !slices.Contains(defaultCiphers, configured) {
		return ""
	}
	return "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr"
}

// aesInstructions reports whether this processor does AES-GCM in hardware. x/sys cannot ask macOS; every Apple chip does.
func aesInstructions() bool {
	return cpu.X86.HasAES && cpu.X86.HasPCLMULQDQ || cpu.ARM64.HasAES && cpu.ARM64.HasPMULL ||
		runtime.GOOS == "darwin" && runtime.GOARCH == "arm64"
}
