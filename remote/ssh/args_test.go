package ssh

import (
	"strings"
	"testing"
	"time"
)

func TestArguments(t *testing.T) {
	tg := Target{Host: "scc1", User: "me", Port: 2222, KeyPath: "/k", ConfigFile: "/c", Options: []string{"Compression=yes"}}
	join := func(args []string) string { return strings.Join(args, " ") }
	for _, c := range []struct{ got, want string }{
		{join(tg.questionArgs()), "-G -F /c -o Compression=yes -p 2222 -i /k -o IdentitiesOnly=yes -l me -- scc1"},
		{join(tg.riderArgs("/s%h")), "-S /s%%h -o ControlMaster=no -o ProxyCommand=false -o BatchMode=yes -T -x -a -o RemoteCommand=none -o ClearAllForwardings=yes -F /c"},
		{join(tg.masterArgs(way{socket: "/s"}, false)), "-M -S /s -o ControlPersist=no -T -x -a -o RemoteCommand=none -o ClearAllForwardings=yes -F /c -o Compression=yes -p 2222 -i /k -o IdentitiesOnly=yes -l me -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"},
		{join(Target{}.masterArgs(way{socket: "/s", keep: time.Minute}, true)), "-M -S /s -o ControlPersist=60 -T -x -a -o RemoteCommand=none -o ClearAllForwardings=yes -o ConnectTimeout=20 -o ServerAliveInterval=15 -o ServerAliveCountMax=4"},
	} {
		if c.got != c.want {
			t.Errorf("%s\nwant %s", c.got, c.want)
		}
	}
}
