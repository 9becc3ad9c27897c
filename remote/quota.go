package remote

import (
	"strconv"
	"strings"
)

// Quota is how much of a file system a group may use, in bytes.
type Quota struct {
	Group      string `json:"group"`
	FileSystem string `json:"file_system"`
	Used       int64  `json:"used"`
	Limit      int64  `json:"limit"`
}

// QuotaScript asks for the quotas of this user's groups, where there is somebody to ask. A file server may not answer.
const QuotaScript = `patience=; if command -v timeout >/dev/null 2>&1; then patience='timeout 5'; fi
if command -v quota >/dev/null 2>&1; then $patience quota -g -w 2>/dev/null </dev/null; fi; :`

// ParseQuotas reads what quota(1) prints; blocks are kibibytes. What is no quota is passed over.
func ParseQuotas(text string) (all []Quota) {
	group := ""
	for line := range strings.Lines(text) {
		if _, name, found := strings.Cut(line, "quotas for group "); found {
			group, _, _ = strings.Cut(strings.TrimSpace(name), " ")
			continue
		}
		f := strings.Fields(line)
		if len(f) < 4 || group == "" {
			continue
		}
		used, err := strconv.ParseInt(strings.TrimSuffix(f[1], "*"), 10, 53)
		soft, serr := strconv.ParseInt(f[2], 10, 53)
		hard, herr := strconv.ParseInt(f[3], 10, 53)
		if limit := max(soft, hard); err == nil && serr == nil && herr == nil && limit > 0 {
			all = append(all, Quota{Group: group, FileSystem: f[0], Used: used << 10, Limit: limit << 10})
		}
	}
	return all
}
